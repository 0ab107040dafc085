"""Whether images that were taken for anomalous photographs are masks by their content, whatever their folder's name."""

import posixpath
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.images import ImageError, decode
from benchmark.data.plain.arranged import Found
from benchmark.data.plain.asking import option
from benchmark.data.plain.pairing import companions
from benchmark.data.plain.places import TOP, Meaning
from benchmark.data.tree import Problem

_FOLDERS = 20
"""Most folders of which images are looked at."""
_FILES = 5
"""Most images of a folder that are looked at."""
_LEVELS = 16
"""Most grey levels of a mask, but for its smooth edges and the noise of compression."""
_EDGES = 0.03
"""Most of a mask that these may be, as a share of its pixels."""


def masks_among(found: Sequence[Found], meaning: Meaning, files: Mapping[str, Path]) -> Iterator[Problem]:
    """Yield folders of anomalous images that look like masks, while the normal images are photographs.

    Args:
        found: the images of the dataset.
        meaning: what the user says; folders that the user calls anomalous are not looked at.
        files: the path of each image.
    """
    after = {file: more for file, (_, more) in companions([each.file for each in found]).items()}
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    normal: list[Path] = []
    for each in found:
        if each.label == 0:
            normal.append(files[each.file])
        elif each.label == 1 and posixpath.dirname(each.file) not in meaning.abnormal:
            groups[posixpath.dirname(each.file), after.get(each.file, "")].append(files[each.file])
    masks = [group for group, images in [*groups.items()][:_FOLDERS] if look_like_masks(images)]
    if not masks or look_like_masks(normal):
        return
    sides = sorted({each.side or TOP for each in found if each.label == 1})
    for folder, more in masks:
        photos = option("abnormal", dict.fromkeys([*sides, folder or TOP]))
        place, way = f"{folder}/", f"--masks {shlex.quote(folder or TOP)}"
        if more:
            place, way = f"{folder}/*{more}", f"--mask-suffix {shlex.quote(more)}"
        message = (
            f"looks like masks, not photographs, but no name says so: say {way} if they are masks, "
            f"or {photos} if they are anomalous images"
        )
        yield Problem(place, "doubtful-kind", message, fatal=True)


def look_like_masks(images: Sequence[Path]) -> bool:
    """Return whether some of these images, evenly chosen, have two or few grey levels, of which one fills most.

    Images of one level alone say nothing; they may be masks of nothing. A file that cannot be read is no mask.
    """
    step = max(1, len(images) // _FILES)
    several = False
    for path in images[::step][:_FILES]:
        try:
            levels = _levels(path)
        except ImageError:
            return False
        shares = np.sort(levels / levels.sum())[::-1]
        if shares[0] < 0.5 or shares[_LEVELS:].sum() > _EDGES:
            return False
        several = several or shares[1] > 0
    return several


def _levels(path: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how many pixels an image has of each of 256 levels of grey."""
    values = decode(path)
    if isinstance(values, Image.Image):
        return np.asarray(values.convert("L").histogram())
    return np.histogram(values, 256)[0]
