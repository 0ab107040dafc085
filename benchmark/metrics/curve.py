"""A curve of distinct scores, and the values that are read from it: AUROC, AP, F1-max and two AUPROs.

The curve holds the distinct scores, descending, with the negatives, the positives and the mean region overlap at or
above each of them. An undefined value is `None`, never 0 or NaN.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FPR_LIMIT = 0.3
FloatArray = npt.NDArray[np.float64]


class Curve(NamedTuple):
    """Descending distinct scores (K,) and what lies at or above each of them, so the last entries are totals.

    `false_positives` and `true_positives` are counts. `overlap` is the mean, over regions, of the covered share of a
    region; it is 0 throughout where there are no regions (image level). `limits` are the lowest and the highest score,
    exact even where `scores` are those of bins.
    """

    scores: FloatArray
    false_positives: FloatArray
    true_positives: FloatArray
    overlap: FloatArray
    limits: tuple[float, float]

    @property
    def negatives(self) -> float:
        """Number of negatives in all."""
        return float(self.false_positives[-1:].sum())

    @property
    def positives(self) -> float:
        """Number of positives in all."""
        return float(self.true_positives[-1:].sum())


def descending_curve(
    scores: npt.NDArray[Any],
    negatives: npt.NDArray[Any],
    positives: npt.NDArray[Any],
    *,
    weights: npt.NDArray[Any] | None = None,
    regions: int = 0,
    limits: tuple[float, float] | None = None,
) -> Curve:
    """Return the curve of *ascending* distinct `scores` (K,).

    Args:
        scores: distinct and ascending.
        negatives: number of negatives with each score (K,).
        positives: number of positives with each score (K,).
        weights: 1 / (size of the region), summed over the positive pixels with each score (K,).
        regions: number of regions.
        limits: the lowest and the highest score, where they are not the first and the last of `scores`.
    """
    false_positives, true_positives = (np.cumsum(side[::-1], dtype=np.float64) for side in (negatives, positives))
    overlap = np.cumsum(weights[::-1]) / regions if weights is not None and regions else np.zeros(len(scores))
    if limits is None:
        limits = (float(scores[0]), float(scores[-1])) if len(scores) else (np.inf, -np.inf)
    return Curve(scores[::-1].astype(np.float64), false_positives, true_positives, overlap, limits)


def auroc(curve: Curve) -> float | None:
    """Return the area under the ROC curve, ties counted half (`sklearn.metrics.roc_auc_score`); None with one label."""
    if not curve.negatives or not curve.positives:
        return None
    fpr = np.concatenate(([0.0], curve.false_positives)) / curve.negatives
    tpr = np.concatenate(([0.0], curve.true_positives)) / curve.positives
    return float(np.trapezoid(tpr, fpr))


def average_precision(curve: Curve) -> float | None:
    """Return the sum of precision times step in recall (`sklearn.metrics.average_precision_score`).

    None without a positive.
    """
    if not curve.positives:
        return None
    precision = curve.true_positives / (curve.true_positives + curve.false_positives)
    return float(np.sum(np.diff(curve.true_positives, prepend=0.0) * precision) / curve.positives)  # not @: threads


def f1_max(curve: Curve) -> float | None:
    """Return the largest F1 over all points of the precision-recall curve; None without a positive."""
    if not curve.positives:
        return None
    return float(np.max(2 * curve.true_positives / (curve.true_positives + curve.false_positives + curve.positives)))


def aupro(curve: Curve, *, fpr_limit: float = FPR_LIMIT) -> float | None:
    """Return the area under the per-region overlap curve up to `fpr_limit`, divided by it (Bergmann et al., IJCV 2021).

    Every distinct score is a threshold; the curve starts at (0, 0) and is cut by linear interpolation. Regions weigh
    the same whatever their size and image; the FPR is over all normal pixels of all images. None without a region or
    without a normal pixel.
    """
    if not curve.negatives or not curve.positives:
        return None
    fpr = np.concatenate(([0.0], curve.false_positives)) / curve.negatives
    pro = np.concatenate(([0.0], curve.overlap))
    cut = int(np.searchsorted(fpr, fpr_limit, side="right"))
    end = np.interp(fpr_limit, fpr[cut - 1 : cut + 1], pro[cut - 1 : cut + 1])
    return float(np.trapezoid(np.append(pro[:cut], end), np.append(fpr[:cut], fpr_limit)) / fpr_limit)


def aupro_200(curve: Curve) -> float | None:
    """Return the AUPRO of the published code: 200 equal threshold steps over the float32 range of all scores.

    Source: `cal_pro_score` of AnomalyCLIP, the same in APRIL-GAN. A pixel is predicted where its score is strictly
    above a threshold, points with FPR < 0.3 are kept, and *their rates are rescaled to [0, 1] by their own minimum and
    maximum*. So it is not invariant under monotone transforms of the scores, and outliers coarsen it. It is a step
    function of the scores: `benchmark.metrics.fragile` says how far their last digits can move it. None where that
    code raises or gives NaN: no region, no normal pixel, a constant map, fewer than two distinct rates kept.
    """
    if not curve.negatives or not curve.positives:
        return None
    # Spelled as there: arange rounds its first step to float32 and no other, which decides where tied scores fall.
    start, stop = np.float32(curve.limits[0]), np.float32(curve.limits[1])
    step = (stop - start) / np.float32(200)
    if not step:
        return None
    thresholds = np.arange(start, stop, step).astype(np.float64)
    above = np.searchsorted(-curve.scores, -thresholds, side="left")  # number of distinct scores > threshold
    fpr = np.concatenate(([0.0], curve.false_positives))[above] / curve.negatives
    pro = np.concatenate(([0.0], curve.overlap))[above]
    kept = fpr < FPR_LIMIT
    fpr, pro = fpr[kept], pro[kept]
    if len(fpr) < 2 or fpr[0] == fpr[-1]:  # rates fall as thresholds rise, so these are the maximum and the minimum
        return None
    return float(np.trapezoid(pro[::-1], fpr[::-1]) / (fpr[0] - fpr[-1]))
