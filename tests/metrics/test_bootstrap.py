"""The bootstrap against scikit-learn with weights, against images really repeated, and against its own promise."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.metrics.bootstrap import REPLICATES, draws, image_replicates, interval, pixel_replicates, replicates
from benchmark.metrics.curve import FPR_LIMIT
from benchmark.metrics.per_image import PerImageAccumulator, PixelBins
from benchmark.metrics.pixel import PixelMetrics


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(st.booleans(), min_size=2, max_size=30).filter(lambda labels: len(set(labels)) == 2),
    seed=st.integers(0, 2**16),
)
def test_image_metrics_under_a_draw_are_scikit_learns_with_weights(labels: list[bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, size=len(labels)) / 4  # with ties
    kinds = np.array(labels, np.uint8)
    drawn = draws(kinds.tobytes(), str(seed))[:5]
    found = image_replicates(scores, kinds, drawn)
    for row, weights in enumerate(drawn):
        auroc = roc_auc_score(labels, scores, sample_weight=weights)
        ap = average_precision_score(labels, scores, sample_weight=weights)
        assert found["image_auroc"][row] == pytest.approx(auroc)
        assert found["image_ap"][row] == pytest.approx(ap)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_pixel_metrics_under_a_draw_are_those_of_repeated_images(seed: int) -> None:
    """With fewer distinct scores than bins nothing is approximated."""
    rng = np.random.default_rng(seed)
    gathering, shown = PerImageAccumulator(), []
    for index in range(5):
        scores = (rng.integers(0, 40, size=(12, 12)) / 16).astype(np.float32)
        mask = rng.random((12, 12)) < (0.3 if index else 0.0)
        gathering.add(str(index), int(mask.any()), float(scores.max()), scores)
        gathering.add_pixels(scores, mask)
        shown.append((scores, mask))
    images = gathering.finish()
    assert images.pixels is not None
    drawn = draws(images.labels.tobytes(), str(seed))[:4]
    found = pixel_replicates(images.pixels, drawn)
    for row, times in enumerate(drawn):
        exact = PixelMetrics()
        for (scores, mask), count in zip(shown, times, strict=True):
            for _ in range(int(count)):
                exact.update(scores, mask)
        values = exact.compute()
        assert found["pixel_auroc"][row] == pytest.approx(values["pixel_auroc"], abs=1e-9)
        assert found["pixel_aupro"][row] == pytest.approx(values["pixel_aupro"], abs=1e-6)  # weights are float32


def test_areas_by_pairs_of_images_are_those_under_each_curve() -> None:
    """Against the curves drawn one by one, over many bins and draws, with ties and empty bins."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([0, 1], np.uint8), 15)
    shape = (30, 250)
    negatives, positives = rng.integers(0, 5000, shape) // rng.integers(1, 5001, shape), rng.integers(0, 9, shape)
    positives[:15] = 0
    weights = (positives * rng.random((30, 1)) / 50).astype(np.float32)
    regions = np.where(labels == 1, rng.integers(1, 4, 30), 0)
    found = pixel_replicates(PixelBins(negatives, positives, weights, regions), drawn := draws(labels.tobytes(), "s"))
    for row in range(0, len(drawn), 50):
        down, up, overlap = (
            np.concatenate(([0], np.cumsum((drawn[row] @ side)[::-1]))) for side in (negatives, positives, weights)
        )
        assert found["pixel_auroc"][row] == pytest.approx(np.trapezoid(up, down) / down[-1] / up[-1], abs=1e-12)
        fpr, overlap = down / down[-1], overlap / (drawn[row] @ regions)
        grid = np.union1d(fpr[fpr < FPR_LIMIT], [FPR_LIMIT])
        # At equal FPR the curve goes up: the last value counts, to the right, the first, to the left.
        steps = np.interp(grid, fpr + np.arange(len(fpr)) * 1e-15, overlap)
        assert found["pixel_aupro"][row] == pytest.approx(np.trapezoid(steps, grid) / FPR_LIMIT, abs=1e-9)


def test_draws_keep_the_number_of_each_label_and_begin_with_the_images_as_they_are() -> None:
    labels = np.array([0, 1, 1, 0, 1, 1, 1], np.uint8)
    drawn = draws(labels.tobytes(), "seed")
    assert drawn.shape == (1 + REPLICATES, 7)
    assert (drawn[0] == 1).all()
    assert (drawn[:, labels == 0].sum(axis=1) == 2).all()
    assert (drawn[:, labels == 1].sum(axis=1) == 5).all()
    assert drawn[1:].mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    assert (draws(labels.tobytes(), "other") != drawn).any()


def test_draws_are_the_same_on_every_machine_and_with_every_numpy() -> None:
    drawn = draws(bytes([0, 1] * 10), "fingerprint/class").astype(np.uint8)
    expected = "e7bea656eb84ed25531079c40e6431b0e91721dcc069b9f44ea8fde490bdfd5a"
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == expected


def test_what_is_undefined_has_no_replicates() -> None:
    gathering = PerImageAccumulator()
    for index in range(3):
        gathering.add(str(index), 1, index / 3, np.zeros((2, 2)))
        gathering.add_pixels(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))
    assert replicates(gathering.finish(), fingerprint="f", class_name="c") == {}


def test_an_interval_is_around_the_reported_number_and_within_bounds() -> None:
    values = np.concatenate(([0.5], np.linspace(0.4, 0.6, REPLICATES)))
    assert interval(values, 0.5) == pytest.approx((0.405, 0.595), abs=1e-3)
    assert interval(values, 0.51) == pytest.approx((0.415, 0.605), abs=1e-3)
    assert interval(values + 0.45, 0.95) == pytest.approx((0.855, 1.0), abs=1e-3)


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    """AUROC of two normal distributions one standard deviation apart: Φ(1/√2) = 0.7602."""
    rng, labels, held = np.random.default_rng(0), np.repeat(np.array([0, 1], np.uint8), 60), 0
    for trial in range(200):
        scores = rng.normal(size=120) + labels
        values = image_replicates(scores, labels, draws(labels.tobytes(), str(trial)))["image_auroc"]
        low, high = interval(values, float(values[0]))
        held += low <= 0.7602 <= high
    assert 180 <= held <= 199  # 190 are expected; 3 standard deviations are 9
