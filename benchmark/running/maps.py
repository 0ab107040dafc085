"""Maps of methods at the size at which they are compared with masks."""

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import adaptive_avg_pool2d

from benchmark.common import resizing_matrix
from benchmark.contract import LayerLogits, Prediction, TopOfMap

FloatArray = npt.NDArray[np.float32]
Maps: TypeAlias = torch.Tensor | LayerLogits
"""Maps as methods give them; B images come first."""


def values_of(maps: Maps) -> torch.Tensor:
    """Return the tensor that maps are made of."""
    return maps.differences if isinstance(maps, LayerLogits) else maps


def changed_maps(maps: Maps, change: Callable[[torch.Tensor], torch.Tensor]) -> Maps:
    """Return maps in which `change` has been applied to the tensor that they are made of."""
    return replace(maps, differences=change(maps.differences)) if isinstance(maps, LayerLogits) else change(maps)


def on_grid(maps: Maps, side: int) -> torch.Tensor:
    """Return maps of shape `(B, h, w)`, float32, before they are resized, in the memory of the host.

    Args:
        maps: of a method.
        side: of the grid of patches. Of larger maps each element is the mean of an area, so that they stay small.
    """
    found = _summed(maps.differences.cpu().double()).float() if isinstance(maps, LayerLogits) else maps.float().cpu()
    height, width = (min(each, side) for each in found.shape[1:])
    return found if found.shape[1:] == (height, width) else adaptive_avg_pool2d(found, (height, width))


def at_evaluation_size(
    prediction: Prediction, *, image_size: int, smoothing: float, evaluation_size: int | None = None
) -> tuple[list[float], FloatArray]:
    """Return the image scores of a prediction, with what `top` adds, and its maps as `maps_at_evaluation_size` does."""
    maps = maps_at_evaluation_size(
        prediction.maps, image_size=image_size, smoothing=smoothing, evaluation_size=evaluation_size
    )
    return with_top(prediction.scores.cpu().double().tolist(), maps, prediction.top), maps


def with_top(scores: Sequence[float], maps: FloatArray, top: TopOfMap | None) -> list[float]:
    """Return the scores of images with what the highest pixels of their maps (B, S, S) add to them."""
    if top is None:
        return list(scores)
    count = _pixels(top, maps.shape[-1])
    highest = [np.partition(each, -count, axis=None)[-count:] for each in maps]
    return [
        score + top.weight * float(pixels.mean(dtype=np.float64)) for score, pixels in zip(scores, highest, strict=True)
    ]


def exportable(
    prediction: Prediction, *, image_size: int, smoothing: float, evaluation_size: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `at_evaluation_size` does, as tensors of shape `(B,)` and `(B, S, S)`, by operations of torch alone.

    It works in the type of the maps, float32, and on all images of a batch at once, so that last digits differ.
    """
    side = evaluation_size or image_size
    maps = _at_size(prediction.maps, side, smoothing * (side / image_size))
    if prediction.top is None:
        return prediction.scores, maps
    highest = maps.flatten(1).topk(_pixels(prediction.top, side), dim=1, sorted=False).values
    return prediction.scores + prediction.top.weight * highest.mean(dim=1), maps


def _pixels(top: TopOfMap, side: int) -> int:
    """Return how many pixels of a map of S × S pixels a share of it is."""
    return max(1, math.floor(top.share * side**2))


def maps_at_evaluation_size(
    maps: Maps, *, image_size: int, smoothing: float, evaluation_size: int | None = None
) -> FloatArray:
    """Return maps (B, S, S) resized bilinearly from what a method gives, and then smoothed.

    Corners are not aligned unless `LayerLogits` say so. The Gaussian filter is the references': per image, reflecting
    border, cut at 4 standard deviations. The work is done on the device of the maps, image by image and layer by layer.

    Args:
        maps: of a method.
        image_size: side of the method's images, and of the maps without an evaluation size.
        smoothing: standard deviation of the filter in pixels of the image size. At another evaluation size the filter
            covers the same part of the image.
        evaluation_size: side S of the maps, where it is not the image size.
    """
    side = evaluation_size or image_size
    sigma = smoothing * (side / image_size)
    given = values_of(maps).detach()
    given = given.cpu() if given.device.type == "mps" else given  # it has no float64
    found = torch.empty((len(given), side, side), device=given.device)
    for one, target in zip(given, found, strict=True):  # one by one: what is in float64 stays small
        # In float64 scores that are tied stay tied when they are rounded at the end.
        exact = one.double()
        target.copy_(
            _at_size(replace(maps, differences=exact) if isinstance(maps, LayerLogits) else exact, side, sigma)
        )
    return _on_host(found).numpy()


def _at_size(maps: Maps, side: int, sigma: float) -> torch.Tensor:
    """Return maps (…, S, S) of maps (…, h, w), or of layers (…, L, h, w), in their type and memory."""
    if not isinstance(maps, LayerLogits):
        return _resized(maps, side, sigma=sigma)
    differences, aligned = maps.differences, maps.corners_aligned
    if not maps.softmax_last:  # sum and resizing are linear, so the sum may go first
        return _resized(_summed(differences), side, sigma=sigma, corners_aligned=aligned)
    layers = (_resized(layer, side, corners_aligned=aligned).sigmoid() for layer in differences.unbind(-3))
    return _resized(functools.reduce(torch.add, layers), side, sigma=sigma)


def _summed(differences: torch.Tensor) -> torch.Tensor:
    """Return the sum of the anomaly probabilities over the layers, which are the last dimension but two."""
    # The sigmoid of the difference keeps all digits near 0, which 1 - p of the normal text would not.
    return differences.sigmoid().sum(-3)


def _resized(values: torch.Tensor, side: int, *, sigma: float = 0.0, corners_aligned: bool = False) -> torch.Tensor:
    """Return maps (…, S, S) resized from (…, h, w) and smoothed."""
    device, dtype = values.device, values.dtype
    rows, columns = (
        resizing_matrix(old, side, sigma=sigma, device=device, dtype=dtype, corners_aligned=corners_aligned)
        if old != side or sigma > 0
        else None  # there is nothing to do
        for old in values.shape[-2:]
    )
    values = values if rows is None else rows @ values
    return values if columns is None else values @ columns.T


def beside(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a GPU does not wait for what it was given before, such as the next batch.

    What is read in it must be there: the caller has waited for it. Elsewhere than on CUDA the context does nothing.
    """
    return torch.cuda.stream(_second_stream(device)) if device.type == "cuda" else nullcontext()


@functools.cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    # Of a higher priority, so that small work goes before the rest of a batch.
    return torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]


def _on_host(values: torch.Tensor) -> torch.Tensor:
    """Return values in the memory of the host. The thread sleeps meanwhile, where `cpu` keeps a core busy."""
    if values.device.type != "cuda":
        return values.cpu()
    there = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    there.copy_(values, non_blocking=True)
    copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(values.device))
    copied.synchronize()
    return there
