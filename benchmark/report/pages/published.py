"""The page of the published numbers: what agrees with them, and the numbers themselves."""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.common import PUBLISHED_TOLERANCE
from benchmark.report.charts.agreement import AgreementPoint, agreement_chart
from benchmark.report.charts.chart import Chart
from benchmark.report.listing import filtered
from benchmark.report.printed import NUMBERS_OF, VERDICTS, Choices, choices_of, place_of, printed
from benchmark.report.report_data import ReportData
from benchmark.report.values import NOTHING, ShownValue, shown_points, shown_value
from benchmark.tables import SECOND_HAND_NOTE, Comparison, compare, in_printed_order
from benchmark.tables import Number as Published

PAGE = "published.html"
Common = Mapping[tuple[str, str], tuple[str, ...]]
"""Reasons by source and title of a method: both empty for all rows, the second empty for all of a source."""


@dataclass(frozen=True)
class Source:
    """A source of published numbers."""

    number: str
    title: str
    link: str
    """Where it can be read; empty if the title names no paper and no repository."""
    common: tuple[tuple[str, tuple[str, ...]], ...]
    """Why results may differ from all of its numbers, beside an empty title, and from all of a method, beside its
    title."""


@dataclass(frozen=True)
class Agreement:
    """How some results agree with published numbers."""

    title: str
    counts: tuple[tuple[int, str], ...]
    """Of each verdict the number of rows and the address that shows them."""
    median: ShownValue
    """Of the differences, in points."""
    range: ShownValue
    """The lowest and the highest difference; sorted by the lowest."""


def published_page(report: ReportData, found: Sequence[Published]) -> dict[str, Any]:
    """Return the context of the published numbers and of their comparison with the results.

    Args:
        report: Data of the report.
        found: Published numbers.
    """
    made = compare(found, report.records, tolerance=PUBLISHED_TOLERANCE)
    real = in_printed_order([row for row in made if row.verdict not in ("synthetic", "not run")])
    rows = sorted(real, key=lambda row: row.number.class_name is not None)  # the means of all datasets come first
    choices = choices_of(found, report, rows)
    common = common_reasons(rows, choices)
    return {
        "facets": choices.facets,
        "verdicts": _counts(rows),
        "barring": {reason for row in rows for reason in row.barring},
        "tolerance": PUBLISHED_TOLERANCE,
        "second_hand": SECOND_HAND_NOTE if any(number.conditions.second_hand for number in found) else "",
        "everywhere": common["", ""],
        "sources": [
            Source(
                number,
                title,
                link_of(title),
                tuple((method, why) for (source, method), why in sorted(common.items()) if source == title and why),
            )
            for title, number in choices.sources.items()
        ],
        "summaries": _summaries(rows, choices),
        "chart": _chart(rows, choices),
        "rows": _rows(rows, report, choices, common),
        "printed": [
            printed(title, [number for number in found if number.row.source == title], choices)
            for title in choices.sources
        ],
    }


def common_reasons(rows: Sequence[Comparison], choices: Choices) -> Common:
    """Return the reasons of all rows, of all rows of a source, and of all rows of a method in a source, each once."""
    groups: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for row in rows:
        source = row.number.row.source
        for key in (("", ""), (source, ""), (source, choices.method(row.number))):
            groups[key].append(row)
    shared = {key: _shared(same) for key, same in groups.items()}
    if len({source for source, _ in groups}) <= 2:  # all rows are those of one source
        shared["", ""] = ()
    common: dict[tuple[str, str], tuple[str, ...]] = {("", ""): shared.get(("", ""), ())}
    for (source, method), why in shared.items():
        if source:
            above = {*common["", ""], *(shared[source, ""] if method else ())}
            common[source, method] = tuple(each for each in why if each not in above)
    return common


def _shared(rows: Sequence[Comparison]) -> tuple[str, ...]:
    return tuple(each for each in rows[0].reasons if all(each in row.reasons for row in rows)) if rows else ()


def link_of(source: str) -> str:
    """Return the address of the paper or repository that a source names; empty if it names none.

    A source names a paper by `arXiv NUMBER`, and a repository by `OWNER/NAME` at its beginning or before the end of its
    first parenthesis.
    """
    if paper := re.search(r"arXiv (\d{4}\.\d{4,5})", source):
        return f"https://arxiv.org/abs/{paper[1]}"
    repository = re.match(r"(?:[^()/;]*\((?:[^();]*; )?)?([\w.-]+/[\w.-]+)(?=[ ,)])", source)
    return f"https://github.com/{repository[1]}" if repository else ""


