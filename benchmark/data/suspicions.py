"""What the masks of a dataset say against themselves: empty, whole, inverted, full of specks, or of normal images."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Self

import numpy as np

from benchmark.data.images import ImageError
from benchmark.data.masks import Mask, MaskRule, read_mask
from benchmark.data.tree import Problem

WHOLE = 0.95
"""A mask of which at least this share is anomalous marks no place."""
SPECKS = 24
"""Separate regions from which on a mask is more likely noisy than of so many defects."""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What can be told of a mask without its image."""

    share: float
    """The share of its pixels that are anomalous."""
    regions: int
    """Number of 8-connected anomalous regions."""
    rim: float
    """The share of the pixels along its sides that are anomalous."""

    @classmethod
    def of(cls, mask: Mask) -> Self:
        """Return the facts of a mask (H, W)."""
        from scipy.ndimage import label

        rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        return cls(float(mask.mean()), int(label(mask, np.ones((3, 3)))[1]), float(rim.mean()))

    @property
    def framed(self) -> bool:
        """Whether most of the mask and nearly all of its rim is anomalous, as if it were drawn black on white."""
        return 0.5 < self.share < WHOLE and self.rim > 0.9


@dataclass(frozen=True, slots=True)
class Marked:
    """A mask that could be read, with its image."""

    mask: str
    """Its path, relative to the dataset's directory."""
    image: str
    """The key of its image."""
    label: int
    """That of its image: 0 normal, 1 anomalous."""
    facts: MaskFacts


def facts_as_text(path: Path) -> str | None:
    """Return the facts of a mask that is read by what its file is, as JSON; None if it cannot be read."""
    try:
        return json.dumps(asdict(MaskFacts.of(read_mask(path, MaskRule(None)))))
    except ImageError:
        return None


def suspicions(marked: Sequence[Marked], threshold: int | None) -> Iterator[Problem]:
    """Yield what looks wrong with the masks of a dataset. A mask that contradicts its image's label is an error.

    Args:
        marked: The masks.
        threshold: That of the layout.
    """
    for each in marked:
        share = each.facts.share
        if not each.label:
            if share:
                way = (
                    "is it inverted?" if share >= WHOLE else "correct the mask, or move the image to the anomalous ones"
                )
                message = f"{share:.1%} of it is anomalous, but its image {each.image} counts as normal; {way}"
                yield Problem(each.mask, "mask-of-normal", message, fatal=True)
        elif not share:
            # Without a threshold, a mask of one dark level is empty too.
            above = "brighter than its background" if threshold is None else f"above {threshold}"
            message = f"no pixel is {above}, so it marks nothing, but its image {each.image} counts as anomalous"
            yield Problem(each.mask, "empty-mask", message, fatal=False)
        elif share >= WHOLE:
            message = f"{share:.0%} of it is anomalous; is it inverted? Anomalous pixels are bright, all others black"
            yield Problem(each.mask, "whole-mask", message, fatal=False)
    yield from _of_many([each for each in marked if each.label])


def _of_many(marked: Sequence[Marked]) -> Iterator[Problem]:
    framed = [each for each in marked if each.facts.framed]
    if len(framed) > len(marked) / 2:
        message = (
            f"{len(framed)} of {len(marked)} masks are anomalous all around and black inside; are they drawn black on "
            "white? Then invert them: anomalous pixels are bright"
        )
        yield Problem(framed[0].mask, "inverted-masks", message, fatal=False)
    if specked := [each for each in marked if each.facts.regions >= SPECKS]:
        worst = max(specked, key=lambda each: each.facts.regions)
        message = (
            f"has {worst.facts.regions} separate regions; {len(specked)} of {len(marked)} masks have {SPECKS} or more "
            f"(median of all {median(each.facts.regions for each in marked):g}); if these are specks of compression or "
            "resizing, the regions of AUPRO are wrong: save the masks in two values, as PNG"
        )
        yield Problem(worst.mask, "specks", message, fatal=False)
