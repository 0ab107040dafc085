"""The published numbers as their sources print them, and by what the page filters them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.metrics import LEVELS, METRICS, Level
from benchmark.report.listing import Facet
from benchmark.report.report_data import ReportData
from benchmark.report.values import NOTHING, ShownValue
from benchmark.tables import Comparison, Verdict, printed_metrics
from benchmark.tables import Number as Published

VERDICTS: tuple[Verdict, ...] = ("within", "differs", "undecided", "not comparable", "undefined")
"""Verdicts of results that are real, in the order in which they are counted."""
NUMBERS_OF = {"means": "dataset means", "classes": "single classes"}
"""What a published number is of: value in the address → text."""


@dataclass(frozen=True)
class Choices:
    """By what the numbers of the page are filtered."""

    titles: Mapping[str, str]
    """Name of a method → title under which the report shows it."""
    sources: Mapping[str, str]
    """Source → its number on the page, in the order of the numbers."""
    facets: tuple[Facet, ...] = ()

    def method(self, number: Published) -> str:
        """Return the title of the method of a number, as printed if the report does not show the method."""
        return self.titles.get(number.method or "", number.row.method)

    def values(self, number: Published) -> dict[str, str]:
        """Return the values of a number by the names of the facets, all but the verdict."""
        return {
            "dataset": number.dataset_title,
            "method": self.method(number),
            "metric": f"{number.row.level}_{number.row.metric}",
            "kind": "means" if number.class_name is None else "classes",
            "source": self.sources[number.row.source],
        }

    def places(self, number: Published, *names: str, verdict: str = "") -> str:
        """Return the places of a number in some of the facets, in the order of the facets."""
        values = self.values(number) | {"verdict": verdict}
        return " ".join(str(each.place(values[each.name])) for each in self.facets if each.name in names)


def choices_of(found: Sequence[Published], report: ReportData, rows: Sequence[Comparison]) -> Choices:
    """Return by what published numbers and their comparisons with results can be filtered."""
    titles = {record.cell.method: record.title for record in reversed(report.main)}
    sources = {source: str(place + 1) for place, source in enumerate(dict.fromkeys(each.row.source for each in found))}
    plain = Choices(titles, sources)
    values = [plain.values(number) for number in found]
    methods = sorted({each["method"] for each in values}, key=lambda title: (title not in titles.values(), title))
    known = {each["metric"] for each in values}
    metrics = [key for level in LEVELS for metric in printed_metrics(level) if (key := f"{level}_{metric}") in known]
    verdicts = {row.verdict for row in rows}
    facets = [
        Facet("dataset", "Dataset", {each: each for each in sorted({each["dataset"] for each in values})}),
        Facet("method", "Method", {each: each for each in methods}),
        Facet("metric", "Metric", {key: METRICS[key].title for key in metrics}),
        Facet("kind", "Numbers", NUMBERS_OF),
        Facet("verdict", "Verdict", {each: each for each in VERDICTS if each in verdicts}),
        Facet("source", "Source", {number: f"[{number}] {source}" for source, number in sources.items()}),
    ]
    return Choices(titles, sources, tuple(each for each in facets if each.options))


def place_of(number: Published) -> str:
    """Return the dataset of a number, with its class if it is of one."""
    return number.dataset_title + (f": {number.class_name}" if number.class_name else "")


def printed(source: str, found: Sequence[Published], choices: Choices) -> dict[str, Any]:
    """Return the numbers of a source as tables, one per level: datasets and classes × methods and metrics.

    Rows say at which place of the facets `dataset` and `kind` they stand, columns of `method` and `metric`.
    """
    tables = [_table(level, same, choices) for level in LEVELS if (same := [n for n in found if n.row.level == level])]
    return {"title": source, "number": choices.sources[source], "count": len(found), "tables": tables}


def _table(level: Level, found: Sequence[Published], choices: Choices) -> dict[str, Any]:
    columns: dict[tuple[str, str], Published] = {}
    rows: dict[str, dict[tuple[str, str], Published]] = defaultdict(dict)
    for number in found:
        key = (number.row.method, number.row.metric)
        columns.setdefault(key, number)
        rows[place_of(number)][key] = number
    methods = list(dict.fromkeys(method for method, _ in columns))
    keys = [(m, metric) for m in methods for metric in printed_metrics(level) if (m, metric) in columns]
    return {
        "level": level,
        "columns": [
            {"title": f"{key[0]} {columns[key].heading}", "of": choices.places(columns[key], "method", "metric")}
            for key in keys
        ],
        "rows": [
            {
                "title": place,
                "of": choices.places(next(iter(cells.values())), "dataset", "kind"),
                "numbers": [_shown(cells.get(key)) for key in keys],
            }
            for place, cells in rows.items()
        ],
    }


def _shown(number: Published | None) -> ShownValue:
    return NOTHING if number is None else ShownValue(number.printed, str(number.row.value))
