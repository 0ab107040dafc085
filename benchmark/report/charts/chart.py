"""What all charts share. A chart is JSON for Plotly; the page adds the colours of its light or dark theme."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PALETTE = ("#2f7ed8", "#e07b00", "#1f9e77", "#c74a8a", "#8a63d2", "#9a7d0a", "#d64545", "#4aa3b5", "#7a7a7a")
"""Colours that can be told apart on white and on black."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot")
LONGEST = 24
"""Letters of a name at an axis."""
STEPS = 10_000
"""Number of steps of a rate in the data of a page."""
MARGIN = {"l": 56, "r": 16, "t": 12, "b": 48}


def escape(text: str) -> str:
    """Return a text that Plotly shows literally; Plotly interprets some HTML tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def finite(value: float | None) -> float | None:
    """Return the value, or None if it is NaN or infinite, which JSON cannot express."""
    return value if value is not None and math.isfinite(value) else None


def look(place: int) -> tuple[str, str]:
    """Return the colour and the dash of the method at a place in the order of the methods."""
    return PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)]


def packed(fractions: npt.ArrayLike) -> dict[str, str]:
    """Return fractions in steps of 1/10000 as Plotly takes arrays of integers; the script of the charts divides."""
    steps = np.rint(np.asarray(fractions, np.float64) * STEPS).astype("<u2")
    return {"bdata": base64.b64encode(steps.tobytes()).decode(), "dtype": "u2"}


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
