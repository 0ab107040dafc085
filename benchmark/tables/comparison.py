"""Results beside published numbers: what was published, what was measured here, and why the two may differ.

Pure functions of records and of published numbers.
"""

import functools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.records import Record
from benchmark.tables.published import AUPRO, THEIR_AUPRO, Number, Variant
from benchmark.tables.reasons import reasons
from benchmark.tables.tables import mean_range, mean_values
from benchmark.tables.uncertainty import estimates_of

Verdict = Literal["within", "differs", "undecided", "not comparable", "undefined", "synthetic", "not run"]

UNFIT: tuple[Verdict, ...] = ("synthetic", "undefined", "not comparable")
"""Verdicts of numbers that are not held against each other."""

Span = tuple[float, float]
Titled = tuple[str, Sequence[Record]]
"""Records that differ in the seed alone, with a title that tells them from others."""
Margins = Mapping[tuple[str | None, str], Span]
"""By class (None for the mean) and metric: how far a bootstrap interval reaches below and above its value, in
points."""


@dataclass(frozen=True)
class Comparison:
    """A published number and the result here that it is compared with; percent and percentage points."""

    number: Number
    title: str
    """The method as the records name it; as printed where it was not run."""
    verdict: Verdict
    ours: float | None = None
    """Mean over seeds; None where it is undefined, synthetic or not run."""
    span: Span | None = None
    """Of a fragile metric: the least and the greatest value it takes when scores move by one part in a million."""
    interval: Span | None = None
    """The bootstrap interval; None where the records or the metric have none, and for one of several classes under
    several seeds. That of a mean over datasets takes them as independent."""
    deviation: float | None = None
    """Standard deviation over the seeds, None for a single one, and for a mean over datasets."""
    difference: float | None = None
    """None where the two are not comparable."""
    reasons: tuple[str, ...] = ()
    """Why the two may differ, or why they are not compared."""
    barring: tuple[str, ...] = ()
    """Those of the reasons that make the two not comparable; none of a mean over datasets."""
    records: tuple[str, ...] = ()
    """Ids, a seed each."""
    reading: str = ""
    """How the row was read, where it can be read in several ways."""

    @property
    def label(self) -> str:
        """The title; for a printed row of an ablation also how it is printed, and how it was read."""
        if not self.number.is_row:
            return self.title
        return f"{self.title} as {self.number.row.method}" + (f", {self.reading}" if self.reading else "")


def compare(
    numbers: Iterable[Number],
    records: Iterable[Record],
    *,
    tolerance: float,
) -> list[Comparison]:
    """Compare every published number of a method here with the results on the same dataset or class.

    Records that differ in the seed alone are averaged; others are rows of their own. Failed ones are no results. Where
    some records were made under the published conditions, others are not held against the number.

    Args:
        numbers: published numbers; those of methods that are not here are left out. A mean over datasets is compared
            with the mean of the results on all of them.
        records: in any order.
        tolerance: how far a result may be from the published number, in points. All of the bootstrap interval, and of
            the range of a fragile metric, must lie so near to count as `within`, and none of it to count as `differs`.
    """
    groups = group_seeds(records)
    margins = functools.cache(lambda place: _margins(groups[place][1]))
    rows = []
    for number in numbers:
        if number.method is None:
            continue
        parts = [
            [
                (titled[1][0], _compare(part, variant, titled, tolerance, functools.partial(margins, place)))
                for place, titled in enumerate(groups)
                if (variant := _variant(part, titled[1])) is not None
            ]
            for part in (replace(number, cards=(card,)) for card in number.cards)
        ]
        found = _over_datasets(number, parts, tolerance) if number.is_mean else [row for _, row in parts[0]]
        rows += _held(found) or [Comparison(number, number.row.method, "not run")]
    return rows


def results_to_compare(records: Iterable[Record]) -> list[Record]:
    """Return the records that are compared with published numbers: those of success, of synthetic ones the defaults.

    Synthetic results are not held against a number, so that their variants would only lengthen the list.
    """
    return [each for each in records if each.status == "done" and not (each.synthetic and each.cell.changed)]


