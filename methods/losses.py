"""Losses for learning from image labels and masks, as in the code of AnomalyCLIP (section 3.4).

The other methods that learn from masks have the same focal and Dice losses, some of them one Dice loss alone.
"""

from collections.abc import Collection, Iterable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import LayerLogits
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
    """Return the focal loss (Lin et al., 2017) without the factor α, averaged over maps and pixels.

    Args:
        abnormal: Anomaly probabilities of shape `(B, L, H, W)`.
        masks: Masks of shape `(B, H, W)` of 0 and 1.
        gamma: Exponent γ.
    """
    true = masks[:, None]
    hit = torch.addcmul(1 - true, 2 * true - 1, abnormal)  # a where the mask is 1, 1 − a where it is 0
    p = hit * (1 - 2 * SMOOTH) + 2 * SMOOTH
    return -((1 - p) ** gamma * p.log()).mean()


def dice(overlap: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    """Return the Dice loss (Li et al., 2019) with a smoothing term of 1, averaged over maps.

    Args:
        overlap: Sums of the products of probabilities and masks over the pixels, of shape `(…)`.
        predicted: Sums of the probabilities.
        true: Sums of the masks.
    """
    return 1 - ((2 * overlap + 1) / (predicted + true + 1)).mean()


def dice_terms(overlap: Tensor, predicted: Tensor, true: Tensor, pixels: int) -> dict[str, Tensor]:
    """Return `Dice(S_a, G)` and `Dice(1 − S_a, 1 − G)` by name, from sums over as many pixels."""
    return {
        "dice_abnormal": dice(overlap, predicted, true),
        "dice_normal": dice(pixels - predicted - true + overlap, pixels - predicted, pixels - true),
    }


def interpolation(old: int, new: int, like: Tensor, *, corners_aligned: bool = False) -> Tensor:
    """Return the matrix of shape `(old, new)` that resizes rows of numbers linearly.

    Maps are resized by it: the backward pass of `torch.nn.functional.interpolate` is not deterministic on CUDA.
    """
    lines = torch.eye(old, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(lines, size=new, mode="linear", align_corners=corners_aligned)[0]


def resized(grid: Tensor, size: Sequence[int], *, corners_aligned: bool = False) -> Tensor:
    """Return maps of shape `(B, L, h, w)`, resized bilinearly to `(B, L, *size)`."""
    rows, columns = (
        interpolation(old, new, grid, corners_aligned=corners_aligned)
        for old, new in zip(grid.shape[2:], size, strict=True)
    )
    return rows.T @ grid @ columns


def probability_maps(logits: LayerLogits, size: Sequence[int]) -> Tensor:
    """Return the maps of anomaly probabilities that the benchmark would add up, of shape `(B, L, *size)`."""
    grid, aligned = logits.differences, logits.corners_aligned
    if logits.softmax_last:
        return torch.sigmoid(resized(grid, size, corners_aligned=aligned))
    return resized(torch.sigmoid(grid), size, corners_aligned=aligned)


def probability_map_losses(
    maps: Tensor, masks: Tensor, *, dice_of: Collection[str] = ("abnormal",), by_rows: bool = False
) -> dict[str, Tensor]:
    """Return the terms of `Σ_l Focal(S_l, G) + Dice(S_l,a, G)`, and of `Dice(S_l,n, 1 − G)` if asked for.

    Args:
        maps: Maps S_l,a of anomaly probabilities of shape `(B, L, S, S)`, where `S_l,n = 1 − S_l,a`.
        masks: Masks G of shape `(B, S, S)` of 0 and 1.
        dice_of: The probabilities that have a Dice loss: `abnormal`, `normal` or both.
        by_rows: Whether Dice losses are those of rows of pixels and not of images.

    Returns:
        The terms by name, each summed over the layers.
    """
    true, over = masks[:, None], (3,) if by_rows else (2, 3)
    overlap, predicted, marked = (each.sum(dim=over) for each in (maps * true, maps, true))
    dices = dice_terms(overlap, predicted, marked, maps[0, 0, 0 if by_rows else slice(None)].numel())
    terms = {"focal": focal(maps, masks), **{name: dices[name] for name in (f"dice_{of}" for of in dice_of)}}
    return {name: maps.shape[1] * term for name, term in terms.items()}


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
    grids = [to_grid(anomaly_probability(patches, text, temperature=temperature)) for patches, text in layers]
    grid, factor = torch.stack(grids, dim=1), weight * len(grids)
    rows, columns = (interpolation(old, new, grid) for old, new in zip(grid.shape[2:], masks.shape[1:], strict=True))
    # A sum over the pixels of a resized map is one over its patches: `Σ (Rᵀ g C) ∘ m = Σ g ∘ (R m Cᵀ)`.
    overlap = (grid * (rows @ masks @ columns.T)[:, None]).sum(dim=(2, 3))
    predicted = (grid * torch.outer(rows.sum(dim=1), columns.sum(dim=1))).sum(dim=(2, 3))
    true, pixels = masks.sum(dim=(1, 2))[:, None], masks[0].numel()
    terms = {"focal": focal(rows.T @ grid @ columns, masks), **dice_terms(overlap, predicted, true, pixels)}
    return {name: factor * term for name, term in terms.items()}
