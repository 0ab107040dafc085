"""The failures: images that all methods rank wrongly, images on which methods differ, and each kind of defect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.data import SampleSet
from benchmark.metrics import METRICS
from benchmark.report.images.gallery import Gallery
from benchmark.report.images.ranked import PER_LIST, RankedDataset
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.report.values import ShownValue, defect_rows

KIND_METRIC = "image_auroc"
"""Metric of the table of kinds of defect."""


@dataclass(frozen=True)
class FailureImages:
    """The ranked images of a dataset with what the page shows of them."""

    ranked: RankedDataset
    photos: Mapping[tuple[str, str], str]
    """Paths of the photos from the top of the site, by class and key."""
    defects: Mapping[str, str]
    """Kinds of defect of the anomalous images, by key; empty where the images were not found."""


@dataclass(frozen=True)
class KindRow:
    """A row of the table of kinds of defect."""

    dataset: str
    class_name: str
    page: str
    """Path of the page of the class."""
    defect: str
    images: int
    numbers: tuple[ShownValue, ...]
    """One value per method."""


def failure_images(
    dataset: DatasetResults, ranked: RankedDataset, galleries: Mapping[str, Gallery], samples: SampleSet | None
) -> FailureImages:
    """Return what the page shows of a dataset's images.

    Args:
        dataset: The dataset.
        ranked: Its ranked images.
        galleries: The gallery of each class, for the photos.
        samples: The images, for the kinds of defect; None if they were not found.
    """
    photos = {
        (name, image.key): f"images/{dataset.slug}/{image.photo}"
        for name, gallery in galleries.items()
        for image in gallery.shown
    }
    kept = {image.key for image in ranked.images if image.label}
    found = () if samples is None else samples.test
    return FailureImages(ranked, photos, {each.key: each.defect for each in found if each.key in kept})


def failures_page(report: ReportData, found: Mapping[str, FailureImages]) -> dict[str, Any]:
    """Return the context of the page.

    Args:
        report: Data of the report.
        found: The images of each dataset that has results per image, by its title.
    """
    ranked = {title: each.ranked for title, each in found.items() if each.ranked.images}
    part = [each for each in ranked.values() if not each.is_whole]
    known = [any(i.right[m] is not None for r in ranked.values() for i in r.images) for m in range(len(report.titles))]
    return {
        "data": _data(report, found),
        "total": sum(sum(each.counts) for each in ranked.values()),
        "wrong": sum(sum(each.wrong) for each in ranked.values()),
        "kept": sum(len(each.images) for each in ranked.values()),
        "limits": {"list": PER_LIST, "pair": part[0].per_pair} if part else None,
        "without": [title for title, has in zip(report.titles, known, strict=True) if not has],
        "defects": sorted({d for each in found.values() for d in each.defects.values() if d}, key=str.casefold),
        "datasets": [each.title for each in report.datasets if each.title in ranked],
        "photos": any(each.photos for each in found.values()),
        "kinds": [row for dataset in report.datasets for row in kind_rows(report, dataset)],
        "kind_metric": METRICS[KIND_METRIC],
    }


def kind_rows(report: ReportData, dataset: DatasetResults) -> list[KindRow]:
    """Return a row per kind of defect of a dataset that has an image AUROC against the normal images of its class."""
    return [
        KindRow(dataset.title, each.name, each.page, row.defect, row.images, row.numbers)
        for each in dataset.classes
        for row in defect_rows(report, dataset, each.name, KIND_METRIC)
        if any(number.sort for number in row.numbers)
    ]


def _data(report: ReportData, found: Mapping[str, FailureImages]) -> dict[str, Any]:
    """Return the images as lists of numbers and texts, for a script.

    An image is: place of its class, label, kind of defect, key, path of its photo, fractions by method.
    """
    datasets = [each for each in report.datasets if each.title in found and found[each.title].ranked.images]
    classes = [(dataset, each) for dataset in datasets for each in dataset.classes]
    places = {(dataset.title, each.name): place for place, (dataset, each) in enumerate(classes)}
    images = [
        [
            places[dataset.title, image.class_name],
            image.label,
            found[dataset.title].defects.get(image.key, "") if image.label else "",
            image.key,
            found[dataset.title].photos.get((image.class_name, image.key), ""),
            image.right,
        ]
        for dataset in datasets
        for image in found[dataset.title].ranked.images
    ]
    return {
        "methods": report.titles,
        "datasets": [
            {"title": each.title, "whole": ranked.is_whole, "counts": ranked.counts, "wrong": ranked.wrong}
            for each in datasets
            if (ranked := found[each.title].ranked)
        ],
        "classes": [
            {
                "dataset": datasets.index(dataset),
                "name": each.name if len(dataset.classes) > 1 else "",
                "page": each.page,
            }
            for dataset, each in classes
        ],
        "images": images,
    }
