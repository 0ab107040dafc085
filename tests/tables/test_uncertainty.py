"""Intervals, the spread over seeds and paired differences, from hand-made records and images."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from support.records import data_id, made_record, trained

from benchmark.metrics.bootstrap import FloatArray, replicates, seed_draws
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import ClassImages, PerImageAccumulator
from benchmark.protocol import Protocol
from benchmark.records.draws import RESOLUTION, Draws
from benchmark.records.intervals import with_intervals
from benchmark.records.records import ClassResult, Record
from benchmark.tables.comparable import TableError
from benchmark.tables.ranks import friedman_p, rankings
from benchmark.tables.ranks import render as render_ranks
from benchmark.tables.uncertainty import Estimate, estimates, lacking, render, to_csv

LABELS = [0] * 20 + [1] * 20


def slug(title: str) -> str:
    return re.sub(r"\W", "_", title.lower()) or "x"


def record(title: str, dataset: str, classes: Mapping[str, Mapping[str, float | None]], **changes: Any) -> Record:
    results = {name: ClassResult(normal=1, anomalous=1, metrics=dict(values)) for name, values in classes.items()}
    cell = {
        "method": slug(title),
        "dataset": data_id(slug(dataset), f"list of {dataset}"),
        "seed": changes.pop("seed", 0),
        "protocol": Protocol(mask_gt0=changes.pop("mask_gt0", False)),
    }
    return made_record(results, cell=cell, title=title, dataset=dataset).model_copy(update=changes)


class Lab:
    """Records with the images they were made from."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.images: dict[str, dict[str, ClassImages]] = {}

    def add(self, title: str, scores: Mapping[str, Sequence[float]], *, dataset: str = "D", **changes: Any) -> Record:
        classes, images = {}, {}
        for name, of_class in scores.items():
            metrics, gathering = ImageMetrics(), PerImageAccumulator()
            for index, (score, label) in enumerate(zip(of_class, LABELS, strict=True)):
                metrics.update(float(score), label)
                gathering.add(str(index), label, float(score), np.zeros((1, 1)))
            classes[name], images[name] = metrics.compute(), gathering.finish()
        made = with_intervals(record(title, dataset, classes, **changes), images)
        self.records.append(made)
        self.images[made.id] = images
        return made

    def estimates(self, metric: str = "image_auroc") -> dict[tuple[str, str | None], Estimate]:
        found = estimates(self.records)
        return {(each.title, each.class_name): each for each in found if each.metric == metric}


def scores(quality: float, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).normal(size=40) + quality * np.array(LABELS))


def test_a_clear_winner_is_told_apart_and_a_near_one_is_not() -> None:
    lab, good = Lab(), scores(2.0)
    lab.add("Good", {"a": good})
    lab.add("Near", {"a": [score + 0.02 * (index % 3) for index, score in enumerate(good)]})
    lab.add("Bad", {"a": scores(0.0, seed=1)})
    found = lab.estimates()
    best, near, bad = (found[title, None] for title in ("Good", "Near", "Bad"))
    assert best.behind is None
    assert best.low is not None
    assert best.high is not None
    assert best.low < best.value < best.high
    assert near.not_apart
    assert not bad.not_apart
    assert bad.behind is not None
    assert bad.behind[0] == pytest.approx(best.value - bad.value)
    assert bad.behind[1] < bad.behind[0] < bad.behind[2]


def test_differences_are_paired() -> None:
    """Two methods that are wrong on the same images differ by far less than their intervals are wide."""
    lab, good = Lab(), scores(1.0)
    lab.add("A", {"a": good})
    lab.add("B", {"a": [score + 0.3 * (index == 0) for index, score in enumerate(good)]})
    found = lab.estimates()
    wide = found["A", None]
    behind = next(each.behind for each in found.values() if each.behind)
    assert behind[2] - behind[1] < 0.3 * (wide.high - wide.low)  # type: ignore[operator]


def test_the_mean_over_classes_has_an_interval_of_its_own() -> None:
    lab = Lab()
    lab.add("A", {f"class {index}": scores(1.0, seed=index) for index in range(9)})
    found = lab.estimates()
    mean = found["A", None]
    widths = [each.high - each.low for (_, name), each in found.items() if name]  # type: ignore[operator]
    assert mean.high - mean.low == pytest.approx(np.mean(widths) / 3, rel=0.3)  # type: ignore[operator]
    assert mean.value == pytest.approx(np.mean([each.value for (_, name), each in found.items() if name]))


