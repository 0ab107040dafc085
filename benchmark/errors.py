"""The errors a user can mend; the command line shows their message alone, without a traceback."""


def first_misfit(error: RuntimeError) -> str:
    """Return the first thing that torch says does not fit when a state dict is loaded."""
    lines = str(error).split("\n")
    return lines[1].strip() if len(lines) > 1 else lines[0]


class BenchError(Exception):
    """Something is wrong with what was given; the message names the file, card or option at fault and the way out."""
