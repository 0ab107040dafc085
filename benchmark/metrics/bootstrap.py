"""The bootstrap: how a metric varies over other draws of the same number of test images (Efron, 1979).

Images are drawn with replacement within a class, normal and anomalous ones apart, so that no draw loses a label. The
pieces of one photograph are drawn together. The draws are a function of the list of images, so every method, seed and
backbone sees the same ones: differences between methods are paired.

A draw takes image i `d[i]` times. For image scores, the images are sorted once, and a curve is the sum of `d` along
them. For pixels there are two ways to the area under a curve, and the one that takes less is chosen. Where there are
more images than bins, the curve of each draw is made. Otherwise the area is a sum over pairs of images, since the
pixels of one image give the width of a step and those of the other its height: the matrix of these sums is made once,
and a draw has the area sum of d[i] * d[j] * matrix[i, j].
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmark.metrics.curve import FPR_LIMIT

if TYPE_CHECKING:  # what reads records asks for the number of draws alone
    from benchmark.metrics.per_image import ClassImages, PixelBins

REPLICATES = 1000
CONFIDENCE = 0.95
FEWEST_SEEDS = 3
"""From so many seeds on, seeds are drawn too."""
BOOTSTRAP_VERSION = 2
"""Raised when a change of the code can change a replicate. Methods are compared by the draws of one version alone."""
STRIDE = 8
"""Every so many bins, `_cut_area` looks whether a curve has reached its limit; see there."""
KEPT = 500
"""Draws of classes of at most so many images are kept for the next method, 32 MB in all; larger ones are made again,
which takes a quarter of the time of what is done with them."""
BLOCK = 2**21
"""Of draws by images, as many entries are worked on at a time: 16 MB."""

FloatArray = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint8]
"""How often each of N images is drawn, (R, N). No image is ever drawn 256 times: the mean is 1."""


def replicates(images: "ClassImages", *, fingerprint: str, class_name: str) -> dict[str, FloatArray]:
    """Return each metric under each draw, (1 + REPLICATES,); the first entry is that of the images as they are.

    Args:
        images: of one class.
        fingerprint: of the list of samples.
        class_name: with it the seed of the draws.

    Returns:
        `image_auroc` and `image_ap` where both labels occur, `pixel_auroc` and `pixel_aupro` where there are anomalous
        pixels, as fractions.
    """
    photographs = None if images.photographs is None else images.photographs.astype(np.uint32).tobytes()
    drawn = draws(images.labels.astype(np.uint8).tobytes(), f"{fingerprint}/{class_name}", photographs)
    found: dict[str, FloatArray] = {}
    if len(np.unique(images.labels)) == 2:
        found |= image_replicates(images.scores, images.labels, drawn)
    if images.pixels is not None and images.pixels.positives.any():
        found |= pixel_replicates(images.pixels, drawn)
    return found


def draws(labels: bytes, seed: str, photographs: bytes | None = None) -> Counts:
    """Return how often each of N images is drawn, (1 + REPLICATES, N), in the first row once each.

    Photographs are drawn: those with normal pieces alone, with anomalous pieces alone and with both, each kind apart.

    Args:
        labels: of the images, uint8.
        seed: what the draws depend on besides.
        photographs: which photograph each image is a piece of, uint32; None where each image is one of its own.
    """
    return (_kept_draws if len(labels) <= KEPT else _draws)(labels, seed, photographs)


def _draws(labels: bytes, seed: str, photographs: bytes | None) -> Counts:
    kinds = np.frombuffer(labels, np.uint8)
    of_image = np.arange(len(kinds))
    if photographs is not None:
        _, of_image = np.unique(np.frombuffer(photographs, np.uint32), return_inverse=True)
    has_normal, has_anomalous = (np.bincount(of_image, weights=kinds == label) > 0 for label in (0, 1))
    generator = _generator(seed)
    times = np.ones((1 + REPLICATES, len(has_normal)), np.uint8)
    for stratum in (has_normal & ~has_anomalous, has_anomalous & ~has_normal, has_normal & has_anomalous):
        if len(columns := np.flatnonzero(stratum)):
            for rows in _blocks(REPLICATES, len(columns)):
                times[1:][rows, columns] = _picked(generator, rows.stop - rows.start, len(columns), len(columns))
    return times[:, of_image]


_kept_draws = lru_cache(maxsize=64)(_draws)  # the methods of a dataset ask for the same


def seed_draws(seeds: int, seed: str) -> FloatArray:
    """Return the weight of each of S seeds under each draw (1 + REPLICATES, S), in the first row all equal.

    From `FEWEST_SEEDS` seeds on, S - 1 of them are drawn with replacement. One fewer, since the variance of the drawn
    mean is then that of a mean over S trainings; S out of S would make it too small by (S - 1) / S (Rao and Wu, JASA
    1988). With fewer seeds, each draw has all of them.

    Args:
        seeds: their number S.
        seed: what the draws depend on besides.
    """
    weights = np.full((1 + REPLICATES, seeds), 1 / seeds)
    if seeds >= FEWEST_SEEDS:
        weights[1:] = _picked(_generator(f"{seed}/seeds"), REPLICATES, seeds, seeds - 1) / (seeds - 1)
    return weights


def _generator(seed: str) -> np.random.RandomState:
    """Return numpy's legacy generator, whose stream is the only one that numpy promises never to change."""
    return np.random.RandomState(np.frombuffer(hashlib.sha256(seed.encode()).digest(), "<u4"))