def test_several_seeds_have_a_spread() -> None:
    lab = Lab()
    for seed in range(3):
        lab.add("A", {"a": scores(1.0 + seed / 5)}, seed=seed)
    values = [r.mean["image_auroc"] for r in lab.records]
    estimate = lab.estimates()["A", None]
    assert estimate.seeds == 3
    assert estimate.value == pytest.approx(np.mean(values))  # type: ignore[arg-type]
    assert estimate.std == pytest.approx(np.std(values, ddof=1))  # type: ignore[arg-type]
    assert "±" in render([estimate], lab.records)


def test_from_three_seeds_on_intervals_hold_the_seeds() -> None:
    """Trainings on which the scores differ by far more than images do."""
    widths = {}
    for seeds in (2, 3):
        lab = Lab()
        for seed in range(seeds):
            lab.add("A", {"a": scores(2.0 * (seed % 2), seed=seed)}, seed=seed)
        estimate = lab.estimates()["A", None]
        widths[seeds] = estimate.high - estimate.low  # type: ignore[operator]
        assert estimate.low < estimate.value < estimate.high  # type: ignore[operator]
    assert widths[3] > 2 * widths[2]


def test_seeds_are_drawn_alike_for_all_classes() -> None:
    """A seed that is better on every class moves the mean over the classes as much as a class."""
    lab = Lab()
    for seed in range(3):
        of_classes = {f"class {i}": scores(1.5 * (seed == 0), seed=i) for i in range(6)}
        lab.add("A", of_classes, seed=seed)
        for name, of_class in of_classes.items():
            lab.add("A", {name: of_class}, dataset=name, seed=seed)
    found = estimates(lab.records)
    means = [each for each in found if each.class_name is None and each.metric == "image_auroc"]
    widths = {each.dataset: each.high - each.low for each in means}  # type: ignore[operator]
    assert widths.pop("D") > 0.6 * np.mean(list(widths.values()))


@pytest.mark.parametrize(
    ("best", "other", "marked"),
    [(1, 1, True), (1, 0, True), (0, 1, True), (0, 0, False), (3, 3, False), (3, 1, True), (2, 3, True), (3, 0, False)],
)
def test_a_difference_that_rests_on_one_training_is_marked(best: int, other: int, marked: bool) -> None:
    """0 trainings stand for a method that learns nothing."""
    lab = Lab()
    for title, quality, trainings in (("Best", 2.0, best), ("Other", 1.0, other)):
        for seed in range(trainings or 1):
            changes = trained(f"{title} {seed}") if trainings else {}
            lab.add(title, {"a": scores(quality, seed=seed)}, seed=seed, **changes)
    found = lab.estimates()
    assert found["Other", None].one_training == marked
    assert not found["Best", None].one_training
    text = render(list(found.values()), lab.records)
    assert ("- ‡ one training" in text) == marked
    assert text.count("‡") == 2 * marked
    assert "chosen on these images" in text
    lines = csv.DictReader(io.StringIO(to_csv(list(found.values()))))
    rows = {row["method"]: row for row in lines if row["class"] == "mean"}
    assert rows["Other"]["trainings"] == str(other or "")
    counts = [count for count in (best, other) if count]
    assert rows["Other"]["behind_trainings"] == str(min(counts, default=""))
    assert rows["Best"]["behind_trainings"] == ""


def test_one_checkpoint_under_three_seeds_is_one_training() -> None:
    lab = Lab()
    lab.add("Best", {"a": scores(2.0)})
    for seed in range(3):
        lab.add("Other", {"a": scores(1.0)}, seed=seed, **trained("the same"))
    assert lab.estimates()["Other", None].one_training


def test_a_record_of_an_earlier_version_has_a_value_and_no_interval() -> None:
    lab = Lab()
    lab.add("B", {"a": scores(2.0)})
    lab.records.append(record("A", "D", {"a": lab.records[0].mean}))
    assert lab.records[1].draws is None
    found = lab.estimates()
    for name in (None, "a"):
        estimate = found["A", name]
        assert (estimate.low, estimate.high, estimate.std, estimate.behind) == (None, None, None, None)
    [said] = lacking(lab.records)
    assert said.startswith(f"no intervals of 1 result of an earlier version: {lab.records[1].id}; run with --force")
    row = next(csv.DictReader(io.StringIO(to_csv([estimate]))))
    assert row["value"] == f"{100 * estimate.value:.2f}"
    assert row["low"] == row["std"] == row["behind"] == ""


