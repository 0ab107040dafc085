"""Metrics at image level: one score and one label per image."""

import math

import numpy as np

from benchmark.metrics.curve import Curve, descending_curve
from benchmark.metrics.names import IMAGE_METRICS, METRICS


class ImageMetrics:
    """AUROC, AP and F1-max of image scores. Keeps one score and label per image, so the values are exact."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._labels: list[bool] = []

    def update(self, score: float, label: int) -> None:
        """Add one image; `label` is 0 (normal) or 1 (anomalous).

        Raises:
            ValueError: the label is another, or the score is not finite.
        """
        if not math.isfinite(score):
            raise ValueError(f"image score is {score}; a score must be finite")
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
        scores, index = np.unique(np.asarray(self._scores, dtype=np.float64), return_inverse=True)
        labels = np.asarray(self._labels, dtype=bool)
        negatives, positives = (np.bincount(index[labels == side], minlength=len(scores)) for side in (False, True))
        return descending_curve(scores, negatives, positives)

    def compute(self) -> dict[str, float | None]:
        """Return the values of `IMAGE_METRICS`, as fractions; all None with one label only: AP would say nothing."""
        if len(set(self._labels)) < 2:
            return dict.fromkeys(IMAGE_METRICS)
        curve = self.curve()
        return {key: METRICS[key].value(curve) for key in IMAGE_METRICS}
