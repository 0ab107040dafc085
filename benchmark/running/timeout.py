"""The time limit of a task: a worker that takes too long ends itself and says where it was."""

import faulthandler
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.running.tasks import Lost, Task


def _trace(task: Task) -> Path:
    """Return where a worker notes what it was doing when its time was over."""
    return task.settings.results / ".traces" / f"{task.key}--{len(task.ids)}--{task.ids[0]}.txt"


@contextmanager
def watched(task: Task) -> Iterator[None]:
    """End this process if the task takes too long; encoding has no limit, since it runs no code of a method."""
    limit = task.settings.cell_timeout
    if limit is None or task.kind == "encode":
        yield
        return
    trace = _trace(task)
    trace.parent.mkdir(parents=True, exist_ok=True)
    with trace.open("w", encoding="utf-8") as file:
        # A thread written in C: it works while Python code holds the interpreter's lock, and no clock change moves it.
        faulthandler.dump_traceback_later(limit * len(task.ids), exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    trace.unlink(missing_ok=True)


def explained(task: Task, lost: Lost) -> Lost:
    """Return why a task was lost: its time was over, or else what the executor says."""
    try:
        trace = _trace(task).read_text(encoding="utf-8", errors="replace")
        _trace(task).unlink()
    except OSError:
        return lost
    if not trace:
        return lost
    frames = re.findall(r'File "(.*)", line (\d+) in (.*)', trace.split("Thread")[-1])
    at = f"; it was in {frames[0][2]} ({frames[0][0]}, line {frames[0][1]})" if frames else ""
    limit = task.settings.cell_timeout or 0.0
    return Lost(f"TimeoutError: not done after {limit * len(task.ids):g} s (--cell-timeout {limit:g}){at}", final=True)
