"""The leaderboard: the methods by their mean over the datasets of a domain, those beyond the papers apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.report.values import UNDEFINED, ShownValue, dataset_values, shown_value
from benchmark.tables import Ranking, best_and_second, compared_rows, rankings

EVERY_DOMAIN = "all"


@dataclass(frozen=True)
class LeaderboardRow:
    """A method of the leaderboard."""

    title: str
    mean: ShownValue
    rank: ShownValue
    best_on: int
    """Number of datasets on which the method has the highest value."""
    datasets: int
    """Number of datasets with the metric on which the method has been run."""
    ticks: tuple[float, ...]
    """Position of each dataset on the axis of the spread, from 0 to 100."""
    middle: float | None
    """Position of the mean on that axis."""


@dataclass(frozen=True)
class Leaderboard:
    """The leaderboard of one domain and metric."""

    domain: str
    metric: str
    rows: tuple[LeaderboardRow, ...]
    complete: int
    """Number of datasets on which all compared methods have the metric; the mean is over these."""
    known: int
    """Number of datasets on which any method has the metric."""
    low: int
    """Start of the axis of the spread, in percent. The axis ends at 100."""
    mixed: bool
    """Whether the datasets are of several domains; then there is no mean."""
    lacking: tuple[str, ...]
    """Methods that have too few datasets for a mean."""


def domains(report: ReportData) -> list[str]:
    """Return the domains that a reader can choose from, the one that is shown first at the start."""
    found = list(dict.fromkeys(dataset.group for dataset in report.datasets))
    return [*found, EVERY_DOMAIN] if len(found) > 1 else [EVERY_DOMAIN]


def in_domain(report: ReportData, domain: str) -> list[DatasetResults]:
    """Return the datasets of a domain; of every domain those that are not beyond the papers, if there are any."""
    if domain != EVERY_DOMAIN:
        return [dataset for dataset in report.datasets if dataset.group == domain]
    return [dataset for dataset in report.datasets if not dataset.records[0].beyond] or list(report.datasets)


def leaderboard(report: ReportData, domain: str, metric: str, ranks: Mapping[str, float]) -> Leaderboard | None:
    """Return the leaderboard with the best mean first, or None if no dataset of the domain has the metric.

    Args:
        report: Data of the report.
        domain: A domain, or `EVERY_DOMAIN`.
        metric: Key of the metric.
        ranks: Average rank by title of the method; a method may be missing.
    """
    chosen = in_domain(report, domain)
    values = [dataset_values(dataset, metric, report.titles) for dataset in chosen]
    known = [each for each in values if any(value is not None for value in each)]
    if not known:
        return None
    columns = list(zip(*known, strict=True))
    having = {
        title: [str(place) for place, value in enumerate(column) if value is not None]
        for title, column in zip(report.titles, columns, strict=True)
    }
    compared = compared_rows(having)
    mixed = len({dataset.group for dataset in chosen}) > 1
    means = [
        None if mixed or title not in compared.methods else fmean(column[int(place)] or 0.0 for place in compared.rows)
        for title, column in zip(report.titles, columns, strict=True)
    ]
    marks = [best_and_second(each, METRICS[metric]) for each in known]
    best = [sum(each[index] == "best" for each in marks) for index in range(len(columns))]
    low = min(90, *(int(value // 10 * 10) for each in known for value in each if value is not None))
    rows = [
        LeaderboardRow(
            title=title,
            mean=shown_value(mean, mark=mark),
            rank=ShownValue(f"{ranks[title]:.2f}", f"{ranks[title]:.4f}")
            if title in ranks
            else ShownValue(UNDEFINED, ""),
            best_on=best[index],
            datasets=sum(value is not None for value in columns[index]),
            ticks=tuple(_position(value, low) for value in columns[index] if value is not None),
            middle=None if mean is None else _position(mean, low),
        )
        for index, (title, mean, mark) in enumerate(
            zip(report.titles, means, best_and_second(means, METRICS[metric]), strict=True)
        )
    ]
    rows.sort(key=lambda each: (-float(each.mean.sort or "-1"), float(each.rank.sort or "inf")))
    lacking = tuple(title for title in compared.lacking if having[title])
    return Leaderboard(domain, metric, tuple(rows), 0 if mixed else len(compared.rows), len(known), low, mixed, lacking)


def _position(value: float, low: int) -> float:
    """Return where a percentage lies on an axis from `low` to 100, as a percentage of the axis."""
    return round(100 * (value - low) / (100 - low), 2)


def all_rankings(records: Sequence[Record]) -> dict[str, Ranking]:
    """Return the ranking of the methods for every metric by which they can be ranked."""
    return {each.metric: each for each in rankings(records, tuple(METRICS))}
