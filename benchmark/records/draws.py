"""How the mean over the classes moves from draw to draw of the test images, small enough for a record.

A move is the value under a draw minus the value on the images as they are. Moves are kept in steps of 1 / `STEPS`, an
int16 each, compressed, as text: about 2 kB for a metric.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from benchmark.common import Model
from benchmark.metrics import BOOTSTRAP_VERSION, REPLICATES

STEPS = 32_000
"""Steps in 1. A move lies in [-1, 1], so it fits into 16 bits."""
RESOLUTION = 1 / STEPS
"""Two moves that are in truth the same differ by at most this much when they are kept."""
LONGEST = 4096
"""Most characters of the moves of a metric; those that cannot be compressed have 2,700."""

FloatArray = npt.NDArray[np.float64]


def packed(moves: FloatArray) -> str:
    """Return moves (REPLICATES,) in [-1, 1] as text."""
    return base64.b64encode(zlib.compress(np.rint(STEPS * moves).astype("<i2").tobytes(), level=9)).decode()


def unpacked(text: str) -> FloatArray:
    """Return the moves (REPLICATES,) that a text holds, each a whole number of steps.

    Raises:
        ValueError: it holds none, or others than `packed` writes. No more is unpacked than moves can have.
    """
    unpacking, size = zlib.decompressobj(), 2 * REPLICATES
    try:
        content = unpacking.decompress(base64.b64decode(text, validate=True), size)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"no packed moves ({error})") from None
    if len(content) != size or not unpacking.eof or unpacking.unused_data:
        raise ValueError(f"not the moves under {REPLICATES} draws")
    steps = np.frombuffer(content, "<i2").astype(np.int64)
    if abs(steps).max() > STEPS:
        raise ValueError("a move is greater than 1")
    return steps / STEPS


def _checked(text: str) -> str:
    unpacked(text)
    return text


class Draws(Model):
    """How the mean over the classes of each main metric moves under draws of the test images."""

    version: int
    """Of the bootstrap. Only the draws of one version are the same, so that two methods can be compared by them."""
    moves: dict[str, Annotated[str, Field(max_length=LONGEST), AfterValidator(_checked)]]
    """By metric, packed; without those that are undefined in a class, or under a draw."""

    @classmethod
    def of(cls, moves: Mapping[str, FloatArray]) -> "Draws":
        """Return the moves of each metric, (REPLICATES,), under the draws of this version."""
        return cls(version=BOOTSTRAP_VERSION, moves={metric: packed(values) for metric, values in moves.items()})
