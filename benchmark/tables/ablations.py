"""Ablations: a method's grids of variants as cells like any other, and a table for each in the papers' form."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tabulate import tabulate

from benchmark.common import to_csv_text
from benchmark.contract import Ablation, Method
from benchmark.errors import BenchError
from benchmark.metrics import LEVELS, Level
from benchmark.records import Record
from benchmark.registry import all_methods, choose
from benchmark.tables.tables import (
    MEAN,
    STYLES,
    Style,
    Values,
    check_comparable,
    headings,
    main_metrics,
    mean_values,
    notes_of,
)


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
class Grid:
    """One ablation at one level: percentages by row and dataset, and their changes against the default row."""

    title: str
    metrics: tuple[str, ...]
    datasets: tuple[str, ...]
    values: dict[str, tuple[Values, ...]]
    changes: dict[str, tuple[Values, ...] | None]
    """None in the default row."""


@dataclass(frozen=True)
class AblationTable:
    """One ablation of a method at all levels."""

    stem: str
    """Of its files."""
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]


def make_ablations(method: type[Method], variants: Variants, records: Sequence[Record]) -> list[AblationTable]:
    """Return the table of every ablation of which a variant has been run.

    Other records may be among them: a dataset is in a table if a variant other than the default has been run on it, and
    the default counts under the seeds of the variants.

    Raises:
        TableError: the records are not comparable.
    """
    keyed = [(record, _key(record.cell.options)) for record in records if record.cell.method == method.name]
    check_comparable([record for record, _ in keyed if record.status == "done"])
    default, tables = _key(asdict(variants.base)), []
    for ablation in variants.ablations:
        rows = {_key(asdict(options)) for options in variants.rows[ablation.name].values()}
        same = [(record, key) for record, key in keyed if key in rows]
        places = {_place(record) for record, key in same if key != default or len(rows) == 1}
        used = [(record, key) for record, key in same if _place(record) in places]
        found: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record, key in used:
            if record.status == "done":
                found[key, record.dataset_title].append(record)
        levels = [_grid(f"{method.title}: {ablation.title}", level, variants, ablation.name, found) for level in LEVELS]
        # Each row says its options, so the notes speak of the method alone; what failed keeps its own name.
        renamed = {"title": method.title}
        notes = notes_of([r if r.status == "failed" else r.model_copy(update=renamed) for r, _ in used])
        if grids := tuple(grid for grid in levels if grid):
            tables.append(AblationTable(f"{method.name}_{ablation.name}", grids, notes))
    return tables


def known_ablations(records: Sequence[Record]) -> tuple[list[AblationTable], set[str]]:
    """Return the tables of the ablations that registered methods declare, and the ids of the records of variants.

    Raises:
        TableError: the records are not comparable.
    """
    tables: list[AblationTable] = []
    ids: set[str] = set()
    for method in all_methods().values():
        if method.ablations:
            variants = variants_of(method.Options(), method.ablations)
            tables += make_ablations(method, variants, records)
            rows = {_key(asdict(options)) for options in variants.distinct if options != variants.base}
            ids |= {r.id for r in records if r.cell.method == method.name and _key(r.cell.options) in rows}
    return tables, ids


def ablation_files(tables: Sequence[AblationTable]) -> dict[str, str]:
    """Return by file name every ablation as Markdown, LaTeX and CSV."""
    files = {}
    for table in tables:
        for style, mark in (("md", "- "), ("tex", "% ")):
            text = "\n".join(_render(grid, STYLES[style]) for grid in table.grids)
            listed = "".join(f"{mark}{STYLES[style].escape(note)}\n" for note in table.notes)
            files[f"{table.stem}.{style}"] = f"{text}\n{listed}"
        files[f"{table.stem}.csv"] = _to_csv(table.grids)
    return files


def ablation_summary(tables: Sequence[AblationTable]) -> str:
    """Return the tables as text for a terminal, after their notes."""
    notes = dict.fromkeys(STYLES["txt"].escape(note) for table in tables for note in table.notes)
    return "\n".join([*notes, "", *(_render(grid, STYLES["txt"]) for table in tables for grid in table.grids)])


def _place(record: Record) -> tuple[str, int]:
    return record.cell.dataset.name, record.cell.seed


def _grid(
    title: str, level: Level, variants: Variants, ablation: str, found: Mapping[tuple[str, str], Sequence[Record]]
) -> Grid | None:
    """Return the table of an ablation at a level, or None if nothing of it is defined.

    Args:
        title: of the ablation.
        level: of the metrics.
        variants: among others those of the ablation.
        ablation: its name.
        found: finished records by options, as a key, and dataset.
    """
    metrics = main_metrics(level)
    datasets = sorted({dataset for _, dataset in found})
    values: dict[str, tuple[Values, ...]] = {}
    for row, options in variants.rows[ablation].items():
        key = _key(asdict(options))
        cells = [mean_values([r.mean for r in found.get((key, name), ())], metrics) for name in datasets]
        values[row] = tuple([*cells, _mean(cells)] if len(datasets) > 1 else cells)
    if all(value is None for cells in values.values() for cell in cells for value in cell):
        return None
    default = next((row for row, options in variants.rows[ablation].items() if options == variants.base), None)
    changes = {
        row: None if row == default else tuple(map(_change, cells, values[default] if default else cells))
        for row, cells in values.items()
    }
    columns = (*datasets, MEAN) if len(datasets) > 1 else tuple(datasets)
    return Grid(f"{title}, {LEVELS[level].lower()}", metrics, columns, values, changes)


def _key(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _mean(cells: Sequence[Values]) -> Values:
    """Return the mean over datasets, None where a dataset has none."""
    columns = [[value for value in column if value is not None] for column in zip(*cells, strict=True)]
    return tuple(sum(known) / len(cells) if len(known) == len(cells) else None for known in columns)


def _change(cell: Values, default: Values) -> Values:
    return tuple(None if v is None or d is None else v - d for v, d in zip(cell, default, strict=True))


def _render(grid: Grid, how: Style) -> str:
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
    title = f"{how.escape(grid.title)} {headings(grid.metrics)}, %"
    before = {"pipe": "## ", "latex_raw": "% "}.get(how.tablefmt, "")
    return f"{before}{title}\n\n{table}\n"


def _pair(values: Values, form: str, how: Style) -> str:
    if all(value is None for value in values):
        return how.escape("–")
    # Adding 0 makes a rounded −0.0 a 0.0.
    return "(" + ", ".join(how.escape("–") if v is None else form.format(round(v, 1) + 0) for v in values) + ")"


def _to_csv(grids: Sequence[Grid]) -> str:
    """Return percentages with two decimals, a row per variant, dataset and metric; empty where undefined."""
    rows: list[Sequence[str | float | None]] = [("variant", "dataset", "metric", "value", "change")]
    for grid in grids:
        for row, cells in grid.values.items():
            changes = grid.changes[row]
            for index, (name, cell) in enumerate(zip(grid.datasets, cells, strict=True)):
                for position, metric in enumerate(grid.metrics):
                    change = changes[index][position] if changes else None
                    rows.append((row, name, metric, cell[position], change))
    return to_csv_text(rows, decimals=2)
