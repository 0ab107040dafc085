"""Tasks: what a worker does at a time. A task is plain data, so any executor can carry it to any process.

    encode (an auxiliary dataset) → train (a method) → score (classes of a dataset)

The cells of a dataset share its tasks, so that each image is encoded once for all methods. The classes of a large
dataset are divided among several tasks.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from benchmark.clip import PosInterp, WeightsSource
from benchmark.common import Settings
from benchmark.data import SampleSet, portion
from benchmark.records import BackboneId, Cell, Placement, TrainingId
from benchmark.registry import plugin_files
from benchmark.running.planning import Job, data_id
from benchmark.training import Training


@dataclass(frozen=True)
class Loading:
    """How a worker loads a backbone."""

    source: WeightsSource
    dtype: str
    device: str
    """Empty: the best that the worker has."""
    pos_interp: PosInterp
    window_chunk: int | None
    """None: as many as suit the device."""


@dataclass(frozen=True)
class TrainingRef:
    """A training by its identity."""

    id: TrainingId
    given: Path | None = None
    """JSON of a checkpoint that was given in its place."""
    several_seeds: bool = False
    """Whether its seed is named in messages."""


@dataclass(frozen=True)
class CellRef:
    """A cell with the training that its method needs."""

    cell: Cell
    name: str
    """Method and dataset, and the seed where there are several, in words."""
    training: TrainingRef | None
    warnings: tuple[str, ...] = ()
    """What a reader of its numbers must know."""
    placement: Placement = field(default_factory=Placement)
    """The tables that are to show the result."""


@dataclass(frozen=True)
class Task:
    """Work for one worker: names, identities, samples and settings."""

    key: str
    """Tasks that were divided share their key."""
    kind: Literal["encode", "train", "score"]
    title: str
    """What is done, in words."""
    loading: Loading
    settings: Settings
    data: tuple[SampleSet, ...]
    """What is encoded, or scored: one dataset, of the latter the classes of the task alone; or what is trained on."""
    cells: tuple[CellRef, ...] = ()
    """The cells to be scored."""
    classes: tuple[str, ...] = ()
    """The classes to be scored."""
    trainings: tuple[TrainingRef, ...] = ()
    """The trainings to be done, or to be encoded for."""
    held_out: SampleSet | None = None
    """Images on which the results are told after each epoch of a training."""
    after: frozenset[str] = frozenset()
    """Keys of the tasks that must have ended before."""
    plugins: tuple[Path, ...] = ()
    """Files of methods that the worker registers first."""
    folder: Path = Path()
    """The directory from which relative paths count."""
    waited: bool = False
    """Whether another process was at it when it was handed out before."""

    @property
    def samples(self) -> SampleSet:
        """The dataset that is scored or encoded."""
        (only,) = self.data
        return only

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its cells or trainings."""
        return tuple(ref.cell.id for ref in self.cells) or tuple(ref.id.id for ref in self.trainings)

    def lock_name(self, identity: str) -> str:
        """Return the name of the lock under which its work on a cell or training is done."""
        return f"{identity}--{class_places(self.samples)[self.classes[0]]}" if self.kind == "score" else identity

    def only(self, identities: Iterable[str]) -> "Task":
        """Return the task for some of its cells or trainings."""
        wanted = set(identities)
        cells = tuple(ref for ref in self.cells if ref.cell.id in wanted)
        trainings = tuple(ref for ref in self.trainings if ref.id.id in wanted)
        return replace(self, title=cells[0].name if len(cells) == 1 else self.title, cells=cells, trainings=trainings)


@dataclass(frozen=True)
class Reply:
    """What a worker answers when it has ended a task; cells and trainings that it does not name went well."""

    said: tuple[str, ...] = ()
    """Lines for the user that have not been shown yet."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Errors by the id of the cell or training."""
    busy: tuple[str, ...] = ()
    """Ids of those that another process is working on."""
    made: tuple[str, ...] = ()
    """Ids of the cells whose records it wrote, and of the trainings that it did."""
    stop: str | None = None
    """Why the run cannot go on: nothing can be written."""


@dataclass(frozen=True)
class Lost:
    """The end of a task whose worker will not answer."""

    cause: str
    """Why, in plain words."""
    final: bool = False
    """Whether it would end the same way again."""


Ended = tuple[Task, Reply | Lost]


