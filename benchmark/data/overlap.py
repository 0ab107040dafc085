"""Whether two datasets share an image, also where one of them has it in another format, size or compression."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
_SLACK = 1.0
"""Of a squared distance: more than what float32 loses of it."""
_PART = 1024
"""Thumbnails that are floats at a time."""


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
    return _alike(_Thumbnails.of(ours), _Thumbnails.of(theirs))


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


@dataclass(frozen=True)
class _Thumbnails:
    """The thumbnails of N images, of D pixels each."""

    paths: tuple[Path, ...]
    pixels: npt.NDArray[np.uint8]
    """(N, D)."""
    squares: npt.NDArray[np.float64]
    """The mean of the squares of their pixels (N,)."""

    @classmethod
    def of(cls, thumbs: Mapping[Path, bytes]) -> Self:
        pixels = np.frombuffer(b"".join(thumbs.values()), dtype=np.uint8).reshape(-1, THUMBNAIL**2)
        squares = [(pixels[part].astype(np.float64) ** 2).mean(axis=1) for part in _parts(len(pixels))]
        return cls(tuple(thumbs), pixels, np.concatenate([np.empty(0), *squares]))

    def floats(self, part: slice) -> npt.NDArray[np.float32]:
        """Return some of the thumbnails as floats, which take four times the memory."""
        return self.pixels[part].astype(np.float32)

    def distances(self, row: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return the distances of a thumbnail (D,) from these (N,): root mean squares, in grey levels."""
        floats = row.astype(np.float32)
        products = np.concatenate(
            [np.empty(0, np.float32), *(self.floats(p) @ floats for p in _parts(len(self.paths)))]
        )
        squares = self.squares - 2 * products / len(row) + float((row.astype(np.float64) ** 2).mean())
        distances: npt.NDArray[np.float64] = np.sqrt(np.maximum(squares, 0))
        return distances

    def nearest(self, index: int) -> float:
        """Return the distance of one of them from the nearest other one that is no copy of it."""
        others = np.delete(self.distances(self.pixels[index]), index)
        return float(others[others > COPY].min(initial=np.inf))


def _parts(rows: int) -> Iterator[slice]:
    return (slice(start, start + _PART) for start in range(0, rows, _PART))


def _alike(ours: _Thumbnails, theirs: _Thumbnails) -> tuple[Path, Path] | None:
    """Return the first pair of thumbnails that are alike, in order, or None.

    Under one camera all images look alike. So a pair counts only if it is much nearer than each of the two is to the
    other images of its own dataset.
    """
    varied = np.array([row.std() >= FLAT for row in theirs.pixels], bool)
    nearest_of_others = functools.cache(theirs.nearest)  # under one camera all are asked for
    for index in _near(ours, theirs):
        if ours.pixels[index].std() < FLAT:
            continue
        distances = theirs.distances(ours.pixels[index])
        near = (distances <= ALIKE) & varied
        if not near.any():
            continue
        near &= distances <= ours.nearest(index) / 2
        for place in np.flatnonzero(near):
            if distances[place] <= nearest_of_others(int(place)) / 2:
                return ours.paths[index], theirs.paths[int(place)]
    return None


def _near(ours: _Thumbnails, theirs: _Thumbnails) -> Iterator[int]:
    """Yield in order the places of those of our thumbnails of which one of theirs may be within `ALIKE`.

    Many are compared with many at once, in float32, whose last digits `_SLACK` covers.
    """
    for part in _parts(len(ours.paths)):
        floats, found = ours.floats(part), np.zeros(len(ours.paths[part]), bool)
        for other in _parts(len(theirs.paths)):
            products = floats @ theirs.floats(other).T
            squares = ours.squares[part, None] + theirs.squares[other] - 2 * products / floats.shape[1]
            found |= (squares <= ALIKE**2 + _SLACK).any(axis=1)
        yield from (part.start + int(place) for place in np.flatnonzero(found))
