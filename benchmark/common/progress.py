"""Progress of long work: a bar in a terminal, and in a notebook that can show one, plain lines elsewhere."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from benchmark.common.names import size_in_words

LINE_EVERY = 10.0  # seconds between plain lines


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


def tell(line: str) -> None:
    """Print a line of progress on standard error, so that standard output holds the result alone.

    It is there at once, also in a process whose other lines are told when its task has ended.
    """
    print(line, file=sys.stderr, flush=True)


@contextmanager
def image_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` images are done, images per second and the time left.

    Yields:
        A function that is called with the number of images that were done since the last call.
    """

    def line(done: int, speed: float) -> str:
        left = (total - done) / speed
        return f"{title}: {done}/{total} images, {speed:.1f} images/s, {left:.0f} s left"

    columns = (BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with _progress(title, total, 0, columns, line) as advance:
        yield advance


@contextmanager
def byte_progress(title: str, total: int | None, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` bytes are there, bytes per second and the time left.

    Args:
        title: What they are of.
        total: All bytes; None where that is unknown.
        done: Those that were there before.

    Yields:
        A function that is called with the number of bytes that came since the last call.
    """

    def line(done: int, speed: float) -> str:
        if total is None:
            return f"{title}: {size_in_words(done)}, {size_in_words(round(speed))}/s"
        there, left = f"{size_in_words(done)} of {size_in_words(total)}", max(0, total - done) / speed
        return f"{title}: {there}, {size_in_words(round(speed))}/s, {left:.0f} s left"

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _progress(title, total, done, columns, line) as advance:
        yield advance


@contextmanager
def _progress(
    title: str, total: int | None, there: int, columns: Sequence[ProgressColumn], line: Callable[[int, float], str]
) -> Iterator[Callable[[int], None]]:
    """Show a bar with these columns, or lines that `line` makes of what is done and of the speed."""
    console = Console(stderr=True)
    shows = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)  # as rich needs it
    if shows and multiprocessing.parent_process() is None:  # the bars of several processes would mix
        with Progress(TextColumn(title), *columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total, completed=there)
            yield lambda more: bar.update(task, advance=more)
        return
    done, start = there, time.monotonic()
    next_line = start + LINE_EVERY

    def advance(more: int) -> None:
        nonlocal done, next_line
        done += more
        now = time.monotonic()
        if now >= next_line:
            next_line = now + LINE_EVERY
            tell(line(done, (done - there) / (now - start)))

    yield advance
