"""What the pages say of a method besides its results."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.data import load_cards
from benchmark.report.report_data import ReportData
from benchmark.tables import Column, learned_from, trained_on


@dataclass(frozen=True)
class OptionFacts:
    """What is known of an option of a method."""

    default: str
    meaning: str
    """Empty where its author says nothing of it."""


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method besides its records, from its code."""

    paper: str
    """Reference of the paper."""
    summary: tuple[str, ...] = ()
    """What the method does: the paragraphs of the documentation of its class."""
    options: Mapping[str, OptionFacts] = field(default_factory=dict)
    """By name, in the order of the method's options."""


def option_text(value: Any) -> str:
    """Return the value of an option as it is typed on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def learns_from(column: Column, report: ReportData) -> str:
    """Return what a method learns from, as in `MVTec AD (VisA for MVTec AD)`: what serves most targets first."""
    cards = load_cards()
    targets: dict[str, list[str]] = defaultdict(list)
    for record in report.main:
        if record.title == column.title and record.cell.auxiliary is not None:
            name = trained_on(record)
            named = cards[name].title if name in cards else name
            if record.dataset_title not in targets[named]:
                targets[named].append(record.dataset_title)
    if not targets:
        return learned_from([], column.shots)
    first, *others = sorted(targets, key=lambda name: (-len(targets[name]), name))
    said = ", ".join(f"{name} for {', '.join(targets[name])}" for name in others)
    shots = f", {learned_from([], column.shots)}" if column.shots else ""
    return first + (f" ({said})" if said else "") + shots
