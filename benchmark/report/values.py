"""Numbers as the pages show them: percentages with intervals and marks, and in words why there is none."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.metrics import METRICS
from benchmark.records import expected_levels, undefined_reason
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.tables import (
    NOT_APART,
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
FAILED = "failed"
NOT_RUN = "not run"
HAS_RANGE = f"{WIDE_NOTE}; its range stands beside it."


@dataclass(frozen=True)
class ShownValue:
    """A number of a table cell, as text."""

    text: str
    sort: str
    """The number by which a column is sorted, to two decimals; empty if the value is undefined."""
    spread: str = ""
    """Standard deviation over seeds, bootstrap interval, and a mark where the difference to the best method rests on
    one training."""
    mark: str = ""
    """Classes of the table cell: best or second for the highest and second highest printed value of a row, highest for
    the best one where methods are not compared, tied for those that the images do not tell from the best one, failed
    or absent where there is no value."""
    behind: tuple[str, ...] = ()
    """How far the method is behind the best one, in points, with the ends of the paired interval; empty for the best
    one."""
    hint: str = ""
    """Why the value has a range, or why there is none."""
    tied: bool = False
    """Whether the paired bootstrap interval does not separate the method from the best one."""
    span: str = ""
    """Range of a fragile metric, if it is wide."""
    value: float | None = None
    """The number itself, from which other numbers may be made."""
    record: str = ""
    """Id of the row of its record, of the lowest seed, on the page of records; empty for a number of several cells."""


NOTHING = ShownValue(UNDEFINED, "")
"""A number that is undefined, without a word of why."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table, with one value per method."""

    title: str
    page: str | None
    """Path of the page that the title links to, from the top of the site."""
    domain: str
    numbers: tuple[ShownValue, ...]


@dataclass(frozen=True)
class DefectRow(TableRow):
    """A row of a kind of defect."""

    defect: str
    images: int
    """Number of its images."""


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
        return NOTHING
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
                behind = tuple(signed(100 * each, plus="") for each in estimate.behind)
            if estimate.one_training:
                parts.append(ONE_TRAINING)
    if span is not None and is_wide(span):
        wide = f"{WIDE_MARK} {span[0]:.1f}–{span[1]:.1f}"
        hint = HAS_RANGE
    brief = f"{round(value, 2):g}"
    return ShownValue(f"{value:.1f}", brief, " ".join(parts), mark, behind, hint, tied, wide, value)


def signed(value: float, *, plus: str = "+") -> str:
    """Return a difference with one decimal and its sign. What rounds to 0 has none."""
    rounded = round(value, 1)
    return f"{'−' if rounded < 0 else plus if rounded else ''}{abs(rounded):.1f}"


def shown_points(value: float) -> ShownValue:
    """Return a difference with its sign."""
    return ShownValue(signed(value), f"{value:.4f}")


def absent_value(
    report: ReportData, dataset: DatasetResults, method: str, metric: str, class_name: str | None = None
) -> ShownValue:
    """Return what stands where a method has no value: that its cell failed, that it was not run, or a dash.

    Where the metric is undefined, the hint says why. What failed links to its record.
    """
    found = dataset.of_method(method)
    if found and (class_name is None or class_name in found[0].classes):
        reason = undefined_reason(found[0], METRICS[metric].level, class_name)
        return ShownValue(UNDEFINED, "", hint=f"Undefined: {reason}." if reason else "")
    if (failure := report.failure_of(method, dataset)) is not None:
        return ShownValue(FAILED, "", mark="failed", record=report.anchor_of(failure))
    return ShownValue(NOT_RUN, "", mark="absent")


def without_winner(numbers: Sequence[ShownValue], values: Sequence[float | None]) -> tuple[ShownValue, ...]:
    """Return the numbers of a row, where all that are tied with the best one are marked like it.

    A value that is printed like the best one needs no sign that it may be as good. Where no paired interval compares
    the methods, none is the best one: there is a highest number.
    """
    highest = max((round(value, 1) for value in values if value is not None), default=None)
    compared = any(each.behind or each.tied for each in numbers)
    made = []
    for each, value in zip(numbers, values, strict=True):
        tied = each.tied and value is not None and round(value, 1) != highest
        mark = each.mark if compared or each.mark != "best" else "highest"
        made.append(replace(each, tied=tied, mark=f"{mark} tied".strip() if tied else mark))
    return tuple(made)


