"""Whether two datasets share an image, also where one of them has it in another format, size or compression."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data.contents import THUMBNAIL, digests, thumbnails
from benchmark.data.images import ImageError, read_image
from benchmark.data.samples import SampleSet

ALIKE = 3.0
"""Grey levels, root mean square over the thumbnail. Copies in JPEG's quality 30 to 90 differ by up to 1.3, neighbouring
slices of one head by 4.6 and more."""
FLAT = 8.0
"""Grey levels. Thumbnails whose standard deviation is less, as those of fine textures, look alike without being so."""


def shared_image(one: SampleSet, other: SampleSet) -> tuple[Path, Path] | None:
    """Return a test image of each dataset such that both show the same, or None.

    They do if the files are identical, or if their decoded thumbnails (grey, 32x32) hardly differ. Files that cannot be
    read are like nothing.
    """
    (paths, known), (others, other_known) = (_contents(data) for data in (one, other))
    by_content = {digest: path for path, digest in zip(paths, known, strict=True)}
    for path, digest in zip(others, other_known, strict=True):
        if digest in by_content:
            return by_content[digest], path
    ours, theirs = (
        thumbnails(dict(zip(*each, strict=True)), _thumbnail, data.title)
        for each, data in (((paths, known), one), ((others, other_known), other))
    )
    return _alike(list(ours), _rows(list(ours.values())), list(theirs), _rows(list(theirs.values())))


def _contents(data: SampleSet) -> tuple[list[Path], list[str]]:
    found = digests((sample.path for sample in data.test), data.title)
    readable = {path: digest for path, digest in found.items() if digest}
    return list(readable), list(readable.values())


def _thumbnail(path: Path) -> bytes | None:
    try:
        grey = read_image(path).convert("L")
    except ImageError:
        return None
    return grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()


def _rows(thumbs: Sequence[bytes]) -> npt.NDArray[np.float32]:
    return np.frombuffer(b"".join(thumbs), dtype=np.uint8).reshape(-1, THUMBNAIL**2).astype(np.float32)


def _alike(
    paths: Sequence[Path], ours: npt.NDArray[np.float32], others: Sequence[Path], theirs: npt.NDArray[np.float32]
) -> tuple[Path, Path] | None:
    """Return the first pair of thumbnails that are alike, in order, or None."""
    varied = theirs.std(axis=1) >= FLAT
    squares = (theirs.astype(np.float64) ** 2).mean(axis=1)
    for path, row in zip(paths, ours, strict=True):
        if row.std() < FLAT:
            continue
        distances = squares - 2 * (theirs @ row) / len(row) + float((row.astype(np.float64) ** 2).mean())
        near = np.flatnonzero((distances <= ALIKE**2) & varied)
        if near.size:
            return path, others[int(near[0])]
    return None
