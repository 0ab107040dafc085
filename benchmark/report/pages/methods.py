"""The page that lists the methods, and the page of each: what it is, its results, trainings, costs and options."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmark.metrics import MAIN_METRICS, METRICS
from benchmark.records import Record
from benchmark.report.charts.training import training_charts
from benchmark.report.facts import MethodFacts, learns_from, option_text
from benchmark.report.report_data import DatasetResults, ReportData
from benchmark.report.values import (
    UNDEFINED,
    ShownValue,
    absent_value,
    class_values,
    dataset_values,
    shown_points,
    shown_value,
)
from benchmark.tables import Column, Cost, costs

MOST_SHOWN = 8
"""Number of classes that are listed where a method wins, and where it loses."""


@dataclass(frozen=True)
class Lead:
    """A method on a class, beside the best of the other methods."""

    title: str
    """Of the class, with its dataset."""
    page: str
    value: ShownValue
    best: ShownValue
    """Value of the best of the others."""
    rival: str
    """Title of the best of the others."""
    lead: float
    """How far the method is ahead of it, in points; below 0 it is behind."""

    @property
    def difference(self) -> ShownValue:
        """The lead as the page shows it."""
        return shown_points(self.lead)


def methods_page(report: ReportData, facts: Mapping[str, MethodFacts]) -> dict[str, Any]:
    """Return the context of the list of methods.

    Args:
        report: Data of the report.
        facts: What is known of the methods, by name.
    """
    rows = []
    for column in report.columns:
        of = _records(report, column.title)
        known = facts.get(of[0].cell.method)
        rows.append(
            {
                "column": column,
                "page": report.page_of(column.title),
                "paper": known.paper if known else "",
                "learns_from": learns_from(column, report),
                "learned": _largest(of, "learned"),
                "fitted": _largest(of, "fitted"),
                "done": len({record.dataset_title for record in of}),
                "failed": len({r.dataset_title for r in report.failed if r.title == column.title}),
            }
        )
    return {"rows": rows}


def method_page(report: ReportData, column: Column, facts: Mapping[str, MethodFacts]) -> dict[str, Any]:
    """Return the context of the page of a method. The other arguments are those of `methods_page`."""
    of = _records(report, column.title)
    known = facts.get(of[0].cell.method)
    name = of[0].cell.method
    variants = [r for r in report.records if r.cell.method == name and r not in of and r.title not in report.titles]
    charts = training_charts(of)
    keys = {chart.key for chart in charts}
    place = report.titles.index(column.title)
    leads = {metric: _leads(report, column.title, metric) for metric in MAIN_METRICS}
    return {
        "column": column,
        "name": name,
        "method_version": of[0].cell.method_version,
        "paper": known.paper if known else "",
        "summary": known.summary if known else (),
        "learns_from": learns_from(column, report),
        "options": _options(of, known),
        "results": _results(report, place),
        "wins": [
            {"key": metric, "title": METRICS[metric].title, "won": won, "lost": lost}
            for metric, (won, lost) in leads.items()
            if won or lost
        ],
        "most_shown": MOST_SHOWN,
        "costs": [_cost(each) for each in costs(report.main) if each.title == column.title],
        "failed": [record for record in report.failed if record.title == column.title],
        "charts": charts,
        "variants": [chart for chart in training_charts(variants) if chart.key not in keys],
        "before": report.titles[place - 1] if place else None,
        "after": report.titles[place + 1] if place + 1 < len(report.titles) else None,
    }


def _records(report: ReportData, title: str) -> list[Record]:
    return [record for record in report.main if record.title == title]


def _largest(records: list[Record], kind: str) -> int:
    return max((getattr(r.parameters, kind) for r in records if r.parameters is not None), default=0)


def _options(of: list[Record], known: MethodFacts | None) -> list[dict[str, str]]:
    """Return the options with the values of the records; several values where records differ."""
    names = list(dict.fromkeys([*(known.options if known else ()), *(n for r in of for n in r.cell.options)]))
    rows = []
    for name in names:
        values = dict.fromkeys(option_text(r.cell.options[name]) for r in of if name in r.cell.options)
        facts = known.options.get(name) if known else None
        rows.append(
            {
                "name": name,
                "value": " or ".join(values),
                "default": facts.default if facts else "",
                "meaning": facts.meaning if facts else "",
                "changed": bool(facts and values and set(values) != {facts.default}),
            }
        )
    return rows


def _results(report: ReportData, place: int) -> dict[str, Any]:
    """Return a row per dataset with a number per metric, and beside it the place among the methods."""
    metrics = [m for m in METRICS if any(v is not None for d in report.datasets for v in _values(report, d, m))]
    rows = []
    for dataset in report.datasets:
        numbers = []
        record = dataset.first_seed(report.titles[place])
        for metric in metrics:
            values = _values(report, dataset, metric)
            shown = shown_value(values[place])
            if record is None or values[place] is None:
                numbers.append(absent_value(report, dataset, report.titles[place], metric))
            else:
                better, count = _place(values, place, higher=METRICS[metric].higher_is_better)
                numbers.append(replace(shown, spread=f"{better} of {count}", record=report.anchor_of(record)))
        rows.append({"dataset": dataset, "numbers": numbers})
    return {"metrics": [METRICS[metric].title for metric in metrics], "rows": rows}


def _values(report: ReportData, dataset: DatasetResults, metric: str) -> list[float | None]:
    return dataset_values(dataset, metric, report.titles)


def _place(values: list[float | None], of: int, *, higher: bool) -> tuple[int, int]:
    """Return the place of a value among all, by the numbers as printed, and how many there are."""
    printed = [round(value, 1) if higher else -round(value, 1) for value in values if value is not None]
    own = round(values[of] or 0.0, 1) if higher else -round(values[of] or 0.0, 1)
    return 1 + sum(value > own for value in printed), len(printed)


def _leads(report: ReportData, title: str, metric: str) -> tuple[list[Lead], list[Lead]]:
    """Return the classes where a method is ahead of all others, and where it is behind, the largest difference first.

    A class on which no other method has the metric is in neither.
    """
    sign = 1 if METRICS[metric].higher_is_better else -1
    found = []
    for dataset in report.datasets:
        record = dataset.first_seed(title)
        for of in dataset.classes:
            values = dict(zip(report.titles, class_values(dataset, of.name, metric, report.titles), strict=True))
            own = values.pop(title)
            others = {other: value for other, value in values.items() if value is not None}
            if own is None or not others or record is None:
                continue
            rival = max(others, key=lambda other: sign * others[other])
            name = dataset.title if len(dataset.classes) == 1 else f"{of.name}, {dataset.title}"
            value = replace(shown_value(own), record=report.anchor_of(record))
            found.append(Lead(name, of.page, value, shown_value(others[rival]), rival, sign * (own - others[rival])))
    won = sorted((each for each in found if round(each.lead, 1) > 0), key=lambda each: -each.lead)
    lost = sorted((each for each in found if round(each.lead, 1) < 0), key=lambda each: each.lead)
    return won, lost


def _cost(of: Cost) -> dict[str, str]:
    """Return what a method costs in one place, in words."""
    milliseconds = {part: UNDEFINED if value is None else f"{value:.1f} ms" for part, value in of.milliseconds.items()}
    facts = {
        "Device": of.device,
        "Input": f"{of.backbone}, {of.dtype}" + (f", {of.image_size} px" if of.image_size else ""),
        "Vision tower, an image": "in the time of the method" if of.own_pass else milliseconds["vision"],
        "Method, an image": milliseconds["method"],
        "Learned parameters": UNDEFINED if of.learned is None else f"{of.learned:,}",
        "Memory": UNDEFINED if of.peak_memory is None else f"{of.peak_memory / 1e9:.2f} GB",
    }
    if of.fitted:
        facts["Fitted numbers"] = f"{of.fitted:,}"
    return facts
