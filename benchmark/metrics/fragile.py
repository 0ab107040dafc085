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
    lower, upper = _threshold_intervals(curve.limits)
    surely = len(least) - np.searchsorted(least[::-1], upper, side="right")  # number of distinct scores above
    possibly = len(greatest) - np.searchsorted(greatest[::-1], lower, side="right")
    found = [  # with 201 thresholds or 200
        _bounds((fpr[sure], fpr[possible]), (overlap[sure], overlap[possible]))
        for sure, possible in ((surely, possibly), (surely[:, 1:], possibly[:, 1:]))
    ]
    low, high = np.concatenate(found, axis=1)
    return (float(low.min()), float(high.max())) if len(low) else None


def _threshold_intervals(limits: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Return between which values (N, 201) thresholds lie, descending, for each float32 the lowest score can become.

    `arange` rounds its step in a way that hangs on where it starts, so every start is tried. For a given start no
    threshold falls when the highest score rises, so the ends of the interval of that score give those of the others.
    """
    (first, highest_at_least), (last, highest) = moved(limits)
    starts = [first]
    while starts[-1] < last:
        starts.append(np.nextafter(starts[-1], np.float32(np.inf)))
    start: Float32Array = np.array(starts, np.float32)[:, None]
    lower, upper = (_thresholds(start, np.maximum(start, stop)) for stop in (highest_at_least, highest))
    return lower[:, ::-1].astype(np.float64), upper[:, ::-1].astype(np.float64)


def _thresholds(start: Float32Array, stop: Float32Array) -> Float32Array:
    """Return the first 201 values (N, 201) that `arange` gives with a 200th of the range (N, 1) as its step."""
    steps: Float32Array = np.arange(STEPS + 1, dtype=np.float32)
    step: Float32Array = (start + (stop - start) / np.float32(STEPS)) - start
    thresholds: Float32Array = start + steps * step
    return thresholds


def _bounds(fpr: tuple[FloatArray, FloatArray], overlap: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Return the least and the greatest value (2, M) for each number of points that can have a rate below the limit.

    Args:
        fpr: the least and the greatest false positive rate of each threshold (N, T), ascending in each row.
        overlap: the least and the greatest mean overlap of each threshold (N, T), ascending in each row.
    """
    (least_fpr, most_fpr), (least_overlap, most_overlap) = fpr, overlap
    next_can_be_out = np.pad(most_fpr[:, 1:] >= FPR_LIMIT, ((0, 0), (0, 1)), constant_values=True)
    most_fpr = np.minimum(most_fpr, FPR_LIMIT)
    can_be_last = (least_fpr < FPR_LIMIT) & next_can_be_out & (most_fpr != least_fpr[:, :1])  # two rates at least
    row, before_last = np.nonzero(can_be_last[:, 1:])
    last = before_last + 1
    least_fpr, most_fpr, least_overlap, most_overlap = (
        each[row] for each in (least_fpr, most_fpr, least_overlap, most_overlap)
    )
    # Points behind the last are laid on it, where they add nothing to the area.
    each = np.arange(len(row))
    right = np.minimum(most_fpr, least_fpr[each, last, None])
    right[:, 0] = least_fpr[:, 0]
    left = np.maximum(least_fpr, most_fpr[:, :1])
    left = np.where(np.arange(left.shape[1]) < last[:, None], left, most_fpr[each, last, None])
    at_first = (least_overlap[:, 0] + least_overlap[:, 1]) / 2
    at_last = (most_overlap[each, last - 1] + most_overlap[each, last]) / 2
    return np.stack([_mean_height(right, least_overlap, flat=at_first), _mean_height(left, most_overlap, flat=at_last)])


def _mean_height(fpr: FloatArray, overlap: FloatArray, *, flat: FloatArray) -> FloatArray:
    """Return the mean height of each line through points (M, T); what stands in `flat` where a line has no width."""
    width = fpr[:, -1] - fpr[:, 0]
    area = np.trapezoid(overlap, fpr, axis=1)
    return np.divide(area, width, out=flat, where=width > 0)
