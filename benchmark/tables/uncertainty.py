"""Uncertainty: bootstrap intervals, the spread over seeds, and which differences between methods the images show."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from benchmark.common import to_csv_text
from benchmark.metrics import (
    CONFIDENCE,
    FEWEST_SEEDS,
    MAIN_METRICS,
    METRICS,
    REPLICATES,
    ClassImages,
    interval,
    percentiles,
    replicates,
    seed_draws,
)
from benchmark.records import Record
from benchmark.tables.comparable import check_comparable
from benchmark.tables.notes import notes_of
from benchmark.tables.style import STYLES
from benchmark.tables.tables import MEAN, column_order, row_order

NOT_APART = "≈"
ONE_TRAINING = "‡"
ONE_TRAINING_NOTE = (
    f"{ONE_TRAINING} one training, or fewer than {FEWEST_SEEDS}: the interval of the difference to the best method "
    "does not hold how much another training would change it."
)
COLUMNS = (
    *("method", "dataset", "class", "metric", "value", "low", "high", "std", "seeds", "trainings"),
    *("behind", "behind_low", "behind_high", "behind_trainings"),
)

PerImage = Mapping[str, ClassImages]
FloatArray = npt.NDArray[np.float64]
Make = Callable[[], FloatArray | None]
Keep = Callable[[Sequence[Record], Make], FloatArray | None]
"""Gives what `Make` gives for the records of a method on a dataset, made now or kept from before."""


def made_now(same: Sequence[Record], make: Make) -> FloatArray | None:
    """Keep nothing."""
    return make()


@dataclass(frozen=True)
class Estimate:
    """A metric of a method on a dataset, or on one of its classes, with how sure it is; all are fractions."""

    title: str
    """The method's name in tables."""
    dataset: str
    """The dataset's title."""
    class_name: str | None
    """None for the mean over the classes."""
    metric: str
    value: float
    """Mean over the seeds."""
    low: float | None
    """Of the bootstrap interval; None where results per image are lacking."""
    high: float | None
    std: float | None
    """Standard deviation over the seeds, of a sample; None with one seed."""
    seeds: int
    trainings: int | None = None
    """How many trainings the value is a mean of; None where nothing was trained."""
    behind: tuple[float, float, float] | None = None
    """How far the best method is ahead, with the paired interval of that; None for the best, or without images."""
    behind_trainings: int | None = None
    """The lower number of trainings of the two methods; None where nothing was trained, or `behind` is None."""

    @property
    def not_apart(self) -> bool:
        """Whether the images do not tell the method from the best one."""
        return self.behind is not None and self.behind[1] <= 0

    @property
    def one_training(self) -> bool:
        """Whether the interval of the difference leaves out how a training varies: there are too few to draw from."""
        return self.behind_trainings is not None and self.behind_trainings < FEWEST_SEEDS


def estimates(
    records: Sequence[Record],
    read: Callable[[Record], PerImage | None],
    keep: Keep = made_now,
) -> list[Estimate]:
    """Return the estimates of every dataset and class, datasets and methods in the order of the main tables.

    Args:
        records: done, and comparable.
        read: gives the results per image of a record by class, None where there are none.
        keep: keeps replicates.

    Raises:
        TableError: the records are not comparable.
    """
    check_comparable(records)
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda record: (*row_order(record), *column_order(record), record.cell.seed)):
        groups[record.dataset_title][record.title].append(record)
    made = []
    for of_dataset in groups.values():
        found: dict[tuple[str | None, str], list[tuple[Estimate, FloatArray | None]]] = defaultdict(list)
        for same in of_dataset.values():
            for estimate, values in _of_cell(same, keep(same, partial(_replicates, same, read))):
                found[estimate.class_name, estimate.metric].append((estimate, values))
        made += [estimate for rivals in found.values() for estimate in _compared(rivals)]
    return made


def estimates_of(
    same: Sequence[Record], read: Callable[[Record], PerImage | None], keep: Keep = made_now
) -> list[Estimate]:
    """Return the estimates of one method on one dataset, given its records under several seeds."""
    return [estimate for estimate, _ in _of_cell(same, keep(same, partial(_replicates, same, read)))]


def _of_cell(same: Sequence[Record], drawn: FloatArray | None) -> list[tuple[Estimate, FloatArray | None]]:
    """Return the estimates of a method on a dataset with their replicates, given its records under several seeds."""
    first, made = same[0], []
    trainings = len({record.training.sha256 for record in same if record.training}) or None
    for row, name in enumerate((None, *first.classes)):
        found = [record.mean if name is None else record.classes[name].metrics for record in same]
        for column, metric in enumerate(MAIN_METRICS):
            known = [value for each in found if (value := each.get(metric)) is not None]
            if known and len(known) == len(same):
                value = sum(known) / len(known)
                std = float(np.std(known, ddof=1)) if len(known) > 1 else None
                values = None if drawn is None or np.isnan(drawn[row, column, 0]) else drawn[row, column]
                estimate = Estimate(
                    first.title, first.dataset_title, name, metric, value, None, None, std, len(known), trainings
                )
                made.append((estimate, values))
    return _with_intervals(made)


def _with_intervals(made: list[tuple[Estimate, FloatArray | None]]) -> list[tuple[Estimate, FloatArray | None]]:
    """Return the estimates with intervals where there are replicates."""
    drawn = [(index, estimate.value, values) for index, (estimate, values) in enumerate(made) if values is not None]
    if drawn:
        places, reported, values = zip(*drawn, strict=True)
        for place, low, high in zip(places, *interval(np.stack(values), np.array(reported)), strict=True):
            estimate, of_estimate = made[place]
            made[place] = (replace(estimate, low=float(low), high=float(high)), of_estimate)
    return made


