"""The driver of a run: hands tasks to an executor in an order that works, and answers for what is lost.

It knows nothing of where tasks are done. Workers write checkpoints, parts and records of success; the driver writes the
records of failures alone. So when either is killed, all that was written holds, and the next run goes on from there.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from filelock import Timeout

from benchmark.common import Settings
from benchmark.records import RecordError, is_done, write_record
from benchmark.running.executors import Executor
from benchmark.running.parts import remove_parts
from benchmark.running.planning import Job, missing
from benchmark.running.tasks import Lost, Reply, Task, make_tasks
from benchmark.running.worker import failure, lock_name
from benchmark.training import Training, untrained

ATTEMPTS = 3
"""How often a task is handed out before what is left of it counts as failed, if its workers die."""
POLL = 0.5
"""Seconds between looks at what other processes hold."""


def run(
    jobs: Sequence[Job],
    settings: Settings,
    executor: Executor,
    *,
    say: Callable[[str], None],
    trainings: Sequence[Training] = (),
) -> dict[str, str]:
    """Run the missing jobs, after the trainings that they need; each leaves a record.

    A cell that fails is recorded with its error and the run goes on. What another process is computing is waited for
    at the end and not computed twice. A worker that dies costs its task an attempt; a task that has lost several, or
    took too long, is divided, so that one method does not take others with it.

    Args:
        jobs: from `plan`.
        settings: how to run.
        executor: where.
        say: called with a line for each cell and training that ends.
        trainings: further ones that are wanted for their own sake.

    Returns:
        The cells and trainings that failed, by id, with the error.

    Raises:
        BenchError: nothing can be written (disk full, no permission); what was written before is safe.
    """
    todo = missing(jobs, settings.results, force=settings.force)
    wanted = untrained([*trainings, *(job.training for job in todo if job.training)], settings.results)
    if not todo and not wanted:
        return {}
    settings.check_writable()
    if settings.force:
        for job in todo:
            remove_parts(settings.results, job.cell.id)
    driver = _Driver(settings, executor, say)
    driver.drive(make_tasks(todo, wanted, settings))
    return driver.failed


@dataclass
class _Driver:
    settings: Settings
    executor: Executor
    say: Callable[[str], None]
    failed: dict[str, str] = field(default_factory=dict)
    """By id of a cell or training, why."""
    running: Counter[str] = field(default_factory=Counter)
    """Tasks by key that are not done; one that was divided counts more than once."""
    lost: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """How often a worker died at a task, by its key and what it does."""
    out: int = 0
    """Tasks in the executor's hands."""
    held: deque[Task] = field(default_factory=deque)
    """Of one cell or training each, that another process was at."""

    def drive(self, tasks: Sequence[Task]) -> None:
        """Do the tasks."""
        waiting = list(tasks)
        self.running = Counter(task.key for task in tasks)
        while waiting or self.out or self.held:
            blocked = [any(self.running[key] for key in task.after) for task in waiting]
            self.submit([task for task, is_blocked in zip(waiting, blocked, strict=True) if not is_blocked])
            waiting = [task for task, is_blocked in zip(waiting, blocked, strict=True) if is_blocked]
            if self.out:
                ended = self.executor.wait(POLL if self.held else None)
                if ended is not None:
                    self.out -= 1
                    task, answer = ended
                    self.lose(task, answer) if isinstance(answer, Lost) else self.take(task, answer)
            elif self.held:
                time.sleep(POLL)
            self.resume()

    def submit(self, tasks: Sequence[Task]) -> None:
        """Hand tasks out, without what needs a training that failed."""
        whole = []
        for task in tasks:
            left = self.without_failed(task)
            if left.ids:
                whole.append(left)
            else:
                self.running[task.key] -= 1
        self.out += len(whole)
        self.executor.submit(whole)

    def without_failed(self, task: Task) -> Task:
        """Return what is left to do of a task; of what depends on a failed training, say so."""
        for job in task.jobs:
            if job.training and job.training.id.id in self.failed and job.cell.id not in self.failed:
                self.fail(task, job.cell.id, self.failed[job.training.id.id])
        return replace(
            task,
            jobs=tuple(job for job in task.jobs if job.cell.id not in self.failed),
            trainings=tuple(each for each in task.trainings if each.id.id not in self.failed),
        )

    def take(self, task: Task, reply: Reply) -> None:
        """Take note of what a worker says of a task."""
        for line in reply.said:
            self.say(line)
        if reply.stop is not None:
            raise RecordError(reply.stop)
        for identity, error in reply.failed.items():
            self.fail(task, identity, error)
        for identity in reply.busy:
            self.say(f"waiting for another process that is at {identity}")
            self.held.append(_only(task, identity))
        self.running[task.key] += len(reply.busy) - 1

    def resume(self) -> None:
        """Hand out again what no other process holds any more."""
        for _ in range(len(self.held)):
            task = self.held.popleft()
            try:
                with self.settings.lock(lock_name(task, task.ids[0]), timeout=0):
                    pass
            except Timeout:
                self.held.append(task)
            else:
                # What the other process has done is not done again, also not by force.
                if task.jobs and is_done(self.settings.results, task.ids[0]):
                    self.running[task.key] -= 1
                else:
                    self.submit([task])

    def lose(self, task: Task, lost: Lost) -> None:
        """Decide what becomes of a task whose worker is gone."""
        known, alone = (task.key, *task.ids), len(task.ids) == 1
        self.lost[known] += 1
        if alone and (lost.final or self.lost[known] >= ATTEMPTS):
            self.fail(task, task.ids[0], lost.cause)
            self.running[task.key] -= 1
            return
        self.say(f"{task.title}: {lost.cause}; trying again" + ("" if alone else " what is not done yet"))
        again = [task]
        if not alone and (lost.final or self.lost[known] >= ATTEMPTS - 1):
            again = [_only(task, identity) for identity in task.ids]
            for each in again:
                self.lost[(each.key, *each.ids)] = 0 if lost.final else ATTEMPTS - 1
        self.running[task.key] += len(again) - 1
        self.submit(again)

    def fail(self, task: Task, identity: str, error: str) -> None:
        """Record that a cell or a training failed, and say so."""
        if identity in self.failed:
            return
        self.failed[identity] = error
        for training in task.trainings:
            if training.id.id == identity:
                self.say(f"FAILED training {training.title}: {error}")
        for job in task.jobs:
            if job.cell.id == identity and (self.settings.force or not is_done(self.settings.results, identity)):
                write_record(self.settings.results, failure(job, error, self.settings))
                self.say(f"FAILED {job.title} on {job.samples.card.title}: {error}")


def _only(task: Task, identity: str) -> Task:
    """Return the share of a task that does one cell or training."""
    jobs = tuple(job for job in task.jobs if job.cell.id == identity)
    trainings = tuple(each for each in task.trainings if each.id.id == identity)
    titles = [f"{job.title} on {job.samples.card.title}" for job in jobs] + [each.title for each in trainings]
    return replace(task, title=titles[0], jobs=jobs, trainings=trainings)
