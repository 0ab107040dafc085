"""A worker: turns a task into work, in this process as in any other, and writes what comes of it.

It is safe against kills and against other processes on the same results folder.
"""

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from filelock import Timeout

from benchmark.clip import Backbone, load_backbone, pick_device
from benchmark.common import Cache, image_progress
from benchmark.contract import Learner, Method, asked_of
from benchmark.data import SampleSet
from benchmark.errors import BenchError, as_failure
from benchmark.records import Parameters, RecordError, extent_of, is_done, is_scored, is_trained, write_class
from benchmark.registry import find_method, load_plugin, options_from
from benchmark.running.class_run import Participant
from benchmark.running.evaluate import ClassOutcomes, evaluate
from benchmark.running.held_out import after_epoch
from benchmark.running.planning import Job
from benchmark.running.recording import (
    class_paths,
    class_run,
    describe,
    refuse_broken_data,
    write_if_whole,
)
from benchmark.running.tasks import CellRef, Loading, Reply, Task, TrainingRef
from benchmark.running.timeout import watched
from benchmark.training import Training, Watch, build_method, encode_auxiliary, train_method


def perform(task: Task, *, say: Callable[[str], None] | None = None, device: str = "") -> Reply:
    """Do a task and write its checkpoints, class results and records.

    What fails, fails alone and is told; what another process is working on is told too, and left to it.

    Args:
        task: what to do.
        say: called with a line for each cell and training that ends well; None: the lines are in the reply.
        device: where to compute, in place of what the task says.
    """
    said: list[str] = []
    worker = _Worker(task, say or said.append, device)
    try:
        os.chdir(task.folder)
        for path in task.plugins:
            load_plugin(path)
        with ExitStack() as locks:
            if mine := worker.lock(locks):
                worker.prepare(mine)
                with watched(task):
                    {"encode": worker.encode, "train": worker.train, "score": worker.score}[task.kind](mine)
    except RecordError as error:
        return worker.reply(said, stop=str(error))
    except (Exception, SystemExit) as error:  # no backbone, a plug-in is missing, a method exits while it is made, …
        for identity in task.ids:
            if identity not in worker.made and identity not in worker.busy:
                worker.fail(identity, as_failure(error))
    return worker.reply(said)


@functools.lru_cache(maxsize=2)  # most runs have one, or WinCLIP's beside it
def loaded(loading: Loading, cache: Cache, device: str = "") -> Backbone:
    """Return a backbone, loaded once in this process; `device` in place of the one that is asked for."""
    return load_backbone(
        loading.source,
        dtype=loading.dtype,
        device=pick_device(device or loading.device),
        pos_interp=loading.pos_interp,
        window_chunk=loading.window_chunk,
        cache=cache,
    )


def job_of(ref: CellRef, task: Task) -> Job:
    """Return a cell of a task with what it takes to run it.

    Raises:
        RegistryError: its method is not known here, or is of another version.
    """
    cell = ref.cell
    method = find_method(cell.method, cell.method_version)
    samples = {sample.key: sample for sample in task.samples.samples} if cell.references else {}
    shown = {name: keys for name, keys in (cell.references or {}).items() if name in task.classes}
    references = {name: tuple(samples[key] for key in keys) for name, keys in shown.items()}
    training = training_of(ref.training) if ref.training else None
    options = options_from(method, cell.options)
    return Job(cell, method, options, task.samples, training, references, ref.warnings, ref.placement)


def training_of(ref: TrainingRef, task: Task | None = None) -> Training:
    """Return a training of a task with what it takes to run it; without the task, one that is only read from.

    Raises:
        RegistryError: its method is not known here, or is of another version.
    """
    method = find_method(ref.id.method, ref.id.method_version)
    assert issubclass(method, Learner)  # of that version, so it is the method that was planned
    options = options_from(method, ref.id.options)
    return Training(ref.id, method, options, task.data if task else (), ref.given, ref.several_seeds)


