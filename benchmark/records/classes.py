"""Results of one class of a cell on disk, where they wait until the record of the cell can be put together.

A class is written whole, by the worker that scored it, as soon as it ends; a run that is cut off goes on with the next.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmark.common import JSON_LIMIT, Model, read_limited, write_whole
from benchmark.errors import BenchError
from benchmark.metrics import ClassImages, read_per_image, to_bytes
from benchmark.records.records import ClassResult, Parameters, unwritable


class ClassResultError(BenchError):
    """The results of a class cannot be read; the message names the file and the way out."""


class ClassFile(Model):
    """What is written of a class."""

    class_name: str
    image_size: int
    """Side of the input in pixels."""
    parameters: Parameters
    result: ClassResult
    images_sha256: str
    """Of the file beside it that holds the results per image."""


def class_folder(results: Path, cell_id: str) -> Path:
    """Return where the classes of a cell lie until its record is written."""
    return results / ".classes" / cell_id


def class_path(results: Path, cell_id: str, place: int, code: str) -> Path:
    """Return where a class lies, by its place among the classes; what other code scored (`code_key`) lies apart."""
    return class_folder(results, cell_id) / f"{place}-{code}.json"


def remove_classes(results: Path, cell_id: str, places: Iterable[int] | None = None) -> None:
    """Remove the class files of a cell: those at some places, or all of them."""
    folder = class_folder(results, cell_id)
    if places is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for place in places:
        for path in folder.glob(f"{place}-*"):
            path.unlink(missing_ok=True)


def write_class(
    path: Path,
    class_name: str,
    result: ClassResult,
    images: ClassImages | None,
    *,
    image_size: int,
    parameters: Parameters,
) -> None:
    """Write the results of a class, those per image first.

    Raises:
        RecordError: the disk is full, or the directory cannot be written.
    """
    content = to_bytes({class_name: images} if images else {})
    sha256 = hashlib.sha256(content).hexdigest()
    known = ClassFile(
        class_name=class_name, image_size=image_size, parameters=parameters, result=result, images_sha256=sha256
    )
    try:
        write_whole(path.with_suffix(".npz"), content)
        write_whole(path, known.model_dump_json())
    except OSError as error:
        raise unwritable(path, error) from error


def read_class(path: Path) -> ClassFile:
    """Read the results of a class.

    Raises:
        ClassResultError: they are not there, or damaged.
    """
    try:
        return ClassFile.model_validate_json(read_limited(path, JSON_LIMIT))
    except (OSError, ValidationError) as error:
        raise _unreadable(path, error) from None


@dataclass(frozen=True)
class ImagesOnDisk(Mapping[str, ClassImages]):
    """The results per image of some classes, each read when it is asked for, so that one of them is in memory.

    Asking raises `ClassResultError` where they are not there, or damaged.
    """

    files: Mapping[str, tuple[Path, ClassFile]]
    """By class, where its results lie and what they are; without the classes of which no image could be read."""

    def __getitem__(self, name: str) -> ClassImages:
        path, known = self.files[name]
        try:
            return read_per_image(path.with_suffix(".npz"), known.images_sha256)[name]
        except (OSError, BenchError) as error:
            raise _unreadable(path, error) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def images_of(files: Mapping[Path, ClassFile]) -> ImagesOnDisk:
    """Return the results per image of some classes, by where each lies."""
    return ImagesOnDisk(
        {
            known.class_name: (path, known)
            for path, known in files.items()
            if known.result.normal + known.result.anomalous
        }
    )


def _unreadable(path: Path, error: Exception) -> ClassResultError:
    return ClassResultError(f"{path}: not readable results of a class ({error}); run again to redo it")


def is_scored(path: Path, *, with_skipped: bool) -> bool:
    """Say whether a class has results that can be read, and, unless `with_skipped`, of all its images."""
    if not path.exists():
        return False
    try:
        known = read_class(path)
        _ = dict(images_of({path: known}))
    except ClassResultError:
        return False
    return not known.result.skipped or with_skipped
