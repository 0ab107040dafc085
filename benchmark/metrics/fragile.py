"""The range of a fragile metric: the values it can take when scores move by one part in a million.

`aupro_200` is a step function of the scores. Their last digits, which differ between processors, numbers of threads
and batch sizes, decide four things: whether there are 200 or 201 thresholds, where each threshold lies, on which side
of it the scores beside it fall, and which rates are below the limit of 0.3. So its value alone cannot be compared from
one machine to another. This module bounds it: whatever each score does, as long as it moves by at most `MOVE` of itself
and is then rounded to float32, the value lies in the range.

The bounds follow from intervals. Let `s` be a score and `t` a threshold, each known up to an interval:

    scores         ───[──s1──]──────[──s2──]─────────[──s3──]───▶
    threshold               ────────[──t──]────────
                       below      either side          above

The number of normal pixels above `t`, and so its false positive rate, lies between the count of the pixels surely above
and the count of those possibly above; likewise the region overlap. The metric is the mean height of the line through
these points, in ascending order of the rate:

- It rises with every overlap, so the largest overlaps give the greatest value.
- It falls as the rate of an inner point rises, since that point moves to the right: the smallest rates give the
  greatest value.
- It rises as the first or the last rate kept rises, since the line climbs: a low part goes, or a high part comes.

For the least value it is the other way round.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmark.metrics.curve import FPR_LIMIT, Curve, FloatArray

MOVE = 1e-6
"""How far a score moves, as a share of itself."""
IMAGE_MOVE = 1e-5
"""The same of the score of an image. It is larger, since a training may magnify last digits: that of a stable method
moves predictions by up to 5e-6 (`benchmark.authoring.stability`)."""
STEPS = 200

Float32Array = npt.NDArray[np.float32]
Range = tuple[float, float]


def moved(scores: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
    """Return the least and the greatest float32 that each score can become when it moves by `MOVE` of itself."""
    exact = np.asarray(scores, np.float64)
    reach = np.abs(exact) * (MOVE * (1 + 1e-6))  # a little more, for the rounding of this very product
    return (exact - reach).astype(np.float32), (exact + reach).astype(np.float32)


def aupro_200_range(curve: Curve, least: FloatArray, greatest: FloatArray) -> Range | None:
    """Return the least and the greatest value of `aupro_200` over all moves of the scores.

    Moves that leave it undefined do not count. So there can be a range where the value is None, which then hangs on the
    last digits of the scores.

    Args:
        curve: of the scores as they are.
        least: what each score of the curve becomes at least (K,), descending.
        greatest: what each score of the curve becomes at most (K,), descending.

    Returns:
        None where every move leaves it undefined.
    """
    if not curve.negatives or not curve.positives:
        return None
    fpr = np.concatenate(([0.0], curve.false_positives)) / curve.negatives
    overlap = np.concatenate(([0.0], curve.overlap))
    found: list[Range] = []
    for lower, upper in _threshold_intervals(curve.limits):
        surely = np.searchsorted(-least, -upper, side="left")  # number of distinct scores above the threshold
        possibly = np.searchsorted(-greatest, -lower, side="left")
        for first in (0, 1):  # 201 thresholds or 200
            sure, possible = surely[first:], possibly[first:]
            found += _bounds((fpr[sure], fpr[possible]), (overlap[sure], overlap[possible]))
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _threshold_intervals(limits: tuple[float, float]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield between which values (201,) the thresholds lie, descending, for each float32 the lowest score can become.

    `arange` rounds its step in a way that hangs on where it starts, so every start is tried. For a given start no
    threshold falls when the highest score rises, so the ends of the interval of that score give those of the others.
    """
    (start, highest_at_least), (last_start, highest) = moved(limits)
    while start <= last_start:
        ends = (max(start, highest_at_least), max(start, highest))
        lower, upper = (_thresholds(start, stop) for stop in ends)
        yield lower[::-1].astype(np.float64), upper[::-1].astype(np.float64)
        start = np.nextafter(start, np.float32(np.inf))


def _thresholds(start: np.float32, stop: np.float32) -> Float32Array:
    """Return the first 201 values that `arange` gives with a 200th of the range as its step."""
    second = start + (stop - start) / np.float32(STEPS)
    thresholds: Float32Array = start + np.arange(STEPS + 1, dtype=np.float32) * (second - start)
    return thresholds


def _bounds(fpr: tuple[FloatArray, FloatArray], overlap: tuple[FloatArray, FloatArray]) -> Iterator[Range]:
    """Yield the least and the greatest value for each number of points that can have a rate below the limit.

    Args:
        fpr: the least and the greatest false positive rate of each threshold (T,), ascending.
        overlap: the least and the greatest mean overlap of each threshold (T,), ascending.
    """
    (least_fpr, most_fpr), (least_overlap, most_overlap) = fpr, overlap
    next_can_be_out = np.append(most_fpr[1:] >= FPR_LIMIT, True)
    most_fpr = np.minimum(most_fpr, FPR_LIMIT)
    for last in np.flatnonzero((least_fpr < FPR_LIMIT) & next_can_be_out):
        if last == 0 or most_fpr[last] == least_fpr[0]:  # fewer than two distinct rates
            continue
        kept = slice(last + 1)
        right = np.minimum(most_fpr[kept], least_fpr[last])
        right[0] = least_fpr[0]
        left = np.maximum(least_fpr[kept], most_fpr[0])
        left[-1] = most_fpr[last]
        low = _mean_height(right, least_overlap[kept], flat=slice(2))
        yield low, _mean_height(left, most_overlap[kept], flat=slice(-2, None))


def _mean_height(fpr: FloatArray, overlap: FloatArray, *, flat: slice) -> float:
    """Return the mean height of the line through the points; of the `flat` ones alone where it has no width."""
    width = fpr[-1] - fpr[0]
    return float(np.trapezoid(overlap, fpr) / width if width > 0 else overlap[flat].mean())
