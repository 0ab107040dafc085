"""What a check of a method is, and what it found."""

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.clip import FeatureError
from benchmark.contract import Method
from benchmark.errors import ContractError

ASK = "ask in vision() for what predict reads, and in training_vision() for what losses read"
"""How to correct a method that reads features that it does not ask for, whichever check it meets there."""

RAISE = "a method cannot end the program: raise an error that says what is wrong"
"""How to correct a method that exits."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check."""

    check: str
    """Name of the check."""
    passed: bool
    seen: str
    """What the check observed."""
    fix: str = ""
    """How to make the check pass; empty if it passed."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a method."""

    name: str
    run: Callable[[Any], str]
    """Returns what was observed; raises `ContractError` if the method breaks the contract."""
    fix: str
    applies: Callable[[Any], bool] = lambda tested: True
    """Takes the method under test, and returns whether it can break this part of the contract at all."""


def run_check(check: Check, tested: Any, method: type[Method]) -> list[Finding]:
    """Run a check if it applies. An error that the method's own code raises is a finding, too.

    Returns:
        The finding, or nothing if the check does not apply.
    """
    try:
        return [Finding(check.name, True, check.run(tested))] if check.applies(tested) else []
    except ContractError as error:
        seen = str(error)
    except (Exception, SystemExit) as error:  # a method's own code may raise anything
        unasked = isinstance(error, FeatureError)
        frames = list(traceback.extract_tb(error.__traceback__))
        if unasked:
            frames.pop()  # that of the features, which is no code of the method
        own = [frame for frame in frames if frame.filename == inspect.getsourcefile(method)] or frames
        place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}"
        text = " ".join(str(error).split())
        seen = f"{type(error).__name__}{': ' if text else ''}{text} ({place})"
        if unasked or isinstance(error, SystemExit):
            return [Finding(check.name, False, seen, ASK if unasked else RAISE)]
    return [Finding(check.name, False, seen, check.fix)]


def render(findings: Sequence[Finding]) -> str:
    """Return a line per finding, and below each failed one a line that says how to fix it."""
    lines = []
    for each in findings:
        lines.append(f"{'ok' if each.passed else 'FAILED':<8}{each.check:<13}{each.seen}")
        lines += [f"{'':<8}{'fix:':<13}{each.fix}"] if each.fix else []
    return "\n".join(lines)
