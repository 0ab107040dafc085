"""Tables: pure functions of records, in the form of the papers' main tables and per class."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from tabulate import tabulate

from benchmark.common import to_csv_text
from benchmark.data import Domain
from benchmark.errors import BenchError
from benchmark.metrics import LEVELS, METRICS, Level, metrics_of
from benchmark.records import Record, range_over_classes
from benchmark.tables.marks import Mark, best_and_second

DOMAINS = get_args(Domain)
MEAN = "Mean"
SYNTHETIC = "SYNTHETIC"

Values = tuple[float | None, ...]


class TableError(BenchError):
    """Records that are not comparable would share a table; the message says which, why, and the way out."""


@dataclass(frozen=True)
class Table:
    """Metrics in percent by row (dataset or class) and column (method)."""

    name: str
    """Stem of its files."""
    title: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    rows: dict[str, tuple[Values, ...]]
    """Row title → per column, one value per metric; None where undefined or missing."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """How a format marks a cell."""

    best: str
    second: str
    escape: Callable[[str], str]
    tablefmt: str


_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CODE = re.compile(r"(`\w+`)|`")
_START = re.compile(r"^(\d*)([-+#.)])(?!\w)")  # of a list or a heading
_OUTER = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # within a word no emphasis begins
_MARKDOWN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"} | {letter: f"\\{letter}" for letter in "|[]*~"}
)
_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
    | {letter: f"\\{letter}" for letter in "&%_#${}"}
    | {letter: f"{{{letter}}}" for letter in "[]*"}  # at the start of a row they would belong to the end of the last
)


def _one_line(text: str) -> str:
    """Return the text with a blank for line ends and other control characters: a row or a comment stays one."""
    return _BREAKS.sub(" ", text)


def _escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no HTML, link, emphasis or end of a cell; a `word` may be code."""
    plain = _OUTER.sub(r"\_", _one_line(text).lstrip().translate(_MARKDOWN))
    plain = _START.sub(r"\1\\\2", plain)
    return _CODE.sub(lambda code: code[1] or "&#96;", plain)


def _escape_latex(text: str) -> str:
    return _one_line(text).translate(_LATEX)


STYLES = {
    "md": Style("**{}**", "<u>{}</u>", _escape_markdown, "pipe"),
    "tex": Style(r"\textbf{{{}}}", r"\underline{{{}}}", _escape_latex, "latex_raw"),
    "txt": Style("{}*", "{}", _one_line, "simple"),
}


def check_comparable(records: Sequence[Record]) -> None:
    """Refuse records that must not share a table.

    Raises:
        TableError: synthetic beside real ones, two protocols, one place of the table taken twice (other weights, dtype,
            data or version), or one dataset read from different sample lists.
    """
    if len({record.synthetic for record in records}) > 1:
        raise TableError(
            "real and synthetic results do not share a table; choose with --backbone NAME or use a --results each"
        )
    if len({record.cell.protocol for record in records}) > 1:
        raise TableError("results under different protocols do not share a table; keep them in a --results each")
    places: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    lists: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        places[record.title, record.dataset_title, record.cell.seed].append(record)
        lists[record.dataset_title].setdefault(record.cell.dataset.fingerprint, record)
    for (title, dataset, _), same in places.items():
        if len(same) > 1:
            raise TableError(
                f"{title} on {dataset} has {len(same)} records that differ in {_differences(same)}: "
                f"{_ids(same)}; choose with --backbone NAME, or delete those out of date"
            )
    for dataset, different in lists.items():
        if len(different) > 1:
            raise TableError(
                f"records on {dataset} were made from different images or labels: {_ids(different.values())}; "
                "delete those out of date and run again"
            )


def _ids(records: Iterable[Record]) -> str:
    return ", ".join(sorted(f"{record.id}.json" for record in records))


def _differences(records: Sequence[Record]) -> str:
    cells = [record.cell.model_dump(mode="json") for record in records]
    return ", ".join(key for key in cells[0] if any(cell[key] != cells[0][key] for cell in cells))


