"""The bootstrap: how a metric varies over other draws of the same number of test images (Efron, 1979).

Images are drawn with replacement within a class, normal and anomalous ones apart, so that no draw loses a label. The
draws are a function of the list of images, so every method, seed and backbone sees the same ones: differences between
methods are paired.

The area under a curve is a sum over pairs of images: the pixels of one image give the width of a step, those of the
other its height. The matrix of these sums is made once. A draw that takes image i `d[i]` times then has the area
sum of d[i] * d[j] * matrix[i, j], and no curve is made for it.
"""

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmark.metrics.curve import FPR_LIMIT
from benchmark.metrics.per_image import ClassImages, PixelBins

REPLICATES = 1000
CONFIDENCE = 0.95
BOOTSTRAP_VERSION = 1
"""Raised when a change of the code can change a replicate: those that are kept are then made again."""
STRIDE = 8
"""Every so many bins, `_cut_area` looks whether a curve has reached its limit; see there."""

FloatArray = npt.NDArray[np.float64]


def replicates(images: ClassImages, *, fingerprint: str, class_name: str) -> dict[str, FloatArray]:
    """Return each metric under each draw, (1 + REPLICATES,); the first entry is that of the images as they are.

    Args:
        images: of one class.
        fingerprint: of the list of samples.
        class_name: with it the seed of the draws.

    Returns:
        `image_auroc` and `image_ap` where both labels occur, `pixel_auroc` and `pixel_aupro` where there are anomalous
        pixels, as fractions.
    """
    drawn = draws(images.labels.tobytes(), f"{fingerprint}/{class_name}")
    found: dict[str, FloatArray] = {}
    if len(np.unique(images.labels)) == 2:
        found |= image_replicates(images.scores, images.labels, drawn)
    if images.pixels is not None and images.pixels.positives.any():
        found |= pixel_replicates(images.pixels, drawn)
    return found


@lru_cache(maxsize=64)  # the methods of a dataset ask for the same
def draws(labels: bytes, seed: str) -> FloatArray:
    """Return how often each of N images is drawn, (1 + REPLICATES, N), in the first row once each.

    The generator is numpy's legacy one, whose stream is the only one that numpy promises never to change.
    """
    kinds = np.frombuffer(labels, np.uint8)
    words = np.frombuffer(hashlib.sha256(seed.encode()).digest(), "<u4")
    generator = np.random.RandomState(words)
    drawn = np.ones((1 + REPLICATES, len(kinds)))
    for label in (0, 1):
        columns = np.flatnonzero(kinds == label)
        if len(columns):
            picked = generator.randint(0, len(columns), size=(REPLICATES, len(columns)))
            places = picked + len(columns) * np.arange(REPLICATES)[:, None]
            drawn[1:, columns] = np.bincount(places.ravel(), minlength=places.size).reshape(places.shape)
    return drawn


def image_replicates(scores: FloatArray, labels: npt.NDArray[np.uint8], drawn: FloatArray) -> dict[str, FloatArray]:
    """Return AUROC and AP of image scores (N,) under draws (R, N), each (R,)."""
    distinct, groups = np.unique(scores, return_inverse=True)
    of_group = np.zeros((len(scores), len(distinct)))
    of_group[np.arange(len(scores)), groups] = 1
    negatives, positives = (_descending(of_group * (labels == label)[:, None]) for label in (0, 1))
    return {
        "image_auroc": _area(drawn, negatives, positives) / _product(drawn, negatives[:, -1], positives[:, -1]),
        "image_ap": _average_precision(drawn @ negatives, drawn @ positives),
    }