def test_what_is_undefined_is_left_out_and_shown_as_a_dash() -> None:
    made = record("A", "D", {"a": {"image_auroc": 0.5, "image_ap": None}})
    other = record("B<b>", "D", {"a": {"image_auroc": 0.6, "image_ap": 0.6}})
    found = estimates([made, other])
    assert [each.title for each in found if each.metric == "image_ap"] == ["B<b>", "B<b>"]
    text = render(found, [made, other])
    assert ["D", "–", "**60.0**"] in [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert "B&lt;b&gt;" in text
    assert render([], [made]) == ""


def test_that_views_are_drawn_together_is_told_where_there_are_some() -> None:
    made = record("A", "D", {"a": {"image_auroc": 0.5}})
    views = record("A", "V", {"a": {"image_auroc": 0.5, "sample_auroc": 0.6}})
    assert "views" not in render(estimates([made]), [made])
    text = render(estimates([made, views]), [made, views])
    assert "views of one sample are drawn together" in text
    assert re.search(r"## Sample level, AUROC, %.*\| V +\| \*\*60\.0\*\*", text, re.DOTALL)


def test_the_order_of_records_changes_nothing() -> None:
    lab = Lab()
    for index, title in enumerate("CAB"):
        lab.add(title, {"x": scores(1.0, seed=index), "y": scores(0.5, seed=index)})
    forward = to_csv(estimates(lab.records))
    assert to_csv(estimates(lab.records[::-1])) == forward
    assert [row["method"] for row in csv.DictReader(io.StringIO(forward))][:3] == ["A", "B", "C"]


def test_what_is_not_comparable_is_refused() -> None:
    both = [record("A", "D", {}), record("B", "D", {}, mask_gt0=True)]
    for function in (lambda: estimates(both), lambda: rankings(both)):
        with pytest.raises(TableError, match="protocols"):
            function()


def whole_draws(lab: Lab, same: Sequence[Record], metric: str) -> FloatArray:
    """The mean over classes and drawn seeds under each draw, the first of the images as they are, with nothing rounded.

    From the results per image, with each seed moved to the value that it reports.
    """
    drawn, fingerprint = [], same[0].cell.dataset.fingerprint
    for each in same:
        of_classes = [
            replicates(images, fingerprint=fingerprint, class_name=name)[metric]
            for name, images in lab.images[each.id].items()
        ]
        mean = np.mean(of_classes, axis=0)
        drawn.append(mean - mean[0] + each.mean[metric])
    return np.asarray(np.einsum("sr,rs->r", np.stack(drawn), seed_draws(len(same), fingerprint)))


@pytest.mark.parametrize("metric", ["image_auroc", "image_ap"])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_intervals_of_records_are_those_of_the_results_per_image(seeds: int, metric: str) -> None:
    lab, of_title = Lab(), {}
    for title, quality in (("Best", 1.2), ("Other", 0.7), ("Third", 1.1)):
        of_title[title] = [
            lab.add(title, {name: scores(quality + seed / 3, seed=seed + i) for i, name in enumerate("abc")}, seed=seed)
            for seed in range(seeds)
        ]
    found = lab.estimates(metric)
    drawn = {title: whole_draws(lab, same, metric) for title, same in of_title.items()}
    best = max(drawn, key=lambda title: found[title, None].value)
    for title, values in drawn.items():
        estimate = found[title, None]
        assert estimate.value == pytest.approx(values[0])
        span = np.clip(np.percentile(values[1:], [2.5, 97.5]), 0, 1)
        assert (estimate.low, estimate.high) == pytest.approx(tuple(span), abs=RESOLUTION / 2 + 1e-12)
        if title == best:
            assert estimate.behind is None
        else:
            ahead = drawn[best] - values
            expected = (ahead[0], *np.percentile(ahead[1:], [2.5, 97.5]))
            assert estimate.behind == pytest.approx(expected, abs=RESOLUTION + 1e-12)


def test_the_interval_of_a_class_is_that_of_its_images_and_lacks_under_several_seeds() -> None:
    lab = Lab()
    made = lab.add("A", {"a": scores(1.0), "b": scores(1.0, seed=1)})
    lab.add("B", {"a": scores(0.5), "b": scores(0.5, seed=1)})
    for name in "ab":
        images = lab.images[made.id][name]
        values = replicates(images, fingerprint=made.cell.dataset.fingerprint, class_name=name)["image_auroc"]
        estimate = lab.estimates()["A", name]
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.percentile(values[1:], [2.5, 97.5])))
        assert lab.estimates()["B", name].behind is None
    lab.add("A", {"a": scores(2.0), "b": scores(2.0, seed=1)}, seed=1)
    assert lab.estimates()["A", "a"].low is None
    assert lab.estimates()["A", None].low is not None


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_only_class_of_a_dataset_has_all_that_the_mean_has(seeds: int) -> None:
    lab = Lab()
    for title, quality in (("A", 1.0), ("B", 2.0)):
        for seed in range(seeds):
            made = lab.add(title, {"a": scores(quality, seed=seed)}, seed=seed)
            mean = lab.estimates()[title, None]
            if seeds == 1:
                span = made.classes["a"].intervals["image_auroc"]
                assert (mean.low, mean.high) == pytest.approx(span, abs=RESOLUTION / 2 + 1e-12)
    found = lab.estimates()
    for title in "AB":
        assert found[title, None].low is not None
        assert found[title, "a"] == replace(found[title, None], class_name="a")
    assert found["A", "a"].behind is not None


