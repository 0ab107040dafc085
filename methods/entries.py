"""Entries of published checkpoints, which the importers of several methods read."""

from collections.abc import Mapping

import torch
from torch import Tensor


def numbered(state: Mapping[str, Tensor], start: str, end: str = "", *, least: int = 0) -> list[Tensor]:
    """Return the entries `{start}.0{end}`, `{start}.1{end}` and so on.

    Args:
        state: Tensors by name.
        start: What stands before the number and its point.
        end: What stands after the number.
        least: How many there are at least.

    Raises:
        KeyError: One of them is missing: there are fewer than `least`, or another one has a higher number.
    """
    beginning = f"{start}."
    inside = (key.removeprefix(beginning).removesuffix(end) for key in state if key.startswith(beginning))
    found = sum(number.isdigit() and f"{beginning}{number}{end}" in state for number in inside)
    return [state[f"{beginning}{i}{end}"] for i in range(max(least, found))]


def float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return learned tensors, which may have another precision, as contiguous float32.

    Args:
        tensors: The tensors by the names of the module that learned them.

    Raises:
        ValueError: One of them holds no floating-point numbers, so it was not learned by gradients.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"what would be {name} holds {kind} values, and learned ones are floating-point numbers")
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()}
