"""The contract of a method: what it asks of the vision tower, what it gets, and what it returns.

A method is a function of features, not of images: the benchmark encodes each image once and passes the features to
every method that shares the forward pass. A method that changes the tower itself asks for the images as well. It
returns raw scores and maps on the patch grid. The benchmark resizes the maps to the evaluation size and smooths them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from benchmark.clip import (
    BackboneVariant,
    ClassName,
    Dpam,
    Features,
    FrozenClip,
    Layer,
    Prompt,
    VisionSpec,
    VisionTokens,
    merge_specs,
)
from benchmark.common import inference_option, training_options
from benchmark.errors import BenchError, ContractError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

__all__ = [
    "Ablation",
    "Augmentation",
    "BackboneVariant",
    "BenchError",
    "ClassName",
    "Dpam",
    "Features",
    "FrozenClip",
    "Layer",
    "LayerLogits",
    "Learner",
    "Method",
    "NoOptions",
    "Others",
    "Picture",
    "Prediction",
    "Prompt",
    "Stage",
    "TopOfMap",
    "TrainingBatch",
    "VisionSpec",
    "VisionTokens",
    "inference_option",
    "merge_specs",
    "training_options",
]


@dataclass(frozen=True, slots=True)
class LayerLogits:
    """Logits of L layers, of which the benchmark makes a map: the sum over the layers of the anomaly probabilities.

    The anomaly probability of two logits is the sigmoid of their difference.
    """

    differences: torch.Tensor
    """Logit of the abnormal text minus that of the normal one, of shape `(B, L, h, w)`."""
    corners_aligned: bool = False
    """Whether the centres of the corner patches lie on the corner pixels when maps are resized."""
    softmax_last: bool = False
    """Whether logits are resized, and not their probabilities."""


@dataclass(frozen=True, slots=True)
class TopOfMap:
    """What the benchmark adds to image scores: a weight times the mean of the highest `⌊share · S²⌋` pixels of each
    map, but of one at least, once the map is resized to S × S pixels and smoothed."""

    weight: float
    share: float
    """Above 0, up to 1."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scores and maps of a batch of B images, on the device of the features. Higher values are more anomalous."""

    scores: torch.Tensor
    """Image scores of shape `(B,)`."""
    maps: torch.Tensor | LayerLogits
    """Anomaly maps of shape `(B, h, w)`, on the patch grid or of any size up to the image size, or `LayerLogits`."""
    top: TopOfMap | None = None
    """What is added to the scores."""


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


def asked_of(method: Method, what: Literal["vision", "training_vision"] = "vision") -> VisionSpec:
    """Return what a method asks for: in `vision`, or in `training_vision` if it learns.

    Raises:
        ContractError: It returns something else.
    """
    spec = getattr(method, what)()
    if not isinstance(spec, VisionSpec):
        raise ContractError(f"{what} returns a {type(spec).__name__}, not a VisionSpec")
    return spec


def require_prediction(found: object, images: int) -> None:
    """Check what `predict` returned for a number of images.

    Raises:
        ContractError: It is no `Prediction`, has no score or no map for each image, or a wrong `top`.
    """
    if not isinstance(found, Prediction):
        raise ContractError(f"predict returns a {type(found).__name__}, not a Prediction")
    maps, layers = (found.maps.differences, ("L",)) if isinstance(found.maps, LayerLogits) else (found.maps, ())
    for name, values, grid in (("scores", found.scores, ()), ("maps", maps, (*layers, "h", "w"))):
        shape, wanted = tuple(values.shape), (images, *grid)
        if len(shape) != len(wanted) or shape[0] != images or 0 in shape:
            listed = ", ".join(map(str, wanted)) + "," * (not grid)
            raise ContractError(f"{name} of {images} images have the shape {shape}, not ({listed})")
    top = found.top
    told = isinstance(top, TopOfMap) and all(isinstance(each, int | float) for each in (top.weight, top.share))
    if top is not None and not (told and isfinite(top.weight) and 0 < top.share <= 1):
        raise ContractError(f"top = {top}: say a finite weight, and a share above 0 and up to 1, in a TopOfMap")


class Method(ABC):
    """A zero-shot anomaly detection method.

    A method is a class in a file of `methods/`, in a file named with `--plugin`, or in an installed package with an
    entry point. It defines `name`, `title`, `paper`, `vision` and `predict`; everything else has a default.
    """

    name: ClassVar[str]
    """Key on the command line and in records: lower-case letters, digits and underscores."""
    title: ClassVar[str]
    """Name in tables: 1 to 60 printable letters."""
    paper: ClassVar[str]
    """Reference of the paper: authors, venue and year. Tables order methods by the year."""
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
    def backbone_variant(cls, options: Any) -> BackboneVariant:
        """Return in what the method runs the backbone otherwise; the constructor is given a backbone that does so.

        Methods of one variant share the forward pass.
        """
        return BackboneVariant()

    @classmethod
    def scores_whole_class(cls, options: Any) -> bool:
        """Return whether image scores depend on all test images of the class; `class_scores` then makes them.

        Every table says so, and single images cannot be scored.
        """
        return False

    def class_scores(
        self, scores: torch.Tensor, lowest: torch.Tensor, highest: torch.Tensor, class_name: ClassName
    ) -> torch.Tensor:
        """Return the image scores of a class, all N test images of which are predicted, if `scores_whole_class`.

        Args:
            scores: Scores of `predict` of shape `(N,)`, float64, on the CPU.
            lowest: Lowest value of each image's map, resized and smoothed, of shape `(N,)`.
            highest: Highest value, likewise.
            class_name: The class.

        Returns:
            Scores of shape `(N,)`.
        """
        raise NotImplementedError

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
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        """Return the scores and maps of a batch of images of any number B. It is called under `torch.no_grad`.

        The result for an image must not depend on the other images of the batch.

        Args:
            features: Features of B images: those that `vision` asks for, and possibly more.
            class_names: Class name of each image, as it appears in prompts; it knows its folder, dataset and domain.
        """

    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, torch.Tensor]:
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
    """Features of the images: those that the stage asks for."""
    class_names: tuple[ClassName, ...]
    """Class name of each image, as it appears in prompts."""
    labels: torch.Tensor
    """Labels of shape `(B,)`, int64: 0 for normal, 1 for anomalous."""
    masks: torch.Tensor
    """Masks of shape `(B, S, S)`, float32, where S is the image size of the specification. A pixel is 1 where the image
    is anomalous. All pixels are 0 if the losses read no masks."""
    seed: int = 0
    """Seed of whatever is drawn for this step, such as dropout. It depends on the seed, the epoch and the step."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the auxiliary dataset with its mask, as large as its file is."""

    image: npt.NDArray[np.uint8]
    """Pixels of shape `(H, W, 3)`: red, green, blue."""
    mask: npt.NDArray[np.bool_]
    """Mask of shape `(H, W)`."""
    label: int
    """0 for normal, 1 for anomalous."""
    class_name: ClassName
    kind: str
    """Kind of defect; empty for a normal image."""


