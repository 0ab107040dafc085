"""Whether two records of the same work agree, on machines that round differently."""

from collections.abc import Iterable

from benchmark.records.records import ClassResult, Record

Span = tuple[float, float] | None


def range_over_classes(classes: Iterable[ClassResult]) -> dict[str, tuple[float, float]]:
    """Return the unweighted mean of the lower and of the upper ends of each metric that has a range in all classes."""
    rows = [result.ranges for result in classes]
    shared = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
    return {
        name: (sum(row[name][0] for row in rows) / len(rows), sum(row[name][1] for row in rows) / len(rows))
        for name in shared
    }


def disagreements(one: Record, other: Record, *, tolerance: float) -> list[str]:
    """Return a line for each number in which two records of the same work differ by more than machines do.

    Numbers agree within the tolerance. Those of a fragile metric agree where their ranges overlap, also where one of
    the two is undefined: then last digits of the scores can make the difference.
    """
    found = []
    numbers, others = _numbers(one), _numbers(other)
    for place in dict.fromkeys((*numbers, *others)):
        (values, ranges), (other_values, other_ranges) = numbers.get(place, ({}, {})), others.get(place, ({}, {}))
        for name in dict.fromkeys((*values, *other_values)):
            value, other_value = values.get(name), other_values.get(name)
            if not _overlap(_span(value, ranges.get(name)), _span(other_value, other_ranges.get(name)), tolerance):
                found.append(f"{place}, {name}: {value} and {other_value}")
    return found


def _numbers(record: Record) -> dict[str, tuple[dict[str, float | None], dict[str, tuple[float, float]]]]:
    """Return the metrics and ranges of each class, of each of its kinds of defect, and of the mean over the classes."""
    numbers = {}
    for name, result in record.classes.items():
        numbers[name] = result.metrics, result.ranges
        numbers |= {f"{name}, {kind}": (each.metrics, each.ranges) for kind, each in result.defects.items()}
    return {**numbers, "mean": (record.mean, range_over_classes(record.classes.values()))}


def _span(value: float | None, found: Span) -> Span:
    return found or (None if value is None else (value, value))


def _overlap(one: Span, other: Span, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return max(one[0], other[0]) <= min(one[1], other[1]) + tolerance
