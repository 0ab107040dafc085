"""How a computation ends: what was done by whom in what time, and whether it agrees with the reference."""

import os
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.common import RESULTS, counted, reference_results, tell

if TYPE_CHECKING:
    from benchmark.records import Record
    from benchmark.running import Outcome

BEGAN = time.monotonic()
"""When the command began: what takes long to import is imported later."""
MOST = 5
"""Cells that do not agree with the reference, of which a run tells more."""


@dataclass(frozen=True)
class Tally:
    """How many cells or trainings there are, and who did them."""

    total: int
    there: int
    """Done before the command began."""
    here: int
    failed: int

    @classmethod
    def of(cls, todo: Collection[str], outcome: "Outcome", *, there: int) -> "Tally":
        """Count what became of the cells or trainings of some ids, beside those that were there."""
        failed = sum(identity in outcome.failed for identity in todo)
        here = sum(identity in outcome.made and identity not in outcome.failed for identity in todo)
        return cls(len(todo) + there, there, here, failed)

    def told(self, what: str, *, since: float | None = None) -> str:
        """Return it in words, with the time that it has taken.

        Args:
            what: `cell` or `training`.
            since: When it began, by `time.monotonic`; None for the beginning of the command.
        """
        began = BEGAN if since is None else since
        others = self.total - self.there - self.here - self.failed
        parts = [f"{self.here} here"] if self.here or not self.there else []
        parts += [f"{others} by another run"] if others else []
        parts += [f"{self.there} {'was' if self.there == 1 else 'were'} there"] if self.there else []
        parts += [f"{self.failed} failed", duration(time.monotonic() - began)]
        return f"{counted(self.total, what)}: {', '.join(parts)}"


@dataclass(frozen=True)
class Ran:
    """What a command has computed."""

    records: "list[Record]" = field(default_factory=list)
    """Of all its cells; none after a dry run."""
    tally: str = ""
    """How many cells there are, who did them, and the time it took."""


def duration(seconds: float) -> str:
    """Return a time in words, as in `1 min 44 s`; hours without seconds."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def interruption(done: int, total: int, what: str, folder: Path) -> KeyboardInterrupt:
    """Return the error of a computation that the user has interrupted; it says what is kept.

    Args:
        done: How many cells or trainings have results.
        total: Of how many.
        what: `cell` or `training`.
        folder: Where the results are.
    """
    have = "has" if total == 1 else "have"
    return KeyboardInterrupt(
        f"interrupted: {done} of {counted(total, what)} {have} results, in {folder}; finished classes and epochs of "
        "the others are kept, and the same command goes on from there"
    )


def tell_of_reference(results: Path) -> None:
    """Say so if a command is about to write into the reference."""
    if _is_reference(results):
        tell(
            f"note: results go into the reference itself, {results}, with which others are compared; to keep it as it "
            "is, stop and name another folder by --results"
        )


def compare_with_reference(records: "Sequence[Record]", results: Path) -> None:
    """Say how the results of a run agree with those of the reference, where that has the same cells.

    Nothing is said where there is no checkout, or where the run writes the reference itself.

    Args:
        records: Those of the run.
        results: The folder in which they are.
    """
    from benchmark.records import TOLERANCE, pair_up, records_beside
    from benchmark.tables import agreement_line, disagreement_lines

    reference = reference_results()
    if reference is None or _is_reference(results):
        return
    beside, problems = records_beside(reference, records)
    for problem in problems:
        tell(f"cannot be compared: {problem}")
    pairing = pair_up(records, beside, tolerance=TOLERANCE)
    if pairing.pairs:
        lines, place = disagreement_lines(pairing), _short(reference)
        for line in lines[:MOST]:
            tell(f"differs: {line}")
        if (more := len(lines) - MOST) > 0:
            option = "" if results == RESULTS else f"--results {shlex.quote(str(results))} "
            command = f"bench compare {option}--against {shlex.quote(place)}"
            tell(f"and {counted(more, 'more cell')} {'differs' if more == 1 else 'differ'}; `{command}` lists all")
        tell(agreement_line(pairing, place))


def _is_reference(results: Path) -> bool:
    reference = reference_results()
    return reference is not None and reference.resolve() == results.resolve()


def _short(path: Path) -> str:
    """Return a path as one types it here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near
