"""Draws `docs/rooms.svg`: the packages of the benchmark and which of them imports which.

Run `python docs/rooms.py` after a change of the imports. The rows are the layers that `pyproject.toml` gives to
import-linter, the arrows are the imports that grimp finds in the code. An arrow that others imply is left out. The
documentation is not built where the drawing is not current.
"""

import itertools
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).resolve().parents[1]
DRAWING = ROOT / "docs" / "rooms.svg"
BOX, BEND, GAP = 104, 6, 18  # widths of a box and of the place where an arrow passes a row, and between two of them
HEIGHT, STEP = 30, 74  # of a box, and from one row to the next

Edge = tuple[str, str]


def layers() -> list[list[str]]:
    """Return the rooms row by row, the highest first."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [each for each in config["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    return [[name.strip().removeprefix("benchmark.") for name in row.split("|")] for row in contract["layers"]]


def imports(rooms: set[str]) -> set[Edge]:
    """Return which room imports which."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("benchmark", "methods", exclude_type_checking_imports=True, cache_dir=None)

    def room(module: str) -> str:
        package, *inside = module.split(".")
        return package if package == "methods" or not inside else inside[0]

    pairs = {(room(a), room(b)) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)}
    return {(a, b) for a, b in pairs if a != b and {a, b} <= rooms}


def needed(edges: set[Edge]) -> list[Edge]:
    """Return the edges of a graph without circles that no path of several edges stands for."""
    below: dict[str, set[str]] = {}

    def reach(room: str) -> set[str]:
        if room not in below:
            below[room] = {c for a, b in edges if a == room for c in {b, *reach(b)}}
        return below[room]

    return sorted((a, b) for a, b in edges if not any(b in reach(c) for x, c in edges if x == a and c != b))


def draw(rows: list[list[str]], edges: list[Edge]) -> str:
    """Return the drawing. An arrow that passes a row gets a place of its own there, so none crosses a box."""
    row_of = {name: index for index, row in enumerate(rows) for name in row}
    grid: list[list[Any]] = [list(row) for row in rows]
    paths = []
    for a, b in edges:
        between = [(a, b, index) for index in range(row_of[a] + 1, row_of[b])]
        for place in between:
            grid[place[2]].append(place)
        paths.append([a, *between, b])
    near: dict[Any, list[Any]] = {place: [] for row in grid for place in row}
    for path in paths:
        for above, below in itertools.pairwise(path):
            near[above].append(below)
            near[below].append(above)
    x = _spread(grid)
    for _ in range(24):  # each row in the order of the places that it is joined to
        for row in grid:
            row.sort(key=lambda place: (sum(x[each] for each in near[place]) / max(len(near[place]), 1), str(place)))
            x |= _spread([row])
    left, right = min(x.values()) - BOX, max(x.values()) + BOX
    top = {place: 20 + STEP * index for index, row in enumerate(grid) for place in row}
    lines = [_arrow([(x[place] - left, top[place]) for place in path]) for path in paths]
    boxes = [_box(name, x[name] - left, top[name]) for name in row_of]
    width, height = right - left, 20 + STEP * (len(rows) - 1) + HEIGHT + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
            'role="img" font-family="sans-serif" font-size="14" text-anchor="middle">',
            "<title>The packages of the benchmark: an arrow leads to what is imported</title>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="#5c6f7b"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
            '<g fill="none" stroke="#5c6f7b" stroke-width="1.3">',
            *lines,
            "</g>",
            *boxes,
            "</svg>\n",
        ]
    )


def _spread(grid: list[list[Any]]) -> dict[Any, float]:
    """Return the middle of every place, each row centred at 0."""
    x = {}
    for row in grid:
        widths = [BOX if isinstance(place, str) else BEND for place in row]
        at = -(sum(widths) + GAP * (len(row) - 1)) / 2
        for place, width in zip(row, widths, strict=True):
            x[place] = at + width / 2
            at += width + GAP
    return x


def _arrow(points: list[tuple[float, float]]) -> str:
    x, y = points[0][0], points[0][1] + HEIGHT
    path = f"M{x:.0f} {y:.0f}"
    for index, (to_x, to_y) in enumerate(points[1:], 1):
        half = (y + to_y) / 2
        path += f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}"
        x, y = to_x, to_y
        if index < len(points) - 1:
            y += HEIGHT
            path += f"V{y:.0f}"
    return f'<path d="{path}" marker-end="url(#head)"/>'


def _box(name: str, x: float, y: float) -> str:
    module = (ROOT / "benchmark" / f"{name}.py").is_file()
    fill, text = ("#fff4d6", f"{name}.py") if module else ("#dcecf5", f"{name}/")
    return (
        f'<rect x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="4" fill="{fill}" stroke="#5c6f7b"/>'
        f'<text x="{x:.0f}" y="{y + 20}" fill="#1d2a31">{text}</text>'
    )


def drawing() -> str:
    """Return the drawing of the code as it is."""
    rows = layers()
    return draw(rows, needed(imports({name for row in rows for name in row})))


def check() -> None:
    """Stop where the drawing is not current."""
    if not DRAWING.is_file() or DRAWING.read_text(encoding="utf-8") != drawing():
        raise SystemExit("docs/rooms.svg is not what the imports give; run python docs/rooms.py")


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
