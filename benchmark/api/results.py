"""The results of a run, or of a folder, as data frames and tables."""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api.ending import shown_path
from benchmark.api.requests import results_folder, several
from benchmark.common import PUBLISHED_TOLERANCE, counted, tell
from benchmark.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.metrics import Level
    from benchmark.records import Record
    from benchmark.tables import Table


@dataclass(frozen=True, eq=False)
class PaperTable:
    """A table in the form of the papers' main tables, in percent, with the notes that a reader must know."""

    table: "Table"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the numbers; the first says so where data or weights are synthetic."""
        return self.table.notes

    @property
    def frame(self) -> "pd.DataFrame":
        """The numbers alone, in percent: a row for each dataset or class, a column for each method and metric."""
        import pandas as pd

        from benchmark.metrics import METRICS

        columns = [(column.title, METRICS[key].heading) for column in self.table.columns for key in self.table.metrics]
        values = [[value for cell in row.values for value in cell] for row in self.table.rows]
        return pd.DataFrame(
            values,
            index=[row.title for row in self.table.rows],
            columns=pd.MultiIndex.from_tuples(columns, names=["method", "metric"]),
            dtype="float64",
        )

    def _repr_html_(self) -> str:
        from benchmark.tables import html_summary

        return html_summary([self.table])

    def __repr__(self) -> str:
        from benchmark.tables import render

        return "\n".join([render(self.table, "txt"), *self.notes])


@dataclass(frozen=True, eq=False)
class Results:
    """Records of cells: a method on a dataset with one seed, backbone and protocol.

    A notebook shows the main tables of it.
    """

    records: "tuple[Record, ...]"
    path: Path
    """The folder in which the records are kept, from the root."""
    problems: tuple[str, ...] = ()
    """What was asked for and could not be run or read, a line each."""
    methods: tuple[str, ...] = ()
    """Names of methods in the order of the columns of tables; without them, that of the papers."""

    @property
    def failed(self) -> "tuple[Record, ...]":
        """The records of cells that failed; their `error` says why."""
        return tuple(record for record in self.records if record.status == "failed")

    def frame(self, metric: str | Sequence[str] = ()) -> "pd.DataFrame":
        """Return every number as a tidy data frame, as fractions: a row for each class and metric of each cell.

        Args:
            metric: Names of metrics such as `pixel_aupro`, or `auroc` for both levels; none means all.
        """
        from benchmark.exports import frame

        return frame(self.records, metrics=select_metrics(several(metric, "metric")))

    def table(self, metric: str | Sequence[str] = (), *, level: "Level | None" = None, dataset: str = "") -> PaperTable:
        """Return the table of datasets by methods, or that of the classes of a dataset.

        Args:
            metric: Names of metrics, as in `frame`; none means those of the papers' main tables.
            level: `image`, `pixel` or `sample`; None for that of the first metric.
            dataset: Name or title of a dataset of several classes, for the table of its classes.

        Raises:
            BenchError: There is no such table, or the records cannot share one. The message says why.
        """
        from benchmark.metrics import LEVELS, METRICS
        from benchmark.registry import choose

        keys = select_metrics(several(metric, "metric"))
        levels = list(dict.fromkeys(METRICS[key].level for key in keys))
        wanted = choose("level", [level] if level else [], LEVELS) or levels or ["image"]
        if others := [name for name in several(metric, "metric") if _is_of_another(name, wanted[0])]:
            raise BenchError(
                f"{others[0]} is no metric at {wanted[0]} level, and a table has one level; ask for another table"
            )
        titles = {
            each.dataset_title for each in self.records if dataset in (each.cell.dataset.name, each.dataset_title)
        }
        if dataset and not titles:
            choose("dataset with results", [dataset], dict.fromkeys(each.cell.dataset.name for each in self.records))
        for table in self._tables(keys):
            of = table.title.rpartition(", ")[0]
            if METRICS[table.metrics[0]].level == wanted[0] and (of in titles if dataset else not of):
                return PaperTable(table)
        raise BenchError(self._why_no_table(wanted[0], dataset))

    def compare(self, *, tolerance: float = PUBLISHED_TOLERANCE, classes: bool = False) -> "pd.DataFrame":
        """Return the published numbers of these methods on these datasets beside ours, a row each, in percent.

        The columns are those of `bench compare --output FILE.csv`. The verdict says whether the two agree, and the
        reasons why they may differ. Results on generated data have the verdict `synthetic` and are not compared.

        Args:
            tolerance: Points by which a result, with its interval, may differ.
            classes: Whether numbers of single classes are compared too.

        Raises:
            BenchError: The tolerance is no number from 0 on.
        """
        import pandas as pd

        if not (isinstance(tolerance, Real) and not isinstance(tolerance, bool) and 0 <= tolerance < math.inf):
            raise BenchError(f"tolerance={tolerance!r}: say a number of points from 0 on")
        from benchmark.tables import (
            COMPARISON_COLUMNS,
            COMPARISON_NUMBERS,
            compare,
            comparison_rows,
            load_published,
            results_to_compare,
            select_numbers,
        )

        done = results_to_compare(self.records)
        numbers = select_numbers(
            load_published(),
            methods={record.cell.method for record in done},
            datasets={record.cell.dataset.name for record in done},
            classes=classes,
        )
        if not (done and numbers):
            numbers = ()  # without any cell they are those of all methods
            tell(
                "nothing to compare: "
                + ("no published number is of these methods on these whole datasets" if done else "no cell is done")
            )
        rows = comparison_rows(compare(numbers, done, tolerance=tolerance))
        frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
        return frame.astype(dict.fromkeys(COMPARISON_NUMBERS, "float64"))

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> "Iterator[Record]":
        return iter(self.records)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"<Results of {counted(len(self.records), 'cell')}{failed}, in {shown_path(self.path)}>"

    def _repr_html_(self) -> str:
        from benchmark.tables import html_summary

        try:
            shown = html_summary([table for table in self._tables([]) if table.name.startswith("main_")])
        except BenchError as error:
            shown = f"<p>{html.escape(str(error))}</p>"
        failed = [f"{each.title} on {each.dataset_title}: {each.error}" for each in self.failed]
        problems = "".join(f"<li>{html.escape(each)}</li>" for each in dict.fromkeys([*failed, *self.problems]))
        return f"<p>{html.escape(repr(self))}</p>\n{shown}" + (f"\n<ul>{problems}</ul>" if problems else "")

    @cached_property
    def _chosen(self) -> "list[Record]":
        """The records that can share tables; what is left out is told."""
        from benchmark.tables import choose_records

        kept, lines = choose_records(self.records)
        for line in lines:
            tell(line)
        return kept

    def _tables(self, keys: Sequence[str]) -> "list[Table]":
        from benchmark.metrics import MAIN_METRICS
        from benchmark.tables import main_records, make_tables

        return make_tables(main_records(self._chosen), metrics=keys or MAIN_METRICS, methods=self.methods)

    def _why_no_table(self, level: str, dataset: str) -> str:
        where = f" of {dataset}" if dataset else ""
        if self.failed and len(self.failed) == len(self.records):
            first = self.failed[0]
            return f"no table: all cells failed, {first.title} on {first.dataset_title} by {first.error}"
        return f"no table{where} at {level} level: no result has these metrics" + (
            ", or it has one class" if dataset else ""
        )


def _is_of_another(name: str, level: str) -> bool:
    """Return whether a name is that of metrics of other levels alone."""
    from benchmark.metrics import METRICS

    return all(each.level != level for key, each in METRICS.items() if name in (key, each.short))


def load_results(path: Path | str | None = None) -> Results:
    """Return the results that a folder holds.

    Args:
        path: Folder of results; None for `BENCH_RESULTS`, else `results/local`.

    Raises:
        BenchError: It holds no records.
    """
    from benchmark.records import read_records

    folder = results_folder(path)
    records, problems = read_records(folder)
    for problem in problems:
        tell(f"left out: {problem}")
    if not records:
        raise BenchError(f"no records in {folder / 'records'}; `benchmark.run` and `bench run` make them")
    return Results(tuple(records), folder.absolute(), tuple(problems))


def select_metrics(names: Sequence[str]) -> list[str]:
    """Return the keys of metrics that are named with or without their level.

    Raises:
        BenchError: A name is unknown. The message suggests similar names.
    """
    from benchmark.metrics import METRICS
    from benchmark.registry import choose

    known = [*METRICS, *dict.fromkeys(each.short for each in METRICS.values())]
    chosen = choose("metric", names, known)
    return list(dict.fromkeys(key for name in chosen for key in METRICS if name in (key, METRICS[key].short)))
