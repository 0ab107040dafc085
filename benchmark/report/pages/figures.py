"""The page of the papers' figures: the charts of text embeddings beside the qualitative comparison."""

from collections.abc import Mapping
from typing import Any

from benchmark.report.charts import plotly
from benchmark.report.charts.texts import TextFeatures, text_points
from benchmark.report.report_data import ReportData

TEXT_DATASETS = ("mvtec", "visa")
"""Datasets whose text embeddings are shown, as in Figure 5 of GenCLIP."""


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
            made = [plotly.text_chart(each.title, text, f"texts-{each.slug}-{i}") for i, text in shown]
            sections.append({"dataset": each.title, "charts": made, "few": few})
    return sections
