"""Results beside published numbers: what was published, what was measured here, and why the two may differ.

Pure functions of records and published numbers. Nothing is ranked: the numbers come from different sources.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from tabulate import tabulate

from benchmark.clip import KNOWN_FILES
from benchmark.common import to_csv_text
from benchmark.metrics import LEVELS, METRICS
from benchmark.protocol import Protocol
from benchmark.records import Record
from benchmark.tables.marks import WIDE_MARK, WIDE_NOTE, is_wide
from benchmark.tables.published import Number, printed_metrics
from benchmark.tables.tables import STYLES, SYNTHETIC, Style, mean_range, mean_values

Verdict = Literal["within", "differs", "undefined", "synthetic", "not run"]
NONE = "–"
NOT_STATED = "not stated"
ALONE = "Published numbers alone, as their sources print them; none was measured here."
RANKLESS = "Nothing is ranked: conditions differ from source to source."

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Comparison:
    """A published number and the result here that it is compared with; percent and percentage points."""

    number: Number
    title: str
    """The method as the records name it; as printed where it was not run."""
    verdict: Verdict
    ours: float | None = None
    """Mean over seeds; None where it is undefined, synthetic or not run."""
    span: tuple[float, float] | None = None
    """Of a fragile metric: the least and the greatest value it takes when scores move by one part in a million."""
    deviation: float | None = None
    """Standard deviation over the seeds, None for a single one."""
    difference: float | None = None
    reasons: tuple[str, ...] = ()
    """Why the two may differ, or why they are not compared."""
    records: tuple[str, ...] = ()
    """Ids, a seed each."""


def compare(numbers: Iterable[Number], records: Iterable[Record], *, tolerance: float) -> list[Comparison]:
    """Compare every published number of a method here with the results on the same dataset or class.

    Records that differ in the seed alone are averaged; others are rows of their own. Failed ones are no results.

    Args:
        numbers: published numbers; those of methods that are not here are left out.
        records: in any order.
        tolerance: how far apart a result may be to count as `within`, in points; for a fragile metric, the nearest
            value of its range.
    """
    groups = group_seeds(records)
    rows = []
    for number in numbers:
        if number.method is None:
            continue
        same = [
            (title, group)
            for title, group in groups
            if (group[0].cell.method, group[0].cell.dataset.name) == (number.method, number.card.name)
            and (number.class_name is None or any(number.class_name in record.classes for record in group))
        ]
        rows += [_compare(number, title, group, tolerance) for title, group in same]
        if not same:
            rows.append(Comparison(number, number.row.method, "not run"))
    return rows


def group_seeds(records: Iterable[Record]) -> list[tuple[str, list[Record]]]:
    """Return the finished records that differ in the seed alone, with a title that tells each group from the others."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    taken: Counter[tuple[str, ...]] = Counter()
    for record in sorted(records, key=lambda record: (record.cell.seed, record.id)):
        if record.status == "done":
            # k-shot references are drawn by the seed.
            alike = record.cell.model_dump_json(exclude={"seed", "references"})
            key = (record.title, *record.synthetic, alike)
            seed = (*key, str(record.cell.seed))
            groups[(*key, str(taken[seed]))].append(record)
            taken[seed] += 1
    places = Counter((group[0].title, group[0].cell.dataset.name) for group in groups.values())
    titled = []
    for group in sorted(groups.values(), key=lambda group: group[0].id):
        first = group[0]
        alone = places[first.title, first.cell.dataset.name] == 1
        titled.append((first.title if alone else f"{first.title} [{first.id.rpartition('--')[2]}]", group))
    return titled


def _compare(number: Number, title: str, group: Sequence[Record], tolerance: float) -> Comparison:
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
    values = [100 * (each[number.metric] or 0.0) for each in found]
    span = mean_range(group, name, number.metric)
    low, high = span or (ours, ours)
    apart = max(low - number.row.value, number.row.value - high, 0.0)
    return Comparison(
        number,
        title,
        # Rounded so that 92.5 against 91.5 is one point, not a little more.
        "within" if round(apart, 6) <= tolerance else "differs",
        ours=ours,
        span=span,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        difference=ours - number.row.value,
        reasons=reasons(number, group),
        records=ids,
    )


