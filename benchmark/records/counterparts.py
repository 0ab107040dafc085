"""Cells of one folder of results beside those of another: which belong together, and how far they agree."""

import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.records.agreement import KIND, SAME_MACHINE, TOLERANCE, Difference, differences
from benchmark.records.cells import Cell
from benchmark.records.provenance import Provenance
from benchmark.records.records import Record, read_files

_MACHINE = ("device", "machine", "processor", "python", "float32_precision")
_CODE = {"source_sha256": "files of the method", "code_sha256": "code of the benchmark"}
_OWN_PACKAGE = "zsad-bench"
"""Its version says nothing that its files do not say."""


@dataclass(frozen=True)
class Counterparts:
    """A record of one folder and its counterpart in another."""

    one: Record
    other: Record
    tolerance: float
    """Difference of a metric, in [0, 1], up to which the two agree."""
    alike: bool
    """Whether the two were computed on the same machine with the same packages and batches, trainings too."""

    @cached_property
    def numbers(self) -> list[Difference]:
        """Every number of the two, those that differ most first."""
        return sorted(differences(self.one, self.other), key=lambda each: -each.size)

    @property
    def disagreeing(self) -> list[Difference]:
        """The numbers that differ by more than the tolerance, those of kinds of defect by ten times as much."""
        return [each for each in self.numbers if each.size > self.tolerance * (KIND if each.defect else 1)]

    @property
    def learned_otherwise(self) -> bool:
        """Whether what was learned on another machine is not the same, as it must be where training magnifies digits.

        Then the numbers tell nothing of the code.
        """
        trainings = [record.training for record in (self.one, self.other) if record.training]
        magnify = len(trainings) == 2 and all(each.magnifies for each in trainings)
        return magnify and trainings[0].sha256 != trainings[1].sha256 and not self.alike

    @property
    def same_cell(self) -> bool:
        """Whether both are results of one cell; else something that can change numbers is not the same."""
        return self.one.id == self.other.id

    @property
    def failed(self) -> bool:
        """Whether one of the two has no results."""
        return "failed" in (self.one.status, self.other.status)

    @property
    def agree(self) -> bool:
        """Whether both are results of one cell and all numbers agree, or need not."""
        return self.same_cell and not self.failed and (self.learned_otherwise or not self.disagreeing)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """What is not the same: the cell, the machine, the packages and the code that made the two."""
        return tuple(_reasons(self.one, self.other))


@dataclass(frozen=True)
class Pairing:
    """Two folders of results, cell by cell."""

    pairs: tuple[Counterparts, ...]
    only_one: tuple[Record, ...]
    only_other: tuple[Record, ...]

    @property
    def same_cells(self) -> list[Counterparts]:
        """The pairs of which both are results of one cell."""
        return [pair for pair in self.pairs if pair.same_cell]

    @property
    def not_made(self) -> tuple[Record, ...]:
        """The cells that the other folder has for ablations alone of which the one has no cell on the same dataset."""
        made = {table for record in (*(pair.one for pair in self.pairs), *self.only_one) for table in _tables(record)}
        return tuple(each for each in self.only_other if not each.placement.main and made.isdisjoint(_tables(each)))

    @property
    def missing(self) -> tuple[Record, ...]:
        """The other cells that the other folder alone has."""
        not_made = {record.id for record in self.not_made}
        return tuple(record for record in self.only_other if record.id not in not_made)

    @property
    def agree(self) -> bool:
        """Whether there are cells to compare, all of them agree, and none is missing."""
        return bool(self.pairs) and all(pair.agree for pair in self.pairs) and not self.missing


def pair_up(ones: Iterable[Record], others: Iterable[Record], *, tolerance: float | None = None) -> Pairing:
    """Return the cells of one folder beside those of another.

    A cell that the other folder lacks goes with the one there of the same method, options, dataset, seed, backbone and
    protocol, whose images, or version of the method or of the metrics, are others.

    Args:
        ones: records of one folder.
        others: records of the other one.
        tolerance: difference of a metric, in [0, 1], up to which two results agree; None for `SAME_MACHINE` where they
            were made alike, else `TOLERANCE`.
    """
    known, left = list(ones), {record.id: record for record in others}
    found = {record.id: left.pop(record.id) for record in known if record.id in left}
    theirs = _alone(left.values())
    for asked, record in _alone(record for record in known if record.id not in found).items():
        if asked in theirs:
            found[record.id] = left.pop(theirs[asked].id)
    pairs = []
    for record in known:
        if (other := found.get(record.id)) is not None:
            alike = _made_alike(record, other)
            limit = (SAME_MACHINE if alike else TOLERANCE) if tolerance is None else tolerance
            pairs.append(Counterparts(record, other, limit, alike))
    only = tuple(record for record in known if record.id not in found)
    return Pairing(tuple(pairs), only, tuple(left.values()))


