"""Numbers as the pages show them: in percent, with intervals and marks, "–" where undefined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.report.gather import Dataset, Estimates, Material
from benchmark.tables import (
    WIDE_MARK,
    WIDE_NOTE,
    Estimate,
    Ranking,
    best_and_second,
    is_wide,
    mean_range,
    mean_values,
    rankings,
)

UNDEFINED = "–"
EVERY_DOMAIN = "all"


@dataclass(frozen=True)
class Number:
    """A metric as shown."""

    text: str
    sort: str
    """What it is sorted by; empty where undefined."""
    more: str = ""
    """Interval, and spread over seeds; the range of a value that last digits of the scores move."""
    mark: str = ""
    """best or second, among its row as printed."""
    hint: str = ""
    """How far it is behind the best, or why it has a range."""
    alike: bool = False
    """The images do not tell it from the best."""


@dataclass(frozen=True)
class Row:
    """A row of numbers."""

    title: str
    page: str | None
    domain: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Standing:
    """A row of the leaderboard."""

    title: str
    mean: Number
    rank: Number
    best_on: int
    datasets: int
    """On how many of the datasets that have the metric the method has been run."""
    ticks: tuple[float, ...]
    """Its datasets on the axis of the view, from 0 to 100."""
    middle: float | None
    """Its mean on that axis."""


@dataclass(frozen=True)
class View:
    """The leaderboard of a domain by a metric."""

    domain: str
    metric: str
    standings: tuple[Standing, ...]
    complete: int
    """Datasets that the mean is over: those on which every method has the metric."""
    known: int
    """Datasets on which any method has it."""
    low: int
    """Where the axis of the ticks begins, in percent; it ends at 100."""


def number(
    value: float | None, estimate: Estimate | None = None, mark: str = "", span: tuple[float, float] | None = None
) -> Number:
    """Return a percentage as shown; `span` is the range of a fragile metric."""
    if value is None:
        return Number(UNDEFINED, "")
    parts, hint, alike = [], "", False
    if estimate is not None:
        if estimate.std is not None:
            parts.append(f"± {100 * estimate.std:.1f}")
        if estimate.low is not None and estimate.high is not None:
            parts.append(f"[{100 * estimate.low:.1f}–{100 * estimate.high:.1f}]")
        if estimate.behind is not None:
            behind, low, high = (f"{100 * each:.1f}" for each in estimate.behind)
            hint, alike = f"{behind} points behind the best, paired interval {low} to {high}", estimate.not_apart
    if span is not None and is_wide(span):
        parts.append(f"{WIDE_MARK} {span[0]:.1f}–{span[1]:.1f}")
        hint = WIDE_NOTE
    return Number(f"{value:.1f}", f"{value:.4f}", " ".join(parts), mark, hint, alike)


def dataset_values(dataset: Dataset, metric: str, titles: Sequence[str]) -> list[float | None]:
    """Return the mean over classes (and seeds) by method in percent."""
    return [
        mean_values([record.mean for record in dataset.records if record.title == title], (metric,))[0]
        for title in titles
    ]


def class_values(dataset: Dataset, name: str, metric: str, titles: Sequence[str]) -> list[float | None]:
    """Return the numbers of a class (mean over seeds) by method in percent."""
    return [
        mean_values(
            [r.classes[name].metrics for r in dataset.records if r.title == title and name in r.classes], (metric,)
        )[0]
        for title in titles
    ]


def row(
    title: str,
    values: Sequence[float | None],
    *,
    dataset: Dataset,
    class_name: str | None,
    metric: str,
    titles: Sequence[str],
    estimates: Estimates,
    page: str | None = None,
    domain: str = "",
) -> Row:
    """Return a row of numbers by method with their estimates and ranges, of a class or, for None, of their mean."""
    found = [estimates.get((method, dataset.title, class_name, metric)) for method in titles]
    spans = [mean_range([r for r in dataset.records if r.title == method], class_name, metric) for method in titles]
    marked = best_and_second(values, METRICS[metric])
    shown = [number(*each) for each in zip(values, found, marked, spans, strict=True)]
    highest = max((round(value, 1) for value in values if value is not None), default=None)
    # What looks like the best needs no word on whether it can be told from it.
    told = [
        replace(each, alike=each.alike and value is not None and round(value, 1) != highest)
        for each, value in zip(shown, values, strict=True)
    ]
    return Row(title, page, domain, tuple(told))


def matrix(material: Material, metric: str) -> list[Row]:
    """Return the datasets by methods, without those on which the metric is defined for none."""
    rows = []
    for dataset in material.datasets:
        values = dataset_values(dataset, metric, material.titles)
        if any(value is not None for value in values):
            rows.append(
                row(
                    dataset.title,
                    values,
                    dataset=dataset,
                    class_name=None,
                    metric=metric,
                    titles=material.titles,
                    estimates=material.estimates,
                    page=dataset.page,
                    domain=dataset.domain,
                )
            )
    return rows


def class_rows(material: Material, dataset: Dataset, metric: str) -> list[Row]:
    """Return the classes of a dataset by methods, then their mean; none where the metric is undefined throughout."""
    rows = []
    for each in dataset.classes:
        values = class_values(dataset, each.name, metric, material.titles)
        rows.append(
            row(
                each.name,
                values,
                dataset=dataset,
                class_name=each.name,
                metric=metric,
                titles=material.titles,
                estimates=material.estimates,
                page=each.page,
            )
        )
    if all(shown.text == UNDEFINED for each in rows for shown in each.numbers):
        return []
    return rows


def mean_row(material: Material, dataset: Dataset, metric: str) -> Row:
    """Return the mean over the classes of a dataset."""
    values = dataset_values(dataset, metric, material.titles)
    return row(
        "Mean over classes",
        values,
        dataset=dataset,
        class_name=None,
        metric=metric,
        titles=material.titles,
        estimates=material.estimates,
    )


def domains(material: Material) -> list[str]:
    """Return the domains to choose from."""
    found = list(dict.fromkeys(dataset.domain for dataset in material.datasets))
    return [EVERY_DOMAIN, *found] if len(found) > 1 else [EVERY_DOMAIN]


def view(material: Material, domain: str, metric: str, ranks: Mapping[str, float]) -> View | None:
    """Return a leaderboard, the best mean first; None where no dataset of the domain has the metric."""
    chosen = [d for d in material.datasets if domain in (EVERY_DOMAIN, d.domain)]
    values = [dataset_values(dataset, metric, material.titles) for dataset in chosen]
    known = [each for each in values if any(value is not None for value in each)]
    if not known:
        return None
    columns = list(zip(*known, strict=True))
    taking_part = [any(value is not None for value in column) for column in columns]
    full = [
        each for each in known if all(value is not None for value, part in zip(each, taking_part, strict=True) if part)
    ]
    means = [
        sum(column) / len(full) if full and part else None
        for column, part in zip(
            [[each[index] or 0.0 for each in full] for index in range(len(columns))], taking_part, strict=True
        )
    ]
    marked = [best_and_second(each, METRICS[metric]) for each in known]
    best = [sum(each[index] == "best" for each in marked) for index in range(len(columns))]
    low = min(90, *(int(value // 10 * 10) for each in known for value in each if value is not None))
    standings = [
        Standing(
            title=title,
            mean=number(mean, mark=mark),
            rank=Number(f"{ranks[title]:.2f}", f"{ranks[title]:.4f}") if title in ranks else Number(UNDEFINED, ""),
            best_on=best[index],
            datasets=sum(value is not None for value in columns[index]),
            ticks=tuple(place(value, low) for value in columns[index] if value is not None),
            middle=None if mean is None else place(mean, low),
        )
        for index, (title, mean, mark) in enumerate(
            zip(material.titles, means, best_and_second(means, METRICS[metric]), strict=True)
        )
    ]
    standings.sort(key=lambda each: -float(each.mean.sort or "-1"))
    return View(domain, metric, tuple(standings), len(full), len(known), low)


def place(value: float, low: int) -> float:
    """Return where a percentage lies on an axis from `low` to 100, as a percentage of its length."""
    return round(100 * (value - low) / (100 - low), 2)


def all_rankings(records: Sequence[Record]) -> dict[str, Ranking]:
    """Return the ranking of the methods by every metric that has one."""
    return {each.metric: each for each in rankings(records, tuple(METRICS))}
