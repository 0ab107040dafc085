"""What the methods share: scoring embeddings against a pair of text embeddings, and learned tokens."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmark.contract import Prediction


def similarity_logits(embeddings: Tensor, text: Tensor, *, temperature: float) -> Tensor:
    """Return `[x·t_n, x·t_a] / τ` for each embedding x.

    Args:
        embeddings: (B, N, D), of any length; they are normalised here.
        text: (B, 2, D) unit embeddings of the normal and the abnormal prompt of each image.
        temperature: τ.

    Returns:
        Logits (B, N, 2).
    """
    return F.normalize(embeddings, dim=-1) @ text.transpose(1, 2) / temperature


def anomaly_probability(embeddings: Tensor, text: Tensor, *, temperature: float) -> Tensor:
    """Return `softmax([x·t_n, x·t_a] / τ)[1]`, (B, N), for each embedding (WinCLIP, section 3; AnomalyCLIP, eq. 1).

    The arguments are those of `similarity_logits`.
    """
    return torch.softmax(similarity_logits(embeddings, text, temperature=temperature), dim=-1)[..., 1]


def to_grid(values: Tensor) -> Tensor:
    """Reshape values (B, N) of the patches, row-major, to maps (B, √N, √N)."""
    side = round(values.shape[1] ** 0.5)
    return values.reshape(-1, side, side)


def predict_by_text(image: Tensor, patches: Tensor, text: Tensor, *, temperature: float) -> Prediction:
    """Score the global embeddings (B, D) and the patch embeddings (B, N, D) against the same text (B, 2, D)."""
    return Prediction(
        scores=anomaly_probability(image[:, None], text, temperature=temperature)[:, 0],
        maps=to_grid(anomaly_probability(patches, text, temperature=temperature)),
    )


def learned_tokens(count: int, width: int, *, generator: torch.Generator, std: float = 0.02) -> nn.Parameter:
    """Return token embeddings (count, W) to be learned, drawn from a normal distribution (CoOp, section 3.2)."""
    return nn.Parameter(torch.randn(count, width, generator=generator) * std)
