"""Text in CSV files: quoted where it must be, and never run by a spreadsheet as a formula."""

import re
from functools import lru_cache

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]| *[\t\r\n]")  # full-width signs start a formula too in some locales
_SPECIAL = re.compile(r'[",\r\n]')


def plain_cell(text: str) -> str:
    """Return the text with an apostrophe in front where a spreadsheet would take it for a formula, else as it is.

    That is where it begins with `=`, `+`, `-`, `@`, a tab or the end of a line, after blanks or not (OWASP, CSV
    Injection, https://owasp.org/www-community/attacks/CSV_Injection). For columns of text: numbers may be negative.
    """
    return f"'{text}" if _FORMULA.match(text) else text


@lru_cache(maxsize=4096)  # tables repeat their names
def clean_cell(text: str) -> str:
    """Return the field of a CSV line that holds the text as a plain cell, in quotes where it needs them.

    As `csv.writer` does, but for a carriage return, which that leaves bare where lines end otherwise (Python 3.11).
    """
    cell = plain_cell(text)
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell
