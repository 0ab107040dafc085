"""Losses for learning prompts from image labels and masks, as in the code of AnomalyCLIP (section 3.4)."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from methods.base import anomaly_probability, similarity_logits, to_grid

SMOOTH = 1e-5  # in the focal loss: distance of targets from 0 and 1, and summand before the logarithm


def image_cross_entropy(image: Tensor, text: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of the logits `[g·t_n, g·t_a] / τ` and the image labels.

    Args:
        image: Image embeddings g of shape `(B, D)`.
        text: Unit embeddings of shape `(B, 2, D)` of the normal and the abnormal prompt of each image.
        labels: Labels of shape `(B,)`: 0 for normal, 1 for anomalous.
        temperature: Temperature τ.
    """
    return F.cross_entropy(similarity_logits(image[:, None], text, temperature=temperature)[:, 0], labels)


def focal(abnormal: Tensor, masks: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Return the focal loss (Lin et al., 2017) without the factor α, averaged over the pixels.

    Args:
        abnormal: Anomaly probabilities of shape `(B, H, W)`.
        masks: Masks of shape `(B, H, W)` of 0 and 1.
        gamma: Exponent γ.
    """
    true = (masks * abnormal + (1 - masks) * (1 - abnormal)) * (1 - 2 * SMOOTH) + SMOOTH
    p = true + SMOOTH
    return -((1 - p) ** gamma * p.log()).mean()


def dice(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice loss (Li et al., 2019) with a smoothing term of 1, averaged over the images.

    Args:
        probabilities: Probabilities of shape `(B, H, W)`.
        masks: Masks of shape `(B, H, W)` of 0 and 1.
    """
    p, target = probabilities.flatten(1), masks.flatten(1)
    overlap = (2 * (p * target).sum(1) + 1) / (p.sum(1) + target.sum(1) + 1)
    return 1 - overlap.mean()


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps of shape `(B, H, W)`, resized bilinearly (corners not aligned) from `(B, h, w)`.

    It is two matrix products: the backward pass of `torch.nn.functional.interpolate` is not deterministic on CUDA.

    Args:
        maps: Maps of shape `(B, h, w)`.
        size: The sides H and W.
    """
    rows, columns = (
        F.interpolate(torch.eye(old, dtype=maps.dtype, device=maps.device)[None], size=new, mode="linear")[0]
        for old, new in zip(maps.shape[1:], size, strict=True)
    )
    return rows.T @ maps @ columns


def map_losses(
    layers: Iterable[tuple[Tensor, Tensor]], masks: Tensor, *, temperature: float, weight: float = 1.0
) -> dict[str, Tensor]:
    """Return the terms of `Σ_l Focal(S_l, G) + Dice(S_l,a, G) + Dice(S_l,n, 1 − G)` (AnomalyCLIP, equation 3).

    `S_l,a` is the map of anomaly probabilities of layer l, resized bilinearly to the masks, and `S_l,n = 1 − S_l,a`.

    Args:
        layers: For each layer, patch embeddings of shape `(B, N, D)` and unit text embeddings of shape `(B, 2, D)`.
        masks: Masks G of shape `(B, S, S)` of 0 and 1.
        temperature: Temperature τ.
        weight: Weight of every term.

    Returns:
        The three terms by name, each summed over the layers.
    """
    terms: dict[str, Tensor] = {}
    for patches, text in layers:
        grid = to_grid(anomaly_probability(patches, text, temperature=temperature))
        abnormal = resize(grid, masks.shape[1:])
        for name, term in (
            ("focal", focal(abnormal, masks)),
            ("dice_abnormal", dice(abnormal, masks)),
            ("dice_normal", dice(1 - abnormal, 1 - masks)),
        ):
            terms[name] = terms.get(name, 0) + weight * term
    return terms
