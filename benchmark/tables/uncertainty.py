"""Uncertainty: bootstrap intervals, the spread over seeds, and which differences between methods the images show."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmark.common import listed, to_csv_text
from benchmark.metrics import (
    BOOTSTRAP_VERSION,
    CONFIDENCE,
    FEWEST_SEEDS,
    MAIN_METRICS,
    METRICS,
    REPLICATES,
    interval,
    percentiles,
    seed_draws,
)
from benchmark.records import RESOLUTION, Record, unpacked
from benchmark.tables.columns import columns_of, places_of
from benchmark.tables.comparable import check_comparable
from benchmark.tables.marks import NOT_APART, NOT_APART_NOTE, ONE_TRAINING, ONE_TRAINING_NOTE
from benchmark.tables.notes import notes_of
from benchmark.tables.parts import draw
from benchmark.tables.style import STYLES
from benchmark.tables.tables import MEAN, row_order

NUMBERS_PER_CELL = 3
"""Numbers in a cell: the value and its interval."""
COLUMNS = (
    *("method", "dataset", "class", "metric", "value", "low", "high", "std", "seeds", "trainings"),
    *("behind", "behind_low", "behind_high", "behind_trainings"),
)
VIEWS_NOTE = "At all levels of a dataset with a sample level, the views of one sample are drawn together."

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moves:
    """By how much each draw of the test images, and of the seeds, moves a value."""

    version: int
    """Of the bootstrap; the draws of two versions differ."""
    values: FloatArray
    """(REPLICATES,)"""


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
    """Of the bootstrap interval; None where the records have none, and for one of several classes under several
    seeds."""
    high: float | None
    std: float | None
    """Standard deviation over the seeds, of a sample; None with one seed."""
    seeds: int
    trainings: int | None = None
    """How many trainings the value is a mean of; None where nothing was trained."""
    behind: tuple[float, float, float] | None = None
    """How far the best method is ahead, with the paired interval of that; None for the best, for one of several
    classes, and where one of the two has no draws, or draws of another version."""
    behind_trainings: int | None = None
    """The lower number of trainings of the two methods; None where nothing was trained, or `behind` is None."""

    @property
    def not_apart(self) -> bool:
        """Whether the images do not tell the method from the best one."""
        # What is 0 in truth may be a little more, since moves are rounded.
        return self.behind is not None and self.behind[1] <= RESOLUTION

    @property
    def one_training(self) -> bool:
        """Whether the interval of the difference leaves out how a training varies: there are too few to draw from."""
        return self.behind_trainings is not None and self.behind_trainings < FEWEST_SEEDS


def estimates(records: Sequence[Record]) -> list[Estimate]:
    """Return the estimates of every dataset and class, datasets and methods in the order of the main tables.

    Args:
        records: done, and comparable.

    Raises:
        TableError: the records are not comparable.
    """
    check_comparable(records)
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    place = places_of(records)
    for record in sorted(records, key=lambda record: (*row_order(record), place[record.title], record.cell.seed)):
        groups[record.dataset_title][record.title].append(record)
    made = []
    for of_dataset in groups.values():
        found: dict[tuple[str | None, str], list[tuple[Estimate, Moves | None]]] = defaultdict(list)
        for same in of_dataset.values():
            for estimate, moves in _of_cell(same):
                found[estimate.class_name, estimate.metric].append((estimate, moves))
        made += [estimate for rivals in found.values() for estimate in compared(rivals)]
    return made


def estimates_of(same: Sequence[Record]) -> list[Estimate]:
    """Return the estimates of one method on one dataset, given its records under several seeds."""
    return [estimate for estimate, _ in _of_cell(same)]


def lacking(records: Iterable[Record]) -> list[str]:
    """Return a line for each reason why results lack intervals or cannot be compared by their draws.

    Args:
        records: that are shown; those of cells that failed are passed over.
    """
    done = [record for record in records if record.status == "done"]
    without = [record.id for record in done if record.draws is None]
    versions = sorted({record.draws.version for record in done if record.draws is not None})
    lines = []
    if without:
        count = f"{len(without)} result{'' if len(without) == 1 else 's'}"
        lines.append(
            f"no intervals of {count} of an earlier version: {listed(without, 3)}; run with --force to redo them"
        )
    if len(versions) > 1:
        other = [record.id for record in done if record.draws and record.draws.version != BOOTSTRAP_VERSION]
        lines.append(
            f"results with draws of versions {listed(list(map(str, versions)), 5)} of the bootstrap are not told apart "
            f"from one another; run with --force to redo those that are not of version {BOOTSTRAP_VERSION}: "
            f"{listed(other, 3)}"
        )
    return lines


def _of_cell(same: Sequence[Record]) -> list[tuple[Estimate, Moves | None]]:
    """Return the estimates of a method on a dataset, given its records under some seeds.

    Those of means come with their moves. Records hold no moves of classes, but the interval of each.
    """
    first, made = same[0], []
    trainings = len({record.training.sha256 for record in same if record.training}) or None
    for name in (None, *first.classes):
        found = [record.mean if name is None else record.classes[name].metrics for record in same]
        for metric in MAIN_METRICS:
            known = [value for each in found if (value := each.get(metric)) is not None]
            if known and len(known) == len(same):
                value = sum(known) / len(known)
                std = float(np.std(known, ddof=1)) if len(known) > 1 else None
                # A mean over one class is the class.
                moves = moves_of(same, metric, known) if name is None or len(first.classes) == 1 else None
                low = high = None
                if moves is not None:
                    low, high = map(float, interval(moves.values, value))
                elif name is not None and len(same) == 1:
                    low, high = first.classes[name].intervals.get(metric, (None, None))
                place = (first.title, first.dataset_title, name, metric)
                made.append((Estimate(*place, value, low, high, std, len(known), trainings), moves))
    return made


def moves_of(same: Sequence[Record], metric: str, means: Sequence[float], *, seed: str | None = None) -> Moves | None:
    """Return by how much each draw of images and seeds moves the mean over seeds; None where a record has no draws.

    Args:
        same: the records, a seed each.
        metric: one of the main metrics.
        means: the value that each record has.
        seed: what the draws of the seeds depend on besides their number; None for the list of test images.
    """
    drawn = [record.draws for record in same]
    known = [each for each in drawn if each is not None and metric in each.moves]
    versions = {each.version for each in known}
    if len(known) < len(same) or len(versions) > 1:
        return None
    values = np.stack([unpacked(each.moves[metric]) for each in known], axis=1)
    if len(same) > 1:
        weights = seed_draws(len(same), same[0].cell.dataset.fingerprint if seed is None else seed)
        values = weights[1:] * (np.array(means) + values) - weights[0] * np.array(means)
    return Moves(versions.pop(), values.sum(axis=1))


def compared(rivals: Sequence[tuple[Estimate, Moves | None]]) -> list[Estimate]:
    """Return the estimates of all methods on the same images, each with how far it is behind the best."""
    best, of_best = max(rivals, key=lambda rival: rival[0].value)
    made = []
    for each, moves in rivals:
        if each is best or moves is None or of_best is None or moves.version != of_best.version:
            made.append(each)
            continue
        ahead = best.value - each.value
        low, high = map(float, ahead + percentiles(of_best.values - moves.values))
        trained = [count for count in (best.trainings, each.trainings) if count is not None]
        made.append(replace(each, behind=(ahead, low, high), behind_trainings=min(trained, default=None)))
    return made


def render(found: Sequence[Estimate], records: Sequence[Record], methods: Sequence[str] = ()) -> str:
    """Return a Markdown table per metric of the main tables, datasets by methods; empty without any estimate.

    `methods` is the order of the columns, as in `make_tables`.
    """
    how = STYLES["md"]
    parts = []
    columns = columns_of(records, methods)
    means = [each for each in found if each.class_name is None]
    for metric in MAIN_METRICS:
        rows: dict[str, dict[str, Estimate]] = defaultdict(dict)
        for each in means:
            if each.metric == metric:
                rows[each.dataset][each.title] = each
        body = []
        for dataset, by_title in rows.items():
            best = max(round(100 * each.value, 1) for each in by_title.values())
            cells = [_cell(by_title.get(column.title), best) for column in columns]
            body.append([how.escape(dataset), *cells])
        if body:
            header = ["", *(how.escape(column.title) for column in columns)]
            drawn = draw(header, body, columns, how, numbers=NUMBERS_PER_CELL)
            parts.append(f"## {METRICS[metric].full_heading}, %\n\n{drawn}\n")
    if not parts:
        return ""
    notes = (
        f"In brackets: {CONFIDENCE:.0%} bootstrap intervals over the test images ({REPLICATES} draws within each class "
        "and label, the same draws for every method; pieces of one photograph together). They say how the number would "
        f"vary over other images of the same kind and, from {FEWEST_SEEDS} seeds on, over other seeds.",
        *([VIEWS_NOTE] if any(METRICS[each.metric].level == "sample" for each in means) else []),
        NOT_APART_NOTE,
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
