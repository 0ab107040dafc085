"""Metrics at image and at sample level: one score and one label per image, or per physical sample."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from benchmark.metrics.curve import Curve, descending_curve
from benchmark.metrics.fragile import IMAGE_MOVE, Range
from benchmark.metrics.names import Level, metrics_of


def require_score(score: float) -> None:
    """Raise ValueError where an image score is not finite."""
    if not math.isfinite(score):
        raise ValueError(f"image score is {score}; a score must be finite")


def sample_maxima(
    samples: Sequence[Hashable], scores: Sequence[float], labels: Sequence[int]
) -> tuple[list[float], list[int]]:
    """Return the score and the label of each physical sample, in the order in which its first view comes.

    The score is the maximum over the sample's views, and the sample is anomalous if any view is. ADEval does the same
    (`--sample_key_pat`), with which the code of Real-IAD's authors evaluates (Wang et al., CVPR 2024).

    Args:
        samples: which sample each of N images is a view of.
        scores: of the images.
        labels: of the images, 0 (normal) or 1 (anomalous).
    """
    highest: dict[Hashable, float] = {}
    anomalous: dict[Hashable, int] = {}
    for sample, score, label in zip(samples, scores, labels, strict=True):
        highest[sample] = max(score, highest.get(sample, score))
        anomalous[sample] = max(label, anomalous.get(sample, label))
    return list(highest.values()), list(anomalous.values())


class ImageMetrics:
    """AUROC, AP and F1-max of image scores. Keeps one score and label per image, so the values are exact.

    Args:
        level: of the metrics; at "sample" the scores and labels are those of samples.
    """

    def __init__(self, level: Level = "image") -> None:
        self._metrics = metrics_of(level)
        self._scores: list[float] = []
        self._labels: list[bool] = []

    def update(self, score: float, label: int) -> None:
        """Add one image; `label` is 0 (normal) or 1 (anomalous).

        Raises:
            ValueError: the label is another, or the score is not finite.
        """
        require_score(score)
        if label not in (0, 1):
            raise ValueError(f"image label is {label!r}; it must be 0 (normal) or 1 (anomalous)")
        self._scores.append(float(score))
        self._labels.append(bool(label))

    def merge(self, other: "ImageMetrics") -> None:
        """Add the images of another, which keeps its own."""
        self._scores.extend(other._scores)
        self._labels.extend(other._labels)

    def curve(self) -> Curve:
        """Return the curve of the distinct scores."""
        return self._moved(0.0)

    def compute(self) -> dict[str, float | None]:
        """Return the values of the metrics, as fractions; all None with one label only: AP would say nothing."""
        return self._values(self.curve())

    def compute_ranges(self) -> dict[str, Range]:
        """Return the least and the greatest value of each metric that near ties make hang on last digits of the scores.

        Every score may move by `IMAGE_MOVE` of itself. All metrics rise when an anomalous image passes a normal one, so
        the ends are those of all anomalous images moved one way and all normal ones the other. A metric that no such
        move changes is missing: most are.
        """
        values = self.compute()
        least, greatest = (self._values(self._moved(share)) for share in (-IMAGE_MOVE, IMAGE_MOVE))
        ranges = {}
        for key, value in values.items():
            low, high = least[key], greatest[key]
            if value is not None and low is not None and high is not None and low < high:
                ranges[key] = min(low, value), max(high, value)
        return ranges

    def _moved(self, share: float) -> Curve:
        """Return the curve when the score of each anomalous image rises, and of each normal one falls, by a share."""
        labels, scores = np.asarray(self._labels, dtype=bool), np.asarray(self._scores, dtype=np.float64)
        scores = scores + np.where(labels, share, -share) * np.abs(scores)
        distinct, index = np.unique(scores, return_inverse=True)
        negatives, positives = (np.bincount(index[labels == side], minlength=len(distinct)) for side in (False, True))
        return descending_curve(distinct, negatives, positives)

    def _values(self, curve: Curve) -> dict[str, float | None]:
        if len(set(self._labels)) < 2:
            return dict.fromkeys(metric.key for metric in self._metrics)
        return {metric.key: metric.value(curve) for metric in self._metrics}
