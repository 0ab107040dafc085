"""What a check of a method is, and what it found."""

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.contract import Method
from benchmark.errors import ContractError


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


def run_check(check: Check, tested: Any, method: type[Method]) -> Finding:
    """Run a check. An error that the method's own code raises is a finding, too."""
    try:
        return Finding(check.name, True, check.run(tested))
    except ContractError as error:
        seen = str(error)
    except Exception as error:  # a method's own code may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == inspect.getsourcefile(method)] or frames
        place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}"
        seen = f"{type(error).__name__}: {' '.join(str(error).split())} ({place})"
    return Finding(check.name, False, seen, check.fix)


def render(findings: Sequence[Finding]) -> str:
    """Return a line per finding, and below each failed one a line that says how to fix it."""
    lines = []
    for each in findings:
        lines.append(f"{'ok' if each.passed else 'FAILED':<8}{each.check:<13}{each.seen}")
        lines += [f"{'':<8}{'fix:':<13}{each.fix}"] if each.fix else []
    return "\n".join(lines)
