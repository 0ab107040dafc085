"""What each page is filled with, as pure functions of the material."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark.data import SampleSet, load_cards
from benchmark.metrics import LEVELS, METRICS, ClassImages, Level
from benchmark.records import Record
from benchmark.report import charts, figures, numbers
from benchmark.report.gather import ClassPage, Dataset, Material
from benchmark.report.names import slug
from benchmark.report.numbers import UNDEFINED
from benchmark.tables import WIDE_MARK, WIDE_NOTE, Comparison, Ranking, compare, printed_metrics
from benchmark.tables import Number as Published

if TYPE_CHECKING:
    from benchmark.tables import AblationTable

TOLERANCE = 1.0
"""How far, in points, a result may be from a published number to count as the same."""
TEXT_DATASETS = ("mvtec", "visa")
"""Whose text embeddings are shown, as in GenCLIP's Figure 5."""

Context = dict[str, Any]


def index(material: Material) -> Context:
    """Return what the leaderboard shows."""
    views, diagrams = [], []
    ranked = {
        domain: numbers.all_rankings([r for r in material.main if domain in (numbers.EVERY_DOMAIN, r.domain)])
        for domain in numbers.domains(material)
    }
    for metric, named in METRICS.items():
        for domain, of_domain in ranked.items():
            found = of_domain.get(metric)
            made = numbers.view(material, domain, metric, found.ranks if found else {})
            if made is None:
                continue
            heading = f"{named.level} {named.heading}" + ("" if domain == numbers.EVERY_DOMAIN else f", {domain}")
            views.append({**vars(made), "heading": heading, "note": _note(made)})
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
    known = {view["metric"] for view in views}
    matrices = {metric: numbers.matrix(material, metric) for metric in METRICS if metric in known}
    is_wide = any(WIDE_MARK in n.more for rows in matrices.values() for row in rows for n in row.numbers)
    return {
        "views": views,
        "diagrams": diagrams,
        "matrices": matrices,
        "metrics": [(metric.key, metric.level, metric.heading) for metric in METRICS.values() if metric.key in known],
        "levels": list(dict.fromkeys(metric.level for metric in METRICS.values() if metric.key in known)),
        "domains": numbers.domains(material),
        "titles": material.titles,
        "trained": {title: trained_on(material, title) for title in material.titles},
        "notes": [*material.notes, *([WIDE_NOTE] if is_wide else [])],
    }


def _note(view: numbers.View) -> str:
    if not view.complete:
        return "No dataset has been run with every method, so there is no mean."
    over = f"Mean over the {view.complete} datasets"
    if view.complete < view.known:
        over += f" of {view.known} that every method has been run on"
    return (
        f"{over}, each the unweighted mean of its classes, in percent. Best on: the datasets with the highest number. "
        f"Spread: its datasets from {view.low} to 100, the mean thick."
    )


def _ranked(found: Ranking, heading: str) -> str:
    over = f"{heading}: average ranks over {len(found.datasets)} datasets"
    if found.friedman_p is None:
        return f"{over}; too few for a test."
    return (
        f"{over}, 1 the best. Friedman p = {found.friedman_p:.2g}. Methods joined by a bar are not told apart at 0.05 "
        f"(Nemenyi); the critical difference is {found.critical_difference:.2f}."
    )


def trained_on(material: Material, title: str) -> str:
    """Return the auxiliary datasets of a method, or that there is none."""
    same = [record for record in material.main if record.title == title]
    names = dict.fromkeys(r.cell.auxiliary.name for r in same if r.cell.auxiliary is not None)
    cards = load_cards()
    found = [cards[name].title if name in cards else name for name in names]
    shots = "" if all(r.cell.references is None for r in same) else ", shown normal images"
    return (", ".join(found) if found else "nothing") + shots


@dataclass(frozen=True)
class NumberTable:
    """A table of numbers with a heading."""

    title: str
    rows: tuple[numbers.Row, ...]
    mean: numbers.Row | None


