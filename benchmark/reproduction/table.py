"""A paper's table beside the results here: published, ours, difference, verdict, why. Pure functions of records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from benchmark.records import Record
from benchmark.reproduction.recipe import Recipe
from benchmark.tables import (
    STYLES,
    SYNTHETIC,
    Comparison,
    Style,
    as_list,
    compare,
    comparison_csv,
    counts,
    in_printed_order,
    legend,
    lettered,
    letters_of,
    mean_values,
    numbered,
    shown_difference,
    shown_value,
)

NONE = "–"


@dataclass(frozen=True)
class PaperTable:
    """The table of a recipe."""

    recipe: Recipe
    rows: tuple[Comparison, ...]
    """In the order of the paper's datasets. Every published number has one, or one for each reading that was run."""
    records: Mapping[str, Record]
    """By their ids."""
    tolerance: float
    """In points."""
    cuts: tuple[str, ...] = ()
    """What was left out or done otherwise, in sentences."""


def make_table(
    recipe: Recipe,
    records: Sequence[Record],
    *,
    tolerance: float,
    why_not: Mapping[str, str] | None = None,
    cuts: Sequence[str] = (),
) -> PaperTable:
    """Return the table of a recipe.

    Args:
        recipe: The recipe.
        records: Of its runs; other records do not belong here.
        tolerance: As in `compare`.
        why_not: Why a dataset was not run, by the name of its card.
        cuts: What was left out or done otherwise, in sentences.
    """
    here = [number for number in recipe.numbers if number.method is not None]
    rows = [_explained(row, records, why_not or {}) for row in compare(here, records, tolerance=tolerance)]
    rows += [
        Comparison(number, number.row.method, "not run", reasons=("no method here",))
        for number in recipe.numbers
        if number.method is None
    ]
    by_id = {record.id: record for record in records}
    return PaperTable(recipe, tuple(in_printed_order(rows)), by_id, tolerance, tuple(cuts))


def _explained(row: Comparison, records: Iterable[Record], why_not: Mapping[str, str]) -> Comparison:
    """Return a row that was not run with the reason."""
    if row.verdict != "not run":
        return row
    number = row.number
    names = [card.name for card in number.cards]
    found = [why_not[name] for name in names if name in why_not]
    found += [
        f"failed: {each.error}"
        for each in records
        if each.status == "failed" and each.cell.method == number.method and each.cell.dataset.name in names
    ]
    return replace(row, reasons=tuple(dict.fromkeys(found)) or ("left out of this run",))


def render_table(table: PaperTable, style: str) -> str:
    """Return the table as Markdown (`md`) or plain text (`txt`): a part per method, rows are datasets and metrics."""
    how = STYLES[style]
    rows = table.rows
    why, sources = lettered(reason for row in rows for reason in row.reasons), numbered(_source(row) for row in rows)
    title = how.escape(table.recipe.title)
    lines = [*legend(rows), f"{table.recipe.paper}.", counts(rows, table.tolerance), *table.cuts, *table.recipe.notes]
    parts = [f"# {title}" if style == "md" else title, as_list(lines, how)]
    for name, same in _by_method(table).items():
        read = ["Reading"] if any(row.reading for row in same) else []
        header = ("Dataset", "Metric", *read, "Published", "Ours", "Difference", "Verdict", "Why")
        body = [_line(row, table, why, sources, how, read=bool(read)) for row in same]
        parts.append(f"## {how.escape(name)}" if style == "md" else how.escape(name))
        parts.append(tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True))
    parts.append("Why results may differ, are not compared or are not there:")
    parts.append(as_list([f"{letter}: {reason}" for reason, letter in why.items()], how))
    parts.append(as_list([f"[{index}] {source}" for source, index in sources.items()], how))
    return "\n\n".join(parts).strip() + "\n"


def table_csv(table: PaperTable) -> str:
    """Return every row as CSV, as `bench compare` does; synthetic results have no value there."""
    return comparison_csv(table.rows)


def _by_method(table: PaperTable) -> dict[str, list[Comparison]]:
    """Return the rows by what is printed, in the order in which it is printed."""
    parts: dict[str, list[Comparison]] = {number.row.method: [] for number in table.recipe.numbers}
    for row in table.rows:
        parts[row.number.row.method].append(row)
    return parts


def _source(row: Comparison) -> str:
    return row.number.row.source


def _line(
    row: Comparison,
    table: PaperTable,
    why: Mapping[str, str],
    sources: Mapping[str, int],
    how: Style,
    *,
    read: bool,
) -> list[str]:
    number = row.number
    return [
        how.escape(number.dataset_title),
        f"{number.row.level} {number.heading}",
        *([row.reading or NONE] if read else []),
        f"{number.printed} [{sources[_source(row)]}]",
        _ours(row, table),
        shown_difference(row),
        row.verdict,
        letters_of(row.reasons, why),
    ]


def _ours(row: Comparison, table: PaperTable) -> str:
    if row.verdict != "synthetic":
        return shown_value(row)
    (value,) = mean_values([table.records[each].mean for each in row.records], (row.number.metric,))
    return NONE if value is None else f"{value:.2f} ({SYNTHETIC})"
