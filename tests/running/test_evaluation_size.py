"""One evaluation size for all methods: their maps and masks are compared on the very same ground truth."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from support.running import run_jobs

from benchmark.clip.weights import parse_backbone
from benchmark.common.settings import Settings
from benchmark.contract import Features, Method, NoOptions, Prediction, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.loading import Reading, load
from benchmark.data.masks import MaskRule
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record
from benchmark.running.maps import at_evaluation_size
from benchmark.running.planning import Auxiliaries, Setting, plan, plan_training
from methods.coop import CoOp

SIZE = 48
PATTERN = torch.arange(16.0).reshape(4, 4) % 7


class Small(Method):
    """Gives the same map for every image, whatever size the image has."""

    name = "small"
    title = "Small"
    paper = "none"
    Options = NoOptions
    image_size = 56

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.image_size)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        batch = len(class_names)
        return Prediction(torch.zeros(batch), PATTERN.expand(batch, 4, 4))


class Large(Small):
    name = "large"
    title = "Large"
    image_size = 112


def scored(parts: Path, results: Path, protocol: Protocol) -> list[Record]:
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), protocol)
    chosen = [(method, NoOptions()) for method in (Small, Large)]
    return run_jobs(
        plan(chosen, [read_folder(PlainFolder(directory=parts, class_name="part"))], setting, seeds=[0]).jobs,
        Settings(results, workers=0),
    )


def test_all_methods_are_compared_at_the_size_of_the_protocol(parts: Path, tmp_path: Path) -> None:
    apart = scored(parts, tmp_path, Protocol())
    assert apart[0].mean["pixel_auroc"] != apart[1].mean["pixel_auroc"]
    small, large = scored(parts, tmp_path, Protocol(evaluation_size=SIZE))
    assert small.mean == large.mean
    assert (small.image_size, large.image_size) == (56, 112)
    samples = read_folder(PlainFolder(directory=parts, class_name="part")).test
    reading = Reading(SIZE, masks=MaskRule(127), batch_size=8, workers=0)
    masks = [item.mask for batch in load(samples, reading) for item in batch]
    double = torch.nn.functional.interpolate(PATTERN[None, None].double(), size=(SIZE, SIZE), mode="bilinear")
    evaluated = double[0, 0].float().numpy()  # float32 alone would break ties by its rounding
    truth = np.stack([mask for mask in masks if mask is not None])
    expected = roc_auc_score(truth.ravel(), np.broadcast_to(evaluated, truth.shape).ravel())
    assert small.mean["pixel_auroc"] == pytest.approx(expected, abs=1e-6)


def test_masks_have_a_size_of_their_own(parts: Path) -> None:
    reading = Reading(32, masks=MaskRule(127), batch_size=4, workers=0, mask_size=SIZE)
    batch = next(load(read_folder(PlainFolder(directory=parts, class_name="part")).test, reading))
    assert {item.mask.shape for item in batch if item.mask is not None} == {(SIZE, SIZE)}


def test_the_filter_covers_the_same_part_of_the_image_at_every_size() -> None:
    prediction = Prediction(torch.zeros(1), torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)))
    _, scaled = at_evaluation_size(prediction, image_size=32, evaluation_size=64, smoothing=2.0)
    _, native = at_evaluation_size(prediction, image_size=64, smoothing=4.0)
    _, unsaid = at_evaluation_size(prediction, image_size=64, evaluation_size=64, smoothing=4.0)
    assert np.array_equal(scaled, native)  # type: ignore[arg-type]
    assert np.array_equal(unsaid, native)  # type: ignore[arg-type]


def test_another_size_needs_no_other_training(parts: Path) -> None:
    data = read_folder(PlainFolder(directory=parts, class_name="part"))
    found = Auxiliaries({"visa": replace(data, card=data.card.model_copy(update={"name": "visa"}))})
    backbone = backbone_id(parse_backbone("tiny:random"), dtype="float32")
    trainings = [
        plan_training(CoOp, CoOp.Options(), ["visa"], Setting(backbone, Protocol(evaluation_size=size), found), seed=0)
        for size in (None, 256)
    ]
    assert [training is None for training in trainings] == [False, False]
    assert len({training.id.id for training in trainings if training}) == 1
