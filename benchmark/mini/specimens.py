"""Training images of the mini CLIP: pairs of a generated normal image and the same image with a defect."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.common import helpers
from benchmark.data import resize_mask
from benchmark.mini.defects import InvisibleError, damage, kinds_of
from benchmark.mini.families import FAMILIES

SIDES = (96, 176)  # pixels; those of the mini suite, so that sharpness is alike


@dataclass(frozen=True)
class Specimens:
    """n pairs of images. Row i of each array belongs to the same pair."""

    families: list[str]
    normal: npt.NDArray[np.uint8]
    """(n, S, S, 3)"""
    damaged: npt.NDArray[np.uint8]
    """(n, S, S, 3)"""
    masks: npt.NDArray[np.bool_]
    """Masks of the damaged images, of shape `(n, S, S)`."""


def draw(families: Sequence[str], each: int, *, size: int, purpose: str, workers: int = 2) -> Specimens:
    """Draw `each` specimens of every family, resized to (size, size) as the benchmark resizes images.

    Args:
        families: names in `FAMILIES`.
        each: specimens per family.
        size: side of the result in pixels.
        purpose: part of every seed, so that training and held-out specimens differ.
        workers: processes; they change no pixel.
    """
    names = [name for name in families for _ in range(each)]
    numbers = [index for _ in families for index in range(each)]
    with helpers(workers) as pool:
        drawn = list(pool.map(_draw, names, numbers, repeat(size), repeat(purpose), chunksize=16))
    normal, damaged, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    return Specimens(names, normal, damaged, masks)


def _draw(family: str, number: int, size: int, purpose: str) -> tuple[npt.NDArray[Any], ...]:
    seed = hashlib.sha256(f"{purpose}/{family}/{number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "little"))
    for _ in range(20):
        picture = FAMILIES[family](rng, int(rng.integers(*SIDES, endpoint=True)))
        try:
            pixels, mask = damage(rng, picture, str(rng.choice(kinds_of(family))))
        except InvisibleError:  # this kind does not show on this specimen: take another
            continue
        return _resize(picture.pixels, size), _resize(pixels, size), resize_mask(mask, size)
    raise InvisibleError(f"no kind of defect shows on specimens of {family!r}")


def _resize(pixels: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