def dataset(material: Material, of: Dataset) -> Context:
    """Return the numbers of a dataset: a table per metric, classes by methods."""
    tables = []
    for metric, named in METRICS.items():
        rows = numbers.class_rows(material, of, metric)
        if rows:
            mean = numbers.mean_row(material, of, metric) if len(rows) > 1 else None
            tables.append(NumberTable(f"{named.level} {named.heading}", tuple(rows), mean))
    if len(of.classes) == 1:  # one row each: a table with a row per metric says it shorter
        rows = class_page(material, of, of.classes[0])
        tables = [NumberTable("Results", tuple(rows), None)]
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
    warnings = [*of.records[0].warnings, *([f"{skipped} unreadable images were left out."] if skipped else [])]
    return {
        "dataset": of,
        "first": of.records[0],
        "tables": tables,
        "images": images,
        "warnings": warnings,
        "titles": material.titles,
    }


def class_page(material: Material, of: Dataset, shown: ClassPage) -> list[numbers.Row]:
    """Return the numbers of a class, a row per metric that is defined for any method."""
    rows = []
    for metric, named in METRICS.items():
        values = numbers.class_values(of, shown.name, metric, material.titles)
        if any(value is not None for value in values):
            row = numbers.row(
                f"{LEVELS[named.level]}: {named.heading}",
                values,
                dataset=of,
                class_name=shown.name,
                metric=metric,
                titles=material.titles,
                estimates=material.estimates,
            )
            rows.append(row)
    return rows


def ablations(tables: Sequence["AblationTable"]) -> Context:
    """Return a section per ablation: a chart and a table per level."""
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
                        shown += [numbers.number(value), _change(None if changes is None else changes[place][kind])]
                rows.append({"title": row, "default": changes is None, "numbers": shown})
            heading = grid.title.rpartition(", ")[2].capitalize()
            chart = charts.ablation_chart(grid, f"{slug(table.stem)}-{position}")
            parts.append({"heading": heading, "columns": columns, "rows": rows, "chart": chart})
        title = table.grids[0].title.rpartition(", ")[0]
        sections.append({"key": slug(table.stem), "title": title, "parts": parts, "notes": table.notes})
    return {"sections": sections}


def _change(value: float | None) -> numbers.Number:
    if value is None:
        return numbers.Number("", "")
    shown = _points(value)
    return replace(shown, mark={"+": "up", "-": "down"}[shown.text[0]] if float(shown.text) else "")


def _points(value: float) -> numbers.Number:
    """Return a difference; a rounded −0.0 becomes 0.0."""
    return numbers.Number(f"{round(value, 1) + 0:+.1f}", f"{value:.4f}")


def training(material: Material) -> Context:
    """Return the curves of all trainings, those of ablations apart."""
    main = {record.id for record in material.main}
    found = charts.training_charts([r for r in material.records if r.id in main])
    keys = {chart.key for chart in found}
    others = charts.training_charts([r for r in material.records if r.id not in main])
    return {"charts": found, "variants": [chart for chart in others if chart.key not in keys]}


def texts(material: Material, read: Mapping[str, Mapping[str, Mapping[str, ClassImages]]]) -> list[Context]:
    """Return the text embeddings by dataset; `read` gives results per image by dataset, method and class."""
    several = [each for each in material.datasets if each.title in read]
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


def published(material: Material, found: Sequence[Published]) -> Context:
    """Return the comparison with published numbers, and these alone."""
    rows = compare(found, material.main, tolerance=TOLERANCE)
    real = [row for row in rows if row.verdict not in ("synthetic", "not run")]
    tables = []
    for file in dict.fromkeys(number.file for number in found):
        for level, heading in LEVELS.items():
            same = [number for number in found if (number.file, number.row.level) == (file, level)]
            if same:
                tables.append(_published_table(f"{same[0].title}: {heading.lower()}", level, same))
    return {
        "compared": [_compared(row) for row in real],
        "verdicts": {name: sum(row.verdict == name for row in real) for name in ("within", "differs", "undefined")},
        "tolerance": TOLERANCE,
        "tables": tables,
    }


