"""What a method can ask of the frozen CLIP and what it gets: specifications, features, and the backbone's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar, Union

from benchmark.errors import BenchError

if TYPE_CHECKING:
    import torch

Prompt: TypeAlias = Sequence[Union[str, "torch.Tensor"]]
"""Parts of a prompt in order. Each part is text, or learned token embeddings of shape `(n, W)`."""


@dataclass(frozen=True, slots=True, order=True)
class Dpam:
    """A DPAM path: a second path through the last blocks with self-self attention (AnomalyCLIP, section 3.3).

    DPAM stands for diagonally prominent attention map.
    """

    first: int
    """First block s of the path, from 1 to L. Below it the path equals CLIP's own."""
    attention: Literal["vv", "qq", "kk"] = "vv"
    """Which projection attends to itself: values, queries or keys."""
    ffn: bool = False
    """Whether each block after the first also runs its MLP, on tokens of CLIP's own path."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """The patch tokens after a transformer block."""

    block: int
    """Number of the block, from 1 to L."""
    dpam: Dpam | None = None
    """DPAM path that the tokens are taken from; None for CLIP's own path."""


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """What a method needs of one forward pass of the vision tower."""

    image_size: int
    """Side of the square input in pixels. Masks and maps are compared at this size."""
    layers: tuple[Layer, ...] = ()
    """Layers whose patch embeddings are needed."""
    cls: tuple[int, ...] = ()
    """Numbers of the blocks whose CLS embedding is needed."""
    windows: tuple[int, ...] = ()
    """Sides s, in patches, of the square windows whose embeddings are needed (WinCLIP, section 4.1)."""
    tokens: bool = False
    """Whether the patch tokens of the last block are needed without the projection to the joint space."""


def merge_specs(specs: Iterable[VisionSpec]) -> list[VisionSpec]:
    """Merge specifications into one per image size, with everything that any of them needs.

    Args:
        specs: Specifications of the methods.

    Returns:
        The merged specifications, one forward pass each.
    """
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


class FeatureError(BenchError):
    """A method reads features that it does not ask for. The message names them, and where to ask for them."""


K = TypeVar("K")
V = TypeVar("V")


class _Asked(dict[K, V]):
    """Features by what was asked for, with a clear error for all else."""

    def __missing__(self, key: K) -> V:
        what = repr(key) if isinstance(key, Layer) else f"CLS or windows {key}"
        raise FeatureError(
            f"{what} is not among the features: predict may read what vision() asks for, and losses what "
            "training_vision() asks for, which is the same unless the method defines it"
        )


@dataclass(frozen=True, slots=True)
class Features:
    """Result of one forward pass for a batch of B images.

    All tensors are float32 and not normalised. D is the length of an embedding in the joint space of images and texts.
    """

    image: torch.Tensor
    """Image embeddings of CLIP of shape `(B, D)`: `LN_post(x) W_proj` of the CLS token x of the last block."""
    image_raw: torch.Tensor
    """The same without the layer norm, `x W_proj`, of shape `(B, D)`. The published code of AnomalyCLIP uses it."""
    patches: dict[Layer, torch.Tensor]
    """Patch embeddings `LN_post(x) W_proj` of shape `(B, N, D)` by layer. Patches are ordered row by row."""
    cls: dict[int, torch.Tensor]
    """CLS embeddings `LN_post(x) W_proj` of shape `(B, D)` by number of the block."""
    grid: int
    """Number of patches along one side; N = grid²."""
    windows: dict[int, torch.Tensor] = field(default_factory=dict)
    """Window embeddings of shape `(B, (grid − s + 1)², D)` by side s: `LN_post(x) W_proj` of each window's CLS token.

    Windows are ordered row by row.
    """
    tokens: torch.Tensor | None = None
    """Patch tokens `LN_post(x)` of the last block of shape `(B, N, W)`; None unless the specification asks for them."""

    def __post_init__(self) -> None:
        for name in ("patches", "cls", "windows"):
            object.__setattr__(self, name, _Asked(getattr(self, name)))


def map_features(features: Features, change: Callable[[torch.Tensor], torch.Tensor]) -> Features:
    """Return features in which `change` has been applied to every tensor. The first dimension of each is the images."""
    return Features(
        image=change(features.image),
        image_raw=change(features.image_raw),
        patches={layer: change(each) for layer, each in features.patches.items()},
        cls={block: change(each) for block, each in features.cls.items()},
        grid=features.grid,
        windows={size: change(each) for size, each in features.windows.items()},
        tokens=None if features.tokens is None else change(features.tokens),
    )


class FrozenClip(Protocol):
    """The part of `benchmark.clip.Backbone` that a method may use."""

    image_size: int
    """Default side of the input in pixels."""
    patch_size: int
    """Side of a patch in pixels."""
    blocks: int
    """Number L of transformer blocks of the vision tower."""
    feature_blocks: tuple[int, ...]
    """Four blocks at each quarter of the vision tower, for methods that use several layers (ViT-L: 6, 12, 18, 24)."""
    dpam_first: int
    """Default first block of the DPAM path."""
    width: int
    """Length D of an embedding in the joint space."""
    text_width: int
    """Length W of a token embedding of the text tower."""
    text_blocks: int
    """Number of transformer blocks of the text tower."""
    logit_scale: float
    """Factor of the cosine similarities in CLIP's own softmax, as trained (100 for OpenAI's weights)."""
    device: str
    """Device of the towers, such as "cpu" or "cuda"."""

    def encode_text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the embeddings of fixed prompts.

        Args:
            prompts: P prompts.

        Returns:
            Embeddings of shape `(P, D)`, float32, not normalised.
        """

    def encode_prompts(
        self, prompts: Sequence[Prompt], *, deep: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the embeddings of prompts with learned parts. Gradients flow to the learned parts and to `deep`.

        Args:
            prompts: P prompts, each a list of texts and token embeddings of shape `(n, W)` in order.
            deep: By number of the text block, from 1: vectors of shape `(n, W)` that replace the n tokens after the
                start token at the input of the block.

        Returns:
            Embeddings of shape `(P, D)`, float32, not normalised.
        """
