"""Methods that keep the contract, of which tests make some that break it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.authoring.check_images import random_images
from benchmark.authoring.conformance import check_declaration, check_method
from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.authoring.starters import frozen, learner
from benchmark.clip.backbone import Backbone
from benchmark.contract import (
    ClassName,
    Features,
    FrozenClip,
    Learner,
    Method,
    Prediction,
    Stage,
    TrainingBatch,
    VisionSpec,
)
from methods.base import to_grid


class Sound(frozen.Starter):
    """The starter, with its scores and maps at hand."""

    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return found

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return self.change(super().predict(features, class_names), features, class_names)


class SoundLearner(learner.Starter):
    """The starter that learns."""


class SoundTower(SoundLearner):
    """It learns tokens that are added to the vision tower, and reads nothing but images."""

    def __init__(self, backbone: FrozenClip, options: learner.StarterOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randn(2, backbone.vision_width, generator=generator)
        self.learned.tokens = nn.Parameter(tokens.to(backbone.device))

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, images=True, encoded=False)

    def after(self, block: int, tokens: Tensor) -> Tensor:
        added: Tensor = self.learned.tokens  # type: ignore[assignment]
        return torch.cat([tokens, added.expand(len(tokens), -1, -1)], dim=1) if block == 0 else tokens

    def embedded(self, features: Features) -> Features:
        """Return the features with the patches of the changed tower."""
        assert features.images is not None
        tokens = self.backbone.forward_vision(features.images, after=self.after).last
        patches = self.backbone.embed(tokens[:, 1 : 1 + features.grid**2])
        return Features(features.image, features.image_raw, {self.layer: patches}, {}, features.grid)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return super().predict(self.embedded(features), class_names)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        given = TrainingBatch(self.embedded(batch.features), batch.class_names, batch.labels, batch.masks)
        return super().losses(given)


class SoundMemory(Learner):
    """It keeps the embeddings of normal images, which are learned without an optimiser."""

    name, title, paper = "memory", "Memory", "none"

    def __init__(self, backbone: FrozenClip, options: object, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned = nn.Module()
        self.learned.register_buffer("rows", torch.zeros(0, backbone.width, device=backbone.device))

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)

    def keep(self, batch: TrainingBatch) -> dict[str, Tensor]:
        rows: Tensor = self.learned.rows  # type: ignore[assignment]
        self.learned.rows = torch.cat([rows, batch.features.image])
        return {}

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        return [Stage(self.keep, None, epochs=1, batch_size=4, vision=self.vision())]

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        rows: Tensor = self.learned.rows  # type: ignore[assignment]
        far = torch.cdist(features.image, rows).amin(dim=1)
        return Prediction(far, to_grid(far[:, None]))


def under_test(method: type[Method], backbone: Backbone) -> MethodUnderTest:
    """Return a method with its default options, on random images."""
    return MethodUnderTest(method, method.Options(), backbone, random_images)


def failures(method: type[Method], backbone: Backbone) -> dict[str, str]:
    """Return what the failed checks saw."""
    options = method.Options() if check_declaration(method).passed else None
    return {each.check: each.seen for each in check_method(method, options, backbone, random_images) if not each.passed}
