"""Defects: painting one on an image, and its exact mask.

A kind of defect repaints a part of a picture. The mask is then taken from the pixels: those of the foreground that
changed by more than `NOTICEABLE` in some channel, gaps of a pixel or two closed, specks dropped; and whatever changed
outside of the mask is put back. So outside of a mask nothing differs from the normal picture, and inside it everything
but a few enclosed pixels does.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import ndimage

from benchmark.mini.ailments import AILMENTS
from benchmark.mini.draw import Bools, Generator, Picture, Pixels
from benchmark.mini.families import FAMILIES
from benchmark.mini.painters import PAINTERS, Painter

NOTICEABLE = 0.05
"""A pixel has changed if some channel of it differs by more than this, on a scale of 0 to 1."""
CONTRAST = 0.11
"""The least mean difference (of the channel that differs most) over a mask for `damage` to accept it."""
MIN_PIXELS = 12
MIN_AREA, MAX_AREA = 0.003, 0.085
"""Shares of the picture that a defect may cover."""
MAX_AILMENT_AREA = 0.27
"""The same for medical kinds."""
_SPECK = 5
_TRIES = 60
_EIGHT = np.ones((3, 3), bool)

Damaged = tuple[Pixels, Bools]
"""Pixels (H, W, 3) and the mask (H, W) of what is wrong with them."""


class InvisibleError(RuntimeError):
    """No visible defect of this kind was found for this picture; names the kind."""


def _closed(mask: Bools) -> Bools:
    return np.asarray(mask | ndimage.binary_closing(mask, _EIGHT))


def _attempt(rng: Generator, picture: Picture, *, painter: Painter) -> Damaged:
    """Paint once and find out what changed; the mask may be empty."""
    before, foreground = picture.pixels, picture.foreground
    after = np.clip(painter(rng, picture), 0, 1)
    if (before == before[..., :1]).all():  # a grey picture stays grey
        after = np.repeat(after.mean(2, keepdims=True), 3, 2)
    after = after.astype(np.float32)
    changed = (np.abs(after - before).max(2) > NOTICEABLE) & foreground
    parts, _ = ndimage.label(_closed(changed) & foreground, _EIGHT)
    changed &= (np.bincount(parts.ravel()) >= _SPECK)[parts]
    mask = _closed(changed) & foreground
    return np.where(mask[..., None], after, before), mask


DEFECTS: dict[str, Callable[[Generator, Picture], Damaged]] = {
    kind: partial(_attempt, painter=painter) for kind, painter in {**PAINTERS, **AILMENTS}.items()
}
"""By kind: one attempt at a defect, which may turn out too faint, too small or too large; see `damage`."""

_AILMENT_OF = {
    "head_ct": "hemorrhage",
    "brain_mri": "tumour",
    "chest_xray": "opacity",
    "skin": "lesion",
    "colon": "polyp",
    "thyroid": "nodule",
    "liver_ct": "nodule",
    "retina_oct": "nodule",
}


def kinds_of(family: str) -> tuple[str, ...]:
    """Return the kinds of defects that suit a family: all industrial ones, or the one ailment of an organ."""
    if family not in FAMILIES:
        raise KeyError(f"{family!r} is no family of benchmark.mini.families.FAMILIES")
    return (_AILMENT_OF[family],) if family in _AILMENT_OF else tuple(PAINTERS)


def damage(rng: Generator, picture: Picture, kind: str) -> Damaged:
    """Return the picture with a visible defect, and its exact mask of at least `MIN_PIXELS` pixels.

    Raises:
        KeyError: there is no such kind.
        InvisibleError: after many tries none was visible and of a sensible size.
    """
    least = max(MIN_PIXELS, MIN_AREA * picture.foreground.size)
    most = (MAX_AILMENT_AREA if kind in AILMENTS else MAX_AREA) * picture.foreground.size
    for _ in range(_TRIES):
        pixels, mask = DEFECTS[kind](rng, picture)
        if least <= mask.sum() <= most and np.abs(pixels - picture.pixels).max(2)[mask].mean() >= CONTRAST:
            return pixels, mask
    raise InvisibleError(f"no visible {kind!r} in {_TRIES} tries; take another kind for this family")
