"""The page of the training curves."""

from typing import Any

from benchmark.report.charts import plotly
from benchmark.report.report_data import ReportData


def training_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the training curves. Trainings of ablations are listed separately."""
    main = {record.id for record in report.main}
    found = plotly.training_charts([r for r in report.records if r.id in main])
    keys = {chart.key for chart in found}
    others = plotly.training_charts([r for r in report.records if r.id not in main])
    return {"charts": found, "variants": [chart for chart in others if chart.key not in keys]}