def _held(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the rows that are comparable; all, if none is."""
    return [row for row in rows if row.verdict != "not comparable"] or list(rows)


def _over_datasets(
    number: Number, parts: Sequence[Sequence[tuple[Record, Comparison]]], tolerance: float
) -> list[Comparison]:
    """Return the rows of a mean over datasets: one for all results that differ in data and training alone.

    Args:
        number: the mean.
        parts: for each of its datasets, the rows of the results there, each with one of its records.
        tolerance: in points.
    """
    alike: dict[tuple[str, ...], list[list[Comparison]]] = defaultdict(lambda: [[] for _ in parts])
    for index, part in enumerate(parts):
        for record, row in part:
            cell = record.cell.model_dump_json(
                include={"method", "method_version", "changed", "backbone", "protocol", "metrics_version"}
            )
            key = (record.title, *record.synthetic, str(record.image_size), cell)
            alike[key][index].append(row)
    return [_mean(number, key[0], of_datasets, tolerance) for key, of_datasets in alike.items()]


def _mean(number: Number, title: str, of_datasets: Sequence[Sequence[Comparison]], tolerance: float) -> Comparison:
    """Return the row of a mean over datasets, given the rows of each; of several on one dataset the last counts."""
    held = [_held(rows) for rows in of_datasets]
    rows = [several[-1] for several in held if several]
    places: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for reason in row.reasons:
            places[reason].append(row.number.dataset_title)
    why = [text if len(on) == len(rows) else f"{text} ({', '.join(on)})" for text, on in places.items()]
    why += [
        f"data: of {len(several)} results on {several[0].number.dataset_title} one is taken"
        for several in held
        if len(several) > 1
    ]
    verdicts = {row.verdict for row in rows}
    if len(rows) < len(number.cards):
        why.append(f"data: mean of {len(rows)} of {len(number.cards)} datasets")
        verdicts.add("not comparable")
    shared = Comparison(
        number,
        title,
        next((each for each in UNFIT if each in verdicts), "within"),
        ours=_averaged([row.ours for row in rows]),
        reasons=tuple(why),
        records=tuple(record for row in rows for record in row.records),
        reading=rows[0].reading,
    )
    ours = shared.ours
    if shared.verdict in UNFIT or ours is None:
        return shared
    span = _averaged_ends([row.span for row in rows])
    interval = _around(ours, _independent(rows))
    return replace(
        shared,
        verdict=_verdict(number, (ours, *(span or ()), *(interval or ())), tolerance),
        span=span,
        interval=interval,
        difference=ours - number.row.value,
    )


def _averaged(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _averaged_ends(spans: Sequence[Span | None]) -> Span | None:
    low, high = (_averaged([None if span is None else span[end] for span in spans]) for end in (0, 1))
    return None if low is None or high is None else (low, high)


def _independent(rows: Sequence[Comparison]) -> Span | None:
    """Return how far the interval of a mean over datasets reaches to each side: their images are independent."""
    margins = [
        (row.ours - row.interval[0], row.interval[1] - row.ours)
        for row in rows
        if row.interval is not None and row.ours is not None
    ]
    if len(margins) < len(rows):
        return None
    low, high = (math.hypot(*sides) / len(rows) for sides in zip(*margins, strict=True))
    return low, high


def _variant(number: Number, group: Sequence[Record]) -> Variant | None:
    """Return the variant of a number that some records are results of, None if they are not of its method or class."""
    cell = group[0].cell
    if (cell.method, cell.dataset.name) != (number.method, number.dataset):
        return None
    if number.class_name is not None and all(number.class_name not in record.classes for record in group):
        return None
    variant = number.variant_of(cell.changed)
    if variant is not None and variant.options is None and not any(record.placement.main for record in group):
        return None  # a row of an ablation that nobody has printed
    return variant


def group_seeds(records: Iterable[Record]) -> list[Titled]:
    """Return the finished records that differ in the seed alone, with a title that tells each group from the others."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    taken: Counter[tuple[str, ...]] = Counter()
    for record in sorted(records, key=lambda record: (record.cell.seed, record.id)):
        if record.status == "done":
            # k-shot references are drawn by the seed.
            alike = record.cell.model_dump_json(exclude={"seed", "references", "references_sha256"})
            key = (record.title, *record.synthetic, str(record.image_size), *record.classes, alike)
            seed = (*key, str(record.cell.seed))
            groups[(*key, str(taken[seed]))].append(record)
            taken[seed] += 1
    places = Counter((group[0].title, group[0].cell.dataset.name) for group in groups.values())
    titled: list[Titled] = []
    for group in sorted(groups.values(), key=lambda group: group[0].id):
        first = group[0]
        alone = places[first.title, first.cell.dataset.name] == 1
        titled.append((first.title if alone else f"{first.title} [{first.id.rpartition('--')[2]}]", group))
    return titled


def _margins(group: Sequence[Record]) -> Margins:
    """Return the margins of the mean and of each class of records that differ in the seed alone."""
    return {
        (each.class_name, each.metric): (100 * (each.value - each.low), 100 * (each.high - each.value))
        for each in estimates_of(group)
        if each.low is not None and each.high is not None
    }


def _compare(
    number: Number, variant: Variant, titled: Titled, tolerance: float, margins: Callable[[], Margins]
) -> Comparison:
    title, group = titled
    ids = tuple(record.id for record in group)
    row = Comparison(number, title, "within", records=ids, reading=variant.reading)
    if what := group[0].synthetic:
        return replace(row, verdict="synthetic", reasons=(f"generated {' and '.join(what)}",))
    name = number.class_name
    found = [
        record.mean if name is None else record.classes[name].metrics
        for record in group
        if name is None or name in record.classes
    ]
    ours = mean_values(found, (number.metric,))[0]
    if ours is None:
        known = all(number.metric in each for each in found)
        reason = "undefined on these images" if known else f"the record has no {number.metric}"
        return replace(row, verdict="undefined", reasons=(reason,))
    found_reasons = reasons(number, variant, group)
    why = tuple(reason.text for reason in found_reasons)
    if barring := tuple(reason.text for reason in found_reasons if reason.bars):
        return replace(row, verdict="not comparable", ours=ours, reasons=why, barring=barring)
    values = [100 * (each[number.metric] or 0.0) for each in found]
    span = mean_range(group, name, number.metric)
    interval = _around(ours, margins().get((name, AUPRO if number.metric == THEIR_AUPRO else number.metric)))
    return replace(
        row,
        verdict=_verdict(number, (ours, *(span or ()), *(interval or ())), tolerance),
        ours=ours,
        span=span,
        interval=interval,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        difference=ours - number.row.value,
        reasons=why,
    )


def _around(value: float, margin: Span | None) -> Span | None:
    """Return the interval of a value in percent, given how far it reaches below and above."""
    return None if margin is None else (max(value - margin[0], 0.0), min(value + margin[1], 100.0))


def _verdict(number: Number, values: Sequence[float], tolerance: float) -> Verdict:
    """Return the verdict on a published number, given values between which our result lies."""
    if number.kind_is_unknown:
        return "undecided"
    low, high, published = min(values), max(values), number.row.value
    # Rounded so that 92.5 against 91.5 is one point, not a little more.
    if round(max(high - published, published - low), 6) <= tolerance:
        return "within"
    return "differs" if round(max(low - published, published - high), 6) > tolerance else "undecided"
