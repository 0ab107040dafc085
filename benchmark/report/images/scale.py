"""The scale of heatmaps: percentiles among the normal pixels of a class, so that colours of methods compare.

The colour of a value says which part of the normal pixels has a lower value. It begins at the median of the normal
pixels and has reached its end at their 99.9th percentile. Between them it grows with the logarithm of the part of the
normal pixels that is higher, since anomalies are told apart in this tail: 90 %, 99 % and 99.9 % are about as far from
each other. An outlier has the colour of the end and changes no other colour.

The percentiles are those of the stored maps. The stored histograms of pixels count normal pixels too, but they do not
keep at which values their bins begin.
"""

import base64
import enum
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.metrics import ClassImages
from benchmark.predict import colours

START, END = 50.0, 99.9
"""Percentiles among the normal pixels at which the colours begin and end."""
TICKS = (50.0, 90.0, 99.0, 99.9)
"""Percentiles that are written below the colour bar."""

Levels = npt.NDArray[np.uint8]


class Reference(enum.IntEnum):
    """The pixels that count as the normal pixels of a class."""

    NORMAL_IMAGES = 0
    """All pixels of the normal images."""
    OUTSIDE_MASKS = 1
    """Without normal images: the pixels outside the ground truth of the images that are shown."""
    ALL = 2
    """Without either: all pixels of all images."""


def reference_of(images: Iterable[ClassImages], masks: Mapping[str, npt.NDArray[np.bool_]]) -> Reference:
    """Return which pixels count as normal. It is the same for all methods of a class.

    Args:
        images: Results per image of the class, one for each method.
        masks: Masks of anomalous images by key; each has the size of its image.
    """
    known = list(images)
    if all((each.labels == 0).any() for each in known):
        return Reference.NORMAL_IMAGES
    outside = (normal_values(each, masks, Reference.OUTSIDE_MASKS) for each in known)
    return Reference.OUTSIDE_MASKS if all(values.size for values in outside) else Reference.ALL


def normal_values(images: ClassImages, masks: Mapping[str, npt.NDArray[np.bool_]], reference: Reference) -> Levels:
    """Return the values of the normal pixels on the grid of the method, from 0 to 255, of shape `(N,)`.

    Where masks are used, a cell of the grid is normal if no pixel of the mask in it is anomalous.
    """
    if reference is Reference.NORMAL_IMAGES:
        return np.ravel(images.maps[images.labels == 0])
    if reference is Reference.ALL:
        return np.ravel(images.maps)
    places = {key: index for index, key in enumerate(images.keys)}
    size = images.maps.shape[:0:-1]
    found: list[Levels] = [np.zeros(0, np.uint8)]
    for key, mask in masks.items():
        if key in places:
            grid = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
            found.append(images.maps[places[key]][np.asarray(grid) == 0])
    return np.concatenate(found)


def shares_below(values: Levels) -> npt.NDArray[np.float64]:
    """Return, for each level from 0 to 255, which part of some values is lower. Equal values count half.

    Args:
        values: Values from 0 to 255 of shape `(N,)`, at least one.

    Returns:
        Shares of shape `(256,)`.
    """
    counts = np.bincount(values, minlength=256)
    shares: npt.NDArray[np.float64] = (np.cumsum(counts) - counts / 2) / counts.sum()
    return shares


def position(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the place of shares on the colour bar, from 0 at `START` and below to 1 at `END` and above."""
    with np.errstate(divide="ignore"):
        tail = -np.log10(1 - np.asarray(share, np.float64))
    first, last = (-np.log10(1 - percentile / 100) for percentile in (START, END))
    found: npt.NDArray[np.float64] = np.clip((tail - first) / (last - first), 0, 1)
    return found


def colour_levels(values: Levels) -> Levels:
    """Return the colour of each level of a map, from 0 to 255, of shape `(256,)`.

    Args:
        values: Values of the normal pixels; see `normal_values`.
    """
    return np.rint(255 * position(shares_below(values))).astype(np.uint8)


def bar_colours() -> str:
    """Return evenly spaced colours of the colour bar, from low to high, as base64 of RGB bytes."""
    return base64.b64encode(colours(np.linspace(0, 1, 33)).tobytes()).decode()


def ticks() -> list[tuple[str, float]]:
    """Return the percentiles of `TICKS` as texts, with their places on the colour bar from 0 to 1."""
    places = position(np.array(TICKS) / 100)
    return [(f"{tick:g}", round(float(place), 3)) for tick, place in zip(TICKS, places, strict=True)]
