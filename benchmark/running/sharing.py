"""How the tasks of a run share the cores of this machine. Nothing of it changes a number beyond the last digits."""

import os
from dataclasses import dataclass

from benchmark.common import READERS

SMALL = 768
"""Width of the vision tower from which on its matrix products keep all cores busy (ViT-B and larger)."""
MEMORY = 2 * 10**9
"""Bytes for a process that computes with a small backbone; it takes about half of that."""


@dataclass(frozen=True)
class Share:
    """What each process of a run gets."""

    processes: int
    """Processes that compute, each a task at a time."""
    threads: int
    """Threads that a process computes with."""
    workers: int
    """Processes that read images for each of them; with 0 it reads them itself."""


def share(
    cores: int,
    *,
    tasks: int,
    width: int,
    gpus: int = 0,
    on_cpu: bool = True,
    processes: int | None = None,
    workers: int | None = None,
    memory: int | None = None,
) -> Share:
    """Divide the cores of this machine among the processes of a run.

    The operations of a small backbone are too short to be divided among threads: two threads take nearly as long as
    one, and many times as long where other work keeps one of them waiting. So each process has one thread, and as many
    tasks run side by side as there are cores. A large backbone gets all cores for one task after the other.

    Args:
        cores: cores of this machine.
        tasks: how many tasks can be done at the same time.
        width: length of a token in the vision tower of the widest backbone.
        gpus: accelerators of this machine, each of which gets a process.
        on_cpu: whether the CPU computes.
        processes: how many processes are asked for; None for the best number.
        workers: how many readers are asked for; None for the best number.
        memory: bytes of this machine; None if unknown.
    """
    small = on_cpu and width < SMALL
    if processes is None:
        fitting = cores if memory is None else memory // MEMORY
        processes = max(1, min(cores, tasks, fitting) if small else gpus)
    each = max(1, cores // processes)
    if workers is None:
        workers = min(READERS, each - 1 if small else each)
    return Share(processes, _threads_asked_for() or (1 if small else each), workers)


def _threads_asked_for() -> int | None:
    """Return the threads that OMP_NUM_THREADS names; None where it names no positive number."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list is of nested loops too
    return int(asked) or None if asked.isascii() and asked.isdecimal() else None
