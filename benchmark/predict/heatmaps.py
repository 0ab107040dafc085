"""Heatmaps: colours for values, and anomaly maps drawn over their images."""

import functools

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating]

COLOUR_MAP = "viridis"
"""Name of the colour map in matplotlib. Its lightness grows from low to high, so readers who do not tell red from green
and readers of a grey print see the same order."""
OPACITY = 0.75
"""Opacity of the colour of the highest value. The opacity of other values is proportional."""


def colours(values: Floats) -> npt.NDArray[np.uint8]:
    """Return the colours of values; the colour of 0 is dark violet, that of 1 is yellow.

    Args:
        values: Values in [0, 1], of any shape `(…)`.

    Returns:
        8-bit RGB colours of shape `(…, 3)`.

    Raises:
        ValueError: If a value is not finite or is outside of [0, 1].
    """
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0 or values.max(initial=0.0) > 1:
        raise ValueError("colours are for values in [0, 1]")
    return _table()[np.rint(values * 255).astype(np.uint8)]


def overlay(image: Image.Image, anomaly_map: Floats, *, low: float, high: float) -> Image.Image:
    """Return the image with an anomaly map drawn over it. Higher values have a stronger colour.

    Args:
        image: An RGB image.
        anomaly_map: Map of shape `(h, w)`. It is resized bilinearly to the image.
        low: Values up to `low` leave the image unchanged.
        high: Values from `high` on get the strongest colour. If `high` equals `low`, all values above `low` get it.

    Raises:
        ValueError: If a value, `low` or `high` is not finite, or if `low` is above `high`.
    """
    levels = Image.fromarray(np.rint(255 * _rescale(anomaly_map, low, high)).astype(np.uint8))
    levels = levels.resize(image.size, Image.Resampling.BILINEAR)
    alpha = levels.point([round(level * OPACITY) for level in range(256)])
    levels.putpalette(_table().tobytes())  # a palette needs less memory than an array of colours
    return Image.composite(levels.convert("RGB"), image, alpha)


def reduced(image: Image.Image, longer: int) -> Image.Image:
    """Return an image whose longer side has at most `longer` pixels. The proportions are kept."""
    if max(image.size) <= longer:
        return image
    width, height = (max(1, round(side * longer / max(image.size))) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


@functools.cache
def _table() -> npt.NDArray[np.uint8]:
    """Return the 256 colours of the colour map, from low to high, of shape `(256, 3)`."""
    table: npt.NDArray[np.uint8] = matplotlib.colormaps[COLOUR_MAP](np.arange(256), bytes=True)[:, :3]
    return np.ascontiguousarray(table)


def _rescale(values: Floats, low: float, high: float) -> npt.NDArray[np.float64]:
    if not (np.isfinite(values).all() and np.isfinite([low, high]).all()):
        raise ValueError("an anomaly map with values that are not finite cannot be drawn")
    if low > high:
        raise ValueError(f"the lowest value of the colours, {low}, is above the highest, {high}")
    above = values.astype(np.float64) - low
    return np.clip(above / (high - low), 0, 1) if high > low else (above > 0).astype(np.float64)
