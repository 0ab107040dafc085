"""How commands talk to the user."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


def say(line: str) -> None:
    """Print a line of progress on standard error, so that standard output holds the result alone."""
    print(line, file=sys.stderr, flush=True)


def fail(message: str, *, code: int = 2) -> NoReturn:
    """End the command with a message."""
    say(f"bench: {message}")
    sys.exit(code)


@contextmanager
def writing(place: object) -> Iterator[None]:
    """End the command with a message if `place`, a path or an option with its path, cannot be written."""
    try:
        yield
    except OSError as error:
        fail(f"{place}: cannot be written: {error.strerror or error}")
