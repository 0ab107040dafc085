"""The commands `bench export …`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.export_onnx import onnx_command
from benchmark.cli.messages import fail, writing
from benchmark.cli.options import ChoiceOptions, add_command, split, with_options
from benchmark.cli.tables import records_that_count
from benchmark.common import listed, tell, write_whole

if TYPE_CHECKING:
    from benchmark.records import Record

app = typer.Typer(no_args_is_help=True, help="Take results elsewhere.")

ENDINGS = (".csv", ".parquet", ".json", ".tex")


@with_options
def results_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="File to write: .csv or .parquet for every number and all that identifies it, .json for a leaderboard "
            "as of Papers with Code, .tex for LaTeX tables with published numbers beside.",
        ),
    ],
    *,
    choice: ChoiceOptions,
    metric: Annotated[
        str,
        typer.Option(
            help="Only these metrics, separated by commas, as in `bench tables`.",
            show_default="all; in .json and .tex those of the papers' main tables, with their AUPRO",
        ),
    ] = "",
) -> None:
    """Write results to a file for other programs, in the format that its ending names.

    The same records count as in `bench tables`.

    Examples:

    bench export results numbers.parquet

    bench export results numbers.csv --methods clip,anomalyclip --datasets mvtec,visa --metric auroc
    """
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        fail(f"{file}: say a file that ends in {listed(ENDINGS, len(ENDINGS))}")
    from benchmark.api import select_metrics

    metrics = select_metrics(split(metric))
    kept, wanted = records_that_count(choice)
    content = _content(ending, kept, metrics, wanted)
    with writing(file):
        write_whole(file, content)
    tell(f"written to {file}")


def _content(ending: str, records: "Sequence[Record]", metrics: Sequence[str], methods: Sequence[str]) -> str | bytes:
    """Return what a file with an ending holds of some records; no metrics stand for all, or for those of papers."""
    from benchmark.exports import board_json, frame, to_csv, to_parquet
    from benchmark.tables import METRICS_BESIDE, beside_published, load_published

    if ending == ".json":
        from benchmark.registry import all_methods

        papers = {name: method.paper for name, method in all_methods().items()}
        return board_json(records, metrics=metrics or METRICS_BESIDE, methods=methods, papers=papers)
    if ending == ".tex":
        text = beside_published(records, load_published(), metrics=metrics or METRICS_BESIDE, methods=methods)
        done = any(record.status == "done" for record in records)
        return text or fail("no finished result has these metrics" if done else "no result that fits has finished")
    table = frame(records, metrics=metrics)
    return to_csv(table) if ending == ".csv" else to_parquet(table)


add_command(app, "results", results_command)
add_command(app, "onnx", onnx_command)
