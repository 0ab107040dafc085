"""The forward pass of open_clip's vision transformer: CLIP's own path, any number of DPAM paths, changes by a method.

The functions have no state and are differentiable. The backbone runs them on a frozen model, the training of the mini
CLIP with gradients.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmark.clip.spec import Attention, Change, Dpam, Layer, VisionTokens

Heads: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

ATTENTION_ROWS = {"qq": 0, "kk": 1, "vv": 2}  # position of the projection among the stacked queries, keys and values


@dataclass
class Tokens:
    """Tokens of the vision transformer before the last layer norm."""

    last: Tensor
    """Tokens after the last block, of shape `(B, 1 + N, W)`. The CLS token is first."""
    layers: dict[Layer, Tensor] = field(default_factory=dict)
    """Tokens of the requested layers, of the same shape."""
    cls: dict[int, Tensor] = field(default_factory=dict)
    """CLS tokens of shape `(B, W)` by number of the block."""


def first_tokens(visual: VisionTransformer, images: Tensor, positions: Tensor) -> Tensor:
    """Return the tokens at the input of the first block.

    Args:
        visual: The vision transformer.
        images: Preprocessed images of shape `(B, 3, S, S)`.
        positions: Positional embeddings of shape `(1 + N, W)` for the patch grid of this image size.

    Returns:
        Tokens of shape `(B, 1 + N, W)`. The CLS token is first.
    """
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    cls = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
    tokens: Tensor = visual.ln_pre(torch.cat([cls, x], dim=1) + positions.to(x.dtype))
    return tokens


def run_blocks(
    visual: VisionTransformer,
    tokens: Tensor,
    *,
    layers: Collection[Layer] = (),
    cls: Collection[int] = (),
) -> Tokens:
    """Run the transformer blocks and keep the tokens of some layers.

    CLIP's own path is `x^l = x' + MLP(LN2 x')` with `x' = x^{l-1} + Attn(LN1 x^{l-1})`.

    A DPAM path (AnomalyCLIP, section 3.3, as in its code) starts with `y^{s-1} = x^{s-1}`. Each block from s on adds
    the self-self attention of CLIP's own path and no MLP: `y^l = y^{l-1} + Proj(softmax(v vᵀ/√d) v)`, where v are the
    values (or queries, or keys) of `LN1 x^{l-1}`. With `ffn`, the blocks after s start from CLIP's own path instead:
    `y^l = u + MLP(LN2 u)` with `u = x^{l-1} + Proj(softmax(v vᵀ/√d) v)`.

    Args:
        visual: The vision transformer.
        tokens: Tokens of shape `(B, 1 + N, W)` from `first_tokens`.
        layers: Layers whose tokens are kept. A DPAM layer below the first block of its path has CLIP's own tokens.
        cls: Numbers of the blocks whose CLS token of CLIP's own path is kept.

    Returns:
        The tokens of the last block and of the requested layers.
    """
    x = tokens
    paths = dict.fromkeys((layer.dpam for layer in layers if layer.dpam is not None), x)
    kept = Tokens(last=x)
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        projected = project(block, x)
        for path in paths:
            if number >= path.first:
                paths[path] = _dpam(block, path, number, x=x, y=paths[path], projected=projected)
        x = add_mlp(block, x + attend(block, projected))
        paths = {path: x if number < path.first else y for path, y in paths.items()}
        for layer in layers:
            if layer.block == number:
                kept.layers[layer] = x if layer.dpam is None else paths[layer.dpam]
        if number in cls:
            kept.cls[number] = x[:, 0]
    kept.last = x
    return kept


def run_changed(
    visual: VisionTransformer,
    tokens: Tensor,
    *,
    after: Change | None = None,
    attention: Attention | None = None,
    keep: Collection[int] = (),
    recompute: bool = False,
) -> VisionTokens:
    """Run the transformer blocks on tokens that a method changes between them, or with another attention.

    Args:
        visual: The vision transformer.
        tokens: Tokens of shape `(B, 1 + N, W)` from `first_tokens`.
        after: Changes the tokens after each block, and before the first one as after block 0.
        attention: Takes the place of softmax attention in each block.
        keep: Numbers of the blocks whose tokens are kept, as `after` returned them.
        recompute: Whether the activations of a block are computed anew for its gradients.
    """
    x = tokens if after is None else after(0, tokens)
    kept = {}
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        heads = partial(attention, number) if attention else F.scaled_dot_product_attention
        x = recomputed(run_block, block, x, heads) if recompute else run_block(block, x, heads)
        if after is not None:
            x = after(number, x)
        if number in keep:
            kept[number] = x
    return VisionTokens(x, kept)


def run_block(block: ResidualAttentionBlock, x: Tensor, heads: Heads = F.scaled_dot_product_attention) -> Tensor:
    """Return the tokens `(B, T, W)` after a block, whose queries, keys and values `(B, heads, T, d)` `heads` takes."""
    return add_mlp(block, x + attend(block, project(block, x), heads=heads))


def recomputed(run: Callable[..., Tensor], *inputs: object) -> Tensor:
    """Return what a function gives, whose activations are not kept but computed anew for the gradients."""
    output: Tensor = checkpoint(run, *inputs, use_reentrant=False)
    return output


def embed(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Return the embeddings `LN_post(x) W_proj` of shape `(…, D)` of tokens x of shape `(…, W)`."""
    embedded: Tensor = visual.ln_post(tokens) @ visual.proj
    return embedded


def project(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Return the stacked queries, keys and values `(…, 3 W)` of `LN1 x` for tokens x `(…, W)`."""
    return F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)


def attend(
    block: ResidualAttentionBlock,
    projected: Tensor,
    rows: Sequence[int] = (0, 1, 2),
    *,
    heads: Heads = F.scaled_dot_product_attention,
) -> Tensor:
    """Return the output `(B, T, W)` of a block's attention for projections `(B, T, 3 W)`.

    It is scaled as the block scales it, where it does (LayerScale).

    Args:
        block: The block.
        projected: What `project` gives.
        rows: Positions of the queries, keys and values of the attention among the projections.
        heads: Returns of queries, keys and values of shape `(B, heads, T, d)` what the heads give.
    """
    # The module's own forward pass multiplies token by token where the number of heads is odd, at three times the cost.
    stacked = projected.reshape(*projected.shape[:2], 3, block.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    queries, keys, values = (stacked[row] for row in rows)
    mixed = heads(queries, keys, values).transpose(1, 2).flatten(2)
    out: Tensor = block.ls_1(block.attn.out_proj(mixed))
    return out


def add_mlp(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Return `x + MLP(LN2 x)` for tokens x `(…, W)`."""
    fed: Tensor = block.ls_2(block.mlp(block.ln_2(x)))
    return fed.add_(x) if fed.dtype == x.dtype else fed + x  # automatic mixed precision rounds the one, not the sum


def _dpam(block: ResidualAttentionBlock, path: Dpam, number: int, *, x: Tensor, y: Tensor, projected: Tensor) -> Tensor:
    """Return the tokens of a DPAM path after a block.

    `x` and `y` are the tokens of CLIP's own path and of the DPAM path before the block, `projected` is what `project`
    gives for x.
    """
    attended = attend(block, projected, [ATTENTION_ROWS[path.attention]] * 3)
    return add_mlp(block, x + attended) if path.ffn and number > path.first else y + attended
