"""Thresholds: the score from which on an image, or a pixel of a map, counts as anomalous.

A score of at least the threshold is anomalous. A threshold lies midway between two neighbouring scores of the data that
it was chosen on, so that the last digits of a score, which differ between machines, decide nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmark.common import Model
from benchmark.metrics import Curve


class Outcome(Model):
    """How many images a threshold gets right and wrong; anomalous is positive."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def precision(self) -> float | None:
        """The share of anomalous images among those that are said to be; None if none is said to be."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """The share of the anomalous images that are found; None without any."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_alarm_rate(self) -> float | None:
        """The share of the normal images that are said to be anomalous; None without any."""
        return _ratio(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None without an anomalous image."""
        if not self.true_positives + self.false_negatives:
            return None
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


def outcome(scores: Sequence[float], labels: Sequence[int], threshold: float) -> Outcome:
    """Return what a threshold says of images with these scores and labels (0 normal, 1 anomalous)."""
    said, anomalous = np.asarray(scores, dtype=np.float64) >= threshold, np.asarray(labels, dtype=bool)
    return Outcome(
        true_positives=int((said & anomalous).sum()),
        false_positives=int((said & ~anomalous).sum()),
        true_negatives=int((~said & ~anomalous).sum()),
        false_negatives=int((~said & anomalous).sum()),
    )


def threshold_of_best_f1(curve: Curve) -> float | None:
    """Return the threshold of the largest F1, of several equal ones the highest.

    Returns:
        None without a positive, or if all scores are equal.
    """
    if not curve.positives or len(curve.scores) < 2:
        return None
    f1 = 2 * curve.true_positives / (curve.true_positives + curve.false_positives + curve.positives)
    return _below(curve.scores, int(f1.argmax()) + 1)


def threshold_of_rate(curve: Curve, rate: float) -> float | None:
    """Return the lowest threshold at which the rate of false alarms on this data is at most `rate`.

    Of normal images alone it is a quantile of their scores: that of `1 - rate`.

    Args:
        curve: The scores.
        rate: The share of the negatives that may be at or above the threshold, in [0, 1).

    Returns:
        None without a negative, or if all scores are equal.
    """
    if not curve.negatives or len(curve.scores) < 2:
        return None
    allowed = int((curve.false_positives / curve.negatives <= rate).sum())  # the rates ascend
    return _below(curve.scores, allowed)


def fewest_negatives(rate: float) -> int:
    """Return how many negatives there must be so that one false alarm is not more than a rate above 0."""
    return math.ceil(1 / rate - 1e-9)


def _below(scores: npt.NDArray[np.float64], count: int) -> float:
    """Return a threshold that the first `count` of descending distinct scores reach, and the others do not.

    Beyond both ends the next score is taken to be as far away as its neighbour on the other side.
    """
    first, last = scores[0], scores[-1]
    upper = scores[count - 1] if count else max(first + (first - scores[1]), np.nextafter(first, np.inf))
    lower = scores[count] if count < len(scores) else last - (scores[-2] - last)
    middle = lower + (upper - lower) / 2
    return float(middle if middle > lower else upper)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
