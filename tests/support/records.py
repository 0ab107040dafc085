"""Parts of records made by hand."""

from collections.abc import Mapping
from typing import Any

from benchmark.protocol import Protocol
from benchmark.records.agreement import differences
from benchmark.records.cells import BackboneId, Cell, DataId
from benchmark.records.records import ClassResult, Record, Run, TrainingReport, mean_over_classes


def made_run(**changes: Any) -> Run:
    """Return what a record says of the machine and the time; `changes` are fields of `Run`."""
    given: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": {"total": 1.0},
        "batch_size": 8,
        "workers": 0,
        "peak_memory": None,
        "device": "cpu",
        "machine": "test",
        "python": "3.11",
        "packages": {},
        "git_commit": None,
    }
    return Run(**given | changes)


def made_record(classes: Mapping[str, ClassResult], *, cell: Mapping[str, Any], title: str, dataset: str) -> Record:
    """Return a record of these classes; `cell` holds fields of `Cell`, at least `method` and `dataset`."""
    backbone = BackboneId(name="b", architecture="b", sha256="a" * 64, dtype="float32", synthetic=False)
    given: dict[str, Any] = {
        "method_version": 1,
        "options": {},
        "seed": 0,
        "backbone": backbone,
        "protocol": Protocol(),
    }
    made = Cell(**given | dict(cell))
    return Record(
        id=made.id,
        title=title,
        dataset_title=dataset,
        domain="industrial",
        cell=made,
        status="done",
        classes=dict(classes),
        mean=mean_over_classes(classes.values()),
        run=made_run(),
    )


def trained(sha256: str) -> dict[str, Any]:
    """Return the field of a record that says how its method came to what it learned, with the checksum of that."""
    report = TrainingReport(
        checkpoint="c",
        sha256=sha256,
        synthetic=False,
        origin="trained",
        source="x",
        images=1,
        skipped=(),
        curve=(),
        seconds=None,
    )
    return {"training": report}


def data_id(name: str, fingerprint: str) -> DataId:
    """Return the identity of a dataset by its name and the fingerprint of its images."""
    return DataId(name=name, card_version=1, layout="x", fingerprint=fingerprint)


def disagreements(one: Record, other: Record, *, tolerance: float) -> list[str]:
    """Return a line for each number in which two records of the same work differ by more than the tolerance."""
    return [
        f"{each.place}, {each.metric}: {each.one} and {each.other}"
        for each in differences(one, other)
        if each.size > tolerance
    ]
