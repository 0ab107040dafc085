"""What README.md and the other texts of the project say of its files holds."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from support.reference import REFERENCE

from benchmark.common import size_in_words
from benchmark.data.cards import Card, load_cards
from benchmark.exports.tidy import COLUMNS
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.placement import AblationRow, Placement
from benchmark.records.provenance import Provenance
from benchmark.records.records import ClassResult, DefectResult, Parameters, Record, Run, TrainingReport

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if not link.startswith("http"):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_readme_is_two_screens() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert {f"version: {PROJECT['version']}", f"license: {PROJECT['license']}"} <= set(citation)
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


MODELS = (
    Record,
    ClassResult,
    DefectResult,
    Cell,
    DataId,
    BackboneId,
    TrainingReport,
    Parameters,
    Run,
    Provenance,
    Placement,
    AblationRow,
)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_of_a_record_is_explained(model: type[BaseModel]) -> None:
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert [name for name in model.model_fields if f"`{name}`" not in text] == []


def test_every_column_of_results_csv_is_explained() -> None:
    header = (REFERENCE / "tables/results.csv").read_text(encoding="utf-8").splitlines()[0]
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    section = text.split("## Columns of results.csv")[1].split("\n## ")[0]
    assert [name for name in header.split(",") if f"`{name}`" not in section] == []


def how_it_is_had(card: Card) -> str:
    """Return the row of a dataset in the table of docs/data.md."""
    assert card.download is not None, f"datasets/{card.name}.toml: say how it is had, in [download]"
    sizes = [each.size for each in card.download.archives]
    size = size_in_words(sum(each or 0 for each in sizes)) if sizes and all(sizes) else "?"
    by = "the command" if card.download.unattended else "a person"
    return f"| `{card.name}` | {by} | {size} | {card.licence} |"


def test_the_table_of_how_datasets_are_had_is_that_of_the_cards() -> None:
    section = (ROOT / "docs/data.md").read_text(encoding="utf-8").split("## Getting the datasets")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [how_it_is_had(card) for card in load_cards().values()]


def test_every_column_of_an_export_is_explained() -> None:
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    section = text.split("## Columns of results.csv")[1]
    columns = [name for name in COLUMNS if not name.startswith("protocol_")]
    assert [name for name in columns if f"`{name}`" not in section] == []
