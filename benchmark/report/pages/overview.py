"""The first page: the leaderboard, the datasets, and the average ranks."""

from typing import Any

from benchmark.data import load_cards
from benchmark.metrics import METRICS
from benchmark.report.charts import diagram
from benchmark.report.pages import leaderboard as boards
from benchmark.report.report_data import ReportData
from benchmark.report.values import HAS_RANGE, dataset_rows
from benchmark.tables import Column, Ranking, groups_of, learned_from


def overview_page(report: ReportData) -> dict[str, Any]:
    """Return the context of the page."""
    views, diagrams = [], []
    ranked = {
        domain: boards.all_rankings([r for r in report.main if domain in (boards.EVERY_DOMAIN, r.group)])
        for domain in boards.domains(report)
    }
    for metric, named in METRICS.items():
        for domain, of_domain in ranked.items():
            found = of_domain.get(metric)
            board = boards.leaderboard(report, domain, metric, found.ranks if found else {})
            if board is None:
                continue
            heading = f"{named.level} {named.heading}" + ("" if domain == boards.EVERY_DOMAIN else f", {domain}")
            views.append({**vars(board), "heading": heading, "note": _note(board)})
            if found is not None:
                diagrams.append(
                    {
                        "domain": domain,
                        "metric": metric,
                        "first": len(views) == 1,
                        "caption": _ranked(found, heading),
                        "diagram": diagram.diagram(found, key=heading),
                    }
                )
    # Where nothing is defined, the first metric says so. A dataset without any of these metrics has a row with each.
    known = {view["metric"] for view in views} or {next(iter(METRICS))}
    listed = {row.title for metric in known for row in dataset_rows(report, metric)}
    others = {each.title for each in report.datasets} - listed
    rows = {metric: dataset_rows(report, metric, others) for metric in METRICS if metric in known}
    has_wide_range = any(n.span for each in rows.values() for row in each for n in row.numbers)
    groups = groups_of(report.columns)
    return {
        "views": views,
        "diagrams": diagrams,
        "matrices": rows,
        "metrics": [(metric.key, metric.level, metric.heading) for metric in METRICS.values() if metric.key in known],
        "levels": list(dict.fromkeys(metric.level for metric in METRICS.values() if metric.key in known)),
        "domains": boards.domains(report),
        "years": {column.title: column.year for column in report.columns},
        "places": {column.title: place for place, (_, same) in enumerate(groups) for column in same},
        "learns_from": {column.title: learns_from(column) for column in report.columns},
        "notes": [*report.notes, *([HAS_RANGE] if has_wide_range else [])],
    }


def _note(board: boards.Leaderboard) -> str:
    spread = (
        "Best on: number of datasets with the highest value. Spread: the values of the datasets on an axis from "
        f"{board.low} to 100"
    )
    if board.mixed:
        return f"There is no mean over several domains; choose one above. {spread}."
    if not board.complete:
        return f"The methods share no dataset, so there is no mean. {spread}."
    over = f"Mean over the {board.complete} datasets"
    if board.complete < board.known:
        over += f" of {board.known} that the compared methods share"
    without = f" Not compared, because of too few datasets: {', '.join(board.lacking)}." if board.lacking else ""
    return (
        f"{over}, each the unweighted mean of its classes, in percent.{without} {spread}; the thick line is the mean."
    )


def _ranked(found: Ranking, heading: str) -> str:
    over = f"{heading}: average ranks over {len(found.datasets)} datasets"
    if found.friedman_p is None:
        return f"{over}; too few methods for a test, or all tie."
    return (
        f"{over}, 1 is the best. Friedman p = {found.friedman_p:.2g}. Methods joined by a bar do not differ "
        f"significantly at 0.05 (Nemenyi test); the critical difference is {found.critical_difference:.2f}."
    )


def learns_from(column: Column) -> str:
    """Return what a method learns from, with the titles of its auxiliary datasets."""
    cards = load_cards()
    return learned_from([cards[name].title if name in cards else name for name in column.auxiliary], column.shots)
