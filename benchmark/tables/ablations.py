"""Tables of ablations: pure functions of the records, which say which rows of which ablations they give."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.common import to_csv_text
from benchmark.metrics import LEVELS, MAIN_METRICS, Level, metrics_of
from benchmark.records import AblationRow, Record
from benchmark.tables.comparable import Entry, ablation_entries, check_entries, table_stem
from benchmark.tables.notes import is_banner, notes_of
from benchmark.tables.parts import chosen_columns, fits_terminal, in_parts
from benchmark.tables.style import STYLES, Style, grid, headings
from benchmark.tables.tables import MEAN, Values, mean_values, row_order


@dataclass(frozen=True)
class Grid:
    """One ablation at one level: percentages by row and dataset, and their changes against the default row."""

    title: str
    metrics: tuple[str, ...]
    datasets: tuple[str, ...]
    values: dict[str, tuple[Values, ...]]
    changes: dict[str, tuple[Values, ...] | None]
    """None in the default row."""

    @property
    def is_defined(self) -> bool:
        """Whether any value is defined."""
        return any(value is not None for cells in self.values.values() for cell in cells for value in cell)


@dataclass(frozen=True)
class AblationTable:
    """One ablation of a method at all levels."""

    stem: str
    """Of its files."""
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]


def make_ablations(records: Iterable[Record], *, noted: Sequence[str] = MAIN_METRICS) -> list[AblationTable]:
    """Return the table of every ablation of which the records give rows. The order of the records does not matter.

    Args:
        records: those of the tables.
        noted: keys of the metrics that the notes speak of.

    Raises:
        TableError: the records of an ablation are not comparable.
    """
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in ablation_entries(sorted(records, key=lambda record: record.id)):
        found[entry.table].append(entry)
    return [table for stem in sorted(found) if (table := _table(stem, found[stem], noted)).grids]


def _table(stem: str, entries: Sequence[Entry], noted: Sequence[str]) -> AblationTable:
    check_entries(entries)
    placed = [
        (row, entry.record)
        for entry in entries
        for row in entry.record.placement.ablations
        if (table_stem(entry.record.cell.method, row), row.row) == (stem, entry.column)
    ]
    rows = sorted({row.row: row for row, _ in placed}.values(), key=lambda row: (row.place, row.row))
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for row, record in placed:
        if record.status == "done":
            found[row.row, record.dataset_title].append(record)
    grids = [_grid(f"{rows[0].method}: {rows[0].title}", level, rows, found) for level in LEVELS if found]
    # Where nothing is defined, one table says so.
    shown = [grid for grid in grids if grid.is_defined] or grids[:1]
    # Each row says its options, so the notes speak of the method alone; what failed keeps its own name.
    renamed = {"title": rows[0].method}
    notes = notes_of([r if r.status == "failed" else r.model_copy(update=renamed) for _, r in placed], noted)
    return AblationTable(stem, tuple(shown), notes)


def ablation_files(tables: Sequence[AblationTable]) -> dict[str, str]:
    """Return by file name every ablation as Markdown, LaTeX and CSV."""
    files = {}
    for table in tables:
        for style, mark in (("md", "- "), ("tex", "% ")):
            banner = [note for note in table.notes if is_banner(note)]
            text = "\n".join(_render(grid, STYLES[style], banner) for grid in table.grids)
            listed = "".join(f"{mark}{STYLES[style].escape(note)}\n" for note in table.notes)
            files[f"{table.stem}.{style}"] = f"{text}\n{listed}"
        files[f"{table.stem}.csv"] = _to_csv(table.grids)
    return files


def ablation_summary(tables: Sequence[AblationTable], *, width: int | None = None) -> str:
    """Return the tables as text for a terminal of so many letters, if there is one, after their notes."""
    notes = dict.fromkeys(STYLES["txt"].escape(note) for table in tables for note in table.notes)
    return "\n".join(
        [*notes, "", *(_render(grid, STYLES["txt"], width=width) for table in tables for grid in table.grids)]
    )


def _grid(
    title: str, level: Level, rows: Sequence[AblationRow], found: Mapping[tuple[str, str], Sequence[Record]]
) -> Grid:
    """Return the table of an ablation at a level.

    Args:
        title: of the ablation.
        level: of the metrics.
        rows: of the table, in order.
        found: finished records by row and dataset.
    """
    metrics = tuple(metric.key for metric in metrics_of(level) if metric.main)
    first = {dataset: same[0] for (_, dataset), same in found.items()}
    datasets = sorted(first, key=lambda dataset: row_order(first[dataset]))
    groups = dict.fromkeys(first[dataset].group for dataset in datasets)
    of_group = {each: [i for i, name in enumerate(datasets) if first[name].group == each] for each in groups}
    means = {each: places for each, places in of_group.items() if len(places) > 1}
    values: dict[str, tuple[Values, ...]] = {}
    for row in rows:
        cells = [mean_values([r.mean for r in found.get((row.row, name), ())], metrics) for name in datasets]
        values[row.row] = (*cells, *(_mean([cells[place] for place in places]) for places in means.values()))
    columns = (*datasets, *(f"{MEAN}, {each}" if len(groups) > 1 else MEAN for each in means))
    undefined: Values = (None,) * len(metrics)
    default = next((values[row.row] for row in rows if row.default), (undefined,) * len(columns))
    changes = {row.row: None if row.default else tuple(map(_change, values[row.row], default)) for row in rows}
    return Grid(f"{title}, {LEVELS[level].lower()}", metrics, columns, values, changes)


def _mean(cells: Sequence[Values]) -> Values:
    """Return the mean over datasets, None where a dataset has none."""
    columns = [[value for value in column if value is not None] for column in zip(*cells, strict=True)]
    return tuple(sum(known) / len(cells) if len(known) == len(cells) else None for known in columns)


def _change(cell: Values, default: Values) -> Values:
    return tuple(None if v is None or d is None else v - d for v, d in zip(cell, default, strict=True))


def _render(of: Grid, how: Style, banner: Sequence[str] = (), *, width: int | None = None) -> str:
    header = ["", *(each for name in of.datasets for each in (how.escape(name), "change"))]
    body = []
    for row, cells in of.values.items():
        changes = of.changes[row]
        line = [how.escape(row)]
        for index, cell in enumerate(cells):
            line += [
                _pair(cell, "{:.1f}", how),
                "default" if changes is None else _pair(changes[index], "{:+.1f}", how),
            ]
        body.append(line)
    title = f"{how.heading}{how.escape(of.title)} {headings(of.metrics)}, %"
    if width is not None:
        runs = [(place, place + 1) for place in range(1, len(header), 2)]  # a value and its change
        parts = in_parts(runs, fits_terminal(header, body, how, width))
        drawn = "\n\n".join(grid(*chosen_columns(header, body, columns), how) for columns in parts)
        return f"{title}\n\n{drawn}\n"
    return f"{title}\n\n{grid(header, body, how, banner=[how.escape(note) for note in banner])}\n"


def _pair(values: Values, form: str, how: Style) -> str:
    if all(value is None for value in values):
        return how.escape("–")
    # Adding 0 makes a rounded −0.0 a 0.0.
    return "(" + ", ".join(how.escape("–") if v is None else form.format(round(v, 1) + 0) for v in values) + ")"


def _to_csv(grids: Sequence[Grid]) -> str:
    """Return percentages with two decimals, a row per variant, dataset and metric; empty where undefined."""
    rows: list[Sequence[str | float | None]] = [("variant", "dataset", "metric", "value", "change")]
    for of in grids:
        for row, cells in of.values.items():
            changes = of.changes[row]
            for index, (name, cell) in enumerate(zip(of.datasets, cells, strict=True)):
                for position, metric in enumerate(of.metrics):
                    change = changes[index][position] if changes else None
                    rows.append((row, name, metric, cell[position], change))
    return to_csv_text(rows, decimals=2)
