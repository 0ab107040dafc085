"""Numbers as the pages show them: percentages with intervals and marks, and "–" where a metric is undefined."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from benchmark.metrics import METRICS
from benchmark.records import expected_levels
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.tables import (
    ONE_TRAINING,
    WIDE_MARK,
    WIDE_NOTE,
    Estimate,
    best_and_second,
    is_wide,
    mean_range,
    mean_values,
    results_of,
)

UNDEFINED = "–"
HAS_RANGE = f"{WIDE_NOTE}; its range stands beside it."


@dataclass(frozen=True)
class ShownValue:
    """A number of a table cell, as text."""

    text: str
    sort: str
    """The number by which a column is sorted; empty if the value is undefined."""
    spread: str = ""
    """Standard deviation over seeds, bootstrap interval, and a mark where the difference to the best method rests on
    one training."""
    mark: str = ""
    """Class of the table cell: best or second for the highest and second highest printed value of a row, else empty."""
    behind: tuple[str, ...] = ()
    """How far the method is behind the best one, in points, with the ends of the paired interval; empty for the best
    one."""
    hint: str = ""
    """Why the value has a range."""
    tied: bool = False
    """Whether the paired bootstrap interval does not separate the method from the best one."""
    span: str = ""
    """Range of a fragile metric, if it is wide."""
    record: str = ""
    """Id of the row of its record, of the lowest seed, on the page of records; empty for a number of several cells."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table, with one value per method."""

    title: str
    page: str | None
    """Path of the page that the title links to, from the top of the site."""
    domain: str
    numbers: tuple[ShownValue, ...]


def shown_value(
    value: float | None,
    estimate: Estimate | None = None,
    mark: str = "",
    span: tuple[float, float] | None = None,
    interval: tuple[float, float] | None = None,
) -> ShownValue:
    """Return a percentage as the pages show it.

    Args:
        value: The value in percent, or None if it is undefined.
        estimate: Standard deviation, interval and distance to the best method, as fractions.
        mark: "best", "second" or empty.
        span: Lowest and highest value of a fragile metric when scores move in the last digits, in percent.
        interval: Bootstrap interval in percent, where there is no estimate.
    """
    if value is None:
        return ShownValue(UNDEFINED, "")
    parts: list[str] = []
    behind: tuple[str, ...] = ()
    hint, tied, wide = "", False, ""
    if interval is not None:
        parts.append(f"[{interval[0]:.1f}–{interval[1]:.1f}]")
    if estimate is not None:
        if estimate.std is not None:
            parts.append(f"± {100 * estimate.std:.1f}")
        if estimate.low is not None and estimate.high is not None:
            parts.append(f"[{100 * estimate.low:.1f}–{100 * estimate.high:.1f}]")
        if estimate.behind is not None:
            tied = estimate.not_apart
            if any(estimate.behind):
                behind = tuple(f"{round(100 * each, 1) + 0:.1f}" for each in estimate.behind)
            if estimate.one_training:
                parts.append(ONE_TRAINING)
    if span is not None and is_wide(span):
        wide = f"{WIDE_MARK} {span[0]:.1f}–{span[1]:.1f}"
        hint = HAS_RANGE
    return ShownValue(f"{value:.1f}", f"{value:.4f}", " ".join(parts), mark, behind, hint, tied, wide)


def dataset_values(dataset: DatasetResults, metric: str, titles: Sequence[str]) -> list[float | None]:
    """Return the mean of a metric over classes and seeds for each method, in percent."""
    return [mean_values([record.mean for record in dataset.of_method(title)], (metric,))[0] for title in titles]


def class_values(
    dataset: DatasetResults, name: str, metric: str, titles: Sequence[str], *, defect: str | None = None
) -> list[float | None]:
    """Return the mean of a metric over seeds on a class, or on one of its kinds of defect, per method, in percent."""
    return [
        mean_values([each.metrics for each in results_of(dataset.of_method(title), name, defect)], (metric,))[0]
        for title in titles
    ]


