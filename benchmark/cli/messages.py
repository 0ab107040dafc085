"""How commands talk to the user."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from benchmark.common import tell


def terminal_width() -> int | None:
    """Return how many letters a line of the terminal has, None where standard output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fail(message: str, *, code: int = 2) -> NoReturn:
    """End the command with a message."""
    tell(f"bench: {message}")
    sys.exit(code)


@contextmanager
def writing(place: object) -> Iterator[None]:
    """End the command with a message if `place`, a path or an option with its path, cannot be written."""
    try:
        yield
    except OSError as error:
        fail(f"{place}: cannot be written: {error.strerror or error}")
