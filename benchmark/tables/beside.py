"""A LaTeX table of results with the papers' numbers beside them. Pure functions of records and published numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.metrics import MAIN_METRICS
from benchmark.records import Record
from benchmark.tables.columns import Column, groups_of
from benchmark.tables.comparable import main_records
from benchmark.tables.comparison import UNFIT, Comparison, compare
from benchmark.tables.marks import SECOND_HAND_MARK, SECOND_HAND_NOTE
from benchmark.tables.notes import is_banner
from benchmark.tables.parts import chosen_columns, fits_page, in_parts
from benchmark.tables.published import AUPRO, THEIR_AUPRO, Number
from benchmark.tables.render import row_cells
from benchmark.tables.style import STYLES, Part, headings, latex, lettered, numbered
from benchmark.tables.tables import Row, Table, make_tables

METRICS_BESIDE = tuple(THEIR_AUPRO if key == AUPRO else key for key in MAIN_METRICS)
"""Those of the papers' main tables, with the AUPRO that the papers' code computes."""
OURS, PAPER = "ours", "paper"
PACKAGES = "Needs the packages booktabs and threeparttable."

Place = tuple[str, str, str]
"""Titles of a dataset and of a method, and a metric."""
Found = Mapping[Place, Comparison]
"""The published number that stands beside each value."""


def beside_published(
    records: Sequence[Record],
    numbers: Iterable[Number],
    *,
    metrics: Sequence[str] = METRICS_BESIDE,
    methods: Sequence[str] = (),
) -> str:
    """Return the main tables in LaTeX with two columns for each method: its results here, and published numbers.

    Of several sources of a number, those that read it where its authors print it come before second-hand ones, and a
    method before a row of an ablation; then the method's own paper, its repository, the paper of another method of the
    table; then a number that is comparable with ours, and the source that gives most numbers, so that few sources stand
    side by side. Notes below the table name the sources, and say of each number that is not comparable why. A published
    AUPRO stands beside `pixel_aupro_200` alone.

    Args:
        records: that count.
        numbers: published numbers; those of classes and of means over datasets are left out.
        metrics: keys of the metrics.
        methods: names of methods in the order of their columns.

    Returns:
        The text; empty where no result has one of the metrics.

    Raises:
        TableError: the records are not comparable.
    """
    main = main_records(records)
    made = make_tables(main, metrics=metrics, methods=methods)
    tables = [table for table in made if table.name.startswith("main_")]
    of_datasets = [number for number in numbers if number.class_name is None and not number.is_mean]
    found = _taken(compare(of_datasets, main, tolerance=0), main)
    return "\n".join(_drawn(table, found) for table in tables)


def _taken(rows: Iterable[Comparison], records: Iterable[Record]) -> Found:
    """Return the number that is taken for each value, given all that are published."""
    places = {record.id: (record.dataset_title, record.title) for record in records}
    candidates = [((*places[row.records[0]], row.number.metric), row) for row in rows if row.records]
    given = Counter(row.number.file for _, row in candidates)
    papers = {row.number.file for _, row in candidates if row.number.distance == 0}

    def rank(placed: tuple[Place, Comparison]) -> tuple[bool | int, ...]:
        number = placed[1].number
        fit, first_hand = placed[1].verdict not in UNFIT, not number.conditions.second_hand
        return not first_hand, number.is_row, number.distance, number.file not in papers, not fit, -given[number.file]

    found: dict[Place, Comparison] = {}
    for place, row in sorted(candidates, key=rank):
        found.setdefault(place, row)
    return found


@dataclass(frozen=True)
class _Marks:
    """What notes below a table say, by their marks."""

    sources: Mapping[str, str]
    reasons: Mapping[str, int]

    def of(self, row: Comparison) -> str:
        marks = [self.sources[row.number.row.source]]
        return ",".join([*marks, str(self.reasons[why])] if (why := _why(row)) else marks)


def _why(row: Comparison) -> str:
    """Return why a number is not comparable with ours, in words; empty where it is."""
    if row.verdict in UNFIT:
        return f"{row.verdict}: {'; '.join(row.barring or row.reasons)}"
    return "not decided: the source does not say which AUPRO it computed" if row.number.kind_is_unknown else ""


def _drawn(table: Table, found: Found) -> str:
    how = STYLES["tex"]
    shown = [
        row
        for line in table.rows
        for column in table.columns
        for metric in table.metrics
        if (row := _beside(line, column, metric, found)) is not None
    ]
    marks = _Marks(lettered(row.number.row.source for row in shown), numbered(filter(None, map(_why, shown))))
    header = ["", *[OURS, PAPER] * len(table.columns)]
    body = []
    for line in table.rows:
        ours = row_cells(line, table.metrics, how)
        theirs = [_published(line, column, table.metrics, found, marks) for column in table.columns]
        body.append([how.escape(line.title), *(cell for pair in zip(ours, theirs, strict=True) for cell in pair)])
    facts = [
        [how.escape(name), *(cell for value in values for cell in (how.escape(value), ""))]
        for name, values in table.facts.items()
    ]
    parts = []
    for places in _parts(table):
        pairs = [column for place in places for column in (2 * place + 1, 2 * place + 2)]
        heading, lines = chosen_columns(header, body, pairs)
        titles = [(how.escape(table.columns[place].title), 2) for place in places]
        parts.append(Part(heading, lines, chosen_columns(header, facts, pairs)[1], titles))
    ruled = {index + after for index, line in enumerate(table.rows) if line.is_mean for after in (0, 1)}
    ruled -= {len(table.rows)}
    grid = latex(parts, ruled=ruled, banner=[how.escape(note) for note in table.notes if is_banner(note)])
    said = "".join(f"% {how.escape(note)}\n" for note in (*table.notes, how.legend, PACKAGES))
    title = f"{how.heading}{how.escape(table.title)} {headings(table.metrics)}, %"
    below = _notes(table, shown, marks)
    return f"{title}\n{said}\\begin{{threeparttable}}\n{grid}\n{below}\\end{{threeparttable}}\n"


def _parts(table: Table) -> list[list[int]]:
    """Return the places of the columns that go into each part of a table."""
    runs, after = [], 0
    for _, same in groups_of(table.columns):
        runs.append(range(after, after + len(same)))
        after += len(same)
    return in_parts(runs, fits_page(2 * len(table.metrics)))


def _beside(line: Row, column: Column, metric: str, found: Found) -> Comparison | None:
    return None if line.is_mean else found.get((line.title, column.title, metric))


def _published(line: Row, column: Column, metrics: Sequence[str], found: Found, marks: _Marks) -> str:
    """Return the cell of published numbers, each with its marks; where all have the same, they stand once."""
    how = STYLES["tex"]
    rows = [_beside(line, column, metric, found) for metric in metrics]
    known = {marks.of(row) for row in rows if row is not None}
    if not known:
        return how.escape("–")
    alike = len(known) == 1
    numbers = [
        how.escape("–")
        if row is None
        else how.escape(_number(row.number)) + ("" if alike else rf"\tnote{{{marks.of(row)}}}")
        for row in rows
    ]
    return f"({', '.join(numbers)})" + (rf"\tnote{{{known.pop()}}}" if alike else "")


def _number(number: Number) -> str:
    """Return the value with as many decimals as ours, and its mark if it is second hand."""
    return f"{number.row.value:.1f}" + (SECOND_HAND_MARK if number.conditions.second_hand else "")


def _notes(table: Table, shown: Sequence[Comparison], marks: _Marks) -> str:
    how = STYLES["tex"]
    items = [(letter, source) for source, letter in marks.sources.items()]
    items += [(str(number), why) for why, number in marks.reasons.items()]
    if any(row.number.conditions.second_hand for row in shown):
        items.append(("", f"{SECOND_HAND_NOTE}."))
    if AUPRO in table.metrics:
        items.append(("", "AUPRO is exact, and papers print that of 200 thresholds: none stands beside it."))
    if not items:
        return ""
    lines = "".join(f"\\item[{mark}] {how.escape(text)}\n" for mark, text in items)
    return f"\\begin{{tablenotes}}\\footnotesize\n{lines}\\end{{tablenotes}}\n"
