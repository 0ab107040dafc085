"""The contract between the harness and a method: what a method asks of the vision tower, gets, and gives back.

A method is a function of features, not of images: the harness encodes each image once and hands the features to every
method that shares the pass. A method returns raw scores and maps on the patch grid; resizing to the evaluation size and
smoothing are done once, by the harness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch

    from benchmark.backbone import Backbone


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """What a method needs of one forward pass of the vision tower."""

    image_size: int
    """Side of the square input in pixels; also the evaluation size of the method's maps."""
    blocks: tuple[int, ...] = ()
    """Transformer blocks (1 … L) whose patch embeddings are wanted."""


def merge_specs(specs: Iterable[VisionSpec]) -> list[VisionSpec]:
    """Return the fewest passes that serve all specs: one per image size, with the union of the blocks."""
    blocks: dict[int, set[int]] = {}
    for spec in specs:
        blocks.setdefault(spec.image_size, set()).update(spec.blocks)
    return [VisionSpec(image_size=size, blocks=tuple(sorted(chosen))) for size, chosen in blocks.items()]


@dataclass(frozen=True, slots=True)
class Features:
    """What one forward pass gives for a batch of B images; float32, not normalised."""

    image: torch.Tensor
    """Global embeddings (B, D) in the joint space."""
    patches: dict[int, torch.Tensor]
    """Patch embeddings (B, N, D) in the joint space by block, row-major over the grid, without the CLS token."""
    grid: int
    """Patches along one side; N = grid²."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a method says of a batch of B images; the higher, the more anomalous."""

    scores: torch.Tensor
    """Image scores (B,)."""
    maps: torch.Tensor
    """Anomaly maps (B, h, w) on the patch grid."""


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
    trains: ClassVar[bool] = False
    """Learns from an auxiliary dataset."""
    stochastic: ClassVar[bool] = False
    """The seed changes the numbers; other methods are run once whatever seeds are asked for."""
    smoothing: ClassVar[float] = 0.0
    """Standard deviation, in pixels of the evaluation size, of the Gaussian filter the harness puts on the maps."""
    Options: ClassVar[type[Any]] = NoOptions
    """A frozen dataclass of hyper-parameters, each quirk a field; every field has a default."""

    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        """Hold what the method works with; a stochastic method draws from a generator of its own made from `seed`."""
        self.backbone = backbone
        self.options = options
        self.seed = seed

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
