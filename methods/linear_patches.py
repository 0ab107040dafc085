"""Linear layers that bring hidden patch tokens of several blocks to CLIP's joint space (APRIL-GAN, AdaCLIP)."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LOGIT_FACTOR = 100.0
"""Factor of the cosine similarities, a constant in both codes."""


def linear(inputs: int, outputs: int, *, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer, weights and biases drawn uniformly from ±1/√inputs as by torch, but by a generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    bound = inputs**-0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


class LinearPatches(nn.Module):
    """A linear layer with bias from W to D numbers for the patch tokens of each of L blocks."""

    def __init__(self, blocks: int, width: int, dimension: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = nn.ModuleList(linear(width, dimension, generator=generator) for _ in range(blocks))

    def forward(self, hidden: Iterable[Tensor]) -> Tensor:
        """Return unit patch embeddings of shape `(B, L, N, D)` of the tokens of each block of shape `(B, N, W)`."""
        embeddings = [layer(tokens) for layer, tokens in zip(self.linear, hidden, strict=True)]
        return F.normalize(torch.stack(embeddings, dim=1), dim=-1)


def logit_differences(embeddings: Tensor, text: Tensor) -> Tensor:
    """Return the logits `100 · (z·t_a − z·t_n)` of patches on their grid.

    Args:
        embeddings: Unit patch embeddings z of shape `(B, L, N, D)`, ordered row by row.
        text: Unit embeddings of shape `(B, 2, D)` of the normal and the abnormal prompts of each image.

    Returns:
        Differences of shape `(B, L, √N, √N)`.
    """
    differences: Tensor = LOGIT_FACTOR * (embeddings @ (text[:, 1] - text[:, 0])[:, None, :, None])[..., 0]
    side = round(differences.shape[-1] ** 0.5)
    return differences.reshape(*differences.shape[:2], side, side)
