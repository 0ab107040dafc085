"""The errors a user can mend; the command line shows their message alone, without a traceback."""


class BenchError(Exception):
    """Something is wrong with what was given; the message names the file, card or option at fault and the way out."""
