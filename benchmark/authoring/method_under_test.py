"""A method under check: how the checks build it, encode images for it and let it predict, as the benchmark does."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmark.authoring.check_images import CheckImages, ImageSource
from benchmark.clip import Backbone, map_features
from benchmark.contract import (
    Dpam,
    Features,
    Layer,
    Learner,
    Method,
    Prediction,
    TrainingBatch,
    VisionSpec,
    require_prediction,
)
from benchmark.errors import ContractError

TOLERANCE = 1e-5
"""Largest difference of numbers that should be equal, relative to the largest number if that is above 1."""


class MethodUnderTest:
    """A method with its options, a backbone, and the images of a check.

    Args:
        method: The method's class.
        options: Instance of the method's `Options`.
        backbone: Backbone that the method runs on.
        source: Returns the images of the check.
    """

    def __init__(self, method: type[Method], options: Any, backbone: Backbone, source: ImageSource) -> None:
        self.method, self.options, self.backbone, self._source = method, options, backbone, source
        self.backbone_outputs_before = self.backbone_outputs()

    def backbone_outputs(self) -> list[Tensor]:
        """Return embeddings of fixed images and a fixed text, which show whether the backbone has been changed."""
        backbone = self.backbone
        size, last = backbone.image_size, backbone.blocks
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
        features = backbone.encode_images(
            images, VisionSpec(size, (Layer(last), Layer(last, Dpam(backbone.dpam_first))))
        )
        with torch.no_grad():
            return [features.image, *features.patches.values(), backbone.encode_prompts([["a damaged object."]])]

    @cached_property
    def shots(self) -> int:
        """Number of reference images per class."""
        return self.method.shots(self.options)

    @cached_property
    def spec(self) -> VisionSpec:
        """The method's `vision()`."""
        return self.build_without_references().vision()

    @cached_property
    def given(self) -> CheckImages:
        """The images of the check, at the method's image size."""
        return self._source(self.spec.image_size, self.shots)

    @cached_property
    def features(self) -> Features:
        """Features of the images of the check."""
        return self.encode(self.given.images)

    @cached_property
    def training_spec(self) -> VisionSpec:
        """The `training_vision()` of a method that learns."""
        return self.build_learner().training_vision()

    @cached_property
    def training_batch(self) -> TrainingBatch:
        """The images of the check as a batch of a training: with what the losses read, and nothing more."""
        size = self.training_spec.image_size
        given = self.given if size == self.spec.image_size else self._source(size, 0)
        masks = given.masks if issubclass(self.method, Learner) and self.method.needs_masks else given.masks * 0
        features = self.backbone.encode_images(given.images, self.training_spec)
        return TrainingBatch(features, given.class_names, given.labels, masks)

    @property
    def one_class(self) -> list[str]:
        """The first class name, once per image. A run also passes the images of one class at a time."""
        return [self.given.class_names[0]] * len(self.given.class_names)

    def encode(self, images: Tensor) -> Features:
        """Return the features that the method asks for."""
        return self.backbone.encode_images(images, self.spec)

    def build_without_references(self, *, seed: int = 0) -> Method:
        """Return a new instance that has not seen any reference images."""
        return self.method(self.backbone, self.options, seed=seed)

    def build(self, *, seed: int = 0) -> Method:
        """Return a new instance that is ready to predict."""
        built = self.build_without_references(seed=seed)
        if self.shots:
            built.see_references(self.encode(self.given.references[0]))
        return built

    def build_learner(self, *, seed: int = 0) -> Learner:
        """Return a new instance of a method that learns."""
        built = self.build(seed=seed)
        assert isinstance(built, Learner)  # the checks of learners run for no other method
        return built

    def predict(self, built: Method, names: Sequence[str], features: Features | None = None) -> Prediction:
        """Return the prediction for a copy of the features, made as in a run.

        Args:
            built: Instance of the method.
            names: Class name of each image.
            features: Features of the images; those of the check if None.

        Raises:
            ContractError: If the prediction has a wrong type, shape or dtype, or is not finite.
        """
        given = map_features(features or self.features, Tensor.clone)
        with torch.no_grad():
            prediction = built.predict(given, list(names))
        require_prediction(prediction, len(names))
        for name, values in (("scores", prediction.scores), ("maps", prediction.maps)):
            if not values.is_floating_point():
                raise ContractError(f"{name} are {values.dtype}, not floating point")
            if not bool(values.isfinite().all()):
                raise ContractError(f"{int((~values.isfinite()).sum())} of {values.numel()} {name} are NaN or infinite")
        return prediction


def take_batch(batch: TrainingBatch, indices: Sequence[int]) -> TrainingBatch:
    """Return the images with these indices as a batch of their own."""
    rows, names = list(indices), tuple(batch.class_names[index] for index in indices)
    return TrainingBatch(take(batch.features, rows), names, batch.labels[rows], batch.masks[rows])


def take(features: Features, indices: Sequence[int]) -> Features:
    """Return the features of the images with these indices."""
    return map_features(features, lambda values: values[list(indices)])


def same_features(one: Features, other: Features) -> bool:
    """Return whether all tensors of two features are equal bit by bit."""
    kinds = ("patches", "cls", "windows")
    if any(list(getattr(one, kind)) != list(getattr(other, kind)) for kind in kinds):
        return False
    return all(torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other), strict=True))


def _tensors(features: Features) -> list[Tensor]:
    by_key = (each for kind in (features.patches, features.cls, features.windows) for each in kind.values())
    found = [features.image, features.image_raw, *by_key, features.tokens]
    return [each for each in found if each is not None]


def compare(one: Prediction, other: Prediction, what: str) -> float:
    """Return the largest difference of two predictions.

    Args:
        one: A prediction.
        other: Another one.
        what: What was compared, for the message.

    Raises:
        ContractError: If the shapes differ or the difference is above `TOLERANCE`.
    """
    gaps = []
    for a, b in ((one.scores, other.scores), (one.maps, other.maps)):
        if a.shape != b.shape:
            raise ContractError(f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)}")
        gaps.append(((a - b).abs().max() / a.abs().max().clamp(min=1)).detach())
    gap = float(torch.stack(gaps).max())
    if not gap <= TOLERANCE:
        raise ContractError(f"{what}: they differ by {gap:.2g}")
    return gap
