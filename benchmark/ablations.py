"""Ablations: a method's grids of variants as cells like any other, and a table for each in the papers' form."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark.contract import Ablation, Method
from benchmark.errors import BenchError
from benchmark.files import write_whole
from benchmark.records import Record
from benchmark.registry import choose
from benchmark.tables import LEVELS, MEAN, STYLES, Style, Values, check_comparable, mean_values, notes_of


@dataclass(frozen=True)
class Variants:
    """The options of every row of some ablations."""

    base: Any
    """The default, against which changes are measured."""
    rows: dict[str, dict[str, Any]]
    """Ablation → row → options."""
    ablations: tuple[Ablation, ...]

    @property
    def distinct(self) -> list[Any]:
        """The options there are, each once: ablations share their default."""
        return list(dict.fromkeys(options for rows in self.rows.values() for options in rows.values()))


def select_ablations(method: type[Method], names: Sequence[str]) -> tuple[Ablation, ...]:
    """Return the named ablations of a method, or all.

    Raises:
        BenchError: it has none, or none of that name.
    """
    known = {ablation.name: ablation for ablation in method.ablations}
    if not known:
        raise BenchError(f"{method.name} declares no ablations; `bench methods` shows which methods do")
    return tuple(known[name] for name in choose(f"ablation of {method.name}", names or known, known))


def variants_of(base: Any, ablations: Sequence[Ablation]) -> Variants:
    """Return the options of every row: the base with the row's changes."""
    rows = {each.name: {row: replace(base, **changes) for row, changes in each.variants.items()} for each in ablations}
    return Variants(base, rows, tuple(ablations))


@dataclass(frozen=True)
class _Grid:
    """One ablation at one level: percentages by row and dataset, and their changes against the default row."""

    title: str
    metrics: tuple[str, ...]
    kinds: str
    datasets: tuple[str, ...]
    values: dict[str, tuple[Values, ...]]
    changes: dict[str, tuple[Values, ...] | None]
    """None in the default row."""


def write_ablations(method: type[Method], variants: Variants, records: Sequence[Record], directory: Path) -> str:
    """Write a table per ablation and level as Markdown, LaTeX and CSV; return them as text for a terminal.

    Raises:
        TableError: the records are not comparable; nothing is written.
        OSError: the directory cannot be written.
    """
    done = [record for record in records if record.status == "done"]
    check_comparable(done)
    # Each row says its options, so the notes speak of the method alone; what failed keeps its own name.
    renamed = {"title": method.title}
    notes = notes_of([r if r.status == "failed" else r.model_copy(update=renamed) for r in records])
    shown = [*notes, ""]
    for ablation in variants.ablations:
        grids = [
            grid
            for level in LEVELS
            if (grid := _grid(f"{method.title}: {ablation.title}", level, variants, ablation.name, done))
        ]
        stem = f"{method.name}_{ablation.name}"
        for style in ("md", "tex"):
            text = "\n".join(_render(grid, STYLES[style]) for grid in grids)
            mark = "- " if style == "md" else "% "
            listed = "".join(f"{mark}{STYLES[style].escape(note)}\n" for note in notes)
            write_whole(directory / f"{stem}.{style}", f"{text}\n{listed}")
        write_whole(directory / f"{stem}.csv", _to_csv(grids))
        shown += [_render(grid, STYLES["txt"]) for grid in grids]
    return "\n".join(shown)


def _grid(title: str, level: str, variants: Variants, ablation: str, records: Sequence[Record]) -> _Grid | None:
    """Return the table of an ablation at a level, or None if nothing of it is defined."""
    heading, metrics, kinds = LEVELS[level]
    datasets = sorted({record.dataset_title for record in records})
    values: dict[str, tuple[Values, ...]] = {}
    for row, options in variants.rows[ablation].items():
        same = [record for record in records if _key(record.cell.options) == _key(asdict(options))]
        cells = [mean_values([r.mean for r in same if r.dataset_title == name], metrics) for name in datasets]
        values[row] = tuple([*cells, _mean(cells)] if len(datasets) > 1 else cells)
    if all(value is None for cells in values.values() for cell in cells for value in cell):
        return None
    default = next((row for row, options in variants.rows[ablation].items() if options == variants.base), None)
    changes = {
        row: None if row == default else tuple(map(_change, cells, values[default] if default else cells))
        for row, cells in values.items()
    }
    columns = (*datasets, MEAN) if len(datasets) > 1 else tuple(datasets)
    return _Grid(f"{title}, {heading.lower()}", metrics, kinds, columns, values, changes)


def _key(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _mean(cells: Sequence[Values]) -> Values:
    """Return the mean over datasets, None where a dataset has none."""
    columns = [[value for value in column if value is not None] for column in zip(*cells, strict=True)]
    return tuple(sum(known) / len(cells) if len(known) == len(cells) else None for known in columns)


def _change(cell: Values, default: Values) -> Values:
    return tuple(None if v is None or d is None else v - d for v, d in zip(cell, default, strict=True))


def _render(grid: _Grid, how: Style) -> str:
    header = ["", *(each for name in grid.datasets for each in (how.escape(name), "change"))]
    body = []
    for row, cells in grid.values.items():
        changes = grid.changes[row]
        line = [how.escape(row)]
        for index, cell in enumerate(cells):
            line += [
                _pair(cell, "{:.1f}", how),
                "default" if changes is None else _pair(changes[index], "{:+.1f}", how),
            ]
        body.append(line)
    table: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
    title = f"{how.escape(grid.title)} {grid.kinds}, %"
    before = {"pipe": "## ", "latex_raw": "% "}.get(how.tablefmt, "")
    return f"{before}{title}\n\n{table}\n"


def _pair(values: Values, form: str, how: Style) -> str:
    if all(value is None for value in values):
        return how.escape("–")
    # Adding 0 makes a rounded −0.0 a 0.0.
    return "(" + ", ".join(how.escape("–") if v is None else form.format(round(v, 1) + 0) for v in values) + ")"


def _to_csv(grids: Sequence[_Grid]) -> str:
    """Return percentages with two decimals, a row per variant, dataset and metric; empty where undefined."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["variant", "dataset", "metric", "value", "change"])
    for grid in grids:
        for row, cells in grid.values.items():
            changes = grid.changes[row]
            for index, (name, cell) in enumerate(zip(grid.datasets, cells, strict=True)):
                for position, metric in enumerate(grid.metrics):
                    numbers = (cell[position], changes[index][position] if changes else None)
                    shown = ["" if number is None else f"{number:.2f}" for number in numbers]
                    writer.writerow([row, name, metric, *shown])
    return out.getvalue()
