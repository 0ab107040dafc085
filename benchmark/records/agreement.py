"""Whether two records of the same work agree, on machines that round differently."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmark.metrics import METRICS
from benchmark.records.records import ClassResult, Record

TOLERANCE = 0.001
"""Difference of a metric, in [0, 1], up to which two machines agree. A training on features that differ in the last
digits may move no metric by more: `tests/authoring/test_stability.py` tries it for each method that learns."""
SAME_MACHINE = 1e-6
"""The same where machine, packages and size of the batches are the same."""
KIND = 10
"""How many times as much the number of a kind of defect may differ: it rests on a few images, and the order of one or
two of their pixels changes F1-max by more than the tolerance of a class."""
_ROUNDING = 1e-9
"""Difference up to which a value counts as an end of its range."""

Span = tuple[float, float] | None
Place = tuple[str | None, str | None]
"""A class and a kind of defect of it; None and None for the mean over the classes."""


@dataclass(frozen=True)
class Difference:
    """A number of two records of the same work; metrics in [0, 1], None where undefined."""

    class_name: str | None
    """None for the mean over the classes."""
    defect: str | None
    """The kind of defect; None for the number of the class itself."""
    metric: str
    one: float | None
    other: float | None
    size: float
    """By how much the two differ: infinite where one alone is defined; of a fragile metric the gap between the ranges,
    0 where they overlap, also where one of the two is undefined: then last digits of the scores make the difference."""

    @property
    def place(self) -> str:
        """The class and the kind of defect, or `mean`."""
        return ", ".join(name for name in (self.class_name or "mean", self.defect) if name)


def range_over_classes(classes: Iterable[ClassResult]) -> dict[str, tuple[float, float]]:
    """Return the unweighted mean of the lower and of the upper ends of each metric that has a range in a class.

    A class in which no near tie moves an image metric counts with its value. A class without the range of a fragile
    metric leaves the mean without one.
    """
    rows = list(classes)
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.ranges):
        known = [row.ranges.get(name) or _value_as_range(row, name) for row in rows]
        spans = [each for each in known if each is not None]
        if len(spans) == len(rows):
            found[name] = (sum(low for low, _ in spans) / len(rows), sum(high for _, high in spans) / len(rows))
    return found


def _value_as_range(result: ClassResult, name: str) -> Span:
    return None if METRICS[name].fragile else _span(result.metrics.get(name), None)


def differences(one: Record, other: Record) -> list[Difference]:
    """Return every number of two records of the same work, those of the classes and of kinds of defect before means."""
    numbers, others = dict(_numbers(one)), dict(_numbers(other))
    found = []
    for place in dict.fromkeys((*numbers, *others)):
        (values, ranges), (other_values, other_ranges) = numbers.get(place, ({}, {})), others.get(place, ({}, {}))
        for name in dict.fromkeys((*values, *other_values)):
            value, other_value = values.get(name), other_values.get(name)
            gap = _gap(_span(value, ranges.get(name)), _span(other_value, other_ranges.get(name)))
            found.append(Difference(*place, name, value, other_value, gap))
    return found


def _numbers(record: Record) -> Iterator[tuple[Place, tuple[dict[str, float | None], dict[str, tuple[float, float]]]]]:
    """Yield the metrics and ranges of each class, of each of its kinds of defect, and of the mean over the classes."""
    for name, result in record.classes.items():
        yield (name, None), (result.metrics, result.ranges)
        for kind, each in result.defects.items():
            yield (name, kind), (each.metrics, each.ranges)
    yield (None, None), (record.mean, range_over_classes(record.classes.values()))


def _span(value: float | None, found: Span) -> Span:
    """Return the range of a value; a value that lies outside of its range was not made with it and stands alone."""
    if value is None or (found and found[0] - _ROUNDING <= value <= found[1] + _ROUNDING):
        return found
    return value, value


def _gap(one: Span, other: Span) -> float:
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return max(0.0, max(one[0], other[0]) - min(one[1], other[1]))
