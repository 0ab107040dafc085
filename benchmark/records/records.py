"""Records: the JSON result of a cell, written once and whole, and all it takes to trace a number."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from benchmark.common import (
    JSON_LIMIT,
    Model,
    printable,
    read_limited,
    validation_problems,
    write_whole,
)
from benchmark.data import Domain
from benchmark.errors import BenchError
from benchmark.metrics import ClassImages, write_per_image
from benchmark.records.cells import Cell
from benchmark.records.draws import Draws
from benchmark.records.placement import Placement
from benchmark.records.provenance import Provenance

TEXTS = ("device", "machine", "processor", "float32_precision", "python", "git_commit", "code_sha256", "source_sha256")
"""Fields of `Run` of which a record of several machines names every value."""


class RecordError(BenchError):
    """A record cannot be read or written; the message names the file and the way out."""


Text = Annotated[str, BeforeValidator(printable)]
"""Text from elsewhere, a file name or an error, which may hold bytes that are no Unicode."""
Fraction = Annotated[float, Field(ge=0, le=1)]


class Skipped(Model):
    """An image that could not be used."""

    key: Text
    reason: Text


class Run(Provenance):
    """How and where a class was scored, or, combined over its classes, a cell; nothing here changes a number."""

    seconds: dict[str, float]
    """Wall time of the pass: `total`, waiting for `images`, the `vision` tower and this cell's `method`. Processor
    time: its `metrics`. Images and vision are shared by all cells of the pass."""
    batch_size: int
    workers: int
    own_pass: bool = False
    """Whether the method ran the tower itself; the time of that is the method's."""
    processes: int | None = None
    """Processes of the run that computed on this machine side by side; null where the executor does not know it, and in
    records that were made before this was kept."""
    peak_memory: int | None
    """Bytes: of the accelerator during the pass where there is one, else of the process so far."""


class Parameters(Model):
    """How many parameters scored the images; they depend on method and backbone, not on the machine."""

    frozen: int
    """Of the backbone: both towers of CLIP, which every method uses, with embeddings and projections."""
    learned: int
    """Of the module `learned` of a method that trains; 0 for all others."""
    fitted: int = 0
    """Numbers that the method keeps besides, in buffers of `learned`, such as a memory of features. They depend on the
    auxiliary dataset, too. Records leave out a 0."""

    @model_serializer(mode="wrap")
    def _leave_out(self, written: SerializerFunctionWrapHandler) -> dict[str, int]:
        return {name: count for name, count in written(self).items() if count or name != "fitted"}


class DefectResult(Model):
    """The numbers of one kind of defect of a class; metrics in [0, 1], null where undefined.

    Image metrics hold the images of the kind against all normal images of the class. Pixel metrics are over the images
    of the kind alone.
    """

    images: int
    """Number of images of the kind."""
    metrics: dict[str, FiniteFloat | None]
    ranges: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    """As in `ClassResult`."""


class ClassResult(Model):
    """The numbers of one class; metrics in [0, 1], null where undefined."""

    normal: int
    anomalous: int
    skipped: tuple[Skipped, ...] = ()
    metrics: dict[str, FiniteFloat | None]
    ranges: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    """Of a fragile metric: the least and the greatest value it takes when scores move by one part in a million; none is
    kept where every such move leaves it undefined. Of an image metric: the same when scores move by ten parts, kept
    where that changes it. Records of earlier versions lack them."""
    intervals: dict[str, tuple[Fraction, Fraction]] = Field(default_factory=dict)
    """Of a main metric: between which values it lies under 95 % of the draws of the test images. None is kept where a
    draw leaves it undefined, nor in records of earlier versions."""
    defects: dict[str, DefectResult] = Field(default_factory=dict)
    """By kind of defect, in alphabetical order; empty where the dataset names no kinds, and in records of earlier
    versions."""
    run: Run | None = None
    """How and where the class was scored; null in records that were made before this was kept."""