def reasons(number: Number, group: Sequence[Record]) -> tuple[str, ...]:
    """Return why results may differ from a published number: every condition that differs or that is not stated."""
    record, conditions = group[0], number.conditions
    cell = record.cell
    found = []
    if record.cell.changed:
        found.append("options " + ", ".join(f"{name}={value}" for name, value in record.cell.changed.items()))
    if cell.auxiliary is not None:
        auxiliary = conditions.auxiliary_for(cell.dataset.name)
        if auxiliary != cell.auxiliary.name:
            found.append(f"trained on {cell.auxiliary.name}, published{' on' if auxiliary else ''} {_said(auxiliary)}")
        seeds = [each.cell.seed for each in group]
        if cell.checkpoint is not None:
            found.append("checkpoint given, not trained by the run")
        elif seeds != [conditions.seed]:
            several = "mean of seeds" if len(seeds) > 1 else "seed"
            found.append(f"{several} {', '.join(map(str, seeds))}, published {_said(conditions.seed)}")
    if not _same_weights(record, conditions.backbone):
        found.append(f"backbone {cell.backbone.name}, published {_said(conditions.backbone)}")
    if record.image_size is None or record.image_size != conditions.image_size:
        found.append(f"image size {_said(record.image_size)}, published {_said(conditions.image_size)}")
    if number.row.metric == "aupro" and conditions.aupro is None:
        found.append(f"AUPRO with 200 thresholds, published {NOT_STATED}")
    found += _quirks(number, record)
    if cell.backbone.dtype != "float32":
        found.append(f"dtype {cell.backbone.dtype}")
    return (*found, *_data(number, record), *conditions.notes)


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
        "mask_gt0": number.row.level == "pixel" and (layout is None or layout.mask_threshold > 0),
        "raw_class_names": any(spelled),
    }
    for name, ours in record.cell.protocol:
        theirs = number.conditions.protocol.get(name)
        if theirs is None and ours != Protocol.model_fields[name].default:
            found.append(f"quirk protocol.{name}={ours}")
        elif theirs is not None and ours != theirs and moves.get(name, True):
            found.append(f"protocol.{name}={ours}, published {theirs}")
    return found


def _data(number: Number, record: Record) -> list[str]:
    card, name = number.card, record.cell.dataset.layout
    found = [f"data: {warning}" for warning in record.warnings]
    if any(layout.name == name and layout.counts is not None for layout in card.layouts):
        found.append(f"data: the layout {name} holds another test set than the published one")
    if number.class_name is None and len(record.classes) < len(card.classes):
        found.append(f"data: mean of {len(record.classes)} of {len(card.classes)} classes")
    shown = [result for each, result in record.classes.items() if number.class_name in (None, each)]
    skipped = sum(len(result.skipped) for result in shown)
    return found + ([f"data: {skipped} unreadable images left out"] if skipped else [])


def counts(rows: Iterable[Comparison], tolerance: float) -> str:
    """Return how many rows have which verdict, in a sentence."""
    found = Counter(row.verdict for row in rows)
    words: dict[Verdict, str] = {
        "within": f"within {tolerance:g} point{'' if tolerance == 1 else 's'}",
        "differs": "differ",
        "undefined": "undefined",
        "synthetic": "synthetic and not compared",
        "not run": "not run",
    }
    return "Of the published numbers: " + ", ".join(f"{found[verdict]} {text}" for verdict, text in words.items()) + "."


