"""The first page: the leaderboard, the datasets, and the average ranks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.common import counted
from benchmark.metrics import LEVELS, METRICS, Level
from benchmark.report.boards import EVERY_DOMAIN, Leaderboard, LeaderboardRow, Standings
from benchmark.report.charts import diagram
from benchmark.report.facts import learns_from
from benchmark.report.report_data import ReportData
from benchmark.report.values import UNDEFINED, ShownValue, TableRow, dataset_rows, marks_note
from benchmark.tables import ONE_TRAINING, WIDE_MARK, Ranking, groups_of

SIDE_BY_SIDE = ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro")
"""The metrics that stand side by side at the start, as papers print them."""

Boards = Mapping[str, Leaderboard]
"""The leaderboards of a domain by metric."""


@dataclass(frozen=True)
class MethodRow:
    """A method in a domain, with its leaderboard row for every metric."""

    title: str
    means: tuple[ShownValue, ...]
    """Per metric, what stands in the view of several metrics: the mean, or the average rank where there is no mean."""
    details: tuple[LeaderboardRow | None, ...]
    """Per metric; None where no dataset of the domain has it."""


@dataclass(frozen=True)
class DomainRows:
    """The rows of a domain."""

    domain: str
    rows: tuple[MethodRow, ...]
    verdicts: Mapping[str, str]
    """Which method is the best, as far as these images say it, by metric; "" for the view of several metrics."""
    notes: Mapping[str, str]
    """What is said below, by metric; "" for the view of several metrics."""
    mixed: bool
    """Whether the datasets are of several domains; then ranks stand where means would."""


def overview_page(report: ReportData, standings: Mapping[str, Standings]) -> dict[str, Any]:
    """Return the context of the page.

    Args:
        report: Data of the report.
        standings: How the methods stand in each domain, see `all_standings`.
    """
    found = {domain: of.boards for domain, of in standings.items()}
    diagrams = [each for domain, of in standings.items() for each in _diagrams(domain, of.rankings)]
    # Where nothing is defined, the first metric says so. A dataset without any of these metrics has a row with each.
    known = [metric for metric in METRICS if any(metric in of_domain for of_domain in found.values())]
    shown = known or [next(iter(METRICS))]
    start = [metric for metric in SIDE_BY_SIDE if metric in known] or known[:1]
    order = [*start, *(metric for metric in known if metric not in start)]
    rows = {metric: dataset_rows(report, metric) for metric in shown}
    others = {each.title for each in report.datasets} - {row.title for of_metric in rows.values() for row in of_metric}
    if others:
        rows = {metric: dataset_rows(report, metric, others) for metric in shown}
    tables = {metric: [_without_intervals(row) for row in each] for metric, each in rows.items()}
    groups = groups_of(report.columns)
    views = [_domain_rows(domain, of, order, start, report.titles) for domain, of in found.items() if of]
    return {
        "views": views,
        "columns": [(metric, METRICS[metric].title) for metric in order],
        "marks": _marks([board for of in found.values() for board in of.values()]),
        "start": start,
        "start_name": " and ".join(dict.fromkeys(METRICS[metric].level for metric in start)) if start else "",
        "paired": [metric for metric in order if any(_has_behind(of.get(metric)) for of in found.values())],
        "diagrams": diagrams,
        "dataset_tables": tables,
        "dataset_marks": marks_note([n for each in tables.values() for row in each for n in row.numbers], ""),
        "metrics": _by_level(known),
        "domains": list(standings),
        "years": {column.title: column.year for column in report.columns},
        "places": {column.title: place for place, (_, same) in enumerate(groups) for column in same},
        "learns_from": {column.title: learns_from(column, report) for column in report.columns},
        "notes": report.notes,
    }


def _has_behind(board: Leaderboard | None) -> bool:
    return board is not None and any(row.behind.sort for row in board.rows)


def _by_level(known: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return key and name of the metrics under the heading of their level."""
    levels: dict[Level, list[tuple[str, str]]] = defaultdict(list)
    for metric in known:
        levels[METRICS[metric].level].append((metric, METRICS[metric].title))
    return {LEVELS[level]: of_level for level, of_level in levels.items()}


def _domain_rows(
    domain: str, found: Boards, order: Sequence[str], start: Sequence[str], titles: Sequence[str]
) -> DomainRows:
    """Return the rows of a domain, in the order of the first metric of the start that the domain has."""
    by_title = {metric: {row.title: row for row in board.rows} for metric, board in found.items()}
    mixed = any(board.mixed for board in found.values())
    first = next(metric for metric in (*start, *order) if metric in found)
    rows = []
    for title in [row.title for row in found[first].rows]:
        details = [by_title[metric].get(title) if metric in found else None for metric in order]
        rows.append(MethodRow(title, tuple(_main(each, mixed=mixed) for each in details), tuple(details)))
    notes = {metric: _note(board) for metric, board in found.items()}
    shown = {metric: found[metric] for metric in start if metric in found}
    notes[""] = _side_by_side(shown, first, len(titles)) if shown else notes[first]
    verdicts = {metric: _verdict({metric: board}) for metric, board in found.items()} | {"": _verdict(shown)}
    return DomainRows(domain, tuple(rows), verdicts, notes, mixed)


