"""Where progress is a bar, and where it is lines."""

from types import SimpleNamespace

import pytest

from benchmark.common import progress


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
