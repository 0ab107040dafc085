"""Maps of methods at the size at which they are compared with masks."""

import functools
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch

from benchmark.common import resizing_matrix
from benchmark.contract import Prediction

FloatArray = npt.NDArray[np.float32]


def at_evaluation_size(
    prediction: Prediction, *, image_size: int, smoothing: float, evaluation_size: int | None = None
) -> tuple[list[float], FloatArray]:
    """Return the image scores of a prediction, and its maps as `maps_at_evaluation_size` does."""
    maps = maps_at_evaluation_size(
        prediction.maps, image_size=image_size, smoothing=smoothing, evaluation_size=evaluation_size
    )
    return prediction.scores.cpu().double().tolist(), maps


def maps_at_evaluation_size(
    maps: torch.Tensor, *, image_size: int, smoothing: float, evaluation_size: int | None = None
) -> FloatArray:
    """Return maps (B, S, S) resized bilinearly (corners not aligned) from (B, h, w) and then smoothed.

    The Gaussian filter is the references': per image, reflecting border, cut at 4 standard deviations. The work is done
    on the device of the maps.

    Args:
        maps: of a method.
        image_size: side of the method's images, and of the maps without an evaluation size.
        smoothing: standard deviation of the filter in pixels of the image size. At another evaluation size the filter
            covers the same part of the image.
        evaluation_size: side S of the maps, where it is not the image size.
    """
    side = evaluation_size or image_size
    # In float64 scores that are tied stay tied when they are rounded at the end. MPS has no float64.
    exact = maps.detach().cpu().double() if maps.device.type == "mps" else maps.detach().double()
    sigma = smoothing * (side / image_size)
    rows, columns = (
        resizing_matrix(old, side, sigma=sigma, device=exact.device, dtype=exact.dtype) for old in exact.shape[1:]
    )
    resized = torch.empty((len(exact), side, side), device=exact.device)
    for one, target in zip(rows @ exact, resized, strict=True):  # one by one: what is in float64 stays small
        target.copy_(one @ columns.T)
    return _on_host(resized).numpy()


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
