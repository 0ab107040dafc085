"""How commands talk to the user."""

import sys
from typing import NoReturn


def say(line: str) -> None:
    """Print a line of progress on standard error, so that standard output holds the result alone."""
    print(line, file=sys.stderr, flush=True)


def fail(message: str, *, code: int = 2) -> NoReturn:
    """End the command with a message."""
    say(f"bench: {message}")
    sys.exit(code)
