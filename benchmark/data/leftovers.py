"""The files of a dataset that are no samples and no masks, grouped so that a person sees what was not used."""

import posixpath
from collections import defaultdict
from collections.abc import Collection, Mapping

from benchmark.data.formats import WAYS_OUT, begins_like_an_image, is_image, kind_of
from benchmark.data.tree import Leftover, Tree

_LOOKED_AT = 1000
"""Most files whose first bytes are read to see whether they are images."""


def grouped(reasons: Mapping[str, str], *, loud: bool) -> list[Leftover]:
    """Return the files with the reasons why they are left out, those of one folder and reason together."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file, why in reasons.items():
        groups[posixpath.dirname(file), why].append(file)
    return [
        Leftover(files[0] if len(files) == 1 else f"{folder or '.'}/", tuple(files), why, loud)
        for (folder, why), files in groups.items()
    ]


def unread(tree: Tree) -> list[Leftover]:
    """Return the files that are not read because of what they are: other formats, videos, archives, tables."""
    loud = dict.fromkeys(tree.hidden, "hidden files are not read; rename those that you want")
    quiet: dict[str, str] = {}
    looked = 0
    for file, path in tree.files.items():
        kind = kind_of(file)
        if kind in ("undecoded", "packed", "video", "archive"):
            loud[file] = WAYS_OUT[kind]
        elif kind == "table":
            quiet[file] = WAYS_OUT[kind]
        elif kind == "other":
            looked += 1
            if looked <= _LOOKED_AT and begins_like_an_image(path):
                loud[file] = "the content is an image, but the name does not say so; give it its extension, as in a.png"
            else:
                quiet[file] = "not used"
    return grouped(loud, loud=True) + grouped(quiet, loud=False)


def not_of_the_layout(tree: Tree, used: Collection[str]) -> list[Leftover]:
    """Return the images that are there and that the layout of a card does not use."""
    unused = (file for file in tree.files if is_image(file) and file not in used)
    return grouped(dict.fromkeys(unused, "not part of this layout"), loud=False)
