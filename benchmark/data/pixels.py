"""The check of an image file and its mask: whether they can be read, and what looks wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.data.images import ImageError, has_more_frames, orientation, read_image
from benchmark.data.layouts import Sample
from benchmark.data.masks import MaskRule, MaskSizeError, read_mask, shades_of_grey
from benchmark.data.ranges import DARK
from benchmark.data.samples import SampleSet
from benchmark.data.suspicions import Marked, MaskFacts, suspicions
from benchmark.data.tree import Problem, relative

GREY = 0.1
"""A file with a larger share of grey pixels, and half as many as are anomalous, is hardly a mask with smooth edges."""


@dataclass(slots=True)
class Look:
    """What was seen of one image file and its mask."""

    image: str
    problems: list[Problem] = field(default_factory=list)
    turned: bool = False
    """Whether an EXIF tag turns the image for display."""
    more_frames: bool = False
    """Whether the file holds more pages or frames than the one that is read."""
    marked: Marked | None = None
    """The mask, if there is one that could be read."""


def look(data: SampleSet, samples: Sequence[Sample], normal_mask: Path | None = None) -> Look:
    """Read one image file and its mask.

    Args:
        data: the dataset.
        samples: those of the image: it, or its pieces.
        normal_mask: the mask of a normal image, which should be black.
    """
    image, mask = samples[0], next((s.mask for s in samples if s.mask), normal_mask)
    seen = Look(image.photograph)

    def report(path: Path, kind: str, message: str, *, fatal: bool) -> None:
        seen.problems.append(Problem(relative(path, data.directory), kind, message.removeprefix(f"{path}: "), fatal))

    size = None
    try:
        photo = read_image(image.path, ranges=data.ranges)
    except ImageError as error:
        report(image.path, "unreadable-image", str(error), fatal=True)
    else:
        size = photo.size
        low, high = np.array(photo.getextrema()).T
        if (low == high).all():
            report(
                image.path, "blank-image", f"all its pixels have the same colour, {tuple(low.tolist())}", fatal=False
            )
        elif high.max() < DARK:
            message = f"nearly black: no value is above {high.max()} of 255; if it should not be, save it with 8 bits"
            report(image.path, "dark-image", message, fatal=False)
        seen.turned, seen.more_frames = orientation(image.path) != 1, has_more_frames(image.path)
    if mask is None:
        return seen
    label = max(s.label for s in samples)
    if has_more_frames(mask):
        message = "holds several pages or frames, and the first alone is read; save the whole mask as one page"
        report(mask, "mask-frames", message, fatal=False)
    try:
        # That of a normal image is not used, so its size breaks nothing.
        wanted = (size, image.path) if label else (None, None)
        pixels = read_mask(mask, MaskRule(data.layout.mask_threshold), size=wanted[0], photo=wanted[1])
    except ImageError as error:
        kind = "mask-size" if isinstance(error, MaskSizeError) else "unreadable-mask"
        report(mask, kind, str(error), fatal=bool(label))
    else:
        facts = MaskFacts.of(pixels)
        if not label and size and sorted(pixels.shape) != sorted(size):
            message = (
                f"is {pixels.shape[1]}x{pixels.shape[0]} px, its normal image {size[0]}x{size[1]} px; it is not used"
            )
            report(mask, "mask-size", message, fatal=False)
        if (grey := shades_of_grey(mask)) > max(GREY, facts.share / 2):
            message = (
                f"{grey:.0%} of it are shades of grey, neither black nor white; is it a photograph or a map of scores? "
                "Save masks in two values, 0 and 255"
            )
            report(mask, "grey-mask", message, fatal=False)
        seen.marked = Marked(relative(mask, data.directory), seen.image, label, facts)
    return seen


def over_all(looks: Sequence[Look], threshold: int | None) -> Iterator[Problem]:
    """Yield the problems of all files, and what is wrong with many of them at once.

    Args:
        looks: What was seen of each file.
        threshold: That of the layout's masks.
    """
    for each in looks:
        yield from each.problems
    yield from suspicions([each.marked for each in looks if each.marked], threshold)
    if turned := [each.image for each in looks if each.turned]:
        message = (
            f"{len(turned)} of {len(looks)} images are displayed turned, by an EXIF tag; methods see them as they are "
            "stored, on their side or head; save them upright, without the tag"
        )
        yield Problem(turned[0], "turned-images", message, fatal=False)
    if more := [each.image for each in looks if each.more_frames]:
        message = (
            f"{len(more)} of {len(looks)} images hold several pages or frames, and the first alone is read; save those "
            "that you want as files of their own"
        )
        yield Problem(more[0], "several-frames", message, fatal=False)
