"""One forward pass of open_clip's vision transformer: its own path and, beside it, the V-V path.

Differentiable and without state: the backbone runs it frozen, the training of the miniature CLIP with gradients.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor


@dataclass
class Tokens:
    """Tokens (B, 1 + N, W) of chosen blocks, CLS first, before the last layer norm."""

    last: Tensor
    """Of the last block, on the original path."""
    original: dict[int, Tensor] = field(default_factory=dict)
    """By block, on the original path."""
    vv: dict[int, Tensor] = field(default_factory=dict)
    """By block, on the V-V path."""


def run_blocks(
    visual: VisionTransformer,
    images: Tensor,
    positions: Tensor,
    *,
    original: Collection[int] = (),
    vv: Collection[int] = (),
    vv_from: int = 0,
) -> Tokens:
    """Encode images and keep the tokens of some blocks.

    Original path: `x^l = x^{l-1} + Attn(LN1 x^{l-1})`, then `+ MLP(LN2 ·)`. V-V path (AnomalyCLIP, section 3.3, as its
    code runs it): starts as `y^{s-1} = x^{s-1}`, and each block from s on adds V-V attention of the *original* path,
    `y^l = y^{l-1} + Proj(softmax(v vᵀ/√d) v)` with `v` of `LN1 x^{l-1}`, and no MLP.

    Args:
        visual: open_clip's tower.
        images: (B, 3, S, S), preprocessed.
        positions: (1 + N, W) positional embeddings for the patch grid of this size.
        original: blocks (1 … L) whose tokens are kept on the original path.
        vv: blocks whose tokens are kept on the V-V path; below `vv_from` these are the original tokens.
        vv_from: s, the first block of the V-V path.
    """
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    cls = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = visual.ln_pre(torch.cat([cls, x], dim=1) + positions.to(x.dtype))
    y = x
    tokens = Tokens(last=x)
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        y = y + _vv_attention(block, x) if vv and number >= vv_from else y
        x = block(x)
        y = x if number < vv_from else y
        if number in original:
            tokens.original[number] = x
        if number in vv:
            tokens.vv[number] = y
    tokens.last = x
    return tokens


def embed(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Project tokens (…, W) to the joint space: `LN_post(·) W_proj`, (…, D)."""
    embedded: Tensor = visual.ln_post(tokens) @ visual.proj
    return embedded


def _vv_attention(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Return `Proj(softmax(v vᵀ/√d) v)` for tokens (B, T, W), heads as in the block's own attention."""
    attention = block.attn
    width = attention.embed_dim
    v = F.linear(block.ln_1(x), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    heads = v.reshape(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)
    mixed: Tensor = attention.out_proj(F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2))
    return mixed
