"""States of metrics that come from elsewhere: what does not go together is refused before anything is made of it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Keys = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.uint32]]

_FORMS = {
    "settings": "i",
    "range": "f",
    "keys": "u",
    "counts": "f",
    "positive_keys": "u",
    "positive_counts": "f",
    "positive_weights": "f",
}


def check_state(state: Mapping[str, Array], keys_of: Keys) -> tuple[int, int, int, int]:
    """Refuse arrays that no `PixelMetrics` has as its state.

    Args:
        state: the arrays.
        keys_of: gives the keys of scores, in their order.

    Returns:
        Its settings: version of the metrics, greatest number of bins, shift and number of regions.

    Raises:
        ValueError: says which array is wrong and how.
    """
    for name, kind in _FORMS.items():
        array = state.get(name)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind != kind:
            raise ValueError(f"state: {name} is {getattr(array, 'dtype', 'missing')}, not a list of its kind")
    settings, keys, counts = state["settings"], state["keys"], state["counts"]
    if settings.shape != (4,) or settings.min() < 0 or settings[2] > 31:
        raise ValueError(f"state: the settings are {settings.tolist()}")
    _check_side(keys, (counts,), "counts")
    positive_keys, positive_counts = state["positive_keys"], state["positive_counts"]
    _check_side(positive_keys, (positive_counts, state["positive_weights"]), "positive")
    if len(keys) > settings[1] or bool(len(positive_keys)) != bool(settings[3]):
        raise ValueError(f"state: {len(keys)} bins and {settings[3]} regions do not go together with the settings")
    rows = np.searchsorted(keys, positive_keys)
    if (rows >= len(keys)).any() or (keys[rows] != positive_keys).any() or (counts[rows] < positive_counts).any():
        raise ValueError("state: positive pixels that are not among the pixels")
    version, max_bins, shift, regions = settings.tolist()
    _check_range(state["range"], keys, shift, keys_of)
    return version, max_bins, shift, regions


def _check_side(keys: Array, columns: tuple[Array, ...], name: str) -> None:
    if keys.dtype != np.uint32 or (keys[1:] <= keys[:-1]).any():
        raise ValueError(f"state: keys of {name} do not ascend")
    for column in columns:
        if column.shape != keys.shape or not np.isfinite(column).all() or (column <= 0).any():
            raise ValueError(f"state: {name} has {len(keys)} keys, but not as many positive numbers")


def _check_range(limits: Array, keys: Array, shift: int, keys_of: Keys) -> None:
    """Refuse a range of scores that is not that of the keys."""
    if limits.shape == (2,) and not len(keys) and limits[0] == np.inf and limits[1] == -np.inf:
        return
    if limits.shape != (2,) or not len(keys) or not (np.abs(limits) <= 2.0**100).all():
        raise ValueError(f"state: the range of the scores is {limits.tolist()}")
    ends = keys_of(limits.astype(np.float32) + np.float32(0)) >> np.uint32(shift)
    if ends[0] != keys[0] or ends[1] != keys[-1]:
        raise ValueError(f"state: the range of the scores, {limits.tolist()}, is not that of the keys")
