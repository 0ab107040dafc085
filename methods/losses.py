"""The losses of prompt learning for anomaly maps, as AnomalyCLIP's code has them (its section 3.4)."""

from collections.abc import Iterable

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from methods.base import anomaly_probability, similarity_logits, to_grid

SMOOTH = 1e-5  # of the focal loss: targets are kept this far from 0 and 1, and it is added before the logarithm


def image_cross_entropy(image: Tensor, text: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of `[g·t_n, g·t_a] / τ` against the image labels (B,), g (B, D), text (B, 2, D)."""
    return F.cross_entropy(similarity_logits(image[:, None], text, temperature=temperature)[:, 0], labels)


def focal(abnormal: Tensor, masks: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Return the focal loss (Lin et al. 2017) of probabilities of "abnormal" (B, H, W), mean over pixels, no α."""
    true = (masks * abnormal + (1 - masks) * (1 - abnormal)) * (1 - 2 * SMOOTH) + SMOOTH
    p = true + SMOOTH
    return -((1 - p) ** gamma * p.log()).mean()


def dice(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice loss (Li et al. 2019) of (B, H, W): smooth 1, per image, mean over the batch."""
    p, target = probabilities.flatten(1), masks.flatten(1)
    overlap = (2 * (p * target).sum(1) + 1) / (p.sum(1) + target.sum(1) + 1)
    return 1 - overlap.mean()


def map_losses(
    layers: Iterable[tuple[Tensor, Tensor]], masks: Tensor, *, temperature: float, weight: float = 1.0
) -> dict[str, Tensor]:
    """Return `Σ_l Focal(S_l, G) + Dice(S_l,a, G) + Dice(S_l,n, 1 − G)` by term (AnomalyCLIP, equation 3).

    Args:
        layers: per layer, patch embeddings (B, N, D) and unit text embeddings (B, 2, D); `S_l` is their anomaly
            probability, resized bilinearly to the masks.
        masks: G, (B, S, S) of 0 and 1.
        temperature: τ.
        weight: of every term.
    """
    terms: dict[str, Tensor] = {}
    for patches, text in layers:
        grid = to_grid(anomaly_probability(patches, text, temperature=temperature))
        abnormal = F.interpolate(grid[:, None], size=masks.shape[1:], mode="bilinear")[:, 0]
        for name, term in (
            ("focal", focal(abnormal, masks)),
            ("dice_abnormal", dice(abnormal, masks)),
            ("dice_normal", dice(1 - abnormal, 1 - masks)),
        ):
            terms[name] = terms.get(name, 0) + weight * term
    return terms