def render_comparison(rows: Sequence[Comparison], style: str, *, tolerance: float) -> str:
    """Return the comparison as Markdown (`md`) or plain text (`txt`): counts, rows, reasons, what was not run, sources.

    Values are percentages, differences points, both with two decimals, the published ones as printed.
    """
    how = STYLES[style]
    shown = [row for row in _ordered(rows) if row.verdict != "not run"]
    sources = _numbered(row.number.row.source for row in shown)
    why = {reason: _letters(index) for reason, index in _numbered(r for row in shown for r in row.reasons).items()}
    body = [_line(row, sources, why, how) for row in shown]
    header = ("Dataset", "Metric", "Method", "Published", "Ours", "Difference", "Verdict", "Why")
    lines = [counts(rows, tolerance)]
    if any(row.verdict == "synthetic" for row in shown):
        lines.append(f"{SYNTHETIC}: results of generated data or weights are never compared with published numbers.")
    if any(row.deviation is not None for row in shown):
        lines.append("± is the standard deviation over seeds.")
    if any(is_wide(row.span) for row in shown):
        lines.append(f"{WIDE_NOTE} The verdict goes by the nearest value of the range.")
    parts = [_listed(lines, how), tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)]
    if why:
        parts.append("Why results may differ, or are not compared:")
        parts.append(_listed([f"{letter}: {reason}" for reason, letter in why.items()], how))
    if not_run := _not_run(rows):
        parts.append(_listed(not_run, how))
    if sources:
        parts.append(_sources(sources, how))
    return "\n\n".join(["# Results beside published numbers" if style == "md" else "", *parts]).strip() + "\n"


def _line(row: Comparison, sources: dict[str, int], why: dict[str, str], how: Style) -> list[str]:
    number = row.number
    ours = NONE if row.ours is None else f"{row.ours:.2f}"
    if row.deviation is not None:
        ours += f" ± {row.deviation:.2f}"
    if is_wide(row.span):
        ours += f" {WIDE_MARK}"
    return [
        how.escape(_place(number)),
        f"{number.row.level} {number.heading}",
        how.escape(row.title),
        f"{number.row.value:.1f} [{sources[number.row.source]}]",
        ours,
        NONE if row.difference is None else f"{round(row.difference, 2) + 0:+.2f}",
        row.verdict,
        " ".join(sorted((why[reason] for reason in row.reasons), key=lambda letter: (len(letter), letter))),
    ]


def _place(number: Number) -> str:
    return number.card.title + (f": {number.class_name}" if number.class_name else "")


