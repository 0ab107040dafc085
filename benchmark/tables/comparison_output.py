"""The comparison with published numbers, and published numbers alone, as text and CSV. Nothing is ranked."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from tabulate import tabulate

from benchmark.common import to_csv_text
from benchmark.metrics import CONFIDENCE, LEVELS, METRICS
from benchmark.tables.comparison import Comparison, Verdict
from benchmark.tables.marks import SECOND_HAND_NOTE, WIDE_MARK, WIDE_NOTE, is_wide
from benchmark.tables.notes import SYNTHETIC
from benchmark.tables.published import Number, printed_metrics
from benchmark.tables.style import STYLES, Style, as_list, lettered, letters_of, numbered

NONE = "–"
ALONE = "Published numbers alone, as their sources print them; none was measured here."
RANKLESS = "Nothing is ranked: conditions differ from source to source."
SHOWN_BY_VERDICT: dict[Verdict, str] = {
    "within": "within",
    "differs": "differ",
    "undecided": "undecided",
    "not comparable": "not comparable",
    "undefined": "undefined",
    "synthetic": "synthetic and not compared",
    "not run": "not run",
}

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def counts(rows: Iterable[Comparison], tolerance: float) -> str:
    """Return how many rows have which verdict, in a sentence."""
    found = Counter(row.verdict for row in rows)
    words = SHOWN_BY_VERDICT | {"within": f"within {tolerance:g} point{'' if tolerance == 1 else 's'}"}
    return "Of the published numbers: " + ", ".join(f"{found[verdict]} {text}" for verdict, text in words.items()) + "."


def render_comparison(rows: Sequence[Comparison], style: str, *, tolerance: float) -> str:
    """Return the comparison as Markdown (`md`) or plain text (`txt`): counts, rows, reasons, what was not run, sources.

    Values are percentages, differences points, both with two decimals, the published ones as printed.
    """
    how = STYLES[style]
    shown = [row for row in in_printed_order(rows) if row.verdict != "not run"]
    sources = numbered(row.number.row.source for row in shown)
    why = lettered(reason for row in shown for reason in row.reasons)
    body = [_line(row, sources, why, how) for row in shown]
    header = ("Dataset", "Metric", "Method", "Published", "Ours", "Difference", "Verdict", "Why")
    lines = [counts(rows, tolerance), *legend(shown)]
    parts = [as_list(lines, how), tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)]
    if why:
        parts.append("Why results may differ, or are not compared:")
        parts.append(as_list([f"{letter}: {reason}" for reason, letter in why.items()], how))
    if not_run := _not_run(rows):
        parts.append(as_list(not_run, how))
    if sources:
        parts.append(_sources(sources, how))
    return "\n\n".join(["# Results beside published numbers" if style == "md" else "", *parts]).strip() + "\n"


def legend(rows: Sequence[Comparison]) -> list[str]:
    """Return what the signs in some rows mean, in sentences; first, that synthetic results are not compared."""
    lines = []
    if any(row.verdict == "synthetic" for row in rows):
        lines.append(f"{SYNTHETIC}: results of generated data or weights are never compared with published numbers.")
    if any(row.deviation is not None for row in rows):
        lines.append("± is the standard deviation over seeds.")
    if any(row.interval is not None for row in rows):
        lines.append(f"In brackets: {CONFIDENCE:.0%} bootstrap interval of our value; AUPRO has that of the exact one.")
    if any(is_wide(row.span) for row in rows):
        lines.append(f"{WIDE_NOTE}; results.csv holds its range.")
    if any(row.number.conditions.second_hand for row in rows):
        lines.append(f"{SECOND_HAND_NOTE}.")
    return lines


def shown_value(row: Comparison) -> str:
    """Return our value with its deviation, its interval and its mark; a dash where there is none."""
    text = NONE if row.ours is None else f"{row.ours:.2f}"
    if row.deviation is not None:
        text += f" ± {row.deviation:.2f}"
    if row.interval is not None:
        text += f" [{row.interval[0]:.1f}, {row.interval[1]:.1f}]"
    return text + (f" {WIDE_MARK}" if is_wide(row.span) else "")


def shown_difference(row: Comparison) -> str:
    """Return the difference in points with its sign; a dash where there is none."""
    return NONE if row.difference is None else f"{round(row.difference, 2) + 0:+.2f}"


def _line(row: Comparison, sources: dict[str, int], why: dict[str, str], how: Style) -> list[str]:
    number = row.number
    return [
        how.escape(_place(number)),
        f"{number.row.level} {number.heading}",
        how.escape(row.label),
        f"{number.printed} [{sources[number.row.source]}]",
        shown_value(row),
        shown_difference(row),
        row.verdict,
        letters_of(row.reasons, why),
    ]


def _place(number: Number) -> str:
    return number.dataset_title + (f": {number.class_name}" if number.class_name else "")


def in_printed_order(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the rows by dataset and class as first published, metric, and title."""
    places = numbered((row.number.dataset, row.number.row.class_name) for row in rows)
    datasets = numbered(row.number.dataset for row in rows)

    def key(row: Comparison) -> tuple[int, bool, int, str, int, str]:
        n = row.number
        metric = printed_metrics(n.row.level).index(n.row.metric)
        place = places[n.dataset, n.row.class_name]
        return datasets[n.dataset], n.class_name is not None, place, n.row.level, metric, row.label

    return sorted(rows, key=key)


