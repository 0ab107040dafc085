"""The leaderboards: the methods by their mean over the datasets of a domain, those beyond the papers apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.common import counted, listed
from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.report.values import (
    FAILED,
    NOT_RUN,
    NOTHING,
    UNDEFINED,
    ShownValue,
    absent_value,
    dataset_values,
    shown_value,
    signed,
    without_winner,
)
from benchmark.tables import (
    Estimate,
    Ranking,
    best_and_second,
    compared_rows,
    mean_estimates,
    rankings,
    repeated_parts,
)

EVERY_DOMAIN = "all"
MOST_NAMES = 3
"""Datasets that are named where a method lacks some."""


@dataclass(frozen=True)
class LeaderboardRow:
    """A method of the leaderboard."""

    title: str
    mean: ShownValue
    """With its interval; a dash where there is none, with the datasets that the method lacks."""
    behind: ShownValue
    """How far the mean is behind the best one, with the paired interval."""
    rank: ShownValue
    best_on: int
    """Number of datasets on which the method has the highest value, where not all are equal."""
    datasets: int
    """Number of datasets with the metric on which the method has been run."""
    ticks: tuple[int, ...]
    """Position of each dataset on the axis of the spread, from 0 to 100."""
    middle: int | None
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
    """What the methods lack that have too few datasets for a mean, as a sentence each."""
    left_out: tuple[str, ...]
    """Datasets with the metric that are not in the mean."""


@dataclass(frozen=True)
class Standings:
    """How the methods stand in a domain."""

    boards: Mapping[str, Leaderboard]
    """By metric, without the metrics that no dataset of the domain has."""
    rankings: Mapping[str, Ranking]
    """By metric, where the methods can be ranked."""


def all_standings(report: ReportData) -> dict[str, Standings]:
    """Return how the methods stand in each domain that a reader can choose."""
    found = {}
    for domain in domains(report):
        ranked = all_rankings([r for r in report.main if domain in (EVERY_DOMAIN, r.group)])
        made = {
            metric: leaderboard(report, domain, metric, ranked[metric].ranks if metric in ranked else {})
            for metric in METRICS
        }
        boards = {metric: board for metric, board in made.items() if board is not None}
        found[domain] = Standings(boards, {metric: of for metric, of in ranked.items() if metric in boards})
    return found


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
    found = {each.title: dataset_values(each, metric, report.titles) for each in in_domain(report, domain)}
    known = {title: values for title, values in found.items() if any(value is not None for value in values)}
    if not known:
        return None
    datasets = {each.title: each for each in report.datasets if each.title in known}
    columns = dict(zip(report.titles, zip(*known.values(), strict=True), strict=True))
    repeated = repeated_parts(report.main)
    having = {
        title: [name for name, value in zip(known, column, strict=True) if value is not None and name not in repeated]
        for title, column in columns.items()
    }
    compared = compared_rows(having)
    mixed = len({dataset.group for dataset in datasets.values()}) > 1
    over = [] if mixed else [name for name in known if name in compared.rows]
    means = mean_estimates([record for record in report.main if record.title in compared.methods], metric, over)
    marks = [best_and_second(each, METRICS[metric]) for each in known.values()]
    low = min(90, *(int(value // 10 * 10) for each in known.values() for value in each if value is not None))
    values = [100 * means[title].value if title in means else None for title in report.titles]
    lacks = {
        title: [(name, absent_value(report, datasets[name], title, metric).text) for name in names]
        for title, names in (compared.lacking if over else {}).items()
    }
    shown = [
        _mean(value, means.get(title), mark, lacks.get(title, ()))
        for title, value, mark in zip(report.titles, values, best_and_second(values, METRICS[metric]), strict=True)
    ]
    rows = [
        LeaderboardRow(
            title=title,
            mean=mean,
            behind=_behind(means.get(title)),
            rank=_rank(ranks.get(title)),
            best_on=sum(each[index] == "best" for each in marks),
            datasets=sum(value is not None for value in columns[title]),
            ticks=tuple(_position(value, low) for value in columns[title] if value is not None),
            middle=None if value is None else _position(value, low),
        )
        for index, (title, mean, value) in enumerate(
            zip(report.titles, without_winner(shown, values), values, strict=True)
        )
    ]
    rows.sort(key=lambda each: (_last(each.mean.value), float(each.rank.sort or "inf")))
    return Leaderboard(
        domain,
        metric,
        tuple(rows),
        complete=len(over),
        known=len(known),
        low=low,
        mixed=mixed,
        lacking=tuple(f"{title} ({_listed(of)})" for title, of in lacks.items() if having[title]),
        left_out=tuple(name for name in known if name not in over),
    )


def _mean(value: float | None, found: Estimate | None, mark: str, lacks: Sequence[tuple[str, str]]) -> ShownValue:
    if value is not None:
        return shown_value(value, found, mark)
    if not lacks:
        return NOTHING
    return ShownValue(
        UNDEFINED, "", spread=f"lacks {counted(len(lacks), 'dataset')}", hint=f"No mean: {_listed(lacks)}."
    )


def _listed(lacks: Sequence[tuple[str, str]]) -> str:
    """Return which datasets a method lacks, by what became of them: `failed on A, B; not run on C`."""
    words = {FAILED: "failed on", NOT_RUN: "not run on", UNDEFINED: "undefined on"}
    names = {text: [name for name, other in lacks if other == text] for text in words}
    return "; ".join(f"{words[text]} {listed(of, MOST_NAMES)}" for text, of in names.items() if of)


def _behind(found: Estimate | None) -> ShownValue:
    """Return how far a mean is behind the best one, with the paired interval."""
    if found is None or found.behind is None:
        return NOTHING
    behind, low, high = (signed(100 * each, plus="") for each in found.behind)
    return ShownValue(behind, f"{100 * found.behind[0]:.4f}", f"[{low} to {high}]")


def _rank(rank: float | None) -> ShownValue:
    return NOTHING if rank is None else ShownValue(f"{rank:.2f}", f"{rank:.4f}")


def _last(value: float | None) -> float:
    """Return by what a value is sorted: the highest first, an undefined one last."""
    return math.inf if value is None else -value


def _position(value: float, low: int) -> int:
    """Return where a percentage lies on an axis from `low` to 100, as a percentage of the axis."""
    return round(100 * (value - low) / (100 - low))


def all_rankings(records: Sequence[Record]) -> dict[str, Ranking]:
    """Return the ranking of the methods for every metric by which they can be ranked."""
    return {each.metric: each for each in rankings(records, tuple(METRICS))}
