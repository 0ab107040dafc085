"""The page of the records: every cell, with what made it."""

import json
import re
from dataclasses import dataclass
from typing import Any

from benchmark.records import Record
from benchmark.report.listing import Facet
from benchmark.report.report_data import ReportData
from benchmark.report.values import ShownValue, shown_value
from benchmark.tables import main_records

STATUS = Facet("status", "Status", {"done": "done", "failed": "failed"})
SHOWN_IN = Facet("kind", "Shown in", {"main": "main tables", "ablation": "ablations alone"})


@dataclass(frozen=True)
class RecordRow:
    """A record as a row of the page."""

    record: Record
    of: str
    """Its places in `STATUS` and `SHOWN_IN`."""
    image: ShownValue
    pixel: ShownValue
    seconds: ShownValue
    """Time of the method alone."""
    day: str
    moment: str
    """The digits of the time at which it was made, by which the column is sorted."""
    made_by: tuple[str, ...]
    """What made it, in a few words each."""


def records_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page: a row per record, also of those that failed."""
    main = {record.id for record in main_records(report.records)}
    facets = [facet for facet in (STATUS, SHOWN_IN) if len(_used(facet, report, main)) > 1]
    rows = []
    for record in report.records:
        values = _values(record, main)
        image, pixel = (_percent(record.mean.get(metric)) for metric in ("image_auroc", "pixel_auroc"))
        created = record.run.created
        rows.append(
            RecordRow(
                record=record,
                of=" ".join(str(facet.place(values[facet.name])) for facet in facets),
                image=image,
                pixel=pixel,
                seconds=_seconds(record),
                day=created[:10],
                moment=re.sub(r"\D", "", created)[:14],
                made_by=made_by(record),
            )
        )
    return {"rows": rows, "facets": facets, "failed": report.failed}


def _values(record: Record, main: set[str]) -> dict[str, str]:
    return {"status": record.status, "kind": "main" if record.id in main else "ablation"}


def _used(facet: Facet, report: ReportData, main: set[str]) -> set[str]:
    return {_values(record, main)[facet.name] for record in report.records}


def _percent(value: float | None) -> ShownValue:
    return shown_value(None if value is None else 100 * value)


def _seconds(record: Record) -> ShownValue:
    seconds = record.run.seconds.get("method")
    return ShownValue("", "") if seconds is None else ShownValue(f"{seconds:.2f}", f"{seconds:.3f}")


def made_by(record: Record) -> tuple[str, ...]:
    """Return what made a record: what differs from the defaults, training, weights, data, code and machine."""
    cell, run = record.cell, record.run
    options = ", ".join(f"{name}={json.dumps(value)}" for name, value in cell.changed.items())
    lines = [f"options {options}" if options else "default options"]
    if record.training is not None:
        lines.append(f"checkpoint {record.training.checkpoint}")
    if cell.auxiliary is not None:
        lines.append(f"trained on {cell.auxiliary.name}, card version {cell.auxiliary.card_version}")
    lines.append(f"weights {cell.backbone.name}, sha256 {cell.backbone.sha256[:12]}")
    lines.append(f"data {cell.dataset.name}, card version {cell.dataset.card_version}, layout {cell.dataset.layout}")
    lines.append(f"seed {cell.seed}")
    lines.append(f"commit {run.git_commit[:12]}" if run.git_commit else "not from a checkout")
    lines.append(f"{run.device}, {run.machine}")
    if "total" in run.seconds:
        lines.append(f"a pass of {run.seconds['total']:.1f} s")
    return (*lines, f"made {run.created}")
