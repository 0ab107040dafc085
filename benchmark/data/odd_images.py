"""What is odd about the images of a user's own: identical under both labels, turned by EXIF, blank or black."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.common import listed
from benchmark.data.contents import digests, remembered
from benchmark.data.images import ImageError, decode, orientation
from benchmark.data.layouts import Sample
from benchmark.data.ranges import DARK


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What can be told of an image without its dataset."""

    turned: bool
    """Whether an EXIF tag turns it for display."""
    blank: bool
    """Whether all its pixels have the same colour."""
    dark: bool
    """Whether it has 8 bits and is nearly black; that of deeper ones depends on the range of the dataset."""


def odd_images(samples: Sequence[Sample], title: str) -> list[str]:
    """Return what is odd about these images, in sentences; the files are read once and remembered."""
    keys = {s.path: s.key for s in samples}
    said = []
    known = digests(keys, title)
    sides: dict[str, dict[int, str]] = {}
    for s in samples:
        if digest := known[s.path]:
            sides.setdefault(digest, {}).setdefault(s.label, s.key)
    if both := [f"{pair[0]} and {pair[1]}" for pair in sides.values() if len(pair) == 2]:
        said.append(f"identical images are normal and anomalous: {listed(both, 3, 'more pairs')}")
    texts = remembered("image_facts", keys, _facts_as_text, f"looking at the images of {title}")
    facts = {keys[path]: ImageFacts(**json.loads(text)) for path, text in texts.items() if text}
    for what, odd in (
        ("that EXIF turns for display are read as they are stored, on their side or head", "turned"),
        ("of one colour all over", "blank"),
        ("that are nearly black", "dark"),
    ):
        if named := [key for key, each in facts.items() if getattr(each, odd)]:
            said.append(f"images {what}: {listed(named, 3)}")
    return said


def _facts_as_text(path: Path) -> str | None:
    """Return the facts of an image as JSON; None if it cannot be read."""
    try:
        image = decode(path)
    except (ImageError, OSError):
        return None
    if isinstance(image, Image.Image):
        low, high = np.array(image.convert("RGB").getextrema()).T
    else:
        low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    blank = bool((low == high).all())
    dark = isinstance(image, Image.Image) and not blank and bool(high.max() < DARK)
    return json.dumps(asdict(ImageFacts(orientation(path) != 1, blank, dark)))
