"""The contract between the harness and a method: what a method asks of the vision tower, gets, and gives back.

A method is a function of features, not of images: the harness encodes each image once and hands the features to every
method that shares the pass. A method returns raw scores and maps on the patch grid; resizing to the evaluation size and
smoothing are done once, by the harness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import torch

    from benchmark.clip.backbone import Backbone


@dataclass(frozen=True, slots=True, order=True)
class Dpam:
    """A second path through the last blocks with self-self attention (AnomalyCLIP, section 3.3): the DPAM."""

    first: int
    """s, the first block (1 … L) that is replaced; below it the path is the original one."""
    attention: Literal["vv", "qq", "kk"] = "vv"
    """Which of query, key and value attends to itself."""
    ffn: bool = False
    """Each replaced block but the first also runs its MLP, on the original path's tokens."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """Patch tokens after a transformer block (1 … L), of CLIP's own path or of a second one."""

    block: int
    dpam: Dpam | None = None


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """What a method needs of one forward pass of the vision tower."""

    image_size: int
    """Side of the square input in pixels; also the evaluation size of the method's maps."""
    layers: tuple[Layer, ...] = ()
    """Whose patch embeddings are wanted."""
    cls: tuple[int, ...] = ()
    """Blocks whose CLS token is wanted as an embedding."""
    windows: tuple[int, ...] = ()
    """Sides, in patches, of the windows that are wanted as embeddings (WinCLIP)."""
    tokens: bool = False
    """The last block's patch tokens are wanted before the projection."""


def merge_specs(specs: Iterable[VisionSpec]) -> list[VisionSpec]:
    """Return the fewest passes that serve all specs: one per image size, with all their layers."""
    merged: dict[int, VisionSpec] = {}
    for spec in specs:
        other = merged.get(spec.image_size, spec)
        merged[spec.image_size] = VisionSpec(
            spec.image_size,
            layers=tuple(dict.fromkeys((*other.layers, *spec.layers))),
            cls=tuple(dict.fromkeys((*other.cls, *spec.cls))),
            windows=tuple(dict.fromkeys((*other.windows, *spec.windows))),
            tokens=other.tokens or spec.tokens,
        )
    return list(merged.values())


@dataclass(frozen=True, slots=True)
class Features:
    """What one forward pass gives for a batch of B images; float32, in the joint space (D), not normalised."""

    image: torch.Tensor
    """Global embeddings (B, D): `LN_post(x) W_proj` of the last block's CLS token, as CLIP has it."""
    image_raw: torch.Tensor
    """The same without `LN_post` (B, D), which AnomalyCLIP's code uses."""
    patches: dict[Layer, torch.Tensor]
    """`LN_post(x) W_proj` of the patch tokens (B, N, D) by layer, row-major over the grid."""
    cls: dict[int, torch.Tensor]
    """`LN_post(x) W_proj` of the CLS token (B, D) by block."""
    grid: int
    """Patches along one side; N = grid²."""
    windows: dict[int, torch.Tensor] = field(default_factory=dict)
    """`LN_post(x) W_proj` of the CLS token (B, (grid − s + 1)², D) of every s×s window, row-major, by s."""
    tokens: torch.Tensor | None = None
    """`LN_post(x)` of the last block's patch tokens (B, N, W), where they were asked for."""


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

    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
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
