"""Which records may share a table: what they must agree in, and which to choose where they do not."""

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.common import listed, slug
from benchmark.errors import BenchError
from benchmark.protocol import Protocol
from benchmark.records import AblationRow, DataId, Record

MAIN = ""
"""Key of the main tables; ablations have the stem of their files."""
MOST_IDS = 3
"""Ids of records that a message names for each of the things that differ."""


class TableError(BenchError):
    """Records that are not comparable would share a table; the message says which, why, and the way out."""


@dataclass(frozen=True)
class Entry:
    """A record in a table."""

    table: str
    column: str
    """Column of a main table, or row of an ablation: the results of one method with the same options."""
    record: Record


Settle = Callable[[Sequence[Record]], Sequence[Entry]]
"""Returns the entries that are left if some records are chosen."""


class _Claim(NamedTuple):
    """What an entry says of itself. Entries with equal keys must have equal values."""

    key: Hashable
    value: Hashable
    problem: str
    """What is wrong if they have not."""
    shown: str
    """The value in a message."""


def main_records(records: Sequence[Record]) -> list[Record]:
    """Return the records of the main tables: all of them where there is nothing but rows of ablations."""
    return [record for record in records if record.placement.main] or list(records)


def table_stem(method: str, row: AblationRow) -> str:
    """Return the stem of the files of the table in which a row of a method's ablation stands."""
    stem = f"{method}_{row.ablation}"
    return f"{stem}--{slug(', '.join(f'{key}={value}' for key, value in row.base.items()))}" if row.base else stem


def main_entries(records: Iterable[Record]) -> list[Entry]:
    """Return some records as entries of the main tables."""
    return [Entry(MAIN, record.title, record) for record in records]


def ablation_entries(records: Iterable[Record]) -> list[Entry]:
    """Return some records as entries of all ablations of which they give rows."""
    return [
        Entry(table_stem(record.cell.method, row), row.row, record)
        for record in records
        for row in record.placement.ablations
    ]


def _claims(entry: Entry) -> Iterator[_Claim]:
    """Yield all that the records of a table, of a column, of a row or of a place must have in common."""
    table, column, record = entry.table, entry.column, entry.record
    cell, dataset = record.cell, record.dataset_title
    yield _Claim(
        ("synthetic", table),
        bool(record.synthetic),
        "real and synthetic results do not share a table",
        "synthetic" if record.synthetic else "real",
    )
    quirks = ", ".join(f"{k}={v}" for k, v in cell.protocol if v != Protocol.model_fields[k].default)
    problem = "results under different protocols do not share a table"
    yield _Claim(("protocol", table), cell.protocol, problem, quirks or "default")
    problem = "results of different versions of the metrics do not share a table"
    yield _Claim(("metrics", table), cell.metrics_version, problem, f"version {cell.metrics_version}")
    problem = f"results on {dataset} were made from different images or labels"
    yield _Claim(("data", table, dataset), cell.dataset, problem, _data(cell.dataset))
    # The rows of an ablation are compared with each other, so they have all but their options in common.
    scope, of = ((table, column), column) if table == MAIN else ((table,), table)
    problem = f"results of {of} come from different"
    yield _Claim(("method", *scope), cell.method, f"{problem} methods", cell.method)
    version = f"version {cell.method_version}"
    yield _Claim(("version", *scope), cell.method_version, f"{problem} versions of the method", version)
    backbone = f"{cell.backbone.name} {cell.backbone.sha256[:12]}"
    same = cell.backbone.sha256, cell.backbone.architecture, cell.backbone.mean, cell.backbone.std
    yield _Claim(("backbone", *scope), same, f"{problem} backbones", backbone)
    variant = cell.backbone.plain_gelu, cell.backbone.pos_interp
    problem_here = f"results of {column} come from different variants of the backbone"
    yield _Claim(("variant", table, column), variant, problem_here, cell.backbone.title)
    yield _Claim(("dtype", *scope), cell.backbone.dtype, f"{problem} dtypes", cell.backbone.dtype)
    for name, value in cell.options.items():  # one by one: older records lack options that are new
        text = json.dumps(value, sort_keys=True)
        yield _Claim(
            ("option", table, column, name), text, f"results of {column} have different options", f"{name}={text}"
        )
    auxiliary = cell.auxiliary.name if cell.auxiliary else None
    problem = f"results of {column} on {dataset} have different auxiliary datasets"
    yield _Claim(("auxiliary", table, column, dataset), auxiliary, problem, auxiliary or "none")
    if cell.auxiliary is not None:
        training = record.training
        yield _Claim(
            ("training", table, column, auxiliary, cell.seed),
            training.sha256 if training else cell.auxiliary,
            f"results of {column} come from different trainings on {auxiliary} with seed {cell.seed}",
            f"{training.source} {training.sha256[:12]}" if training else _data(cell.auxiliary),
        )
    problem = f"there are several records of {column} on {dataset} with seed {cell.seed}"
    yield _Claim(("place", table, column, dataset, cell.seed), record.id, problem, "")


