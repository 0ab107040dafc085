"""The range of image metrics, by random moves of the scores and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from benchmark.metrics.fragile import IMAGE_MOVE
from benchmark.metrics.image import ImageMetrics, sample_maxima

HAIR = 1e-12


def metrics_of(scores: "np.typing.ArrayLike", labels: "np.typing.ArrayLike") -> ImageMetrics:
    metrics = ImageMetrics()
    for score, label in zip(np.asarray(scores).tolist(), np.asarray(labels).tolist(), strict=True):
        metrics.update(score, label)
    return metrics


def by_scikit_learn(scores: "np.typing.NDArray[np.float64]", labels: "np.typing.NDArray[np.int64]") -> dict[str, float]:
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return {
        "image_auroc": roc_auc_score(labels, scores),
        "image_ap": average_precision_score(labels, scores),
        "image_f1max": f1.max(),
    }


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 30), st.sampled_from([3, 10, 100]), st.booleans(), st.integers(0, 2**32 - 1))
def test_no_move_of_the_scores_leads_out_of_the_range(images: int, levels: int, signed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % 2)
    near = 1 + IMAGE_MOVE * rng.uniform(-2, 2, images)  # many near ties
    scores = (rng.integers(1, levels + 1, images) / levels - 0.5 * signed) * near
    metrics = metrics_of(scores, labels)
    values, ranges = metrics.compute(), metrics.compute_ranges()
    for _ in range(20):
        moved = scores * (1 + IMAGE_MOVE * rng.choice([-1, 0, 1, rng.uniform(-1, 1)], images))
        for key, value in by_scikit_learn(moved, labels).items():
            low, high = ranges.get(key, (values[key], values[key]))
            assert low is not None
            assert high is not None
            assert low - HAIR <= value <= high + HAIR, key


def test_a_near_tie_gives_a_range_and_scores_that_lie_apart_give_none() -> None:
    tied = metrics_of([0.2, 0.5, 0.5 + 1e-7, 0.7], [0, 0, 1, 1]).compute_ranges()
    assert tied["image_auroc"] == pytest.approx((0.75, 1.0))
    assert metrics_of([0.2, 0.5, 0.501, 0.7], [0, 0, 1, 1]).compute_ranges() == {}


def test_one_label_only_or_no_image_has_no_range() -> None:
    assert metrics_of([0.2, 0.2], [1, 1]).compute_ranges() == {}
    assert ImageMetrics().compute_ranges() == {}


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_a_sample_has_the_highest_score_and_label_of_its_views(samples: int, views: int, seed: int) -> None:
    """The oracle groups with pandas and evaluates with scikit-learn; the order of the images does not matter."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"sample": np.repeat([f"s{i}" for i in range(samples)], views)})
    frame["label"] = (rng.random(len(frame)) < 0.4) & (frame["sample"] > f"s{samples // 2 - 1}")
    frame.loc[len(frame) - 1, "label"] = True
    frame["score"] = rng.integers(-3, 4, len(frame)) / 3
    grouped = frame.groupby("sample").max()
    wanted = by_scikit_learn(grouped["score"].to_numpy(), grouped["label"].astype(int).to_numpy())
    frame = frame.sample(frac=1, random_state=seed % 2**31)
    metrics = ImageMetrics("sample")
    maxima = sample_maxima(frame["sample"].tolist(), frame["score"].tolist(), frame["label"].astype(int).tolist())
    for score, label in zip(*maxima, strict=True):
        metrics.update(score, label)
    found = metrics.compute()
    assert found == pytest.approx({key.replace("image", "sample"): value for key, value in wanted.items()}, abs=1e-12)


def test_one_view_each_gives_the_numbers_of_the_images() -> None:
    scores, labels = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]
    assert sample_maxima(list("abcd"), scores, labels) == (scores, labels)


def test_adeval_gives_the_same() -> None:
    """ADEval 1.1.0 gave these numbers for these views: `compute_imagewise_retrieval_metrics` of its groups' maxima."""
    samples = [f"part_{i // 5:04}" for i in range(60)]
    scores = [(i * i * 37 % 101) ** 2 % 97 / 97 for i in range(60)]
    labels = [int(i in {1, 7, 8, 22, 41}) for i in range(60)]
    metrics = ImageMetrics("sample")
    for score, label in zip(*sample_maxima(samples, scores, labels), strict=True):
        metrics.update(score, label)
    found = metrics.compute()
    assert found["sample_auroc"] == pytest.approx(0.578125, abs=1e-12)
    assert found["sample_ap"] == pytest.approx(0.43465909090909094, abs=1e-12)
