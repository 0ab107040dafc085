"""The page of the ablations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmark.common import slug
from benchmark.metrics import METRICS
from benchmark.report.charts import plotly
from benchmark.report.values import ShownValue, shown_points, shown_value
from benchmark.tables import AblationTable


def ablations_page(tables: Sequence[AblationTable]) -> dict[str, Any]:
    """Return the context of the ablations: a section per ablation, with a chart and a table per level."""
    sections = []
    for table in tables:
        parts = []
        for position, grid in enumerate(table.grids):
            columns = []
            for name in grid.datasets:
                columns += [
                    column for metric in grid.metrics for column in (f"{name} {METRICS[metric].heading}", "change")
                ]
            rows = []
            for row, cells in grid.values.items():
                changes, shown = grid.changes[row], []
                for place, values in enumerate(cells):
                    for kind, value in enumerate(values):
                        shown += [shown_value(value), _change(None if changes is None else changes[place][kind])]
                rows.append({"title": row, "default": changes is None, "numbers": shown})
            heading = grid.title.rpartition(", ")[2].capitalize()
            chart = plotly.ablation_chart(grid, f"{slug(table.stem)}-{position}")
            parts.append({"heading": heading, "columns": columns, "rows": rows, "chart": chart})
        title = table.grids[0].title.rpartition(", ")[0]
        sections.append({"key": slug(table.stem), "title": title, "parts": parts, "notes": table.notes})
    return {"sections": sections}


def _change(value: float | None) -> ShownValue:
    if value is None:
        return ShownValue("", "")
    shown = shown_points(value)
    return replace(shown, mark={"+": "up", "−": "down"}.get(shown.text[0], ""))
