"""Tables as files: Markdown, LaTeX, plain text and CSV, and every number of the records as one CSV file."""

from collections.abc import Iterable, Sequence

from benchmark.common import to_csv_text
from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.tables.marks import Mark, best_and_second
from benchmark.tables.notes import is_banner
from benchmark.tables.numbers import to_long_csv
from benchmark.tables.parts import draw
from benchmark.tables.style import STYLES, Style, grid, headings, one_line
from benchmark.tables.tables import Row, Table


def render(table: Table, style: str, *, width: int | None = None) -> str:
    """Return a table as Markdown (`md`) or LaTeX (`tex`) with its notes, or as plain text (`txt`) without.

    Numbers are percentages with one decimal; marks go by the numbers as printed, so what looks equal is marked alike.
    In LaTeX the notes are comments. The banner of synthetic results and what tells the columns apart are part of the
    table there. A table with more columns than a page has room for is in parts, each with the groups of its columns;
    groups stay together where they fit. With `width`, that of a terminal in letters, the terminal says what fits.
    """
    how = STYLES[style]
    header = ["", *(how.escape(column.title) for column in table.columns)]
    body = [[how.escape(row.title), *row_cells(row, table.metrics, how)] for row in table.rows]
    ends = {index + 1 for index, row in enumerate(table.rows) if row.is_mean and index + 1 < len(table.rows)}
    means = {index for index, row in enumerate(table.rows) if row.is_mean}
    banner = [how.escape(note) for note in table.notes if is_banner(note)]
    facts = [[how.escape(name), *map(how.escape, values)] for name, values in table.facts.items()]
    drawn = draw(
        header,
        body,
        table.columns,
        how,
        numbers=len(table.metrics),
        width=width,
        facts=facts,
        ruled=means | ends,
        banner=banner,
    )
    notes = [how.escape(note) for note in (*table.notes, how.legend)]
    title = f"{how.heading}{how.escape(table.title)} {headings(table.metrics)}, %"
    if style == "md":
        return f"{title}\n\n{drawn}\n\n" + "".join(f"- {note}\n" for note in notes)
    if style == "tex":
        return f"{title}\n" + "".join(f"% {note}\n" for note in notes) + drawn + "\n"
    return f"{title}\n\n{drawn}\n"


def summary(tables: Iterable[Table], *, width: int | None = None) -> str:
    """Return the main tables as plain text for a terminal, their notes once, the banner of synthetic results first.

    Args:
        tables: all of a run.
        width: of the terminal in letters; None where there is none.
    """
    main = [table for table in tables if table.name.startswith("main_")]
    how = STYLES["txt"]
    notes = dict.fromkeys(one_line(note) for table in main for note in table.notes)
    banner = [note for note in notes if is_banner(note)]
    rest = [note for note in notes if note not in banner]
    return "\n".join(
        [*banner, "", *(render(table, "txt", width=width) for table in main), *([how.legend] if main else []), *rest]
    )


def html_summary(tables: Sequence[Table]) -> str:
    """Return tables as HTML, all text escaped: the banner of synthetic results, the tables, and their notes once."""
    how = STYLES["html"]
    notes = [how.escape(note) for note in dict.fromkeys(note for table in tables for note in table.notes)]
    banner = [f"<p><strong>{note}</strong></p>" for note in notes if is_banner(note)]
    drawn = []
    for table in tables:
        header = ["", *(how.escape(column.title) for column in table.columns)]
        body = [[how.escape(row.title), *row_cells(row, table.metrics, how)] for row in table.rows]
        drawn.append(f"<h4>{how.escape(table.title)} {headings(table.metrics)}, %</h4>\n{grid(header, body, how)}")
    rest = [how.legend] * bool(tables) + [note for note in notes if not is_banner(note)]
    listed = "".join(f"<li>{note}</li>" for note in rest)
    return "\n".join([*banner, *drawn, f"<ul>{listed}</ul>" if listed else ""])


def row_cells(row: Row, metrics: tuple[str, ...], how: Style) -> list[str]:
    """Return the cells `(AUROC, AP)` of a row, each number marked against the same metric of the other columns."""
    columns = [
        [
            _number(value, spread, mark, how)
            for value, spread, mark in zip(column, spreads, best_and_second(column, METRICS[metric]), strict=True)
        ]
        for metric, column, spreads in zip(
            metrics, zip(*row.values, strict=True), zip(*row.spreads, strict=True), strict=True
        )
    ]
    undefined = how.escape("–")
    return [
        undefined if all(v is None for v in cell) else f"({', '.join(numbers)})"
        for cell, numbers in zip(row.values, zip(*columns, strict=True), strict=True)
    ]


def _number(value: float | None, spread: float | None, mark: Mark, how: Style) -> str:
    """Return a number as printed, with its mark and its standard deviation over seeds."""
    if value is None:
        return how.escape("–")
    text = {"best": how.best, "second": how.second, "": "{}"}[mark].format(f"{value:.1f}")
    return text if spread is None else f"{text} {how.escape(f'± {spread:.1f}')}"


def to_csv(table: Table) -> str:
    """Return a table as CSV: a column per method and metric, percentages with two decimals, empty where undefined."""
    header = ["name", *(f"{column.title} {metric}" for column in table.columns for metric in table.metrics)]
    rows = ([row.title, *(value for cell in row.values for value in cell)] for row in table.rows)
    return to_csv_text([header, *rows], decimals=2)


def table_files(tables: Iterable[Table], records: Iterable[Record]) -> dict[str, str]:
    """Return by file name every table as Markdown, CSV and LaTeX, and `results.csv` with all numbers of the records."""
    files = {"results.csv": to_long_csv(records)}
    for table in tables:
        files |= {
            f"{table.name}.md": render(table, "md"),
            f"{table.name}.tex": render(table, "tex"),
            f"{table.name}.csv": to_csv(table),
        }
    return files
