"""What the pages say of a method besides its results."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
