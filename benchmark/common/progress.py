"""Progress of long work: a bar in a terminal, and in a notebook that can show one, plain lines elsewhere."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY = 10.0  # seconds between plain lines


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


def tell(line: str) -> None:
    """Print a line at once, also in a process whose other lines are told when its task has ended."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def image_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` images are done, images per second and the time left.

    Yields:
        A function that is called with the number of images that were done since the last call.
    """
    console = Console(stderr=True)
    shows = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)  # as rich needs it
    if shows and multiprocessing.parent_process() is None:  # the bars of several processes would mix
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda images: bar.update(task, advance=images)
        return
    done, start = 0, time.monotonic()
    next_line = start + LINE_EVERY

    def advance(images: int) -> None:
        nonlocal done, next_line
        done += images
        now = time.monotonic()
        if now >= next_line:
            next_line = now + LINE_EVERY
            speed = done / (now - start)
            left = (total - done) / speed
            line = f"{title}: {done}/{total} images, {speed:.1f} images/s, {left:.0f} s left"
            tell(line)

    yield advance
