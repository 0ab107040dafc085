"""Two folders of results cell by cell, as text and CSV, and in one line how many cells agree."""

import math
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from benchmark.common import counted, listed, printable, to_csv_text
from benchmark.metrics import METRICS
from benchmark.records import SAME_MACHINE, TOLERANCE, Counterparts, Difference, Pairing, Record
from benchmark.tables.style import STYLES, as_list, lettered, letters_of
from benchmark.tables.tables import row_order

NONE = "–"
WORST = 3
"""Numbers that are shown of a cell that does not agree."""
NAMES = 5
"""Cells that are named in a line."""


def agreement_line(pairing: Pairing, there: str) -> str:
    """Return how many cells agree with those of a folder, within which tolerance, and which do not.

    Args:
        pairing: the cells of one folder beside those of the other.
        there: name of the other folder.
    """
    same = [pair for pair in pairing.same_cells if not pair.learned_otherwise]
    agreeing = [pair for pair in same if pair.agree]
    line = f"{there} has none of the cells"
    if same:
        agree = f"agree{'s' if len(same) == 1 else ''}"
        line = f"{len(agreeing)} of {counted(len(same), 'cell')} {agree} with {there} within {_limits(same)}"
        sizes = (_size(each) for pair in agreeing for each in pair.numbers if each.defect is None)
        largest = max(sizes, default=0.0)
        line += f"; largest difference {largest:.2g} points" if agreeing else ""
    for what, records in (
        ("not", [pair.one for pair in same if not pair.agree]),
        (
            "not compared, as training magnifies last digits and was done on another machine",
            [pair.one for pair in pairing.same_cells if pair.learned_otherwise],
        ),
        ("of other images or another version there", [pair.one for pair in pairing.pairs if not pair.same_cell]),
    ):
        line += f"; {what}: {_named(records)}" if records else ""
    if pairing.pairs and (alone := len(pairing.only_one)):
        line += f"; {alone} {'has' if alone == 1 else 'have'} no counterpart there"
    return line


def _limits(pairs: Sequence[Counterparts]) -> str:
    widest, notes = max(pair.tolerance for pair in pairs), []
    if any(pair.one.cell.auxiliary and pair.tolerance == TOLERANCE for pair in pairs):
        notes.append("as much as the stability test of methods that learn allows")
    if strict := sum(pair.alike and pair.tolerance == SAME_MACHINE for pair in pairs):
        which = "" if widest == SAME_MACHINE else f"{strict} within {_points(SAME_MACHINE)}, as "
        notes.append(f"{which}machine and packages are the same")
    return f"{_points(widest)} points" + (f" ({'; '.join(notes)})" if notes else "")


def disagreement_lines(pairing: Pairing) -> list[str]:
    """Return a line for each cell that does not agree: its worst numbers and what else differs."""
    return [
        f"{_name(pair.one)}: {_worst(pair)}. Not the same: {'; '.join(pair.reasons) or 'nothing that records tell'}"
        for pair in pairing.pairs
        if not pair.agree
    ]


def _worst(pair: Counterparts) -> str:
    if pair.failed:
        return "no results to compare"
    found = pair.disagreeing
    if not found:
        return f"all numbers within {_points(pair.tolerance)} points"
    shown = []
    for each in found[:WORST]:
        here, there = _values(each)
        limit = f"tolerance {_points(pair.tolerance)}"
        how_far = f" (difference {_difference(each)}, {limit})" if math.isfinite(each.size) else ""
        shown.append(f"{each.place}, {_heading(each)} {here}, there {there}{how_far}")
    return "; ".join(shown) + (f"; and {len(found) - WORST} more" if len(found) > WORST else "")


