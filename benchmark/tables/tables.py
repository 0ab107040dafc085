"""Tables: pure functions of records, in the form of the papers' main tables and per class."""

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from benchmark.common import listed, unique_slugs
from benchmark.data import Domain
from benchmark.metrics import LEVELS, MAIN_METRICS, METRICS
from benchmark.records import ClassResult, DefectResult, Record, expected_levels, range_over_classes
from benchmark.tables.columns import Column, columns_of
from benchmark.tables.comparable import check_comparable
from benchmark.tables.coverage import compared_rows, repeated_parts
from benchmark.tables.notes import column_facts, notes_of

DOMAINS = get_args(Domain)
MEAN = "Mean"
MOST_LACKING = 3
"""Names of rows in a note on what a method lacks."""

FRAGILE_NOTE = (
    "the last digits of the scores, which differ from machine to machine, can move it by several points; results.csv "
    "holds its range."
)

Values = tuple[float | None, ...]


@dataclass(frozen=True)
class Row:
    """A row of a table, in percent."""

    title: str
    values: tuple[Values, ...]
    """Per column, one value per metric: the mean over the seeds; None where undefined or missing."""
    spreads: tuple[Values, ...]
    """Standard deviation over the seeds, of a sample; None where there is one seed."""
    is_mean: bool = False
    """Whether it is the mean of rows above it."""

    @property
    def is_defined(self) -> bool:
        """Whether any value of the row is defined."""
        return any(value is not None for cell in self.values for value in cell)


@dataclass(frozen=True)
class Table:
    """Metrics in percent by row (dataset or class) and column (method)."""

    name: str
    """Stem of its files."""
    title: str
    metrics: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, tuple[str, ...]]
    """What tells the columns apart, by the name of the fact."""


def make_tables(
    records: Iterable[Record], *, metrics: Sequence[str] = MAIN_METRICS, methods: Sequence[str] = ()
) -> list[Table]:
    """Return the main tables (datasets × methods) and, for datasets of several classes, those per class.

    The order of the records does not matter. Several seeds are averaged. Failed cells are missing, with a note. A
    dataset whose card has a level stands in the table of that level even where no value is defined; a note says why.

    Args:
        records: those of the tables.
        metrics: keys of the metrics that are shown.
        methods: names of methods in the order of their columns; without them, the order of `columns_of`.

    Raises:
        TableError: the records are not comparable.
    """
    ordered = sorted(records, key=lambda record: record.id)
    done = [record for record in ordered if record.status == "done"]
    check_comparable(done)
    columns = columns_of(done, methods)
    by_dataset: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(done, key=row_order):
        by_dataset[record.dataset_title].append(record)
    by_level = {level: tuple(key for key in metrics if METRICS[key].level == level) for level in LEVELS}
    by_level = {level: shown for level, shown in by_level.items() if shown}
    tables, notes, facts = [], notes_of(ordered, metrics), column_facts(ordered, columns)
    for level, shown in by_level.items():
        groups: dict[str, list[Row]] = defaultdict(list)
        for dataset, same in by_dataset.items():
            found = {title: [r.mean for r in of_title] for title, of_title in _by_title(same).items()}
            row = _row(dataset, columns, found, shown)
            if row.is_defined or any(level in expected_levels(record) for record in same):
                groups[same[0].group].append(row)
        tables += _with_means(
            Table(f"main_{level}", LEVELS[level], shown, columns, (), notes, facts), groups, repeated_parts(done)
        )
    for stem, (dataset, same) in zip(dataset_stems(by_dataset), by_dataset.items(), strict=True):
        classes = list(dict.fromkeys(name for record in same for name in record.classes))
        if len(classes) > 1:
            notes, facts, by_title = notes_of(same, metrics), column_facts(same, columns), _by_title(same)
            for level, shown in by_level.items():
                rows = []
                for each in classes:
                    found = {t: [result.metrics for result in results_of(of, each)] for t, of in by_title.items()}
                    rows.append(_row(each, columns, found, shown))
                title = f"{dataset}, {LEVELS[level].lower()}"
                if any(row.is_defined for row in rows):
                    tables += _with_means(Table(f"{stem}_{level}", title, shown, columns, (), notes, facts), {"": rows})
    return tables


