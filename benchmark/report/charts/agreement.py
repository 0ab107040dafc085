"""The chart of results beside published numbers."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.report.charts.chart import MARGIN, PALETTE, SYMBOLS, Chart, escape


@dataclass(frozen=True)
class AgreementPoint:
    """A published number and the result here; percent."""

    method: str
    row: str
    """Id of its row on the page."""
    label: str
    published: float
    ours: float


def agreement_chart(points: Sequence[AgreementPoint], *, tolerance: float, key: str) -> Chart:
    """Return a chart of results over published numbers, with the band in which both agree and a trace per method.

    Each point carries the id of its row as `customdata`, each trace of a method the method as `meta`.

    Args:
        points: At least one.
        tolerance: Half the height of the band, in points.
        key: Id of the chart on its page.
    """
    values = [value for point in points for value in (point.published, point.ours)]
    low, high = 5 * math.floor(min(values) / 5), 100
    of_method: dict[str, list[AgreementPoint]] = defaultdict(list)
    for point in points:
        of_method[point.method].append(point)
    band: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": f"± {tolerance:g} point{'' if tolerance == 1 else 's'}",
        "x": [low, high, high, low],
        "y": [low - tolerance, high - tolerance, high + tolerance, low + tolerance],
        "fill": "toself",
        "fillcolor": "rgba(128,128,128,0.35)",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": escape(method),
            "meta": method,
            "x": [round(point.published, 4) for point in same],
            "y": [round(point.ours, 4) for point in same],
            "text": [escape(point.label) for point in same],
            "customdata": [point.row for point in same],
            "marker": {
                "color": PALETTE[index % len(PALETTE)],
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "size": 7,
                "opacity": 0.75,
            },
            "hovertemplate": "%{text}<br>published %{x:.1f}, ours %{y:.1f}",
        }
        for index, (method, same) in enumerate(of_method.items())
    ]
    layout = {
        "xaxis": {"title": {"text": "published, %"}, "range": [low, high + 1]},
        "yaxis": {"title": {"text": "ours, %"}, "range": [low, high + 1]},
        "margin": MARGIN,
        "hovermode": "closest",
    }
    caption = "Ours over published. A click on a point shows its row."
    return Chart(key, caption, {"data": [band, *data], "layout": layout}, height=430)
