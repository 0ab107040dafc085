"""Processes of this machine, one per accelerator or as many as asked for."""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from benchmark.running.tasks import Ended, Lost, Reply, Task

if TYPE_CHECKING:
    from benchmark.running.orders import Clerk

GRACE = 5.0
"""Seconds in which a process may end when it is told to."""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    device: str
    task: Task | None = None


class LocalProcesses:
    """Spawned processes that do a task each at a time; one that dies is replaced.

    A process whose driver is gone ends the task that it is at, and then itself.
    """

    def __init__(self, clerk: "Clerk", count: int, devices: Sequence[str] = ()) -> None:
        """Take on `count` processes, on these devices in turn (none: the one that is asked for)."""
        self._clerk, self._count = clerk, count
        self._context = multiprocessing.get_context("spawn")
        self._devices = deque(devices[i % len(devices)] if devices else "" for i in range(count))
        self._workers: list[_Worker] = []
        self._queue: deque[Task] = deque()

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)
        self._hand_out()

    def wait(self, seconds: float | None = None) -> Ended | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            busy = [worker for worker in self._workers if worker.task is not None]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait([each for worker in busy for each in (worker.connection, worker.process.sentinel)], left)
            for worker in busy:
                # An answer counts even where its process has died since.
                if worker.connection in ready or worker.process.sentinel in ready:
                    return self._end(worker)
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def close(self) -> None:
        self._queue.clear()
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(GRACE)
            worker.process.kill()
            worker.connection.close()
        self._workers.clear()

    def _end(self, worker: _Worker) -> Ended:
        task, worker.task = worker.task, None
        assert task is not None  # it is one of those that are at something
        answer: Reply | Lost
        try:
            answer = Reply.model_validate_json(worker.connection.recv_bytes())
        except (EOFError, OSError):
            worker.process.join()
            answer = self._clerk.lost(task, _cause(worker.process.exitcode))
            self._workers.remove(worker)
            self._devices.append(worker.device)
            worker.connection.close()
        self._hand_out()
        return task, answer

    def _hand_out(self) -> None:
        while self._queue:
            idle = next((worker for worker in self._workers if worker.task is None), None) or self._start()
            if idle is None:
                return
            idle.task = self._queue.popleft()
            order = self._clerk.write(idle.task).encode()
            with suppress(OSError):  # it has died while it was idle; that shows when it is waited for
                idle.connection.send_bytes(order)

    def _start(self) -> _Worker | None:
        if not self._devices:
            return None
        ours, theirs = self._context.Pipe()
        threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or max(1, (os.cpu_count() or 1) // self._count)
        device = self._devices.popleft()
        process = self._context.Process(target=_serve, args=(theirs, device, threads), name="bench worker")
        process.start()
        theirs.close()  # so that its end is seen when the process dies
        self._workers.append(_Worker(process, ours, device))
        return self._workers[-1]


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"WorkerDied: its process ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return f"WorkerDied: its process was ended by signal {-exit_code} ({name}){hint}"


def _serve(connection: Connection, device: str, threads: int) -> None:
    """Do orders until there is nobody to take the answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    # A spawned process would spawn those that read images too, seconds each; they start as they do elsewhere.
    multiprocessing.set_start_method(None, force=True)
    import torch

    from benchmark.running.orders import execute

    torch.set_num_threads(threads)
    while True:
        try:
            connection.send_bytes(execute(connection.recv_bytes().decode(), device=device).encode())
        except (EOFError, OSError):  # the driver is gone
            sys.exit()
