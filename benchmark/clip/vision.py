"""One forward pass of open_clip's vision transformer: its own path and, beside it, any number of DPAM paths.

Differentiable and without state: the backbone runs it frozen, the training of the miniature CLIP with gradients.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from benchmark.clip.spec import Dpam, Layer

ATTENTION_ROWS = {"qq": 0, "kk": 1, "vv": 2}  # where the projections lie in the block's stacked weights


@dataclass
class Tokens:
    """Tokens before the last layer norm."""

    last: Tensor
    """All tokens (B, 1 + N, W) of the last block, CLS first."""
    layers: dict[Layer, Tensor] = field(default_factory=dict)
    """The same of the layers asked for."""
    cls: dict[int, Tensor] = field(default_factory=dict)
    """CLS tokens (B, W) by block."""


def first_tokens(visual: VisionTransformer, images: Tensor, positions: Tensor) -> Tensor:
    """Return the tokens (B, 1 + N, W) that enter the first block, CLS first.

    Args:
        visual: open_clip's tower.
        images: (B, 3, S, S), preprocessed.
        positions: (1 + N, W) positional embeddings for the patch grid of this size.
    """
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    cls = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    tokens: Tensor = visual.ln_pre(torch.cat([cls, x], dim=1) + positions.to(x.dtype))
    return tokens


def run_blocks(
    visual: VisionTransformer,
    tokens: Tensor,
    *,
    layers: Collection[Layer] = (),
    cls: Collection[int] = (),
) -> Tokens:
    """Run the blocks and keep the tokens of some layers.

    Original path: `x^l = x^{l-1} + Attn(LN1 x^{l-1})`, then `+ MLP(LN2 ·)`. A DPAM path (AnomalyCLIP, section 3.3, as
    its code runs it) starts as `y^{s-1} = x^{s-1}`, and each block from s on adds V-V attention of the *original* path,
    `y^l = y^{l-1} + Proj(softmax(v vᵀ/√d) v)` with `v` of `LN1 x^{l-1}`, and no MLP; Q-Q and K-K likewise. With `ffn`,
    blocks after s start anew from the original path: `y^l = u + MLP(LN2 u)`, `u = x^{l-1} + Proj(…)`.

    Args:
        visual: open_clip's tower.
        tokens: (B, 1 + N, W), as from `first_tokens`.
        layers: whose tokens are kept; a DPAM layer below its first block is the original one.
        cls: blocks whose CLS token of the original path is kept.
    """
    x = tokens
    paths = dict.fromkeys((layer.dpam for layer in layers if layer.dpam is not None), x)
    kept = Tokens(last=x)
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        paths = {path: y if number < path.first else _dpam(block, path, number, x, y) for path, y in paths.items()}
        x = block(x)
        paths = {path: x if number < path.first else y for path, y in paths.items()}
        for layer in layers:
            if layer.block == number:
                kept.layers[layer] = x if layer.dpam is None else paths[layer.dpam]
        if number in cls:
            kept.cls[number] = x[:, 0]
    kept.last = x
    return kept


def embed(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Project tokens (…, W) to the joint space: `LN_post(·) W_proj`, (…, D)."""
    embedded: Tensor = visual.ln_post(tokens) @ visual.proj
    return embedded


def _dpam(block: ResidualAttentionBlock, path: Dpam, number: int, x: Tensor, y: Tensor) -> Tensor:
    """Return the path's tokens after a replaced block, from x and y, the two paths' tokens before it."""
    attended = _self_self_attention(block, path.attention, x)
    if not path.ffn or number == path.first:
        return y + attended
    u = x + attended
    fed: Tensor = u + block.mlp(block.ln_2(u))
    return fed


def _self_self_attention(block: ResidualAttentionBlock, attention: str, x: Tensor) -> Tensor:
    """Return `Proj(softmax(v vᵀ/√d) v)` for tokens (B, T, W), heads as in the block's own attention."""
    module = block.attn
    width = module.embed_dim
    rows = slice(ATTENTION_ROWS[attention] * width, (ATTENTION_ROWS[attention] + 1) * width)
    v = F.linear(block.ln_1(x), module.in_proj_weight[rows], module.in_proj_bias[rows])
    heads = v.reshape(*x.shape[:2], module.num_heads, -1).transpose(1, 2)
    mixed: Tensor = module.out_proj(F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2))
    return mixed
