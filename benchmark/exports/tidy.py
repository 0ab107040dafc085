"""The numbers of records as a tidy data frame, a row each, and the frame as CSV and Parquet."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from benchmark.common import require_extra, to_csv_text
from benchmark.protocol import Protocol
from benchmark.records import Record, package_version
from benchmark.tables import RESULTS_COLUMNS, estimates_of, known_of, numbers_of

if TYPE_CHECKING:
    import pandas as pd

TEXT, WHOLE, TRUTH, NUMBER = "string", "Int64", "boolean", "float64"
"""Types of columns, as pandas names them; all know missing values."""


def _type_of(annotation: Any) -> str:
    kinds = {annotation, *get_args(annotation)}
    return TRUTH if bool in kinds else WHOLE if int in kinds else TEXT


_TYPES = {
    **dict.fromkeys(("method_version", "seed", "metrics_version", "year"), WHOLE),
    **dict.fromkeys(("value", "low", "high"), NUMBER),
}
"""Columns of `results.csv` that are no texts."""
COLUMNS: dict[str, str] = {
    **{name: _TYPES.get(name, TEXT) for name in RESULTS_COLUMNS},
    **dict.fromkeys(("method_key", "options", "changed", "domain"), TEXT),
    "card_version": WHOLE,
    **dict.fromkeys(("layout", "level"), TEXT),
    "is_mean": TRUTH,
    **dict.fromkeys(("interval_low", "interval_high"), NUMBER),
    **dict.fromkeys(("status", "error"), TEXT),
    "image_size": WHOLE,
    **{f"protocol_{name}": _type_of(field.annotation) for name, field in Protocol.model_fields.items()},
    **dict.fromkeys(("created", "device", "machine", "git_commit"), TEXT),
}
"""Column → type: those of `results.csv`, and further ones."""


def frame(records: Iterable[Record], *, metrics: Sequence[str] = ()) -> "pd.DataFrame":
    """Return the numbers of records as a tidy data frame: a row for each class, kind of defect and metric of a cell.

    A value is a fraction in [0, 1]; it is missing where it is undefined, and so is everything else that there is not.
    Rows of the mean over the classes have the class `mean`. A cell that failed is one row without class, metric and
    value, with the status `failed` and the error. The columns are those of `results.csv`, with each sha256 in full, and
    further ones; docs/results.md explains them.

    Args:
        records: in any order; rows are in the order of their ids.
        metrics: keys of the metrics that are kept; none means all.
    """
    import pandas as pd

    rows = [
        row
        for record in sorted(records, key=lambda record: record.id)
        for row in _rows(record)
        if not metrics or row.get("metric") in metrics or record.status == "failed"
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    known = known_of(record) | _more_of(record)
    if record.status == "failed":
        yield known
        return
    intervals = {(each.class_name, each.metric): (each.low, each.high) for each in estimates_of([record])}
    for number in numbers_of(record):
        place = (None if number["is_mean"] else str(number["class"]), str(number["metric"]))
        low, high = intervals.get(place, (None, None)) if number["defect"] is None else (None, None)
        level = place[1].partition("_")[0]
        yield known | number | {"level": level, "interval_low": low, "interval_high": high}


def _more_of(record: Record) -> dict[str, Any]:
    """Return what a frame says of a record besides what is in `results.csv`."""
    cell = record.cell
    return {
        "method_key": cell.method,
        "options": json.dumps(cell.options, sort_keys=True),
        "changed": json.dumps(cell.changed, sort_keys=True),
        "domain": record.domain,
        "card_version": cell.dataset.card_version,
        "layout": cell.dataset.layout,
        "status": record.status,
        "error": record.error,
        "image_size": record.image_size,
        **{f"protocol_{name}": value for name, value in cell.protocol},
        "created": record.run.created,
        "device": record.run.device,
        "machine": record.run.machine,
        "git_commit": record.run.git_commit,
    }


def to_csv(table: "pd.DataFrame") -> str:
    """Return a frame as CSV: numbers in full precision, empty where missing, and no text that is a formula."""
    names, missing = [str(name) for name in table.columns], table.isna()
    columns = [
        [None if lacks else value for value, lacks in zip(table[name].tolist(), missing[name], strict=True)]
        for name in names
    ]
    return to_csv_text([names, *zip(*columns, strict=True)])


def to_parquet(table: "pd.DataFrame") -> bytes:
    """Return a frame as a Parquet file, whose metadata hold the version of zsad-bench under `zsad-bench`.

    `pandas.read_parquet` gives the same frame back. The same frame gives the same bytes with the same versions of
    pandas and pyarrow.

    Raises:
        BenchError: pyarrow is not installed.
    """
    require_extra("parquet", ["pyarrow"], user="Parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.Table.from_pandas(table, preserve_index=False)
    said = {b"zsad-bench": package_version("zsad-bench").encode()}
    written = io.BytesIO()
    pq.write_table(content.replace_schema_metadata({**content.schema.metadata, **said}), written)
    return written.getvalue()
