"""Marks of numbers in tables: the best and the second of a row, and the signs that notes below a table explain."""

from collections.abc import Sequence
from typing import Literal

from benchmark.metrics import FEWEST_SEEDS, Metric

Mark = Literal["best", "second", ""]
WIDE = 0.1
"""In points: a value whose range is wider is marked."""
WIDE_MARK = "†"
WIDE_NOTE = (
    f"{WIDE_MARK} The last digits of the scores, which differ from machine to machine, can move this value by more "
    f"than {WIDE} points"
)
NOT_APART = "≈"
NOT_APART_NOTE = (
    f"{NOT_APART} the paired interval of the difference to the best method holds 0: these images do not tell the two "
    "apart. The best method was chosen on these images, so its lead is overstated."
)
ONE_TRAINING = "‡"
ONE_TRAINING_NOTE = (
    f"{ONE_TRAINING} one training, or fewer than {FEWEST_SEEDS}: the interval of the difference to the best method "
    "does not hold how much another training would change it."
)
SECOND_HAND_MARK = "§"
SECOND_HAND_NOTE = (
    f"{SECOND_HAND_MARK} Second hand: read in a text about the paper, not in the paper, its code or its logs"
)


def best_and_second(values: Sequence[float | None], metric: Metric) -> list[Mark]:
    """Return the marks of a row of percentages: best and second, none where all are equal.

    They go by the numbers as printed, with one decimal, so that what looks equal is marked alike.
    """
    return _marks(values, highest_first=metric.higher_is_better)


def lowest_and_second(values: Sequence[float | None]) -> list[Mark]:
    """Return the marks of a column of costs: best for the lowest; in all else as `best_and_second`."""
    return _marks(values, highest_first=False)


def _marks(values: Sequence[float | None], *, highest_first: bool) -> list[Mark]:
    printed = {round(value, 1) for value in values if value is not None}
    ranked = sorted(printed, reverse=highest_first)
    if len(ranked) < 2:
        return [""] * len(values)
    names: dict[float, Mark] = {ranked[0]: "best", ranked[1]: "second"}
    return ["" if value is None else names.get(round(value, 1), "") for value in values]


def is_wide(span: tuple[float, float] | None) -> bool:
    """Say whether a range, in percent, is so wide that the value in it is marked."""
    return span is not None and span[1] - span[0] > WIDE