def make_tables(records: Iterable[Record]) -> list[Table]:
    """Return the main tables (datasets × methods) and, for datasets of several classes, those per class.

    The order of the records does not matter. Several seeds are averaged. Failed cells are missing, with a note.

    Raises:
        TableError: the records are not comparable.
    """
    ordered = sorted(records, key=lambda record: record.id)
    done = [record for record in ordered if record.status == "done"]
    check_comparable(done)
    columns = tuple(dict.fromkeys(record.title for record in sorted(done, key=column_order)))
    by_dataset: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(done, key=row_order):
        by_dataset[record.dataset_title].append(record)
    by_title = {dataset: _by_title(same) for dataset, same in by_dataset.items()}
    tables, notes = [], notes_of(ordered)
    for level, heading in LEVELS.items():
        metrics = main_metrics(level)
        rows = {
            dataset: tuple(mean_values([r.mean for r in of_title.get(column, ())], metrics) for column in columns)
            for dataset, of_title in by_title.items()
        }
        tables += _with_mean(Table(f"main_{level}", heading, metrics, columns, rows, notes))
    for dataset, same in by_dataset.items():
        classes = list(dict.fromkeys(name for record in same for name in record.classes))
        if len(classes) > 1:
            notes = notes_of(same)
            for level, heading in LEVELS.items():
                metrics = main_metrics(level)
                name = f"{same[0].cell.dataset.name}_{level}"
                rows = {each: _class_row(each, by_title[dataset], columns, metrics) for each in classes}
                title = f"{dataset}, {heading.lower()}"
                tables += _with_mean(Table(name, title, metrics, columns, rows, notes))
    return tables


def main_metrics(level: Level) -> tuple[str, ...]:
    """Return the metrics that the main tables show of a level."""
    return tuple(metric.key for metric in metrics_of(level) if metric.main)


def _by_title(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.title].append(record)
    return dict(found)


def column_order(record: Record) -> tuple[bool, str]:
    """Methods that train on nothing come first, as in the papers' tables."""
    return record.cell.auxiliary is not None, record.title


def row_order(record: Record) -> tuple[int, str]:
    """Domains in the order of the papers, then datasets by title."""
    return DOMAINS.index(record.domain), record.dataset_title


def _class_row(
    class_name: str, by_title: Mapping[str, Sequence[Record]], columns: Sequence[str], metrics: tuple[str, ...]
) -> tuple[Values, ...]:
    return tuple(
        mean_values(
            [r.classes[class_name].metrics for r in by_title.get(column, ()) if class_name in r.classes], metrics
        )
        for column in columns
    )


def mean_values(found: Sequence[dict[str, float | None]], metrics: tuple[str, ...]) -> Values:
    """Return the mean over seeds in percent, None where any is undefined or there is none."""
    values: list[float | None] = []
    for metric in metrics:
        seeds = [each.get(metric) for each in found]
        known = [value for value in seeds if value is not None]
        values.append(100 * sum(known) / len(known) if known and len(known) == len(seeds) else None)
    return tuple(values)


def mean_range(records: Sequence[Record], class_name: str | None, metric: str) -> tuple[float, float] | None:
    """Return the mean over seeds of the range of a metric in percent, None where a record has none.

    Args:
        records: that differ in the seed alone.
        class_name: of the class; None for the mean over the classes.
        metric: its key.
    """
    found = [
        range_over_classes(record.classes.values()) if class_name is None else record.classes[class_name].ranges
        for record in records
        if class_name is None or class_name in record.classes
    ]
    if not found or not all(metric in ranges for ranges in found):
        return None
    low, high = (100 * sum(ranges[metric][end] for ranges in found) / len(found) for end in (0, 1))
    return low, high


