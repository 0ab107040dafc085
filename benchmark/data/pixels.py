"""What the pixels of a dataset's images and masks say against it: files that cannot be read, and what looks wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from benchmark.data.images import ImageError, orientation, read_image
from benchmark.data.layouts import Sample
from benchmark.data.masks import Mask, MaskRule, MaskSizeError, read_mask
from benchmark.data.samples import SampleSet
from benchmark.data.tree import Problem, relative

DARK = 16
"""An image whose pixels are all below this, of 0 to 255, is black to the eye and to a method."""
WHOLE = 0.95
"""A mask of which at least this share is anomalous marks no place."""
SPECKS = 24
"""Separate regions from which on a mask is more likely noisy than of so many defects."""


@dataclass(slots=True)
class Look:
    """What was seen of one image file and its mask."""

    problems: list[Problem] = field(default_factory=list)
    turned: str = ""
    """The image, where a tag turns it for display."""
    mask: str = ""
    """The mask of an anomalous image that could be read."""
    regions: int = 0
    """Number of its 8-connected anomalous regions."""
    framed: bool = False
    """Whether it is anomalous in most of the image and along most of its rim, as masks drawn black on white are."""


def look(data: SampleSet, samples: Sequence[Sample], normal_mask: Path | None = None) -> Look:
    """Read one image file and its mask.

    Args:
        data: the dataset.
        samples: those of the image: it, or its pieces.
        normal_mask: the mask of a normal image, which should be black.
    """
    seen = Look()
    image, mask = samples[0], next((s.mask for s in samples if s.mask), normal_mask)
    size = None
    try:
        photo = read_image(image.path, ranges=data.ranges)
    except ImageError as error:
        seen.problems.append(_unreadable(data, image, "unreadable-image", error))
    else:
        size = photo.size
        extrema = np.array(photo.getextrema())
        if (extrema[:, 0] == extrema[:, 1]).all():
            message = f"all its pixels have the same colour, {tuple(extrema[:, 0].tolist())}"
            seen.problems.append(Problem(image.photograph, "blank-image", message, fatal=False))
        elif extrema.max() < DARK:
            message = (
                f"nearly black: no value is above {extrema.max()} of 255; if it should not be, save it with 8 bits"
            )
            seen.problems.append(Problem(image.photograph, "dark-image", message, fatal=False))
        seen.turned = image.photograph if orientation(image.path) != 1 else ""
    if mask is None:
        return seen
    name = relative(mask, data.directory)
    try:
        pixels = read_mask(mask, MaskRule(data.layout.mask_threshold), size=size, photo=image.path)
    except ImageError as error:
        kind = "mask-size" if isinstance(error, MaskSizeError) else "unreadable-mask"
        seen.problems.append(Problem(name, kind, str(error).removeprefix(f"{mask}: "), fatal=True))
        return seen
    share = float(pixels.mean())
    if not any(s.label for s in samples):
        if share:
            message = (
                f"{share:.1%} of it is anomalous, but its image {image.photograph} counts as normal; correct the mask, "
                "or move the image to the anomalous ones"
            )
            seen.problems.append(Problem(name, "mask-of-normal", message, fatal=True))
        return seen
    if not share:
        above = "not 0" if (threshold := data.layout.mask_threshold) is None else f"above {threshold}"
        message = f"no pixel is {above}, but its image {image.photograph} counts as anomalous"
        seen.problems.append(Problem(name, "empty-mask", message, fatal=False))
    elif share >= WHOLE:
        message = f"{share:.0%} of it is anomalous; is it inverted? Anomalous pixels are bright, all others black"
        seen.problems.append(Problem(name, "whole-mask", message, fatal=False))
    seen.mask, seen.regions = name, count_regions(pixels)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    seen.framed = share > 0.5 and float(rim.mean()) > 0.9
    return seen


def over_all(looks: Sequence[Look]) -> Iterator[Problem]:
    """Yield what is wrong with many images of a dataset at once, as warnings."""
    if turned := [each.turned for each in looks if each.turned]:
        message = (
            f"{len(turned)} of {len(looks)} images are displayed turned, by an EXIF tag; methods see them as they "
            "are stored, on their side or head; save them upright, without the tag"
        )
        yield Problem(turned[0], "turned-images", message, fatal=False)
    masks = [each for each in looks if each.mask]
    if (framed := [each for each in masks if each.framed]) and len(framed) > len(masks) / 2:
        message = (
            f"{len(framed)} of {len(masks)} masks are anomalous all around and black inside; are they drawn black on "
            "white? Then invert them: anomalous pixels are bright"
        )
        yield Problem(framed[0].mask, "inverted-masks", message, fatal=False)
    if specked := [each for each in masks if each.regions >= SPECKS]:
        worst = max(specked, key=lambda each: each.regions)
        message = (
            f"has {worst.regions} separate regions; {len(specked)} of {len(masks)} masks have {SPECKS} or more (median "
            f"of all {median(each.regions for each in masks):g}); if these are specks of compression or resizing, the "
            "regions of AUPRO are wrong: save the masks in two values, as PNG"
        )
        yield Problem(worst.mask, "specks", message, fatal=False)


def count_regions(mask: Mask) -> int:
    """Return the number of 8-connected regions of a mask (H, W)."""
    from scipy.ndimage import label

    return int(label(mask, np.ones((3, 3)))[1])


def _unreadable(data: SampleSet, sample: Sample, kind: str, error: ImageError) -> Problem:
    message = str(error).removeprefix(f"{sample.path}: ")
    return Problem(relative(sample.path, data.directory), kind, message, fatal=True)
