"""Methods that get the images and run the vision tower themselves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.clip.backbone import Backbone
from benchmark.common.settings import Settings
from benchmark.contract import ClassName, Features, Method, Prediction, VisionSpec
from benchmark.data.samples import SampleSet
from benchmark.predict.scoring import Scored, score_images
from benchmark.protocol import Protocol
from benchmark.running.class_run import ClassScores, Participant
from benchmark.running.evaluate import ClassOutcomes, evaluate
from methods.clip import Clip, ClipOptions


class Whole(Method):
    """Scores an image by its embedding, of the shared pass."""

    name, title, paper = "whole", "Whole", "a test"

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return self.of(features.image)

    def of(self, image: torch.Tensor) -> Prediction:
        return Prediction(image[:, 0], image[:, :16].reshape(-1, 4, 4))


class Own(Whole):
    """The same, of a forward pass of its own."""

    name, title = "own", "Own"

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, images=True, encoded=False)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert features.images is not None
        return self.of(self.backbone.embed(self.backbone.forward_vision(features.images).last[:, 0]))


class Hungry(Own):
    """Has memory for a pass of two images."""

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        if len(class_names) > 2:
            raise torch.OutOfMemoryError
        return super().predict(features, class_names)


def scored(
    methods: Sequence[Method], data: SampleSet, tiny: Backbone, *, say: list[str] | None = None
) -> ClassOutcomes:
    classes = frozenset(sample.class_name for sample in data.test)
    taking_part = [Participant(method, classes) for method in methods]
    settings = Settings(Path("unused"), batch_size=8, workers=0)
    told = (say if say is not None else []).append
    (done,) = evaluate(taking_part, tiny, data, protocol=Protocol(), settings=settings, say=told)
    return done


def outcome(done: ClassOutcomes, place: int = 0) -> ClassScores:
    found = done.outcomes[place]
    assert isinstance(found, ClassScores), found
    return found


def test_a_pass_of_its_own_gives_what_the_shared_one_does(datasets: list[SampleSet], tiny: Backbone) -> None:
    whole, own = (outcome(scored([method(tiny, None)], datasets[0], tiny)) for method in (Whole, Own))
    assert whole.images is not None
    assert own.images is not None
    np.testing.assert_allclose(own.images.scores, whole.images.scores, atol=1e-5, rtol=0)
    assert own.result.metrics == pytest.approx(whole.result.metrics, abs=1e-5)
    assert (whole.own_pass, own.own_pass) == (False, True)
    assert own.seconds["vision"] == 0
    assert whole.seconds["vision"] > 0


class Reads(Own):
    """Reads what only others of its pass ask for."""

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert features.image.shape == features.image_raw.shape == (len(class_names), 0)
        assert not features.patches
        return super().predict(features, class_names)


class Embeds(Whole):
    """Asks for no images."""

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert features.images is None
        return super().predict(features, class_names)


def test_a_method_reads_what_it_asks_for_whoever_shares_its_pass(datasets: list[SampleSet], tiny: Backbone) -> None:
    methods = [Clip(tiny, ClipOptions()), Reads(tiny, None), Embeds(tiny, None)]
    done = scored(methods, datasets[0], tiny)
    for place in range(3):
        outcome(done, place)
    paths = [datasets[0].test[0].path]
    [found] = score_images(paths, methods, tiny, class_name="nut", batch_size=1)
    assert all(isinstance(each, Scored) for each in found)


def test_images_are_handed_over_by_the_pass_that_others_share(
    datasets: list[SampleSet], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, own = (
        outcome(scored([method], datasets[0], tiny)) for method in (Clip(tiny, ClipOptions()), Own(tiny, None))
    )
    asked: list[VisionSpec] = []
    original = Backbone.encode_images

    def encode_images(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        asked.append(spec)
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", encode_images)
    done = scored([Clip(tiny, ClipOptions()), Own(tiny, None)], datasets[0], tiny)
    assert [(spec.images, spec.encoded) for spec in asked] == [(True, True)] * 2
    assert outcome(done, 0).result == clip.result
    assert outcome(done, 1).result == own.result
    assert outcome(done, 0).seconds["vision"] > 0
    assert outcome(done, 1).seconds["vision"] == 0


def test_a_batch_whose_own_pass_is_too_large_is_divided(datasets: list[SampleSet], tiny: Backbone) -> None:
    said: list[str] = []
    found = outcome(scored([Hungry(tiny, None)], datasets[0], tiny, say=said))
    whole = outcome(scored([Own(tiny, None)], datasets[0], tiny))
    assert [line.split(";")[0] for line in said] == [
        "out of memory with 8 images at a time",
        "out of memory with 4 images at a time",
    ]
    assert found.images is not None
    assert whole.images is not None
    np.testing.assert_allclose(found.images.scores, whole.images.scores, atol=1e-5, rtol=0)
