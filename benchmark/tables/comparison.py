"""Results beside published numbers: what was published, what was measured here, and why the two may differ.

Pure functions of records and of published numbers.
"""

import functools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.clip import KNOWN_FILES
from benchmark.protocol import Protocol
from benchmark.records import Record
from benchmark.tables.published import AUPRO, THEIR_AUPRO, Number, Variant
from benchmark.tables.tables import mean_range, mean_values
from benchmark.tables.uncertainty import estimates_of

Verdict = Literal["within", "differs", "undecided", "not comparable", "undefined", "synthetic", "not run"]
NOT_STATED = "not stated"

Span = tuple[float, float]
Titled = tuple[str, Sequence[Record]]
"""Records that differ in the seed alone, with a title that tells them from others."""
Margins = Mapping[tuple[str | None, str], Span]
"""By class (None for the mean) and metric: how far a bootstrap interval reaches below and above its value, in
points."""


@dataclass(frozen=True)
class Reason:
    """Why a result may differ from a published number."""

    text: str
    bars: bool = False
    """Whether it makes the two results of different experiments, so that they are not compared."""


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
    several seeds."""
    deviation: float | None = None
    """Standard deviation over the seeds, None for a single one."""
    difference: float | None = None
    """None where the two are not comparable."""
    reasons: tuple[str, ...] = ()
    """Why the two may differ, or why they are not compared."""
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
        numbers: published numbers; those of methods that are not here are left out.
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
        found = [
            replace(
                _compare(number, variant, titled, tolerance, functools.partial(margins, place)), reading=variant.reading
            )
            for place, titled in enumerate(groups)
            if (variant := _variant(number, titled[1])) is not None
        ]
        held = [row for row in found if row.verdict != "not comparable"]
        rows += held or found or [Comparison(number, number.row.method, "not run")]
    return rows


def _variant(number: Number, group: Sequence[Record]) -> Variant | None:
    """Return the variant of a number that some records are results of, None if they are not of its method or class."""
    cell = group[0].cell
    if (cell.method, cell.dataset.name) != (number.method, number.card.name):
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
    if what := group[0].synthetic:
        return Comparison(number, title, "synthetic", reasons=(f"generated {' and '.join(what)}",), records=ids)
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
        return Comparison(number, title, "undefined", reasons=(reason,), records=ids)
    found_reasons = reasons(number, variant, group)
    why = tuple(reason.text for reason in found_reasons)
    if any(reason.bars for reason in found_reasons):
        return Comparison(number, title, "not comparable", ours, reasons=why, records=ids)
    values = [100 * (each[number.metric] or 0.0) for each in found]
    span = mean_range(group, name, number.metric)
    interval = _around(ours, margins().get((name, AUPRO if number.metric == THEIR_AUPRO else number.metric)))
    return Comparison(
        number,
        title,
        _verdict(number, (ours, *(span or ()), *(interval or ())), tolerance),
        ours=ours,
        span=span,
        interval=interval,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        difference=ours - number.row.value,
        reasons=why,
        records=ids,
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


def reasons(number: Number, variant: Variant, group: Sequence[Record]) -> list[Reason]:
    """Return why results may differ from a published number: every condition that differs or that is not stated.

    What the method was trained on, the model, the size of its input and the images that were scored make an experiment:
    where one of them differs, the numbers are not compared.
    """
    record, conditions = group[0], number.conditions
    cell = record.cell
    found = []
    if cell.changed and variant.options is None:
        found.append(Reason("options " + ", ".join(f"{name}={value}" for name, value in cell.changed.items())))
    if cell.references is not None:
        shots = max(map(len, cell.references.values()), default=0)
        found.append(Reason(f"{shots} reference images per class, published none", bars=True))
    if cell.auxiliary is not None:
        auxiliary = conditions.auxiliary_for(cell.dataset.name)
        if auxiliary is None:
            found.append(Reason(f"trained on {cell.auxiliary.name}, published {NOT_STATED}"))
        elif auxiliary != cell.auxiliary.name:
            found.append(Reason(f"trained on {cell.auxiliary.name}, published on {auxiliary}", bars=True))
        seeds = [each.cell.seed for each in group]
        if cell.checkpoint is not None:
            found.append(Reason("checkpoint given, not trained by the run"))
        elif seeds != [conditions.seed]:
            several = "mean of seeds" if len(seeds) > 1 else "seed"
            found.append(Reason(f"{several} {', '.join(map(str, seeds))}, published {_said(conditions.seed)}"))
    if not _same_weights(record, conditions.backbone):
        text = f"backbone {cell.backbone.name}, published {_said(conditions.backbone)}"
        found.append(Reason(text, bars=conditions.backbone is not None))
    if record.image_size is None or record.image_size != conditions.image_size:
        text = f"image size {_said(record.image_size)}, published {_said(conditions.image_size)}"
        found.append(Reason(text, bars=None not in (record.image_size, conditions.image_size)))
    if number.kind_is_unknown:
        found.append(Reason(f"AUPRO with 200 thresholds, published {NOT_STATED}"))
    found += [Reason(text) for text in _quirks(number, record)]
    if record.scores_whole_class and number.row.level == "image":
        found.append(Reason("image scores depend on all test images of a class"))
    if cell.backbone.dtype != "float32":
        found.append(Reason(f"dtype {cell.backbone.dtype}"))
    return [*found, *_data(number, record), *map(Reason, conditions.notes)]


def _said(value: object) -> str:
    return NOT_STATED if value is None else str(value)


def _same_weights(record: Record, published: str | None) -> bool:
    """Say whether the backbone is the published one; under the name of a local file it is known by its sha256."""
    known = KNOWN_FILES.get(published or "")
    return record.cell.backbone.name == published or (known is not None and record.cell.backbone.sha256 == known.sha256)


def _quirks(number: Number, record: Record) -> list[str]:
    """Return the fields of the protocol that differ from the source's, or from the default if that is not stated."""
    found = []
    card = number.card
    layout = next((each for each in card.layouts if each.name == record.cell.dataset.layout), None)
    spelled = [c.prompt_name != c.name for c in card.classes if number.class_name in (None, c.name)]
    moves = {
        # Only a mask with a threshold of its own is read differently, and only pixel metrics look at masks.
        "mask_gt0": number.row.level == "pixel" and (layout is None or layout.mask_threshold != 0),
        "raw_class_names": any(spelled),
    }
    for name, ours in record.cell.protocol:
        theirs = number.conditions.protocol.get(name)
        if theirs is None and ours != Protocol.model_fields[name].default:
            found.append(f"quirk protocol.{name}={ours}")
        elif theirs is not None and ours != theirs and moves.get(name, True):
            found.append(f"protocol.{name}={ours}, published {theirs}")
    return found


def _data(number: Number, record: Record) -> list[Reason]:
    card, name = number.card, record.cell.dataset.layout
    found = [Reason(f"data: {warning}") for warning in record.warnings]
    if any(layout.name == name and layout.counts is not None for layout in card.layouts):
        found.append(Reason(f"data: the layout {name} holds another test set than the published one", bars=True))
    if number.class_name is None and len(record.classes) < len(card.classes):
        found.append(Reason(f"data: mean of {len(record.classes)} of {len(card.classes)} classes", bars=True))
    shown = [result for each, result in record.classes.items() if number.class_name in (None, each)]
    skipped = sum(len(result.skipped) for result in shown)
    return found + (
        [Reason(f"data: images left out, as they or their masks cannot be used: {skipped}")] if skipped else []
    )