def _not_run(rows: Iterable[Comparison]) -> list[str]:
    """Return a line per method, and one for all rows of ablations that lack the same.

    A dataset of which nothing was run stands for its classes too.
    """
    lacking: dict[tuple[str, str], list[Number]] = defaultdict(list)
    for row in rows:
        if row.verdict == "not run":
            number = row.number
            lacking[("", number.row.method) if number.is_row else (number.method or "", "")].append(number)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (method, printed), numbers in lacking.items():
        whole = {number.dataset for number in numbers if number.class_name is None}
        parts = [number for number in numbers if number.class_name is None or number.dataset not in whole]
        names[method, ", ".join(dict.fromkeys(map(_place, parts)))].append(method or printed)
    return [f"Not run: {'; '.join(same)} on {places}." for (_, places), same in names.items()]


def _sources(sources: dict[str, int], how: Style) -> str:
    return "\n".join(f"{how.bullet}[{index}] {how.escape(source)}" for source, index in sources.items())


COMPARISON_NUMBERS = ("published", "ours", "low", "high", "interval_low", "interval_high", "deviation", "difference")
COMPARISON_COLUMNS = (
    *("method", "title", "printed", "reading", "dataset", "class", "level", "metric"),
    *COMPARISON_NUMBERS,
    *("verdict", "reasons", "source", "second_hand", "records"),
)


def comparison_rows(rows: Iterable[Comparison]) -> list[Sequence[str | float | None]]:
    """Return the values of `COMPARISON_COLUMNS` for every row, also what was not run: percentages in full precision.

    `low` and `high` are the range of a fragile metric when scores move by one part in a million, `interval_low` and
    `interval_high` the bootstrap interval; `printed` is the method as printed, `second_hand` the text about a paper in
    which the number was read. What there is none of is None.
    """
    lines: list[Sequence[str | float | None]] = []
    for row in rows:
        n = row.number
        name = (n.method, row.title, n.row.method, row.reading)
        place = (*name, n.dataset, n.row.class_name, n.row.level, n.row.metric)
        ranges = (*(row.span or (None, None)), *(row.interval or (None, None)))
        values = (n.row.value, row.ours, *ranges, row.deviation, row.difference)
        told = (row.verdict, "; ".join(row.reasons), n.row.source, n.conditions.second_hand, " ".join(row.records))
        lines.append((*place, *values, *told))
    return lines


def comparison_csv(rows: Iterable[Comparison]) -> str:
    """Return every row as CSV, with the columns of `comparison_rows`; empty where there is none."""
    return to_csv_text([COMPARISON_COLUMNS, *comparison_rows(rows)])


def published_csv(numbers: Iterable[Number]) -> str:
    """Return the published numbers as CSV, those of methods that are not here with an empty `method`."""
    lines: list[Sequence[str | float | None]] = [
        ("method", "title", "dataset", "class", "level", "metric", "published", "source", "second_hand")
    ]
    for n in numbers:
        place = (n.method, n.row.method, n.dataset, n.row.class_name, n.row.level, n.row.metric)
        lines.append((*place, n.row.value, n.row.source, n.conditions.second_hand))
    return to_csv_text(lines)


def render_published(numbers: Sequence[Number], style: str) -> str:
    """Return the published numbers alone as Markdown (`md`) or plain text (`txt`): datasets × methods per level.

    A table for each file, with the datasets as columns where the methods are rows of ablations; a number in brackets is
    the source of a dataset's values, or of the one value it stands at.
    """
    how = STYLES[style]
    sources = numbered(number.row.source for number in numbers)
    parts = []
    for title, of_file in _by(numbers, lambda n: n.title).items():
        for level, heading in LEVELS.items():
            same = [number for number in of_file if number.row.level == level]
            if same:
                parts.append(_dry_table(f"{title}: {heading.lower()}", same, sources, how))
    notes = [RANKLESS, *([f"{SECOND_HAND_NOTE}."] if any(n.conditions.second_hand for n in numbers) else [])]
    said = f"{as_list(notes, how)}\n{_sources(sources, how)}"
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
            of_cell = {number.row.metric: number for number in of_place if number.row.method == method}
            values = [of_cell[metric].printed if metric in of_cell else NONE for metric in metrics]
            others = {sources[each.row.source] for each in of_cell.values() if each.row.source != usual}
            text = f"({', '.join(values)})" if of_cell else NONE
            line.append(text + "".join(f" [{index}]" for index in sorted(others)))
        body.append(line)
    table = [["", *map(how.escape, methods)], *body]
    if any(number.is_row for number in numbers):  # many rows of ablations, with long names
        table = [list(column) for column in zip(*table, strict=True)]
    grid: str = tabulate(table[1:], headers=table[0], tablefmt=how.tablefmt, disable_numparse=True)
    kinds = ", ".join(METRICS[f"{numbers[0].row.level}_{metric}"].heading for metric in metrics)
    return f"{'## ' if how.tablefmt == 'pipe' else ''}{how.escape(title)} ({kinds}), %\n\n{grid}"


def _by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