def _picked(generator: np.random.RandomState, rows: int, count: int, picks: int) -> npt.NDArray[np.int64]:
    """Return how often each of `count` things is picked in each of some draws of `picks`, (rows, count)."""
    places = generator.randint(0, count, size=(rows, picks)) + count * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield slices of the rows, each with about `BLOCK` entries."""
    step = max(1, BLOCK // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def image_replicates(scores: FloatArray, labels: npt.NDArray[np.uint8], drawn: Counts) -> dict[str, FloatArray]:
    """Return AUROC and AP of image scores (N,) under draws (R, N), each (R,)."""
    order = np.argsort(scores)[::-1]
    groups = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last of equal scores
    sides = [(labels[order] == label).astype(np.float64) for label in (0, 1)]
    parts = []
    for rows in _blocks(len(drawn), len(order)):
        taken = drawn[rows][:, order]
        negatives, positives = (_from_zero(np.cumsum(taken * side, axis=1)[:, groups]) for side in sides)
        totals = negatives[:, -1] * positives[:, -1]
        parts.append((_under(negatives, positives) / totals, _average_precision(negatives, positives)))
    auroc, ap = (np.concatenate(each) for each in zip(*parts, strict=True))
    return {"image_auroc": auroc, "image_ap": ap}


def pixel_replicates(bins: "PixelBins", drawn: Counts) -> dict[str, FloatArray]:
    """Return AUROC and AUPRO of pixels by bins under draws (R, N) of their images, each (R,)."""
    negatives, positives, weights = (
        _from_zero(np.cumsum(side[:, ::-1], axis=1, dtype=np.float64))
        for side in (bins.negatives, bins.positives, bins.weights)
    )
    normal, anomalous, regions = (
        _sums(drawn, each[:, None])[:, 0]
        for each in (negatives[:, -1], positives[:, -1], bins.regions.astype(np.float64))
    )
    return {
        "pixel_auroc": _area(drawn, negatives, positives) / (normal * anomalous),
        "pixel_aupro": _cut_area(drawn, negatives, weights) / (normal * regions) / FPR_LIMIT,
    }


def interval(moves: FloatArray, value: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Return the percentile intervals around values (…) that were reported, in [0, 1].

    Args:
        moves: by how much each draw moves a value, (…, R): replicates minus the first one, which is the value that the
            bins give and may differ a little from the reported one.
        value: as reported.
    """
    low, high = np.clip(value + percentiles(moves), 0.0, 1.0)
    return low, high


def percentiles(values: FloatArray) -> FloatArray:
    """Return between which two values (2, …) those of the last axis lie, but for the tails."""
    return np.asarray(np.percentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], axis=-1))


def _from_zero(sums: FloatArray) -> FloatArray:
    """Return sums (N, K) from the highest score down with the 0 that they begin with, (N, 1 + K)."""
    return np.concatenate((np.zeros((len(sums), 1)), sums), axis=1)


def _sums(drawn: Counts, values: FloatArray) -> FloatArray:
    """Return the sums (R, K) over the drawn images, each image with its values (N, K)."""
    return np.concatenate([drawn[rows].astype(np.float64) @ values for rows in _blocks(*drawn.shape)])


def _under(across: FloatArray, up: FloatArray) -> FloatArray:
    """Return the area (R,) under the polylines through the points (`across`, `up`), (R, K) each.

    Areas of counts are exact while they are below 2**53: they are whole or half numbers.
    """
    area: FloatArray = (np.diff(across, axis=1) * (up[:, :-1] + up[:, 1:]) / 2).sum(axis=1)
    return area


def _area(drawn: Counts, across: FloatArray, up: FloatArray) -> FloatArray:
    """Return the area (R,) under the polyline of the drawn images' sums of `across` and `up`, (N, K) each."""
    if len(across) > across.shape[1]:
        return _under(_sums(drawn, across), _sums(drawn, up))
    pairs = np.diff(across, axis=1) @ ((up[:, :-1] + up[:, 1:]) / 2).T
    area: FloatArray = (_sums(drawn, pairs) * drawn).sum(axis=1)
    return area


def _cut_area(drawn: Counts, negatives: FloatArray, overlap: FloatArray) -> FloatArray:
    """Return the area (R,) under the overlap over the negatives, as far as `FPR_LIMIT` of these, interpolated there.

    Each draw reaches the limit at another bin, but all of them within a short stretch. Up to that stretch the area is a
    sum over images or pairs of images; within it, it is summed bin by bin for each draw:

        bin          0        8        16       24       32       40
        draw 1       ──────────────────────────────┤ limit
        draw 2       ────────────────────────────────────────┤ limit
        within       1, 1     1, 1     1, 1     1, 1     0, 1     0, 0   asked at every `STRIDE` bins
                     └─ pairs of images ────────┴─ draw by draw ──┘
                                                start = 24        stop = 41

    A bin that a draw passes only in part counts with the share of its width that lies before the limit.
    """
    limit = FPR_LIMIT * _sums(drawn, negatives[:, -1:])
    within = _sums(drawn, negatives[:, ::STRIDE]) <= limit
    start, stop = STRIDE * (within.all(axis=0).sum() - 1), STRIDE * within.any(axis=0).sum() + 1
    across, up = _sums(drawn, negatives[:, start:stop]), _sums(drawn, overlap[:, start:stop])
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
