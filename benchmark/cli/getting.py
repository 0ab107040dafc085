"""Getting datasets for a command: licences are shown and accepted, and what became of each dataset is said."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from benchmark.cli.messages import fail, say

if TYPE_CHECKING:
    from benchmark.data import Card
    from benchmark.downloads import Getting, Got


def getting(data: Path, *, accept: bool) -> "Getting":
    """Return what gets datasets into a folder.

    Args:
        data: The folder.
        accept: Whether the user accepts the licences; else a terminal asks.
    """
    from benchmark.downloads import Getting

    return Getting(data, _agreeing(accept=accept), say)


def _agreeing(*, accept: bool) -> "Callable[[Sequence[Card]], None]":
    from benchmark import downloads

    def agree(cards: "Sequence[Card]") -> None:
        for card in cards:
            say(f"{card.title}: licence {card.licence}" + (f"; see {card.home}" if card.home else ""))
        if not accept:
            them = "this licence" if len(cards) == 1 else "these licences"
            if not sys.stdin.isatty():
                fail(f"nothing was fetched: say --accept if you accept {them}; you are asked once for each dataset")
            if not typer.confirm(f"Do you accept {them}?", err=True):
                fail("nothing was fetched, since a licence is not accepted")
        for card in cards:
            downloads.accept(card)

    return agree


def tell(got: "Got") -> None:
    """Say what became of a dataset."""
    card = got.card
    if got.state == "by hand":
        say(got.message)
    elif got.state == "failed":
        say(f"FAILED {card.title} ({card.name}): {got.message}")
    else:
        was = "was there already" if got.state == "there" else got.state
        say(f"{card.title} ({card.name}): {was}, {got.message}; licence {card.licence}")


def summary(results: "Sequence[Got]") -> str:
    """Return in a line which datasets are there, and which are not."""
    parts = []
    for state in ("there", "fetched", "unpacked", "by hand", "failed"):
        if names := [got.card.name for got in results if got.state == state]:
            parts.append(f"{state}: {', '.join(names)}")
    return "; ".join(parts)
