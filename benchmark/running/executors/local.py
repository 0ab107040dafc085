"""Processes of this machine, one per accelerator or as many as asked for."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from benchmark.common import serve
from benchmark.running.tasks import Ended, Lost, Reply, Task

GRACE = 5.0
"""Seconds in which a process may end when it is told to."""

_working = threading.Lock()
"""Held by a worker process while it does a task."""


@dataclass
class _Worker:
    """A pool of one process: when it dies, nothing but its own task is lost."""

    pool: ProcessPoolExecutor
    device: str
    process: BaseProcess | None = None
    task: Task | None = None


class LocalProcesses:
    """Processes that do one task each at a time; one that dies is replaced.

    They are forked from a server that has imported what they need, once for all of them, and has used no device. A
    process whose driver is gone ends its task, and then itself.
    """

    def __init__(self, count: int, devices: Sequence[str] = (), *, threads: int = 1) -> None:
        """Take on `count` processes of so many threads, on these devices in turn (none: each on that of its task)."""
        self._threads = threads
        self.devices = tuple(devices[index % len(devices)] if devices else "" for index in range(count))
        """The device of each process; empty: the one that its task names."""
        self._idle = [self._hire(device) for device in self.devices]
        self._queue: deque[Task] = deque()
        self._busy: dict[Future[Reply], _Worker] = {}

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)
        self._hand_out()

    def wait(self, seconds: float | None = None) -> Ended | None:
        done, _ = wait(self._busy, seconds, FIRST_COMPLETED)
        if not done:
            return None
        future = done.pop()
        worker = self._busy.pop(future)
        task, worker.task = worker.task, None
        assert task is not None  # a busy worker has one
        answer: Reply | Lost
        try:
            answer = future.result()
        except BrokenProcessPool:
            answer = Lost(_cause(worker.process))
            worker.pool.shutdown(wait=False)
            worker = self._hire(worker.device)
        except Exception as error:  # a task or an answer that does not get through
            answer = Lost(f"{type(error).__name__}: {error}", final=True)
        self._idle.append(worker)
        self._hand_out()
        return task, answer

    def close(self) -> None:
        self._queue.clear()
        workers = [*self._busy.values(), *self._idle]
        for worker in workers:
            if worker.process is not None:
                worker.process.terminate()
        for worker in workers:
            if worker.process is not None:
                worker.process.join(GRACE)
                worker.process.kill()
            worker.pool.shutdown(wait=False, cancel_futures=True)
        self._busy.clear()
        self._idle.clear()

    def _hire(self, device: str) -> _Worker:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmark.running.worker"])
        arguments = (self._threads, dict(os.environ))
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=_set_up, initargs=arguments)
        return _Worker(pool, device)

    def _hand_out(self) -> None:
        while self._queue and self._idle:
            worker = self._idle.pop()  # of those that are idle, the one that worked last has a backbone at hand
            worker.task = self._queue.popleft()
            before = set(multiprocessing.active_children())
            try:
                future = worker.pool.submit(_perform, worker.task, worker.device)
            except BrokenProcessPool as error:  # the process died while it was idle
                future = Future()
                future.set_exception(error)
            started = set(multiprocessing.active_children()) - before
            worker.process = started.pop() if started else worker.process  # it starts with the first task
            self._busy[future] = worker


def _cause(process: BaseProcess | None) -> str:
    code = _exit_code(process) if process is not None else None
    if code is None or code >= 0:
        return f"WorkerDied: its process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return f"WorkerDied: its process was ended by signal {-code} ({name}){hint}"


def _exit_code(process: BaseProcess) -> int | None:
    """Wait for the end of a process and return its exit code.

    The pool waits for the process too, in a thread of its own. Only one of the two is told the code, and notes it in
    the process object for the other.
    """
    until = time.monotonic() + GRACE
    while process.exitcode is None and time.monotonic() < until:
        process.join(0.05)
        time.sleep(0.01)
    return process.exitcode


def _set_up(threads: int, environment: Mapping[str, str]) -> None:
    """Prepare a worker process."""
    os.environ.clear()  # that of the server is as old as the server
    os.environ.update(environment)
    # Those that read images start as they do elsewhere.
    multiprocessing.set_start_method(None, force=True)
    import torch

    torch.set_num_threads(threads)
    serve(lambda: _working)


def _perform(task: Task, device: str) -> Reply:
    from benchmark.running.worker import perform

    with _working:
        return perform(task, device=device)
