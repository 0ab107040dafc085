"""Comparing with the golden numbers of tests/golden."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

Golden: TypeAlias = Callable[[str], dict[str, Tensor]]
"""Returns the golden arrays of a name."""


def named(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the arrays whose names start with a prefix, by what follows it."""
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def close(found: Tensor | None, expected: Tensor, within: float = 1e-5) -> None:
    """Require the same shape, and no difference above a number."""
    assert found is not None
    torch.testing.assert_close(found.detach(), expected, atol=within, rtol=0)
