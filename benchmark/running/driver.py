"""The driver of a run: hands tasks to an executor in an order that works, and decides what becomes of lost ones.

It knows nothing of where tasks are done. Workers write checkpoints, class results and records of success; the driver
writes only records of failure. So when either is killed, all that was written is valid, and the next run goes on from
there.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from filelock import Timeout

from benchmark.common import Settings
from benchmark.data import SampleSet
from benchmark.records import BackboneId, RecordError, is_done, path_of, remove_classes, write_record
from benchmark.running.done_cells import missing
from benchmark.running.executors import Executor
from benchmark.running.planning import Job
from benchmark.running.recording import failure
from benchmark.running.tasks import Loading, Lost, Reply, Task, class_places, make_tasks
from benchmark.running.timeout import explained
from benchmark.training import Training, untrained

ATTEMPTS = 3
"""How often a task is handed out before what is left of it counts as failed, if its workers die."""
POLL = 0.5
"""Seconds between looks at the locks that other processes hold."""


@dataclass(frozen=True)
class Outcome:
    """What became of the missing cells and trainings; those in neither field were done by another run meanwhile."""

    failed: Mapping[str, str] = field(default_factory=dict)
    """The errors of those that failed, by id."""
    made: frozenset[str] = frozenset()
    """The ids of those that this run did."""


def run(
    jobs: Sequence[Job],
    settings: Settings,
    executor: Executor,
    *,
    loading: Mapping[BackboneId, Loading],
    say: Callable[[str], None],
    trainings: Sequence[Training] = (),
    held_out: SampleSet | None = None,
) -> Outcome:
    """Run the missing jobs, after the trainings that they need; each leaves a record.

    A cell that fails is recorded with its error and the run goes on. What another process is computing is waited for
    and not computed twice. A worker that dies costs its task an attempt; a task that has lost several, or took too
    long, is divided by method, so that one method does not take others with it.

    Args:
        jobs: from `plan`.
        settings: how to run.
        executor: where to run.
        loading: how each backbone is loaded.
        say: called with a line for each cell and training that ends.
        trainings: further trainings that are wanted for their own sake.
        held_out: images on which the results are told after each epoch of a training.

    Raises:
        BenchError: nothing can be written (disk full, no permission); what was written before is safe.
    """
    todo = missing(jobs, settings.results, force=settings.force)
    wanted = untrained(
        [*trainings, *(job.training for job in todo if job.training)], settings.results, force=settings.force
    )
    if not todo and not wanted:
        return Outcome()
    settings.check_writable()
    tasks = make_tasks(todo, wanted, settings, loading, held_out=held_out)
    if settings.force:
        _forget_classes(tasks, settings)
    driver = _Driver(settings, executor, say, {job.cell.id: job for job in todo}, {each.id.id: each for each in wanted})
    driver.drive(tasks)
    driver.check_all_ended()
    return Outcome(driver.failed, frozenset(driver.made))


def _forget_classes(tasks: Sequence[Task], settings: Settings) -> None:
    """Remove the class results of earlier runs, but not those that another process is making at this moment."""
    for task in tasks:
        places = class_places(task.samples)
        for ref in task.cells:
            with suppress(Timeout), settings.lock(task.lock_name(ref.cell.id), timeout=0):
                remove_classes(settings.results, ref.cell.id, [places[name] for name in task.classes])


@dataclass
class _Driver:
    settings: Settings
    executor: Executor
    say: Callable[[str], None]
    jobs: Mapping[str, Job]
    trainings: Mapping[str, Training]
    failed: dict[str, str] = field(default_factory=dict)
    """Errors by the id of the cell or training."""
    made: set[str] = field(default_factory=set)
    """The ids of the cells and trainings that this run did."""
    open: Counter[str] = field(default_factory=Counter)
    """By key, the tasks that have not ended; one that was divided counts more than once."""
    losses: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """How often a worker was lost at a task, by its key and what it does."""
    out: int = 0
    """Tasks that the executor has."""
    held: deque[Task] = field(default_factory=deque)
    """Tasks for one cell or training each, on which another process was working."""
    before: Mapping[str, tuple[int, int] | None] = field(init=False)
    """By cell, which file its record was when the run began."""

    def __post_init__(self) -> None:
        self.before = {identity: self.record_file(identity) for identity in self.jobs}

    def record_file(self, identity: str) -> tuple[int, int] | None:
        """Return what tells the file of a record from another one in its place; None where there is none."""
        try:
            stat = path_of(self.settings.results, identity).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def is_done(self, identity: str) -> bool:
        """Say whether a cell has a record of success; a forced run wants one that was written since it began."""
        is_new = not self.settings.force or self.record_file(identity) != self.before[identity]
        return is_new and is_done(self.settings.results, identity)

    def has_ended(self, identity: str) -> bool:
        """Say whether a cell or a training is done."""
        if identity in self.jobs:
            return self.is_done(identity)
        return not untrained([self.trainings[identity]], self.settings.results, force=self.settings.force)

    def check_all_ended(self) -> None:
        """Fail the cells that have ended without a record: their classes are of no use to each other."""
        for identity in self.jobs:
            if identity not in self.failed and not self.is_done(identity):
                self.fail(
                    identity,
                    "RecordError: some of its classes were removed by another run, or scored by another version of the "
                    "method, while it ran; run again",
                )

    def drive(self, tasks: Sequence[Task]) -> None:
        """Do the tasks."""
        waiting = list(tasks)
        self.open = Counter(task.key for task in tasks)
        while waiting or self.out or self.held:
            ready = [task for task in waiting if not any(self.open[key] for key in task.after)]
            waiting = [task for task in waiting if any(self.open[key] for key in task.after)]
            self.submit(ready)
            if self.out:
                ended = self.executor.wait(POLL if self.held else None)
                if ended is not None:
                    self.out -= 1
                    task, answer = ended
                    self.lose(task, explained(task, answer)) if isinstance(answer, Lost) else self.take(task, answer)
            elif self.held:
                time.sleep(POLL)
            self.resume()

    def submit(self, tasks: Sequence[Task]) -> None:
        """Hand tasks out, without the cells that failed or whose training did."""
        left = []
        for task in tasks:
            for ref in task.cells:
                if ref.training and ref.training.id.id in self.failed:
                    self.fail(ref.cell.id, self.failed[ref.training.id.id])
            rest = task.only(identity for identity in task.ids if identity not in self.failed)
            if rest.ids:
                left.append(rest)
            else:
                self.open[task.key] -= 1
        self.out += len(left)
        self.executor.submit(left)

    def take(self, task: Task, reply: Reply) -> None:
        """Take note of what a worker answers."""
        for line in reply.said:
            self.say(line)
        if reply.stop is not None:
            raise RecordError(reply.stop)
        for identity, error in reply.failed.items():
            self.fail(identity, error)
        self.made.update(reply.made)
        for identity in reply.busy:
            self.say(f"waiting for another process that is at {self.name(identity)}")
            self.held.append(replace(task.only([identity]), waited=True))
        self.open[task.key] += len(reply.busy) - 1

    def resume(self) -> None:
        """Hand out again the tasks that no other process is working on any more."""
        for _ in range(len(self.held)):
            task = self.held.popleft()
            (identity,) = task.ids
            try:
                with self.settings.lock(task.lock_name(identity), timeout=0):
                    pass
            except Timeout:
                self.held.append(task)
            else:
                if self.has_ended(identity):  # a cell is not done again, also not by force
                    self.say(f"done by another process: {self.name(identity)}")
                    self.open[task.key] -= 1
                else:
                    self.submit([task])

    def lose(self, task: Task, lost: Lost) -> None:
        """Decide what becomes of a task whose worker is gone."""
        known, alone = (task.key, *task.ids), len(task.ids) == 1
        self.made.update(filter(self.has_ended, task.ids))  # written before the worker was lost
        self.losses[known] += 1
        if alone and (lost.final or self.losses[known] >= ATTEMPTS):
            self.fail(task.ids[0], lost.cause)
            self.open[task.key] -= 1
            return
        self.say(f"{task.title}: {lost.cause}; trying again" + ("" if alone else " what is not done yet"))
        again = [task]
        if not alone and (lost.final or self.losses[known] >= ATTEMPTS - 1):
            again = [task.only([identity]) for identity in task.ids]
            for each in again:
                self.losses[(each.key, *each.ids)] = 0 if lost.final else ATTEMPTS - 1
        self.open[task.key] += len(again) - 1
        self.submit(again)

    def name(self, identity: str) -> str:
        """Return a cell or a training in words."""
        if identity in self.jobs:
            return self.jobs[identity].name
        return f"the training {self.trainings[identity].title}"

    def fail(self, identity: str, error: str) -> None:
        """Record that a cell or a training failed, and say so."""
        if identity in self.failed:
            return
        self.failed[identity] = error
        if identity in self.trainings:
            self.say(f"FAILED training {self.trainings[identity].title}: {error}")
        elif not self.is_done(identity):
            job, kept = self.jobs[identity], is_done(self.settings.results, identity)
            if not kept:
                write_record(self.settings.results, failure(job, error, self.settings))
            self.say(f"FAILED {job.name}: {error}" + ("; its results of before are kept" if kept else ""))
