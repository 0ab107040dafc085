"""Metrics that are undefined although one expects them, and why: images of one label, or none that could be read."""

from collections import defaultdict

from benchmark.common import listed
from benchmark.data import load_cards
from benchmark.metrics import Level
from benchmark.records.records import ClassResult, Record

MOST_NAMES = 3
"""Classes that a reason names."""


def expected_levels(record: Record) -> tuple[Level, ...]:
    """Return the levels of a record's metrics at which its dataset should have some, as its card says.

    A dataset without a card should have them at image level, and at pixel level where some class has a pixel metric.
    """
    card = load_cards().get(record.cell.dataset.card_name)
    pixel = any(not is_undefined(result.metrics, "pixel") for result in record.classes.values())
    expected = card.levels if card is not None else ("image", "pixel") if pixel else ("image",)
    return tuple(level for level in expected if any(key.startswith(level) for key in record.mean))


def is_undefined(metrics: dict[str, float | None], level: Level) -> bool:
    """Say whether no metric of a level is defined."""
    return all(value is None for key, value in metrics.items() if key.startswith(level))


def undefined(record: Record) -> dict[Level, str]:
    """Return the expected levels at which a finished record has no number, each with the reason in half a sentence."""
    return {
        level: _why(record, level)
        for level in expected_levels(record)
        if record.status == "done" and is_undefined(record.mean, level)
    }


def undefined_reason(record: Record, level: Level, class_name: str | None = None) -> str:
    """Return in half a sentence why a record, or one of its classes, has no number at a level; empty where it has one.

    A level that the dataset is not expected to have needs no reason.
    """
    if class_name is None:
        return undefined(record).get(level, "")
    result = record.classes[class_name]
    return _cause(result, level).format(of="") if is_undefined(result.metrics, level) else ""


def undefined_notes(record: Record) -> list[str]:
    """Return a sentence for each reason why a record has no number at an expected level."""
    mean = "mean of the " if len(record.classes) > 1 else ""
    levels: dict[str, list[Level]] = defaultdict(list)
    for level, why in undefined(record).items():
        levels[why].append(level)
    return [f"No {mean}{' and '.join(of)} metrics, since {why}." for why, of in levels.items()]


def _why(record: Record, level: Level) -> str:
    causes: dict[str, list[str]] = defaultdict(list)
    for name, result in record.classes.items():
        if is_undefined(result.metrics, level):
            causes[_cause(result, level)].append(name)
    alone = len(record.classes) == 1
    return "; ".join(
        cause.format(of="" if alone else f" of {listed(names, MOST_NAMES)}") for cause, names in causes.items()
    )


def _cause(result: ClassResult, level: Level) -> str:
    if not result.normal + result.anomalous:
        return "no image{of} could be read"
    if not result.anomalous:
        return "all images{of} are normal"
    if level != "pixel":
        return f"all {level}s{{of}} are anomalous"
    return "no mask{of} marks a defect"
