"""Tables of labels and of samples: CSV files, whose cells are read as people write them."""

import csv
import io
from collections.abc import Mapping

from benchmark.common import TABLE_LIMIT, read_limited, what_is_it
from benchmark.data.tree import Tree
from benchmark.data.words import label_of

Row = dict[str, str]


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

    Returns:
        The rows with the number of the line in which each ends, from 1.
    """
    try:
        stream = io.StringIO(read_limited(tree.files[file], TABLE_LIMIT).decode("utf-8-sig"), newline="")
        reader = csv.reader(stream)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
        rows = [(line, row) for line, row in lines if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTableError(file, f"cannot be read as CSV: {error}") from None
    header = rows[0][1] if rows else []
    if not set(columns) & set(header) and (what := what_is_it(tree.files[file], text=True)):
        raise BadTableError(file, f"cannot be read as CSV: {what}")
    if missing := [c for c in columns if c not in header]:
        there = str(header[:20])[:500]
        raise BadTableError(file, f"has the columns {there}, but not {missing}; get the dataset's own file")
    places = {name: place for place, name in enumerate(header) if name in columns}  # the last of equal names counts
    return [
        (line, {name: row[place] if place < len(row) else "" for name, place in places.items()})
        for line, row in rows[1:]
    ]
