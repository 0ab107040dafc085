"""Which records count: those that the user selects, the newest where some are out of date, and no synthetic ones
beside real ones."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.common import listed
from benchmark.records import AblationRow, Record
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
    _Generation(
        lambda record: (
            (*_column(record), record.title, record.dataset_title, record.location, record.cell.seed)
            if record.cell.references
            else None
        ),
        lambda record: record.cell.references_sha256,
        made,
        lambda record: f"{record.title} that was shown other normal images of {record.dataset_title}",
    ),
)
"""Older versions of the metrics and of methods, and older lists of test, auxiliary and reference images."""


def newest(records: Iterable[Record], chosen: Sequence[Record] = ()) -> tuple[list[Record], list[Outdated]]:
    """Return the records that count, and those that are out of date with the reason.

    A failed record makes no other record out of date. Rows of ablations that were redefined are taken out of the
    placement of their records; a record that then stands in no table does not count.

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
    kept, redefined = _without_older_rows(kept, preferred)
    return kept, outdated + redefined


_Placed = tuple[Record, AblationRow]


def _by_ablation(records: Iterable[Record]) -> dict[Hashable, list[_Placed]]:
    """Return the rows that records give, by the table in which they stand."""
    found: dict[Hashable, list[_Placed]] = defaultdict(list)
    for record in records:
        for row in record.placement.ablations:
            found[_column(record), row.table].append((record, row))
    return found


def _redefines(one: _Placed, other: _Placed) -> bool:
    """Say whether two rows of a table are of different definitions of the ablation: other options, or another row."""
    if one[1].row != other[1].row:
        return one[1].place == other[1].place
    options, others = one[0].cell.options, other[0].cell.options  # older records lack options that are new
    return any(options[name] != others[name] for name in options.keys() & others.keys())


def _without_older_rows(records: Sequence[Record], preferred: Collection[str]) -> tuple[list[Record], list[Outdated]]:
    """Return the records without rows that newer ones redefine, and these records with the reason."""
    older: dict[str, list[AblationRow]] = defaultdict(list)
    found: dict[str, list[Record]] = defaultdict(list)
    for placed in _by_ablation(records).values():
        done = [each for each in placed if each[0].status == "done"]
        done.sort(key=lambda each: (each[0].id in preferred, made(each[0])))
        by_row = {row.row: (record, row) for record, row in done}  # the last one counts
        by_place = {row.place: (record, row) for record, row in done}
        for record, row in placed:
            newest_of_row = by_row.get(row.row, (record, row))
            rivals = (newest_of_row, by_place.get(newest_of_row[1].place, newest_of_row))
            later = record.status == "failed" and all(made(record) > made(rival) for rival, _ in rivals)
            if not later and (_redefines((record, row), rivals[0]) or _redefines(*rivals)):
                older[record.id].append(row)
                found[f"an older definition of the ablation {row.ablation} ({row.row}) of {row.method}"].append(record)
    kept = []
    for record in records:
        rows = tuple(row for row in record.placement.ablations if row not in older[record.id])
        if rows == record.placement.ablations:
            kept.append(record)
        elif rows or record.placement.main:
            placement = record.placement.model_copy(update={"ablations": rows})
            kept.append(record.model_copy(update={"placement": placement}))
    return kept, [Outdated(reason, tuple(of_reason)) for reason, of_reason in found.items()]


def put_back(met: Iterable[Record], records: Sequence[Record]) -> list[Record]:
    """Return the records that would count as out of date although a run has just met what they were made from.

    Later results are on other images of the same dataset, come after a training on others, or are of another definition
    of an ablation: images or definition were put back.

    Args:
        met: finished records that a run met and kept, each with the placement that the run asked for.
        records: all that there are.
    """
    done = [record for record in records if record.status == "done"]
    rows = _by_ablation(done)
    return [
        record
        for record in met
        if any(_is_later_and_other(generation, record, done) for generation in GENERATIONS if generation.order is made)
        or any(
            made(other[0]) > made(record) and _redefines(other, placed)
            for table, mine in _by_ablation([record]).items()
            for placed in mine
            for other in rows.get(table, ())
        )
    ]


def _is_later_and_other(generation: _Generation, record: Record, done: Iterable[Record]) -> bool:
    """Say whether records that were made later make one out of date."""
    scope = generation.scope(record)
    return scope is not None and any(
        generation.scope(other) == scope
        and generation.value(other) != generation.value(record)
        and made(other) > made(record)
        for other in done
    )


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
    return _Settled([*main_entries(main_records(kept)), *ablation_entries(kept)], kept, synthetic, outdated)


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
    kept = {record.id: record for record in settled.kept}
    if lost := [record.id for record in wanted if record.id not in kept]:
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
    return [kept[record.id] for record in selected if record.id in kept], lines


def alongside(records: Sequence[Record], met: Sequence[Record]) -> list[Record]:
    """Return the records of a run with all others that may share tables with them; of others in conflict, the newest.

    Args:
        records: all that there are.
        met: those of the run.
    """
    done = [record for record in records if record.status == "done" and record.id in {each.id for each in met}]
    chosen = choice_without_conflict(lambda wanted: _settle(records, wanted).entries, done)
    return _settle(records, chosen).kept


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
