"""The contract between the harness and a method: what a method asks of the vision tower, gets, and gives back.

A method is a function of features, not of images: the harness encodes each image once and hands the features to every
method that shares the pass. A method returns raw scores and maps on the patch grid; resizing to the evaluation size and
smoothing are done once, by the harness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.clip import Dpam, Features, FrozenClip, Layer, Prompt, VisionSpec, merge_specs

if TYPE_CHECKING:
    import torch

__all__ = [
    "Ablation",
    "Dpam",
    "Features",
    "FrozenClip",
    "Layer",
    "Learner",
    "Method",
    "NoOptions",
    "Prediction",
    "Prompt",
    "TrainingBatch",
    "VisionSpec",
    "inference_option",
    "merge_specs",
    "training_options",
]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a method says of a batch of B images; the higher, the more anomalous."""

    scores: torch.Tensor
    """Image scores (B,)."""
    maps: torch.Tensor
    """Anomaly maps (B, h, w) on the patch grid."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """A grid of variants of a method, which becomes a table of its own."""

    name: str
    """Key on the command line and stem of its files."""
    title: str
    variants: Mapping[str, Mapping[str, Any]]
    """Row of the table → options that differ from the defaults."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a method that has none."""


class Method(ABC):
    """A zero-shot anomaly detection method. One file in `methods/` defines one or a few of them."""

    name: ClassVar[str]
    """Key on the command line and in records: lower case, digits and underscores."""
    title: ClassVar[str]
    """Name in tables."""
    paper: ClassVar[str]
    """Where the method is described."""
    version: ClassVar[int] = 1
    """Raised whenever a change of the code can change a number."""
    stochastic: ClassVar[bool] = False
    """The seed changes the numbers; other methods are run once whatever seeds are asked for."""
    smoothing: ClassVar[float] = 0.0
    """Standard deviation, in pixels of the evaluation size, of the Gaussian filter the harness puts on the maps."""
    ablations: ClassVar[tuple[Ablation, ...]] = ()
    """What `bench ablate` runs."""
    backbone_on_real_data: ClassVar[str | None] = None
    """The CLIP it was published with, where that is not the benchmark's default."""
    Options: ClassVar[type[Any]] = NoOptions
    """A frozen dataclass of hyper-parameters, each quirk a field; every field has a default."""

    def __init__(self, backbone: FrozenClip, options: Any, *, seed: int = 0) -> None:
        """Hold what the method works with; a stochastic method draws from a generator of its own made from `seed`."""
        self.backbone = backbone
        self.options = options
        self.seed = seed

    @classmethod
    def shots(cls, options: Any) -> int:
        """Return how many normal training images per class of the target it is shown (k-shot); 0 is zero-shot."""
        return 0

    def see_references(self, references: Features) -> None:
        """Take in the k normal images of the class whose images come next; called where `shots` is above 0."""
        raise NotImplementedError

    @abstractmethod
    def vision(self) -> VisionSpec:
        """Return what the method needs of the vision tower."""

    @abstractmethod
    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        """Score a batch.

        Args:
            features: at least what `vision()` asked for, of B images.
            class_names: the B class names as they stand in prompts.
        """

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the unit text embeddings (B, 2, D), normal first, that B images are scored against, by a name each.

        They are kept for a few images a class, and drawn in the report (GenCLIP, figure 5). None unless overridden.
        """
        return {}


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """B images of the auxiliary dataset, encoded."""

    features: Features
    """At least what `vision()` asked for."""
    class_names: tuple[str, ...]
    """As they stand in prompts."""
    labels: torch.Tensor
    """(B,) int64: 0 normal, 1 anomalous."""
    masks: torch.Tensor
    """(B, S, S) float32, 1 where anomalous, S the image size of the spec; all 0 where the dataset has no masks."""


class Learner(Method):
    """A method that trains a few parameters on the features of an auxiliary dataset; the harness runs the epochs.

    `Options` has at least `epochs` and `batch_size`. Fields made by `inference_option` do not change what is learned.
    """

    stochastic = True
    needs_masks: ClassVar[bool] = True
    """Cannot be trained on a dataset without masks."""

    learned: torch.nn.Module
    """Holds exactly the parameters that train, made from `seed`; set by the constructor."""

    @abstractmethod
    def optimiser(self) -> torch.optim.Optimizer:
        """Return a fresh optimiser of `learned`."""

    @abstractmethod
    def losses(self, batch: TrainingBatch) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name, weighted; their sum is minimised."""

    def learning_rate(self, epoch: int) -> float | None:
        """Return the learning rate of an epoch (0 …), or None to leave the optimiser's as it is."""
        return None

    @classmethod
    def import_state(cls, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Turn a checkpoint of the published code into options and a state of `learned`.

        Raises:
            NotImplementedError: no published checkpoint is known.
            KeyError: the state has not the entries of the published code.
        """
        raise NotImplementedError


def inference_option(default: Any) -> Any:
    """Declare a field of `Options` that changes predictions but not what is learned: trainings are shared over it."""
    return field(default=default, metadata={"inference": True})


def training_options(options: Any) -> dict[str, Any]:
    """Return the options that change what is learned."""
    values = asdict(options)
    return {each.name: values[each.name] for each in fields(options) if not each.metadata.get("inference")}
