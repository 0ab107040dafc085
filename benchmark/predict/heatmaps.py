"""Drawing anomaly maps: colours for values, a heatmap over its photo."""

import functools

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating]

COLOUR_MAP = "turbo"
"""Matplotlib's name of it. Its hues show on white, black, grey and red photos alike; maps that go from dark to light,
such as inferno, vanish on one of them."""
OPACITY = 0.75
"""Of the colour over the photo where the value is highest; in proportion below."""


def colours(values: Floats) -> npt.NDArray[np.uint8]:
    """Return the colours (…, 3), 8-bit RGB, of values (…) in [0, 1], the highest of them red.

    Raises:
        ValueError: a value is not finite, or outside of [0, 1].
    """
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0 or values.max(initial=0.0) > 1:
        raise ValueError("colours are for values in [0, 1]")
    return _table()[np.rint(values * 255).astype(np.uint8)]


def overlay(
    image: Image.Image, anomaly_map: Floats, *, low: float, high: float, size: int | None = None
) -> Image.Image:
    """Return the image with an anomaly map over it; the higher a value, the more its colour hides the photo.

    Args:
        image: RGB.
        anomaly_map: (h, w), of any size; resized bilinearly.
        low: the value, and all below it, where the photo shows unchanged.
        high: the value, and all above it, that gets the strongest colour. If it is `low`, that holds for all above.
        size: longer side of the result in pixels, in the image's proportions; None: as large as the image.

    Raises:
        ValueError: a value, `low` or `high` is not finite, or `low` is above `high`.
    """
    levels = Image.fromarray(np.rint(255 * _rescale(anomaly_map, low, high)).astype(np.uint8))
    image = image if size is None else image.resize(_fit(image.size, size), Image.Resampling.LANCZOS)
    levels = levels.resize(image.size, Image.Resampling.BILINEAR)
    alpha = levels.point([round(level * OPACITY) for level in range(256)])
    levels.putpalette(_table().tobytes())  # Pillow looks colours up without arrays of 12 bytes a pixel
    return Image.composite(levels.convert("RGB"), image, alpha)


@functools.cache
def _table() -> npt.NDArray[np.uint8]:
    """Return the colours (256, 3) from low to high."""
    table: npt.NDArray[np.uint8] = matplotlib.colormaps[COLOUR_MAP](np.arange(256), bytes=True)[:, :3]
    return np.ascontiguousarray(table)


def _rescale(values: Floats, low: float, high: float) -> npt.NDArray[np.float64]:
    if not (np.isfinite(values).all() and np.isfinite([low, high]).all()):
        raise ValueError("an anomaly map with values that are not finite cannot be drawn")
    if low > high:
        raise ValueError(f"the lowest value of the colours, {low}, is above the highest, {high}")
    above = values.astype(np.float64) - low
    return np.clip(above / (high - low), 0, 1) if high > low else (above > 0).astype(np.float64)


def _fit(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Return width and height with that longer side, in the same proportions."""
    width, height = (max(1, round(side * longer / max(size))) for side in size)
    return width, height
