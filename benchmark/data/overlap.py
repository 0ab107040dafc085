"""Whether two datasets share an image, also where one of them has it in another format, size or compression."""

import functools
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


COPY = 0.5
"""Grey levels. Thumbnails that are nearer are copies, of which some datasets hold many."""


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
    """Return the first pair of thumbnails that are alike, in order, or None.

    Under one camera all images look alike. So a pair counts only if it is much nearer than each of the two is to the
    other images of its own dataset.
    """
    varied = theirs.std(axis=1) >= FLAT
    nearest_of_others = functools.cache(lambda place: _nearest(theirs, place))  # under one camera all are asked for
    for index, path in enumerate(paths):
        if ours[index].std() < FLAT:
            continue
        distances = _distances(ours[index], theirs)
        near = (distances <= ALIKE) & varied
        if not near.any():
            continue
        near &= distances <= _nearest(ours, index) / 2
        for place in np.flatnonzero(near):
            if distances[place] <= nearest_of_others(int(place)) / 2:
                return path, others[int(place)]
    return None


def _distances(row: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the distances of a thumbnail (D,) from others (N, D): root mean squares, in grey levels."""
    squares = (rows.astype(np.float64) ** 2).mean(axis=1) - 2 * (rows @ row) / len(row)
    distances: npt.NDArray[np.float64] = np.sqrt(np.maximum(squares + float((row.astype(np.float64) ** 2).mean()), 0))
    return distances


def _nearest(rows: npt.NDArray[np.float32], index: int) -> float:
    """Return the distance of a thumbnail from the nearest other one of its dataset that is no copy of it."""
    others = _distances(rows[index], np.delete(rows, index, axis=0))
    return float(others[others > COPY].min(initial=np.inf))