def _data(data: DataId) -> str:
    return f"{data.name} {data.fingerprint[:12]}"


@dataclass(frozen=True)
class Conflict:
    """Records that must not share a table."""

    problem: str
    sides: dict[str, tuple[Record, ...]]
    """Records by what they differ in, in words."""
    kind: str
    """`backbone` if that is what differs, for example."""

    def newest(self) -> Record:
        """Return the record that was made last."""
        return max((record for side in self.sides.values() for record in side), key=made)

    def __str__(self) -> str:
        sides = [
            f"{shown} ({ids})" if shown else ids
            for shown, side in self.sides.items()
            for ids in [listed(sorted(record.id for record in side), MOST_IDS)]
        ]
        return f"{self.problem}: {'; '.join(sides)}"


def made(record: Record) -> tuple[str, bool, str]:
    """Return what puts records into the order in which they were made, or kept by a run that met their images again."""
    kept = record.kept or ""
    return max(record.run.created, kept), kept >= record.run.created, record.id


def find_conflict(entries: Sequence[Entry]) -> Conflict | None:
    """Return the first thing in which entries of a table differ and must not, or None. Failed records are no results.

    The order of the entries does not matter.
    """
    groups: dict[Hashable, dict[Hashable, list[tuple[_Claim, Record]]]] = defaultdict(lambda: defaultdict(list))
    for entry in sorted(entries, key=lambda entry: (entry.table, entry.record.id)):
        if entry.record.status == "done":
            for claim in _claims(entry):
                groups[claim.key][claim.value].append((claim, entry.record))
    for key, by_value in groups.items():
        if len(by_value) > 1:
            assert isinstance(key, tuple)
            sides: dict[str, tuple[Record, ...]] = defaultdict(tuple)
            for pairs in by_value.values():
                sides[pairs[0][0].shown] += tuple(record for _, record in pairs)
            problem = next(iter(by_value.values()))[0][0].problem
            return Conflict(problem, dict(sides), str(key[0]))
    return None


def without_rivals(entries: Sequence[Entry], record: Record) -> list[Entry]:
    """Return the entries without the records that share a table with a record and must not."""
    chosen = {claim.key: claim.value for entry in entries if entry.record.id == record.id for claim in _claims(entry)}
    rivals = {
        entry.record.id
        for entry in entries
        for claim in _claims(entry)
        if chosen.get(claim.key, claim.value) != claim.value
    }
    return [entry for entry in entries if entry.record.id not in rivals]


def choice_without_conflict(settle: Settle, chosen: Sequence[Record]) -> list[Record]:
    """Return records with whose choice no conflict is left.

    Args:
        settle: Gives the entries that are left.
        chosen: The records that are chosen already.
    """
    wanted = list(chosen)
    while (conflict := find_conflict(settle(wanted))) is not None:
        wanted.append(conflict.newest())
    return wanted


def check_comparable(records: Iterable[Record]) -> None:
    """Refuse records that must not share a main table.

    Raises:
        TableError: They differ in something that must be the same in a table, a column, a row or a place.
    """
    check_entries(main_entries(records))


def check_entries(entries: Sequence[Entry]) -> None:
    """Refuse entries of tables that must not share a table.

    Raises:
        TableError: As in `check_comparable`.
    """

    def settle(chosen: Sequence[Record]) -> Sequence[Entry]:
        left = entries
        for record in chosen:
            left = without_rivals(left, record)
        return left

    if (conflict := find_conflict(entries)) is not None:
        raise not_comparable(conflict, as_options(choice_without_conflict(settle, ())))


def as_options(chosen: Iterable[Record]) -> str:
    """Return the options that choose some records."""
    return " ".join(f"--record {record.id}" for record in chosen)


def not_comparable(conflict: Conflict, options: str) -> TableError:
    """Return the error of a conflict, with options of `bench tables` and `bench report` that solve it."""
    return TableError(f"{conflict}; choose in `bench tables` or `bench report` with {options}")
