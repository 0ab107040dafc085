"""Where tasks are done: in this process, in others of this machine, on a Ray cluster, by Slurm.

An executor takes tasks and gives back what became of each. What crosses a process boundary is text: orders.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from benchmark.running.tasks import Ended, Reply, Task


class Executor(Protocol):
    """Where tasks are done."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take in tasks; those that were taken in first are begun first."""

    def wait(self, seconds: float | None = None) -> Ended | None:
        """Return a task that has ended; None if none has after so many seconds (no limit: None)."""

    def close(self) -> None:
        """Give back what it holds; what is running is stopped."""


class InThisProcess:
    """Does one task after the other, as they come."""

    def __init__(self, do: Callable[[Task], Reply]) -> None:
        self._do = do
        self._queue: deque[Task] = deque()

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)

    def wait(self, seconds: float | None = None) -> Ended:
        task = self._queue.popleft()
        return task, self._do(task)

    def close(self) -> None:
        self._queue.clear()