def table_row(
    title: str,
    values: Sequence[float | None],
    report: ReportData,
    *,
    dataset: DatasetResults,
    class_name: str | None,
    metric: str,
    page: str | None = None,
    domain: str = "",
) -> TableRow:
    """Return a row with the values of all methods, their estimates and their ranges.

    Args:
        title: Heading of the row.
        values: One value per method, in percent.
        report: Data of the report.
        dataset: Dataset of the values.
        class_name: Class of the values; None for the mean over the classes.
        metric: Key of the metric.
        page: Page that the heading links to.
        domain: Domain by which the page filters the row.
    """
    titles = report.titles
    found = [report.estimates.get((method, dataset.title, class_name, metric)) for method in titles]
    spans = [mean_range(dataset.of_method(method), class_name, metric) for method in titles]
    marks = best_and_second(values, METRICS[metric])
    shown = [shown_value(*each) for each in zip(values, found, marks, spans, strict=True)]
    highest = max((round(value, 1) for value in values if value is not None), default=None)
    records = [dataset.first_seed(method) for method in titles]
    # A value that is printed like the best one needs no sign that it may be as good.
    numbers = [
        replace(
            each,
            tied=each.tied and value is not None and round(value, 1) != highest,
            record="" if record is None else report.anchor_of(record),
        )
        for each, value, record in zip(shown, values, records, strict=True)
    ]
    return TableRow(title, page, domain, tuple(numbers))


def dataset_rows(report: ReportData, metric: str, always: Collection[str] = ()) -> list[TableRow]:
    """Return a row per dataset, without those that have no such metric and are not expected to have one.

    Args:
        report: Data of the report.
        metric: Key of the metric.
        always: Titles of datasets that have a row in any case.
    """
    rows = []
    for dataset in report.datasets:
        values = dataset_values(dataset, metric, report.titles)
        expected = any(METRICS[metric].level in expected_levels(record) for record in dataset.records)
        if expected or dataset.title in always or any(value is not None for value in values):
            rows.append(
                table_row(
                    dataset.title,
                    values,
                    report,
                    dataset=dataset,
                    class_name=None,
                    metric=metric,
                    page=dataset.page,
                    domain=dataset.group,
                )
            )
    return rows


def class_rows(report: ReportData, dataset: DatasetResults, metric: str) -> list[TableRow]:
    """Return a row per class of a dataset, or no rows if the metric is undefined for every class and method."""
    rows = []
    for each in dataset.classes:
        values = class_values(dataset, each.name, metric, report.titles)
        rows.append(
            table_row(each.name, values, report, dataset=dataset, class_name=each.name, metric=metric, page=each.page)
        )
    if all(shown.text == UNDEFINED for each in rows for shown in each.numbers):
        return []
    return rows


def defect_rows(report: ReportData, dataset: DatasetResults, class_name: str, metric: str) -> list[TableRow]:
    """Return a row per kind of defect of a class, or no rows if the metric is undefined for every kind and method."""
    of_class = [record.classes[class_name] for record in dataset.records if class_name in record.classes]
    kinds = {name: kind.images for result in of_class for name, kind in result.defects.items()}
    rows = []
    for defect, images in sorted(kinds.items()):
        values = class_values(dataset, class_name, metric, report.titles, defect=defect)
        marks = best_and_second(values, METRICS[metric])
        spans = [mean_range(dataset.of_method(title), class_name, metric, defect=defect) for title in report.titles]
        shown = [
            shown_value(value, mark=mark, span=span) for value, mark, span in zip(values, marks, spans, strict=True)
        ]
        rows.append(TableRow(f"{defect} ({images})", None, "", tuple(shown)))
    return [] if all(number.text == UNDEFINED for row in rows for number in row.numbers) else rows


def mean_row(report: ReportData, dataset: DatasetResults, metric: str) -> TableRow:
    """Return the row with the mean over the classes of a dataset."""
    values = dataset_values(dataset, metric, report.titles)
    return table_row("Mean over classes", values, report, dataset=dataset, class_name=None, metric=metric)


def shown_points(value: float) -> ShownValue:
    """Return a difference with its sign. A value that rounds to −0.0 is shown as +0.0."""
    return ShownValue(f"{round(value, 1) + 0:+.1f}", f"{value:.4f}")
