"""The context of each page's template, as pure functions of the report's data."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.common import PUBLISHED_TOLERANCE, slug
from benchmark.data import load_cards
from benchmark.metrics import LEVELS, METRICS, ClassImages, Level
from benchmark.records import undefined_notes
from benchmark.report import charts, figures
from benchmark.report import leaderboard as boards
from benchmark.report.report_data import ClassPage, DatasetResults, ReportData
from benchmark.report.values import (
    HAS_RANGE,
    UNDEFINED,
    ShownValue,
    TableRow,
    class_rows,
    class_values,
    dataset_rows,
    defect_rows,
    mean_row,
    shown_value,
    table_row,
)
from benchmark.tables import (
    SECOND_HAND_NOTE,
    AblationTable,
    Column,
    Comparison,
    Ranking,
    compare,
    groups_of,
    learned_from,
    printed_metrics,
    whole_class_notes,
)
from benchmark.tables import Number as Published

TEXT_DATASETS = ("mvtec", "visa")
"""Datasets whose text embeddings are shown, as in Figure 5 of GenCLIP."""

Context = dict[str, Any]


def index(report: ReportData) -> Context:
    """Return the context of the leaderboard."""
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
                        "diagram": figures.diagram(found, key=heading),
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


@dataclass(frozen=True)
class NumberTable:
    """A table with a heading."""

    title: str
    rows: tuple[TableRow, ...]
    mean: TableRow | None


def dataset(report: ReportData, of: DatasetResults) -> Context:
    """Return the context of a dataset's page: a table per metric, with a row per class and a column per method."""
    tables = []
    for metric, named in METRICS.items():
        rows = class_rows(report, of, metric)
        if rows:
            mean = mean_row(report, of, metric) if len(rows) > 1 else None
            tables.append(NumberTable(f"{named.level} {named.heading}", tuple(rows), mean))
    of_kinds: list[NumberTable] = []
    if len(of.classes) == 1:  # one table with a row per metric is shorter than a table per metric with one row
        rows = class_page(report, of, of.classes[0])
        tables = [NumberTable("Results", tuple(rows), None)] if rows else []
        of_kinds = kinds(report, of, of.classes[0])
    published = [(each.normal, each.anomalous) for each in of.card.classes] if of.card else []
    known = [(normal, anomalous) for normal, anomalous in published if normal is not None and anomalous is not None]
    whole = bool(known) and len(known) == len(published)
    images = {
        "normal": sum(each.normal for each in of.classes),
        "anomalous": sum(each.anomalous for each in of.classes),
        "published": (sum(n for n, _ in known), sum(a for _, a in known)) if whole else None,
        "synthetic": "data" in of.records[0].synthetic,
    }
    skipped = max(sum(len(c.skipped) for c in record.classes.values()) for record in of.records)
    warnings = [
        *of.records[0].warnings,
        *([f"Images left out, as they or their masks cannot be used: {skipped}."] if skipped else []),
        *dict.fromkeys(note for record in of.records for note in undefined_notes(record)),
        *whole_class_notes(of.records),
    ]
    return {
        "dataset": of,
        "first": of.records[0],
        "tables": tables,
        "kinds": of_kinds,
        "images": images,
        "warnings": warnings,
    }


def class_page(report: ReportData, of: DatasetResults, shown: ClassPage) -> list[TableRow]:
    """Return the rows of a class, one per metric that is defined for at least one method."""
    rows = []
    for metric, named in METRICS.items():
        values = class_values(of, shown.name, metric, report.titles)
        if any(value is not None for value in values):
            name = f"{LEVELS[named.level]}: {named.heading}"
            rows.append(table_row(name, values, report, dataset=of, class_name=shown.name, metric=metric))
    return rows


def kinds(report: ReportData, of: DatasetResults, shown: ClassPage) -> list[NumberTable]:
    """Return a table per metric that is defined for a kind of defect of a class, with a row per kind."""
    found = {metric: defect_rows(report, of, shown.name, metric) for metric in METRICS}
    return [
        NumberTable(f"{METRICS[metric].level} {METRICS[metric].heading}", tuple(rows), None)
        for metric, rows in found.items()
        if rows
    ]


def ablations(tables: Sequence[AblationTable]) -> Context:
    """Return the context of the ablations: a section per ablation, with a chart and a table per level."""
    sections = []
    for table in tables:
        parts = []
        for position, grid in enumerate(table.grids):
            columns = []
            for name in grid.datasets:
                columns += [
                    column for metric in grid.metrics for column in (f"{name} {METRICS[metric].heading}", "change")
                ]
            rows = []
            for row, cells in grid.values.items():
                changes, shown = grid.changes[row], []
                for place, values in enumerate(cells):
                    for kind, value in enumerate(values):
                        shown += [shown_value(value), _change(None if changes is None else changes[place][kind])]
                rows.append({"title": row, "default": changes is None, "numbers": shown})
            heading = grid.title.rpartition(", ")[2].capitalize()
            chart = charts.ablation_chart(grid, f"{slug(table.stem)}-{position}")
            parts.append({"heading": heading, "columns": columns, "rows": rows, "chart": chart})
        title = table.grids[0].title.rpartition(", ")[0]
        sections.append({"key": slug(table.stem), "title": title, "parts": parts, "notes": table.notes})
    return {"sections": sections}


