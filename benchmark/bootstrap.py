"""The bootstrap: how a metric varies over other draws of the same number of test images (Efron, 1979).

Images are drawn with replacement within a class, normal and anomalous ones apart, so that no draw loses a label. The
draws are a function of the list of images, so every method, seed and backbone sees the same ones: differences between
methods are paired.
"""

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchmark.metrics import FPR_LIMIT
from benchmark.per_image import ClassImages, PixelBins

REPLICATES = 1000
CONFIDENCE = 0.95
BLOCK = 64
"""Draws at a time: what they need fits the processor's cache."""

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
    negatives, positives = (drawn * (labels == label) @ of_group for label in (0, 1))
    false_positives, true_positives = _descending(negatives), _descending(positives)
    return {
        "image_auroc": _auroc(false_positives, true_positives),
        "image_ap": _average_precision(false_positives, true_positives),
    }


def pixel_replicates(bins: PixelBins, drawn: FloatArray) -> dict[str, FloatArray]:
    """Return AUROC and AUPRO of pixels by bins under draws (R, N) of their images, each (R,)."""
    blocks = [_pixel_block(bins, drawn[start : start + BLOCK]) for start in range(0, len(drawn), BLOCK)]
    aurocs, aupros = zip(*blocks, strict=True)
    return {"pixel_auroc": np.concatenate(aurocs), "pixel_aupro": np.concatenate(aupros)}


def _pixel_block(bins: PixelBins, drawn: FloatArray) -> tuple[FloatArray, FloatArray]:
    negatives, positives, weights = (
        _descending(drawn @ side.astype(np.float64)) for side in (bins.negatives, bins.positives, bins.weights)
    )
    overlap = weights / (drawn @ bins.regions.astype(np.float64))[:, None]
    return _auroc(negatives, positives), _aupro(negatives, overlap)


def interval(values: FloatArray, estimate: float) -> tuple[float, float]:
    """Return the percentile interval of replicates (1 + R,) around the estimate that was reported, within [0, 1].

    The first replicate is the estimate as far as bins tell; by what it differs from the one reported all are moved.
    """
    low, high = np.percentile(values[1:], [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]) + (estimate - values[0])
    return max(float(low), 0.0), min(float(high), 1.0)


def _descending(ascending: FloatArray) -> FloatArray:
    """Return the sums (R, K) from the highest score down, after a 0."""
    sums = np.cumsum(ascending[:, ::-1], axis=1)
    return np.concatenate((np.zeros((len(sums), 1)), sums), axis=1)


def _auroc(false_positives: FloatArray, true_positives: FloatArray) -> FloatArray:
    area = np.asarray(np.trapezoid(true_positives, false_positives, axis=1))
    return area / (false_positives[:, -1] * true_positives[:, -1])


def _average_precision(false_positives: FloatArray, true_positives: FloatArray) -> FloatArray:
    steps, found = np.diff(true_positives, axis=1), true_positives[:, 1:]
    precision = found / np.maximum(found + false_positives[:, 1:], 1)  # the highest scores may not be drawn
    total: FloatArray = (steps * precision).sum(axis=1)
    return total / true_positives[:, -1]


def _aupro(false_positives: FloatArray, overlap: FloatArray) -> FloatArray:
    """Return the area under the overlap over the FPR up to its limit, cut by linear interpolation, over the limit."""
    fpr = false_positives / false_positives[:, -1:]
    width, rise = np.diff(fpr, axis=1), np.diff(overlap, axis=1)
    share = np.clip(np.divide(FPR_LIMIT - fpr[:, :-1], width, out=np.ones_like(width), where=width > 0), 0, 1)
    # A segment without width at or beyond the limit has no area whatever its share.
    area: FloatArray = (share * width * (overlap[:, :-1] + share * rise / 2)).sum(axis=1)
    return area / FPR_LIMIT