def test_a_difference_that_is_0_under_many_draws_tells_nothing_apart_however_moves_are_rounded() -> None:
    """The best method ranks all images rightly under every draw; the other one under many of them."""
    lab, right = Lab(), list(np.array(LABELS, float))
    classes = dict.fromkeys("abc", right)
    lab.add("Best", classes)
    lab.add("Other", classes | {"a": [1.5, *right[1:]]})  # one normal image is above all others
    other = lab.estimates()["Other", None]
    assert other.behind is not None
    assert other.behind[0] == pytest.approx(1 / 60)  # no whole number of steps
    assert 0 < other.behind[1] <= RESOLUTION
    assert other.not_apart


def redrawn(made: Record, version: int) -> Record:
    assert made.draws is not None
    return made.model_copy(update={"draws": Draws(version=version, moves=made.draws.moves)})


def test_draws_of_two_versions_are_not_paired() -> None:
    lab = Lab()
    for title, quality in (("Best", 2.0), ("Near", 1.9), ("Old", 1.0)):
        lab.add(title, {"a": scores(quality)})
    before = lab.estimates()
    assert before["Old", None].behind is not None
    assert lacking(lab.records) == []
    lab.records[2] = redrawn(lab.records[2], 1)
    found = lab.estimates()
    assert found["Old", None] == replace(before["Old", None], behind=None, behind_trainings=None)
    assert found["Near", None] == before["Near", None]
    [said] = lacking(lab.records)
    assert "versions 1, 2 of the bootstrap are not told apart" in said
    assert lab.records[2].id in said


def test_seeds_with_draws_of_two_versions_have_no_interval() -> None:
    lab = Lab()
    for seed in range(3):
        lab.add("A", {"a": scores(1.0, seed=seed)}, seed=seed)
    assert lab.estimates()["A", None].low is not None
    lab.records[2] = redrawn(lab.records[2], 1)
    estimate = lab.estimates()["A", None]
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.std is not None


# --- ranks ---


def grid(values: Mapping[str, Sequence[float | None]]) -> list[Record]:
    """Records of methods on datasets D0, D1, …, by image AUROC."""
    return [
        record(title, f"D{index}", {"a": {"image_auroc": value}})
        for title, row in values.items()
        for index, value in enumerate(row)
    ]


def test_ranks_and_the_critical_difference_are_demsars() -> None:
    """Demšar (2006), section 3.2.2: AUCs of four variants of C4.5 on 14 datasets (table 6).

    On the last but one, 0.975 is printed twice with ranks 2 and 3.
    """
    auc = {
        "C4.5": "763 599 954 628 882 936 661 583 775 1000 940 619 972 957",
        "C4.5+m": "768 591 971 661 888 931 668 583 838 1000 962 666 981 978",
        "C4.5+cf": "771 590 968 654 886 916 609 563 866 1000 965 614 975.1 946",
        "C4.5+m+cf": "798 569 967 657 898 931 685 625 875 1000 962 669 975 970",
    }
    [ranking] = rankings(grid({title: [float(each) / 1000 for each in row.split()] for title, row in auc.items()}))
    assert {title: round(rank, 3) for title, rank in ranking.ranks.items()} == {
        "C4.5": 3.143,
        "C4.5+m": 2.0,
        "C4.5+cf": 2.893,
        "C4.5+m+cf": 1.964,
    }
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.005)
    assert ranking.friedman_p is not None
    assert 0.005 < ranking.friedman_p < 0.05  # the paper's F of 3.69 is without the correction for ties


def test_a_method_tried_on_few_datasets_is_not_ranked_and_changes_no_rank() -> None:
    values = {"A": [0.9] * 4 + [0.7] * 3, "B": [0.8] * 7, "C": [0.7] * 4 + [0.9] * 3}
    [before] = rankings(grid(values))
    tried = grid({**values, "Tried": [0.99, 0.99]})
    [after] = rankings(tried)
    assert (after.ranks, after.friedman_p, after.datasets) == (before.ranks, before.friedman_p, before.datasets)
    assert after.lacking == {"Tried": ("D2", "D3", "D4", "D5", "D6")}
    text = render_ranks([after], tried)
    assert "No rank of Tried (Image level, AUROC): undefined or not run on D2, D3, D4 and 2 more." in text


