"""What a method can ask of the frozen CLIP and what it gets: specifications, features, and the backbone's interface."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar, Union, get_args

from benchmark.errors import BenchError, ContractError

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


PosInterp: TypeAlias = Literal["bilinear", "bicubic", "bicubic_no_antialias"]
"""How positional embeddings are resized to another grid: bilinear without antialias (AnomalyCLIP's code), open_clip's
antialiased bicubic (APRIL-GAN's code), or bicubic without antialias (AdaCLIP's code). Corners are never aligned."""


@dataclass(frozen=True, slots=True)
class BackboneVariant:
    """In what a method runs the weights of a CLIP otherwise than they were trained, or than the protocol says."""

    plain_gelu: bool = False
    """Whether both towers compute the exact GELU, though the weights were trained with QuickGELU. It changes nothing
    of a CLIP that has the exact GELU."""
    pos_interp: PosInterp | None = None
    """How positional embeddings are resized; None for what the protocol says. It changes nothing at the image size of
    the weights."""

    def __post_init__(self) -> None:
        if type(self.plain_gelu) is not bool:
            raise ContractError(f"BackboneVariant: plain_gelu={self.plain_gelu!r} is neither True nor False")
        if self.pos_interp not in (None, *get_args(PosInterp)):
            known = ", ".join(get_args(PosInterp))
            raise ContractError(f"BackboneVariant: pos_interp={self.pos_interp!r} is none of {known}")


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
    tokens: tuple[Layer, ...] = ()
    """Layers whose patch tokens are needed after the last layer norm, without the projection to the joint space."""
    hidden: tuple[Layer, ...] = ()
    """Layers whose patch tokens are needed as they leave the block, with neither layer norm nor projection."""
    images: bool = False
    """Whether the images themselves are needed, for a forward pass of the method's own. No other method shares that
    pass, and what is learned is trained on images, not on stored features."""
    encoded: bool = True
    """Whether CLIP's own forward pass is needed. Without it there are images and nothing else."""


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
            tokens=tuple(dict.fromkeys((*other.tokens, *spec.tokens))),
            hidden=tuple(dict.fromkeys((*other.hidden, *spec.hidden))),
            images=other.images or spec.images,
            encoded=other.encoded or spec.encoded,
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
    """Image embeddings of CLIP of shape `(B, D)`: `LN_post(x) W_proj` of the CLS token x of the last block.

    Without CLIP's own pass (`VisionSpec.encoded`) this and `image_raw` are of shape `(B, 0)`.
    """
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
    tokens: dict[Layer, torch.Tensor] = field(default_factory=dict)
    """Patch tokens `LN_post(x)` of shape `(B, N, W)` by layer, where W is the width of the vision tower."""
    hidden: dict[Layer, torch.Tensor] = field(default_factory=dict)
    """Patch tokens x as they leave the block, of shape `(B, N, W)`, by layer."""
    images: torch.Tensor | None = None
    """The images of shape `(B, 3, S, S)`, normalised as for CLIP; None unless the specification asks for them."""

    def __post_init__(self) -> None:
        for name in ("patches", "cls", "windows", "tokens", "hidden"):
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
        tokens={layer: change(each) for layer, each in features.tokens.items()},
        hidden={layer: change(each) for layer, each in features.hidden.items()},
        images=None if features.images is None else change(features.images),
    )


def take_asked(features: Features, spec: VisionSpec) -> Features:
    """Return of the features of a shared pass those that one specification asks for, as a pass of its own gives."""
    embeddings = (features.image, features.image_raw)
    if not spec.encoded:
        embeddings = (features.image[:, :0], features.image_raw[:, :0])
    return Features(
        *embeddings,
        patches={layer: features.patches[layer] for layer in spec.layers},
        cls={block: features.cls[block] for block in spec.cls},
        grid=features.grid,
        windows={size: features.windows[size] for size in spec.windows},
        tokens={layer: features.tokens[layer] for layer in spec.tokens},
        hidden={layer: features.hidden[layer] for layer in spec.hidden},
        images=features.images if spec.images else None,
    )


Change: TypeAlias = Callable[[int, "torch.Tensor"], "torch.Tensor"]
"""Takes the number of a block and the tokens after it, and returns the tokens to go on with."""

Attention: TypeAlias = Callable[[int, "torch.Tensor", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Takes the number of a block and its queries, keys and values of shape `(B, heads, T, d)`, and returns what the heads
give, of the same shape."""


@dataclass(frozen=True, slots=True)
class VisionTokens:
    """Tokens of the vision tower before the last layer norm, the CLS token first."""

    last: torch.Tensor
    """Tokens after the last block, of shape `(B, T, W)`."""
    kept: dict[int, torch.Tensor]
    """Tokens of the blocks that were asked for, of the same shape."""


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
    vision_width: int
    """Length W of a token of the vision tower."""
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
        self,
        prompts: Sequence[Prompt],
        *,
        deep: Mapping[int, torch.Tensor] | None = None,
        after: Change | None = None,
        projected: bool = True,
        recompute: bool = False,
    ) -> torch.Tensor:
        """Return the embeddings of prompts with learned parts. Gradients flow to the learned parts and to `deep`.

        Args:
            prompts: P prompts, each a list of texts and token embeddings of shape `(n, W)` in order.
            deep: By number of the text block, from 1: vectors of shape `(n, W)` that replace the n tokens after the
                start token at the input of the block. With vectors of shape `(G, n, W)` the prompts are encoded for
                each of G groups (such as images), which have vectors of their own.
            after: Changes the tokens after each block. It must treat each token by itself, since the tokens with which
                several prompts begin are there once.
            projected: Whether the end tokens are projected to the joint space, after the last layer norm.
            recompute: Whether the activations of a block are computed anew for its gradients, which saves memory.

        Returns:
            Embeddings of shape `(P, D)`, or `(G, P, D)` for groups, float32, not normalised; with `projected=False` of
            the width of the text tower in place of D.
        """

    def forward_vision(
        self,
        images: torch.Tensor,
        *,
        after: Change | None = None,
        attention: Attention | None = None,
        keep: Collection[int] = (),
        recompute: bool = False,
    ) -> VisionTokens:
        """Run the vision tower on images, with gradients to whatever `after` and `attention` bring in.

        Args:
            images: Images of shape `(B, 3, S, S)`, as in `Features.images`.
            after: Changes the tokens of shape `(B, T, W)` after each block, and before the first one as after block 0.
                It may add tokens behind the others or replace some; the CLS token is first, the patches follow.
            attention: Takes the place of softmax attention in each block; projections, residuals and MLP stay.
            keep: Numbers of the blocks whose tokens are kept, as `after` returned them.
            recompute: Whether the activations of a block are computed anew for its gradients, which saves memory.
        """

    def embed(self, tokens: torch.Tensor, *, projected: bool = True) -> torch.Tensor:
        """Return the embeddings `LN_post(x) W_proj` of shape `(…, D)`, float32, of vision tokens x `(…, W)`.

        With `projected=False` it returns `LN_post(x)` of shape `(…, W)`.
        """