def dataset_stems(by_dataset: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the stem of the files of each dataset, given the records by the dataset's title.

    It is the dataset's name; two parts of a dataset have one name and different titles.
    """
    names = [same[0].cell.dataset.name for same in by_dataset.values()]
    keys = [
        each if names.count(each) == 1 else f"{each} {title}" for each, title in zip(names, by_dataset, strict=True)
    ]
    return unique_slugs(keys)


def _by_title(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.title].append(record)
    return dict(found)


def row_order(record: Record) -> tuple[int, bool, str]:
    """Domains in the order of the papers, in each those of the papers first, then datasets by title."""
    return DOMAINS.index(record.domain), record.beyond, record.dataset_title


def _row(
    title: str,
    columns: Sequence[Column],
    found: Mapping[str, Sequence[dict[str, float | None]]],
    metrics: tuple[str, ...],
) -> Row:
    """Return a row, given the metrics of each column under each seed."""
    values = tuple(mean_values(found.get(column.title, ()), metrics) for column in columns)
    spreads = tuple(spreads_over_seeds(found.get(column.title, ()), metrics) for column in columns)
    return Row(title, values, spreads)


def mean_values(found: Sequence[dict[str, float | None]], metrics: tuple[str, ...]) -> Values:
    """Return the mean over seeds in percent, None where any is undefined or there is none."""
    values: list[float | None] = []
    for metric in metrics:
        seeds = [each.get(metric) for each in found]
        known = [value for value in seeds if value is not None]
        values.append(100 * sum(known) / len(known) if known and len(known) == len(seeds) else None)
    return tuple(values)


def spreads_over_seeds(found: Sequence[dict[str, float | None]], metrics: tuple[str, ...]) -> Values:
    """Return the standard deviation over seeds in percent, None where there is one, or any value is undefined."""
    spreads: list[float | None] = []
    for metric in metrics:
        known = [value for each in found if (value := each.get(metric)) is not None]
        several = len(known) > 1 and len(known) == len(found)
        spreads.append(100 * statistics.stdev(known) if several else None)
    return tuple(spreads)


def mean_range(
    records: Sequence[Record], class_name: str | None, metric: str, *, defect: str | None = None
) -> tuple[float, float] | None:
    """Return the mean over seeds of the range of a metric in percent, None where a record has none.

    Args:
        records: that differ in the seed alone.
        class_name: of the class; None for the mean over the classes.
        metric: its key.
        defect: a kind of defect of the class; None for the class itself.
    """
    if class_name is None:
        found = [range_over_classes(record.classes.values()) for record in records]
    else:
        found = [each.ranges for each in results_of(records, class_name, defect)]
    if not found or not all(metric in ranges for ranges in found):
        return None
    low, high = (100 * sum(ranges[metric][end] for ranges in found) / len(found) for end in (0, 1))
    return low, high


def results_of(
    records: Iterable[Record], class_name: str, defect: str | None = None
) -> list[ClassResult | DefectResult]:
    """Return the results of a class, or of one of its kinds of defect, of the records that have them."""
    of_class = [record.classes[class_name] for record in records if class_name in record.classes]
    return [*of_class] if defect is None else [each.defects[defect] for each in of_class if defect in each.defects]


def _with_means(table: Table, groups: Mapping[str, Sequence[Row]], repeated: Collection[str] = ()) -> list[Table]:
    """Return the table with the rows of the groups and a mean row for each, or none without any row.

    Rows with the titles `repeated` are in no mean.

    A group holds the datasets of a domain: a mean over industrial and medical datasets would say nothing. Those beyond
    the papers are a group of their own, so that a mean of the papers' datasets stays one.
    """
    shown: list[Row] = []
    fragile = [METRICS[key].heading for key in table.metrics if METRICS[key].fragile]
    notes = [*table.notes, *(f"{heading}: {FRAGILE_NOTE}" for heading in fragile)]
    for group, rows in groups.items():
        apart = len(groups) > 1
        shown += rows
        if left_out := [row.title for row in rows if row.title in repeated]:
            notes.append(f"Not in the mean, since their images are in other rows: {', '.join(left_out)}.")
        if len(counted := [row for row in rows if row.title not in repeated]) > 1:
            mean, lacking = _mean(counted, [column.title for column in table.columns], f", {group}" if apart else "")
            shown += mean
            alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
            for column, names in lacking.items():
                alike[names].append(column)
            over = f" over {group} datasets" if apart else ""
            for names, columns in alike.items():
                notes.append(
                    f"No mean{over} of {', '.join(columns)}: undefined or not run on {listed(names, MOST_LACKING)}."
                )
    return [replace(table, rows=tuple(shown), notes=tuple(notes))] if shown else []


def _mean(rows: Sequence[Row], columns: Sequence[str], of: str) -> tuple[list[Row], Mapping[str, tuple[str, ...]]]:
    """Return the row of the means, if there is one, and what each method lacks that has none."""
    whole = {
        column: [row.title for row in rows if all(value is not None for value in row.values[index])]
        for index, column in enumerate(columns)
    }
    compared = compared_rows(whole)
    full = [row for row in rows if row.title in compared.rows]
    if len(full) < 2:
        return [], {}
    places = range(len(full[0].values[0]))
    means: list[Values] = [
        tuple(sum(row.values[index][place] or 0.0 for row in full) / len(full) for place in places)
        if column in compared.methods
        else (None,) * len(places)
        for index, column in enumerate(columns)
    ]
    part = "" if len(full) == len(rows) else f" ({len(full)} of {len(rows)} rows)"
    undefined: Values = (None,) * len(places)
    row = Row(f"{MEAN}{of}{part}", tuple(means), (undefined,) * len(columns), is_mean=True)
    return [row], compared.lacking
