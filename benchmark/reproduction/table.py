"""A paper's table beside the results here: published, ours, difference, verdict, why. Pure functions of records."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from benchmark.common import to_csv_text
from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.reproduction.recipe import Recipe
from benchmark.tables import (
    COMPARISON_COLUMNS,
    SHOWN_BY_VERDICT,
    STYLES,
    SYNTHETIC,
    Comparison,
    Style,
    as_list,
    compare,
    comparison_rows,
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
    untrained: Mapping[tuple[str, str], str] | None = None,
    cuts: Sequence[str] = (),
) -> PaperTable:
    """Return the table of a recipe.

    Args:
        recipe: The recipe.
        records: Of its runs; other records do not belong here.
        tolerance: As in `compare`.
        why_not: Why a dataset was not run, by the name of its card.
        untrained: Why a method could not be trained for a dataset, by the names of both.
        cuts: What was left out or done otherwise, in sentences.
    """
    here = [number for number in recipe.numbers if number.method is not None]
    by_id = {record.id: record for record in records}
    rows = [
        _defined(_explained(row, records, why_not or {}, untrained or {}), by_id)
        for row in compare(here, records, tolerance=tolerance)
    ]
    rows += [
        Comparison(number, number.row.method, "not run", reasons=("no method here",))
        for number in recipe.numbers
        if number.method is None
    ]
    return PaperTable(recipe, tuple(in_printed_order(rows)), by_id, tolerance, tuple(cuts))


def _explained(
    row: Comparison,
    records: Iterable[Record],
    why_not: Mapping[str, str],
    untrained: Mapping[tuple[str, str], str],
) -> Comparison:
    """Return a row that was not run with the reason."""
    if row.verdict != "not run":
        return row
    number = row.number
    names = [card.name for card in number.cards]
    found = [why_not[name] for name in names if name in why_not]
    found += [untrained[number.method or "", name] for name in names if (number.method, name) in untrained]
    found += [
        f"failed: {each.error}"
        for each in records
        if each.status == "failed" and each.cell.method == number.method and each.cell.dataset.name in names
    ]
    return replace(row, reasons=tuple(dict.fromkeys(found)) or ("left out of this run",))


def _defined(row: Comparison, records: Mapping[str, Record]) -> Comparison:
    """Return a row, which says so if its synthetic result is undefined."""
    if row.verdict != "synthetic" or _synthetic(row, records) is not None:
        return row
    what = f"{METRICS[row.number.metric].heading} is undefined on these images"
    return replace(row, reasons=(*row.reasons, what))


def render_table(table: PaperTable, style: str) -> str:
    """Return the table as Markdown (`md`) or plain text (`txt`): a part per method, rows are datasets and metrics.

    The method of the paper itself stands first. Last is a table with a row for each method.
    """
    how = STYLES[style]
    rows = table.rows
    why, sources = lettered(reason for row in rows for reason in row.reasons), numbered(_source(row) for row in rows)
    title = how.escape(table.recipe.title)
    lines = [
        *legend(rows),
        *_footnotes(rows),
        f"{table.recipe.paper}.",
        counts(rows, table.tolerance),
        *_undefined(table),
        *table.cuts,
        *table.recipe.notes,
    ]
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
    if len(by_method := _by_method(table)) > 1:
        parts.append("## By method" if style == "md" else "By method")
        parts.append(_summary(by_method, how))
    return "\n\n".join(parts).strip() + "\n"


def _footnotes(rows: Iterable[Comparison]) -> list[str]:
    """Return what our AUPRO is, if there is any."""
    compared = {row.number.metric for row in rows if row.verdict != "not run"}
    if "pixel_aupro_200" not in compared:
        return []
    return ["Our AUPRO is AUPRO-200 here, which the papers' code computes; a run's own lines show the exact AUPRO."]


def _undefined(table: PaperTable) -> list[str]:
    """Return how many synthetic results are undefined, if any: they are counted as synthetic."""
    synthetic = [row for row in table.rows if row.verdict == "synthetic"]
    lacking = sum(_synthetic(row, table.records) is None for row in synthetic)
    if not lacking:
        return []
    return [f"Undefined: {lacking} of the {len(synthetic)} synthetic results, as the column Why says."]


def _summary(by_method: Mapping[str, Sequence[Comparison]], how: Style) -> str:
    """Return how many numbers of each method have which verdict; verdicts that none has are left out."""
    found = {name: Counter(row.verdict for row in rows) for name, rows in by_method.items()}
    shown = [verdict for verdict in SHOWN_BY_VERDICT if any(each[verdict] for each in found.values())]
    body = [(how.escape(name), *(str(each[verdict]) for verdict in shown)) for name, each in found.items()]
    header = ("Method", *(SHOWN_BY_VERDICT[verdict] for verdict in shown))
    table: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
    return table


def table_csv(table: PaperTable) -> str:
    """Return every row as CSV, as `bench compare` does.

    Two columns are added: `ours_is`, the metric of the result, and `synthetic`, its value in percent where it is of
    generated data or weights, for which `ours` is empty.
    """
    rows = zip(table.rows, comparison_rows(table.rows), strict=True)
    body = [(*values, row.number.metric, _synthetic(row, table.records)) for row, values in rows]
    return to_csv_text([(*COMPARISON_COLUMNS, "ours_is", "synthetic"), *body])


def _synthetic(row: Comparison, records: Mapping[str, Record]) -> float | None:
    """Return the value of a synthetic result in percent, None for others and where it is undefined."""
    if row.verdict != "synthetic":
        return None
    return mean_values([records[each].mean for each in row.records], (row.number.metric,))[0]


def _by_method(table: PaperTable) -> dict[str, list[Comparison]]:
    """Return the rows by what is printed, the paper's own method first, the others in the order of the paper."""
    own = table.recipe.own
    parts: dict[str, list[Comparison]] = {own: []} if own else {}
    parts |= {number.row.method: [] for number in table.recipe.numbers}
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
    value = _synthetic(row, table.records)
    return NONE if value is None else f"{value:.2f} ({SYNTHETIC})"