def _counts(rows: Sequence[Comparison], **values: str) -> tuple[tuple[int, str], ...]:
    found = Counter(row.verdict for row in rows)
    return tuple((found[each], filtered(PAGE, **values, verdict=each)) for each in VERDICTS)


def _summaries(rows: Sequence[Comparison], choices: Choices) -> list[dict[str, Any]]:
    """Return the tables that count what agrees, by method and by dataset, for all rows and for each kind of them."""
    made = []
    for by, title in (("method", "Method"), ("dataset", "Dataset")):
        for kind in ("", *NUMBERS_OF):
            groups: dict[str, list[Comparison]] = defaultdict(list)
            for row in rows:
                values = choices.values(row.number)
                if kind in ("", values["kind"]):
                    groups[values[by]].append(row)
            same = [agreement(name, groups[name], **{by: name, "kind": kind}) for name in sorted(groups)]
            made.append({"by": by, "title": title, "kind": kind, "rows": same})
    return made


def agreement(title: str, rows: Sequence[Comparison], **values: str) -> Agreement:
    """Return how the results of some rows agree with the published numbers.

    Args:
        title: Of the rows.
        rows: At least one.
        values: By the names of the facets, what selects these rows.
    """
    differences = [row.difference for row in rows if row.difference is not None]
    counts = _counts(rows, **values)
    if not differences:
        return Agreement(title, counts, NOTHING, NOTHING)
    low, high = (shown_points(end(differences)) for end in (min, max))
    reach = ShownValue(f"{low.text} to {high.text}", low.sort)
    return Agreement(title, counts, shown_points(statistics.median(differences)), reach)


def _chart(rows: Sequence[Comparison], choices: Choices) -> Chart | None:
    points = [
        AgreementPoint(
            method=choices.method(row.number),
            row=_key(index),
            label=f"{row.label}, {place_of(row.number)}, {row.number.row.level} {row.number.heading}: {row.verdict}",
            published=row.number.row.value,
            ours=row.ours,
        )
        for index, row in enumerate(rows)
        if row.difference is not None and row.ours is not None
    ]
    return agreement_chart(points, tolerance=PUBLISHED_TOLERANCE, key="agreement") if points else None


def _key(index: int) -> str:
    """Return the id of a row on the page."""
    return f"p{index}"


def _rows(
    rows: Sequence[Comparison],
    report: ReportData,
    choices: Choices,
    common: Common,
) -> list[dict[str, Any]]:
    """Return a row per comparison, with the reasons that are not said once for all rows or for those of its source."""
    records = {record.id: record for record in report.records}
    datasets = {dataset.title: dataset for dataset in report.datasets}
    made = []
    for index, row in enumerate(rows):
        number = row.number
        record = records[row.records[0]]
        dataset = None if number.is_mean else datasets.get(record.dataset_title)
        classes = {} if dataset is None else {each.name: each.page for each in dataset.classes}
        ours = shown_value(row.ours, span=row.span, interval=row.interval)
        spread = [
            *([] if row.deviation is None else [f"± {row.deviation:.1f}"]),
            *([ours.spread] if ours.spread else []),
        ]
        of_source = [common[number.row.source, method] for method in ("", choices.method(number))]
        said = {each for why in (common["", ""], *of_source) for each in why}
        made.append(
            {
                "key": _key(index),
                "of": choices.places(number, *(facet.name for facet in choices.facets), verdict=row.verdict),
                "title": place_of(number),
                "page": classes.get(number.class_name or "", "" if dataset is None else dataset.page),
                "metric": f"{number.row.level} {number.heading}",
                "method": row.label,
                "published": ShownValue(number.printed, f"{number.row.value:.4f}"),
                "source": choices.sources[number.row.source],
                "ours": replace(
                    ours, spread=" ".join(spread), record="" if number.is_mean else report.anchor_of(record)
                ),
                "difference": NOTHING if row.difference is None else shown_points(row.difference),
                "verdict": row.verdict,
                "reasons": [each for each in row.reasons if each not in said],
                "more": any(of_source),
            }
        )
    return made
