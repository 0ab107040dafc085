"""Functions that several methods use: scoring embeddings by a pair of text embeddings, learned tokens and layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.contract import BenchError, Features, FrozenClip, Prediction


def require_blocks(backbone: FrozenClip, option: str, blocks: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of vision blocks that an option, such as `clip.layers`, names.

    Raises:
        BenchError: The vision tower does not have such a block.
    """
    for block in blocks:
        if not 1 <= block <= backbone.blocks:
            raise BenchError(f"{option} names block {block}; the vision tower has the blocks 1 to {backbone.blocks}")
    return tuple(blocks)


def first_of_path(backbone: FrozenClip, option: str, block: int | None) -> int:
    """Return the first block of a DPAM path that an option names; None for that of the backbone.

    Raises:
        BenchError: The vision tower does not have this block.
    """
    return backbone.dpam_first if block is None else require_blocks(backbone, option, [block])[0]


def similarity_logits(embeddings: Tensor, text: Tensor, *, temperature: float) -> Tensor:
    """Return the logits `[x·t_n, x·t_a] / τ` for each embedding x, where x is scaled to unit length.

    Args:
        embeddings: Embeddings of shape `(B, N, D)`, of any length.
        text: Unit embeddings of shape `(B, 2, D)` of the normal and the abnormal prompt of each image.
        temperature: Temperature τ.

    Returns:
        Logits of shape `(B, N, 2)`.
    """
    # The products are divided by the lengths: there are two of them to D numbers of an embedding.
    lengths = torch.linalg.vector_norm(embeddings, dim=-1, keepdim=True).clamp(min=1e-12)
    logits: Tensor = embeddings @ text.transpose(1, 2) / (lengths * temperature)
    return logits


def anomaly_probability(embeddings: Tensor, text: Tensor, *, temperature: float) -> Tensor:
    """Return the anomaly probability `softmax([x·t_n, x·t_a] / τ)[1]` of each embedding x.

    Source: WinCLIP, section 3; AnomalyCLIP, equation 1.

    Args:
        embeddings: Embeddings of shape `(B, N, D)`, of any length.
        text: Unit embeddings of shape `(B, 2, D)` of the normal and the abnormal prompt of each image.
        temperature: Temperature τ.

    Returns:
        Probabilities of shape `(B, N)`.
    """
    return torch.softmax(similarity_logits(embeddings, text, temperature=temperature), dim=-1)[..., 1]


def image_embedding(features: Features, *, ln_post: bool) -> Tensor:
    """Return the image embeddings of shape `(B, D)`: those of CLIP, or without its last layer norm."""
    return features.image if ln_post else features.image_raw


def to_grid(values: Tensor) -> Tensor:
    """Reshape values of patches of shape `(B, N)`, ordered row by row, to maps of shape `(B, √N, √N)`."""
    side = round(values.shape[1] ** 0.5)
    return values.reshape(-1, side, side)


def predict_by_text(image: Tensor, patches: Tensor, text: Tensor, *, temperature: float) -> Prediction:
    """Return the anomaly probabilities of images and patches for the same pair of text embeddings.

    Args:
        image: Image embeddings of shape `(B, D)`.
        patches: Patch embeddings of shape `(B, N, D)`.
        text: Unit embeddings of shape `(B, 2, D)` of the normal and the abnormal prompt of each image.
        temperature: Temperature τ.
    """
    return Prediction(
        scores=anomaly_probability(image[:, None], text, temperature=temperature)[:, 0],
        maps=to_grid(anomaly_probability(patches, text, temperature=temperature)),
    )


def learned_tokens(count: int, width: int, *, generator: torch.Generator, std: float = 0.02) -> nn.Parameter:
    """Return learnable token embeddings of shape `(count, width)`, drawn from a normal distribution (CoOp, 3.2)."""
    return nn.Parameter(torch.randn(count, width, generator=generator) * std)


def linear(inputs: int, outputs: int, *, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """Return a linear layer, drawn uniformly from ±1/√inputs as by torch, but by a generator.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
        generator: Draws the weights, then the biases.
        bias: Whether the layer has biases.
    """
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)  # type: ignore[no-untyped-call]
    bound = inputs**-0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
