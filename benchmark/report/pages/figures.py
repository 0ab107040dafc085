"""The page of the papers' figures: the charts of text embeddings beside the qualitative comparison."""

from collections.abc import Collection, Mapping
from typing import Any

from benchmark.report.charts.texts import TextFeatures, text_chart, text_points
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.report.sources import way_to_images

TEXT_DATASETS = ("mvtec", "visa")
"""Datasets whose text embeddings are shown, as in Figure 5 of GenCLIP."""


def keeps_texts(dataset: DatasetResults, kept: Collection[str]) -> bool:
    """Return whether the text embeddings of a dataset may be shown; the two first stand in for `TEXT_DATASETS`.

    Args:
        dataset: The dataset.
        kept: Titles of the datasets before it whose text embeddings may be shown.
    """
    return dataset.name in TEXT_DATASETS or len(kept) < 2


def no_figure(report: ReportData, *, images: bool, results: bool) -> str:
    """Return why there is no qualitative comparison.

    Args:
        report: Data of the report.
        images: Whether the images of any dataset were found.
        results: Whether there are results per image of any dataset.
    """
    if not results:
        return "There are no results per image stored with these records; `bench run --force` stores them."
    if images:
        return "No image that is shown in a gallery has a mask, and the figure is made of such images."
    return f"No images were found; {way_to_images(report.datasets)}."


def text_charts(report: ReportData, found: Mapping[str, TextFeatures]) -> list[dict[str, Any]]:
    """Return the charts of text embeddings by dataset.

    Args:
        report: Data of the report.
        found: Text embeddings, by title of the dataset.
    """
    several = [each for each in report.datasets if each.title in found]
    chosen = [each for each in several if each.name in TEXT_DATASETS] or several[:2]
    sections = []
    for each in chosen:
        placed = [text_points(title, classes) for title, classes in found[each.title].items()]
        shown = [(i, text) for i, text in enumerate(placed) if text.points]
        few = [text for text in placed if not text.points and text.distinct]
        if shown or few:
            made = [text_chart(each.title, text, f"texts-{each.slug}-{i}") for i, text in shown]
            sections.append({"dataset": each.title, "charts": made, "few": few})
    return sections
