"""The context of the page that says how the numbers were made."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.records import Record, TrainingReport
from benchmark.report.report_data import ReportData


@dataclass(frozen=True)
class Environments:
    """In which environments records were made."""

    common: Mapping[str, str]
    """What all of them have in common."""
    columns: tuple[str, ...]
    """In what they differ."""
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """The number of records of each environment, and its values of the columns; most records first."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that made records."""

    title: str
    """The method, its auxiliary dataset and the seed of the training, and which variant of several it is."""
    training: TrainingReport


def about_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page on protocol, weights and machines."""
    done = [record for record in report.records if record.status == "done"]
    backbones: dict[tuple[str, str, str, str], set[int]] = defaultdict(set)
    for record in done:
        b = record.cell.backbone
        backbones[b.title, b.architecture, b.dtype, b.sha256] |= {record.image_size} if record.image_size else set()
    first = report.records[0].cell.protocol
    return {
        "notes": report.notes,
        "protocol": {key: str(value).lower() for key, value in first},
        "metrics_versions": sorted({record.cell.metrics_version for record in report.records}),
        "seeds": sorted({record.cell.seed for record in report.records}),
        "backbones": [
            {
                "name": n,
                "architecture": a,
                "dtype": d,
                "sha256": s,
                "sizes": ", ".join(f"{each} px" for each in sorted(z)),
            }
            for (n, a, d, s), z in sorted(backbones.items())
        ],
        "checkpoints": checkpoints(done),
        "environments": environments(report.records),
    }


def checkpoints(records: Sequence[Record]) -> list[Checkpoint]:
    """Return each checkpoint once, by its title; the title is that of its first record, with the seed."""
    found = {r.training.checkpoint: (r, r.training) for r in reversed(records) if r.training is not None}
    made = [Checkpoint(f"{r.title} on {t.source}, seed {r.cell.seed}", t) for r, t in found.values()]
    return sorted(made, key=lambda each: (each.title, each.training.checkpoint))


def environments(records: Sequence[Record]) -> Environments:
    """Return in which environments records were made, apart what differs between them."""
    found: dict[tuple[str, ...], int] = defaultdict(int)
    described = [_environment(record) for record in records]
    names = list(dict.fromkeys(name for each in described for name in each))
    common = {name: described[0][name] for name in names if len({each.get(name, "") for each in described}) == 1}
    columns = tuple(name for name in names if name not in common)
    for each in described:
        found[tuple(each.get(name, "") for name in columns)] += 1
    rows = [(count, values) for values, count in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))]
    return Environments(common, columns, tuple(rows))


def _environment(record: Record) -> dict[str, str]:
    run = record.run
    commit = run.git_commit or "not from a checkout"
    return {"git commit": commit, "machine": run.machine, "device": run.device, "python": run.python, **run.packages}
