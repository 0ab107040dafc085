"""Runs of official codes on miniatures: what they learned, imported, against what their test codes gave."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.mini.plan import shots
from benchmark.mini.suite import make_suite
from benchmark.records.agreement import range_over_classes
from benchmark.records.records import Record, read_records

GOLDEN = Path(__file__).parents[1] / "golden/official_run"
MASKS = ["--set", "protocol.mask_gt0=true"]
"""Their loaders call every pixel above zero anomalous."""

Bench = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Official:
    """A checkpoint that an official code learned on MVTec AD's miniature, with the results of its test code."""

    method: str
    checkpoint: Path
    """Its file; `results.csv` lies beside it."""
    options: tuple[str, ...] = ()
    """Options that its training differed in from the defaults."""

    def published(self) -> list[tuple[str, str, str, float]]:
        """Return dataset, class, metric and value."""
        with (self.checkpoint.parent / "results.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        percent = "percent" if "percent" in rows[0] else "official_percent"
        names = {"pixel_aupro": "pixel_aupro_200"}  # what AnomalyCLIP's code calls so
        return [
            (row["dataset"], row["class"], names.get(row["metric"], row["metric"]), float(row[percent]) / 100)
            for row in rows
        ]

    def datasets(self) -> list[str]:
        """Return the datasets that have results."""
        return list(dict.fromkeys(dataset for dataset, *_ in self.published()))

    def draw(self, folder: Path) -> None:
        """Draw the test images of these datasets."""
        make_suite(folder, which=[s for s in shots() if s.dataset in self.datasets() and s.split == "test"])

    def imported(self, bench: Bench, results: Path, *settings: str) -> str:
        """Import the checkpoint; returns what `--checkpoint` takes, after checking that the options are told."""
        arguments = ["import-checkpoint", self.checkpoint, "--auxiliary", "mvtec", "--backbone", "mini:v2"]
        code, out, err = bench(*arguments, "--results", results, "--method", self.method, *settings)
        assert code == 0, err
        assert all(f"--set {self.method}.{option}" in err for option in self.options)
        return out.strip()

    def run(self, bench: Bench, data: Path, results: Path, checkpoint: str, *arguments: str) -> dict[str, Record]:
        """Run the method with the checkpoint; returns the records by dataset."""
        settings = [*MASKS, *(word for option in self.options for word in ("--set", f"{self.method}.{option}"))]
        common = ["--methods", self.method, "--checkpoint", checkpoint, "--data", data, "--results", results]
        code, _, err = bench("run", *common, *settings, "--workers", 0, *arguments)
        assert code == 0, err
        records, _ = read_records(results)
        return {record.cell.dataset.name: record for record in records}

    def compared(self, records: dict[str, Record]) -> Iterator[tuple[tuple[str, str, str], float, float | None, float]]:
        """Yield place, the official value, ours, and for a step function the distance from where ours may lie."""
        for dataset, class_name, metric, value in self.published():
            record = records[dataset]
            # Of a dataset of one class that has another name in the official code, it is the mean.
            result = {**record.classes, "MEAN": None}[class_name] if len(record.classes) > 1 else None
            values = record.mean if result is None else result.metrics
            ranges = range_over_classes(record.classes.values()) if result is None else result.ranges
            low, high = ranges.get(metric, (value, value))
            yield (dataset, class_name, metric), value, values[metric], max(low - value, value - high, 0)
