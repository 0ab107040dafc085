"""Scatter of quality against cost, with the methods that no other equals or beats in both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.report.charts.chart import MARGIN, PALETTE, SYMBOLS, Chart, ChartTable, escape


@dataclass(frozen=True)
class CostAxis:
    """A kind of cost."""

    key: str
    name: str
    """What a reader chooses."""
    unit: str
    note: str
    """What the cost holds, and what it leaves out."""


@dataclass(frozen=True)
class CostPoint:
    """A method in a chart of costs."""

    title: str
    """Title of the method."""
    name: str
    """The title, with the place where it ran if there are several."""
    cost: float
    value: float
    """Mean of the metric, in percent."""
    place: int
    """Place of the method in the order of all methods, which gives it its colour and symbol."""


def front(points: Sequence[CostPoint]) -> list[CostPoint]:
    """Return the points than which no other is as cheap and better, or cheaper and as good, the cheapest first."""
    found: list[CostPoint] = []
    for point in sorted(points, key=lambda each: (each.cost, -each.value)):
        if not found or point.value > found[-1].value:
            found.append(point)
    return found


def cost_chart(points: Sequence[CostPoint], axis: CostAxis, caption: str, key: str) -> Chart:
    """Return a chart of a metric over a cost, with a colour and a symbol per point and a line along the front.

    Args:
        points: The methods, at least one.
        axis: The cost.
        caption: What is shown.
        key: Id of the chart.
    """
    best = front(points)
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "showlegend": False,
            "x": [_rounded(point.cost) for point in best],
            "y": [round(point.value, 3) for point in best],
            "line": {"color": "#8a8f98", "width": 1.5, "dash": "dot", "shape": "hv"},
            "hoverinfo": "skip",
        }
    ]
    data += [
        {
            "type": "scatter",
            "mode": "markers",
            "name": escape(point.name),
            "meta": point.title,
            "x": [_rounded(point.cost)],
            "y": [round(point.value, 3)],
            "marker": {
                "color": PALETTE[point.place % len(PALETTE)],
                "symbol": SYMBOLS[point.place % len(SYMBOLS)],
                "size": 12,
                "opacity": 0.85,
            },
            "hovertemplate": f"%{{x:,.4~g}} {axis.unit}, %{{y:.1f}} %",
        }
        for point in points
    ]
    layout = {
        "xaxis": {"title": {"text": f"{axis.name.lower()}, {axis.unit}"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "%"}},
        "margin": MARGIN,
        "hovermode": "closest",
    }
    rows = math.ceil(len(points) / 2)  # of the legend on a phone
    listed = ", ".join(point.name for point in best)
    names = {point.name for point in best}
    table = ChartTable(
        ("Method", f"{axis.name}, {axis.unit}", "%", "Not beaten"),
        tuple((p.name, f"{p.cost:,.4g}", f"{p.value:.1f}", "yes" if p.name in names else "") for p in points),
    )
    return Chart(
        key,
        caption,
        {"data": data, "layout": layout},
        height=280 + 20 * rows,
        alternative=f"{caption}. No other method equals or beats these in both: {listed}.",
        table=table,
    )


def _rounded(value: float) -> float:
    """Return a value with five digits."""
    return float(f"{value:.5g}")
