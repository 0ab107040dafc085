"""The context of the page that says how the numbers were made."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from benchmark.records import Record
from benchmark.report.report_data import ReportData


def about_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page on protocol, weights and machines."""
    done = [record for record in report.records if record.status == "done"]
    trainings = {r.training.checkpoint: r.training for r in done if r.training is not None}
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
        "trainings": [trainings[key] for key in sorted(trainings)],
        "environments": _environments(report.records),
        "failed": report.failed,
    }


def _environments(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return each environment in which records were made, with the number of its records."""
    found: dict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for record in records:
        run = record.run
        described = {
            "git commit": run.git_commit or "not from a checkout",
            "machine": run.machine,
            "device": run.device,
            "python": run.python,
            **run.packages,
        }
        found[tuple(described.items())] += 1
    return [{"records": str(count), **dict(key)} for key, count in sorted(found.items(), key=lambda pair: -pair[1])]
