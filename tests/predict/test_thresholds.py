"""Thresholds: against every other threshold, and against scikit-learn's curves."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_curve, precision_score, recall_score, roc_curve

from benchmark.metrics.curve import Curve
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.pixel import PixelMetrics
from benchmark.predict.thresholds import fewest_negatives, outcome, threshold_of_best_f1, threshold_of_rate

Labelled = tuple[list[float], list[int]]

scores = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, np.nextafter(1.0, 0), np.nextafter(1.0, 2)]),  # ties and neighbours
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.floats(-1e6, 1e6, width=32),
)
labelled = st.lists(st.tuples(scores, st.integers(0, 1)), min_size=2, max_size=40).map(
    lambda pairs: ([score for score, _ in pairs], [label for _, label in pairs])
)


def curve_of(data: Labelled) -> Curve:
    metrics = ImageMetrics()
    for score, label in zip(*data, strict=True):
        metrics.update(score, label)
    return metrics.curve()


def every_threshold(found: list[float]) -> list[float]:
    return [*found, np.nextafter(max(found), np.inf)]


@given(labelled)
def test_no_threshold_has_a_larger_f1(data: Labelled) -> None:
    assume(sum(data[1]) and len(set(data[0])) > 1)
    threshold = threshold_of_best_f1(curve_of(data))
    assert threshold is not None
    mine = outcome(*data, threshold)
    assert mine.f1 is not None
    precision, recall, _ = precision_recall_curve(data[1], data[0])
    with np.errstate(invalid="ignore"):
        assert mine.f1 == pytest.approx(np.nanmax(2 * precision * recall / (precision + recall)))
    equal = [each for each in every_threshold(data[0]) if outcome(*data, each).f1 == mine.f1]
    assert threshold <= max(equal)  # of several equal ones the highest, which says the fewest to be anomalous
    assert outcome(*data, max(equal)) == mine


@given(labelled, st.sampled_from([0.0, 0.05, 0.1, 0.29, 0.3, 0.5, 0.999]))
def test_the_rate_is_never_exceeded_and_no_lower_threshold_keeps_it(data: Labelled, rate: float) -> None:
    assume(0 in data[1] and len(set(data[0])) > 1)
    threshold = threshold_of_rate(curve_of(data), rate)
    assert threshold is not None
    mine = outcome(*data, threshold)
    assert mine.false_alarm_rate is not None
    assert mine.false_alarm_rate <= rate
    lower = [outcome(*data, each) for each in every_threshold(data[0]) if each < threshold]
    kept = [each for each in lower if (each.false_alarm_rate or 0.0) <= rate]
    assert all(each == mine for each in kept)
    if 1 in data[1]:
        fpr, tpr, _ = roc_curve(data[1], data[0], drop_intermediate=False)
        assert mine.recall == pytest.approx(max(tpr[fpr <= rate]))


@given(labelled, st.booleans())
def test_a_threshold_does_not_hang_on_last_digits(data: Labelled, best: bool) -> None:
    """It lies in the middle between two scores, where there is room: they may move by almost half of the distance."""
    distinct = sorted(set(data[0]))
    assume(0 in data[1] and 1 in data[1] and len(distinct) > 1)
    gap = min(np.diff(distinct))
    assume(gap > 1e-9 * max(map(abs, distinct)))
    threshold = threshold_of_best_f1(curve_of(data)) if best else threshold_of_rate(curve_of(data), 0.1)
    assert threshold is not None
    moved = (np.asarray(data[0]) + 0.4 * gap * np.resize([1, -1], len(data[0]))).tolist()
    assert outcome(moved, data[1], threshold) == outcome(*data, threshold)


def test_of_normal_images_alone_the_rate_is_a_quantile() -> None:
    found = np.random.default_rng(0).permutation(100).astype(float).tolist()
    threshold = threshold_of_rate(curve_of((found, [0] * 100)), 0.05)
    assert threshold == 94.5
    assert threshold_of_rate(curve_of((found, [0] * 100)), 0.0) == 99.5
    assert threshold_of_best_f1(curve_of((found, [0] * 100))) is None


def test_equal_scores_have_no_threshold() -> None:
    curve = curve_of(([0.5] * 4, [0, 1, 0, 1]))
    assert threshold_of_best_f1(curve) is None
    assert threshold_of_rate(curve, 0.5) is None


def test_anomalous_images_alone_have_no_rate() -> None:
    assert threshold_of_rate(curve_of(([0.1, 0.2], [1, 1])), 0.1) is None


@settings(max_examples=25)
@given(labelled, scores)
def test_outcomes_are_those_of_scikit_learn(data: Labelled, threshold: float) -> None:
    said = [int(score >= threshold) for score in data[0]]
    mine = outcome(*data, threshold)
    counts = [[mine.true_negatives, mine.false_positives], [mine.false_negatives, mine.true_positives]]
    assert counts == confusion_matrix(data[1], said, labels=[0, 1]).tolist()
    for ours, theirs in ((mine.precision, precision_score), (mine.recall, recall_score), (mine.f1, f1_score)):
        if ours is not None:
            assert ours == pytest.approx(theirs(data[1], said, zero_division=0))


def test_what_is_undefined_is_none() -> None:
    normal = outcome([0.1, 0.2], [0, 0], 0.5)
    assert (normal.precision, normal.recall, normal.f1, normal.false_alarm_rate) == (None, None, None, 0.0)
    assert outcome([0.1, 0.2], [1, 1], 0.5).false_alarm_rate is None


@pytest.mark.parametrize(("rate", "fewest"), [(0.05, 20), (0.01, 100), (0.1, 10), (0.03, 34), (0.5, 2), (0.99, 2)])
def test_how_many_normal_images_a_rate_takes(rate: float, fewest: int) -> None:
    assert fewest_negatives(rate) == fewest
    for count in (fewest - 1, fewest):
        found = np.arange(count + 1.0).tolist()
        threshold = threshold_of_rate(curve_of((found, [*([0] * count), 1])), rate)
        assert threshold is not None
        assert bool(outcome(found, [*([0] * count), 1], threshold).false_positives) == (count == fewest)


def test_pixels_have_the_threshold_of_their_best_f1() -> None:
    rng = np.random.default_rng(1)
    metrics, maps, masks = PixelMetrics(), [], []
    for _ in range(5):
        mask = np.zeros((20, 30), dtype=bool)
        mask[4:9, 3:20] = True
        anomaly_map = (rng.random((20, 30)) + 0.7 * mask).astype(np.float32)
        metrics.update(anomaly_map, mask)
        maps.append(anomaly_map.ravel())
        masks.append(mask.ravel())
    threshold = threshold_of_best_f1(metrics.curve())
    assert threshold is not None
    said = np.concatenate(maps) >= threshold
    precision, recall, _ = precision_recall_curve(np.concatenate(masks), np.concatenate(maps))
    best = (2 * precision * recall / (precision + recall)).max()
    assert f1_score(np.concatenate(masks), said) == pytest.approx(best)
    assert best == pytest.approx(metrics.compute()["pixel_f1max"])