def records_beside(folder: Path, records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return the records of a folder that may be counterparts of some records, and a line for each that is unreadable.

    Few files are read for it.
    """
    names = {_name(record.id) for record in records}
    return read_files(path for path in sorted((folder / "records").glob("*.json")) if _name(path.stem) in names)


def _tables(record: Record) -> set[Hashable]:
    """Return the tables of ablations that show a record, each with the dataset."""
    return {(record.cell.method, record.cell.dataset.name, *row.table) for row in record.placement.ablations}


def _name(identity: str) -> str:
    """Return the part of the id of a cell that can be read: method, dataset and seed."""
    return identity.rpartition("--")[0]


def _made_alike(one: Record, other: Record) -> bool:
    pairs: list[tuple[Provenance, Provenance]] = [(one.run, other.run)]
    if one.training and one.training.made and other.training and other.training.made:
        pairs.append((one.training.made, other.training.made))
    return one.run.batch_size == other.run.batch_size and not any(list(_machine(*each)) for each in pairs)


def _alone(records: Iterable[Record]) -> dict[Hashable, Record]:
    """Return the records by what was asked for, without those that share it with others."""
    found: dict[Hashable, list[Record]] = {}
    for record in records:
        found.setdefault(_asked(record), []).append(record)
    return {asked: same[0] for asked, same in found.items() if len(same) == 1}


def _asked(record: Record) -> Hashable:
    cell = record.cell
    return (
        (cell.method, json.dumps(cell.changed, sort_keys=True), cell.seed, cell.protocol, record.synthetic),
        (cell.dataset.name, record.dataset_title, cell.auxiliary and cell.auxiliary.name, cell.checkpoint),
        (cell.backbone.sha256, cell.backbone.dtype),
    )


def _reasons(one: Record, other: Record) -> Iterator[str]:
    for record, where in ((one, "failed"), (other, "failed there")):
        if record.error:
            yield f"{where}: {record.error}"
    ours, theirs = _identity(one.cell), _identity(other.cell)
    for name, value in ours.items():
        if name in theirs:  # an option may be new
            yield from _differs(name, value, theirs[name])
    if one.status == other.status == "done":
        yield from _differs("images that were scored", _images(one), _images(other))
    yield from _differs("batch size", one.run.batch_size, other.run.batch_size)
    scored = list(_provenance(one.run, other.run))
    yield from scored
    if one.training and other.training:
        if one.training.made and other.training.made:
            trained = _provenance(one.training.made, other.training.made)
            yield from (f"in training: {line}" for line in trained if line not in scored)
        if one.training.sha256 != other.training.sha256:
            yield "learned parameters"


def _identity(cell: Cell) -> dict[str, object]:
    """Return what can change a number and can differ where the same was typed, by the words in which it is told."""
    names = {"dataset": "images", "auxiliary": "training images"}
    told: dict[str, object] = {f"option {name}": value for name, value in cell.options.items()}
    told |= {
        "version of the method": cell.method_version,
        "version of the metrics": cell.metrics_version,
        "reference images": cell.references_sha256,
    }
    for field, words in names.items():
        data = getattr(cell, field)
        told[words] = data and data.fingerprint
        told[f"layout of the {words}"] = data and data.layout
        told[f"version of the card of the {words}"] = data and data.card_version
    return told


def _images(record: Record) -> int:
    return sum(result.normal + result.anomalous for result in record.classes.values())


def _provenance(one: Provenance, other: Provenance) -> Iterator[str]:
    yield from _machine(one, other)
    for field, words in _CODE.items():
        ours, theirs = (getattr(each, field) for each in (one, other))
        if ours != theirs:
            yield f"{words} (commit {_commit(one)}, there {_commit(other)})"


def _commit(made: Provenance) -> str:
    """Return the beginning of a commit, with `+changes` where the code was not clean."""
    return made.git_commit[:7] + made.git_commit[40:] if made.git_commit else "not known"


def _machine(one: Provenance, other: Provenance) -> Iterator[str]:
    for field in _MACHINE:
        yield from _differs(field.replace("_", " "), getattr(one, field), getattr(other, field))
    for name in sorted((one.packages.keys() | other.packages.keys()) - {_OWN_PACKAGE}):
        yield from _differs(name, one.packages.get(name), other.packages.get(name))


def _differs(name: str, one: Any, other: Any) -> Iterator[str]:
    """Yield a phrase where two values differ; of a sha256 its beginning."""
    if one != other:
        ours, theirs = (
            f"{each[:8]}…" if isinstance(each, str) and len(each) == 64 else "none" if each is None else each
            for each in (one, other)
        )
        yield f"{name} {ours}, there {theirs}"
