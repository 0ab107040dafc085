"""Ranks of methods over datasets, and whether they tell methods apart (Demšar, JMLR 2006)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tabulate import tabulate

from benchmark.metrics import MAIN_METRICS, METRICS
from benchmark.records import Record
from benchmark.tables.tables import STYLES, check_comparable, column_order, mean_values, notes_of, row_order

SIGNIFICANCE = 0.05
FEWEST_DATASETS, FEWEST_METHODS = 2, 3
"""With fewer there is no Friedman test."""


@dataclass(frozen=True)
class Ranking:
    """How the methods rank by a metric, over the datasets on which all of them have it."""

    metric: str
    datasets: tuple[str, ...]
    ranks: dict[str, float]
    """Average rank by method, 1 the best; ties share the mean of their ranks."""
    friedman_p: float | None
    """Of the hypothesis that all methods rank alike; None where there are too few datasets or methods, or all tie."""
    critical_difference: float | None
    """Average ranks that differ by less do not tell two methods apart at the level 0.05 (Nemenyi)."""
    values: pd.DataFrame
    """In percent, datasets by methods."""

    @property
    def p_values(self) -> pd.DataFrame | None:
        """Nemenyi's, method by method; None where there is no Friedman test."""
        if self.friedman_p is None:
            return None
        from scikit_posthocs import posthoc_nemenyi_friedman  # takes seconds to import

        p_values: pd.DataFrame = posthoc_nemenyi_friedman(self.values)
        return p_values


def rankings(records: Sequence[Record], metrics: Sequence[str] = MAIN_METRICS) -> list[Ranking]:
    """Return the ranking by each metric that all methods have on two datasets or more, by default of the main tables.

    Raises:
        TableError: the records are not comparable.
    """
    check_comparable(records)
    cells: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (*row_order(record), *column_order(record))):
        cells[record.dataset_title, record.title].append(record)
    made = []
    for metric in metrics:
        values = {place: mean_values([r.mean for r in same], (metric,))[0] for place, same in cells.items()}
        frame = pd.Series(values, dtype="float64").unstack(sort=False).dropna(axis=1, how="all").dropna()
        if len(frame) >= FEWEST_DATASETS and len(frame.columns) > 1:
            made.append(_ranking(metric, frame))
    return made


def _ranking(metric: str, frame: pd.DataFrame) -> Ranking:
    """Return the ranking of methods (columns) over datasets (rows)."""
    frame = frame.round(9)  # what differs by rounding alone is a tie on every machine
    ranks = frame.rank(axis=1, ascending=not METRICS[metric].higher_is_better).mean().sort_values(kind="stable")
    p_value = difference = None
    datasets, methods = frame.shape
    if methods >= FEWEST_METHODS and (frame.nunique(axis=1) > 1).any():
        from scipy.stats import friedmanchisquare, studentized_range  # takes a second to import

        p_value = float(friedmanchisquare(*(frame[title] for title in frame)).pvalue)
        quantile = studentized_range.ppf(1 - SIGNIFICANCE, methods, np.inf) / np.sqrt(2)
        difference = float(quantile * np.sqrt(methods * (methods + 1) / (6 * datasets)))
    by_title = {str(title): float(rank) for title, rank in ranks.items()}
    return Ranking(metric, tuple(map(str, frame.index)), by_title, p_value, difference, frame)


def render(found: Sequence[Ranking], records: Sequence[Record]) -> str:
    """Return the average ranks as a Markdown table, methods by metrics; empty without any ranking."""
    if not found:
        return ""
    how = STYLES["md"]
    titles = dict.fromkeys(record.title for record in sorted(records, key=column_order))
    body = [[how.escape(title), *(_rank(each.ranks.get(title)) for each in found)] for title in titles]
    body += [
        ["datasets", *(str(len(each.datasets)) for each in found)],
        ["Friedman p", *("–" if each.friedman_p is None else f"{each.friedman_p:.1e}" for each in found)],
        ["critical difference", *(_rank(each.critical_difference) for each in found)],
    ]
    header = ["", *(METRICS[each.metric].full_heading for each in found)]
    grid: str = tabulate(body, headers=header, tablefmt=how.tablefmt, disable_numparse=True)
    notes = (
        "Average rank over the datasets on which every method has the metric, 1 the best.",
        f"Critical difference: two methods whose average ranks differ by less are not told apart at {SIGNIFICANCE} "
        "(Nemenyi; Demšar, 2006).",
        *notes_of(records),
    )
    return f"## Average ranks\n\n{grid}\n\n" + "".join(f"- {how.escape(note)}\n" for note in notes)


def _rank(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
