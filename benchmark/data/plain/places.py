"""What the folders above a file say of it, by their names and by what the user says they mean."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from benchmark.data.formats import is_image
from benchmark.data.plain.roles import Role, Share, role_of
from benchmark.data.tree import plain

PREDICTIONS = "predictions.json"
"""The file that `bench predict` writes beside its drawings, which are no images of a dataset."""
TOP = "."
"""As the name of a folder: the images at the top of the directory."""
NONE = "none"
"""As the name of a folder of masks: masks are not read."""


DRAWINGS = "drawings of bench predict"
"""Why the images of a folder are of no use that `bench predict` wrote."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders above a file say, from the outermost on."""

    before: tuple[str, ...] = ()
    """Names that say nothing, above the folder that says normal or anomalous: of a class, or of a kind of defect."""
    after: tuple[str, ...] = ()
    """Names that say nothing below that folder: of a kind of defect."""
    label: int | None = None
    """0 normal, 1 anomalous, None where no folder says so."""
    side: str = ""
    """The folder that says so."""
    mask: str = ""
    """The folder that says that the files are masks; "" for images."""
    split: Share = ""
    no_use: str = ""
    """Why the images are none of the dataset; "" where they may be."""
    clash: str = ""
    """Two folders of which one says normal and the other anomalous; "" where there are none."""
    paths: tuple[str, ...] = ()
    """The folder of each name in `before`."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that say nothing."""
        return (*self.before, *self.after)


@dataclass(frozen=True)
class Meaning:
    """What the names of folders mean: what the user says, else the usual words."""

    folders: frozenset[str]
    """All folders, by path relative to the directory."""
    files: frozenset[str] = frozenset()
    normal: frozenset[str] = frozenset()
    """Folders that the user calls normal."""
    abnormal: frozenset[str] = frozenset()
    masks: frozenset[str] = frozenset()
    no_masks: bool = False
    """Whether the user says that masks are not read."""
    _known: dict[str, Place] = field(default_factory=dict, compare=False)

    @cached_property
    def _plain(self) -> frozenset[str]:
        return frozenset(plain(posixpath.basename(folder)) for folder in self.folders)

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """The folders in each folder."""
        below: dict[str, list[str]] = defaultdict(list)
        for folder in self.folders:
            below[posixpath.dirname(folder)].append(folder)
        return dict(below)

    def _label(self, folder: str) -> int | None:
        role = role_of(posixpath.basename(folder), self._plain)
        return None if role is None or role.mask or role.no_kind else role.label

    def _is_collection(self, folder: str) -> bool:
        """Return whether a folder holds normal and anomalous images although its name says one, as `defect_data`."""
        labels = {self._label(each) for each in self._below.get(folder, ())} - {None, self._label(folder)}
        beside = (each for each in self._below[posixpath.dirname(folder)] if each != folder)
        if not labels or any(self._label(each) is not None for each in beside):
            return False
        return not any(posixpath.dirname(file) == folder and is_image(file) for file in self.files)

    def _is_drawn(self, folder: str) -> bool:
        """Return whether a folder is of `bench predict`: of a method, of several (`a+b`), or its output folder."""

        def of_a_method(path: str) -> bool:
            return f"{path}/{PREDICTIONS}" in self.files

        parts = posixpath.basename(folder).split("+")
        methods = [posixpath.join(posixpath.dirname(folder), part) for part in parts]
        return all(map(of_a_method, methods)) or any(map(of_a_method, self._below.get(folder, ())))

    def place(self, folder: str) -> Place:
        """Return what a folder and those above it say; "" is the directory itself.

        What a user says of the directory itself is of the images at its top, not of its folders.
        """
        if not folder:
            named = "" in self.normal or "" in self.abnormal
            return Place(label=int("" in self.abnormal), side=TOP) if named else Place()
        if folder not in self._known:
            above = self.place(posixpath.dirname(folder)) if "/" in folder else Place()
            self._known[folder] = self._enter(above, folder)
        return self._known[folder]

    def _enter(self, above: Place, folder: str) -> Place:
        name = posixpath.basename(folder)
        named = replace(above, no_use="")
        if folder in self.masks:
            return replace(named, mask=folder)
        if folder in self.normal or folder in self.abnormal:
            return _labelled(named, folder, int(folder in self.abnormal), kind=name if folder in self.abnormal else "")
        if above.no_use:
            return above
        if self._is_drawn(folder):
            return replace(above, no_use=DRAWINGS)
        role = role_of(name, self._plain)
        if role is None:
            return _named(above, name, folder)
        return self._by_role(above, folder, role)

    def _by_role(self, above: Place, folder: str, role: Role) -> Place:
        place = replace(above, split=role.split or above.split)
        name = posixpath.basename(folder)
        if role.mask:
            if self.masks:
                return replace(place, no_use="its name says masks, but --masks names others")
            place = replace(place, mask=above.mask or folder)
        elif role.no_kind:
            return replace(place, no_use="its name says that it holds no images to test")
        if role.rest:
            place = _named(place, role.rest, folder)
        if role.label is None:
            return place
        if not role.mask and self._is_collection(folder):
            return _named(above, name, folder)
        if (self.abnormal if role.label else self.normal) and above.label is None and not place.mask:
            word, option = ("anomalous", "--abnormal") if role.label else ("normal", "--normal")
            return replace(place, no_use=f"its name says {word}, but {option} names others")
        return _labelled(place, folder, role.label, kind="")


def _named(place: Place, name: str, folder: str) -> Place:
    if place.label is None:
        return replace(place, before=(*place.before, name), paths=(*place.paths, folder))
    return replace(place, after=(*place.after, name))


def _labelled(place: Place, folder: str, label: int, *, kind: str) -> Place:
    if place.label is None:
        return replace(place, label=label, side=folder, after=(kind,) if kind else ())
    if place.label != label:
        return replace(place, clash=f"{place.side}/ and {folder}/")
    return replace(place, after=(*place.after, kind)) if kind else place


def match(given: Iterable[str], folders: Iterable[str]) -> dict[str, list[str]]:
    """Return the folders that each name given by a user means: a folder's name, the last parts of its path, or `.`.

    Case, blanks, `-` and `_` do not count where no folder has the very name.
    """
    known = list(folders)
    found: dict[str, list[str]] = {}
    for text in given:
        if text.strip("/\\") == TOP:
            found[text] = [""]
            continue
        wanted = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        exact = [folder for folder in known if folder.split("/")[-len(wanted) :] == wanted] if wanted else []
        loose = [plain(part) for part in wanted]
        found[text] = exact or [
            folder for folder in known if wanted and [*map(plain, folder.split("/")[-len(wanted) :])] == loose
        ]
    return found
