"""Columns of tables: a method each, grouped by what it learns from, then by year, then by title."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from benchmark.data import PLAIN
from benchmark.records import Record

TRAINING_FREE = "training-free"
AUXILIARY = "auxiliary dataset"


@dataclass(frozen=True)
class Column:
    """A method as a column of tables."""

    title: str
    learns_from: str = TRAINING_FREE
    """Heading of its group: `training-free`, `1-shot` for an image of the class, `auxiliary dataset`, or the last two
    together. Where methods were trained on different datasets for one target, the heading names them."""
    year: int | None = None
    """Year of its paper; None where no record says it."""
    auxiliary: tuple[str, ...] = ()
    """Names of the datasets on which it was trained."""
    shots: int = 0
    """Number of normal images of a class that it is shown."""

    @property
    def dated(self) -> str:
        """The title with the year, if it is known."""
        return self.title if self.year is None else f"{self.title} ({self.year})"


def columns_of(records: Iterable[Record], methods: Sequence[str] = ()) -> tuple[Column, ...]:
    """Return the columns of some records, whatever the order of these.

    What was trained on nothing comes first, then what is shown normal images of the class, then what was trained on an
    auxiliary dataset; in each group the older method comes first, and those without a year come last.

    Args:
        records: all records of the tables.
        methods: names of methods in the order of their columns; it replaces groups and years.
    """
    by_title: dict[str, list[Record]] = defaultdict(list)
    trained: dict[str, set[str]] = defaultdict(set)
    for record in records:
        by_title[record.title].append(record)
        if record.cell.auxiliary is not None:
            trained[record.dataset_title].add(trained_on(record))
    differ = any(len(names) > 1 for names in trained.values())

    found = []
    for title, same in by_title.items():
        names = sorted({trained_on(record) for record in same if record.cell.auxiliary is not None})
        shots = max(map(shots_of, same))
        year = max((record.year for record in same if record.year is not None), default=None)
        group = learned_from(names, shots, named=differ)
        name = same[0].cell.method
        place = methods.index(name) if name in methods else len(methods)
        key = (place, bool(names), shots, group, math.inf if year is None else year, title)
        found.append((key, Column(title, group, year, tuple(names), shots)))
    return tuple(column for _, column in sorted(found, key=lambda pair: pair[0]))


def learned_from(auxiliary: Sequence[str], shots: int, *, named: bool = True) -> str:
    """Return in words what a method learns from.

    Args:
        auxiliary: names of the auxiliary datasets.
        shots: number of normal images of a class that the method is shown.
        named: whether the auxiliary datasets are named.
    """
    parts = [f"{AUXILIARY} {', '.join(auxiliary)}" if named else AUXILIARY] if auxiliary else []
    return ", ".join([*parts, *([f"{shots}-shot"] if shots else [])]) or TRAINING_FREE


def places_of(records: Iterable[Record], methods: Sequence[str] = ()) -> Mapping[str, int]:
    """Return the place of each title among the columns of some records."""
    return {column.title: place for place, column in enumerate(columns_of(records, methods))}


def groups_of(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Return the columns side by side that learn from the same, under the heading of the group."""
    return [(group, list(same)) for group, same in groupby(columns, key=attrgetter("learns_from"))]


def shots_of(record: Record) -> int:
    """Return the number of normal images of a class that the method was shown, 0 for a zero-shot one."""
    return max((len(keys) for keys in (record.cell.references or {}).values()), default=0)


def trained_on(record: Record) -> str:
    """Return the name of the auxiliary dataset; of a plain folder the one that the user gave."""
    auxiliary, training = record.cell.auxiliary, record.training
    if auxiliary is None:
        return "none"
    own = auxiliary.name.startswith(PLAIN) and training is not None and training.origin == "trained"
    return training.source if own and training else auxiliary.name
