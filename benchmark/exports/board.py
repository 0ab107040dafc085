"""Results for leaderboards, in the JSON in which Papers with Code published its tables.

The format is documented at https://github.com/paperswithcode/sota-extractor ("JSON format description"); the schema is
`sota_extractor/taskdb/v01/schemas.py` there. A file is a list of tasks with their datasets, a dataset has one table
(`sota`) with a row for each model. To these rows one key is added, `conditions`, which says how the numbers were made.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.common import printable
from benchmark.data import load_cards
from benchmark.errors import BenchError
from benchmark.metrics import METRICS
from benchmark.records import Record
from benchmark.tables import (
    METRICS_BESIDE,
    check_comparable,
    columns_of,
    main_records,
    mean_values,
    row_order,
    shots_of,
    spreads_over_seeds,
    trained_on,
)

ZERO_SHOT, FEW_SHOT = "Zero-Shot Anomaly Detection", "Few-Shot Anomaly Detection"
"""Names of tasks; in the second a method is shown normal images of the class."""
DECIMALS = 2

Json = dict[str, Any]


class BoardError(BenchError):
    """There is nothing that may stand on a leaderboard; the message says why and the way out."""


def board_json(
    records: Sequence[Record],
    *,
    metrics: Sequence[str] = METRICS_BESIDE,
    methods: Sequence[str] = (),
    papers: Mapping[str, str] | None = None,
) -> str:
    """Return results as the JSON of a leaderboard: a row for each method and dataset, values in percent.

    Values are means over the classes and over the seeds, as in the main tables; what is undefined is left out. Rows of
    ablations and cells that failed are no rows here. Results on generated data or with generated weights are refused:
    who reads the file could take them for real ones.

    Args:
        records: that are comparable.
        metrics: keys of the metrics; by default AUPRO is that of the papers' code, beside whose numbers it may stand.
        methods: names of methods in the order of their rows.
        papers: reference of the paper by the name of the method, where it is known.

    Raises:
        BoardError: Results are synthetic, or there is none.
        TableError: The records are not comparable.
    """
    done = [record for record in main_records(records) if record.status == "done"]
    if made_up := [record for record in done if record.synthetic]:
        what = " and ".join(sorted({each for record in made_up for each in record.synthetic}))
        raise BoardError(
            f"{len(made_up)} of {len(done)} results are synthetic (generated {what}) and no board may take them for "
            "real; write them to a .csv or .parquet file, which says so in every row"
        )
    if not done:
        raise BoardError("no finished results fit the selection; a board shows no others")
    check_comparable(done)
    titles = [column.title for column in columns_of(done, methods)]
    tasks: dict[str, dict[str, list[Record]]] = {ZERO_SHOT: defaultdict(list), FEW_SHOT: defaultdict(list)}
    for record in sorted(done, key=lambda record: (*row_order(record), titles.index(record.title), record.cell.seed)):
        tasks[FEW_SHOT if shots_of(record) else ZERO_SHOT][_title(record)].append(record)
    content = [
        {
            "task": task,
            "description": "Images are scored, and defects in them are localised.",
            "subtasks": [],
            "datasets": [_dataset(same, metrics, papers or {}) for same in by_dataset.values()],
            "source_link": None,
        }
        for task, by_dataset in tasks.items()
        if by_dataset
    ]
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _title(record: Record) -> str:
    """Return the title of the dataset, which may be a user's own, or its name where it has none."""
    return printable(record.dataset_title).strip() or record.cell.dataset.name


def _dataset(same: Sequence[Record], metrics: Sequence[str], papers: Mapping[str, str]) -> Json:
    data = same[0].cell.dataset
    card = load_cards().get(data.card_name)
    by_title: dict[str, list[Record]] = defaultdict(list)
    for record in same:
        by_title[record.title].append(record)
    rows = [_row(of_title, metrics, papers) for of_title in by_title.values()]
    shown = [_name(metric) for metric in metrics if any(_name(metric) in row["metrics"] for row in rows)]
    return {
        "dataset": _title(same[0]),
        "description": f"Percent. Unweighted mean over the classes ({len(same[0].classes)}) of the test images "
        f"{data.fingerprint[:12]} in the layout {data.layout}.",
        "subdatasets": [],
        "dataset_links": [{"title": card.title, "url": card.home}] if card is not None and card.home else [],
        "dataset_citations": [],
        "sota": {"metrics": shown, "rows": rows},
    }


def _row(same: Sequence[Record], metrics: Sequence[str], papers: Mapping[str, str]) -> Json:
    """Return the row of a method on a dataset, given its records under several seeds."""
    first = same[0]
    trained = f", trained on {trained_on(first)}" if first.cell.auxiliary else ""
    means = [record.mean for record in same]
    return {
        # A reader who passes over `conditions` still meets the two that move a number most.
        "model_name": f"{printable(first.title)} ({first.cell.backbone.title}{trained})",
        "paper_title": papers.get(first.cell.method, ""),
        "paper_url": "",
        "paper_date": None,
        "code_links": [],
        "model_links": [],
        "metrics": _by_name(metrics, mean_values(means, tuple(metrics))),
        "uses_additional_data": first.cell.auxiliary is not None,
        "conditions": _conditions(same)
        | {"standard_deviations": _by_name(metrics, spreads_over_seeds(means, tuple(metrics)))},
    }


def _conditions(same: Sequence[Record]) -> Json:
    """Return how the numbers of some records were made, which differ in the seed alone."""
    cell = same[0].cell
    return {
        "method": cell.method,
        "method_version": cell.method_version,
        "options": cell.model_dump(mode="json")["changed"],
        "auxiliary": trained_on(same[0]) if cell.auxiliary else None,
        "reference_images": shots_of(same[0]),
        "backbone": cell.backbone.title,
        "weights_sha256": cell.backbone.sha256,
        "dtype": cell.backbone.dtype,
        "image_size": same[0].image_size,
        "protocol": cell.protocol.model_dump(mode="json"),
        "metrics_version": cell.metrics_version,
        "card_version": cell.dataset.card_version,
        "test_images_sha256": cell.dataset.fingerprint,
        "scores_whole_class": same[0].scores_whole_class,
        "seeds": [record.cell.seed for record in same],
        "synthetic": list(same[0].synthetic),
        "records": [record.id for record in same],
    }


def _by_name(metrics: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    """Return values that are defined, rounded, by the name of their metric."""
    pairs = zip(metrics, values, strict=True)
    return {_name(metric): round(value, DECIMALS) for metric, value in pairs if value is not None}


def _name(metric: str) -> str:
    known = METRICS[metric]
    return f"{known.level.capitalize()} {known.heading}"