class Others(Protocol):
    """The images of the class of an image, itself included, of which an augmentation may take some."""

    kinds: Mapping[str, Sequence[int]]
    """By kind of defect, the empty one for normal images: the places of its images, for `read`."""

    def read(self, place: int) -> Picture:
        """Read an image."""


Augmentation: TypeAlias = Callable[[Picture, Others, "np.random.Generator"], Picture]
"""Makes of an image what is trained on in its place. It draws from the generator alone, whose seed depends on the seed
of the training, the epoch and the image. It is called in several threads."""


@dataclass(frozen=True)
class Stage:
    """A part of a training, with an optimiser and a loss of its own."""

    losses: Callable[[TrainingBatch], Mapping[str, torch.Tensor]]
    """Returns the weighted terms of the loss by name, as scalars. Training minimises their sum. Without an optimiser it
    is called without gradients, and keeps in `Learner.learned` what it wants of the batch."""
    optimiser: torch.optim.Optimizer | None
    """None for what is learned without gradients, such as a memory of features."""
    epochs: int
    batch_size: int
    vision: VisionSpec
    """The features that the losses read. Only these are stored, unless the training reads them once in all."""
    name: str = "training"
    """Name in messages and curves."""
    learning_rate: Callable[[int, int], float | None] | None = None
    """Takes the number of a step, from 0, and of the steps of an epoch; returns a learning rate, or None to keep it."""
    augment: Augmentation | None = None
    """Changes images before they are encoded. They are then read and encoded anew in every epoch."""
    at_once: int | None = None
    """Images per forward and backward pass, if fewer than the batch: the gradients of its parts are added up. Needs
    `Learner.divisible`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products of losses and gradients (automatic mixed precision)."""


class Learner(Method):
    """A method that trains a few parameters on the features of an auxiliary dataset. The benchmark runs the epochs.

    A training of one stage is told by `optimiser`, `losses`, and the fields `epochs` and `batch_size` of `Options`; any
    other by `stages`. Options that do not change what is learned are declared with `inference_option`.
    """

    stochastic = True
    needs_masks: ClassVar[bool] = True
    """Whether the losses read masks. Training then needs a dataset that has them."""
    divisible: ClassVar[bool] = False
    """Whether each term of `losses` is a mean over the images of the batch. If memory is short, such a batch is divided
    and the gradients of its parts are added up, which changes no number. Other batches are never divided."""
    magnifies: ClassVar[bool] = False
    """Whether training magnifies differences in last digits, so that another machine learns something else."""
    published: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Auxiliary datasets of the checkpoints that the authors published, by the sha256 of their files."""

    learned: torch.nn.Module
    """Module with exactly the parameters that train, initialised from `seed`. The constructor sets it."""

    def optimiser(self) -> torch.optim.Optimizer:
        """Return a new optimiser of the parameters of `learned`."""
        raise NotImplementedError

    def training_vision(self) -> VisionSpec:
        """Return the features that the losses read. The default is those that the method predicts from.

        Only these are stored for training and read in every epoch. Windows cannot be asked for.
        """
        return self.vision()

    def losses(self, batch: TrainingBatch) -> Mapping[str, torch.Tensor]:
        """Return the weighted terms of the loss by name, as scalars. Training minimises their sum."""
        raise NotImplementedError

    def learning_rate(self, epoch: int) -> float | None:
        """Return the learning rate of an epoch, counted from 0, or None to keep that of the optimiser."""
        return None

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        """Return the stages of a training on datasets of these names, in order, with new optimisers."""
        spec, epochs, size = asked_of(self, "training_vision"), self.options.epochs, self.options.batch_size
        rate: Callable[[int, int], float | None] = lambda step, steps: self.learning_rate(step // steps)  # noqa: E731
        return [Stage(self.losses, self.optimiser(), epochs, size, spec, learning_rate=rate)]

    @classmethod
    def import_state(cls, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return the options and the state dict of `learned` of a checkpoint of the published code.

        Args:
            state: Tensors by name. Of the dicts in a file each is offered, and the file as a whole, where the names of
                dicts come first, as in `prompt_learner.ctx_pos`. Several files are offered as one whole; where two have
                an entry of the same name, the stem of its file comes first, as in `cache_model_visa.keys`.

        Raises:
            NotImplementedError: If the format of published checkpoints is not known.
            KeyError: If an entry of the published code is missing.
        """
        raise NotImplementedError
