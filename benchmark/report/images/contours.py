"""Contours of the ground truth, as polygons and as SVG paths."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from skimage.measure import approximate_polygon, find_contours

UNITS = 1000
"""Width and height of the square that an image fills in the coordinates of an SVG path."""

TOLERANCE = 0.3
"""Largest error of a simplified contour in pixels of the mask; it keeps the corners of small masks."""

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]


def contours(mask: Mask) -> list[Points]:
    """Return the closed contours of a mask, those of holes too.

    The contours run half a pixel outside of the centres of the anomalous pixels, so also a single pixel has one. They
    are simplified by at most `TOLERANCE` pixels of the mask, or a unit of `UNITS` if that is more; a contour that
    would be lost stays as it is.

    Args:
        mask: Mask of shape `(height, width)`, True where the image is anomalous.

    Returns:
        Points `(x, y)` of shape `(N, 2)`, the first one again at the end, in pixels from the upper left corner of the
        mask.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return []
    top, left = rows.min(), columns.min()
    part = np.pad(mask[top : rows.max() + 1, left : columns.max() + 1], 1)  # a contour at the edge is closed too
    tolerance = max(TOLERANCE, max(mask.shape) / UNITS)
    found = []
    for contour in find_contours(part.astype(np.float32), 0.5):
        simple = approximate_polygon(contour, tolerance)
        points = simple if len(simple) > 3 else contour
        found.append(np.column_stack([points[:, 1] + left - 0.5, points[:, 0] + top - 0.5]))
    return found


def svg_path(found: Sequence[Points], size: tuple[int, int]) -> str:
    """Return contours as the data of an SVG path, in a square of `UNITS` by `UNITS` that the image fills.

    Args:
        found: Closed contours; see `contours`.
        size: Width and height of the mask in pixels.
    """
    scale = UNITS / np.array(size)
    return "".join(
        "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in np.round(points[:-1] * scale, 1)) + "Z"
        for points in found
    )


def _short(value: float) -> str:
    return f"{value:g}"
