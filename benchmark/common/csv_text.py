"""CSV files: quoted where they must be, with no text that a spreadsheet runs as a formula."""

import csv
import re
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]| *[\t\r\n]")  # full-width signs start a formula too in some locales

Cell = str | float | int | None


def plain_cell(text: str) -> str:
    """Return the text with an apostrophe in front where a spreadsheet would take it for a formula, else as it is.

    That is where it begins with `=`, `+`, `-`, `@`, a tab or the end of a line, after blanks or not (OWASP, CSV
    Injection, https://owasp.org/www-community/attacks/CSV_Injection). For columns of text: numbers may be negative.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def to_csv_text(rows: Iterable[Sequence[Cell]], *, decimals: int | None = None) -> str:
    """Return the content of a CSV file, a line for each row, each ended by a line feed.

    Args:
        rows: the header and all others; text becomes a plain cell, None an empty one.
        decimals: of numbers that are no integers; None for full precision.
    """
    lines: list[str] = []
    # With this line end csv quotes a carriage return in a cell too, which Python 3.11 otherwise leaves bare.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerows([_text(cell, decimals) for cell in row] for row in rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def _text(cell: Cell, decimals: int | None) -> str:
    if isinstance(cell, str):
        return plain_cell(cell)
    if isinstance(cell, float) and decimals is not None:
        return f"{cell:.{decimals}f}"
    return "" if cell is None else repr(cell)
