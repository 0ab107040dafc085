"""Errors that a user can correct. The command line shows their message without a traceback."""

from collections.abc import Iterable


def first_misfit(error: RuntimeError) -> str:
    """Return the first mismatch that torch names when a state dict does not fit a module."""
    lines = str(error).split("\n")
    return lines[1].strip() if len(lines) > 1 else lines[0]


def as_failure(error: BaseException) -> Exception:
    """Return the error of a method as one that ends its part of the work; a method must not end the process."""
    return error if isinstance(error, Exception) else RuntimeError(f"it called for the end of the process: {error!r}")


class BenchError(Exception):
    """An input is wrong. The message names the file, card or option at fault and says how to correct it."""


class NothingToRunError(BenchError):
    """What was asked for is there in part or not at all, and nothing is left to run.

    The first line of the message says so. The problems follow, a line each; they were told before.
    """

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__("\n".join([message, *problems]))


class ContractError(BenchError):
    """A method breaks the contract. The message says what was found, and what the contract asks for."""
