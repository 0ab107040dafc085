"""Metrics of whole arrays, beside scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from benchmark.metrics.arrays import image_metrics, pixel_metrics
from benchmark.metrics.names import PIXEL_METRICS, metrics_of


def f1_max(labels: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=30))
def test_image_metrics_are_those_of_scikit_learn(images: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(each) for each in zip(*images, strict=True))
    found = image_metrics(labels, scores)
    if len(set(labels)) < 2:
        assert found == dict.fromkeys(metric.key for metric in metrics_of("image"))
        return
    assert found == {
        "image_auroc": pytest.approx(roc_auc_score(labels, scores)),
        "image_ap": pytest.approx(average_precision_score(labels, scores)),
        "image_f1max": pytest.approx(f1_max(labels, scores)),
    }


def test_pixel_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    maps, masks = rng.random((3, 12, 9)).astype(np.float32), rng.random((3, 12, 9)) > 0.8
    found = pixel_metrics(masks, maps)
    assert tuple(found) == PIXEL_METRICS
    labels, scores = masks.ravel(), maps.ravel()
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(labels, scores))
    assert found["pixel_ap"] == pytest.approx(average_precision_score(labels, scores))
    assert found["pixel_f1max"] == pytest.approx(f1_max(labels, scores))


def test_lists_tensors_and_sizes_of_all_kinds_are_taken() -> None:
    assert image_metrics([0, 1], [0.1, 0.2])["image_auroc"] == 1.0
    assert image_metrics(torch.tensor([1, 0]), torch.tensor([0.1, 0.2]))["image_auroc"] == 0.0
    masks = [np.eye(3, dtype=np.uint8), np.zeros((2, 5))]
    assert pixel_metrics(masks, [np.eye(3), np.zeros((2, 5))])["pixel_aupro"] == 1.0
    assert pixel_metrics([np.zeros((2, 2))], [np.zeros((2, 2))])["pixel_auroc"] is None
    of_one_bit = np.asarray(Image.fromarray(np.eye(3, dtype=bool)).convert("1"))  # bool of bytes 0 and 255
    assert pixel_metrics([of_one_bit], [np.eye(3)])["pixel_aupro"] == 1.0


@pytest.mark.parametrize(
    ("labels", "scores"), [([0, 1], [0.1]), ([[0, 1]], [[0.1, 0.2]]), ([0, 2], [0.1, 0.2]), ([0, 1], [0.1, np.nan])]
)
def test_what_is_no_label_or_score_is_refused(labels: list[int], scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shape|label|finite"):
        image_metrics(labels, scores)


def test_what_is_no_mask_or_map_is_refused() -> None:
    with pytest.raises(ValueError, match="mask > 127"):
        pixel_metrics([np.full((2, 2), 255)], [np.zeros((2, 2))])
    with pytest.raises(ValueError, match="argument 2"):
        pixel_metrics(np.zeros((2, 2, 2)), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="shape"):
        pixel_metrics([np.zeros((2, 2))], [np.zeros((2, 3))])
