"""Charts as JSON for Plotly. The page adds the colours of its light or dark theme."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.report.charts.texts import SIDES, TextPlot
from benchmark.tables import Grid

PALETTE = ("#2f7ed8", "#e07b00", "#1f9e77", "#c74a8a", "#8a63d2", "#9a7d0a", "#d64545", "#4aa3b5", "#7a7a7a")
"""Colours that can be told apart on white and on black."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot")
MARGIN = {"l": 56, "r": 16, "t": 12, "b": 48}


def escape(text: str) -> str:
    """Return a text that Plotly shows literally; Plotly interprets some HTML tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _finite(value: float | None) -> float | None:
    """Return the value, or None if it is NaN or infinite, which JSON cannot express."""
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class ChartTable:
    """What a chart shows, as a table for those who cannot see it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    methods: bool = False
    """Whether the first column holds titles of methods, whose rows the reader can leave out."""


@dataclass(frozen=True)
class Chart:
    """A chart of a page. Traces with the title of a method as `meta` are hidden where the reader leaves it out."""

    key: str
    """Id that is unique within the page."""
    caption: str
    """The line above the chart; empty if the heading of the page says it."""
    figure: Mapping[str, Any]
    """`data` and `layout` of Plotly."""
    height: int = 340
    """Height in pixels."""
    log: bool = False
    """Whether the reader can switch to a logarithmic axis."""
    alternative: str = ""
    """What the chart shows, for those who cannot see it; the caption if it is empty."""
    table: ChartTable | None = None


def training_charts(records: Sequence[Record]) -> list[Chart]:
    """Return a chart of the loss for each training, with a line per term of the loss.

    A training that several records share has one chart.
    """
    trained: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.training is not None and record.training.curve:
            trained[record.training.checkpoint].append(record)
    made = []
    for checkpoint, same in trained.items():
        training = same[0].training
        assert training is not None
        terms = sorted(
            {term for epoch in training.curve for term in epoch}, key=lambda term: (not _is_total(term), term)
        )
        epochs = list(range(1, len(training.curve) + 1))
        data = [
            {
                "type": "scatter",
                "mode": "lines+markers" if len(epochs) < 40 else "lines",
                "name": escape(term),
                "x": epochs,
                "y": [_finite(epoch.get(term)) for epoch in training.curve],
                "line": {"color": PALETTE[index % len(PALETTE)], "width": 3 if _is_total(term) else 1.5},
                "marker": {"size": 5},
            }
            for index, term in enumerate(terms)
        ]
        layout = {
            "xaxis": {"title": {"text": "epoch"}, "tickformat": "d", "nticks": min(11, len(epochs))},
            "yaxis": {"title": {"text": "mean loss"}, "rangemode": "tozero"},
            "margin": MARGIN,
            "hovermode": "x unified",
        }
        images = "" if training.images is None else f", {training.images} images"
        names = list(dict.fromkeys(record.dataset_title for record in same))
        targets = ", ".join(names) if len(names) < 5 else f"{len(names)} datasets"
        caption = f"{same[0].title}, seed {same[0].cell.seed}, on {training.source}{images}; used for {targets}"
        made.append(Chart(checkpoint, caption, {"data": data, "layout": layout}, log=True))
    return made


def _is_total(term: str) -> bool:
    """Return whether a line of a curve is the whole loss, of the training or of one of its stages."""
    return term.rpartition(": ")[2] == "total"


def ablation_chart(grid: Grid, key: str) -> Chart:
    """Return a chart of an ablation over its variants, with a line per dataset and metric."""
    rows = [escape(row) for row in grid.values]
    data: list[dict[str, Any]] = []
    for column, dataset in enumerate(grid.datasets):
        for index, metric in enumerate(grid.metrics):
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": escape(f"{dataset}, {METRICS[metric].heading}"),
                    "x": rows,
                    "y": [
                        None if _finite(value) is None else round(value or 0.0, 4)
                        for value in (cells[column][index] for cells in grid.values.values())
                    ],
                    "line": {"color": PALETTE[column % len(PALETTE)], "dash": DASHES[index % len(DASHES)], "width": 2},
                    "marker": {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 9},
                    "hovertemplate": "%{x}: %{y:.1f} %",
                }
            )
    layout = {
        "xaxis": {"type": "category", "automargin": True},
        "yaxis": {"title": {"text": "%"}},
        "margin": MARGIN,
    }
    return Chart(key, grid.title, {"data": data, "layout": layout})


def text_chart(dataset: str, texts: TextPlot, key: str) -> Chart:
    """Return a chart of text embeddings, with a colour for normal and abnormal and a symbol per kind of embedding."""
    names = list(dict.fromkeys(point.name for point in texts.points))
    data = []
    for index, name in enumerate(names):
        for colour, side in zip((PALETTE[0], PALETTE[6]), SIDES, strict=True):
            same = [point for point in texts.points if point.name == name and point.side == side]
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": side if len(names) == 1 else escape(f"{name}, {side}"),
                    "x": [point.x for point in same],
                    "y": [point.y for point in same],
                    "text": [escape(point.class_names) for point in same],
                    "hovertemplate": "%{text}<extra>" + f"{side}</extra>",
                    "marker": {
                        "color": colour,
                        "symbol": SYMBOLS[index % len(SYMBOLS)],
                        "size": 7 if len(texts.points) > 100 else 10,
                        "opacity": 0.85,
                        "line": {"width": 0},
                    },
                }
            )
    axis = {"showticklabels": False, "showgrid": False, "zeroline": False, "mirror": True, "showline": True}
    layout = {
        "xaxis": axis,
        "yaxis": axis,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": {"y": -0.02, "yanchor": "top", "itemsizing": "constant"},
    }
    return Chart(key, f"{texts.title} on {dataset}", {"data": data, "layout": layout}, height=360 + 12 * len(names))


@dataclass(frozen=True)
class CostPoint:
    """A method in a chart of costs."""

    name: str
    milliseconds: float
    """Time per image of the vision tower and the method."""
    value: float
    """Mean of the metric, in percent."""


def cost_chart(points: Sequence[CostPoint], caption: str, key: str) -> Chart:
    """Return a chart of a metric over the time of an image, with a colour and a symbol per point."""
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": escape(point.name),
            "x": [round(point.milliseconds, 3)],
            "y": [round(point.value, 4)],
            "marker": {
                "color": PALETTE[index % len(PALETTE)],
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "size": 12,
                "opacity": 0.85,
            },
            "hovertemplate": "%{x:.1f} ms, %{y:.1f} %",
        }
        for index, point in enumerate(points)
    ]
    layout = {
        "xaxis": {"title": {"text": "ms per image, vision and method"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "%"}},
        "margin": MARGIN,
    }
    rows = math.ceil(len(points) / 2)  # of the legend on a phone
    return Chart(key, caption, {"data": data, "layout": layout}, height=280 + 20 * rows)
