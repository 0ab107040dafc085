"""The page of the records: every cell, with what made it."""

from typing import Any

from benchmark.report.report_data import ReportData
from benchmark.report.values import FAILED, ShownValue, shown_value


def records_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page: a row per record, also of those that failed."""
    cells = []
    for record in report.records:
        values = [record.mean.get(metric) for metric in ("image_auroc", "pixel_auroc")]
        image, pixel = (shown_value(None if value is None else 100 * value) for value in values)
        if record.status == "failed":
            image = pixel = ShownValue(FAILED, "", mark="failed")
        seconds = f"{record.run.seconds['total']:.1f}" if "total" in record.run.seconds else ""
        cells.append({"record": record, "image": image, "pixel": pixel, "seconds": seconds})
    return {"cells": cells, "failed": report.failed}
