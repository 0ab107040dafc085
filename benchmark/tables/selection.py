"""Which records count: those that the user selects, the newest where some are out of date, and no synthetic ones
beside real ones."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.common import listed
from benchmark.records import Record
from benchmark.tables.comparable import (
    Conflict,
    Entry,
    TableError,
    ablation_entries,
    as_options,
    choice_without_conflict,
    find_conflict,
    made,
    main_entries,
    main_records,
    not_comparable,
    without_rivals,
)

SHORTEST_SHA256 = 6
"""Characters of the beginning of a sha256 by which a backbone can be selected."""


def select_records(
    records: Sequence[Record],
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    domain: str = "",
    backbone: str = "",
) -> list[Record]:
    """Return the records that fit a selection; an empty selector fits all.

    Args:
        records: to select from.
        methods: names of methods.
        datasets: names or titles of datasets.
        domain: of the datasets.
        backbone: its name, or the beginning of the sha256 of its weights.
    """
    return [
        record
        for record in records
        if (not methods or record.cell.method in methods)
        and (not datasets or record.cell.dataset.name in datasets or record.dataset_title in datasets)
        and domain in ("", record.domain)
        and (not backbone or is_backbone(record, backbone))
    ]


def is_backbone(record: Record, backbone: str) -> bool:
    """Say whether a record was made with a backbone, given by its name or the beginning of its sha256."""
    known = record.cell.backbone
    return known.name == backbone or (len(backbone) >= SHORTEST_SHA256 and known.sha256.startswith(backbone))


@dataclass(frozen=True)
class Outdated:
    """Results that newer ones replace."""

    reason: str
    records: tuple[Record, ...]

    def __str__(self) -> str:
        count = len(self.records)
        ids = listed([record.id for record in self.records], 5)
        return f"{count} result{'' if count == 1 else 's'} of {self.reason}: {ids}"


@dataclass(frozen=True)
class _Generation:
    """A way in which results go out of date."""

    scope: Callable[[Record], Hashable | None]
    """The newest of a scope counts; None: it does not concern the record."""
    value: Callable[[Record], Hashable]
    order: Callable[[Record], Any]
    reason: Callable[[Record], str]


def _comparison(record: Record) -> tuple[Hashable, ...]:
    return record.cell.protocol, bool(record.synthetic)


def _column(record: Record) -> tuple[Hashable, ...]:
    return *_comparison(record), record.cell.method, record.cell.backbone.sha256, record.cell.backbone.dtype


def _training(record: Record) -> Hashable | None:
    if record.cell.auxiliary is None or record.cell.checkpoint is not None:
        return None
    return *_column(record), record.title, record.cell.auxiliary.name


GENERATIONS = (
    _Generation(
        _comparison,
        lambda record: record.cell.metrics_version,
        lambda record: record.cell.metrics_version,
        lambda record: f"version {record.cell.metrics_version} of the metrics, which is not the newest",
    ),
    _Generation(
        _column,
        lambda record: record.cell.method_version,
        lambda record: record.cell.method_version,
        lambda record: f"version {record.cell.method_version} of {record.cell.method}, which is not the newest",
    ),
    _Generation(
        lambda record: (*_comparison(record), record.cell.dataset.name, record.dataset_title, record.location),
        lambda record: record.cell.dataset,
        made,
        lambda record: f"older images or labels of {record.dataset_title}",
    ),
    _Generation(
        _training,
        lambda record: record.cell.auxiliary,
        made,
        lambda record: f"{record.title} after a training on older images or labels",
    ),
)
"""Older versions of the metrics and of methods, and older lists of test and auxiliary images."""


def newest(records: Iterable[Record], chosen: Sequence[Record] = ()) -> tuple[list[Record], list[Outdated]]:
    """Return the records that count, and those that are out of date with the reason.

    A failed record makes no other record out of date.

    Args:
        records: in any order.
        chosen: records that count although newer ones may exist; these are then left out.
    """
    kept, outdated = sorted(records, key=lambda record: record.id), []
    preferred = {record.id for record in chosen}
    for generation in GENERATIONS:
        scopes: dict[Hashable, list[Record]] = defaultdict(list)
        for record in kept:
            if (scope := generation.scope(record)) is not None:
                scopes[scope].append(record)
        gone: dict[str, list[Record]] = defaultdict(list)
        for same in scopes.values():
            done = [record for record in same if record.status == "done"]
            if not done:
                continue
            best = max(done, key=lambda record: (record.id in preferred, generation.order(record)))
            for record in same:
                other = generation.value(record) != generation.value(best)
                later = record.status == "failed" and generation.order(record) > generation.order(best)
                if other and not later:
                    gone[generation.reason(record)].append(record)
        outdated += [Outdated(reason, tuple(of_reason)) for reason, of_reason in gone.items()]
        ids = {record.id for of_reason in gone.values() for record in of_reason}
        kept = [record for record in kept if record.id not in ids]
    return kept, outdated


def put_back(met: Iterable[Record], records: Sequence[Record]) -> list[Record]:
    """Return the records that would count as out of date although a run has just met the images they were made from.

    Later results are on other images of the same dataset, or come after a training on others: the images were put back.

    Args:
        met: finished records that a run met and kept.
        records: all that there are.
    """
    done = [record for record in records if record.status == "done"]
    return [
        record
        for record in met
        if any(
            generation.order is made
            and (scope := generation.scope(record)) is not None
            and any(
                generation.scope(other) == scope
                and generation.value(other) != generation.value(record)
                and made(other) > made(record)
                for other in done
            )
            for generation in GENERATIONS
        )
    ]


@dataclass(frozen=True)
class _Settled:
    entries: list[Entry]
    kept: list[Record]
    synthetic: list[Record]
    """Synthetic records that are left out beside real ones."""
    outdated: list[Outdated]


def _settle(records: Sequence[Record], chosen: Sequence[Record]) -> _Settled:
    entries = [*main_entries(main_records(records)), *ablation_entries(records)]
    for record in chosen:
        entries = without_rivals(entries, record)
    ids = {entry.record.id for entry in entries}
    kept = [record for record in records if record.id in ids]
    real = any(record.status == "done" and not record.synthetic for record in kept)
    synthetic = [record for record in kept if record.synthetic and real]
    kept, outdated = newest([record for record in kept if not (record.synthetic and real)], chosen)
    ids = {record.id for record in kept}
    return _Settled([entry for entry in entries if entry.record.id in ids], kept, synthetic, outdated)


def choose_records(
    records: Sequence[Record],
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    domain: str = "",
    backbone: str = "",
    chosen: Sequence[str] = (),
) -> tuple[list[Record], list[str]]:
    """Return the records that count, in the order in which they come, and what to say of the others.

    Left out are records that do not fit the selection, that must not share a table with a chosen one, that are
    synthetic beside real ones, and that are out of date.

    Args:
        records: all that there are.
        methods: as in `select_records`.
        datasets: as in `select_records`.
        domain: as in `select_records`.
        backbone: as in `select_records`.
        chosen: ids of records, or the hashes at the end of ids, that count where records cannot share a table.

    Raises:
        TableError: The records that are left are not comparable, or a chosen record is none of them.
    """
    selected = select_records(records, methods=methods, datasets=datasets, domain=domain, backbone=backbone)
    wanted = [_find(selected, text) for text in chosen]
    settled = _settle(selected, wanted)
    if lost := [record.id for record in wanted if record not in settled.kept]:
        raise TableError(f"--record {lost[0]} cannot share a table with another record that was chosen")
    if (conflict := find_conflict(settled.entries)) is not None:
        raise not_comparable(conflict, _options(selected, wanted, conflict))
    lines = [f"left out: {each}; `bench results prune` removes them" for each in settled.outdated]
    if settled.synthetic:
        names = ", ".join(sorted({record.cell.backbone.name for record in settled.synthetic}))
        lines.append(
            f"left out: {len(settled.synthetic)} synthetic results beside real ones (--record ID of one of them shows "
            f"them instead; their backbone is {names})"
        )
    kept = {id(record) for record in settled.kept}
    return [record for record in selected if id(record) in kept], lines


def _find(records: Sequence[Record], text: str) -> Record:
    found = [r for r in records if r.status == "done" and text in (r.id, r.id.rpartition("--")[2])]
    if len(found) != 1:
        raise TableError(
            f"--record {text}: no finished record of this id fits the selection; the ids are names in records/"
        )
    return found[0]


def _options(selected: Sequence[Record], wanted: Sequence[Record], conflict: Conflict) -> str:
    """Return options with which no conflict is left: one for the backbone in place of several records."""
    records = choice_without_conflict(lambda chosen: _settle(selected, chosen).entries, wanted)
    if conflict.kind == "backbone" and not wanted and len(records) > 1:
        known = records[0].cell.backbone
        for text in (known.name, known.sha256[:12]):
            if find_conflict(_settle(select_records(selected, backbone=text), ()).entries) is None:
                return f"--backbone {text}"
    return as_options(records)
