"""Charts as JSON for Plotly. The page adds the colours of its light or dark theme."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.report.charts.texts import SIDES, TextPlot
from benchmark.tables import MEAN, Grid

PALETTE = ("#2f7ed8", "#e07b00", "#1f9e77", "#c74a8a", "#8a63d2", "#9a7d0a", "#d64545", "#4aa3b5", "#7a7a7a")
"""Colours that can be told apart on white and on black."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot")
LONGEST = 24
"""Letters of a name at an axis."""
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
                # The whole loss is a wide pale line, so that a term that makes up all of it is seen upon it.
                "line": {"color": PALETTE[index % len(PALETTE)], "width": 6 if _is_total(term) else 1.5},
                "marker": {"size": 5},
                "opacity": 0.4 if _is_total(term) else 1,
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
    """Return a chart of an ablation: a row per variant, and a mark for each difference to the default.

    Each metric has a colour and a symbol. Where there are means over several datasets, these are the large marks, and
    the small ones are the datasets. Without a result of the default the marks are the values themselves.
    """
    shown = {row: changes for row, changes in grid.changes.items() if changes is not None}
    against_default = any(value is not None for cells in shown.values() for cell in cells for value in cell)
    if not against_default:
        shown = grid.values
    variants = list(shown)
    means = [column for column, name in enumerate(grid.datasets) if name.startswith(MEAN)]
    large = means or list(range(len(grid.datasets)))
    data: list[dict[str, Any]] = []
    for index, metric in enumerate(grid.metrics):
        # Marks of one row stand at different heights, so that none hides another.
        shift = 0.5 * ((index + 0.5) / len(grid.metrics) - 0.5)
        for columns in (large, [column for column in range(len(grid.datasets)) if column not in large]):
            marks = [
                (len(variants) - 1 - place - shift, value, f"{row}, {grid.datasets[column]}")
                for place, row in enumerate(variants)
                for column in columns
                if (value := _finite(shown[row][column][index])) is not None
            ]
            if marks:
                data.append(
                    {
                        "type": "scatter",
                        "mode": "markers",
                        "name": METRICS[metric].heading,
                        "legendgroup": metric,
                        "showlegend": columns is large,
                        "x": [round(value, 3) for _, value, _ in marks],
                        "y": [round(y, 3) for y, _, _ in marks],
                        "text": [escape(name) for *_, name in marks],
                        "marker": {
                            "color": PALETTE[index % len(PALETTE)],
                            "symbol": SYMBOLS[index % len(SYMBOLS)],
                            "size": 10 if columns is large else 5,
                            "opacity": 1 if columns is large else 0.5,
                        },
                        "hovertemplate": "%{text}: %{x:"
                        + ("+" if against_default else "")
                        + ".1f}<extra>"
                        + METRICS[metric].heading
                        + "</extra>",
                    }
                )
    layout = {
        "xaxis": {
            "title": {
                "text": "difference to the default, in points" if against_default else "%, no result of the default"
            },
            "zeroline": against_default,
            "zerolinewidth": 2,
        },
        "yaxis": {
            "tickvals": list(range(len(variants))),
            "ticktext": [_shortened(row) for row in reversed(variants)],
            "range": [-0.6, len(variants) - 0.4],
            "zeroline": False,
            "automargin": True,
        },
        "margin": MARGIN | {"l": 8, "b": 44},
        "hovermode": "closest",
    }
    kind = "differences to the default, in percentage points," if against_default else "percentages"
    what = f"{grid.title}: {kind} of {', '.join(variants)}."
    height = 110 + 40 * len(variants)
    return Chart(
        key, "", {"data": data, "layout": layout}, height=height, alternative=f"{what} The table has the numbers."
    )


def _shortened(text: str) -> str:
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


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
