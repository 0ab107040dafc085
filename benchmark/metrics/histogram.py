"""Histograms of scores with a bounded number of bins, named by keys.

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

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.metrics.curve import FloatArray

_SIGN, _HALF = np.uint32(2**31), np.float32(0.5).view(np.uint32)  # bits of the sign, and of 0.5
_ROOM = np.uint32(23 * 2**23)  # what 1 - score spans from 2**-24 to 0.5
_SPARSE = 4  # a table has at most so many places for each bin that there may be
_DIVIDED = 2**17  # places of a table of bins that are divided, at least: with few, keys are counted many times
_PART = 2**19  # keys that are worked on at a time

KeyArray = npt.NDArray[np.uint32]
PlaceArray = npt.NDArray[np.int64]


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
    upper = np.flatnonzero(scores >= 0.5)
    values = scores.take(upper)
    mirrored = np.where(values < 1, 2 * _HALF - (1 - values).view(np.uint32), values.view(np.uint32) + _ROOM)
    keys.put(upper, mirrored + _SIGN)
    return keys if scores.min(initial=0) >= 0 else np.where(scores < 0, ~bits, keys)


def scores_of(keys: KeyArray) -> FloatArray:
    """Return the scores of ascending keys (N,), in float64: the inverse of `order_keys`."""
    ends = np.array([_SIGN, _SIGN + _HALF, _SIGN + _HALF + _ROOM + np.uint32(1)])
    zero, half, one = np.searchsorted(keys, ends)  # where scores of 0 or more begin, those from 0.5, and those from 1
    scores = np.empty(len(keys))
    scores[:zero] = (~keys[:zero]).view(np.float32)
    scores[zero:half] = (keys[zero:half] - _SIGN).view(np.float32)
    np.subtract(1, (2 * _HALF + _SIGN - keys[half:one]).view(np.float32), out=scores[half:one], dtype=np.float64)
    scores[one:] = (keys[one:] - _SIGN - _ROOM).view(np.float32)
    return scores


class Histogram(NamedTuple):
    """Pixels by bins of ascending score, of all K bins that occur."""

    shift: int
    """How many bits the keys have lost."""
    keys: KeyArray
    """Bins (K,)."""
    sums: FloatArray
    """Of each bin (3, K): number of pixels, number of positive pixels, and their region weights."""

    def coarser(self, bits: int) -> "Histogram":
        """Return the same pixels under keys without their last `bits` bits."""
        return self if not bits else _grouped(self.shift + bits, self.keys >> np.uint32(bits), self.sums)

    def plus(self, other: "Histogram") -> "Histogram":
        """Return the pixels of both, under the keys of the coarser one."""
        shift = max(self.shift, other.shift)
        both = [each.coarser(shift - each.shift) for each in (self, other)]
        keys = np.concatenate([each.keys for each in both])
        order = np.argsort(keys, kind="stable")  # of two sorted runs, so it takes linear time
        sums = np.concatenate([each.sums for each in both], axis=1)
        return _grouped(shift, keys[order], sums[:, order])

    def at_most(self, bins: int) -> "Histogram":
        """Return the same pixels in at most so many bins, under keys that have lost as few bits as need be."""
        found = self
        while len(found.keys) > bins:
            found = found.coarser(((len(found.keys) - 1) // bins).bit_length())  # any fewer bits cannot be enough
        return found


def _grouped(shift: int, ordered: KeyArray, sums: FloatArray) -> Histogram:
    """Return a histogram from ascending keys (N,) and sums (3, N), adding up where keys are the same."""
    starts = _starts(ordered)
    rows = np.flatnonzero(starts)
    return Histogram(shift, ordered[starts], np.add.reduceat(sums, rows, axis=1) if len(rows) else sums)


def _starts(ordered: KeyArray) -> npt.NDArray[np.bool_]:
    """Return True where a run of equal keys begins among ascending ones (N,)."""
    starts = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    return starts


NOTHING = Histogram(0, np.empty(0, np.uint32), np.empty((3, 0)))


class Pixels(NamedTuple):
    """Keys of pixels, of all and of the positive ones, and the region weights of the latter."""

    keys: KeyArray
    positive_keys: KeyArray
    weights: FloatArray
    ends: tuple[int, int]
    """The lowest and the highest key."""


def added(known: Histogram, pixels: Sequence[Pixels], *, max_bins: int) -> Histogram:
    """Return a histogram with more pixels, in at most `max_bins` bins, under keys as fine as that allows.

    Keys are counted in a table rather than sorted: that takes a tenth of the time. A table of all keys would be large.
    So keys first lose as many bits as make it small. If fewer bins are taken than there may be, each of these is
    divided, and the keys are counted again.

    Args:
        known: a histogram of pixels, under keys that have lost as few bits as need be.
        pixels: of some images.
        max_bins: greatest number of bins.
    """
    pixels = [each for each in pixels if each.keys.size]
    if not pixels:
        return known
    total = sum(each.keys.size for each in pixels) + len(known.keys)
    room = _SPARSE * min(max_bins, total)  # for few keys a large table is no gain
    lowest = known.keys << np.uint32(known.shift)
    ends = [*lowest[:1].tolist(), *lowest[-1:].tolist(), *(end for each in pixels for end in each.ends)]
    bins = _Bins(min(ends), max(ends), shift=known.shift, room=room)
    counts, taken = _counted(bins, pixels, lowest)
    while bins.shift > known.shift and len(taken) <= max_bins:
        bits = (max(room, _DIVIDED) // len(taken)).bit_length() - 1
        bins.divide(taken, bits=min(bins.shift - known.shift, bits))
        counts, taken = _counted(bins, pixels, lowest)
    keys, shift = bins.keys(taken), bins.shift
    while (distinct := 1 + int(np.count_nonzero(keys[1:] != keys[:-1]))) > max_bins:
        bits = ((distinct - 1) // max_bins).bit_length()  # any fewer bits cannot be enough
        keys, shift = keys >> np.uint32(bits), shift + bits
    starts = _starts(keys)
    group = np.cumsum(starts) - 1 if distinct < len(keys) else np.arange(distinct)
    sums = np.zeros((3, distinct))
    _add(sums[0], group, counts.take(taken).astype(np.float64))
    rows = np.empty(len(counts), np.int32)
    rows[taken] = group
    places = rows.take(bins.places(lowest)).astype(np.int64)
    for row, values in zip(sums, known.sums, strict=True):
        _add(row, places, values)
    for each in pixels:
        places = rows.take(bins.places(each.positive_keys)).astype(np.int64)
        _add(sums[1], places, np.ones(len(places)))
        _add(sums[2], places, each.weights)
    return Histogram(shift, keys[starts], sums)


def _add(sums: npt.NDArray[Any], places: PlaceArray, values: npt.NDArray[Any]) -> None:
    """Add values (N,) at some places (N,) to sums (K,), which changes them.

    torch does it, since `numpy.add.at` and `numpy.bincount` do not let other threads of Python go on meanwhile.
    """
    import torch

    torch.from_numpy(sums).scatter_add_(0, torch.from_numpy(places), torch.from_numpy(values))


class _Bins:
    """Bins between two keys, each with a place in a table of bounded size."""

    def __init__(self, low: int, high: int, *, shift: int, room: int) -> None:
        while (high >> shift) - (low >> shift) >= room:
            shift += 1
        self._first, self._coarse = low >> shift, shift
        self._divisions: list[tuple[npt.NDArray[np.int32], PlaceArray, int]] = []
        self.shift = shift
        """How many bits the keys have lost."""
        self.size = (high >> shift) - (low >> shift) + 1
        """Number of places."""

    def divide(self, taken: PlaceArray, *, bits: int) -> None:
        """Give keys `bits` bits more, of those bins alone that are taken."""
        rows = np.zeros(self.size, np.int32)
        rows[taken] = np.arange(len(taken), dtype=np.int32)
        self._divisions.append((rows, taken, bits))
        self.shift, self.size = self.shift - bits, len(taken) << bits

    def places(self, keys: KeyArray) -> PlaceArray:
        """Return the place of the bin of each key (N,)."""
        places = ((keys >> np.uint32(self._coarse)) - np.uint32(self._first)).astype(np.int64)
        shift = self._coarse
        for rows, _, bits in self._divisions:
            shift -= bits
            last = (keys >> np.uint32(shift)) & np.uint32(2**bits - 1)
            places = (rows.take(places).astype(np.int64) << bits) | last
        return places

    def keys(self, places: PlaceArray) -> KeyArray:
        """Return the keys of the bins at some places (N,), without the bits that they have lost."""
        last: list[tuple[PlaceArray, int]] = []
        for _, taken, bits in reversed(self._divisions):
            last.append((places & (2**bits - 1), bits))
            places = taken.take(places >> bits)
        keys = places + self._first
        for low, bits in reversed(last):
            keys = (keys << bits) | low
        return keys.astype(np.uint32)


def _counted(bins: _Bins, pixels: Sequence[Pixels], known: KeyArray) -> tuple[npt.NDArray[np.int32], PlaceArray]:
    """Return how many pixels each bin holds (bins.size,), and the places of those that hold some or are known."""
    counts = np.zeros(bins.size, np.int32)
    ones = np.ones(min(_PART, max(each.keys.size for each in pixels)), np.int32)
    for each in pixels:
        for start in range(0, each.keys.size, _PART):
            places = bins.places(each.keys[start : start + _PART])
            _add(counts, places, ones[: len(places)])
    taken = counts > 0
    taken[bins.places(known)] = True
    return counts, np.flatnonzero(taken)