def _ordered(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the rows by dataset and class as first published, metric, and title."""
    places = _numbered((row.number.card.name, row.number.row.class_name) for row in rows)
    datasets = _numbered(row.number.card.name for row in rows)

    def key(row: Comparison) -> tuple[int, bool, int, str, int, str]:
        n = row.number
        metric = printed_metrics(n.row.level).index(n.row.metric)
        place = places[n.card.name, n.row.class_name]
        return datasets[n.card.name], n.class_name is not None, place, n.row.level, metric, row.title

    return sorted(rows, key=key)


def _not_run(rows: Iterable[Comparison]) -> list[str]:
    """Return a line per method; a dataset of which nothing was run stands for its classes too."""
    lacking: dict[str, list[Number]] = defaultdict(list)
    for row in rows:
        if row.verdict == "not run":
            lacking[row.number.method or ""].append(row.number)
    lines = []
    for method, numbers in lacking.items():
        whole = {number.card.name for number in numbers if number.class_name is None}
        parts = [number for number in numbers if number.class_name is None or number.card.name not in whole]
        lines.append(f"Not run: {method} on {', '.join(dict.fromkeys(map(_place, parts)))}.")
    return lines


def _sources(sources: dict[str, int], how: Style) -> str:
    return "\n".join(f"{_mark(how)}[{index}] {how.escape(source)}" for source, index in sources.items())


def _listed(lines: Iterable[str], how: Style) -> str:
    return "\n".join(f"{_mark(how)}{how.escape(line)}" for line in lines)


def _mark(how: Style) -> str:
    return "- " if how.tablefmt == "pipe" else ""


def _numbered(items: Iterable[Key]) -> dict[Key, int]:
    """Return each distinct item with its number from 1 on, in the order in which they come first."""
    return {item: index for index, item in enumerate(dict.fromkeys(items), 1)}


def _letters(index: int) -> str:
    """Return a, b, …, z, aa, ab, … for 1, 2, …"""
    before, last = divmod(index - 1, 26)
    return (_letters(before) if before else "") + "abcdefghijklmnopqrstuvwxyz"[last]


def comparison_csv(rows: Iterable[Comparison]) -> str:
    """Return every row as CSV, also what was not run: percentages in full precision, empty where there is none.

    `low` and `high` are the range of a fragile metric when scores move by one part in a million.
    """
    names = "method,title,dataset,class,level,metric,published,ours,low,high,deviation,difference"
    lines: list[Sequence[str | float | None]] = [[*names.split(","), "verdict", "reasons", "source", "records"]]
    for row in rows:
        n = row.number
        place = (n.method, row.title, n.card.name, n.row.class_name, n.row.level, n.row.metric)
        values = (n.row.value, row.ours, *(row.span or (None, None)), row.deviation, row.difference)
        lines.append((*place, *values, row.verdict, "; ".join(row.reasons), n.row.source, " ".join(row.records)))
    return to_csv_text(lines)


def published_csv(numbers: Iterable[Number]) -> str:
    """Return the published numbers as CSV, those of methods that are not here with an empty `method`."""
    lines: list[Sequence[str | float | None]] = [
        ("method", "title", "dataset", "class", "level", "metric", "published", "source")
    ]
    for n in numbers:
        place = (n.method, n.row.method, n.card.name, n.row.class_name, n.row.level, n.row.metric)
        lines.append((*place, n.row.value, n.row.source))
    return to_csv_text(lines)


def render_published(numbers: Sequence[Number], style: str) -> str:
    """Return the published numbers alone as Markdown (`md`) or plain text (`txt`): datasets × methods per level.

    A table for each file; a number in brackets is the source of a row, or of the one value it stands at.
    """
    how = STYLES[style]
    sources = _numbered(number.row.source for number in numbers)
    parts = []
    for title, of_file in _by(numbers, lambda n: n.title).items():
        for level, heading in LEVELS.items():
            same = [number for number in of_file if number.row.level == level]
            if same:
                parts.append(_dry_table(f"{title}: {heading.lower()}", same, sources, how))
    said = f"{_listed([RANKLESS], how)}\n{_sources(sources, how)}"
    parts = ["# Published numbers" if style == "md" else "", ALONE, *parts, said]
    return "\n\n".join(parts).strip() + "\n"


def _dry_table(title: str, numbers: Sequence[Number], sources: dict[str, int], how: Style) -> str:
    printed = {number.row.metric for number in numbers}
    metrics = [metric for metric in printed_metrics(numbers[0].row.level) if metric in printed]
    methods = list(dict.fromkeys(number.row.method for number in numbers))
    body = []
    for place, of_place in _by(numbers, _place).items():
        usual = Counter(number.row.source for number in of_place).most_common(1)[0][0]
        line = [f"{how.escape(place)} [{sources[usual]}]"]
        for method in methods:
            of_cell = {number.row.metric: number.row for number in of_place if number.row.method == method}
            values = [f"{of_cell[metric].value:.1f}" if metric in of_cell else NONE for metric in metrics]
            others = {sources[row.source] for row in of_cell.values() if row.source != usual}
            text = f"({', '.join(values)})" if of_cell else NONE
            line.append(text + "".join(f" [{index}]" for index in sorted(others)))
        body.append(line)
    grid: str = tabulate(body, headers=["", *map(how.escape, methods)], tablefmt=how.tablefmt, disable_numparse=True)
    kinds = ", ".join(METRICS[f"{numbers[0].row.level}_{metric}"].heading for metric in metrics)
    return f"{'## ' if how.tablefmt == 'pipe' else ''}{how.escape(title)} ({kinds}), %\n\n{grid}"


def _by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
