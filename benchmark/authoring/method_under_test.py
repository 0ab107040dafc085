"""A method under check: how the checks build it, encode images for it and let it predict, as the benchmark does."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmark.authoring.backbone_state import BackboneState
from benchmark.authoring.check_images import CheckImages, ImageSource
from benchmark.clip import Backbone, map_features
from benchmark.contract import (
    BackboneVariant,
    ClassName,
    Features,
    LayerLogits,
    Learner,
    Method,
    Prediction,
    Stage,
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
        backbone: Backbone of which the method runs its variant.
        source: Returns the images of the check.
    """

    def __init__(self, method: type[Method], options: Any, backbone: Backbone, source: ImageSource) -> None:
        self.method, self.options, self._whole, self._source = method, options, backbone, source
        self.states = [BackboneState(backbone)]
        """The backbone that was given, and the variant that the method runs, before the method ran."""
        self.failed: set[str] = set()
        """Names of the checks that failed so far. A later one may leave out what would fail again."""

    @cached_property
    def variant(self) -> BackboneVariant:
        """The method's `backbone_variant`."""
        found = [self.method.backbone_variant(self.options) for _ in range(2)]
        if not isinstance(found[0], BackboneVariant):
            raise ContractError(f"backbone_variant returns a {type(found[0]).__name__}, not a BackboneVariant")
        if found[0] != found[1]:
            raise ContractError("backbone_variant returns another variant the second time")
        return found[0]

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone that the method is built with."""
        found = self._whole.variant(self.variant)
        if found is not self._whole:
            self.states.append(BackboneState(found))
        return found

    @cached_property
    def shots(self) -> int:
        """Number of reference images per class."""
        return self.method.shots(self.options)

    @cached_property
    def spec(self) -> VisionSpec:
        """The method's `vision()`."""
        return self.new().vision()

    @cached_property
    def given(self) -> CheckImages:
        """The images of the check, at the method's image size."""
        return self._source(self.spec.image_size, self.shots)

    @cached_property
    def features(self) -> Features:
        """Features of the images of the check."""
        return self.encode(self.given.images)

    @property
    def one_class(self) -> list[ClassName]:
        """The first class name, once per image. A run also passes the images of one class at a time."""
        return [self.given.class_names[0]] * len(self.given.class_names)

    @cached_property
    def auxiliaries(self) -> tuple[str, ...]:
        """Names of the datasets of the images of the check, which a method that learns is trained on."""
        return tuple(dict.fromkeys(name.dataset for name in self.given.class_names))

    @cached_property
    def stages(self) -> Sequence[Stage]:
        """The stages of a method that learns, of an instance of their own."""
        return self.build_learner().stages(self.auxiliaries)

    def training_batch(self, spec: VisionSpec) -> TrainingBatch:
        """Return the images of the check as a batch of a training: with what a specification asks for, and no more."""
        size = spec.image_size
        given = self.given if size == self.spec.image_size else self._source(size, 0)
        masks = given.masks if issubclass(self.method, Learner) and self.method.needs_masks else given.masks * 0
        features, device = self.backbone.encode_images(given.images, spec), self.backbone.device
        return TrainingBatch(features, given.class_names, given.labels.to(device), masks.to(device))

    def encode(self, images: Tensor) -> Features:
        """Return the features that the method asks for."""
        return self.backbone.encode_images(images, self.spec)

    def new(self, *, seed: int = 0) -> Method:
        """Return a new instance that has not seen any images."""
        return self.method(self.backbone, self.options, seed=seed)

    def build_learner(self, *, seed: int = 0) -> Learner:
        """Return a new instance of a method that learns, before it has learned."""
        built = self.new(seed=seed)
        assert isinstance(built, Learner)  # the checks of learners run for no other method
        self._show_references(built)
        return built

    def build(self, *, seed: int = 0, shown: bool = True, backwards: bool = False) -> Method:
        """Return a new instance that is ready to predict, with what is learned without an optimiser.

        Args:
            seed: Seed of the method.
            shown: Whether it is shown the references of the first class.
            backwards: Whether what is learned without an optimiser is learned from the last image to the first.
        """
        built = self.new(seed=seed)
        if shown:
            self._show_references(built)
        if isinstance(built, Learner):
            for stage in built.stages(self.auxiliaries):
                if stage.optimiser is None:
                    every = self.training_batch(stage.vision)
                    some = take_batch(every, range(0, len(every.class_names), 2))  # the others are new to it
                    fit(stage, halves(some, backwards=backwards))
        return built

    def _show_references(self, built: Method) -> None:
        if self.shots:
            built.see_references(self.encode(self.given.references[0]))

    def predict(self, built: Method, names: Sequence[ClassName], features: Features | None = None) -> Prediction:
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
        for name, values in (("scores", prediction.scores), ("maps", map_values(prediction))):
            if not values.is_floating_point():
                raise ContractError(f"{name} are {values.dtype}, not floating point")
            if not bool(values.isfinite().all()):
                raise ContractError(f"{int((~values.isfinite()).sum())} of {values.numel()} {name} are NaN or infinite")
        return prediction


