"""The matrix: every class of every dataset beside every method, for each metric."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.metrics import METRICS
from benchmark.report.boards import EVERY_DOMAIN, domains
from benchmark.report.report_data import ClassPage, DatasetResults, ReportData
from benchmark.report.values import HAS_RANGE, ShownValue, class_values, dataset_values, table_row


@dataclass(frozen=True)
class MatrixRow:
    """A row of the matrix: a dataset, or one of its classes."""

    dataset: str
    """Title of the dataset."""
    title: str
    """What the row is called."""
    page: str
    """Path of the page that the title links to, from the top of the site."""
    domain: str
    classes: int
    """Number of rows of classes below the row of a dataset; 0 for a class and for a dataset of one class."""
    is_class: bool
    """Whether it is a class of a dataset that has several."""
    numbers: tuple[ShownValue, ...]
    """One value of the first metric per method."""


def matrix_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page.

    Every number stands in `numbers` by metric, row and method; the rows themselves have those of the first metric.
    """
    places = [place for dataset in report.datasets for place in _places(dataset)]
    shown = {metric: [_numbers(report, *place, metric) for place in places] for metric in METRICS}
    known = [metric for metric, rows in shown.items() if any(n.sort for row in rows for n in row)]
    known = known or [next(iter(METRICS))]
    rows = [_row(*place, numbers) for place, numbers in zip(places, shown[known[0]], strict=True)]
    levels = dict.fromkeys(METRICS[metric].level for metric in known)
    return {
        "rows": rows,
        "metrics": {level: [METRICS[each] for each in known if METRICS[each].level == level] for level in levels},
        "titles": {metric: METRICS[metric].title for metric in known},
        "numbers": {
            "methods": list(report.titles),
            "metrics": {metric: _as_data(shown[metric]) for metric in known},
        },
        "has_range": HAS_RANGE if any(n.span for rows in shown.values() for row in rows for n in row) else "",
        "domains": sorted(domains(report), key=lambda domain: domain != EVERY_DOMAIN),
    }


def _places(dataset: DatasetResults) -> list[tuple[DatasetResults, ClassPage | None]]:
    """Return the rows of a dataset: itself, then its classes if it has several."""
    classes = dataset.classes if len(dataset.classes) > 1 else ()
    return [(dataset, None), *((dataset, each) for each in classes)]


def _numbers(report: ReportData, of: DatasetResults, shown: ClassPage | None, metric: str) -> tuple[ShownValue, ...]:
    name = None if shown is None else shown.name
    values = (
        dataset_values(of, metric, report.titles) if name is None else class_values(of, name, metric, report.titles)
    )
    return table_row("", values, report, dataset=of, class_name=name, metric=metric).numbers


def _row(dataset: DatasetResults, shown: ClassPage | None, numbers: Sequence[ShownValue]) -> MatrixRow:
    return MatrixRow(
        dataset=dataset.title,
        title=dataset.title if shown is None else shown.name,
        page=dataset.page if shown is None else shown.page,
        domain=dataset.group,
        classes=len(dataset.classes) if shown is None and len(dataset.classes) > 1 else 0,
        is_class=shown is not None,
        numbers=tuple(_plain(each) for each in numbers),
    )


def _plain(number: ShownValue) -> ShownValue:
    """Return a number without what belongs to one metric, as a script puts other metrics in its place."""
    mark = "" if number.sort else number.mark
    return replace(number, spread="", mark=mark, behind=(), hint="", tied=False, span="")


def _as_data(rows: Sequence[Sequence[ShownValue]]) -> dict[str, Any]:
    """Return what a script shows of a metric: texts, values in percent (None without one) and spreads, by row."""
    return {
        "texts": [[each.text for each in row] for row in rows],
        "values": [[None if each.value is None else round(each.value, 4) for each in row] for row in rows],
        "spreads": [[" ".join(part for part in (each.spread, each.span) if part) for each in row] for row in rows],
    }