def test_datasets_beyond_the_papers_change_no_rank_of_the_others() -> None:
    values = {"A": [0.9] * 4 + [0.7] * 3, "B": [0.8] * 7, "C": [0.7] * 4 + [0.9] * 3}
    [before] = rankings(grid(values))
    further = [
        each.model_copy(update={"beyond": True, "dataset_title": f"further {each.dataset_title}"})
        for each in grid({"A": [0.1] * 7, "B": [0.2] * 7, "C": [0.3] * 7})
    ]
    [after] = rankings([*grid(values), *further])
    assert (after.ranks, after.friedman_p, after.datasets) == (before.ranks, before.friedman_p, before.datasets)
    [alone] = rankings(further)
    assert alone.ranks == {"C": 1.0, "B": 2.0, "A": 3.0}


def test_only_datasets_that_all_compared_methods_have_count() -> None:
    values = {"A": [0.9, 0.8, *[0.5] * 5], "B": [0.8, 0.7, *[0.5] * 5], "C": [0.7, 0.9, *[0.5] * 5]}
    [ranking] = rankings(grid({title: [*row, None] for title, row in values.items()}))
    assert ranking.datasets == tuple(f"D{index}" for index in range(7))
    [one_more] = rankings(grid({title: [*row, 0.1 if title == "A" else None] for title, row in values.items()}))
    assert one_more.ranks == ranking.ranks


def test_too_little_for_a_test_is_no_test() -> None:
    """Demšar: the statistic says something from about six datasets on; ranks over fewer are not printed."""
    assert rankings(grid({title: [0.9, 0.8, 0.7, 0.6, 0.5] for title in "ABC"})) == []
    assert rankings(grid({"A": [0.9] * 6})) == []
    halves = {"A": [0.9] * 3 + [0.8] * 3, "B": [0.8] * 3 + [0.9] * 3}
    [two] = rankings(grid(halves))
    assert (two.friedman_p, two.critical_difference) == (None, None)
    [tied] = rankings(grid(dict.fromkeys("ABC", [0.9, 0.8] * 3)))
    assert tied.friedman_p is None
    text = render_ranks([two], grid(halves))
    assert "| A                   | 1.50" in text
    assert "Friedman p          | – " in text


def test_the_p_value_is_exact_where_all_datasets_agree() -> None:
    """Three methods have 6 orders, so five further datasets follow the first by chance with (1 / 6)⁵."""
    frame = pd.DataFrame([[0.9, 0.8, 0.7]] * 6, columns=list("ABC"))
    assert friedman_p(frame) == pytest.approx(6**-5)


@given(st.integers(6, 20), st.integers(3, 6), st.integers(0, 1000), st.booleans())
def test_the_p_value_is_that_of_an_analysis_of_variance_of_the_ranks(
    datasets: int, methods: int, seed: int, tied: bool
) -> None:
    """Conover, Practical Nonparametric Statistics, section 5.8: the same statistic in another way, with ties too."""
    values = np.random.default_rng(seed).random((datasets, methods))
    values = (values * 4).round() if tied else values
    ranks = scipy.stats.rankdata(values, axis=1)
    means, centre = ranks.mean(axis=0), (methods + 1) / 2
    between = datasets * ((means - centre) ** 2).sum() / (methods - 1)
    within = ((ranks - means) ** 2).sum() / ((datasets - 1) * (methods - 1))
    expected = scipy.stats.f.sf(between / within, methods - 1, (datasets - 1) * (methods - 1))
    assert friedman_p(pd.DataFrame(values)) == pytest.approx(float(expected), rel=1e-6)


def test_the_p_value_without_ties_is_demsars_formula() -> None:
    """Section 3.2.2, on ranks without ties: `12 N / (k (k + 1)) (Σ R² − k (k + 1)² / 4)`, then Iman and Davenport's."""
    values = np.random.default_rng(3).random((14, 4)) + np.array([0, 0.2, 0, 0.3])
    means = scipy.stats.rankdata(values, axis=1).mean(axis=0)
    chi2 = 12 * 14 / (4 * 5) * ((means**2).sum() - 4 * 5**2 / 4)
    expected = scipy.stats.f.sf(13 * chi2 / (14 * 3 - chi2), 3, 39)
    assert friedman_p(pd.DataFrame(values)) == pytest.approx(float(expected), rel=1e-9)
