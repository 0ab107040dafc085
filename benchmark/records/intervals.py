"""Bootstrap intervals of a record, made from its results per image when it is written."""

from collections.abc import Mapping

import numpy as np

from benchmark.metrics import MAIN_METRICS, ClassImages, interval, replicates
from benchmark.records.draws import Draws, FloatArray
from benchmark.records.records import ClassResult, Record


def with_intervals(record: Record, images: Mapping[str, ClassImages]) -> Record:
    """Return a record with the interval of each class and with how its means move under each draw of the images.

    Args:
        record: of a cell that is done.
        images: its results per image by class, without the classes of which no image could be read. Each class is
            asked for once, and not needed any more when the next one is.
    """
    fingerprint = record.cell.dataset.fingerprint
    moves: dict[str, dict[str, FloatArray]] = {name: {} for name in record.classes}
    for name, of_class in images.items():
        moves[name] = _moves(of_class, fingerprint, name)
    classes = {
        name: result.model_copy(update={"intervals": _intervals(result, moves[name])})
        for name, result in record.classes.items()
    }
    shared = [metric for metric in MAIN_METRICS if moves and all(metric in of_class for of_class in moves.values())]
    means = {metric: np.mean([of_class[metric] for of_class in moves.values()], axis=0) for metric in shared}
    return record.model_copy(update={"classes": classes, "draws": Draws.of(means)})


def _moves(images: ClassImages, fingerprint: str, class_name: str) -> dict[str, FloatArray]:
    """Return by how much each draw moves each metric of a class, without metrics that some draw leaves undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = replicates(images, fingerprint=fingerprint, class_name=class_name)
    return {metric: values[1:] - values[0] for metric, values in found.items() if np.isfinite(values).all()}


def _intervals(result: ClassResult, moves: Mapping[str, FloatArray]) -> dict[str, tuple[float, float]]:
    """Return the interval of each metric."""
    found = {}
    for metric, values in moves.items():
        if (value := result.metrics.get(metric)) is not None:
            low, high = interval(values, value)
            found[metric] = (float(low), float(high))
    return found
