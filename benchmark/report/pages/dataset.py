"""The page of a dataset, and the page of each of its classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.metrics import LEVELS, METRICS
from benchmark.records import undefined_notes
from benchmark.report.charts.curves import class_curves
from benchmark.report.charts.strips import class_strips
from benchmark.report.class_images import by_method
from benchmark.report.images.gallery import Gallery
from benchmark.report.images.scale import bar_colours, ticks
from benchmark.report.report_data import ClassPage, DatasetResults, ReportData
from benchmark.report.sources import PerImage
from benchmark.report.values import TableRow, class_rows, class_values, defect_rows, marks_note, mean_row, table_row
from benchmark.tables import whole_class_notes

DEFECT_METRICS = ("image_auroc", "pixel_auroc", "pixel_aupro")
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


@dataclass(frozen=True)
class Page:
    """A page of the site."""

    path: str
    """Path from the top of the site."""
    template: str
    context: Mapping[str, Any]


def dataset_pages(
    report: ReportData,
    of: DatasetResults,
    *,
    images: PerImage,
    galleries: Mapping[str, Gallery],
    note: str,
) -> list[Page]:
    """Return the page of a dataset and, if it has several classes, a page per class.

    Args:
        report: Data of the report.
        of: The dataset.
        images: Its results per image, by method and class.
        galleries: Gallery of each class that has one.
        note: Why there are no galleries; empty if there are some.
    """
    bar = {
        "gallery_note": note or "None of its images could be shown.",
        "colours": bar_colours(),
        "ticks": ticks(),
    }
    shown = {each.name: galleries.get(each.name, Gallery()) for each in of.classes}
    charts = {each.name: _charts(report, of, each.name, images, shown[each.name]) for each in of.classes}
    alone = of.classes[0].name if len(of.classes) == 1 else None
    made = {
        **dataset_page(report, of),
        **bar,
        "gallery": None if alone is None else shown[alone],
        "total": sum(each.normal + each.anomalous for each in of.classes),
        "covers": {name: _cover(of, gallery) for name, gallery in shown.items()},
        **({"curves": None, "strips": None} if alone is None else charts[alone]),
    }
    pages = [Page(of.page, "dataset.html", made)]
    if alone is None:
        for index, each in enumerate(of.classes):
            context = {
                "dataset": of,
                "of": each,
                "before": of.classes[index - 1] if index else None,
                "after": of.classes[index + 1] if index + 1 < len(of.classes) else None,
                "synthetic": "data" in of.records[0].synthetic,
                "rows": class_page(report, of, each),
                "kinds": kinds(report, of, each),
                "gallery": shown[each.name],
                "total": each.normal + each.anomalous,
            }
            pages.append(Page(each.page, "class.html", context | charts[each.name] | bar))
    return pages


def _charts(report: ReportData, of: DatasetResults, name: str, images: PerImage, gallery: Gallery) -> dict[str, Any]:
    """Return the curves and the strips of a class."""
    of_class = by_method(images, name)
    records = {title: of.first_seed(title) for title in of_class}
    values = {title: record.classes[name].metrics for title, record in records.items() if record is not None}
    linked = {image.key for image in gallery.shown}
    return {"curves": class_curves(of_class, values, report.titles), "strips": class_strips(of_class, linked)}


def _cover(of: DatasetResults, gallery: Gallery) -> str | None:
    """Return the path of the photo that stands for a class: of a normal image, if one is shown."""
    shown = sorted(gallery.shown, key=lambda image: (image.label, image.photo))
    return f"images/{of.slug}/{shown[0].photo}" if shown else None


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
        "marks": marks_note(
            [n for t in tables for row in (*t.rows, *([t.mean] if t.mean else [])) for n in row.numbers],
            "the test images",
        ),
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
    """Return a table per metric of `DEFECT_METRICS` that is defined for a class, with a row per kind of defect."""
    found = {metric: defect_rows(report, of, shown.name, metric) for metric in DEFECT_METRICS}
    return [NumberTable(metric, METRICS[metric].title, tuple(rows), None) for metric, rows in found.items() if rows]
