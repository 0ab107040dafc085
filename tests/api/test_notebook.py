"""The notebook of the documentation runs as it stands, and its outputs in the repository are those of this code."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from support.suites import SUITE_FOLDER, draw_classes

DOCS = Path(__file__).parents[2] / "docs"
CLASSES = {("btad", "01"), ("btad", "02"), ("btad", "03"), ("headct", "brain")}


def shown(cell: Any) -> list[tuple[str, str]]:
    """Return kind and text of what a cell shows, without numbers, marks and the pixels of pictures."""
    found = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {"text/plain": output.get("text", "")})
        for kind, text in sorted(data.items()):
            plain = re.sub(r"base64,[\w+/=]+|sha256 \w+|</?[bu]>", "", text)
            found.append((kind, re.sub(r"[\d.\s]+", " ", plain)))
    return found


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_the_documentation_shows(
    made_once: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = made_once("notebook-cache", lambda folder: draw_classes(folder / SUITE_FOLDER, CLASSES))
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    for name in ("BENCH_DATA", "BENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    notebook = runpy.run_path(str(DOCS / "notebook.py"))["executed"](tmp_path)
    kept = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    assert [shown(cell) for cell in notebook.cells] == [shown(cell) for cell in kept.cells]
    assert len(list((tmp_path / "results/notebook/records").glob("*.json"))) == 5
    pictures = [text for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output
                for text in [output["data"].get("text/html", "")] if "<figure" in text]  # fmt: skip
    assert [text.count("data:image/png;base64,") for text in pictures] == [4]
    assert "SYNTHETIC" in pictures[0]


def test_the_notebook_names_no_place_of_a_machine() -> None:
    text = (DOCS / "notebook.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"/tmp/|/home/|/Users/|stderr", text)
