"""The list of a dataset's files, with an order and a spelling that do not depend on the file system."""

import os
import posixpath
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
"""In lower case; the case of a file's extension does not matter."""
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Files that operating systems leave behind. They are skipped, as hidden files are (.DS_Store, ._x)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file: its path relative to the dataset's directory, a kind and an explanation."""

    path: str
    kind: str
    message: str
    fatal: bool


@dataclass(frozen=True)
class Tree:
    """The files below a directory, by relative path (forward slashes, Unicode's NFC), sorted."""

    directory: Path
    files: dict[str, Path]
    problems: tuple[Problem, ...]

    @cached_property
    def images(self) -> dict[str, list[str]]:
        """The image files by path without extension; several files under one path differ in their extension."""
        images: dict[str, list[str]] = {}
        for path in self.files:
            if is_image(path):
                images.setdefault(stem(path), []).append(path)
        return images

    def find(self, path: str) -> str | None:
        """Return the file with this path; the case of its extension does not matter."""
        if path in self.files:
            return path
        twins = (
            f for f in self.images.get(stem(path), ()) if f.lower() == f"{stem(f)}{path[len(stem(path)) :]}".lower()
        )
        return next(twins, None)


def walk(directory: Path) -> Tree:
    """List the files below a directory. Hidden files are skipped; links that lead out of the directory are problems."""
    real = os.path.realpath(directory)
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    linked: set[str] = set()  # folders that were reached through a link

    def unreadable(error: OSError) -> None:
        path = relative(Path(error.filename), directory)
        problems.append(Problem(path, "unreadable-folder", f"cannot be listed: {error.strerror}", fatal=True))

    def stays(path: Path, *, fatal: bool) -> bool:
        if not path.is_symlink() or inside(os.path.realpath(path), real):
            return True
        message = "a link that leads out of the dataset is not followed; copy its target, or give the real directory"
        problems.append(Problem(relative(path, directory), "outside-root", message, fatal=fatal))
        return False

    def enter(path: Path, folder: str) -> bool:
        if _hidden(path.name) or not stays(path, fatal=True):
            return False
        link = path.is_symlink()
        if link and (folder in linked or inside(os.path.realpath(folder), os.path.realpath(path))):
            return False  # a link below a link, or to a folder above it: following might never end
        if link or folder in linked:
            linked.add(str(path))
        return True

    for folder, subfolders, names in os.walk(directory, followlinks=True, onerror=unreadable):
        subfolders[:] = [name for name in sorted(subfolders) if enter(Path(folder, name), folder)]
        for path in (Path(folder, name) for name in sorted(names) if not _hidden(name)):
            if stays(path, fatal=is_image(path.name)):
                key = relative(path, directory)
                if files.setdefault(key, path) != path:
                    message = "two files whose names differ only in Unicode's normal form; delete one"
                    problems.append(Problem(key, "same-name", message, fatal=True))
    return Tree(directory, dict(sorted(files.items())), tuple(problems))


def relative(path: Path, directory: Path) -> str:
    """Return the path relative to the directory, with forward slashes, in Unicode's NFC (macOS writes NFD).

    Bytes that are no text become `\\xff`, so that the path can be written into a record.
    """
    text = os.fsencode(PurePath(os.path.relpath(path, directory)).as_posix()).decode(errors="backslashreplace")
    return unicodedata.normalize("NFC", text)


def inside(path: str, directory: str) -> bool:
    """Return whether a real path is the real directory or lies below it."""
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def stem(path: str) -> str:
    """Return the path without its extension."""
    return posixpath.splitext(path)[0]


def is_image(path: str) -> bool:
    """Return whether a file has the extension of an image."""
    return posixpath.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def subfolders(directory: Path) -> list[Path]:
    """Return the folders of a directory that are not hidden, sorted; none if it cannot be listed."""
    try:
        return sorted(p for p in directory.iterdir() if not _hidden(p.name) and p.is_dir())
    except OSError:
        return []


def plain(name: str) -> str:
    """Return a folder's name for comparison: in lower case, without blanks, `-` and `_`."""
    return unicodedata.normalize("NFC", name).casefold().translate(str.maketrans("", "", " -_"))


def printable(text: str) -> str:
    """Return text without control characters and undecodable bytes, which file names may hold."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _LITTER