class TrainingReport(Model):
    """How the method of a cell came to what it learned."""

    checkpoint: str
    """Name of the checkpoint below `checkpoints/`, or of the file that was given."""
    sha256: str
    synthetic: bool
    """Trained on generated images."""
    origin: str
    source: str
    images: int | None
    skipped: tuple[str, ...]
    curve: tuple[dict[str, FiniteFloat], ...]
    """Mean of each term of the loss, an entry per epoch."""
    seconds: float | None
    made: Provenance | None = None
    """Where and by what code it was trained; null of an imported checkpoint."""
    magnifies: bool = False
    """Whether training magnifies differences in last digits, so that another machine learns something else."""


class Record(Model):
    """The result of a cell."""

    schema_version: Literal[1] = 1
    id: str
    title: str
    """The method's name in tables."""
    dataset_title: str
    domain: Domain
    beyond: bool = False
    """Whether the dataset is beyond those of the papers' main tables, as its card says."""
    cell: Cell
    image_size: int | None = None
    """Side of the input in pixels, and of the maps that were evaluated unless the protocol has an evaluation size."""
    parameters: Parameters | None = None
    """Null of a cell that failed, and in records that were made before this was kept."""
    status: Literal["done", "failed"]
    error: Text | None = None
    year: int | None = None
    """Year of the method's paper; null where its reference names none, and in records that were made before this was
    kept."""
    scores_whole_class: bool = False
    """Whether the image scores of a class depend on all of its test images."""
    synthetic: tuple[str, ...] = ()
    """What of it is not real: `data`, `weights` (of the backbone, or learned from generated images)."""
    warnings: tuple[str, ...] = ()
    """What a reader of the numbers must know of the data: counts that are not the card's, files left out."""
    classes: dict[str, ClassResult] = Field(default_factory=dict)
    prompts: dict[str, Text] = Field(default_factory=dict)
    """What each class is called in prompts; empty in records that were made before this was kept."""
    mean: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    """Unweighted mean over the classes; null where it is undefined for any of them."""
    draws: Draws | None = None
    """How the means move under draws of the test images; null in records of earlier versions."""
    training: TrainingReport | None = None
    images_sha256: str | None = None
    """Of the file beside the record that holds the results per image. It may be missing: only a report shows maps."""
    newer_source_sha256: str | None = None
    """Of the method's files as the last run met them, where those that trained or scored were others."""
    location: str | None = None
    """Of a plain folder: the beginning of the sha256 of its path, which tells folders of one name apart."""
    kept: str | None = None
    """When a run last met these images, or this row of an ablation, again and kept the record, where results on other
    images, or of another definition of the ablation, had been made since."""
    run: Run
    placement: Placement = Placement()
    """The tables that show the record."""

    @property
    def group(self) -> str:
        """The datasets with which its own is averaged: those of its domain, and apart from them the `further` ones."""
        return f"further {self.domain}" if self.beyond else self.domain

    @field_validator("id")
    @classmethod
    def _is_that_of_its_file(cls, value: str, info: ValidationInfo) -> str:
        if info.context and value != info.context["id"]:
            raise ValueError(f"it says that it is {value!r}")
        return value


def mean_over_classes(classes: Iterable[ClassResult]) -> dict[str, float | None]:
    """Return the unweighted mean of each metric; null where it is null for any class."""
    rows = [result.metrics for result in classes]
    means: dict[str, float | None] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        known = [value for value in values if value is not None]
        means[name] = sum(known) / len(known) if len(known) == len(values) else None
    return means


def combined(runs: Sequence[Run]) -> Run:
    """Return the runs of the classes as one: times added, largest memory, every machine, device and version named."""

    def each(values: Iterable[str | None]) -> str | None:
        return ", ".join(dict.fromkeys(value for value in values if value)) or None

    seconds: dict[str, float] = {}
    for run in runs:
        for name, value in run.seconds.items():
            seconds[name] = round(seconds.get(name, 0.0) + value, 3)
    peaks = [run.peak_memory for run in runs if run.peak_memory is not None]
    names = dict.fromkeys(name for run in runs for name in run.packages)
    return runs[0].model_copy(
        update={
            "created": max(run.created for run in runs),
            "seconds": seconds,
            "peak_memory": max(peaks, default=None),
            "packages": {name: each(run.packages.get(name) for run in runs) for name in names},
            **{field: each(getattr(run, field) for run in runs) for field in TEXTS},
        }
    )