def halves(batch: TrainingBatch, *, backwards: bool = False) -> list[TrainingBatch]:
    """Return the two halves of a batch; from the last image to the first if `backwards`."""
    rows = list(range(len(batch.class_names)))[:: -1 if backwards else 1]
    middle = (len(rows) + 1) // 2
    return [take_batch(batch, rows[:middle]), take_batch(batch, rows[middle:])]


def autocast(stage: Stage, device: str) -> torch.autocast:
    """Return a context of the precision in which a stage computes its losses."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=stage.precision == "bfloat16")


def fit(stage: Stage, batches: Sequence[TrainingBatch]) -> None:
    """Let a stage without an optimiser learn from batches, in as many epochs as it has."""
    with torch.no_grad():
        for _ in range(stage.epochs):
            for batch in batches:
                stage.losses(batch)


def take_batch(batch: TrainingBatch, indices: Sequence[int]) -> TrainingBatch:
    """Return the images with these indices as a batch of their own."""
    rows, names = list(indices), tuple(batch.class_names[index] for index in indices)
    changed = (take(batch.features, rows), names, batch.labels[rows], batch.masks[rows])
    return TrainingBatch(*changed, seed=batch.seed)


def take(features: Features, indices: Sequence[int]) -> Features:
    """Return the features of the images with these indices."""
    return map_features(features, lambda values: values[list(indices)])


def same_features(one: Features, other: Features) -> bool:
    """Return whether all tensors of two features are equal bit by bit."""
    first, second = _tensors(one), _tensors(other)
    return list(first) == list(second) and all(map(torch.equal, first.values(), second.values()))


def _tensors(features: Features) -> dict[object, Tensor]:
    """Return the tensors of features by what they are."""
    kinds = ("patches", "cls", "windows", "tokens", "hidden")
    found: dict[object, Tensor] = {"image": features.image, "image_raw": features.image_raw}
    found |= {(kind, key): value for kind in kinds for key, value in getattr(features, kind).items()}
    return found if features.images is None else found | {"images": features.images}


def map_values(prediction: Prediction) -> Tensor:
    """Return the maps of a prediction, of shape `(B, h, w)`, or the logits of layers, of shape `(B, L, h, w)`."""
    maps = prediction.maps
    return maps.differences if isinstance(maps, LayerLogits) else maps


def maps_of(prediction: Prediction) -> Tensor:
    """Return maps of shape `(B, h, w)`, as large as they come; of logits of layers the sum of their probabilities."""
    values = map_values(prediction)
    return values.sigmoid().sum(dim=1) if isinstance(prediction.maps, LayerLogits) else values


def take_prediction(prediction: Prediction, indices: Sequence[int]) -> Prediction:
    """Return the scores and maps of the images with these indices."""
    rows = list(indices)
    return _with_values(prediction, prediction.scores[rows], map_values(prediction)[rows])


def join_predictions(parts: Sequence[Prediction]) -> Prediction:
    """Return the predictions of several batches as one.

    Raises:
        ContractError: If they have different `top`, which is added to the scores.
    """
    for part in parts[1:]:
        _require_same_top(parts[0], part, "batches of a class")
    scores, maps = torch.cat([part.scores for part in parts]), torch.cat([map_values(part) for part in parts])
    return _with_values(parts[0], scores, maps)


def _with_values(like: Prediction, scores: Tensor, values: Tensor) -> Prediction:
    maps = replace(like.maps, differences=values) if isinstance(like.maps, LayerLogits) else values
    return replace(like, scores=scores, maps=maps)


def difference(one: Prediction, other: Prediction, what: str) -> float:
    """Return the largest difference of two predictions, relative to the largest number if that is above 1.

    Args:
        one: A prediction.
        other: Another one.
        what: What was compared, for the message.

    Raises:
        ContractError: If the predictions are of different kinds or shapes, or have different `top`.
    """
    gaps = []
    if _kind(one) != _kind(other):
        raise ContractError(f"{what}: the maps are {_kind(one)} and {_kind(other)}")
    _require_same_top(one, other, what)
    for a, b in ((one.scores, other.scores), (map_values(one), map_values(other))):
        if a.shape != b.shape:
            raise ContractError(f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)}")
        gaps.append(((a - b).abs().max() / a.abs().max().clamp(min=1)).detach())
    return float(torch.stack(gaps).max())


def _kind(prediction: Prediction) -> str:
    maps = prediction.maps
    if not isinstance(maps, LayerLogits):
        return "maps"
    return f"LayerLogits with corners_aligned={maps.corners_aligned}, softmax_last={maps.softmax_last}"


def _require_same_top(one: Prediction, other: Prediction, what: str) -> None:
    if one.top != other.top:
        raise ContractError(f"{what}: top, which is added to the scores, is {one.top} and {other.top}")


def compare(one: Prediction, other: Prediction, what: str) -> float:
    """Return the largest difference of two predictions, as `difference` does.

    Raises:
        ContractError: If the difference is above `TOLERANCE`, too.
    """
    gap = difference(one, other, what)
    if not gap <= TOLERANCE:
        raise ContractError(f"{what}: they differ by {gap:.2g}")
    return gap