def render_agreement(pairing: Pairing, style: str, *, there: str) -> str:
    """Return two folders cell by cell as Markdown (`md`) or plain text (`txt`), what does not agree first.

    A row is a cell with the number that differs most. Values are percentages, differences points.
    """
    how = STYLES[style]
    pairs = sorted(pairing.pairs, key=lambda pair: (pair.agree, row_order(pair.one), pair.one.title, pair.one.id))
    why = lettered(reason for pair in pairs for reason in pair.reasons)
    numbers = ("Largest difference in", "Here", "There", "Difference", "Tolerance")
    header = ("Dataset", "Method", *numbers, "Verdict", "Why")
    body = []
    for pair in pairs:
        number = [NONE] * 4
        if not pair.failed and (largest := pair.numbers[0]).size > 0:
            place = f"{largest.place}, {_heading(largest)}"
            number = [place, *_values(largest), _difference(largest)]
        places = (pair.one.dataset_title, _title(pair.one), *number, _points(pair.tolerance), _verdict(pair))
        body.append([*map(how.escape, places), letters_of(pair.reasons, why)])
    parts = ["# Two folders of results" if style == "md" else ""]
    if body:
        parts.append(tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True))
    if why:
        parts += ["What is not the same:", as_list([f"{letter}: {reason}" for reason, letter in why.items()], how)]
    lines = disagreement_lines(pairing)
    for where, records in (
        ("Only here", pairing.only_one),
        (f"Only in {there}", pairing.missing),
        (f"Only in {there}, of ablations that were not run here", pairing.not_made),
    ):
        if records:
            lines.append(f"{where}: {_named(records)}.")
    parts += [as_list([*lines, f"{agreement_line(pairing, there)}."], how)]
    return "\n\n".join(parts).strip() + "\n"


def agreement_csv(pairing: Pairing) -> str:
    """Return every number of two folders as CSV: percentages in full precision, empty where there is none."""
    names = "method,title,dataset,seed,class,defect,metric,here,there,difference,tolerance,verdict,why,record"
    lines: list[Sequence[str | float | None]] = [(*names.split(","), "record_there")]
    for pair in pairing.pairs:
        known = _columns(pair.one)
        verdict, ids = _verdict(pair), (pair.one.id, pair.other.id)
        if pair.failed:
            lines.append((*known, *[None] * 7, verdict, "; ".join(pair.reasons), *ids))
            continue
        for each in pair.numbers:
            place = ("mean" if each.class_name is None else each.class_name, each.defect, each.metric)
            values = tuple(None if value is None else 100 * value for value in (each.one, each.other))
            size = _size(each) if math.isfinite(each.size) else None
            numbers = (*values, size, 100 * pair.tolerance)
            whole = not pair.same_cell or pair.learned_otherwise
            own = verdict if whole else "agrees" if each.size <= pair.tolerance else "differs"
            lines.append((*known, *place, *numbers, own, "; ".join(pair.reasons), *ids))
    for verdict, records in (("only here", pairing.only_one), ("only there", pairing.only_other)):
        for record in records:
            ids = (record.id, "") if verdict == "only here" else ("", record.id)
            lines.append((*_columns(record), *[None] * 7, verdict, "", *ids))
    return to_csv_text(lines)


def _columns(record: Record) -> tuple[str, str, str, str]:
    return record.cell.method, record.title, record.cell.dataset.name, str(record.cell.seed)


def _verdict(pair: Counterparts) -> str:
    if not pair.same_cell:
        return "another cell"
    if pair.learned_otherwise and not pair.failed:
        return "learned otherwise"
    return "failed" if pair.failed else "agrees" if pair.agree else "differs"


def _title(record: Record) -> str:
    return record.title + (f", seed {record.cell.seed}" if record.cell.seed else "")


def _name(record: Record) -> str:
    return printable(f"{_title(record)} on {record.dataset_title}")


def _named(records: Iterable[Record]) -> str:
    return listed([_name(record) for record in records], NAMES)


def _heading(number: Difference) -> str:
    metric = METRICS.get(number.metric)
    return metric.title if metric else number.metric


def _values(number: Difference) -> tuple[str, str]:
    """Return the two values with so many digits that one sees the difference."""
    digits = 4
    if 0 < number.size < math.inf:
        digits = max(digits, 1 - math.floor(math.log10(_size(number))))
    here, there = (
        "undefined" if value is None else f"{100 * value:.{digits}f}" for value in (number.one, number.other)
    )
    return here, there


def _difference(number: Difference) -> str:
    return f"{_size(number):.2g}" if math.isfinite(number.size) else NONE


def _size(number: Difference) -> float:
    """Return by how many points a number differs; of a fragile one, its ranges."""
    return 100 * number.size


def _points(limit: float) -> str:
    return f"{100 * limit:g}"