def pixel_replicates(bins: PixelBins, drawn: FloatArray) -> dict[str, FloatArray]:
    """Return AUROC and AUPRO of pixels by bins under draws (R, N) of their images, each (R,)."""
    negatives, positives, weights = (
        _descending(side.astype(np.float64)) for side in (bins.negatives, bins.positives, bins.weights)
    )
    regions = bins.regions.astype(np.float64)
    return {
        "pixel_auroc": _area(drawn, negatives, positives) / _product(drawn, negatives[:, -1], positives[:, -1]),
        "pixel_aupro": _cut_area(drawn, negatives, weights) / _product(drawn, negatives[:, -1], regions) / FPR_LIMIT,
    }


def interval(values: FloatArray, estimate: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Return the percentile intervals of replicates (…, 1 + R) around the estimates (…) that were reported, in [0, 1].

    The first replicate is the estimate that the bins give. All replicates are moved by its difference to the reported
    one.
    """
    low, high = percentiles(values[..., 1:]) + (estimate - values[..., 0])
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


def percentiles(values: FloatArray) -> FloatArray:
    """Return between which two values (2, …) those of the last axis lie, but for the tails."""
    return np.asarray(np.percentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], axis=-1))


def _descending(ascending: FloatArray) -> FloatArray:
    """Return the sums (N, 1 + K) from the highest score down, which begin with 0."""
    sums = np.cumsum(ascending[:, ::-1], axis=1)
    return np.concatenate((np.zeros((len(sums), 1)), sums), axis=1)


def _product(drawn: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the product of two sums over the images, each image with its value (N,), under draws."""
    return (drawn @ first) * (drawn @ second)


def _area(drawn: FloatArray, across: FloatArray, up: FloatArray) -> FloatArray:
    """Return the area (R,) under the polyline of the drawn images' sums of `across` and `up`, (N, K) each.

    Counts stay exact: all sums are whole or half numbers far below 2**53.
    """
    pairs = np.diff(across, axis=1) @ ((up[:, :-1] + up[:, 1:]) / 2).T
    area: FloatArray = ((drawn @ pairs) * drawn).sum(axis=1)
    return area


def _cut_area(drawn: FloatArray, negatives: FloatArray, overlap: FloatArray) -> FloatArray:
    """Return the area (R,) under the overlap over the negatives, as far as `FPR_LIMIT` of these, interpolated there.

    Each draw reaches the limit at another bin, but all of them within a short stretch. Up to that stretch the area is a
    sum over pairs of images; within it, it is summed bin by bin for each draw:

        bin          0        8        16       24       32       40
        draw 1       ──────────────────────────────┤ limit
        draw 2       ────────────────────────────────────────┤ limit
        within       1, 1     1, 1     1, 1     1, 1     0, 1     0, 0   asked at every `STRIDE` bins
                     └─ pairs of images ────────┴─ draw by draw ──┘
                                                start = 24        stop = 41

    A bin that a draw passes only in part counts with the share of its width that lies before the limit.
    """
    limit = FPR_LIMIT * (drawn @ negatives[:, -1:])
    within = drawn @ negatives[:, ::STRIDE] <= limit
    start, stop = STRIDE * (within.all(axis=0).sum() - 1), STRIDE * within.any(axis=0).sum() + 1
    across, up = drawn @ negatives[:, start:stop], drawn @ overlap[:, start:stop]
    width, rise = np.diff(across, axis=1), np.diff(up, axis=1)
    share = np.clip(np.divide(limit - across[:, :-1], width, out=np.ones_like(width), where=width > 0), 0, 1)
    # A segment without width at or beyond the limit has no area whatever its share.
    rest: FloatArray = (share * width * (up[:, :-1] + share * rise / 2)).sum(axis=1)
    return _area(drawn, negatives[:, : start + 1], overlap[:, : start + 1]) + rest


def _average_precision(false_positives: FloatArray, true_positives: FloatArray) -> FloatArray:
    steps, found = np.diff(true_positives, axis=1), true_positives[:, 1:]
    precision = found / np.maximum(found + false_positives[:, 1:], 1)  # the highest scores may not be drawn
    total: FloatArray = (steps * precision).sum(axis=1)
    return total / true_positives[:, -1]
