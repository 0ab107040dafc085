"""The contract of a method: what it asks of the vision tower, what it gets, and what it returns.

A method is a function of features, not of images: the benchmark encodes each image once and passes the features to
every method that shares the forward pass. A method returns raw scores and maps on the patch grid. The benchmark resizes
the maps to the evaluation size and smooths them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.clip import Dpam, Features, FrozenClip, Layer, Prompt, VisionSpec, merge_specs
from benchmark.errors import ContractError

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
    """Scores and maps of a batch of B images, on the device of the features. Higher values are more anomalous."""

    scores: torch.Tensor
    """Image scores of shape `(B,)`."""
    maps: torch.Tensor
    """Anomaly maps of shape `(B, h, w)` on the patch grid."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """A set of variants of a method that is shown as a table of its own."""

    name: str
    """Key on the command line and start of the names of its files."""
    title: str
    """Title of the table."""
    variants: Mapping[str, Mapping[str, Any]]
    """For each row of the table, the options that differ from the defaults."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Options of a method without options."""


def require_prediction(found: object, images: int) -> None:
    """Check what `predict` returned for a number of images.

    Raises:
        ContractError: It is no `Prediction`, or has no score or no map for each image.
    """
    if not isinstance(found, Prediction):
        raise ContractError(f"predict returns a {type(found).__name__}, not a Prediction")
    for name, values, grid in (("scores", found.scores, ()), ("maps", found.maps, ("h", "w"))):
        shape, wanted = tuple(values.shape), (images, *grid)
        if len(shape) != len(wanted) or shape[0] != images or 0 in shape:
            listed = ", ".join(map(str, wanted)) + "," * (not grid)
            raise ContractError(f"{name} of {images} images have the shape {shape}, not ({listed})")


class Method(ABC):
    """A zero-shot anomaly detection method.

    A method is a class in a file of `methods/`, in a file named with `--plugin`, or in an installed package with an
    entry point. It defines `name`, `title`, `paper`, `vision` and `predict`; everything else has a default.
    """

    name: ClassVar[str]
    """Key on the command line and in records: lower-case letters, digits and underscores."""
    title: ClassVar[str]
    """Name in tables."""
    paper: ClassVar[str]
    """Reference of the paper: authors, venue and year."""
    version: ClassVar[int] = 1
    """Version of the method. Increase it when a change of the code can change a number."""
    stochastic: ClassVar[bool] = False
    """Whether the seed changes the numbers. Other methods are run once, whatever seeds the user asks for."""
    smoothing: ClassVar[float] = 0.0
    """Standard deviation of the Gaussian filter for the maps, in pixels of the image size; 0 for no filter."""
    ablations: ClassVar[tuple[Ablation, ...]] = ()
    """The ablations that `bench ablate` runs."""
    backbone_on_real_data: ClassVar[str | None] = None
    """The CLIP of the paper, as `NAME:TAG`, if it is not the default backbone of the benchmark."""
    Options: ClassVar[type[Any]] = NoOptions
    """A frozen dataclass of hyper-parameters. Every field has a default. A quirk is a field, too: a switch between what
    the paper says and what its code does."""

    def __init__(self, backbone: FrozenClip, options: Any, *, seed: int = 0) -> None:
        """Store the arguments. Subclasses call this first.

        Args:
            backbone: The frozen CLIP.
            options: Instance of `Options`.
            seed: Seed of the method. A stochastic method draws from a generator of its own with this seed.
        """
        self.backbone = backbone
        self.options = options
        self.seed = seed

    @classmethod
    def shots(cls, options: Any) -> int:
        """Return the number k of normal training images per class that the method is shown; 0 for zero-shot."""
        return 0

    def see_references(self, references: Features) -> None:
        """Store the reference images of a class. They replace those of the previous class.

        It is called before the images of each class, if `shots` is above 0.

        Args:
            references: Features of the k normal images, as specified by `vision`.
        """
        raise NotImplementedError

    @abstractmethod
    def vision(self) -> VisionSpec:
        """Return the features that the method needs."""

    @abstractmethod
    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        """Return the scores and maps of a batch of images of any number B. It is called under `torch.no_grad`.

        The result for an image must not depend on the other images of the batch.

        Args:
            features: Features of B images: those that `vision` asks for, and possibly more.
            class_names: Class name of each image, as it appears in prompts.
        """

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the text embeddings that the images are scored against, for plots in the report (GenCLIP, figure 5).

        They are stored for a few images per class. The default is no text embeddings.

        Args:
            features: Features of B images.
            class_names: Class name of each image.

        Returns:
            Unit text embeddings of shape `(B, 2, D)`, normal first, by name of the plot's series.
        """
        return {}


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """A batch of B images of the auxiliary dataset."""

    features: Features
    """Features of the images: those that `training_vision` asks for."""
    class_names: tuple[str, ...]
    """Class name of each image, as it appears in prompts."""
    labels: torch.Tensor
    """Labels of shape `(B,)`, int64: 0 for normal, 1 for anomalous."""
    masks: torch.Tensor
    """Masks of shape `(B, S, S)`, float32, where S is the image size of the specification. A pixel is 1 where the image
    is anomalous. All pixels are 0 if the losses read no masks."""


class Learner(Method):
    """A method that trains a few parameters on the features of an auxiliary dataset. The benchmark runs the epochs.

    `Options` must have the fields `epochs` and `batch_size`. Options that do not change what is learned are declared
    with `inference_option`.
    """

    stochastic = True
    needs_masks: ClassVar[bool] = True
    """Whether the losses read masks. Training then needs a dataset that has them."""
    divisible: ClassVar[bool] = False
    """Whether each term of `losses` is a mean over the images of the batch. If memory is short, such a batch is divided
    and the gradients of its parts are added up, which changes no number. Other batches are never divided."""

    learned: torch.nn.Module
    """Module with exactly the parameters that train, initialised from `seed`. The constructor sets it."""

    @abstractmethod
    def optimiser(self) -> torch.optim.Optimizer:
        """Return a new optimiser of the parameters of `learned`."""

    def training_vision(self) -> VisionSpec:
        """Return the features that the losses read. The default is those that the method predicts from.

        Only these are stored for training and read in every epoch. Windows and tokens cannot be asked for.
        """
        return self.vision()

    @abstractmethod
    def losses(self, batch: TrainingBatch) -> dict[str, torch.Tensor]:
        """Return the weighted terms of the loss by name, as scalars. Training minimises their sum."""

    def learning_rate(self, epoch: int) -> float | None:
        """Return the learning rate of an epoch, counted from 0, or None to keep that of the optimiser."""
        return None

    @classmethod
    def import_state(cls, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Convert a checkpoint of the published code.

        Args:
            state: Tensors of the checkpoint by name.

        Returns:
            The options of the checkpoint, and the state dict of `learned`.

        Raises:
            NotImplementedError: If the format of published checkpoints is not known.
            KeyError: If an entry of the published code is missing.
        """
        raise NotImplementedError


def inference_option(default: Any) -> Any:
    """Declare a field of `Options` that changes predictions but not what is learned.

    Variants that differ only in such options share one training.
    """
    return field(default=default, metadata={"inference": True})


def training_options(options: Any) -> dict[str, Any]:
    """Return the options that change what is learned, by name."""
    values = asdict(options)
    return {each.name: values[each.name] for each in fields(options) if not each.metadata.get("inference")}
