"""What docs/reproduce.md shows is what the command prints."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.reproduction.recipe import load_recipes

Bench = Callable[..., tuple[int, str, str]]
PAGE = (Path(__file__).parents[2] / "docs/reproduce.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without weights."""
    monkeypatch.setattr("benchmark.reproduction.needs.kept_file", lambda known: None)


@pytest.mark.parametrize(("place", "arguments"), [(0, ["anomalyclip-table1", "--dry-run"]), (1, [])])
def test_the_examples_are_what_is_printed(bench: Bench, place: int, arguments: list[str]) -> None:
    code, out, _ = bench("reproduce", *arguments)
    assert code == 0
    assert out == BLOCKS[place], "docs/reproduce.md: replace the example by what the command prints now"


def test_every_recipe_is_named() -> None:
    table = PAGE.split("## The recipes")[1]
    names = {
        part for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE) for part in re.findall(r"`(.*?)`", row)
    }
    starts = {name.partition("-table")[0] for name in names}
    for name in load_recipes():
        assert name in names or (f"-{name.rpartition('-')[2]}" in names and name.rpartition("-")[0] in starts)