def _verdict(shown: Boards) -> str:
    """Return which methods have the highest means, and how many others the images do not tell from them."""
    said = []
    for metric, board in shown.items():
        best = [row.title for row in board.rows if row.mean.mark in ("best", "highest")]
        if len(board.rows) < 2 or not best:
            continue
        tied = sum(row.mean.tied for row in board.rows)
        told = f"tied with {counted(tied, 'other') if tied else 'none'}"
        if not any(row.behind.sort for row in board.rows):
            told = "without intervals to compare it"
        said.append(f"{' and '.join(best)} in {METRICS[metric].title}, {told}")
    return f"Highest mean: {'; '.join(said)}." if said else ""


def _main(row: LeaderboardRow | None, *, mixed: bool) -> ShownValue:
    """Return the mean of a metric, or the average rank where there is no mean; sorted, the best rank is the highest."""
    if row is None:
        return ShownValue(UNDEFINED, "", hint="No dataset of this domain has this metric.")
    return replace(row.rank, sort=f"-{row.rank.sort}" if row.rank.sort else "") if mixed else row.mean


def _side_by_side(shown: Boards, first: str, methods: int) -> str:
    """Return what the numbers of the view of several metrics are, and how its rows are sorted."""
    over: dict[int, list[str]] = defaultdict(list)
    for metric, board in shown.items():
        over[board.known if board.mixed else board.complete].append(METRICS[metric].title)
    each = "; ".join(f"{', '.join(names)} over {counted(count, 'dataset')}" for count, names in over.items() if count)
    order = f" Sorted by {METRICS[first].title}; a press on another heading sorts by it." if methods > 1 else ""
    if any(board.mixed for board in shown.values()):
        ranked = any(row.rank.sort for board in shown.values() for row in board.rows)
        what = f"these are average ranks, 1 is the best: {each}" if ranked else "choose one above"
        return f"There is no mean over several domains; {what}.{order}"
    if not each:
        return "The methods share no dataset, so there is no mean."
    lacking = {line for board in shown.values() for line in board.lacking}
    without = f" No mean of {'; '.join(sorted(lacking))}." if lacking else ""
    return f"Means of {each}, each the unweighted mean of its classes, in percent.{without}{order}"


def _marks(shown: Sequence[Leaderboard]) -> str:
    """Return what the intervals and the marks of means say; empty where no mean has an interval."""
    numbers = [row.mean for board in shown for row in board.rows]
    return marks_note(numbers, "the test images of these datasets, not over other datasets")


def _note(board: Leaderboard) -> str:
    best = (
        "Best on: number of datasets with the highest value, where not all are equal. " if len(board.rows) > 1 else ""
    )
    spread = f"{best}Spread: the values of the datasets on an axis from {board.low} to 100"
    if board.mixed:
        return f"There is no mean over several domains; choose one above. {spread}."
    if not board.complete:
        return f"The methods share no dataset, so there is no mean. {spread}."
    over = f"Mean over {counted(board.complete, 'dataset')}"
    if board.complete < board.known:
        over += f" of {board.known} (not in it: {', '.join(board.left_out)})"
    without = f" No mean of {'; '.join(board.lacking)}." if board.lacking else ""
    return (
        f"{over}, each the unweighted mean of its classes, in percent.{without} {spread}; the thick line is the mean."
    )


def _without_intervals(row: TableRow) -> TableRow:
    """Return a row as the overview shows it: all intervals stand on the page of the dataset.

    That a difference rests on one training is said where there is a difference.
    """
    numbers = []
    for each in row.numbers:
        apart = bool(each.behind) and not each.tied and ONE_TRAINING in each.spread
        wide = each.span and WIDE_MARK
        behind = each.behind if each.tied else ()
        numbers.append(replace(each, spread=ONE_TRAINING if apart else "", span=wide, behind=behind))
    return replace(row, numbers=tuple(numbers))


def _diagrams(domain: str, ranked: Mapping[str, Ranking]) -> Iterator[dict[str, Any]]:
    for metric, found in ranked.items():
        heading = METRICS[metric].title + ("" if domain == EVERY_DOMAIN else f", {domain}")
        yield {
            "domain": domain,
            "metric": metric,
            "caption": _ranked(found, heading),
            "diagram": diagram.diagram(found, key=heading),
        }


def _ranked(found: Ranking, heading: str) -> str:
    over = f"{heading}: average ranks over {counted(len(found.datasets), 'dataset')}"
    lacking = f" Not ranked, as they lack datasets: {', '.join(found.lacking)}." if found.lacking else ""
    if found.friedman_p is None:
        return f"{over}; too few methods for a test, or all tie.{lacking}"
    test = f"Friedman p = {found.friedman_p:.2g}, critical difference {found.critical_difference:.2f}"
    return f"{over}. {test}.{lacking}"
