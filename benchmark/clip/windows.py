"""Embeddings of windows of patches, each encoded by itself (WinCLIP, section 4.1), computed in batches.

A window is the CLS token and the tokens of s×s neighbouring patches. Most of the cost is in the linear layers, so two
of them are saved: a patch is part of up to s² windows, but its projections in the first block are the same in all of
them and are computed once; and the last block computes only the CLS token.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from benchmark.clip.vision import add_mlp, attend, embed, project, run_block
from benchmark.common import WINDOW_CHUNK


def window_patches(grid: int, size: int) -> Tensor:
    """Return the indices of the patches in each window.

    Args:
        grid: Number of patches along one side of the image.
        size: Number of patches along one side of a window.

    Returns:
        Indices of shape `((grid − size + 1)², size²)`. Windows (stride 1) and patches are ordered row by row.
    """
    numbers = torch.arange(grid * grid).reshape(grid, grid)
    return numbers.unfold(0, size, 1).unfold(1, size, 1).reshape(-1, size * size)


def run_windows(visual: VisionTransformer, tokens: Tensor, size: int, *, chunk: int = WINDOW_CHUNK) -> Tensor:
    """Return the embeddings of all windows of a size.

    Args:
        visual: The vision transformer.
        tokens: Tokens of shape `(B, 1 + N, W)` from `first_tokens`.
        size: Side s of a window in patches.
        chunk: Number of windows per forward pass. It limits the memory and changes no number.

    Returns:
        `LN_post(x) W_proj` of the CLS token of each window after the last block, of shape `(B, (grid − s + 1)², D)`.
    """
    grid = round((tokens.shape[1] - 1) ** 0.5)
    patches = window_patches(grid, size).to(tokens.device)
    places = torch.cat([patches.new_zeros(len(patches), 1), 1 + patches], dim=1)  # index 0 is the CLS token
    rows = (torch.arange(tokens.shape[0], device=tokens.device)[:, None, None] * tokens.shape[1] + places).flatten(0, 1)
    first, *middle, last = visual.transformer.resblocks
    flat = tokens.flatten(0, 1)
    projected = project(first, flat)
    embedded = []
    # A graph that is exported for any number of images has no parts of a size.
    for part in [rows] if torch.compiler.is_compiling() else torch.split(rows, chunk):
        x = add_mlp(first, flat[part] + attend(first, projected[part]))
        for block in middle:
            x = run_block(block, x)
        embedded.append(embed(visual, _cls_after(last, x)))
    return torch.cat(embedded).reshape(tokens.shape[0], len(patches), -1)


def _cls_after(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Return the CLS token `(M, W)` after a block at the cost of one token instead of T.

    Only the CLS token needs a query, so neither keys nor values of the other tokens are computed:
    `q · (K x) = (Kᵀ q) · x` for the attention logits, and `Σ a (V x) = V (Σ a x)` for the output. The bias of the keys
    adds the same number to all logits and therefore does not change the softmax.
    """
    attention = block.attn
    normed = block.ln_1(x)
    q_weight, k_weight, v_weight = attention.in_proj_weight.unflatten(0, (3, attention.num_heads, -1))
    q_bias, _, v_bias = attention.in_proj_bias.chunk(3)
    q = F.linear(normed[:, 0], q_weight.flatten(0, 1), q_bias).reshape(x.shape[0], attention.num_heads, -1)
    towards = torch.einsum("mhd,hdw->mhw", q, k_weight) / q.shape[-1] ** 0.5
    weights = torch.softmax(towards @ normed.transpose(1, 2), dim=-1)
    values = torch.einsum("mhw,hdw->mhd", weights @ normed, v_weight).flatten(1) + v_bias
    return add_mlp(block, x[:, 0] + block.ls_1(attention.out_proj(values)))
