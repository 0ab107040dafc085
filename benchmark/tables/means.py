"""Means over datasets with their intervals, and which methods the test images do not tell from the best of them.

The test images of two datasets are drawn apart, so under a draw the mean over datasets moves by the mean of the moves
of the datasets. The draws of one dataset are the same for all methods, so differences between means are paired.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from benchmark.metrics import interval
from benchmark.records import Record
from benchmark.tables.columns import places_of
from benchmark.tables.tables import MEAN
from benchmark.tables.uncertainty import Estimate, Moves, compared, moves_of


def mean_estimates(records: Sequence[Record], metric: str, datasets: Sequence[str]) -> dict[str, Estimate]:
    """Return the estimate of the mean over datasets of each method that has the metric on all of them.

    From three seeds on, a draw has the same seeds on all datasets of as many seeds, since one training may serve
    several datasets. An estimate has no interval where the records of a dataset have no draws, or draws of several
    versions, and for a metric that is not one of the main ones.

    Args:
        records: that are done and comparable; those of other datasets are passed over.
        metric: key of the metric.
        datasets: titles of the datasets, no two of which share test images.

    Returns:
        Estimates by the title of the method, in the order of the columns of tables. The number of trainings, and that
        of seeds, is the lowest on any of the datasets.
    """
    cells: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.cell.seed):
        cells[record.title, record.dataset_title].append(record)
    place = places_of(records)
    rivals = []
    for title in sorted(place, key=lambda title: place[title]):
        found = [cells.get((title, dataset), []) for dataset in datasets]
        if found and all(same and all(_value(record, metric) is not None for record in same) for same in found):
            rivals.append(_of_method(found, metric))
    return {each.title: each for each in compared(rivals)} if rivals else {}


def _of_method(found: Sequence[Sequence[Record]], metric: str) -> tuple[Estimate, Moves | None]:
    """Return the estimate of one method with its moves, given the records of each dataset, a seed each."""
    values = [[value for record in same if (value := _value(record, metric)) is not None] for same in found]
    value = fmean(map(fmean, values))
    key = "/".join(sorted({same[0].cell.dataset.fingerprint for same in found}))
    moves = _mean_moves([moves_of(same, metric, of, seed=key) for same, of in zip(found, values, strict=True)])
    low = high = None
    if moves is not None:
        low, high = map(float, interval(moves.values, value))
    seeds = {tuple(record.cell.seed for record in same) for same in found}
    several = len(seeds) == 1 and len(values[0]) > 1
    trainings = [len({r.training.sha256 for r in same if r.training}) for same in found]
    return Estimate(
        title=found[0][0].title,
        dataset=MEAN,
        class_name=None,
        metric=metric,
        value=value,
        low=low,
        high=high,
        std=float(np.std(np.mean(values, axis=0), ddof=1)) if several else None,
        seeds=min(map(len, values)),
        trainings=min((count for count in trainings if count), default=None),
    ), moves


def _mean_moves(found: Sequence[Moves | None]) -> Moves | None:
    """Return the moves of the mean over datasets; None where one has no moves, or those of another version."""
    known = [each for each in found if each is not None]
    versions = {each.version for each in known}
    if len(known) < len(found) or len(versions) > 1:
        return None
    return Moves(versions.pop(), np.mean([each.values for each in known], axis=0))


def _value(record: Record, metric: str) -> float | None:
    return record.mean.get(metric)
