"""Getting datasets for a command: licences are shown and accepted, and what became of each dataset is said."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from benchmark.cli.messages import fail
from benchmark.common import tell

if TYPE_CHECKING:
    from benchmark.api import Computation, Learning, Places
    from benchmark.data import Card
    from benchmark.downloads import Getting, Got
    from benchmark.running import Chosen


def getting(data: Path, *, accept: bool) -> "Getting":
    """Return what gets datasets into a folder.

    Args:
        data: The folder.
        accept: Whether the user accepts the licences; else a terminal asks.
    """
    from benchmark.downloads import Getting

    return Getting(data, _agreeing(accept=accept), tell)


def _agreeing(*, accept: bool) -> "Callable[[Sequence[Card]], None]":
    from benchmark import downloads

    def agree(cards: "Sequence[Card]") -> None:
        for card in cards:
            tell(f"{card.title}: licence {card.licence}" + (f"; see {card.home}" if card.home else ""))
        if not accept:
            them = "this licence" if len(cards) == 1 else "these licences"
            if not sys.stdin.isatty():
                fail(f"nothing was fetched: say --accept if you accept {them}; you are asked once for each dataset")
            if not typer.confirm(f"Do you accept {them}?", err=True):
                fail("nothing was fetched, since a licence is not accepted")
        for card in cards:
            downloads.accept(card)

    return agree


def tell_got(got: "Got") -> None:
    """Say what became of a dataset."""
    card = got.card
    if got.state == "by hand":
        tell(got.message)
    elif got.state == "failed":
        tell(f"FAILED {card.title} ({card.name}): {got.message}")
    else:
        was = "was there already" if got.state == "there" else got.state
        tell(f"{card.title} ({card.name}): {was}, {got.message}; licence {card.licence}")


def summary_of_got(results: "Sequence[Got]") -> str:
    """Return in a line which datasets are there, and which are not."""
    parts = []
    for state in ("there", "fetched", "unpacked", "by hand", "failed"):
        if names := [got.card.name for got in results if got.state == state]:
            parts.append(f"{state}: {', '.join(names)}")
    return "; ".join(parts)


def get_missing(
    names: Sequence[str],
    where: "Places",
    chosen: "Chosen",
    learning: "Learning",
    computation: "Computation",
    *,
    accept: bool,
) -> list[str]:
    """Fetch what a run needs, is missing and needs no person, once all that can be checked without data is right.

    Args:
        names: Of the datasets to run on, and of plain folders; without names, all that the tables show.
        where: Where data lies; `data` is given, and datasets with a path of their own are there.
        chosen: The methods. Those that learn need their auxiliary datasets, too.
        learning: What they train on.
        computation: How the run is computed.
        accept: As for `getting`.

    Returns:
        The names of datasets that could not be fetched.
    """
    from benchmark.api import wanted_by_run

    folders = [each.title for each in where.folders]
    for method, _ in chosen:
        computation.source(method, synthetic=False)  # refuses what --backbone cannot be
    cards = wanted_by_run(
        [name for name in names if name not in folders],
        chosen,
        learning,
        every=not names and not folders,
        folders=folders,
    )
    return get_cards(cards, where, accept=accept)


def get_cards(cards: "Sequence[Card]", where: "Places", *, accept: bool) -> list[str]:
    """Fetch those of some datasets that are missing and need no person.

    Args:
        cards: Of the datasets.
        where: Where data lies; `data` is given, and datasets with a path of their own are there.
        accept: As for `getting`.

    Returns:
        The names of datasets that could not be fetched.
    """
    from benchmark.downloads import command_that_gets

    assert where.data is not None
    results = getting(where.data, accept=accept).get([card for card in cards if card.name not in where.paths])
    failed = []
    for got in results:
        if got.state == "by hand":
            how = command_that_gets(got.card, where.data)
            tell(f"{got.card.title}: not there, and a person must fetch it; `{how}` says how")
        elif got.occupied:  # whether that can be run on is not decided here
            tell(f"warning: {got.card.title} ({got.card.name}): {got.message}")
        elif got.state != "there":
            tell_got(got)
        if got.state == "failed" and not got.occupied:
            failed.append(got.card.name)
    return failed
