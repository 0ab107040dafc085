"""A memory of labelled features, and the anomaly probabilities that are retrieved from it (MRAD)."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from methods.base import linear

AT_ONCE = 2**21
"""Similarities between queries and keys that are computed at a time: 8 MB, and a few times that on the way."""


class Bank(nn.Module):
    """Keys of a memory by their value: unit vectors of shape `(n, W)` of what is anomalous and of what is normal."""

    anomalous: Tensor
    normal: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("anomalous", "normal"):
            self.register_buffer(name, torch.zeros(0, width))

    def add(self, *, anomalous: Tensor, normal: Tensor) -> None:
        """Add keys of shape `(n, W)`."""
        self.anomalous, self.normal = torch.cat([self.anomalous, anomalous]), torch.cat([self.normal, normal])


class Memory(nn.Module):
    """The keys of images, of D numbers, and those of regions of images, of W numbers."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.images, self.regions = Bank(dimension), Bank(width)


class Projection(nn.Module):
    """Linear layers of queries and of keys, whose products are the scores of a retrieval.

    A bias of the keys would add the same number to all scores of a query, which changes no softmax; so there is none.
    """

    def __init__(self, width: int, dimension: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.query = linear(width, dimension, generator=generator)
        self.key = linear(width, dimension, generator=generator, bias=False)


def retrieve(
    queries: Tensor,
    bank: Bank,
    *,
    projection: Projection | None = None,
    quantile: float | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Return `Σ_i w_i v_i` with `w = softmax(x·k / τ)` for each query x, where v_i is 1 for an anomalous key k_i.

    Args:
        queries: Unit queries x of shape `(…, W)`.
        bank: Keys, of which there is at least one.
        projection: Linear layers, for `(W_q x + b_q)·(W_k k)` in place of `x·k`.
        quantile: Similarity dropout: leaves out the keys whose `x·k` is above this quantile of all keys.
        temperature: Temperature τ.

    Returns:
        Anomaly probabilities of shape `(…)`.
    """
    keys = torch.cat([bank.anomalous, bank.normal])
    projected = keys if projection is None else projection.key(keys)

    def run(part: Tensor) -> Tensor:
        sought = part if projection is None else projection.query(part)
        scores = (sought / temperature) @ projected.T
        if quantile is not None:
            cosines = part @ keys.T
            near = cosines > torch.quantile(cosines, quantile, dim=-1, keepdim=True)
            scores = scores.masked_fill(near, -torch.inf)
        return scores.softmax(dim=-1)[:, : len(bank.anomalous)].sum(dim=-1)

    flat = queries.flatten(0, -2)
    # A graph that is exported for any number of images has no parts of a size.
    parts = [flat] if torch.compiler.is_compiling() else torch.split(flat, max(1, AT_ONCE // len(keys)))
    if len(parts) > 1 and torch.is_grad_enabled():  # the similarities of a part are computed anew for its gradients
        found = [checkpoint(run, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    else:
        found = [run(part) for part in parts]
    return torch.cat(found).reshape(queries.shape[:-1])


def neighbourhood_means(tokens: Tensor, grid: int, *, count_padding: bool) -> Tensor:
    """Return for each patch the mean of the means over the squares of 1, 3 and 5 patches around it.

    Args:
        tokens: Tokens of patches of shape `(B, N, W)`, ordered row by row.
        grid: Number of patches along one side.
        count_padding: Whether squares that reach over the border are filled up with zeros.

    Returns:
        Means of shape `(B, N, W)`.
    """
    square = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, grid, grid)
    means = [
        F.avg_pool2d(square, side, stride=1, padding=side // 2, count_include_pad=count_padding) for side in (1, 3, 5)
    ]
    return torch.stack(means).mean(dim=0).flatten(2).transpose(1, 2)


def region_keys(tokens: Tensor, inside: Tensor) -> Tensor:
    """Return the unit mean tokens of regions, of images that have one.

    Args:
        tokens: Tokens of patches of shape `(B, N, W)`.
        inside: Which patches are in the region of each image, of shape `(B, N)`.

    Returns:
        Keys of shape `(n, W)` of the n images whose region is not empty, in order.
    """
    sums = (inside[:, None].to(tokens) @ tokens)[:, 0]  # as long as the mean is, once it is scaled
    return F.normalize(sums[inside.any(dim=1)], dim=-1)
