"""What is understood of the files of a plain folder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from benchmark.data.cards import Split
from benchmark.data.leftovers import grouped
from benchmark.data.plain.places import Meaning, Place
from benchmark.data.tree import Leftover, Problem

Owner = tuple[str, ...]
"""The folders that name a class; () where the directory holds one class."""


class UnclearError(ValueError):
    """The names of a folder can mean several things, or none. The message says what to type."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image of the dataset."""

    file: str
    owner: Owner
    label: int | None
    """0 normal, 1 anomalous; None where the pixels of the mask decide."""
    kind: str
    """The kind of defect; "" where no folder says it."""
    split: Split
    mask: str | None
    """Its mask, also where the image is normal."""
    side: str
    """The folder that says what it is."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the names of the image files and their folders say."""

    meaning: Meaning
    places: Mapping[str, Place]
    """What the folders of each file say."""
    masks: Mapping[str, Place]
    """The files in folders of masks."""
    near: Mapping[str, str]
    """The masks beside their images, with their images."""
    suffix: str
    """What follows an image's name in that of its mask; "" for the usual words."""


@dataclass
class Arrangement:
    """How the files were understood."""

    images: list[Found] = field(default_factory=list)
    left_out: list[Leftover] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    taken: str = ""
    """What was taken for what, in a sentence."""
    listed: str = ""
    """The file that lists the images and names their classes; "" where folders do."""

    def leave_out(self, files: Iterable[str], why: str | Mapping[str, str]) -> None:
        """Note images that are none of the dataset, and why: one reason for all, or one for each file."""
        reasons = dict.fromkeys(files, why) if isinstance(why, str) else {file: why[file] for file in files}
        self.left_out += grouped(reasons, loud=True)

    def report(self, path: str, kind: str, message: str, *, fatal: bool = True) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, kind, message, fatal))
