"""Progress as a bar, and as lines where standard error is no terminal."""

from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient

from benchmark.common import progress


@pytest.mark.parametrize(
    ("total", "said"),
    [(4_000_000, r"a.zip: 3.0 MB of 4.0 MB, "), (None, "a.zip: 3.0 MB, ")],
)
def test_bytes_that_were_there_before_count_and_speed_is_that_of_the_new_ones(
    total: int | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.byte_progress("a.zip", total, done=1_000_000) as advance:
        advance(2_000_000)
    assert capsys.readouterr().err == f"{said}100.0 kB/s" + (", 10 s left\n" if total else "\n")


def test_images_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.image_progress("mvtec", 100) as advance:
        advance(20)
        advance(20)
    assert capsys.readouterr().err == "mvtec: 40/100 images, 2.0 images/s, 30 s left\n"


@pytest.mark.parametrize(
    ("terminal", "notebook", "widgets", "bars"),
    [(True, False, False, True), (False, True, True, True), (False, True, False, False), (False, False, True, False)],
)
def test_a_notebook_shows_a_bar_where_it_can(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, notebook: bool, widgets: bool, bars: bool
) -> None:
    shown: list[object] = []

    class Bar:
        def __init__(self, *columns: object, **how: object) -> None:
            shown.append(columns)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None: ...

        def add_task(self, *_: object, **how: object) -> int:
            return 0

        def update(self, task: int, *, advance: int) -> None: ...

    monkeypatch.setattr(progress, "Console", lambda **_: SimpleNamespace(is_terminal=terminal, is_jupyter=notebook))
    monkeypatch.setattr(progress, "find_spec", lambda name: (widgets and name == "ipywidgets") or None)
    monkeypatch.setattr(progress, "Progress", Bar)
    with progress.image_progress("scoring", 2) as advance:
        advance(2)
    assert bool(shown) == bars


def test_a_kernel_with_widgets_shows_a_bar() -> None:
    code = """
from benchmark.common import image_progress

with image_progress("scoring", 2) as advance:
    advance(2)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=60).execute()
    shown = [output.get("data", {}) for output in notebook.cells[0].outputs]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