def class_places(samples: SampleSet) -> dict[str, int]:
    """Return the classes of the test samples, in order, with their place in it."""
    return {name: place for place, name in enumerate(samples.test_classes)}


def make_tasks(
    jobs: Sequence[Job],
    trainings: Sequence[Training],
    settings: Settings,
    loading: Mapping[BackboneId, Loading],
    *,
    held_out: SampleSet | None = None,
) -> list[Task]:
    """Return the tasks that do these cells and trainings, in an order in which each can be done.

    Args:
        jobs: the cells to be scored.
        trainings: the trainings to be done before them.
        settings: how to work; classes are bundled into tasks of about `settings.task_images` images.
        loading: how the weights of each backbone are loaded; methods that run them as other variants share the images.
        held_out: images on which the results of trainings are told.
    """
    common: dict[str, Any] = {"settings": settings, "plugins": plugin_files(), "folder": Path.cwd()}
    tasks: list[Task] = []
    by_auxiliary: dict[str, list[tuple[SampleSet, Training]]] = defaultdict(list)
    encoded: dict[str, set[str]] = defaultdict(set)
    for training in trainings:
        for data in training.samples:
            key = f"encode--{_digest(data_id(data), training.id.backbone.weights)}"
            by_auxiliary[key].append((data, training))
            encoded[training.id.id].add(key)
    for key, same in by_auxiliary.items():
        data, first = same[0]
        known = {"loading": loading[first.id.backbone.weights], "data": (data,), **common}
        refs = tuple(TrainingRef(training.id) for _, training in same)
        tasks.append(Task(key, "encode", f"encoding {data.card.name}", trainings=refs, **known))
    for training in trainings:
        known = {
            "loading": loading[training.id.backbone.weights],
            "data": training.samples,
            "held_out": held_out,
            **common,
        }
        ref = TrainingRef(training.id, several_seeds=training.several_seeds)
        after = frozenset(encoded[training.id.id])
        tasks.append(Task(ref.id.id, "train", f"training {training.title}", trainings=(ref,), after=after, **known))
    by_dataset: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_dataset[_digest(job.cell.dataset, job.cell.backbone.weights)].append(job)
    trained = {training.id.id for training in trainings}
    # The largest first, so that none of several processes is left alone with a large one at the end.
    for digest, group in sorted(by_dataset.items(), key=lambda each: -len(each[1][0].samples.test)):
        data = group[0].samples
        common["loading"] = loading[group[0].cell.backbone.weights]
        common["cells"] = tuple(
            CellRef(job.cell, job.name, _training_ref(job), job.warnings, job.placement) for job in group
        )
        common["after"] = frozenset(job.training.id.id for job in group if job.training) & trained
        bundles = list(_bundles(data, settings.task_images))
        for classes in bundles:
            title = f"{data.title}: {', '.join(job.title for job in group)}"
            key = f"score--{digest}"
            if len(bundles) > 1:
                title += f", classes {classes[0]}" + (f" to {classes[-1]}" if len(classes) > 1 else "")
                key += f"--{class_places(data)[classes[0]]}"
            tasks.append(Task(key, "score", title, classes=classes, data=(portion(data, classes),), **common))
    return tasks


def side_by_side(jobs: Sequence[Job], trainings: Sequence[Training], settings: Settings) -> int:
    """Return how many tasks for these cells and trainings can be done at the same time, at most."""
    trained = {each.id.id for each in (*trainings, *(job.training for job in jobs if job.training))}
    data = {_digest(job.cell.dataset, job.cell.backbone.weights): job.samples for job in jobs}
    return max(len(trained), sum(len(list(_bundles(each, settings.task_images))) for each in data.values()))


def _training_ref(job: Job) -> TrainingRef | None:
    return TrainingRef(job.training.id, job.training.given) if job.training else None


def _bundles(data: SampleSet, images: int) -> Iterator[tuple[str, ...]]:
    """Yield the classes of a dataset in bundles; one more class in any of them would make it hold too many images."""
    bundle: list[str] = []
    total = 0
    for name, samples in data.test_by_class.items():
        if bundle and total + len(samples) > images:
            yield tuple(bundle)
            bundle, total = [], 0
        bundle.append(name)
        total += len(samples)
    if bundle:
        yield tuple(bundle)


def _digest(*identities: BaseModel) -> str:
    text = "".join(each.model_dump_json() for each in identities)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
