"""Average ranks of methods over datasets, and whether they tell methods apart (Demšar, JMLR 2006)."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tabulate import tabulate

from benchmark.common import listed
from benchmark.metrics import MAIN_METRICS, METRICS
from benchmark.records import Record
from benchmark.tables.columns import columns_of, places_of
from benchmark.tables.comparable import check_comparable
from benchmark.tables.coverage import compared_rows, of_the_papers, repeated_parts
from benchmark.tables.notes import notes_of
from benchmark.tables.style import STYLES
from benchmark.tables.tables import MOST_LACKING, mean_values, row_order

SIGNIFICANCE = 0.05
FEWEST_DATASETS = 6
"""With fewer there are no ranks: they would say next to nothing."""
FEWEST_METHODS = 3
"""With fewer there is no Friedman test."""


@dataclass(frozen=True)
class Ranking:
    """How the compared methods rank by a metric, over the datasets on which all of them have it."""

    metric: str
    datasets: tuple[str, ...]
    ranks: dict[str, float]
    """Average rank by method, 1 the best; ties share the mean of their ranks."""
    friedman_p: float | None
    """Of the hypothesis that all methods rank alike (Friedman's test in the form of Iman and Davenport); None where
    there are too few methods, or all tie."""
    critical_difference: float | None
    """Average ranks that differ by less do not tell two methods apart at the level 0.05 (Nemenyi)."""
    values: pd.DataFrame
    """In percent, datasets by methods."""
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Which of the datasets a method lacks that is not ranked."""


def rankings(records: Sequence[Record], metrics: Sequence[str] = MAIN_METRICS) -> list[Ranking]:
    """Return the ranking by each metric that enough methods have on enough datasets, by default of the main tables.

    Datasets beyond the papers do not count beside others.

    Raises:
        TableError: the records are not comparable.
    """
    check_comparable(records)
    repeated = repeated_parts(records)
    records = of_the_papers([record for record in records if record.dataset_title not in repeated])
    cells: dict[tuple[str, str], list[Record]] = defaultdict(list)
    place = places_of(records)
    for record in sorted(records, key=lambda record: (*row_order(record), place[record.title])):
        cells[record.dataset_title, record.title].append(record)
    if not cells:
        return []
    made = []
    for metric in metrics:
        values = {place: mean_values([r.mean for r in same], (metric,))[0] for place, same in cells.items()}
        frame = pd.Series(values, dtype="float64").unstack(sort=False).dropna(axis=1, how="all").dropna(how="all")
        compared = compared_rows(
            {str(title): [str(row) for row in column.dropna().index] for title, column in frame.items()}
        )
        frame = frame.loc[[row for row in frame.index if row in compared.rows], list(compared.methods)]
        if len(frame) >= FEWEST_DATASETS and len(frame.columns) > 1:
            made.append(_ranking(metric, frame, compared.lacking))
    return made


def _ranking(metric: str, frame: pd.DataFrame, lacking: Mapping[str, tuple[str, ...]]) -> Ranking:
    """Return the ranking of methods (columns) over datasets (rows)."""
    frame = frame.round(9)  # what differs by rounding alone is a tie on every machine
    ranks = frame.rank(axis=1, ascending=not METRICS[metric].higher_is_better).mean().sort_values(kind="stable")
    p_value = difference = None
    datasets, methods = frame.shape
    if methods >= FEWEST_METHODS and (frame.nunique(axis=1) > 1).any():
        from scipy.stats import studentized_range  # takes a second to import

        p_value = friedman_p(frame)
        quantile = studentized_range.ppf(1 - SIGNIFICANCE, methods, np.inf) / np.sqrt(2)
        difference = float(quantile * np.sqrt(methods * (methods + 1) / (6 * datasets)))
    by_title = {str(title): float(rank) for title, rank in ranks.items()}
    return Ranking(metric, tuple(map(str, frame.index)), by_title, p_value, difference, frame, lacking)


def friedman_p(frame: pd.DataFrame) -> float:
    """Return the p-value that the methods (k columns) rank alike over the datasets (N rows).

    The statistic of Iman and Davenport (1980), `(N − 1) χ² / (N (k − 1) − χ²)`, follows an F distribution with k − 1
    and (k − 1)(N − 1) degrees of freedom; Friedman's χ² alone is too cautious for few datasets (Demšar, section 3.2.2).
    Where all datasets rank the methods alike, the statistic is infinite, and the value is exact: `k!^(1 − N)`.
    """
    from scipy.stats import f, friedmanchisquare

    datasets, methods = frame.shape
    chi2 = float(friedmanchisquare(*(frame[title] for title in frame)).statistic)
    rest = datasets * (methods - 1) - chi2
    if rest < 1e-9 * datasets:
        return float(math.factorial(methods)) ** (1 - datasets)
    degrees = methods - 1
    return float(f.sf((datasets - 1) * chi2 / rest, degrees, degrees * (datasets - 1)))


def render(
    found: Sequence[Ranking],
    records: Sequence[Record],
    methods: Sequence[str] = (),
    metrics: Sequence[str] = MAIN_METRICS,
) -> str:
    """Return the average ranks as a Markdown table, methods by metrics; empty without any ranking.

    Args:
        found: the rankings.
        records: of the methods.
        methods: the order of the methods, as in `make_tables`.
        metrics: those for which rankings were asked.
    """
    if not found:
        return ""
    how = STYLES["md"]
    columns = columns_of(records, methods)
    body = [[how.escape(each.title), *(_rank(ranking.ranks.get(each.title)) for ranking in found)] for each in columns]
    body += [
        ["datasets", *(str(len(each.datasets)) for each in found)],
        ["Friedman p", *("–" if each.friedman_p is None else f"{each.friedman_p:.1e}" for each in found)],
        ["critical difference", *(_rank(each.critical_difference) for each in found)],
    ]
    header = ["", *(METRICS[each.metric].full_heading for each in found)]
    grid: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for each in found:
        for title, names in each.lacking.items():
            lacking[title, names].append(METRICS[each.metric].full_heading)
    notes = (
        "Average rank over the datasets that the compared methods share, 1 the best.",
        *(
            f"No rank of {title} ({'; '.join(headings)}): undefined or not run on {listed(names, MOST_LACKING)}."
            for (title, names), headings in lacking.items()
        ),
        "Friedman p: that all methods rank alike (form of Iman and Davenport).",
        f"Critical difference: two methods whose average ranks differ by less are not told apart at {SIGNIFICANCE} "
        "(Nemenyi; Demšar, 2006).",
        *notes_of(records, metrics),
    )
    return f"## Average ranks\n\n{grid}\n\n" + "".join(f"- {how.escape(note)}\n" for note in notes)


def _rank(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