def _with_mean(table: Table) -> list[Table]:
    """Return the table without undefined rows and with a mean row, or none if no value is defined."""
    known = {row: cells for row, cells in table.rows.items() if any(v is not None for cell in cells for v in cell)}
    if not known:
        return []
    full = [cells for cells in known.values() if all(value is not None for cell in cells for value in cell)]
    if len(known) > 1 and full:
        mean = tuple(
            tuple(sum(cells[i][j] or 0.0 for cells in full) / len(full) for j in range(len(table.metrics)))
            for i in range(len(table.columns))
        )
        label = MEAN if len(full) == len(known) else f"{MEAN} of the {len(full)} complete rows"
        known[label] = mean
    return [replace(table, rows=known)]


def notes_of(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what a reader of the table must know, the banner of synthetic results first."""
    notes = []
    done = [record for record in records if record.status == "done"]
    for what in sorted({record.synthetic for record in done if record.synthetic}):
        kind = "MINIATURE" if "data" in what else "WEIGHTS"
        notes.append(f"{SYNTHETIC} {kind}: not comparable with published numbers (generated: {', '.join(what)}).")
    for backbone in sorted({(r.cell.backbone.name, r.cell.backbone.sha256, r.cell.backbone.dtype) for r in done}):
        notes.append(f"Backbone {backbone[0]} (sha256 {backbone[1][:12]}…), {backbone[2]}.")
    trained: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in done:
        if record.cell.auxiliary is not None:
            trained[record.cell.auxiliary.name, record.title].add(record.dataset_title)
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (auxiliary, title), targets in sorted(trained.items()):
        alike[auxiliary, ", ".join(sorted(targets))].append(title)
    notes += [f"Auxiliary dataset of {', '.join(titles)}: {name} (for {on})." for (name, on), titles in alike.items()]
    if not trained:
        notes.append("Auxiliary dataset: none; no method here trains.")
    notes.append("AUPRO is exact (all thresholds, 8-connected regions, FPR ≤ 0.3); `aupro_200` is in results.csv.")
    if done:
        default = type(done[0].cell.protocol)()
        quirks = [f"{k} = {v}" for k, v in done[0].cell.protocol if v != getattr(default, k)]
        notes += [f"Protocol quirks: {', '.join(quirks)}."] if quirks else []
    notes += _stale_notes(done)
    for record in records:
        if record.status == "failed":
            notes.append(f"Failed: {record.title} on {record.dataset_title}: {record.error}")
    by_dataset: dict[str, list[Record]] = defaultdict(list)
    for record in done:
        by_dataset[record.dataset_title].append(record)
    for dataset, same in by_dataset.items():
        notes += [f"{dataset}: {warning}" for warning in same[0].warnings]
        skipped = max(sum(len(c.skipped) for c in record.classes.values()) for record in same)
        notes += [f"{dataset}: {skipped} unreadable images were left out."] if skipped else []
    return tuple(notes)


def _stale_notes(done: Sequence[Record]) -> list[str]:
    """Return a line for each method whose files were edited since it was trained or scored."""
    stale: dict[str, list[str]] = defaultdict(list)
    for record in done:
        if record.newer_source_sha256:
            stale[record.title].append(record.dataset_title)
    return [
        f"{title} on {', '.join(sorted(set(datasets)))}: made before the method's files were edited (--force makes it "
        "anew)."
        for title, datasets in sorted(stale.items())
    ]


def render(table: Table, style: str) -> str:
    """Return a table as Markdown (`md`) or LaTeX (`tex`) with its notes, or as plain text (`txt`) without.

    Numbers are percentages with one decimal; marks go by the numbers as printed, so what looks equal is marked alike:
    the best bold (in text a star), the second underlined.
    """
    how = STYLES[style]
    header = ["", *(how.escape(column) for column in table.columns)]
    body = [[how.escape(row), *_cells(cells, table.metrics, how)] for row, cells in table.rows.items()]
    grid: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
    notes = [how.escape(note) for note in table.notes]
    title = f"{how.escape(table.title)} {headings(table.metrics)}, %"
    if style == "md":
        return f"## {title}\n\n{grid}\n\n" + "".join(f"- {note}\n" for note in notes)
    if style == "tex":
        return f"% {title}\n" + "".join(f"% {note}\n" for note in notes) + grid + "\n"
    return f"{title}\n\n{grid}\n"


def summary(tables: Iterable[Table]) -> str:
    """Return the main tables as plain text for a terminal, their notes once, the banner of synthetic results first."""
    main = [table for table in tables if table.name.startswith("main_")]
    notes = dict.fromkeys(_one_line(note) for table in main for note in table.notes)
    banner = [note for note in notes if note.startswith(SYNTHETIC)]
    rest = [note for note in notes if note not in banner]
    return "\n".join([*banner, "", *(render(table, "txt") for table in main), *rest])


def headings(metrics: Sequence[str]) -> str:
    """Return the headings of the metrics in the order in which a cell shows them, as `(AUROC, AP)`."""
    return f"({', '.join(METRICS[metric].heading for metric in metrics)})"


def _cells(cells: Sequence[Values], metrics: Sequence[str], how: Style) -> list[str]:
    """Return the cells `(AUROC, AP)` of a row, each number marked against the same metric of the other columns."""
    columns = [
        [
            _number(value, mark, how)
            for value, mark in zip(column, best_and_second(column, METRICS[metric]), strict=True)
        ]
        for metric, column in zip(metrics, zip(*cells, strict=True), strict=True)
    ]
    undefined = "–" if how.tablefmt != "latex_raw" else "--"
    return [
        undefined if all(v is None for v in cell) else f"({', '.join(numbers)})"
        for cell, numbers in zip(cells, zip(*columns, strict=True), strict=True)
    ]


def _number(value: float | None, mark: Mark, how: Style) -> str:
    """Return a number as printed, with its mark."""
    if value is None:
        return "–"
    return {"best": how.best, "second": how.second, "": "{}"}[mark].format(f"{value:.1f}")


def to_csv(table: Table) -> str:
    """Return a table as CSV: a column per method and metric, percentages with two decimals, empty where undefined."""
    header = ["name", *(f"{column} {metric}" for column in table.columns for metric in table.metrics)]
    rows = ([row, *(value for cell in cells for value in cell)] for row, cells in table.rows.items())
    return to_csv_text([header, *rows], decimals=2)


LONG_COLUMNS = ("method", "dataset", "class", "seed", "metric", "value", "low", "high", "synthetic", "record")


def to_long_csv(records: Iterable[Record]) -> str:
    """Return every number of the records as CSV, a row each: fractions in full precision, empty where undefined.

    `low` and `high` are the range of a fragile metric: the least and the greatest value it takes when scores move by
    one part in a million. They are empty for all other metrics and for records that were made before there were ranges.
    """
    rows: list[Sequence[str | float | None]] = [LONG_COLUMNS]
    for record in sorted(records, key=lambda record: record.id):
        cell = record.cell
        for class_name, (metrics, ranges) in _all_numbers(record).items():
            place = (record.title, cell.dataset.name, class_name, cell.seed)
            for metric, value in metrics.items():
                span = ranges.get(metric, (None, None))
                rows.append((*place, metric, value, *span, " ".join(record.synthetic), record.id))
    return to_csv_text(rows)


def _all_numbers(record: Record) -> dict[str, tuple[dict[str, float | None], dict[str, tuple[float, float]]]]:
    """Return the metrics and the ranges of each class, and those of the mean over them."""
    by_class = {name: (result.metrics, result.ranges) for name, result in record.classes.items()}
    return {**by_class, MEAN.lower(): (record.mean, range_over_classes(record.classes.values()))}


def table_files(tables: Iterable[Table], records: Iterable[Record]) -> dict[str, str]:
    """Return by file name every table as Markdown, CSV and LaTeX, and `results.csv` with all numbers of the records."""
    files = {"results.csv": to_long_csv(records)}
    for table in tables:
        files |= {
            f"{table.name}.md": render(table, "md"),
            f"{table.name}.tex": render(table, "tex"),
            f"{table.name}.csv": to_csv(table),
        }
    return files
