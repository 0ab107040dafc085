"""One image of the mini suite, and what makes those of a class: its looks, sizes and names of defects."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmark.mini.catalogue import CATALOGUE, Look

SUITE_SEED = 20260

Mode = Literal["RGB", "L", "RGBA", "P"]
Split = Literal["train", "test", "extra"]


@dataclass(frozen=True)
class Shot:
    """One image of the suite, with all that is needed to draw and to store it."""

    dataset: str
    class_name: str
    split: Split
    """`extra` files lie in the real datasets too, but are no samples."""
    index: int
    """Counts within class, split and defect."""
    family: str
    file: str
    """Relative to the suite's directory."""
    size: tuple[int, int]
    """Width and height in pixels."""
    defect: str = ""
    """The dataset's name of the defect; "" for normal images."""
    kinds: tuple[str, ...] = ()
    """What is done to the specimen, in this order."""
    mask: str | None = None
    """The file of the mask."""
    mode: Mode = "RGB"
    encoding: str | None = None
    """The file's format where its extension lies."""
    mask_value: int = 255
    mask_rgb: bool = False
    light: float = 1.0
    """The factor by which the whole image is brighter than drawn; what becomes white stays white."""


def digest(*parts: object) -> int:
    """Return a number that depends on the parts only, the same on every machine."""
    text = "/".join(map(str, (SUITE_SEED, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])


@dataclass(frozen=True)
class SuiteClass:
    """A class of a dataset, as a source of shots with square images; their sides are from `sides`."""

    dataset: str
    name: str
    look: Look
    sides: range

    def normal(self, index: int, file: str, split: Split = "test") -> Shot:
        """Return a shot of a normal specimen."""
        return Shot(self.dataset, self.name, split, index, self.look.family, file, self._size(split, "", index))

    def damaged(self, defect: str, index: int, file: str, mask: str | None = None, *, split: Split = "test") -> Shot:
        """Return a shot of a specimen with the named defect."""
        return Shot(
            self.dataset,
            self.name,
            split,
            index,
            self.look.family,
            file,
            self._size(split, defect, index),
            defect=defect,
            kinds=self.look.defects[defect],
            mask=mask,
        )

    def _size(self, split: str, defect: str, index: int) -> tuple[int, int]:
        side = self.sides[digest("size", self.dataset, self.name, split, defect, index) % len(self.sides)]
        return side, side


def classes(dataset: str, sides: range) -> Iterator[SuiteClass]:
    """Yield the classes of a dataset, by the name of its card."""
    for name, look in CATALOGUE[dataset].items():
        yield SuiteClass(dataset, name, look, sides)


def each(look: Look, count: int) -> Iterator[tuple[int, str, int]]:
    """Yield (running number, defect, index within the defect) for `count` images, defects taking turns."""
    names = list(look.defects)
    for i in range(count):
        yield i, names[i % len(names)], i // len(names)
