"""Choosing names among those that there are."""

import difflib
from collections.abc import Iterable

from benchmark.errors import BenchError


class RegistryError(BenchError):
    """A method or an option is unknown or wrong; the message names the near ones."""


def choose(what: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the wanted names, each once.

    Args:
        what: what the names are names of, in the singular.
        wanted: names to check.
        known: names that exist.

    Raises:
        RegistryError: A name is unknown. The message suggests similar names.
    """
    known = list(known)
    chosen = list(dict.fromkeys(wanted))
    for name in chosen:
        if name not in known:
            folded = name.casefold()
            near = [folded] if folded in known else difflib.get_close_matches(folded, known, n=3)
            raise RegistryError(
                f"unknown {what} {name!r}; "
                + (f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}")
            )
    return chosen
