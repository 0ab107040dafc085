"""The page of the published numbers."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from benchmark.common import PUBLISHED_TOLERANCE
from benchmark.metrics import LEVELS, METRICS, Level
from benchmark.report.report_data import ReportData
from benchmark.report.values import UNDEFINED, ShownValue, shown_points, shown_value
from benchmark.tables import SECOND_HAND_NOTE, Comparison, compare, printed_metrics
from benchmark.tables import Number as Published


def published_page(report: ReportData, found: Sequence[Published]) -> dict[str, Any]:
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


def _compared(row: Comparison) -> dict[str, Any]:
    number = row.number
    return {
        "dataset": number.dataset_title,
        "class_name": number.class_name,
        "metric": f"{number.row.level} {number.heading}",
        "title": row.label,
        "published": ShownValue(number.printed, f"{number.row.value:.4f}"),
        "ours": shown_value(row.ours, span=row.span, interval=row.interval),
        "deviation": "" if row.deviation is None else f"± {row.deviation:.1f}",
        "difference": shown_points(row.difference) if row.difference is not None else ShownValue(UNDEFINED, ""),
        "verdict": row.verdict,
        "reasons": row.reasons,
        "source": number.row.source,
    }


def _published_table(title: str, level: Level, same: Sequence[Published]) -> dict[str, Any]:
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
