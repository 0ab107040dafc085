"""Tasks: what a worker is given at a time, made of the cells and trainings that are missing, in an order that works.

    encode (an auxiliary dataset) → train (a method) → score (a dataset, or a part of it) → merge (its parts)

The cells of a dataset share a task, so that each image is encoded once for all methods. A large dataset is scored in
parts, by several workers if there are so many; what they find adds up.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmark.common import Settings
from benchmark.records import BackboneId
from benchmark.running.parts import spans
from benchmark.running.planning import Job
from benchmark.training import Training

Kind = Literal["encode", "train", "score", "merge"]


@dataclass(frozen=True)
class Task:
    """Work for one worker."""

    key: str
    """Those that are split of one task share its key."""
    kind: Kind
    title: str
    """What is done, in words."""
    backbone: BackboneId
    jobs: tuple[Job, ...] = ()
    """Of one dataset, to be scored or merged."""
    trainings: tuple[Training, ...] = ()
    """On one dataset, to be encoded for or trained."""
    spans: tuple[slice, ...] = ()
    """The part of the test images to be scored, or all parts to be merged; none: the whole dataset in one go."""
    after: frozenset[str] = frozenset()
    """Keys of the tasks that must have ended before."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The cells or trainings that it does."""
        return tuple(job.cell.id for job in self.jobs) or tuple(each.id.id for each in self.trainings)


class Reply(BaseModel):
    """What a worker says when it has done a task; cells and trainings that it does not name are done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    said: tuple[str, ...] = ()
    """Lines for the user that have not been shown yet."""
    failed: dict[str, str] = {}
    """Cells and trainings that failed, by id, with the error."""
    busy: tuple[str, ...] = ()
    """Those that another process is at."""
    stop: str | None = None
    """Why the run cannot go on: nothing can be written."""


@dataclass(frozen=True)
class Lost:
    """No worker will answer for a task."""

    cause: str
    """In plain words."""
    final: bool = False
    """It would end the same way again."""


Ended = tuple[Task, Reply | Lost]


def make_tasks(jobs: Sequence[Job], trainings: Sequence[Training], settings: Settings) -> list[Task]:
    """Return the tasks that do these cells and trainings, each after those that it waits for."""
    tasks: list[Task] = []
    by_auxiliary: dict[str, list[Training]] = defaultdict(list)
    for training in trainings:
        by_auxiliary[_digest(training.id.auxiliary, training.id.backbone)].append(training)
    for digest, same in by_auxiliary.items():
        key, first = f"encode--{digest}", same[0]
        tasks.append(Task(key, "encode", f"encoding {first.id.auxiliary.name}", first.id.backbone, trainings=(*same,)))
        for each in same:
            title = f"training {each.title}"
            tasks.append(Task(each.id.id, "train", title, each.id.backbone, trainings=(each,), after=frozenset({key})))
    by_dataset: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_dataset[_digest(job.cell.dataset, job.cell.backbone)].append(job)
    for digest, group in by_dataset.items():
        tasks += _of_dataset(tuple(group), digest, {training.id.id for training in trainings}, settings)
    return tasks


def _of_dataset(jobs: tuple[Job, ...], digest: str, trained: set[str], settings: Settings) -> Iterable[Task]:
    data, backbone = jobs[0].samples, jobs[0].cell.backbone
    title = f"{data.card.title}: {', '.join(job.title for job in jobs)}"
    after = frozenset(job.training.id.id for job in jobs if job.training) & trained
    parts = spans(data, settings.shard_size, settings.batch_size)
    if len(parts) == 1:
        yield Task(f"score--{digest}", "score", title, backbone, jobs, after=after)
        return
    keys = [f"score--{digest}--{span.start}-{span.stop}" for span in parts]
    for key, span in zip(keys, parts, strict=True):
        part = f"{title}, images {span.start + 1} to {span.stop}"
        yield Task(key, "score", part, backbone, jobs, spans=(span,), after=after)
    yield Task(f"merge--{digest}", "merge", title, backbone, jobs, spans=tuple(parts), after=frozenset(keys))


def _digest(*identities: BaseModel) -> str:
    text = "".join(each.model_dump_json() for each in identities)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
