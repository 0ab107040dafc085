"""Work that goes on in threads beside the caller's, in lanes that each keep their order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import torch

T = TypeVar("T")

WAITING = 2
"""Jobs of a lane that may be under way, so that what they hold stays small."""


class Lanes:
    """Threads that do the jobs of some lanes, each computing on one core.

    Args:
        threads: number of threads; with 0 each job is done at once, by the caller.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "lane", _compute_alone) if threads else None

    def lane(self) -> "Lane":
        """Return a new lane."""
        return Lane(self._pool)

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


class Lane:
    """Jobs that are done one after the other, in the order in which they are given."""

    def __init__(self, pool: ThreadPoolExecutor | None) -> None:
        self._pool = pool
        self._jobs: deque[Future[Any]] = deque()

    def do(self, job: Callable[[], T]) -> "Future[T]":
        """Give a job to the lane. If two of its jobs are under way, wait for the first of them."""
        if self._pool is None:
            done: Future[T] = Future()
            done.set_result(job())
            return done
        if len(self._jobs) == WAITING:
            wait([self._jobs.popleft()])
        before = self._jobs[-1] if self._jobs else None
        future = self._pool.submit(_after, before, job)
        self._jobs.append(future)
        return future


def _compute_alone() -> None:
    """Let this thread compute without helpers: else each lane takes as many cores as torch has threads.

    It is a setting of the thread, for OpenMP and for MKL. The caller keeps its own.
    """
    torch.set_num_threads(1)


def _after(before: "Future[Any] | None", job: Callable[[], T]) -> T:
    if before:
        wait([before])  # it has begun, since jobs begin in order, so this does not wait for a thread that waits
    return job()
