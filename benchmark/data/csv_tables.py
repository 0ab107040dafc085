"""Tables of labels and of samples: CSV files, whose cells are read as people write them."""

import codecs
import csv
import io
from collections.abc import Mapping

from benchmark.common import TABLE_LIMIT, read_limited, what_is_it
from benchmark.data.tree import Tree
from benchmark.data.words import label_of

Row = dict[str, str]
_SEPARATORS = ",;\t"
"""What stands between cells: the comma, and what spreadsheets of other languages write in its place."""


class BadTableError(ValueError):
    """A CSV file is not as the layout describes it, so the layout does not fit."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def label_in(text: str, own: Mapping[str, int], cell: str, file: str) -> int:
    """Return the label that a cell of a table says, by the card's own words or the usual ones.

    Raises:
        BadTableError: The cell says neither normal nor anomalous.
    """
    label = own.get(text, label_of(text))
    if label is None:
        raise BadTableError(file, f"{cell} is {text!r}, neither normal nor anomalous; write 0 or 1")
    return label


def read_csv(tree: Tree, file: str, columns: tuple[str, ...]) -> list[tuple[int, Row]]:
    """Read some columns of a table. Blanks around headers and cells are removed; missing cells are empty.

    The encoding is UTF-8, or UTF-16 with its mark. Of the separators the first is used that gives all columns. The case
    of a header matters only where two headers differ in nothing else.

    Returns:
        The rows with the number of the line in which each ends, from 1.

    Raises:
        BadTableError: The file cannot be read, or lacks a column.
    """
    found: list[list[tuple[int, list[str]]]] = []
    try:
        content = read_limited(tree.files[file], TABLE_LIMIT)
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
        for separator in _SEPARATORS:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
            found.append([(line, row) for line, row in lines if any(row)])
            if found[-1] and (places := _places(found[-1][0][1], columns)):
                if len(found[-1]) == 1:
                    raise BadTableError(file, "has a header and no rows; get the whole file")
                return [
                    (line, {name: row[place] if place < len(row) else "" for name, place in places.items()})
                    for line, row in found[-1][1:]
                ]
    except (OSError, UnicodeError, csv.Error) as error:
        raise BadTableError(file, f"cannot be read as CSV: {error}; save it as UTF-8, with commas") from None
    header = max((rows[0][1] for rows in found if rows), key=len, default=[])
    if not set(columns) & set(header) and (what := what_is_it(tree.files[file], text=True)):
        raise BadTableError(file, f"cannot be read as CSV: {what}")
    there, missing = str(header[:20])[:500], [each for each in columns if each not in header]
    raise BadTableError(file, f"has the columns {there}, but not {missing}; get the dataset's own file")


def _places(header: list[str], columns: tuple[str, ...]) -> dict[str, int] | None:
    """Return where the columns are, of equal names the last; None where one is missing."""
    exact = {name: place for place, name in enumerate(header)}
    alike = {name.casefold(): place for name, place in exact.items()}
    places = {name: exact.get(name, alike.get(name.casefold())) for name in columns}
    known = {name: place for name, place in places.items() if place is not None}
    return known if len(known) == len(places) else None
