"""The context of the page on costs: the tables, and a metric over the time of an image."""

from collections.abc import Container
from typing import Any

from benchmark.metrics import LEVELS, METRICS
from benchmark.report.charts import plotly
from benchmark.report.pages import leaderboard as boards
from benchmark.report.report_data import ReportData
from benchmark.report.values import ShownValue
from benchmark.tables import Cost, CostTable, cost_tables, costs


def cost_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page: the tables of costs and a chart per domain and level."""
    made = []
    for domain in [each for each in boards.domains(report) if each != boards.EVERY_DOMAIN] or [boards.EVERY_DOMAIN]:
        for level in LEVELS:
            chart = _chart(report, domain, next(key for key, each in METRICS.items() if each.level == level))
            made += [chart] if chart else []
    return {"tables": [_shown(table, report.banner) for table in cost_tables(report.records)], "charts": made}


def _chart(report: ReportData, domain: str, metric: str) -> plotly.Chart | None:
    """Return the chart of a metric's mean over the time of an image, or None without a method that has both."""
    board = boards.leaderboard(report, domain, metric, {})
    means = {row.title: float(row.mean.sort) for row in board.rows if row.mean.sort} if board else {}
    found = [each for each in costs(report.main) if each.inference is not None and each.title in means]
    places = {(each.device, each.processes, each.batch_size) for each in found}
    points = [
        plotly.CostPoint(
            each.title if len(places) == 1 else f"{each.title} ({_place(each)})",
            each.inference or 0.0,
            means[each.title],
        )
        for each in found
    ]
    over = "" if domain == boards.EVERY_DOMAIN else f" over {domain} datasets"
    named = METRICS[metric]
    caption = f"Mean {named.level} {named.heading}{over} and time of an image"
    return plotly.cost_chart(points, caption, f"cost-{domain.replace(' ', '-')}-{metric}") if points else None


def _place(of: Cost) -> str:
    beside = "" if of.processes is None else f", processes {of.processes}"
    return f"{of.device}{beside}, batch size {of.batch_size}"


def _shown(table: CostTable, banner: Container[str]) -> dict[str, Any]:
    """Return a table as the page shows it; the banner stands at the top of the page."""
    rows = [
        {
            "texts": [entry.text for entry in row[: table.texts]],
            "numbers": [
                ShownValue(entry.text, "" if entry.value is None else f"{entry.value:.4f}", mark=entry.mark)
                for entry in row[table.texts :]
            ],
        }
        for row in table.rows
    ]
    names = ["Method", *table.header[1 : table.texts]]
    notes = [note for note in table.notes if note not in banner]
    return {"title": table.title, "texts": names, "columns": table.header[table.texts :], "rows": rows, "notes": notes}
