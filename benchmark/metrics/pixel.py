"""Metrics at pixel level, exact or nearly so, in memory that does not grow with the number of images.

Pixel scores are counted in a sorted histogram of bounded size, so no map is kept and the histograms of several sets of
images add up. Higher scores mean more anomalous; they need not lie in [0, 1].

A bin is named by a key: the bits of a float32 score as an unsigned integer, rearranged so that keys ascend as scores
do. Where there are more distinct scores than bins, all keys lose their last bits, and scores that then share a key are
ties. With shift = 2 (a real shift is between 0 and about 12, of 23 bits of a mantissa):

    score            bits: sign, exponent, mantissa          key (sign flipped)      key >> 2
    0.25             0 01111101 00000000000000000000000      0xBE800000              0x2FA00000
    0.25 + 1 ulp     0 01111101 00000000000000000000001      0xBE800001              0x2FA00000   a tie of the first
    0.25 + 4 ulp     0 01111101 00000000000000000000100      0xBE800004              0x2FA00001

A key >> 2 << 2 is the lowest key of its bin, and the score of that key stands for the bin. Since a bin is a number of
steps of the mantissa, its width is relative: as fine for scores near 1e-6 as for those near 0.25.
"""

import math
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmark.metrics.curve import Curve, FloatArray, descending_curve
from benchmark.metrics.fragile import Range, moved
from benchmark.metrics.names import METRICS, PIXEL_METRICS

MAX_BINS = 2**19  # at most 17 MB of histograms
DEFECT_BINS = 2**16  # at most 2 MB for each kind of defect, of which a class may have many
MIN_BINS = 2**9  # with fewer, a bin could span more than one sign and exponent
BUFFER_PIXELS = 2**22  # 16 MB
_BLOCK = 2**16  # fits the processor's cache
MAX_SCORE = 2.0**100  # 1.3e30
_SIGN, _HALF = np.uint32(2**31), np.float32(0.5).view(np.uint32)  # bits of the sign, and of 0.5
_ROOM = np.uint32(23 * 2**23)  # what 1 - score spans from 2**-24 to 0.5

KeyArray = npt.NDArray[np.uint32]


