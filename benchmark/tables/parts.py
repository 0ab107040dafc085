"""Tables in parts: with more columns than there is room for, a table is divided where groups of columns end."""

import itertools
import textwrap
from collections.abc import Callable, Container, Sequence

from benchmark.tables.columns import Column, groups_of
from benchmark.tables.style import Part, Style, grid, latex

MOST_NUMBERS = 16
"""Numbers in a row for which a page has room: eight columns of two."""


def draw(
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    columns: Sequence[Column],
    how: Style,
    *,
    numbers: int,
    width: int | None = None,
    facts: Sequence[Sequence[str]] = (),
    ruled: Container[int] = (),
    banner: Sequence[str] = (),
) -> str:
    """Return a table of methods in as many parts as it needs, each with the groups and years of its columns.

    In LaTeX they are rows of the table, in other formats a line above it.

    Args:
        header: Headings of all columns, escaped; the first is that of the rows.
        body: Rows, escaped.
        columns: The methods.
        how: The style.
        numbers: Numbers in a cell.
        width: Of the terminal in letters; None for a page.
        facts, ruled, banner: As in `Part` and `latex`.
    """
    runs, after = [], 1
    for _, same in groups_of(columns):
        runs.append(range(after, after + len(same)))
        after += len(same)
    fits = fits_page(numbers) if width is None else fits_terminal(header, body, how, width)
    parts = [(part, groups_of([columns[place - 1] for place in part])) for part in in_parts(runs, fits)]
    if how.tablefmt == "latex_booktabs":
        made = []
        for part, groups in parts:
            heading, rows = chosen_columns(header, body, part)
            _, of_facts = chosen_columns(header, facts, part)
            made.append(Part(heading, rows, of_facts, [(how.escape(name), len(same)) for name, same in groups]))
        return latex(made, ruled=ruled, banner=banner)
    drawn = []
    for part, groups in parts:
        said = "; ".join(f"{name}: {', '.join(column.dated for column in same)}" for name, same in groups)
        line = how.escape(said[:1].upper() + said[1:])
        if width is not None:
            line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        drawn.append(f"{line}\n\n{grid(*chosen_columns(header, body, part), how)}")
    return "\n\n".join(drawn)


def in_parts(runs: Sequence[Sequence[int]], fits: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Return columns in parts, in their order, each as long as fits.

    Args:
        runs: Columns that stay together where they fit into a part; others are divided as evenly as they can be.
        fits: Takes columns, and says whether they fit into one part. A single column is a part in any case.
    """
    parts: list[list[int]] = []
    for run in runs:
        for piece in _divided(run, fits):
            if parts and fits([*parts[-1], *piece]):
                parts[-1] += piece
            else:
                parts.append(piece)
    return parts


def _divided(run: Sequence[int], fits: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Return a run in as few pieces as fit, of about the same length."""
    for count in range(1, len(run)):
        ends = [round(len(run) * place / count) for place in range(count + 1)]
        pieces = [list(run[start:end]) for start, end in itertools.pairwise(ends)]
        if all(map(fits, pieces)):
            return pieces
    return [[column] for column in run]


def fits_page(numbers: int) -> Callable[[Sequence[int]], bool]:
    """Return what says of columns whether they fit on a page, given how many numbers a cell has."""
    return lambda columns: len(columns) * numbers <= MOST_NUMBERS


def fits_terminal(
    header: Sequence[str], body: Sequence[Sequence[str]], how: Style, width: int
) -> Callable[[Sequence[int]], bool]:
    """Return what says of columns whether they, beside the first one, fit into a terminal of a width in letters."""

    def fits(columns: Sequence[int]) -> bool:
        drawn = grid(*chosen_columns(header, body, columns), how)
        return max(map(len, drawn.splitlines())) <= width

    return fits


def chosen_columns(
    header: Sequence[str], body: Sequence[Sequence[str]], columns: Sequence[int]
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table with the first column and some others alone."""
    places = [0, *columns]
    return [header[i] for i in places], [[row[i] for i in places] for row in body]
