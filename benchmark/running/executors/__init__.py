"""Executors: where tasks are done. In this process, in others of this machine, on a Ray cluster, by Slurm.

An executor takes tasks and gives back what became of each; every one of them calls `benchmark.running.worker.perform`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from benchmark.running.tasks import Ended, Task


class Executor(Protocol):
    """Where tasks are done."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take tasks; those that were taken first are started first."""

    def wait(self, seconds: float | None = None) -> Ended | None:
        """Return a task that has ended; None if none has after so many seconds (no limit: None)."""

    def close(self) -> None:
        """Give back what it holds; what is running is stopped."""


class InThisProcess:
    """Does one task after the other in this process."""

    def __init__(self, *, say: Callable[[str], None]) -> None:
        """Take `say`, which is called with each line for the user as it comes."""
        self._say = say
        self._queue: deque[Task] = deque()

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)

    def wait(self, seconds: float | None = None) -> Ended:
        from benchmark.running.worker import perform

        task = self._queue.popleft()
        return task, perform(task, say=self._say)

    def close(self) -> None:
        self._queue.clear()