def path_key(directory: Path) -> str:
    """Return the beginning of the sha256 of a directory's path, as records say where a plain folder lies."""
    return hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:12]


def path_of(directory: Path, cell_id: str) -> Path:
    """Return where the record of a cell lies in a results directory."""
    return directory / "records" / f"{cell_id}.json"


def per_image_path(directory: Path, cell_id: str) -> Path:
    """Return where the results per image of a cell lie, beside its record."""
    return path_of(directory, cell_id).with_suffix(".npz")


def remove_record(directory: Path, cell_id: str) -> None:
    """Remove the record of a cell, if there is one, and its results per image.

    Raises:
        OSError: The directory cannot be written.
    """
    path_of(directory, cell_id).unlink(missing_ok=True)  # first: a record never speaks of what is not there
    per_image_path(directory, cell_id).unlink(missing_ok=True)


def write_record(directory: Path, record: Record, per_image: Mapping[str, ClassImages] | None = None) -> Path:
    """Write a record, whole or not at all, after its results per image: a record never speaks of what is not there.

    Raises:
        RecordError: the disk is full, or the directory cannot be written.
    """
    path, beside = path_of(directory, record.id), per_image_path(directory, record.id)
    try:
        if per_image is not None:
            write_whole(beside, lambda file: write_per_image(file, per_image))
            with beside.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            record = record.model_copy(update={"images_sha256": sha256})
        text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_whole(path, text + "\n")
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def unwritable(path: Path, error: OSError) -> RecordError:
    """Return the error of results that cannot be written; the run stops."""
    return RecordError(f"cannot write {path}: {error.strerror or error}; records already written are safe")


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: the file cannot be read or is no record of this version.
    """
    try:
        return Record.model_validate_json(read_limited(path, JSON_LIMIT), context={"id": path.stem})
    except (OSError, ValidationError) as error:
        reason = validation_problems(error)[0] if isinstance(error, ValidationError) else error
        raise RecordError(
            f"{path}: not a readable record ({reason}); delete it and run again to redo the cell"
        ) from None


def read_records(directory: Path) -> tuple[list[Record], list[str]]:
    """Return the records of a results directory by file name, and a line for each file that is none."""
    return read_files(sorted((directory / "records").glob("*.json")))


def read_files(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Return the records of some files, and a line for each file that is none."""
    records, problems = [], []
    for path in paths:
        try:
            records.append(read_record(path))
        except RecordError as error:
            problems.append(str(error))
    return records, problems


def done_record(directory: Path, cell_id: str) -> Record | None:
    """Return the record of success of a cell; None if there is none, or none that is readable."""
    try:
        record = read_record(path_of(directory, cell_id))
    except RecordError:
        return None
    return record if record.status == "done" else None


def placed(directory: Path, cell_id: str, placement: Placement) -> Placement:
    """Return a placement with that of the cell's present record, if it has a readable one."""
    try:
        return read_record(path_of(directory, cell_id)).placement.joined(placement)
    except RecordError:
        return placement


def place_record(directory: Path, cell_id: str, placement: Placement) -> Record:
    """Write a further placement into the record of a cell, and return the record.

    Raises:
        RecordError: there is no readable record, or the directory cannot be written.
    """
    record = read_record(path_of(directory, cell_id))
    record = record.model_copy(update={"placement": record.placement.joined(placement)})
    write_record(directory, record)
    return record


def keep_record(directory: Path, cell_id: str) -> Record:
    """Write into the record of a cell that a run met its images now and kept it, and return the record.

    Raises:
        RecordError: there is no readable record, or the directory cannot be written.
    """
    record = read_record(path_of(directory, cell_id))
    record = record.model_copy(update={"kept": datetime.now(UTC).isoformat(timespec="seconds")})
    write_record(directory, record)
    return record


def is_done(directory: Path, cell_id: str) -> bool:
    """Say whether a cell has a readable record of success."""
    return done_record(directory, cell_id) is not None
