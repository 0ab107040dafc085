"""Windows of patches through the vision tower, each by itself (WinCLIP, section 4.1), as one batched problem.

A window is the CLS token and the tokens of s×s neighbouring patches. The cost is that of its linear layers, so what
does not differ between windows is computed once: a patch lies in up to s² windows, but enters the first block's
projections alike in all of them; and of the last block only the CLS token is wanted.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from benchmark.clip.vision import embed
from benchmark.common import WINDOW_CHUNK


def window_patches(grid: int, size: int) -> Tensor:
    """Return the patches (windows, size²) of every window of size×size on a grid×grid map, both row-major, stride 1."""
    numbers = torch.arange(grid * grid).reshape(grid, grid)
    return numbers.unfold(0, size, 1).unfold(1, size, 1).reshape(-1, size * size)


def run_windows(visual: VisionTransformer, tokens: Tensor, size: int, *, chunk: int = WINDOW_CHUNK) -> Tensor:
    """Return the embedding of every window.

    Args:
        visual: open_clip's tower.
        tokens: (B, 1 + N, W) after the first layer norm, as from `first_tokens`.
        size: side s of a window in patches.
        chunk: windows that go through the tower at a time; bounds the memory and changes no number.

    Returns:
        (B, n, D), `LN_post(x) W_proj` of each window's CLS token after the last block.
    """
    grid = round((tokens.shape[1] - 1) ** 0.5)
    patches = window_patches(grid, size).to(tokens.device)
    places = torch.cat([patches.new_zeros(len(patches), 1), 1 + patches], dim=1)  # the CLS token comes first
    rows = (torch.arange(len(tokens), device=tokens.device)[:, None, None] * tokens.shape[1] + places).flatten(0, 1)
    first, *middle, last = visual.transformer.resblocks
    flat = tokens.flatten(0, 1)
    projected = _project(first, flat)
    embedded = []
    for part in torch.split(rows, chunk):
        x = _feed(first, flat[part] + _attend(first, projected[part]))
        for block in middle:
            x = _feed(block, x + _attend(block, _project(block, x)))
        embedded.append(embed(visual, _cls_after(last, x)))
    return torch.cat(embedded).reshape(len(tokens), len(patches), -1)


def _project(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Return queries, keys and values (…, 3 W) of tokens (…, W)."""
    return F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)


def _attend(block: ResidualAttentionBlock, projected: Tensor) -> Tensor:
    """Return the attention's output (M, T, W) for projected tokens (M, T, 3 W)."""
    heads = projected.reshape(*projected.shape[:2], 3, block.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    out: Tensor = block.attn.out_proj(mixed)
    return out


def _feed(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    fed: Tensor = block.mlp(block.ln_2(x)).add_(x)
    return fed


def _cls_after(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Return the CLS token (M, W) after a block, at the cost of one token instead of T.

    The query is taken to the tokens and not the tokens to keys: `q · (K x) = (Kᵀ q) · x`; likewise the tokens are mixed
    before they become values, `Σ a (V x) = V (Σ a x)`. The bias of the keys adds the same to every token and drops out
    of the softmax.
    """
    attention = block.attn
    normed = block.ln_1(x)
    q_weight, k_weight, v_weight = attention.in_proj_weight.unflatten(0, (3, attention.num_heads, -1))
    q_bias, _, v_bias = attention.in_proj_bias.chunk(3)
    q = F.linear(normed[:, 0], q_weight.flatten(0, 1), q_bias).reshape(len(x), attention.num_heads, -1)
    towards = torch.einsum("mhd,hdw->mhw", q, k_weight) / q.shape[-1] ** 0.5
    weights = torch.softmax(towards @ normed.transpose(1, 2), dim=-1)
    values = torch.einsum("mhw,hdw->mhd", weights @ normed, v_weight).flatten(1) + v_bias
    return _feed(block, x[:, 0] + attention.out_proj(values))
