"""Linear layers that bring hidden patch tokens of several blocks to CLIP's joint space, and logits of the patches.

APRIL-GAN and AdaCLIP have both. AA-CLIP has matrices of its own, and the same logits.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from methods.base import linear

LOGIT_FACTOR = 100.0
"""Factor of the cosine similarities, a constant in the codes of APRIL-GAN, AdaCLIP and AA-CLIP."""


def require_as_many_blocks(found: int, own: int) -> None:
    """Say what to do if a file is of another number of blocks, which nothing in a published checkpoint tells.

    Raises:
        RuntimeError: It is.
    """
    if found != own:
        raise RuntimeError(
            f"number of linear layers, one for each block scored: {found} in the file, not {own}; "
            "say which blocks by --set METHOD.feature_layers=[…] where it is imported"
        )


class LinearPatches(nn.Module):
    """A linear layer with bias from W to D numbers for the patch tokens of each of L blocks."""

    def __init__(self, blocks: int, width: int, dimension: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = nn.ModuleList(linear(width, dimension, generator=generator) for _ in range(blocks))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Say what to do if a state is of other layers.

        Raises:
            RuntimeError: It has another number of layers, or layers of other widths.
        """
        found, own = (
            [tensor.shape for key, tensor in state.items() if key.endswith(".weight")]
            for state in (state_dict, self.state_dict())
        )
        require_as_many_blocks(len(found), len(own))
        if found != own:
            raise RuntimeError(
                f"its linear layers are of shape {tuple(found[0])}, and {tuple(own[0])} with this backbone; "
                "import it with the --backbone that it was trained with"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

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