@dataclass
class _Worker:
    task: Task
    say: Callable[[str], None]
    device: str
    failed: dict[str, str] = field(default_factory=dict)
    busy: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    """Cells whose records were written, and trainings that were done."""

    @functools.cached_property
    def backbone(self) -> Backbone:
        """The frozen CLIP, which is loaded when it is wanted."""
        return loaded(self.task.loading, self.task.settings.cache, self.device)

    def reply(self, said: Sequence[str], *, stop: str | None = None) -> Reply:
        return Reply(tuple(said), self.failed, tuple(self.busy), tuple(self.made), stop)

    def fail(self, identity: str, error: BaseException) -> None:
        try:
            message = str(error) or "no message"
        except Exception:  # of a class of the method's own
            message = "no readable message"
        # What a user can correct says all itself; of other errors the class is half of the message.
        text = message if isinstance(error, BenchError) else f"{type(error).__name__}: {message}"
        self.failed.setdefault(identity, text)

    def lock(self, locks: ExitStack) -> set[str]:
        """Take the locks of the cells or trainings that no other process is working on, and return their ids."""
        mine = set()
        for identity in self.task.ids:
            try:
                if self.task.kind != "encode":  # the cache of features has a lock of its own
                    locks.enter_context(self.task.settings.lock(self.task.lock_name(identity), timeout=0))
            except Timeout:
                self.busy.append(identity)
            else:
                mine.add(identity)
        return mine

    def prepare(self, mine: set[str]) -> None:
        """Load the backbone, if anything is to be computed, before the time of the task begins."""
        settings = self.task.settings
        untrained = any(settings.force or not is_trained(settings.results, ref.id) for ref in self.task.trainings)
        unscored = False
        with suppress(Exception):  # it is told when the cell is scored
            unscored = any(self.missing(job_of(ref, self.task)) for ref in self.task.cells if ref.cell.id in mine)
        if untrained or unscored:
            _ = self.backbone

    def missing(self, job: Job) -> frozenset[str]:
        """Return the classes of the task that are not scored yet."""
        paths, skip = class_paths(job, self.task.settings), self.task.settings.on_error == "skip"
        return frozenset(name for name in self.task.classes if not is_scored(paths[name], with_skipped=skip))

    def encode(self, _: set[str]) -> None:
        """Put the features of an auxiliary dataset into the cache."""
        trainings = [training_of(ref, self.task) for ref in self.task.trainings]
        failed = encode_auxiliary(self.task.samples, trainings, self.backbone, self.task.settings, say=self.say)
        for identity, error in failed.items():
            self.fail(identity, error)

    def train(self, mine: set[str]) -> None:
        """Train a method, unless another process has done it since it was found missing."""
        settings = self.task.settings
        for ref in self.task.trainings:
            if ref.id.id in mine and (settings.force or not is_trained(settings.results, ref.id)):
                try:
                    training = training_of(ref, self.task)
                    if self.task.waited:
                        self.say(f"takes over the training {training.title} from another process")
                    train_method(training, self.backbone, settings, say=self.say, held_out=self.held_out())
                    self.made.add(ref.id.id)
                except (Exception, SystemExit) as error:  # a method's own code may raise anything
                    self.fail(ref.id.id, as_failure(error))

    def held_out(self) -> tuple[SampleSet, Watch] | None:
        """Return the images on which a training is watched, and what watches it."""
        data = self.task.held_out
        if data is None:
            return None
        return data, lambda features: after_epoch(features, data.title, self.say)

    def score(self, mine: set[str]) -> None:
        """Score the classes in one pass, and put together what is whole."""
        settings = self.task.settings
        jobs: list[Job] = []
        ready: list[tuple[Job, Participant]] = []
        for ref in self.task.cells:
            if ref.cell.id not in mine or (is_done(settings.results, ref.cell.id) and not settings.force):
                continue
            try:
                job = job_of(ref, self.task)
                refuse_broken_data(job.samples, settings)
                if classes := self.missing(job):
                    self.tell_of_earlier_work(ref, len(classes))
                    ready.append((job, Participant(_build(job, self.backbone, self.task), classes, job.references)))
                jobs.append(job)
            except (Exception, SystemExit) as error:  # a method's own code may raise anything
                self.fail(ref.cell.id, as_failure(error))
        if ready:
            self.run_pass(ready)
        for job in jobs:
            if job.cell.id not in self.failed:
                self.put_together(job)

    def tell_of_earlier_work(self, ref: CellRef, missing: int) -> None:
        """Say that a cell was begun before, by this run or another one."""
        there = len(self.task.classes) - missing
        known = f": {there} of {len(self.task.classes)} classes are there" if there else ""
        if self.task.waited:
            self.say(f"takes over {ref.name} from another process{known}")
        elif there:
            self.say(f"resumes {ref.name}{known}")

    def run_pass(self, ready: Sequence[tuple[Job, Participant]]) -> None:
        """Score the classes of some methods; each class is written as it ends."""
        task = self.task
        wanted = frozenset[str]().union(*(participant.classes for _, participant in ready))
        images = sum(len(task.samples.test_by_class[name]) for name in wanted)
        try:
            with image_progress(task.title, images) as progress:
                for done in evaluate(
                    [participant for _, participant in ready],
                    self.backbone,
                    task.samples,
                    protocol=task.cells[0].cell.protocol,
                    settings=task.settings,
                    progress=progress,
                    say=self.say,
                ):
                    self.keep(done, ready)
        except RecordError:
            raise
        except Exception as error:  # of what all methods share, such as reading the images
            for job, _ in ready:
                self.fail(job.cell.id, error)

    def keep(self, done: ClassOutcomes, ready: Sequence[tuple[Job, Participant]]) -> None:
        """Write what the methods gave for a class."""
        settings = self.task.settings
        for index, outcome in done.outcomes.items():
            job, participant = ready[index]
            if isinstance(outcome, Exception):
                self.fail(job.cell.id, outcome)
                continue
            run = class_run(
                job,
                settings,
                self.backbone.device,
                seconds=outcome.seconds,
                own_pass=outcome.own_pass,
                peak_memory=outcome.peak_memory,
            )
            result = outcome.result.model_copy(update={"run": run})
            path = class_paths(job, settings)[done.class_name]
            parameters = parameters_of(participant.method, self.backbone)
            write_class(
                path,
                done.class_name,
                result,
                outcome.images,
                image_size=outcome.image_size,
                parameters=parameters,
            )

    def put_together(self, job: Job) -> None:
        """Write the record of a cell if its last class is there."""
        try:
            record = write_if_whole(job, self.task.settings)
        except RecordError:
            raise
        except BenchError as error:  # a damaged class, a checkpoint that is gone, no readable image
            self.fail(job.cell.id, error)
            return
        if record is not None:
            self.made.add(record.id)
            [name] = [ref.name for ref in self.task.cells if ref.cell.id == record.id]
            self.say(f"done   {name}: {describe(record)}")


def _build(job: Job, backbone: Backbone, task: Task) -> Method:
    """Return the method of a cell with what it learned, and see that it says what it needs and how it scores."""
    checkpoint = job.training.checkpoint(task.settings.results) if job.training else None
    method = build_method(job.method, backbone, job.options, seed=job.cell.seed, checkpoint=checkpoint)
    asked_of(method)
    job.method.scores_whole_class(job.options)
    return method


def parameters_of(method: Method, backbone: Backbone) -> Parameters:
    """Return how many parameters score with a method that holds what it learned."""
    frozen = sum(each.numel() for each in backbone.model.parameters())
    if not isinstance(method, Learner):
        return Parameters(frozen=frozen, learned=0)
    extent = extent_of(method.learned)
    return Parameters(frozen=frozen, learned=extent.parameters, fitted=extent.fitted)