def _compared(row: Comparison) -> Context:
    number = row.number
    return {
        "dataset": number.card.title,
        "class_name": number.class_name,
        "metric": f"{number.row.level} {number.heading}",
        "title": row.title,
        "published": numbers.Number(f"{number.row.value:.1f}", f"{number.row.value:.4f}"),
        "ours": numbers.number(row.ours, span=row.span),
        "deviation": "" if row.deviation is None else f"± {row.deviation:.1f}",
        "difference": _points(row.difference) if row.difference is not None else numbers.Number(UNDEFINED, ""),
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
        places[number.card.title, number.class_name][number.row.method, number.row.metric] = number
    rows = []
    for (name, class_name), values in places.items():
        cells = []
        for method in methods:
            for metric in metrics:
                found = values.get((method, metric))
                value = None if found is None else found.row.value
                cells.append(
                    numbers.Number(UNDEFINED, "") if value is None else numbers.Number(f"{value:.1f}", str(value))
                )
        rows.append({"title": name + (f": {class_name}" if class_name else ""), "numbers": cells})
    return {
        "title": title,
        "columns": [f"{method} {METRICS[f'{level}_{metric}'].heading}" for method in methods for metric in metrics],
        "rows": rows,
        "sources": list(dict.fromkeys(number.row.source for number in same)),
    }


def about(material: Material, record_files: Mapping[str, str]) -> Context:
    """Return how the numbers were made."""
    done = [record for record in material.records if record.status == "done"]
    trainings = {r.training.checkpoint: r.training for r in done if r.training is not None}
    backbones: dict[tuple[str, str, str, str], set[int]] = defaultdict(set)
    for record in done:
        b = record.cell.backbone
        backbones[b.name, b.architecture, b.dtype, b.sha256] |= {record.image_size} if record.image_size else set()
    cells = []
    for record in material.records:
        values = [record.mean.get(metric) for metric in ("image_auroc", "pixel_auroc")]
        image, pixel = (numbers.number(None if value is None else 100 * value) for value in values)
        seconds = f"{record.run.seconds['total']:.1f}" if "total" in record.run.seconds else ""
        cells.append(
            {"record": record, "image": image, "pixel": pixel, "seconds": seconds, "file": record_files[record.id]}
        )
    first = material.records[0].cell.protocol
    return {
        "notes": material.notes,
        "protocol": {key: str(value).lower() for key, value in first},
        "metrics_versions": sorted({record.cell.metrics_version for record in material.records}),
        "seeds": sorted({record.cell.seed for record in material.records}),
        "backbones": [
            {
                "name": n,
                "architecture": a,
                "dtype": d,
                "sha256": s,
                "sizes": ", ".join(f"{each} px" for each in sorted(z)),
            }
            for (n, a, d, s), z in sorted(backbones.items())
        ],
        "trainings": [trainings[key] for key in sorted(trainings)],
        "environments": _environments(material.records),
        "failed": material.failed,
        "cells": cells,
    }


def _environments(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return each environment that records were made in, with how many there were."""
    found: dict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for record in records:
        run = record.run
        described = {
            "git commit": run.git_commit or "not from a checkout",
            "machine": run.machine,
            "device": run.device,
            "python": run.python,
            **run.packages,
        }
        found[tuple(described.items())] += 1
    return [{"records": str(count), **dict(key)} for key, count in sorted(found.items(), key=lambda pair: -pair[1])]


def no_images(of: Dataset, samples: SampleSet | None, *, maps: bool) -> str:
    """Return why the gallery of a dataset is left out, and how to get it; empty where nothing is missing."""
    if not maps:
        return "There are no results per image beside these records; `bench run --force` makes them, for the gallery."
    if samples is None and of.card is None:
        return f"{of.title} is no dataset with a card, so its images are not looked for."
    if samples is None:
        return f"The images of {of.title} were not found; `bench report --data DIR` says where the datasets lie."
    if samples.fingerprint != of.fingerprint:
        return (
            f"The images in {samples.directory.name} are not those that the records of {of.title} were made from; "
            f"--data-path {of.name}=DIR names others."
        )
    return ""
