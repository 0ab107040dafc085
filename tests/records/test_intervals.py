"""Intervals of a record where something is undefined: a class without images, of one label, without masks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from support.records import data_id, made_record

from benchmark.common.regions import find_regions
from benchmark.metrics.bootstrap import REPLICATES, replicates
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import ClassImages, PerImageAccumulator
from benchmark.metrics.pixel import PixelMetrics, image_pixels
from benchmark.records.draws import RESOLUTION, unpacked
from benchmark.records.intervals import with_intervals
from benchmark.records.records import ClassResult, DefectResult, Record

IMAGE = {"image_auroc", "image_ap"}
PIXEL = {"pixel_auroc", "pixel_aupro"}
BOTH = [0, 0, 0, 1, 1, 1, 1]


class Made:
    """A class and its images: random maps, and a square in the mask of each anomalous image that has one."""

    def __init__(
        self, labels: Sequence[int], *, masks: Sequence[bool] | None = None, views: str = "", seed: int = 0
    ) -> None:
        rng, images, pixels, gathering = (
            np.random.default_rng(seed),
            ImageMetrics(),
            PixelMetrics(),
            PerImageAccumulator(),
        )
        for index, label in enumerate(labels):
            mask = np.zeros((8, 8), bool)
            mask[2:5, 2:5] = bool(label) and (masks is None or masks[index])
            scores = (rng.random((8, 8)) + mask).astype(np.float32)
            images.update(float(scores.max()), label)
            gathering.add(str(index), label, float(scores.max()), scores, sample=views[index] if views else None)
            if masks is not None:
                pixels.update(scores, mask)
                gathering.add_pixels(image_pixels(scores, find_regions(mask)))
        self.images: ClassImages | None = gathering.finish() if labels else None
        known = pixels.compute() if masks is not None else dict.fromkeys(pixels.compute())
        kind = DefectResult(images=1, metrics={"image_auroc": 0.5})
        self.result = ClassResult(
            normal=labels.count(0),
            anomalous=labels.count(1),
            metrics={**images.compute(), **known},
            defects={"scratch": kind} if labels else {},
        )


def recorded(classes: Mapping[str, Made]) -> Record:
    results = {name: made.result for name, made in classes.items()}
    record = made_record(results, cell={"method": "m", "dataset": data_id("d", "list")}, title="M", dataset="D")
    found = with_intervals(record, {name: made.images for name, made in classes.items() if made.images is not None})
    assert Record.model_validate_json(found.model_dump_json()) == found
    assert found.model_copy(update={"draws": None, "classes": results}) == record  # nothing else changes
    return found


def moved(record: Record) -> set[str]:
    assert record.draws is not None
    return set(record.draws.moves)


def test_classes_with_all_metrics_have_all_intervals_and_the_mean_moves_as_they_do() -> None:
    made = {"a": Made(BOTH, masks=[True] * 7), "b": Made(BOTH, masks=[True] * 7, seed=1)}
    record = recorded(made)
    assert moved(record) == IMAGE | PIXEL
    for metric in IMAGE | PIXEL:
        values = [
            replicates(each.images, fingerprint="list", class_name=name)[metric]
            for name, each in made.items()
            if each.images
        ]
        mean = np.mean(values, axis=0)
        assert record.draws is not None
        assert unpacked(record.draws.moves[metric]) == pytest.approx(mean[1:] - mean[0], abs=RESOLUTION / 2 + 1e-12)
    for name, each in record.classes.items():
        assert each.intervals.keys() == IMAGE | PIXEL
        for metric, (low, high) in each.intervals.items():
            value = made[name].result.metrics[metric]
            assert value is not None
            assert 0 <= low <= value <= high + 1e-12 <= 1 + 1e-12  # a sum of areas may be a little more than 1


def test_without_masks_there_are_intervals_of_image_metrics_alone() -> None:
    record = recorded({"a": Made(BOTH)})
    assert moved(record) == IMAGE == record.classes["a"].intervals.keys()


def test_views_of_a_sample_are_drawn_together_and_judged_where_the_record_judges_samples() -> None:
    made = Made(BOTH, masks=[False] * 7, views="aabccdd")
    record = recorded({"a": made})
    assert moved(record) == IMAGE == record.classes["a"].intervals.keys()
    assert record.draws is not None
    alone = recorded({"a": Made(BOTH, masks=[False] * 7)}).draws
    assert alone is not None
    assert record.draws.moves["image_auroc"] != alone.moves["image_auroc"]
    made.result.metrics["sample_auroc"] = 1.0
    judged = recorded({"a": made})
    assert moved(judged) == {*IMAGE, "sample_auroc"} == judged.classes["a"].intervals.keys()


@pytest.mark.parametrize("other", [[], [0, 0, 0], [1, 1]])
def test_a_class_without_images_or_of_one_label_has_no_interval_and_so_has_the_mean(other: list[int]) -> None:
    record = recorded({"a": Made(BOTH), "b": Made(other)})
    assert record.classes["a"].intervals.keys() == IMAGE
    assert record.classes["b"].intervals == {}
    assert moved(record) == set()


def test_a_set_of_anomalous_images_with_masks_has_intervals_of_pixel_metrics_alone() -> None:
    record = recorded({"a": Made([1, 1, 1, 1], masks=[True] * 4)})
    assert moved(record) == PIXEL == record.classes["a"].intervals.keys()


@pytest.mark.filterwarnings("error")
def test_where_a_draw_has_no_anomalous_pixel_there_is_no_interval_of_pixel_metrics() -> None:
    """Of four anomalous images one has a mask; a third of the draws lack it."""
    made = Made(BOTH, masks=[True] * 4 + [False] * 3)
    assert made.result.metrics["pixel_auroc"] is not None
    record = recorded({"a": made})
    assert moved(record) == IMAGE == record.classes["a"].intervals.keys()


def test_one_image_of_each_label_never_moves() -> None:
    record = recorded({"a": Made([0, 1])})
    assert record.draws is not None
    assert (unpacked(record.draws.moves["image_auroc"]) == np.zeros(REPLICATES)).all()
    value = record.mean["image_auroc"]
    assert record.classes["a"].intervals["image_auroc"] == (value, value)
