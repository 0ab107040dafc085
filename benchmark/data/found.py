"""What is found while a layout is read, before images are cut into samples."""

from dataclasses import dataclass, field

from benchmark.data.cards import ClassCard, Split
from benchmark.data.tree import Problem, Tree


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image file before it is cut into pieces; label None means that the pixels of its mask decide."""

    file: str
    owner: ClassCard
    label: int | None
    defect: str
    split: Split
    mask: str | None


@dataclass
class Found:
    """What was found so far while a layout is read."""

    tree: Tree
    images: list[FoundImage] = field(default_factory=list)
    matched: set[str] = field(default_factory=set)
    """Image files of the dataset, including those that are left out because of a problem."""
    problems: list[Problem] = field(default_factory=list)
    templates: set[str] = field(default_factory=set)
    mask_folders: set[str] = field(default_factory=set)
    normal_masks: dict[str, str] = field(default_factory=dict)
    """The masks of normal images, which should be black, by image."""
    clashes: set[str] = field(default_factory=set)
    """Folders in the place of a kind of defect that say normal."""

    def report(self, path: str, kind: str, message: str, *, fatal: bool = True) -> None:
        """Add a problem of a file."""
        self.problems.append(Problem(path, kind, message, fatal))
