"""A user's own images, given as files and folders: finding them, and naming the files of their drawings."""

import itertools
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from benchmark.common import printable, safe_name
from benchmark.data import inside, is_image, no_photos, unread, walk
from benchmark.errors import BenchError

PREDICTIONS = "predictions.json"
"""File in the folder of a method in the output. It shows that the other files there were written by this program."""
_SHOWN = 10


class PredictError(BenchError):
    """Raised if images cannot be found or results not written. The message names the path or option and what to do."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image to be scored."""

    path: Path
    """Path as given, or below a given folder."""
    drawing: str
    """Path of its drawings, PNG files, below the folder of their kind, with forward slashes. The paths differ even if
    case is ignored."""


def find_images(
    given: Sequence[Path], *, output: Path, follow_links: bool = False
) -> tuple[list[InputImage], list[str], list[str]]:
    """Return the given images and the images in the given folders, in natural order (2 before 10), each once.

    A given file is used whatever its suffix. Masks and drawings of earlier calls in a given folder are left out.

    Args:
        given: Files and folders.
        output: The output folder.
        follow_links: Whether links that lead out of a given folder are followed.

    Returns:
        The images; messages about folders that cannot be listed, links that are not followed, and files that may be
        images and are not read; and notes about what is left out, as masks are.

    Raises:
        PredictError: If a path does not exist, if an image is in `output`, or if there is no image.
    """
    paths: dict[str, Path] = {}
    problems: list[str] = []
    notes: list[str] = []
    target, again = os.path.realpath(output), _is_output(output)
    for path in given:
        if not os.access(path, os.F_OK):
            raise PredictError(f"{printable(path)}: there is no such file or folder, or it cannot be reached")
        images = [path]
        if path.is_dir():
            below, wrong, left_out = images_below(path, follow_links=follow_links)
            images, problems, notes = list(below.values()), problems + wrong, notes + left_out
        for image in images:
            if not inside(os.path.realpath(image), target):
                paths.setdefault(_absolute(image), image)
            elif not (again and path.is_dir()):
                raise PredictError(
                    f"{printable(image)} lies in --output {printable(output)}; choose another folder for the output"
                )
    if not paths:
        why = "".join(f"\n  {line}" for line in [*problems, *notes][:_SHOWN])
        raise PredictError(f"no images in {', '.join(map(printable, given))}, such as .png, .jpg or .tif{why}")
    roots = [_absolute(path if path.is_dir() else path.parent) for path in given]
    names = drawing_names([_below(path, roots) for path in paths])
    return [InputImage(path, name) for path, name in zip(paths.values(), names, strict=True)], problems, notes


def images_below(directory: Path, *, follow_links: bool) -> tuple[dict[str, Path], list[str], list[str]]:
    """Return the images below a folder by their paths in it, in natural order, but for masks and drawings.

    Args:
        directory: The folder.
        follow_links: Whether links that lead out of it are followed.

    Returns:
        The images; messages about folders that cannot be listed, links that are not followed, and files that may be
        images and are not read; and notes about what is left out, as masks are.
    """
    tree = walk(directory, follow_links=follow_links)
    problems = [f"{printable(directory / each.path)}: {each.message}" for each in tree.problems if each.fatal]
    problems += [f"{printable(directory)}/{printable(each.text)}" for each in unread(tree) if each.loud]
    others = no_photos(tree)
    notes = [
        f"{printable(directory)}/{printable(each.text)}; give these files themselves to score them" for each in others
    ]
    keys = set(filter(is_image, tree.files)).difference(*(each.files for each in others))
    return {key: tree.files[key] for key in sorted(keys, key=natural_key)}, problems, notes


def prepare_output(output: Path, folders: Sequence[Path]) -> None:
    """Create the output folder and check that it can be written without overwriting other files.

    Args:
        output: The output folder.
        folders: The folders below it in which the results of methods go.

    Raises:
        PredictError: A folder cannot be written, or one of `folders` holds files and no `predictions.json`.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            folder.mkdir(exist_ok=True)
            theirs = [each for each in folder.iterdir() if not each.name.startswith(".")]
            if theirs and not (folder / PREDICTIONS).exists():
                raise PredictError(
                    f"{printable(folder)} holds files that are not from an earlier call (there is no {PREDICTIONS} "
                    "among them); choose another --output"
                )
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise PredictError(f"--output {printable(output)}: {error.strerror or error}; choose another folder") from error


def natural_key(path: str) -> list[list[str | int]]:
    """Return the sort key of a path: folder by folder, numbers by value, ignoring case."""
    return [
        [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", part.casefold())]
        for part in path.split("/")
    ]


def drawing_names(paths: Sequence[PurePath]) -> list[str]:
    """Return the path of a PNG file for each relative path, with forward slashes and valid on Windows too.

    The suffix is replaced by .png. Of several paths that this makes equal (1.png, 1.jpg), the PNG file keeps its name,
    and the others keep their suffix before .png (1.jpg.png), some with a number.
    """
    folders = ["".join(f"{safe_name(part)}/" for part in path.parts[:-1]) for path in paths]
    plain = [_folded(f"{folder}{safe_name(path.stem)}.png") for folder, path in zip(folders, paths, strict=True)]
    shared = Counter(plain)
    own = {name for name, path in zip(plain, paths, strict=True) if path.suffix.casefold() == ".png"}
    taken: set[str] = set()
    names = []
    for folder, name, path in zip(folders, plain, paths, strict=True):
        stem, full = safe_name(path.stem), safe_name(path.name)
        numbered = (f"{full}-{number}" for number in itertools.count(2))
        keeps = shared[name] == 1 or path.suffix.casefold() == ".png" or name not in own
        stems = itertools.chain([stem] if keeps else [], [full], numbered)
        candidates = (f"{folder}{stem}.png" for stem in stems)
        names.append(next(each for each in candidates if _folded(each) not in taken))
        taken.add(_folded(names[-1]))
    return names


def _is_output(output: Path) -> bool:
    """Return whether a folder holds results of an earlier call."""
    return any(output.glob(f"*/{PREDICTIONS}"))


def _below(path: str, roots: Sequence[str]) -> PurePath:
    """Return an absolute path relative to the deepest folder that contains all roots."""
    try:
        return PurePath(os.path.relpath(path, os.path.commonpath(roots)))
    except ValueError:  # on several drives
        return PurePath(*PurePath(path).parts[1:])


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
