"""The seeds that a method is run with, and those of what is drawn in a training."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from benchmark.contract import Method


def draw_seed(*parts: str | int) -> int:
    """Return a seed of 63 bits that is made of names and numbers, and depends on nothing else."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8]) >> 1


def seeds_of(method: type[Method], options: Any, seeds: Sequence[int]) -> Sequence[int]:
    """Return those of the seeds asked for that a method is trained and run with: 0 alone, where none changes a number.

    The seed also draws the normal images that a method is shown.
    """
    return seeds if method.stochastic or method.shots(options) else (0,)
