"""The context of the page on costs: the tables, and the results over each kind of cost."""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from benchmark.metrics import LEVELS, METRICS, metrics_of
from benchmark.report.boards import EVERY_DOMAIN, Leaderboard, Standings
from benchmark.report.charts.chart import Chart
from benchmark.report.charts.costs import CostAxis, CostPoint, cost_chart
from benchmark.report.report_data import ReportData
from benchmark.report.values import ShownValue
from benchmark.tables import Cost, CostTable, cost_tables, costs, training_costs

TIME = CostAxis(
    "time",
    "Time per image",
    "ms",
    "From an image to its score and map: the forward pass of the vision tower and the method's own part. Methods of "
    "one run share the pass, so its time holds what all of them ask for.",
)
METHOD = CostAxis(
    "method",
    "Method's part",
    "ms per image",
    "From features to scores and maps, without the forward pass that methods of one run share. A method with a pass of "
    "its own has it in this time.",
)
TRAINING = CostAxis(
    "training",
    "Training",
    "s",
    "Wall time of a training, the mean over auxiliary datasets and seeds; 0 for methods without training. Methods "
    "whose checkpoint was imported are left out.",
)
MEMORY = CostAxis(
    "memory", "Memory", "GB", "Peak memory of a pass, which methods of one run share; see the notes of the table."
)
AXES = (TIME, METHOD, TRAINING, MEMORY)


def cost_page(report: ReportData, standings: Mapping[str, Standings]) -> dict[str, Any]:
    """Return the context of the page: the tables of costs, and a chart per kind of cost, domain and level.

    Args:
        report: Data of the report.
        standings: How the methods stand in each domain, see `all_standings`.
    """
    boards = _boards(standings)
    views = []
    for axis in AXES:
        found = [cost_scatter(report, axis, board) for board in boards]
        if charts := [chart for chart in found if chart is not None]:
            views.append({"axis": axis, "charts": charts})
    return {"tables": [_shown(table, report.banner) for table in cost_tables(report.records)], "views": views}


def overview_costs(report: ReportData, standings: Mapping[str, Standings]) -> list[Chart]:
    """Return the charts of the first page: the results over the time of an image in the first domain, by level."""
    first = next(iter(standings))
    found = [cost_scatter(report, TIME, board) for board in _boards(standings) if board.domain == first]
    return [chart for chart in found if chart is not None]


def cost_scatter(report: ReportData, axis: CostAxis, board: Leaderboard) -> Chart | None:
    """Return the chart of the means of a leaderboard over a cost, or None without a method that has both.

    Args:
        report: Data of the report.
        axis: One of `AXES`.
        board: The leaderboard.
    """
    means = {row.title: row.mean.value for row in board.rows if row.mean.value is not None}
    points = [
        CostPoint(title, name, cost, means[title], report.titles.index(title))
        for title, name, cost in _found(report, axis)
        if title in means
    ]
    over = "" if board.domain == EVERY_DOMAIN else f" over {board.domain} datasets"
    caption = f"Mean {METRICS[board.metric].title}{over} and {axis.name[0].lower()}{axis.name[1:]}"
    key = f"cost-{axis.key}-{board.domain.replace(' ', '-')}-{board.metric.replace('_', '-')}"
    return cost_chart(points, axis, caption, key) if points else None


def _boards(standings: Mapping[str, Standings]) -> list[Leaderboard]:
    """Return the leaderboards that are shown over costs: of each single domain the first metric of each level."""
    domains = [each for each in standings if each != EVERY_DOMAIN] or [EVERY_DOMAIN]
    metrics = [metrics_of(level)[0].key for level in LEVELS]
    found = [standings[domain].boards.get(metric) for domain in domains for metric in metrics]
    return [board for board in found if board is not None]


def _found(report: ReportData, axis: CostAxis) -> list[tuple[str, str, float]]:
    """Return title, name and cost of each method that has it, or of each place where a method ran."""
    if axis == TRAINING:
        trained: dict[str, list[float]] = defaultdict(list)
        for each in training_costs(report.main):
            trained[each.title].append(each.seconds)
        free = {column.title: [0.0] for column in report.columns if not column.auxiliary}
        known = {title: trained.get(title) or free.get(title) for title in report.titles}
        return [(title, title, math.fsum(times) / len(times)) for title, times in known.items() if times]
    values: dict[str, Callable[[Cost], float | None]] = {
        TIME.key: lambda each: each.inference,
        METHOD.key: lambda each: each.milliseconds["method"],
        MEMORY.key: lambda each: each.peak_memory and each.peak_memory / 1e9,
    }
    of = costs(report.main)
    found = [(each, value) for each in of if (value := values[axis.key](each)) is not None]
    return [(each.title, _name(each, [other for other, _ in found]), value) for each, value in found]


def _name(of: Cost, others: Sequence[Cost]) -> str:
    """Return the title of a method, with the place where it ran if methods ran at several."""
    places = {(each.device, each.processes, each.batch_size) for each in others}
    beside = "" if of.processes is None else f", processes {of.processes}"
    return of.title if len(places) == 1 else f"{of.title} ({of.device}{beside}, batch size {of.batch_size})"


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
    return {
        "key": table.name,
        "title": table.title,
        "texts": names,
        "columns": table.header[table.texts :],
        "rows": rows,
        "notes": notes,
    }
