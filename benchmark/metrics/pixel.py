"""Metrics at pixel level, exact or nearly so, in memory that does not grow with the number of images.

Pixel scores are counted in a sorted histogram of bounded size (see `benchmark.metrics.histogram`), so no map is kept
and the histograms of several sets of images add up. Higher scores mean more anomalous; they need not lie in [0, 1].
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.common import Regions, find_regions
from benchmark.metrics.curve import Curve, FloatArray, descending_curve
from benchmark.metrics.fragile import Range, moved
from benchmark.metrics.histogram import NOTHING, Histogram, KeyArray, Pixels, added, order_keys, scores_of
from benchmark.metrics.names import METRICS, PIXEL_METRICS

MAX_BINS = 2**19  # at most 15 MB of histograms
DEFECT_BINS = 2**16  # at most 2 MB for each kind of defect, of which a class may have many
MIN_BINS = 2**9  # with fewer, a bin could span more than one sign and exponent
BUFFER_PIXELS = 2**22  # 16 MB
MAX_SCORE = 2.0**100  # 1.3e30

_NO_KEYS = np.empty(0, np.uint32)


def _count_within(first: KeyArray, last: KeyArray) -> int:
    """Return how many integers lie in at least one of the intervals from `first` to `last`, both (K,) and ascending."""
    begin = first.astype(np.int64)
    begin[1:] = np.maximum(begin[1:], last[:-1].astype(np.int64) + 1)
    return int(np.maximum(last.astype(np.int64) - begin + 1, 0).sum())


def map_limits(scores: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and the highest score of an anomaly map.

    Raises:
        ValueError: a score is NaN, infinite or beyond ±MAX_SCORE.
    """
    low, high = float(scores.min()), float(scores.max())  # a NaN anywhere comes out of both
    if not (low >= -MAX_SCORE and high <= MAX_SCORE):
        raise ValueError("anomaly map has a NaN or infinite score, or one beyond ±1.2e30; scores must be finite")
    return low, high


class ImagePixels(NamedTuple):
    """The pixels of one image as they are counted: worked out once, whatever number of states counts them."""

    pixels: Pixels
    regions: int
    """Number of connected positive regions."""
    limits: tuple[float, float]
    """The lowest and the highest score."""


def image_pixels(anomaly_map: npt.NDArray[Any], regions: Regions) -> ImagePixels:
    """Return the pixels of an image: its map (H, W), any float type, compared as float32, and the regions of its mask.

    Raises:
        ValueError: a score is NaN, infinite or beyond ±1.2e30, or the shape or the type of the map is another.
    """
    scores = np.asarray(anomaly_map)
    if scores.ndim != 2 or scores.shape != regions.shape or not scores.size:
        raise ValueError(f"map has shape {scores.shape} and mask {regions.shape}; both must be the same (H, W)")
    if scores.dtype.kind != "f":
        raise ValueError(f"map is {scores.dtype}; it must be float")
    with np.errstate(over="ignore"):
        scores = np.add(scores, 0.0, dtype=np.float32, order="C")  # turns -0.0 into 0.0: they are one score
    limits = map_limits(scores)
    keys, ends = order_keys(scores).ravel(), order_keys(np.array(limits, np.float32)).tolist()
    positive_keys = keys.take(regions.places) if regions.count else _NO_KEYS
    return ImagePixels(Pixels(keys, positive_keys, regions.weights, tuple(ends)), regions.count, limits)


class PixelHistogram(NamedTuple):
    """Pixels by bins of ascending score, of all K bins that occur and of the P bins that hold positive pixels."""

    shift: int
    """How many bits the keys have lost."""
    regions: int
    """Number of connected positive regions."""
    keys: KeyArray
    """Bins (K,)."""
    counts: FloatArray
    """Number of pixels of each (K,)."""
    positive_keys: KeyArray
    """Bins that hold positive pixels (P,)."""
    positive_counts: FloatArray
    """Number of positive pixels of each (P,)."""
    positive_weights: FloatArray
    """1 / (size of its region), summed over the positive pixels of each (P,)."""


def pixel_histogram(image: ImagePixels, *, max_bins: int) -> PixelHistogram:
    """Return the pixels of an image in at most `max_bins` bins, as fine as a power of two allows."""
    return _split(added(NOTHING, [image.pixels], max_bins=max_bins), image.regions)


def _split(histogram: Histogram, regions: int) -> PixelHistogram:
    counts, positives, weights = histogram.sums
    rows = np.flatnonzero(positives)
    return PixelHistogram(
        histogram.shift, regions, histogram.keys, counts, histogram.keys[rows], positives[rows], weights[rows]
    )