def dataset_values(dataset: DatasetResults, metric: str, titles: Sequence[str]) -> list[float | None]:
    """Return the mean of a metric over classes and seeds for each method, in percent."""
    return [dataset.value(title, metric) for title in titles]


def class_values(dataset: DatasetResults, name: str, metric: str, titles: Sequence[str]) -> list[float | None]:
    """Return the mean of a metric on a class over the seeds for each method, in percent."""
    return [dataset.value(title, metric, name) for title in titles]


def defect_values(
    dataset: DatasetResults, name: str, defect: str, metric: str, titles: Sequence[str]
) -> list[float | None]:
    """Return the mean of a metric on a kind of defect of a class over the seeds for each method, in percent."""
    found = [results_of(dataset.of_method(title), name, defect) for title in titles]
    return [mean_values([each.metrics for each in of_method], (metric,))[0] for of_method in found]


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
    numbers = without_winner(_linked(shown, report, dataset, metric, class_name), values)
    return TableRow(title, page, domain, numbers)


def _linked(
    shown: Sequence[ShownValue], report: ReportData, dataset: DatasetResults, metric: str, class_name: str | None
) -> list[ShownValue]:
    """Return the numbers of all methods with their records, and why there is none where one is undefined."""
    found = [(each, title, dataset.first_seed(title)) for each, title in zip(shown, report.titles, strict=True)]
    return [
        replace(each, record=report.anchor_of(record))
        if record is not None and each.sort
        else absent_value(report, dataset, title, metric, class_name)
        for each, title, record in found
    ]


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
    return rows if _any_defined(rows) else []


def defect_rows(report: ReportData, dataset: DatasetResults, class_name: str, metric: str) -> list[DefectRow]:
    """Return a row per kind of defect of a class, or no rows if the metric is undefined for every kind and method."""
    of_class = [record.classes[class_name] for record in dataset.records if class_name in record.classes]
    kinds = {name: kind.images for result in of_class for name, kind in result.defects.items()}
    rows = []
    for defect, images in sorted(kinds.items()):
        values = defect_values(dataset, class_name, defect, metric, report.titles)
        marks = best_and_second(values, METRICS[metric])
        spans = [mean_range(dataset.of_method(title), class_name, metric, defect=defect) for title in report.titles]
        shown = [
            shown_value(value, mark=mark, span=span) for value, mark, span in zip(values, marks, spans, strict=True)
        ]
        numbers = without_winner(_linked(shown, report, dataset, metric, class_name), values)
        rows.append(DefectRow(f"{defect} ({images})", None, "", numbers, defect, images))
    return rows if _any_defined(rows) else []


def _any_defined(rows: Sequence[TableRow]) -> bool:
    return any(number.sort for row in rows for number in row.numbers)


def mean_row(report: ReportData, dataset: DatasetResults, metric: str) -> TableRow:
    """Return the row with the mean over the classes of a dataset."""
    values = dataset_values(dataset, metric, report.titles)
    return table_row("Mean over classes", values, report, dataset=dataset, class_name=None, metric=metric)


def marks_note(numbers: Iterable[ShownValue], over: str) -> str:
    """Return what the intervals and the marks beside some numbers say; empty where none has any.

    Args:
        numbers: The numbers of a table, or of several.
        over: What the images of the intervals are.
    """
    known = [number for number in numbers if number.value is not None]
    said = []
    if any("[" in number.spread for number in known):
        said.append(f"In brackets: 95 % bootstrap intervals over {over}.")
    if any("±" in number.spread for number in known):
        said.append("±: standard deviation over the seeds.")
    if any(number.tied for number in known):
        said.append(
            f"“{NOT_APART}”, and the colour of the best: tied with the best; the paired interval of the difference "
            "contains 0, so these images do not show which of the two is better."
        )
    if any(ONE_TRAINING in number.spread for number in known):
        said.append(f"“{ONE_TRAINING}”: one training, or fewer than three; another training may change the difference.")
    if any(number.span for number in known):
        said.append(f"{WIDE_NOTE}.")
    return " ".join(said)
