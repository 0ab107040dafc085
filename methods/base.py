"""What the methods share: scoring embeddings against a pair of text embeddings."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def anomaly_probability(embeddings: Tensor, text: Tensor, *, temperature: float) -> Tensor:
    """Return `softmax([x·t_n, x·t_a] / τ)[1]` for each embedding x (WinCLIP, section 3; AnomalyCLIP, equation 1).

    Args:
        embeddings: (B, N, D), of any length; they are normalised here.
        text: (B, 2, D) unit embeddings of the normal and the abnormal prompt of each image.
        temperature: τ.

    Returns:
        Probabilities (B, N).
    """
    cosines = F.normalize(embeddings, dim=-1) @ text.transpose(1, 2)
    return torch.softmax(cosines / temperature, dim=-1)[..., 1]


def to_grid(values: Tensor) -> Tensor:
    """Reshape values (B, N) of the patches, row-major, to maps (B, √N, √N)."""
    side = round(values.shape[1] ** 0.5)
    return values.reshape(-1, side, side)