class PixelMetrics:
    """AUROC, AP, F1-max, AUPRO and AUPRO-200 of anomaly maps, in memory of fixed size.

    Scores are counted as float32 by keys without their last `shift` bits, where `shift` is the smallest that leaves at
    most `max_bins` distinct keys. Coarser bins are unions of finer ones, so the histogram is a function of the multiset
    of pixels: neither the order of images nor merges change a result (but for 1e-15, since region weights are summed in
    float64). Values are exact while at most `max_bins` distinct scores occur. Beyond, scores (in [0.5, 1): 1 - score)
    within a relative 2**(shift - 23) are ties, and AUPRO-200 takes a bin for its lowest score. For 10 million scores
    spread over [0.01, 0.99] that is 2**-16 and moves no exact metric by 1e-5.

    Args:
        max_bins: greatest number of bins.
        buffer_pixels: how many pixels are collected before they are sorted into bins; it changes no result.
    """

    def __init__(self, *, max_bins: int = MAX_BINS, buffer_pixels: int = BUFFER_PIXELS) -> None:
        if max_bins < MIN_BINS:
            raise ValueError(f"max_bins is {max_bins}; it must be at least {MIN_BINS}")
        self._max_bins, self._buffer_pixels = max_bins, buffer_pixels
        self._regions, self._low, self._high = 0, math.inf, -math.inf
        self._histogram = NOTHING
        self._waiting: list[Pixels] = []  # not yet in the histogram; several states may hold the same arrays
        self._filled = 0

    def update(self, anomaly_map: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        """Add one image with its map (H, W) and its mask (H, W), in which True stands for a defect.

        Raises:
            ValueError: as in `image_pixels` and `find_regions`. Nothing is added.
        """
        self.add(image_pixels(anomaly_map, find_regions(mask)))

    def add(self, image: ImagePixels) -> None:
        """Add the pixels of one image."""
        self._low, self._high = min(self._low, image.limits[0]), max(self._high, image.limits[1])
        self._regions += image.regions
        if self._filled + image.pixels.keys.size > self._buffer_pixels:
            self._count()
        self._waiting.append(image.pixels)
        self._filled += image.pixels.keys.size

    def merge(self, other: "PixelMetrics") -> None:
        """Add the images of another, which keeps its own.

        Raises:
            ValueError: it has another `max_bins`.
        """
        if other._max_bins != self._max_bins:
            raise ValueError(f"cannot merge pixels with max_bins {self._max_bins} and {other._max_bins}")
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._regions += other._regions
        self._histogram = self._count().plus(other._count()).at_most(self._max_bins)

    def compute(self, curve: Curve | None = None) -> dict[str, float | None]:
        """Return the values of `PIXEL_METRICS`, as fractions; None where undefined.

        Args:
            curve: what `curve` returns, if it is at hand.
        """
        curve = curve or self.curve()
        return {key: METRICS[key].value(curve) for key in PIXEL_METRICS}

    def compute_ranges(self, curve: Curve | None = None) -> dict[str, Range]:
        """Return the least and the greatest value of each fragile metric when scores move by one part in a million.

        The value that `compute` gives lies between the two. A metric that every such move leaves undefined is missing.

        Args:
            curve: what `curve` returns, if it is at hand.
        """
        curve, (least, greatest) = curve or self.curve(), self._moved()
        ranges = {}
        for metric in map(METRICS.__getitem__, PIXEL_METRICS):
            if metric.value_range and (found := metric.value_range(curve, least[::-1], greatest[::-1])):
                value = metric.value(curve)
                ranges[metric.key] = found if value is None else (min(found[0], value), max(found[1], value))
        return ranges

    def curve(self) -> Curve:
        """Return the curve of the bins, each with its lowest score."""
        shift, keys, (pixels, positives, weights) = self._count()
        return descending_curve(
            scores_of(keys << np.uint32(shift)),
            pixels - positives,
            positives,
            weights=weights,
            regions=self._regions,
            limits=(self._low, self._high),
        )

    def _moved(self) -> tuple[FloatArray, FloatArray]:
        """Return the least and the greatest score (K,) for which the pixels of each bin can count when scores move.

        A score that moves may come to lie in another bin, and count for the lowest score of that. More bins may then be
        taken than there may be, so that all become coarser: by how much is worked out from the bins within reach.
        """
        shift, keys, (counts, *_) = self._count()
        if not len(keys):
            return np.empty(0), np.empty(0)
        first = keys << np.uint32(shift)
        last = first + np.uint32(2**shift - 1)
        least, greatest = moved(scores_of(first))[0], moved(scores_of(last))[1]
        bottom, top = (order_keys(np.clip(ends, -MAX_SCORE, MAX_SCORE) + np.float32(0)) for ends in (least, greatest))
        pixels = counts.sum()
        while min(pixels, _count_within(bottom >> np.uint32(shift), top >> np.uint32(shift))) > self._max_bins:
            shift += 1
        return scores_of(bottom >> np.uint32(shift) << np.uint32(shift)), greatest.astype(np.float64)

    def histogram(self) -> PixelHistogram:
        """Return the pixels added so far, as they are kept."""
        return _split(self._count(), self._regions)

    def _count(self) -> Histogram:
        """Move the waiting pixels into the histogram, and return it."""
        if self._waiting:
            self._histogram = added(self._histogram, self._waiting, max_bins=self._max_bins)
            self._waiting, self._filled = [], 0
        return self._histogram