def region_weights(mask: npt.NDArray[np.bool_]) -> tuple[FloatArray, int]:
    """Return 1 / (size of its region) for each true pixel of `mask` (H, W), in row-major order, and how many regions.

    Regions are 8-connected, as in every published code: with 4-connectivity a diagonal line would be many regions.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.empty(0), 0
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # the order of the true pixels stays
    labels = np.empty(box.shape, dtype=np.int32)
    ndimage.label(box, structure=np.ones((3, 3)), output=labels)
    region_of = labels[box] - 1
    sizes = np.bincount(region_of)
    return (1.0 / sizes)[region_of], len(sizes)


def order_keys(scores: npt.NDArray[np.float32]) -> KeyArray:
    """Return integers in the order of `scores`, which are float32 within ±MAX_SCORE and without -0.0.

    The bits of a positive float32, read as an integer, ascend with the score; those of a negative one descend. So the
    sign bit is flipped for positive scores and all bits for negative ones. In [0.5, 1) the key is made of the bits of
    1 - score, which is exact, mirrored so that it ascends: a saturated probability near 1 is resolved as finely as one
    near 0. Scores from 1 on move up to make room. With b(x) for the bits of x:

        score         key
        -2            ~b(-2)
        -0.25         ~b(-0.25)
        0.25          b(0.25)               + 2**31
        0.5           2 b(0.5) - b(0.5)     + 2**31
        0.75          2 b(0.5) - b(0.25)    + 2**31
        1 - 2**-24    2 b(0.5) - b(2**-24)  + 2**31
        1             b(1) + _ROOM          + 2**31

    `_ROOM` is what the mirrored scores take: the number of floats from 2**-24 to 0.5.
    """
    bits = scores.view(np.uint32)
    keys = bits + _SIGN
    if (upper := scores >= 0.5).any():
        values = scores[upper]
        keys[upper] = np.where(values < 1, 2 * _HALF - (1 - values).view(np.uint32), bits[upper] + _ROOM) + _SIGN
    return keys if scores.min() >= 0 else np.where(scores < 0, ~bits, keys)


def scores_of(keys: KeyArray) -> FloatArray:
    """Return the scores of keys, in float64: the inverse of `order_keys`."""
    codes, below = keys & ~_SIGN, keys < _SIGN
    mirrored = (codes >= _HALF) & (codes <= _HALF + _ROOM)
    bits = np.where(mirrored, 2 * _HALF - codes, np.where(codes < _HALF, codes, codes - _ROOM))
    scores = bits.view(np.float32).astype(np.float64)
    scores[mirrored] = 1 - scores[mirrored]
    scores[below] = (~keys[below]).view(np.float32)
    return scores


def _run_starts(ordered: KeyArray) -> npt.NDArray[np.bool_]:
    """Return True where a run of equal values begins."""
    starts = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    return starts


def _count_within(first: KeyArray, last: KeyArray) -> int:
    """Return how many integers lie in at least one of the intervals from `first` to `last`, both (K,) and ascending."""
    begin = first.astype(np.int64)
    begin[1:] = np.maximum(begin[1:], last[:-1].astype(np.int64) + 1)
    return int(np.maximum(last.astype(np.int64) - begin + 1, 0).sum())


class _Histogram(NamedTuple):
    """Sorted distinct keys (K,) and sums (K,) over the pixels of each: their number, perhaps their region weights."""

    keys: KeyArray
    sums: tuple[FloatArray, ...]

    def coarser(self, bits: int) -> "_Histogram":
        """Return the same pixels under keys without their last `bits` bits."""
        return self if not bits else self._grouped(self.keys >> np.uint32(bits))

    def plus(self, other: "_Histogram") -> "_Histogram":
        """Return the pixels of both."""
        if not len(other.keys):
            return self
        keys = np.concatenate((self.keys, other.keys))
        order = np.argsort(keys, kind="stable")  # of two sorted runs, so it takes linear time
        pairs = zip(self.sums, other.sums, strict=True)
        return _Histogram(keys, tuple(np.concatenate(pair)[order] for pair in pairs))._grouped(keys[order])

    def _grouped(self, ordered: KeyArray) -> "_Histogram":
        starts = _run_starts(ordered)
        group = np.cumsum(starts) - 1
        sums = (cast(FloatArray, np.bincount(group, weights=column)) for column in self.sums)
        return _Histogram(ordered[starts], tuple(sums))


_NO_KEYS, _NO_SUMS = np.empty(0, np.uint32), np.empty(0)


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

    keys: KeyArray
    """Of all pixels (H * W,)."""
    positive_keys: KeyArray
    """Of the positive pixels (P,)."""
    weights: FloatArray
    """1 / (size of its region) of each positive pixel (P,)."""
    regions: int
    """Number of connected positive regions."""
    limits: tuple[float, float]
    """The lowest and the highest score."""


def image_pixels(anomaly_map: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> ImagePixels:
    """Return the pixels of an image: its map (H, W), any float type, compared as float32, and its mask (H, W), bool.

    True stands for a defect. Where a mask of grey values becomes a defect is for its dataset to say.

    Raises:
        ValueError: a score is NaN, infinite or beyond ±1.2e30, or a shape or a type is another.
    """
    scores, mask = np.asarray(anomaly_map), np.asarray(mask)
    if scores.ndim != 2 or scores.shape != mask.shape or not scores.size:
        raise ValueError(f"map has shape {scores.shape} and mask {mask.shape}; both must be the same (H, W)")
    if scores.dtype.kind != "f" or mask.dtype != np.bool_:
        raise ValueError(f"map is {scores.dtype} and mask {mask.dtype}; they must be float and bool")
    with np.errstate(over="ignore"):
        scores = np.add(scores, 0.0, dtype=np.float32, order="C")  # turns -0.0 into 0.0: they are one score
    limits = map_limits(scores)
    keys = order_keys(scores)
    weights, regions = region_weights(mask)
    return ImagePixels(keys.ravel(), keys[mask] if regions else _NO_KEYS, weights, regions, limits)


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
        self._max_bins = max_bins
        self._shift, self._regions, self._low, self._high = 0, 0, math.inf, -math.inf
        self._pixels = _Histogram(_NO_KEYS, (_NO_SUMS,))
        self._positives = _Histogram(_NO_KEYS, (_NO_SUMS, _NO_SUMS))
        # Pixels not yet in the histograms: keys of all of them, and keys and weights of the positive ones.
        self._buffer = np.empty(buffer_pixels, np.uint32)
        self._filled = 0
        self._pending: list[tuple[KeyArray, FloatArray]] = []

    def update(self, anomaly_map: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        """Add one image with its map and its mask, as `image_pixels` reads them.

        Raises:
            ValueError: as in `image_pixels`. Nothing is added.
        """
        self.add(image_pixels(anomaly_map, mask))

    def add(self, image: ImagePixels) -> None:
        """Add the pixels of one image."""
        self._low, self._high = min(self._low, image.limits[0]), max(self._high, image.limits[1])
        if image.regions:
            self._regions += image.regions
            self._pending.append((image.positive_keys, image.weights))
        for start in range(0, image.keys.size, len(self._buffer)):
            part = image.keys[start : start + len(self._buffer)]
            if self._filled + len(part) > len(self._buffer):
                self._compact()
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)

    def merge(self, other: "PixelMetrics") -> None:
        """Add the images of another, which keeps its own.

        Raises:
            ValueError: it has another `max_bins`.
        """
        if other._max_bins != self._max_bins:
            raise ValueError(f"cannot merge pixels with max_bins {self._max_bins} and {other._max_bins}")
        self._compact()
        other._compact()
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._regions += other._regions
        self._absorb(other._shift, other._pixels, other._positives)

    def compute(self) -> dict[str, float | None]:
        """Return the values of `PIXEL_METRICS`, as fractions; None where undefined."""
        curve = self.curve()
        return {key: METRICS[key].value(curve) for key in PIXEL_METRICS}

    def compute_ranges(self) -> dict[str, Range]:
        """Return the least and the greatest value of each fragile metric when scores move by one part in a million.

        The value that `compute` gives lies between the two. A metric that every such move leaves undefined is missing.
        """
        curve, (least, greatest) = self.curve(), self._moved()
        ranges = {}
        for metric in map(METRICS.__getitem__, PIXEL_METRICS):
            if metric.value_range and (found := metric.value_range(curve, least[::-1], greatest[::-1])):
                value = metric.value(curve)
                ranges[metric.key] = found if value is None else (min(found[0], value), max(found[1], value))
        return ranges

    def curve(self) -> Curve:
        """Return the curve of the bins, each with its lowest score."""
        self._compact()
        positives, weights = np.zeros((2, len(self._pixels.keys)))
        rows = np.searchsorted(self._pixels.keys, self._positives.keys)
        positives[rows], weights[rows] = self._positives.sums
        return descending_curve(
            scores_of(self._pixels.keys << np.uint32(self._shift)),
            self._pixels.sums[0] - positives,
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
        if not len(self._pixels.keys):
            return _NO_SUMS, _NO_SUMS
        shift, first = self._shift, self._pixels.keys << np.uint32(self._shift)
        last = first + np.uint32(2**shift - 1)
        least, greatest = moved(scores_of(first))[0], moved(scores_of(last))[1]
        bottom, top = (order_keys(np.clip(ends, -MAX_SCORE, MAX_SCORE) + np.float32(0)) for ends in (least, greatest))
        pixels = self._pixels.sums[0].sum()
        while min(pixels, _count_within(bottom >> np.uint32(shift), top >> np.uint32(shift))) > self._max_bins:
            shift += 1
        return scores_of(bottom >> np.uint32(shift) << np.uint32(shift)), greatest.astype(np.float64)

    def histogram(self) -> PixelHistogram:
        """Return the pixels added so far, as they are kept."""
        self._compact()
        return PixelHistogram(
            shift=self._shift,
            regions=self._regions,
            keys=self._pixels.keys,
            counts=self._pixels.sums[0],
            positive_keys=self._positives.keys,
            positive_counts=self._positives.sums[0],
            positive_weights=self._positives.sums[1],
        )

    def _compact(self) -> None:
        """Move the buffered pixels into the histograms."""
        if not self._filled:
            return
        keys, pixels = self._buffer[: self._filled], _Histogram(_NO_KEYS, (_NO_SUMS,))
        tabulated, shift = self._tabulate(keys), self._shift
        if not tabulated:
            keys >>= np.uint32(shift)
            keys.sort()
            while (distinct := int(np.count_nonzero(starts := _run_starts(keys)))) > self._max_bins:
                bits = ((distinct - 1) // self._max_bins).bit_length()  # any fewer cannot be enough
                keys >>= np.uint32(bits)
                shift += bits
            rows = np.flatnonzero(starts)
            pixels = _Histogram(keys[rows], (np.diff(rows, append=len(keys)).astype(np.float64),))
        positive_keys = np.concatenate([_NO_KEYS, *(keys for keys, _ in self._pending)]) >> np.uint32(shift)
        weights = np.concatenate([_NO_SUMS, *(weights for _, weights in self._pending)])
        order = np.argsort(positive_keys)
        positives = _Histogram(positive_keys, (np.ones(len(order)), weights[order]))._grouped(positive_keys[order])
        self._filled, self._pending = 0, []
        self._absorb(shift, pixels, positives)

    def _tabulate(self, keys: KeyArray) -> bool:
        """Count `keys` in a table, faster than by sorting; return False where bins would be coarser than need be."""
        low, high = order_keys(np.array([self._low, self._high], np.float32)).tolist()
        shift, limit = self._shift, 4 * min(self._max_bins, len(keys))  # for few keys a large table is no gain
        while (high >> shift) - (low >> shift) >= limit:
            shift += 1
        first, known = np.uint32(low >> shift), self._pixels.coarser(shift - self._shift)
        table = np.zeros((high >> shift) - (low >> shift) + 1, np.int32)  # of this buffer alone, so 32 bits are enough
        for start in range(0, len(keys), _BLOCK):
            np.add.at(table, ((keys[start : start + _BLOCK] >> np.uint32(shift)) - first).astype(np.intp), np.int32(1))
        counts = table.astype(np.float64)
        counts[known.keys - first] += known.sums[0]
        rows = np.flatnonzero(counts)
        if shift > self._shift and len(rows) <= self._max_bins:
            return False
        self._pixels = _Histogram((rows + first).astype(np.uint32), (counts[rows],))
        self._positives, self._shift = self._positives.coarser(shift - self._shift), shift
        return True

    def _absorb(self, shift: int, pixels: _Histogram, positives: _Histogram) -> None:
        """Add histograms at `shift`, then coarsen just as far as the bound asks."""
        common = max(self._shift, shift)
        mine, theirs = common - self._shift, common - shift
        self._pixels = self._pixels.coarser(mine).plus(pixels.coarser(theirs))
        self._positives, self._shift = self._positives.coarser(mine).plus(positives.coarser(theirs)), common
        while len(self._pixels.keys) > self._max_bins:
            self._pixels, self._positives = self._pixels.coarser(1), self._positives.coarser(1)
            self._shift += 1
