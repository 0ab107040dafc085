"""What is asked of the frozen CLIP and what it gives: a method's side of the vision and the text tower."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, Union

if TYPE_CHECKING:
    import torch

Prompt: TypeAlias = Sequence[Union[str, "torch.Tensor"]]
"""Parts of a prompt in order: text, or learned token embeddings (n, W)."""


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


class FrozenClip(Protocol):
    """What a method may use of the backbone; `benchmark.clip.Backbone` is the one there is."""

    image_size: int
    """Side in pixels at which methods run unless they say otherwise."""
    patch_size: int
    """Side of a patch in pixels."""
    blocks: int
    """Number L of transformer blocks of the vision tower."""
    feature_blocks: tuple[int, ...]
    """Four blocks, a quarter of the tower apart, for methods that use several layers (ViT-L: 6, 12, 18, 24)."""
    dpam_first: int
    """First block of the DPAM path unless a method says otherwise."""
    width: int
    """Length D of an embedding in the joint space."""
    text_width: int
    """Length W of a token embedding of the text tower."""
    text_blocks: int
    """Number of transformer blocks of the text tower."""
    device: str
    """Where the towers compute."""

    def encode_text(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the embeddings (len(prompts), D) of fixed prompts, float32, not normalised."""

    def encode_prompts(
        self, prompts: Sequence[Prompt], *, deep: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the embeddings (len(prompts), D) of prompts with learned parts, float32, not normalised.

        Gradients flow to the learned parts and to `deep`; the tower is frozen.

        Args:
            prompts: each a list of text and of token embeddings (n, W), in order.
            deep: by text block, vectors (n, W) that replace the tokens after the start token at its input.
        """
