"""Every number of the records, a row each with all that identifies it, and `results.csv`, made of these rows."""

from collections.abc import Iterable, Iterator

from benchmark.common import to_csv_text
from benchmark.protocol import Protocol
from benchmark.records import Record, range_over_classes
from benchmark.tables.comparable import table_stem
from benchmark.tables.tables import MEAN

RESULTS_COLUMNS = (
    *("method", "method_version", "dataset", "dataset_title", "images", "class", "defect", "seed"),
    *("auxiliary", "training", "backbone", "weights", "dtype", "protocol", "metrics_version"),
    *("metric", "value", "low", "high", "synthetic", "tables", "record", "year"),
)
"""Columns of `results.csv`: of what, how it was made, and the number."""
SHORTENED = ("images", "training", "weights")
"""Columns of `results.csv` with the beginning of a sha256 alone."""

Value = str | float | int | None


def known_of(record: Record) -> dict[str, Value]:
    """Return the values of a record that are the same in all of its rows: a sha256 in full, None where none is."""
    cell, data = record.cell, record.cell.dataset
    quirks = [f"{name}={value}" for name, value in cell.protocol if value != Protocol.model_fields[name].default]
    stems = [f"ablations/{table_stem(cell.method, row)}" for row in record.placement.ablations]
    return {
        "method": record.title,
        "method_version": cell.method_version,
        "dataset": data.name,
        "dataset_title": record.dataset_title,
        "images": data.fingerprint,
        "seed": cell.seed,
        "auxiliary": cell.auxiliary.name if cell.auxiliary else None,
        "training": record.training.sha256 if record.training else None,
        "backbone": cell.backbone.title,
        "weights": cell.backbone.sha256,
        "dtype": cell.backbone.dtype,
        "protocol": " ".join(quirks) or None,
        "metrics_version": cell.metrics_version,
        "synthetic": " ".join(record.synthetic) or None,
        "tables": " ".join(["main"] * record.placement.main + stems) or None,
        "record": record.id,
        "year": record.year,
    }


def numbers_of(record: Record) -> Iterator[dict[str, Value]]:
    """Yield the numbers of a record with their places; fractions, None where undefined.

    `low` and `high` are the range of a fragile metric: the least and the greatest value it takes when scores move by
    one part in a million. They are None for all other metrics and for records that were made before there were ranges.
    Rows of a kind of defect follow those of its class; the mean over the classes comes last. `is_mean` tells it from a
    class whose name is `mean`.
    """
    for class_name, defect, metrics, ranges in _places(record):
        place: dict[str, Value] = {"class": class_name or MEAN.lower(), "defect": defect, "is_mean": class_name is None}
        for metric, value in metrics.items():
            low, high = ranges.get(metric, (None, None))
            yield place | {"metric": metric, "value": value, "low": low, "high": high}


def _places(
    record: Record,
) -> Iterator[tuple[str | None, str | None, dict[str, float | None], dict[str, tuple[float, float]]]]:
    """Yield class, kind of defect (None for the class itself), metrics and ranges; the mean, of no class, last."""
    for name, result in record.classes.items():
        yield name, None, result.metrics, result.ranges
        for defect, of_kind in result.defects.items():
            yield name, defect, of_kind.metrics, of_kind.ranges
    yield None, None, record.mean, range_over_classes(record.classes.values())


def to_long_csv(records: Iterable[Record]) -> str:
    """Return every number of the records as CSV, a row each: fractions in full precision, empty where undefined."""
    rows: list[list[Value]] = [[*RESULTS_COLUMNS]]
    for record in sorted(records, key=lambda record: record.id):
        known = known_of(record)
        known |= {name: value[:12] for name in SHORTENED if isinstance(value := known[name], str)}
        rows += [[(known | number)[name] for name in RESULTS_COLUMNS] for number in numbers_of(record)]
    return to_csv_text(rows)
