"""The normal images that k-shot methods are shown: which they are, and how many a method is shown of them."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.common import file_sha256, listed, printable
from benchmark.contract import Method
from benchmark.data import DatasetError, ImageError, PlainFolder, digests, read_folder, read_image
from benchmark.predict.own_images import PredictError, images_below, natural_key
from benchmark.predict.scorer import ReferencesUsed, Scorer

SEED = 0
"""Seed by which images are drawn, where there are more than a method is shown."""


def normal_images(directory: Path, *, follow_links: bool = False) -> tuple[dict[str, Path], list[str]]:
    """Return the normal images of a folder by their paths below it: those that lie in the folder itself.

    Where none lies there, they are the normal ones of the folder, read as `bench run --folder` reads it: those that are
    there for training, else all.

    Args:
        directory: The folder.
        follow_links: Whether links that lead out of it are followed.

    Returns:
        The images, and messages about what may be an image and is left out.

    Raises:
        PredictError: There is no such folder, or it does not say which of its images are normal.
    """
    if not directory.is_dir():
        raise PredictError(f"--shots {printable(directory)}: there is no such folder")
    below, problems, _ = images_below(directory, follow_links=follow_links)
    paths = {key: path for key, path in below.items() if "/" not in key}
    if not paths:
        try:
            samples = read_folder(PlainFolder(directory=directory, follow_links=follow_links))
        except DatasetError as error:
            why = "".join(f"\n  {problem}" for problem in problems)
            raise PredictError(
                f"--shots {printable(directory)}: no images that are read lie in the folder itself, and those below "
                f"it do not say which are normal; name the folder that holds normal images{why}"
            ) from error
        normal = [sample for sample in samples.samples if sample.label == 0]
        training = [sample for sample in normal if sample.split == "train"]
        paths = {sample.key: sample.path for sample in training or normal}
    if not paths:
        raise PredictError(f"--shots {printable(directory)}: holds no normal images; name the folder that does")
    return {key: paths[key] for key in sorted(paths, key=natural_key)}, problems


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
        files = {printable(key): file_sha256(path) for key, path in chosen.items()}
    except (ImageError, OSError) as error:
        raise PredictError(f"--shots {printable(directory)}: {error}") from error
    return ReferencesUsed(folder=str(printable(directory)), files=files), tuple(chosen.values())


def note_on_references(paths: Sequence[Path], scorers: Sequence[Scorer]) -> str:
    """Return a sentence about images that are scored and are reference images too; "" where there are none.

    Images are compared by the content of their files.
    """
    shown = {digest for scorer in scorers if scorer.id.references for digest in scorer.id.references.files.values()}
    if not shown:
        return ""
    both = [str(path) for path, digest in digests(paths, "images").items() if digest in shown]
    if not both:
        return ""
    return printable(f"{listed(both, 3)}: a reference image of --shots, which makes its own score too low")
