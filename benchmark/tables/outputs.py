"""Everything below `tables/` as a function of records: the files, and whether they are current."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.common import write_whole
from benchmark.metrics import MAIN_METRICS
from benchmark.records import Record
from benchmark.tables import ranks, uncertainty
from benchmark.tables.ablations import ablation_files, make_ablations
from benchmark.tables.comparable import main_records
from benchmark.tables.cost import cost_files, cost_tables
from benchmark.tables.render import table_files
from benchmark.tables.tables import Table, make_tables

GENERATED = (".md", ".tex", ".csv")
DIFF_LINES = 40
"""Of a file's difference, as many are shown."""


@dataclass(frozen=True)
class Outputs:
    """The tables of some records, and all files made of them."""

    tables: list[Table]
    files: dict[str, str]
    """Contents by path below `tables/`."""


def make_outputs(
    records: Sequence[Record],
    *,
    metrics: Sequence[str] = MAIN_METRICS,
    methods: Sequence[str] = (),
) -> Outputs:
    """Return the main tables, those per class, with intervals, of ranks, costs and ablations, and `results.csv`.

    Args:
        records: that count.
        metrics: keys of the metrics of the main tables, those per class and of ranks.
        methods: names of methods in the order of the columns of these tables.

    Raises:
        TableError: the records are not comparable.
    """
    main = main_records(records)
    files = {f"ablations/{name}": text for name, text in ablation_files(make_ablations(records)).items()}
    tables_of_main = make_tables(main, metrics=metrics, methods=methods)
    files |= table_files(tables_of_main, records)
    files |= cost_files(cost_tables(records, methods))
    done = [record for record in main if record.status == "done"]
    estimates = uncertainty.estimates(done)
    files |= {
        "uncertainty.md": uncertainty.render(estimates, main, methods),
        "uncertainty.csv": uncertainty.to_csv(estimates),
        "ranks.md": ranks.render(ranks.rankings(done, metrics), main, methods, metrics),
    }
    return Outputs(tables_of_main, {name: text for name, text in files.items() if text})


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write files below a directory, each whole.

    Raises:
        OSError: the directory cannot be written.
        ValueError: a name leads out of it.
    """
    for name, text in files.items():
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            raise ValueError(f"{name} is no name of a file below {directory}")
        write_whole(directory / name, text)


def differences(directory: Path, files: Mapping[str, str]) -> list[str]:
    """Return in which way files of a directory are not as they would be if they were written anew: a diff for each."""
    found = []
    for name, text in sorted(files.items()):
        path = directory / name
        before = path.read_bytes().decode(errors="replace") if path.is_file() else None
        if before is None:
            found.append(f"{path}: missing")
        elif before != text:
            lines = difflib.unified_diff(
                before.splitlines(), text.splitlines(), str(path), "made from the records", lineterm="", n=1
            )
            found.append("\n".join(itertools.islice(lines, DIFF_LINES)) or f"{path}: differs in its line ends")
    return found


def left_over(directory: Path, files: Mapping[str, str]) -> list[Path]:
    """Return the tables in a directory that are none of the files: earlier records gave them."""
    paths = sorted(path for path in directory.rglob("*") if path.suffix in GENERATED)
    return [path for path in paths if path.relative_to(directory).as_posix() not in files]
