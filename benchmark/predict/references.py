"""The normal images that k-shot methods are shown: which they are, and how many a method is shown of them."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.common import file_sha256, listed, printable
from benchmark.contract import Method
from benchmark.data import ImageError, PlainFolder, is_image, read_folder, read_image, walk
from benchmark.predict.own_images import PredictError, natural_key
from benchmark.predict.scorer import ReferencesUsed, Scorer

SEED = 0
"""Seed by which images are drawn, where there are more than a method is shown."""


def normal_images(directory: Path) -> dict[str, Path]:
    """Return the normal images of a folder by their paths below it: those that lie in the folder itself.

    Where none lies there, they are the normal ones of the folder, read as `bench run --folder` reads it: those that are
    there for training, else all.

    Raises:
        PredictError: There is no such folder, or there is no normal image in it.
        DatasetError: No image lies in the folder itself, and its folders do not say which are normal.
    """
    if not directory.is_dir():
        raise PredictError(f"--shots {printable(directory)}: there is no such folder")
    tree = walk(directory)
    paths = {key: tree.files[key] for key in filter(is_image, tree.files) if "/" not in key}
    if not paths:
        samples = read_folder(PlainFolder(directory=directory))
        normal = [sample for sample in samples.samples if sample.label == 0]
        training = [sample for sample in normal if sample.split == "train"]
        paths = {sample.key: sample.path for sample in training or normal}
    if not paths:
        raise PredictError(f"--shots {printable(directory)}: holds no normal images; name the folder that does")
    return {key: paths[key] for key in sorted(paths, key=natural_key)}


def with_shots(method: type[Method], options: Any, available: int, directory: Path) -> Any:
    """Return the options with the number of images that the method is shown; those of a zero-shot method as they are.

    That is the number that the options say, else the number of images that there are.

    Args:
        method: The method's class.
        options: Instance of its `Options`.
        available: Number of images that there are.
        directory: Folder of the images.



    Raises:
        PredictError: There are fewer images than the options say.
    """
    if (shots := method.shots(options)) > available:
        raise PredictError(
            f"--shots {printable(directory)}: {method.title} is to be shown {shots} images, and {available} are there; "
            "add images, or ask for fewer"
        )
    if shots or "shots" not in {field.name for field in dataclasses.fields(options)}:
        return options
    return dataclasses.replace(options, shots=available)


def draw_references(images: dict[str, Path], shots: int, directory: Path) -> tuple[ReferencesUsed, tuple[Path, ...]]:
    """Return `shots` of the images, drawn by a hash of their paths, described and as files.

    A draw of more images holds those of a draw of fewer.

    Raises:
        PredictError: One of them cannot be read.
    """
    drawn = sorted(images, key=lambda key: hashlib.sha256(f"{SEED} {key}".encode(errors="replace")).hexdigest())[:shots]
    chosen = {key: images[key] for key in sorted(drawn, key=natural_key)}
    try:
        for path in chosen.values():
            read_image(path)
        digests = {printable(key): file_sha256(path) for key, path in chosen.items()}
    except (ImageError, OSError) as error:
        raise PredictError(f"--shots {printable(directory)}: {error}") from error
    return ReferencesUsed(folder=str(printable(directory)), files=digests), tuple(chosen.values())


def note_on_references(paths: Sequence[Path], scorers: Sequence[Scorer]) -> str:
    """Return a sentence about images that are scored and are reference images too; "" where there are none.

    Images are compared by the content of their files.
    """
    shown = {digest for scorer in scorers if scorer.id.references for digest in scorer.id.references.files.values()}
    both = [str(path) for path in paths if shown and _digest(path) in shown]
    if not both:
        return ""
    return printable(f"{listed(both, 3)}: a reference image of --shots, which makes its own score too low")


def _digest(path: Path) -> str | None:
    """Return the sha256 of a file; None where it cannot be read, which scoring tells."""
    try:
        return file_sha256(path)
    except OSError:
        return None
