"""Paths in lists of samples, as people's machines have written them."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

from benchmark.data.tree import Tree, plain

_START = re.compile(r"(?:file:|~|[A-Za-z]:)?/+|[A-Za-z]:")
"""How an absolute path begins: with a slash, a drive, a home, the name of a server, or as an address of a file."""
_MOST = 32
"""Folders of a path that may be another machine's."""


def find_listed(path: str, prefix: str, tree: Tree) -> tuple[str | None, bool]:
    """Return the file below a folder of a tree that a listed path means, or None, and whether it is written so.

    A path with backslashes, with a drive, from the root of another machine, or with a folder before it in which the
    dataset lay, means the file with its end; one without extension, the only image of that name. Quotes around it do
    not count. Only the list of the tree is searched; no other file is opened.

    Args:
        path: As it stands in the list.
        prefix: The folder from which the paths of the list count, with a slash at its end, or "".
        tree: The files of the dataset.
    """
    if (exact := prefix + path) in tree.files:  # as nearly all are, of lists that may be long
        return exact, True
    written = PurePosixPath(unicodedata.normalize("NFC", path)).as_posix()
    found = ((_find(tree, prefix + each), each == written) for each in _meanings(path, prefix, tree))
    return next((each for each in found if each[0]), (None, True))


def _find(tree: Tree, path: str) -> str | None:
    found = tree.find(path)
    twins = tree.images.get(path, ())
    return twins[0] if found is None and len(twins) == 1 else found


def leads_out(path: str) -> bool:
    """Return whether a listed path is absolute, or goes up."""
    unix = path.replace("\\", "/")
    return bool(_START.match(unix)) or ".." in PurePosixPath(unix).parts


def _meanings(path: str, prefix: str, tree: Tree) -> Iterator[str]:
    """Yield the relative paths that a listed path may mean, likeliest first."""
    own = plain(PurePosixPath(prefix).name or tree.directory.resolve().name)
    spellings = (path, path.replace("\\", "/"), path.replace("\\", "/").strip("'\" "))
    for text in dict.fromkeys(unicodedata.normalize("NFC", each) for each in spellings):
        if start := _START.match(text):
            parts = PurePosixPath(text[start.end() :]).parts[-_MOST:]
            ends = range(len(parts))
        else:
            parts = PurePosixPath(text).parts
            ends = range(max(len(parts) - 1, 1 + (len(parts) > 1 and plain(parts[0]) == own)))
        if ".." not in parts:
            yield from ("/".join(parts[end:]) for end in ends)
