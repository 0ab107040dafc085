"""Processes that work for this one: none outlives it, and Ctrl-C is for this one to handle."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext


@contextmanager
def helpers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes. Where the block ends early, what they have not begun is not done."""
    pool = ProcessPoolExecutor(count, initializer=serve)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def serve(at_work: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
    """Make this process one that works for the process that started it.

    Args:
        at_work: gives what is waited for before this process ends because the other one is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(at_work,), daemon=True).start()


def _end_with_parent(at_work: Callable[[], AbstractContextManager[object]]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child process
    parent.join()
    with at_work():
        os._exit(0)
