"""The page of the ablations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.common import slug
from benchmark.metrics import METRICS
from benchmark.report.charts.ablations import ablation_chart
from benchmark.report.values import ShownValue, shown_points, shown_value
from benchmark.tables import AblationTable, Grid


@dataclass(frozen=True)
class Changed:
    """A number of a variant, and how it differs from that of the default."""

    value: ShownValue
    change: str
    """In percentage points, with its sign; empty in the row of the default and where one of the two is undefined."""
    mark: str
    """"up" or "down" for a change that is printed as one, else empty."""


def ablations_page(tables: Sequence[AblationTable]) -> dict[str, Any]:
    """Return the context of the ablations: a section per ablation, with a chart and a table per level."""
    sections = []
    for table in tables:
        parts = [
            {
                "heading": grid.title.rpartition(", ")[2].capitalize(),
                "datasets": grid.datasets,
                "metrics": [METRICS[metric].heading for metric in grid.metrics],
                "rows": _rows(grid),
                "chart": ablation_chart(grid, f"{slug(table.stem)}-{position}"),
            }
            for position, grid in enumerate(table.grids)
        ]
        method, _, title = table.grids[0].title.rpartition(", ")[0].partition(": ")
        sections.append(
            {"key": slug(table.stem), "method": method, "title": title, "parts": parts, "notes": table.notes}
        )
    return {"sections": sections}


def _rows(grid: Grid) -> list[dict[str, Any]]:
    """Return the rows of a table: title, whether it is the default, and the numbers by dataset and metric."""
    rows = []
    for title, cells in grid.values.items():
        changes = grid.changes[title]
        numbers = [
            _changed(value, None if changes is None else changes[column][index])
            for column, values in enumerate(cells)
            for index, value in enumerate(values)
        ]
        rows.append({"title": title, "default": changes is None, "numbers": numbers})
    return rows


def _changed(value: float | None, change: float | None) -> Changed:
    if change is None:
        return Changed(shown_value(value), "", "")
    text = shown_points(change).text
    return Changed(shown_value(value), text, {"+": "up", "−": "down"}.get(text[0], ""))
