"""The list of a dataset's files, with an order and a spelling that do not depend on the file system."""

import os
import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.common import printable
from benchmark.data.formats import extension, is_image, is_litter


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file: its path relative to the dataset's directory, a kind and an explanation."""

    path: str
    kind: str
    message: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files that are no samples and no masks, and why."""

    place: str
    """Their folder, with a slash at the end, or the one file."""
    files: tuple[str, ...]
    why: str
    loud: bool
    """Whether someone who runs methods must know, since the files may be images of the dataset."""

    @property
    def text(self) -> str:
        """The files and why they are left out, in a line."""
        return f"{self.place} ({_counted(self.files)}): {self.why}"


@dataclass(frozen=True)
class Tree:
    """The files below a directory, by relative path (forward slashes, Unicode's NFC), sorted."""

    directory: Path
    files: dict[str, Path]
    problems: tuple[Problem, ...]
    hidden: tuple[str, ...] = ()
    """Images whose names begin with a dot, which are in no other list."""

    @cached_property
    def images(self) -> dict[str, list[str]]:
        """The image files by path without extension; several files under one path differ in their extension."""
        images: dict[str, list[str]] = {}
        for path in self.files:
            if is_image(path):
                images.setdefault(stem(path), []).append(path)
        return images

    def find(self, path: str) -> str | None:
        """Return the file with this path, or else the one that differs in nothing but case."""
        if path in self.files:
            return path
        twins = (
            f for f in self.images.get(stem(path), ()) if f.lower() == f"{stem(f)}{path[len(stem(path)) :]}".lower()
        )
        if (twin := next(twins, None)) is not None:
            return twin
        alike = self._alike.get(path.casefold(), ())
        return alike[0] if len(alike) == 1 else None

    def named(self, path: str) -> list[str]:
        """Return the image files with this path without extension; folders are compared in the form of `plain`."""
        return self.images.get(path) or self._below_alike.get(_below_alike(path), [])

    def folder(self, path: str) -> str:
        """Return the folder that is spelled like this, or but for its case, if there is just one; else the path."""
        if not path or any(file.startswith(f"{path}/") for file in self.files):
            return path
        size = path.count("/") + 1
        tops = {"/".join(parts[:size]) for file in self.files if len(parts := file.split("/")) > size}
        alike = [top for top in tops if top.casefold() == path.casefold()]
        return alike[0] if len(alike) == 1 else path

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        alike: dict[str, list[str]] = defaultdict(list)
        for path in self.files:
            alike[path.casefold()].append(path)
        return dict(alike)

    @cached_property
    def _below_alike(self) -> dict[str, list[str]]:
        alike: dict[str, list[str]] = defaultdict(list)
        for path, files in self.images.items():
            alike[_below_alike(path)] += files
        return dict(alike)


def walk(directory: Path, *, follow_links: bool = False) -> Tree:
    """List the files below a directory, without hidden ones and leavings of systems.

    Args:
        directory: is listed, with the folders below it.
        follow_links: whether links that lead out of the directory are followed; else they are problems.
    """
    real = os.path.realpath(directory)
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    hidden: list[str] = []
    linked: set[str] = set()  # folders that were reached through a link
    entered: set[str] = set()  # real folders outside of the directory
    nowhere: dict[str, list[Path]] = defaultdict(list)  # links whose targets are not there, by folder
    left: dict[tuple[str, bool], list[Path]] = defaultdict(list)  # links that are not followed, by folder

    def unreadable(error: OSError) -> None:
        path = relative(Path(error.filename), directory)
        problems.append(Problem(path, "unreadable-folder", f"cannot be listed: {error.strerror}", fatal=True))

    def stays(path: Path, *, fatal: bool) -> bool:
        if follow_links or not path.is_symlink() or inside(os.path.realpath(path), real):
            return True
        left[relative(path.parent, directory), fatal].append(path)
        return False

    def enter(path: Path, folder: str) -> bool:
        if is_litter(path.name) or not stays(path, fatal=True):
            return False
        target = os.path.realpath(path)
        if not inside(target, real):
            if target in entered or inside(real, target):
                return False  # it was listed already, or lies above: following might never end
            entered.add(target)
            return True
        link = path.is_symlink()
        if link and (folder in linked or inside(os.path.realpath(folder), target)):
            return False  # a link below a link, or to a folder above it: following might never end
        if link or folder in linked:
            linked.add(str(path))
        return True

    for folder, subfolders, names in os.walk(directory, followlinks=True, onerror=unreadable):
        subfolders[:] = [name for name in sorted(subfolders) if enter(Path(folder, name), folder)]
        for path in (Path(folder, name) for name in sorted(names)):
            if is_litter(path.name):
                if is_image(path.name) and not path.name.startswith("._"):  # macOS's shadows of files
                    hidden.append(relative(path, directory))
            elif follow_links and path.is_symlink() and not path.exists():
                nowhere[relative(path.parent, directory)].append(path)
            elif stays(path, fatal=is_image(path.name)):
                key = relative(path, directory)
                if files.setdefault(key, path) != path:
                    message = "two files whose names differ only in Unicode's normal form; delete one"
                    problems.append(Problem(key, "same-name", message, fatal=True))
    problems += [_not_followed(links, directory, fatal=fatal) for (_, fatal), links in left.items()]
    problems += [_leads_nowhere(links, directory) for links in nowhere.values()]
    return Tree(directory, dict(sorted(files.items())), tuple(problems), tuple(sorted(hidden)))


def _not_followed(links: Sequence[Path], directory: Path, *, fatal: bool) -> Problem:
    """Return the problem of the links in a folder that lead out of the directory."""
    first = links[0]
    target = printable(os.path.realpath(first)) + ("" if first.exists() else ", which is not there")
    many = "a link that leads" if len(links) == 1 else f"{len(links)} links that lead"
    message = f"{many} out of this folder, to {target}; "
    if any(link.exists() for link in links):
        message += "not followed: say --follow-links, or copy what is there"
    else:
        message += "correct or delete it" if len(links) == 1 else "correct or delete them"
    return Problem(relative(first, directory), "outside-root", message, fatal)


def _leads_nowhere(links: Sequence[Path], directory: Path) -> Problem:
    """Return the problem of the links in a folder whose targets are not there."""
    more = f", and {len(links) - 1} more links beside it lead nowhere" if len(links) > 1 else ""
    message = f"a link to {printable(os.path.realpath(links[0]))}, which is not there{more}; correct or delete it"
    return Problem(relative(links[0], directory), "broken-link", message, fatal=True)


def relative(path: Path, directory: Path) -> str:
    """Return the path relative to the directory, with forward slashes, in Unicode's NFC (macOS writes NFD).

    Bytes that are no text become `\\xff`, so that the path can be written into a record.
    """
    text, top = str(path), os.path.join(directory, "")  # noqa: PTH118 (a slash at its end)
    inner = text.removeprefix(top)
    if inner in ("", text) or ".." in inner:  # else the paths need not be made absolute, which takes most of the time
        inner = os.path.relpath(path, directory)
    plain_text = os.fsencode(inner.replace(os.sep, "/")).decode(errors="backslashreplace")
    return unicodedata.normalize("NFC", plain_text)


def counted_from(path: str, root: str) -> str:
    """Return a path relative to a folder `root`, where both are relative to the directory; "" is the directory."""
    prefix = f"{root}/" if root else ""
    return path[len(prefix) :] if path.startswith(prefix) else posixpath.relpath(path, root)


def inside(path: str, directory: str) -> bool:
    """Return whether a real path is the real directory or lies below it."""
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def _counted(files: Sequence[str]) -> str:
    """Return the number of files by extension, as in `2 .heic, 1 .psd`."""
    counts = Counter(extension(file) or "without extension" for file in files)
    return ", ".join(f"{n} {each}" for each, n in sorted(counts.items()))


def stem(path: str) -> str:
    """Return the path without its extension."""
    return posixpath.splitext(path)[0]


def _below_alike(path: str) -> str:
    """Return a path whose folders are in the form in which they are compared."""
    *folders, name = path.split("/")
    return "/".join((*map(plain, folders), name))


def subfolders(directory: Path) -> list[Path]:
    """Return the folders of a directory that are not hidden, sorted; none if it cannot be listed."""
    try:
        return sorted(p for p in directory.iterdir() if not is_litter(p.name) and p.is_dir())
    except OSError:
        return []


def plain(name: str) -> str:
    """Return a folder's name for comparison: in lower case, without blanks, `-` and `_`."""
    return unicodedata.normalize("NFC", name).casefold().translate(str.maketrans("", "", " -_"))
