"""Images of one's own, given as files and folders: which there are, and under which names they are drawn."""

import itertools
import os
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from benchmark.common import safe_name
from benchmark.data import IMAGE_EXTENSIONS, inside, is_image, walk
from benchmark.errors import BenchError

PREDICTIONS = "predictions.json"
"""Lies in an output folder beside the drawings, and says that they are ours."""


class PredictError(BenchError):
    """Images cannot be had, or nothing can be written; the message names the path or option and the way out."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image to be scored."""

    path: Path
    """As it was given, or below the folder that was given."""
    overlay: str
    """Name of its drawing below the output folder, with forward slashes; no two are alike, whatever the case."""


def find_images(given: Sequence[Path], *, output: Path) -> tuple[list[Found], list[str]]:
    """Return the given images, and those below the given folders in natural order (2 before 10), each once.

    A file that is named counts whatever its suffix. Drawings of an earlier call, which lie in `output`, are left out.

    Returns:
        The images, and a line for each thing in a folder that could not be followed or listed.

    Raises:
        PredictError: a path does not exist, an image lies in `output`, or there is none.
    """
    paths: dict[str, Path] = {}
    problems: list[str] = []
    target, again = os.path.realpath(output), (output / PREDICTIONS).is_file()
    for path in given:
        if not os.access(path, os.F_OK):
            raise PredictError(f"{shown(path)}: there is no such file or folder, or it cannot be reached")
        images = [path]
        if path.is_dir():
            tree = walk(path)
            problems += [f"{shown(path / each.path)}: {each.message}" for each in tree.problems if each.fatal]
            images = [tree.files[key] for key in sorted(filter(is_image, tree.files), key=natural_key)]
        for image in images:
            if not inside(os.path.realpath(image), target):
                paths.setdefault(_absolute(image), image)
            elif not (again and path.is_dir()):
                raise PredictError(
                    f"{shown(image)} lies in --output {shown(output)}; choose another folder for the output"
                )
    if not paths:
        suffixes = ", ".join(sorted(IMAGE_EXTENSIONS))
        raise PredictError(f"no images ({suffixes}) in {', '.join(map(shown, given))}")
    roots = [_absolute(path if path.is_dir() else path.parent) for path in given]
    names = overlay_names([_below(path, roots) for path in paths])
    return [Found(path, name) for path, name in zip(paths.values(), names, strict=True)], problems


def prepare_output(output: Path, found: Sequence[Found]) -> None:
    """Make the output folder, and see to it that it can be written and that nothing of somebody else's is overwritten.

    Raises:
        PredictError: it cannot be written, or holds files in the place of drawings and no `predictions.json`.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise PredictError(f"--output {shown(output)}: {error.strerror or error}; choose another folder") from error
    if not (output / PREDICTIONS).exists():
        for each in found:
            if (output / each.overlay).exists():
                raise PredictError(
                    f"{shown(output / each.overlay)} is there and not from an earlier call (there is no {PREDICTIONS} "
                    "beside it); choose another --output"
                )


def natural_key(path: str) -> list[list[str | int]]:
    """Return by what a path is sorted, folder by folder: numbers count as numbers, case does not count."""
    return [
        [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", part.casefold())]
        for part in path.split("/")
    ]


def overlay_names(paths: Sequence[PurePath]) -> list[str]:
    """Return a name with forward slashes for the PNG of each relative path, safe on Windows too.

    The suffix gives way to .png; where that makes two alike (1.png, 1.jpg), the later ones keep theirs or get a number.
    """
    taken: set[str] = set()
    names = []
    for path in paths:
        folder = "".join(f"{safe_name(part)}/" for part in path.parts[:-1])
        stem, full = safe_name(path.stem), safe_name(path.name)
        stems = itertools.chain([stem, full], (f"{full}-{number}" for number in itertools.count(2)))
        candidates = (f"{folder}{stem}.png" for stem in stems)
        name = next(each for each in candidates if _folded(each) not in taken)
        taken.add(_folded(name))
        names.append(name)
    return names


def _below(path: str, roots: Sequence[str]) -> PurePath:
    """Return an absolute path as it counts from the deepest folder above all roots."""
    try:
        return PurePath(os.path.relpath(path, os.path.commonpath(roots)))
    except ValueError:  # on several drives
        return PurePath(*PurePath(path).parts[1:])


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def shown(text: Path | str) -> str:
    """Return a path, or a text that names one, so that it can be printed and written: names need not be Unicode."""
    return str(text).encode(errors="surrogateescape").decode(errors="replace")
