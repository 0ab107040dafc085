"""Which datasets commands and calls take: those that are named, else those of the papers."""

from pathlib import Path

import pytest
from support.suites import draw_classes

from benchmark.api.datasets import find_targets, select_datasets
from benchmark.api.requests import Places
from benchmark.errors import BenchError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the papers and two beyond them, in miniature."""
    classes = [("brainmri", "brain"), ("bmad_brain", "brain"), ("sdd2", "metal")]
    return draw_classes(tmp_path_factory.mktemp("data") / "datasets", classes)


def names(places: Places, *named: str) -> list[str]:
    return [samples.card.name for samples in find_targets(named, places, every=not named).found]


def test_datasets_beyond_the_papers_take_part_where_they_are_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(Places(data=data)) == ["brainmri"]
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "left out: BMAD Brain, KolektorSDD2: beyond the papers, so run only where named, as in "
        "--datasets bmad_brain,sdd2"
    )
    assert names(Places(data=data), "sdd2", "brainmri") == ["sdd2", "brainmri"]
    assert names(Places(data=data, paths={"sdd2": data / "KolektorSDD2"})) == ["brainmri", "sdd2"]
    assert "left out: BMAD Brain: beyond" in capsys.readouterr().err


def test_where_nothing_else_lies_the_way_to_name_them_is_said(data: Path) -> None:
    with pytest.raises(BenchError, match=r"^KolektorSDD2: beyond the papers, .* --datasets sdd2$"):
        find_targets([], Places(data=data / "KolektorSDD2"), every=True)


def test_what_only_looks_takes_all_that_is_found(data: Path) -> None:
    found, problems = select_datasets([], data=data)
    assert [samples.card.name for samples in found] == ["bmad_brain", "brainmri", "sdd2"]
    assert problems == []
