"""Anomalous regions: binary masks from anomaly maps, their connected regions, and their outlines."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

OUTLINE = (255, 0, 255)
"""Colour of outlines: magenta, which neither parts nor tissue have, and which the colour map of heatmaps lacks."""


class Region(NamedTuple):
    """A connected region of a mask."""

    area: int
    """Number of its pixels."""
    box: tuple[int, int, int, int]
    """The pixels from left and top up to, and without, right and bottom."""


def mask_at(anomaly_map: Floats, threshold: float, size: tuple[int, int]) -> Mask:
    """Return where a map, resized bilinearly, is at least the threshold, of shape `(height, width)`.

    Args:
        anomaly_map: Map of shape `(h, w)`.
        threshold: The value from which on a pixel is anomalous.
        size: Width and height of the mask in pixels.
    """
    resized = Image.fromarray(anomaly_map.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized) >= np.float64(threshold)  # not rounded to float32, in which it may equal a neighbour


def regions_of(mask: Mask) -> tuple[Region, ...]:
    """Return the 8-connected regions of a mask, the largest first."""
    from skimage.measure import label, regionprops

    found = []
    for each in regionprops(label(mask, connectivity=2)):
        top, left, bottom, right = each.bbox
        found.append(Region(int(each.area), (int(left), int(top), int(right), int(bottom))))
    return tuple(sorted(found, key=lambda region: (-region.area, region.box)))


def outlined(image: Image.Image, mask: Mask) -> Image.Image:
    """Return an RGB image with the outlines of a mask's regions drawn over it.

    Args:
        image: An RGB image.
        mask: Mask of any size. Where it is larger than the image, a pixel of the image is anomalous if one of those
            that it stands for is, so that small regions are not lost.
    """
    from skimage.segmentation import find_boundaries

    drawn = np.array(image)
    fitted = Image.fromarray(mask.astype(np.float32)).resize(image.size, Image.Resampling.BOX)
    drawn[find_boundaries(np.asarray(fitted) > 0, mode="thick")] = OUTLINE
    return Image.fromarray(drawn)