def _replicates(same: Sequence[Record], read: Callable[[Record], PerImage | None]) -> FloatArray | None:
    """Return the mean over drawn seeds of the replicates (1 + classes, metrics, 1 + REPLICATES), None without images.

    The first row is that of the mean over the classes; NaN is undefined. A draw of seeds is the same for all classes,
    since one training serves them all.
    """
    classes, fingerprint = list(same[0].classes), same[0].cell.dataset.fingerprint
    drawn = np.full((len(same), 1 + len(classes), len(MAIN_METRICS), 1 + REPLICATES), np.nan)
    for seed, record in enumerate(same):
        if (images := read(record)) is None:
            return None
        for row, name in enumerate(classes, start=1):
            if name in images:
                found = replicates(images[name], fingerprint=fingerprint, class_name=name)
                for column, metric in enumerate(MAIN_METRICS):
                    drawn[seed, row, column] = found.get(metric, np.nan)
    drawn[:, 0] = drawn[:, 1:].mean(axis=1)
    return np.asarray(np.einsum("scmr,rs->cmr", drawn, seed_draws(len(same), fingerprint)))


def _compared(rivals: Sequence[tuple[Estimate, FloatArray | None]]) -> list[Estimate]:
    """Return the estimates of all methods on the same images, each with how far it is behind the best."""
    best, of_best = max(rivals, key=lambda rival: rival[0].value)
    made = [estimate for estimate, _ in rivals]
    drawn = [(i, each, values) for i, (each, values) in enumerate(rivals) if each is not best and values is not None]
    if of_best is not None and drawn:
        places, others, of_others = zip(*drawn, strict=True)
        ahead = best.value - np.array([other.value for other in others])
        moved = of_best - np.stack(of_others)
        moved += (ahead - moved[:, 0])[:, None]
        for place, *behind in zip(places, ahead, *percentiles(moved[:, 1:]), strict=True):
            by, low, high = map(float, behind)
            trained = [count for count in (best.trainings, made[place].trainings) if count is not None]
            made[place] = replace(made[place], behind=(by, low, high), behind_trainings=min(trained, default=None))
    return made


def render(found: Sequence[Estimate], records: Sequence[Record], methods: Sequence[str] = ()) -> str:
    """Return a Markdown table per metric of the main tables, datasets by methods; empty without any estimate.

    `methods` is the order of the columns, as in `make_tables`.
    """
    how = STYLES["md"]
    parts = []
    ordered = sorted(records, key=lambda record: column_order(record, methods))
    columns = list(dict.fromkeys(record.title for record in ordered))
    means = [each for each in found if each.class_name is None]
    for metric in MAIN_METRICS:
        rows: dict[str, dict[str, Estimate]] = defaultdict(dict)
        for each in means:
            if each.metric == metric:
                rows[each.dataset][each.title] = each
        body = []
        for dataset, by_title in rows.items():
            best = max(round(100 * each.value, 1) for each in by_title.values())
            cells = [_cell(by_title.get(title), best) for title in columns]
            body.append([how.escape(dataset), *cells])
        if body:
            header = ["", *map(how.escape, columns)]
            grid: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
            parts.append(f"## {METRICS[metric].full_heading}, %\n\n{grid}\n")
    if not parts:
        return ""
    notes = (
        f"In brackets: {CONFIDENCE:.0%} bootstrap intervals over the test images ({REPLICATES} draws within each class "
        "and label, the same draws for every method; pieces of one photograph together). They say how the number would "
        f"vary over other images of the same kind and, from {FEWEST_SEEDS} seeds on, over other seeds.",
        f"{NOT_APART} the paired interval of the difference to the best method holds 0: these images do not tell the "
        "two apart. The best method was chosen on these images, so its lead is overstated.",
        *([ONE_TRAINING_NOTE] if any(each.one_training for each in means) else []),
        "± standard deviation over the seeds, where there are several.",
        "One interval in twenty misses the true value; with many comparisons some do.",
        *notes_of(records),
    )
    return "\n".join(parts) + "\n" + "".join(f"- {how.escape(note)}\n" for note in notes)


def _cell(estimate: Estimate | None, best: float) -> str:
    if estimate is None:
        return "–"
    value = f"{100 * estimate.value:.1f}"
    text = f"**{value}**" if round(100 * estimate.value, 1) == best else value
    text += "" if estimate.std is None else f" ± {100 * estimate.std:.1f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    text += f" {NOT_APART}" if estimate.not_apart else ""
    return text + (f" {ONE_TRAINING}" if estimate.one_training else "")


def to_csv(found: Sequence[Estimate]) -> str:
    """Return every estimate as CSV, a row each: percentages with two decimals, empty where unknown."""
    rows: list[Sequence[str | float | None]] = [COLUMNS]
    for each in found:
        numbers = (each.value, each.low, each.high, each.std)
        behind = each.behind or (None, None, None)
        place = (each.title, each.dataset, each.class_name or MEAN.lower(), each.metric)
        rows.append(
            (*place, *map(_percent, numbers), each.seeds, each.trainings, *map(_percent, behind), each.behind_trainings)
        )
    return to_csv_text(rows, decimals=2)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
