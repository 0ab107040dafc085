"""Uncertainty: bootstrap intervals, the spread over seeds, and which differences between methods the images show."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from benchmark.bootstrap import CONFIDENCE, REPLICATES, interval, replicates
from benchmark.per_image import ClassImages
from benchmark.records import Record
from benchmark.tables import LEVELS, MEAN, STYLES, check_comparable, column_order, notes_of, row_order

METRICS = tuple(metric for _, metrics, _ in LEVELS.values() for metric in metrics)
"""Those of the main tables."""
HEADINGS = {
    metric: f"{heading}, {kind}"
    for heading, metrics, kinds in LEVELS.values()
    for metric, kind in zip(metrics, kinds.strip("()").split(", "), strict=True)
}
NOT_APART = "≈"

PerImage = Mapping[str, ClassImages]
FloatArray = npt.NDArray[np.float64]


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
    behind: tuple[float, float, float] | None = None
    """How far the best method is ahead, with the paired interval of that; None for the best, or without images."""

    @property
    def not_apart(self) -> bool:
        """Whether the images do not tell the method from the best one."""
        return self.behind is not None and self.behind[1] <= 0


def estimates(records: Sequence[Record], read: Callable[[Record], PerImage | None]) -> list[Estimate]:
    """Return the estimates of every dataset and class, datasets and methods in the order of the main tables.

    Args:
        records: done, and comparable.
        read: gives the results per image of a record by class, None where there are none.

    Raises:
        TableError: the records are not comparable.
    """
    check_comparable(records)
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (*row_order(record), *column_order(record), record.cell.seed)):
        groups[record.dataset_title, record.title].append(record)
    found: dict[tuple[str, str | None, str], list[tuple[Estimate, FloatArray | None]]] = defaultdict(list)
    for same in groups.values():
        for estimate, values in _of_cell(same, read):
            found[estimate.dataset, estimate.class_name, estimate.metric].append((estimate, values))
    return [estimate for rivals in found.values() for estimate in _compared(rivals)]


def _of_cell(
    same: Sequence[Record], read: Callable[[Record], PerImage | None]
) -> list[tuple[Estimate, FloatArray | None]]:
    """Return the estimates of a method on a dataset with their replicates, given its records under several seeds."""
    drawn = [_replicates(record, read(record)) for record in same]
    made = []
    for name in (None, *same[0].classes):
        for metric in METRICS:
            seeds = [r.mean.get(metric) if name is None else r.classes[name].metrics.get(metric) for r in same]
            known = [value for value in seeds if value is not None]
            if not known or len(known) < len(seeds):
                continue
            each = [of_seed[name, metric] for of_seed in drawn if (name, metric) in of_seed]
            values: FloatArray | None = np.mean(each, axis=0) if len(each) == len(same) else None
            value = sum(known) / len(known)
            low, high = (None, None) if values is None else interval(values, value)
            std = float(np.std(known, ddof=1)) if len(known) > 1 else None
            first = same[0]
            estimate = Estimate(first.title, first.dataset_title, name, metric, value, low, high, std, len(known))
            made.append((estimate, values))
    return made


def _replicates(record: Record, images: PerImage | None) -> dict[tuple[str | None, str], FloatArray]:
    """Return the replicates of each class and of their mean (None) by metric."""
    if images is None:
        return {}
    fingerprint = record.cell.dataset.fingerprint
    drawn: dict[tuple[str | None, str], FloatArray] = {}
    for name, of_class in images.items():
        for metric, values in replicates(of_class, fingerprint=fingerprint, class_name=name).items():
            drawn[name, metric] = values
    for metric in METRICS:
        classes = [drawn[name, metric] for name in record.classes if (name, metric) in drawn]
        if len(classes) == len(record.classes):
            drawn[None, metric] = np.mean(classes, axis=0)
    return drawn


def _compared(rivals: Sequence[tuple[Estimate, FloatArray | None]]) -> list[Estimate]:
    """Return the estimates of all methods on the same images, each with how far it is behind the best."""
    best, of_best = max(rivals, key=lambda rival: rival[0].value)
    made = []
    for estimate, values in rivals:
        if estimate is not best and values is not None and of_best is not None:
            ahead = best.value - estimate.value
            moved = of_best - values + (ahead - (of_best[0] - values[0]))
            low, high = np.percentile(moved[1:], [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
            estimate = replace(estimate, behind=(ahead, float(low), float(high)))  # noqa: PLW2901
        made.append(estimate)
    return made


def render(found: Sequence[Estimate], records: Sequence[Record]) -> str:
    """Return a Markdown table per metric of the main tables, datasets by methods; empty without any estimate."""
    how = STYLES["md"]
    parts = []
    for metric in METRICS:
        rows = [each for each in found if each.metric == metric and each.class_name is None]
        columns = list(dict.fromkeys(record.title for record in sorted(records, key=column_order)))
        body = []
        for dataset in dict.fromkeys(each.dataset for each in rows):
            by_title = {each.title: each for each in rows if each.dataset == dataset}
            best = max(round(100 * each.value, 1) for each in by_title.values())
            cells = [_cell(by_title.get(title), best) for title in columns]
            body.append([how.escape(dataset), *cells])
        if body:
            header = ["", *map(how.escape, columns)]
            grid: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
            parts.append(f"## {HEADINGS[metric]}, %\n\n{grid}\n")
    if not parts:
        return ""
    notes = (
        f"In brackets: {CONFIDENCE:.0%} bootstrap intervals over the test images ({REPLICATES} draws within each class "
        "and label, the same draws for every method). They say how the number would vary over other images of the same "
        "kind, not over trainings.",
        f"{NOT_APART} the paired interval of the difference to the best method holds 0: these images do not tell the "
        "two apart.",
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
    return text + (f" {NOT_APART}" if estimate.not_apart else "")


def to_csv(found: Sequence[Estimate]) -> str:
    """Return every estimate as CSV, a row each: percentages with two decimals, empty where unknown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "method",
            "dataset",
            "class",
            "metric",
            "value",
            "low",
            "high",
            "std",
            "seeds",
            "behind",
            "behind_low",
            "behind_high",
        ]
    )
    for each in found:
        numbers = (each.value, each.low, each.high, each.std, *(each.behind or (None, None, None)))
        value, low, high, std, *behind = ["" if number is None else f"{100 * number:.2f}" for number in numbers]
        row = [
            each.title,
            each.dataset,
            each.class_name or MEAN.lower(),
            each.metric,
            value,
            low,
            high,
            std,
            each.seeds,
        ]
        writer.writerow([*row, *behind])
    return out.getvalue()
