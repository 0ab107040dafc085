"""Coverage: which methods are compared in means and ranks, and over which rows."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.records import Record


@dataclass(frozen=True)
class Coverage:
    """The methods that are compared, and the rows that all of them have."""

    methods: tuple[str, ...]
    rows: frozenset[str]
    lacking: Mapping[str, tuple[str, ...]]
    """Which of the rows a method lacks that is not compared."""


def compared_rows(having: Mapping[str, Collection[str]]) -> Coverage:
    """Return which methods are compared over which rows.

    Compared are the methods that have all rows which more than half of the methods have. Where no method has all of
    these, the rows are those that still more methods have, one more at a time; where there are none, those of half of
    the methods. A method with fewer than half as many rows as the method with most was only tried: it has no say in
    which rows these are. So a method that is tried on a few rows moves no mean and no rank of others, nor does one of
    two methods that is run on a further row.

    Args:
        having: The rows that each method has.
    """
    most = max((len(rows) for rows in having.values()), default=0)
    regular = [frozenset(rows) for rows in having.values() if rows and 2 * len(rows) >= most]
    counts = Counter(row for rows in regular for row in rows)
    for least in (*range(len(regular) // 2 + 1, len(regular) + 1), len(regular) / 2):
        common = frozenset(row for row, count in counts.items() if count >= least)
        methods = tuple(method for method, rows in having.items() if common and common <= frozenset(rows))
        if methods:
            lacking = {
                method: tuple(sorted(common - frozenset(rows)))
                for method, rows in having.items()
                if method not in methods
            }
            return Coverage(methods, common, lacking)
    return Coverage((), frozenset(), {})


def of_the_papers(records: Sequence[Record]) -> list[Record]:
    """Return the records of datasets that are not beyond the papers, or all where there are no others."""
    return [record for record in records if not record.beyond] or list(records)


def repeated_parts(records: Iterable[Record]) -> frozenset[str]:
    """Return the titles of parts of datasets beside which the whole or another part stands: their images count once."""
    titles: dict[str, set[str]] = defaultdict(set)
    parts: dict[str, set[str]] = defaultdict(set)
    for record in records:
        data = record.cell.dataset
        titles[data.card_name].add(record.dataset_title)
        if data.card_name != data.name:
            parts[data.card_name].add(record.dataset_title)
    return frozenset(title for base, of in parts.items() if len(titles[base]) > 1 for title in of)