def _change(value: float | None) -> ShownValue:
    if value is None:
        return ShownValue("", "")
    shown = _points(value)
    return replace(shown, mark={"+": "up", "-": "down"}[shown.text[0]] if float(shown.text) else "")


def _points(value: float) -> ShownValue:
    """Return a difference with its sign. A value that rounds to −0.0 is shown as +0.0."""
    return ShownValue(f"{round(value, 1) + 0:+.1f}", f"{value:.4f}")


def training(report: ReportData) -> Context:
    """Return the context of the training curves. Trainings of ablations are listed separately."""
    main = {record.id for record in report.main}
    found = charts.training_charts([r for r in report.records if r.id in main])
    keys = {chart.key for chart in found}
    others = charts.training_charts([r for r in report.records if r.id not in main])
    return {"charts": found, "variants": [chart for chart in others if chart.key not in keys]}


def texts(report: ReportData, read: Mapping[str, Mapping[str, Mapping[str, ClassImages]]]) -> list[Context]:
    """Return the charts of text embeddings by dataset.

    Args:
        report: Data of the report.
        read: Results per image, by title of the dataset, method and class.
    """
    several = [each for each in report.datasets if each.title in read]
    chosen = [each for each in several if each.name in TEXT_DATASETS] or several[:2]
    sections = []
    for each in chosen:
        found = [figures.text_points(title, classes) for title, classes in read[each.title].items()]
        shown = [(i, text) for i, text in enumerate(found) if text.points]
        few = [text for text in found if not text.points and text.distinct]
        if shown or few:
            made = [charts.text_chart(each.title, text, f"texts-{each.slug}-{i}") for i, text in shown]
            sections.append({"dataset": each.title, "charts": made, "few": few})
    return sections


def published(report: ReportData, found: Sequence[Published]) -> Context:
    """Return the context of the published numbers and of their comparison with the results.

    Args:
        report: Data of the report.
        found: Published numbers.
    """
    rows = compare(found, report.records, tolerance=PUBLISHED_TOLERANCE)
    real = [row for row in rows if row.verdict not in ("synthetic", "not run")]
    tables = []
    for file in dict.fromkeys(number.file for number in found):
        for level, heading in LEVELS.items():
            same = [number for number in found if (number.file, number.row.level) == (file, level)]
            if same:
                tables.append(_published_table(f"{same[0].title}: {heading.lower()}", level, same))
    return {
        "compared": [_compared(row) for row in real],
        "verdicts": Counter(row.verdict.replace(" ", "_") for row in real),
        "tolerance": PUBLISHED_TOLERANCE,
        "second_hand": SECOND_HAND_NOTE if any(number.conditions.second_hand for number in found) else "",
        "tables": tables,
    }


def _compared(row: Comparison) -> Context:
    number = row.number
    return {
        "dataset": number.dataset_title,
        "class_name": number.class_name,
        "metric": f"{number.row.level} {number.heading}",
        "title": row.label,
        "published": ShownValue(number.printed, f"{number.row.value:.4f}"),
        "ours": shown_value(row.ours, span=row.span, interval=row.interval),
        "deviation": "" if row.deviation is None else f"± {row.deviation:.1f}",
        "difference": _points(row.difference) if row.difference is not None else ShownValue(UNDEFINED, ""),
        "verdict": row.verdict,
        "reasons": row.reasons,
        "source": number.row.source,
    }


def _published_table(title: str, level: Level, same: Sequence[Published]) -> Context:
    printed = {number.row.metric for number in same}
    metrics = [metric for metric in printed_metrics(level) if metric in printed]
    methods = list(dict.fromkeys(number.row.method for number in same))
    places: dict[tuple[str, str | None], dict[tuple[str, str], Published]] = defaultdict(dict)
    for number in same:
        places[number.dataset_title, number.class_name][number.row.method, number.row.metric] = number
    rows = []
    for (name, class_name), values in places.items():
        cells = []
        for method in methods:
            for metric in metrics:
                found = values.get((method, metric))
                text = ShownValue(UNDEFINED, "") if found is None else ShownValue(found.printed, str(found.row.value))
                cells.append(text)
        rows.append({"title": name + (f": {class_name}" if class_name else ""), "numbers": cells})
    return {
        "title": title,
        "columns": [f"{method} {METRICS[f'{level}_{metric}'].heading}" for method in methods for metric in metrics],
        "rows": rows,
        "sources": list(dict.fromkeys(number.row.source for number in same)),
    }
