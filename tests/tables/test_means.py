"""Means over datasets: their intervals, and which methods the images do not tell from the best."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from support.records import data_id, made_record, trained

from benchmark.metrics.bootstrap import FloatArray, seed_draws
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import PerImageAccumulator
from benchmark.records.draws import RESOLUTION, Draws
from benchmark.records.intervals import with_intervals
from benchmark.records.records import ClassResult, Record
from benchmark.tables.means import mean_estimates
from benchmark.tables.uncertainty import estimates

METRIC = "image_auroc"
LABELS = np.array([0] * 15 + [1] * 15)
MOVES = np.random.default_rng(5).normal(0, 0.01, (4, 1000))


def scored(title: str, dataset: str, scores: Sequence[float], seed: int = 0) -> Record:
    """A record of one class of thirty images, with the draws that `bench run` makes."""
    metrics, gathering = ImageMetrics(), PerImageAccumulator()
    for index, (score, label) in enumerate(zip(scores, LABELS.tolist(), strict=True)):
        metrics.update(float(score), label)
        gathering.add(str(index), label, float(score), np.zeros((1, 1)))
    results = {"a": ClassResult(normal=15, anomalous=15, metrics=metrics.compute())}
    cell = {"method": title.lower(), "dataset": data_id(dataset.lower(), f"list of {dataset}"), "seed": seed}
    made = made_record(results, cell=cell, title=title, dataset=dataset)
    return with_intervals(made, {"a": gathering.finish()})


def plain(title: str, dataset: str, value: float, moves: FloatArray | None, version: int = 2, seed: int = 0) -> Record:
    """A record of a given value, which each draw moves as it is said."""
    results = {"a": ClassResult(normal=1, anomalous=1, metrics={METRIC: value})}
    cell = {"method": title.lower(), "dataset": data_id(dataset.lower(), f"list of {dataset}"), "seed": seed}
    draws = None if moves is None else Draws.of({METRIC: moves}).model_copy(update={"version": version})
    made = made_record(results, cell=cell, title=title, dataset=dataset)
    return made.model_copy(update={"draws": draws})


def scores(quality: float, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(size=len(LABELS)) + quality * LABELS


def test_intervals_are_those_of_a_direct_bootstrap() -> None:
    """Images are drawn here anew, by another generator, and the AUROC is counted by pairs of images."""
    datasets = ("D", "E")
    made = {(t, d): scores(q, seed=7 * i) for t, q in (("A", 1.5), ("B", 0.6)) for i, d in enumerate(datasets)}
    found = mean_estimates([scored(t, d, list(s)) for (t, d), s in made.items()], METRIC, datasets)
    rng, count = np.random.default_rng(0), 4000
    drawn = np.zeros((2, count))
    for dataset in datasets:
        normal, anomalous = (rng.choice(np.flatnonzero(label == LABELS), (count, 15)) for label in (0, 1))
        for row, title in enumerate("AB"):
            of_images = made[title, dataset]
            right = of_images[anomalous][:, :, None] > of_images[normal][:, None, :]  # the AUROC is the share of these
            drawn[row] += right.mean(axis=(1, 2)) / len(datasets)
    for row, title in enumerate("AB"):
        whole = np.mean([roc_auc_score(LABELS, made[title, dataset]) for dataset in datasets])
        assert found[title].value == pytest.approx(whole)
        assert (found[title].low, found[title].high) == pytest.approx(np.percentile(drawn[row], [2.5, 97.5]), abs=0.015)
    assert found["A"].behind is None
    assert found["B"].behind is not None
    assert found["B"].behind[1:] == pytest.approx(np.percentile(drawn[0] - drawn[1], [2.5, 97.5]), abs=0.015)


def test_the_mean_over_one_dataset_is_the_dataset() -> None:
    records = [
        scored(title, "D", list(scores(quality + seed, seed=seed)), seed=seed)
        for title, quality in (("A", 0.5), ("B", 1.0))
        for seed in range(3)
    ]
    of_dataset = {each.title: each for each in estimates(records) if each.class_name is None and each.metric == METRIC}
    for title, found in mean_estimates(records, METRIC, ["D"]).items():
        expected = of_dataset[title]
        for name in ("value", "low", "high", "std", "seeds", "behind"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name)), name


@settings(max_examples=30)
@given(st.lists(st.floats(0.3, 0.7), min_size=2, max_size=4), st.integers(0, 3))
def test_the_move_of_a_mean_is_the_mean_of_the_moves(values: list[float], shift: int) -> None:
    names = [f"D{index}" for index in range(len(values))]
    moves = np.roll(MOVES, shift, axis=0)[: len(values)]
    records = [plain("A", name, value, each) for name, value, each in zip(names, values, moves, strict=True)]
    found = mean_estimates(records, METRIC, names)["A"]
    low, high = np.mean(values) + np.percentile(moves.mean(axis=0), [2.5, 97.5])
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high), abs=RESOLUTION)
    again = mean_estimates(records[::-1], METRIC, names[::-1])["A"]
    assert (again.low, again.high) == pytest.approx((found.low, found.high))


def test_a_lead_on_every_dataset_that_none_shows_alone_is_shown_by_the_mean() -> None:
    """The interval of a mean over four datasets is half as wide as that of one."""
    names = ["D", "E", "F", "G"]
    records = [plain("A", name, 0.512, 0 * MOVES[0]) for name in names]
    records += [plain("B", name, 0.5, each) for name, each in zip(names, MOVES, strict=True)]
    of_one = {each.dataset: each for each in estimates(records) if each.title == "B" and each.class_name is None}
    assert all(each.not_apart for each in of_one.values())
    assert not mean_estimates(records, METRIC, names)["B"].not_apart


def test_equal_moves_tell_the_smallest_lead_apart_and_opposite_ones_do_not() -> None:
    names = ["D", "E"]
    best = [plain("A", name, 0.51, each) for name, each in zip(names, MOVES, strict=False)]
    same = [plain("B", name, 0.50, each) for name, each in zip(names, MOVES, strict=False)]
    other = [plain("C", name, 0.50, -each) for name, each in zip(names, MOVES, strict=False)]
    found = mean_estimates(best + same + other, METRIC, names)
    assert [found[title].not_apart for title in "ABC"] == [False, False, True]
    assert found["B"].behind == pytest.approx((0.01, 0.01, 0.01), abs=2 * RESOLUTION)


def test_a_method_that_lacks_a_dataset_has_no_mean() -> None:
    records = [plain("A", name, 0.5, MOVES[0]) for name in "DE"] + [plain("B", "D", 0.9, MOVES[0])]
    assert list(mean_estimates(records, METRIC, ["D", "E"])) == ["A"]
    assert list(mean_estimates(records, METRIC, ["D"])) == ["A", "B"]
    assert mean_estimates(records, METRIC, []) == {}
    assert mean_estimates(records, "pixel_auroc", ["D"]) == {}


@pytest.mark.parametrize("odd", [None, 1])
def test_without_draws_of_one_version_there_is_a_mean_and_no_interval(odd: int | None) -> None:
    moves = MOVES[0] if odd else None
    records = [plain("A", "D", 0.7, MOVES[0]), plain("A", "E", 0.5, moves, odd or 2)]
    records += [plain("B", name, 0.5, MOVES[1]) for name in "DE"]
    found = mean_estimates(records, METRIC, ["D", "E"])
    assert found["A"].value == pytest.approx(0.6)
    assert found["A"].low is None
    assert found["B"].low is not None
    assert found["B"].behind is None
    assert not found["B"].not_apart


def test_seeds_are_drawn_alike_on_all_datasets() -> None:
    """A seed that is lucky on one dataset is lucky on all, as one training serves them all."""
    values = (0.4, 0.5, 0.6)
    still = 0 * MOVES[0]
    records = [plain("A", name, value, still, seed=seed) for name in "DE" for seed, value in enumerate(values)]
    found = mean_estimates(records, METRIC, ["D", "E"])["A"]
    drawn = seed_draws(3, "list of D/list of E")[1:] @ np.array(values)
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=RESOLUTION)
    assert found.std == pytest.approx(0.1)


@pytest.mark.parametrize(("seeds", "marked"), [(1, True), (2, True), (3, False)])
def test_a_difference_that_rests_on_few_trainings_is_marked(seeds: int, marked: bool) -> None:
    records = [
        plain("A", name, 0.6, MOVES[0], seed=seed).model_copy(update=trained(f"{seed}" * 64))
        for name in "DE"
        for seed in range(seeds)
    ]
    records += [plain("B", name, 0.5, MOVES[1]) for name in "DE"]
    found = mean_estimates(records, METRIC, ["D", "E"])
    assert found["A"].trainings == seeds
    assert found["B"].one_training == marked
