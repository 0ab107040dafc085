"""The bootstrap against scikit-learn with weights, against images really repeated, and against its own promise."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.common.regions import find_regions
from benchmark.metrics.bootstrap import (
    FEWEST_SEEDS,
    REPLICATES,
    FloatArray,
    draws,
    image_replicates,
    interval,
    pixel_replicates,
    replicates,
    seed_draws,
)
from benchmark.metrics.curve import FPR_LIMIT
from benchmark.metrics.per_image import PerImageAccumulator, PixelBins
from benchmark.metrics.pixel import PixelMetrics, image_pixels


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
        gathering.add_pixels(image_pixels(scores, find_regions(mask)))
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


@pytest.mark.parametrize("count", [250, 20])
def test_areas_are_those_under_each_curve(count: int) -> None:
    """Against the curves drawn one by one, with ties and empty bins, for more bins than images and for fewer."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([0, 1], np.uint8), 15)
    shape = (30, count)
    negatives, positives = rng.integers(0, 5000, shape) // rng.integers(1, 5001, shape), rng.integers(0, 9, shape)
    positives[:15] = 0
    weights = (positives * rng.random((30, 1)) / 50).astype(np.float32)
    regions = np.where(labels == 1, rng.integers(1, 4, 30), 0)
    found = pixel_replicates(PixelBins(negatives, positives, weights, regions), drawn := draws(labels.tobytes(), "s"))
    for row in range(0, len(drawn), 50):
        down, up, overlap = (
            np.concatenate(([0], np.cumsum((drawn[row].astype(float) @ side)[::-1])))
            for side in (negatives, positives, weights)
        )
        assert found["pixel_auroc"][row] == pytest.approx(np.trapezoid(up, down) / down[-1] / up[-1], abs=1e-12)
        fpr, overlap = down / down[-1], overlap / (drawn[row] @ regions)
        grid = np.union1d(fpr[fpr < FPR_LIMIT], [FPR_LIMIT])
        # At equal FPR the curve goes up: the last value counts, to the right, the first, to the left.
        steps = np.interp(grid, fpr + np.arange(len(fpr)) * 1e-15, overlap)
        assert found["pixel_aupro"][row] == pytest.approx(np.trapezoid(steps, grid) / FPR_LIMIT, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_samples_under_a_draw_are_scikit_learns_and_their_views_are_drawn_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gathering = PerImageAccumulator()
    of = rng.permutation(np.repeat(np.arange(8), 5))
    for index, sample in enumerate(of):
        label = int(sample >= 4 and (sample == index % 4 + 4 or rng.random() < 0.3 or index == np.argmax(of == sample)))
        score = float(rng.integers(0, 9)) / 8
        gathering.add(str(index), label, score, np.zeros((2, 2), np.float32), sample=f"s{sample}")
    images = gathering.finish()
    assert images.samples is not None
    drawn = draws(images.labels.tobytes(), "f/c", images.samples.tobytes())
    found = replicates(images, fingerprint="f", class_name="c")
    for row in range(0, len(drawn), 250):
        times = [set(drawn[row][of == sample].tolist()) for sample in range(8)]
        assert all(len(each) == 1 for each in times)
        weights = [each.pop() for each in times]
        scores = [images.scores[of == sample].max() for sample in range(8)]
        labels = [images.labels[of == sample].max() for sample in range(8)]
        assert sum(weights[:4]) == sum(weights[4:]) == 4
        auroc = roc_auc_score(labels, scores, sample_weight=weights)
        ap = average_precision_score(labels, scores, sample_weight=weights)
        assert found["sample_auroc"][row] == pytest.approx(auroc)
        assert found["sample_ap"][row] == pytest.approx(ap)
        of_images = roc_auc_score(images.labels, images.scores, sample_weight=drawn[row])
        assert found["image_auroc"][row] == pytest.approx(of_images)


def test_without_views_there_is_no_replicate_of_samples() -> None:
    gathering = PerImageAccumulator()
    for index in range(4):
        gathering.add(str(index), index % 2, float(index), np.zeros((2, 2), np.float32))
    found = replicates(gathering.finish(), fingerprint="f", class_name="c")
    assert found.keys() == {"image_auroc", "image_ap"}


def test_draws_keep_the_number_of_each_label_and_begin_with_the_images_as_they_are() -> None:
    labels = np.array([0, 1, 1, 0, 1, 1, 1], np.uint8)
    drawn = draws(labels.tobytes(), "seed")
    assert drawn.shape == (1 + REPLICATES, 7)
    assert (drawn[0] == 1).all()
    assert (drawn[:, labels == 0].sum(axis=1) == 2).all()
    assert (drawn[:, labels == 1].sum(axis=1) == 5).all()
    assert drawn[1:].mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    assert (draws(labels.tobytes(), "other") != drawn).any()


def test_thousands_of_images_take_little_memory_and_give_the_same_numbers() -> None:
    """A matrix of images by images would have 200 MB."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([0, 1], np.uint8), 2500)
    scores = (rng.normal(size=5000) + labels).round(3)
    negatives, positives = rng.integers(0, 50, (5000, 8)), rng.integers(0, 9, (5000, 8)) * labels[:, None]
    bins = PixelBins(negatives, positives, (positives / 50).astype(np.float32), labels)
    tracemalloc.start()
    drawn = draws(labels.tobytes(), "seed")
    found = image_replicates(scores, labels, drawn) | pixel_replicates(bins, drawn)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6
    for row in (0, 1, REPLICATES):
        weights = drawn[row].astype(float)
        assert found["image_auroc"][row] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
        assert found["image_ap"][row] == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))
        truth, bin_scores = np.repeat([0, 1], 8), np.tile(np.arange(8), 2)
        pixels = np.concatenate((weights @ negatives, weights @ positives))
        assert found["pixel_auroc"][row] == pytest.approx(roc_auc_score(truth, bin_scores, sample_weight=pixels))


def test_pieces_of_a_photograph_are_drawn_together_and_every_label_stays() -> None:
    labels = np.array([0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1], np.uint8)
    photographs = np.array([5, 5, 5, 2, 2, 2, 7, 7, 1, 1, 2], np.uint32)  # one normal, one of both kinds, …
    drawn = draws(labels.tobytes(), "seed", photographs.tobytes())
    for photograph in np.unique(photographs):
        pieces = drawn[:, photographs == photograph]
        assert (pieces == pieces[:, :1]).all()
    assert (drawn[:, [0, 8]].sum(axis=1) == 2).all()  # the two normal photographs
    assert (drawn[:, [3, 6]] == 1).all()  # the only one of both kinds, the only anomalous one
    assert drawn[1:, 0].std() > 0
    alone = np.arange(len(labels), dtype=np.uint32)[::-1].copy()
    assert (draws(labels.tobytes(), "seed", alone.tobytes()).sum(axis=1) == len(labels)).all()


def test_images_that_are_each_in_the_list_three_times_say_no_more_than_once() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=40) + np.repeat([0, 1], 20)

    def auroc(times: int, *, together: bool) -> FloatArray:
        gathering = PerImageAccumulator()
        for index, score in enumerate(scores):
            for copy in range(times):
                photograph = str(index) if together else None
                gathering.add(f"{index}-{copy}", int(index >= 20), score, np.zeros((1, 1)), photograph=photograph)
        return replicates(gathering.finish(), fingerprint="f", class_name="c")["image_auroc"]

    once = auroc(1, together=True)
    assert auroc(3, together=True).std() == pytest.approx(once.std(), rel=0.1)
    assert auroc(3, together=False).std() < 0.7 * once.std()


@pytest.mark.parametrize("seeds", [3, 4, 10])
def test_the_drawn_mean_over_seeds_varies_as_the_mean_of_so_many_trainings(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(size=seeds)
    weights = seed_draws(seeds, "fingerprint")
    assert weights[0] == pytest.approx(np.full(seeds, 1 / seeds))
    assert weights.sum(axis=1) == pytest.approx(np.ones(1 + REPLICATES))
    assert (weights[1:] @ values).var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.15)


def test_one_or_two_seeds_are_not_drawn() -> None:
    for seeds in range(1, FEWEST_SEEDS):
        assert (seed_draws(seeds, "fingerprint") == 1 / seeds).all()


def test_draws_are_the_same_on_every_machine_and_with_every_numpy() -> None:
    drawn = draws(bytes([0, 1] * 10), "fingerprint/class").astype(np.uint8)
    expected = "e7bea656eb84ed25531079c40e6431b0e91721dcc069b9f44ea8fde490bdfd5a"
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == expected


def test_what_is_undefined_has_no_replicates() -> None:
    gathering = PerImageAccumulator()
    for index in range(3):
        gathering.add(str(index), 1, index / 3, np.zeros((2, 2)))
        gathering.add_pixels(image_pixels(np.zeros((4, 4), np.float32), find_regions(np.zeros((4, 4), bool))))
    assert replicates(gathering.finish(), fingerprint="f", class_name="c") == {}


def test_an_interval_is_around_the_reported_number_and_within_bounds() -> None:
    moves = np.linspace(-0.1, 0.1, REPLICATES)
    assert interval(moves, 0.5) == pytest.approx((0.405, 0.595), abs=1e-3)
    assert interval(moves, 0.51) == pytest.approx((0.415, 0.605), abs=1e-3)
    assert interval(moves, 0.95) == pytest.approx((0.855, 1.0), abs=1e-3)
    assert interval(np.zeros(REPLICATES), 1 + 1e-12) == (1.0, 1.0)


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    """AUROC of two normal distributions one standard deviation apart: Φ(1/√2) = 0.7602."""
    rng, labels, held = np.random.default_rng(0), np.repeat(np.array([0, 1], np.uint8), 60), 0
    for trial in range(200):
        scores = rng.normal(size=120) + labels
        values = image_replicates(scores, labels, draws(labels.tobytes(), str(trial)))["image_auroc"]
        low, high = interval(values[1:] - values[0], float(values[0]))
        held += low <= 0.7602 <= high
    assert 180 <= held <= 199  # 190 are expected; 3 standard deviations are 9
