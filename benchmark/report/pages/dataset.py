"""The page of a dataset, and the page of each of its classes."""

from dataclasses import dataclass
from typing import Any

from benchmark.metrics import LEVELS, METRICS
from benchmark.records import undefined_notes
from benchmark.report.report_data import ClassPage, DatasetResults, ReportData
from benchmark.report.values import TableRow, class_rows, class_values, defect_rows, mean_row, table_row
from benchmark.tables import whole_class_notes

KINDS_BY = ("image_auroc", "pixel_auroc", "pixel_aupro")
"""Metrics by which kinds of defect are shown. AP and F1-max depend on how many images a kind has; they and all
others are in `results.csv`."""


@dataclass(frozen=True)
class NumberTable:
    """A table with a heading."""

    key: str
    """Key of the metric."""
    title: str
    rows: tuple[TableRow, ...]
    mean: TableRow | None


def dataset_page(report: ReportData, of: DatasetResults) -> dict[str, Any]:
    """Return the context of a dataset's page: a table per metric, with a row per class and a column per method."""
    tables = []
    for metric, named in METRICS.items():
        rows = class_rows(report, of, metric)
        if rows:
            mean = mean_row(report, of, metric) if len(rows) > 1 else None
            tables.append(NumberTable(metric, named.title, tuple(rows), mean))
    of_kinds: list[NumberTable] = []
    if len(of.classes) == 1:  # one table with a row per metric is shorter than a table per metric with one row
        rows = class_page(report, of, of.classes[0])
        tables = [NumberTable("", "Results", tuple(rows), None)] if rows else []
        of_kinds = kinds(report, of, of.classes[0])
    published = [(each.normal, each.anomalous) for each in of.card.classes] if of.card else []
    known = [(normal, anomalous) for normal, anomalous in published if normal is not None and anomalous is not None]
    whole = bool(known) and len(known) == len(published)
    images = {
        "normal": sum(each.normal for each in of.classes),
        "anomalous": sum(each.anomalous for each in of.classes),
        "published": (sum(n for n, _ in known), sum(a for _, a in known)) if whole else None,
        "synthetic": "data" in of.records[0].synthetic,
    }
    skipped = max(sum(len(c.skipped) for c in record.classes.values()) for record in of.records)
    warnings = [
        *of.records[0].warnings,
        *([f"Images left out, as they or their masks cannot be used: {skipped}."] if skipped else []),
        *dict.fromkeys(note for record in of.records for note in undefined_notes(record)),
        *whole_class_notes(of.records),
    ]
    return {
        "dataset": of,
        "first": of.records[0],
        "tables": tables,
        "kinds": of_kinds,
        "images": images,
        "warnings": warnings,
        "failed": [record for record in report.main_failed if record.dataset_title == of.title],
    }


def class_page(report: ReportData, of: DatasetResults, shown: ClassPage) -> list[TableRow]:
    """Return the rows of a class, one per metric that is defined for at least one method."""
    rows = []
    for metric, named in METRICS.items():
        values = class_values(of, shown.name, metric, report.titles)
        if any(value is not None for value in values):
            name = f"{LEVELS[named.level]}: {named.heading}"
            rows.append(table_row(name, values, report, dataset=of, class_name=shown.name, metric=metric))
    return rows


def kinds(report: ReportData, of: DatasetResults, shown: ClassPage) -> list[NumberTable]:
    """Return a table per metric of `KINDS_BY` that is defined for a kind of defect of a class, with a row per kind."""
    found = {metric: defect_rows(report, of, shown.name, metric) for metric in KINDS_BY}
    return [NumberTable(metric, METRICS[metric].title, tuple(rows), None) for metric, rows in found.items() if rows]
