"""The command `bench tables`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.messages import fail, terminal_width, writing
from benchmark.cli.options import ChoiceOptions, split, with_options
from benchmark.common import tell

if TYPE_CHECKING:
    from benchmark.records import Record


@with_options
def tables_command(
    *,
    which: Annotated[
        str,
        typer.Argument(
            metavar="cost",
            help="cost: only the tables of what methods cost in parameters, time and memory.",
            show_default="all tables",
        ),
    ] = "",
    choice: ChoiceOptions,
    output: Annotated[Path | None, typer.Option(help="Folder for the tables; default RESULTS/tables.")] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="Metrics of the main tables, those per class and of ranks, separated by commas, as in "
            "pixel_auroc,pixel_aupro_200; without its level (auroc) a metric is shown at each.",
            show_default="those of the papers' main tables",
        ),
    ] = "",
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; list files that are not up to date, and fail if there are any."),
    ] = False,
) -> None:
    """Write the tables of all records as Markdown, CSV and LaTeX, and print the main ones.

    There are tables of datasets by methods, of classes, with bootstrap intervals, of ranks, of costs and of ablations,
    and results.csv with every number. The same records give the same bytes on every machine; --check compares the files
    with the records. Columns are in the order of --methods, else by what methods learn from and then by year. Left out
    are results on generated data beside real ones, and those of older versions or older images, which
    `bench results prune` removes.
    """
    from benchmark.api import select_metrics
    from benchmark.metrics import MAIN_METRICS
    from benchmark.registry import choose
    from benchmark.tables import (
        COST_NAMES,
        cost_files,
        cost_summary,
        cost_tables,
        differences,
        lacking,
        left_over,
        make_outputs,
        summary,
        write_files,
    )

    only_costs = bool(choose("table", [which] if which else [], ["cost"]))
    if only_costs and metric:
        fail("--metric says which metrics tables show, and those of costs show none; leave it out")
    shown = select_metrics(split(metric)) or MAIN_METRICS
    kept, wanted = records_that_count(choice)
    for line in [] if only_costs else lacking(kept):
        tell(line)
    directory = output or choice.results / "tables"
    if only_costs:
        costs = cost_tables(kept, wanted)
        files, printed = cost_files(costs), cost_summary(costs)
    else:
        made = make_outputs(kept, metrics=shown, methods=wanted)
        files, printed = made.files, summary(made.tables, width=terminal_width()) if made.tables else ""
    if check:
        extra = [path for path in left_over(directory, files) if path.stem in COST_NAMES or not only_costs]
        _check(directory, differences(directory, files), extra, count=len(files))
        return
    with writing(directory):
        write_files(directory, files)
    if printed:
        print(printed)
    else:
        failed = [each for each in kept if each.status == "failed"]
        why = "no result has these metrics"
        if failed:
            first = f"the first on {failed[0].dataset_title}: {failed[0].error}"
            why = f"{len(failed)} of {len(kept)} results failed, {first}"
        tell(f"no main tables: {why}")
    tell(f"written to {directory}")


def _check(directory: Path, found: Sequence[str], extra: Sequence[Path], *, count: int) -> None:
    """Print which of some files are not what the records give and which no record gives, and fail if there are any."""
    lines = [*found, *(f"{path}: no record gives it; delete it" for path in extra)]
    print("\n".join(lines) or f"{directory}: {count} files, all as the records give them")
    ways = [f"{len(found)} files are not what the records give (`bench tables` writes them)"] if found else []
    ways += [f"no record gives {len(extra)} files (delete them)"] if extra else []
    if ways:
        fail(f"{directory}: {', and '.join(ways)}", code=1)


def records_that_count(choice: ChoiceOptions) -> "tuple[list[Record], list[str]]":
    """Return the records that tables show, and the names of `--methods`.

    What is left out is said. The command ends with a message where no record is left.

    Raises:
        BenchError: A name is unknown, or the records are not comparable.
    """
    from benchmark.records import read_records
    from benchmark.registry import choose
    from benchmark.tables import choose_records

    records, problems = read_records(choice.results)
    for problem in problems:
        tell(f"left out: {problem}")
    if not records:
        fail(f"no records in {choice.results / 'records'}; `bench run` makes them")
    wanted = choose("method with results", split(choice.methods), {each.cell.method for each in records})
    named = [choice.domain] if choice.domain else []
    kept, lines = choose_records(
        records,
        methods=wanted,
        datasets=known_datasets(records, split(choice.datasets)),
        domain="".join(choose("domain with results", named, {each.domain for each in records})),
        backbone=known_backbone(records, choice.backbone),
        chosen=choice.record or (),
    )
    for line in lines:
        tell(line)
    if not kept:
        fail(f"no records in {choice.results / 'records'} fit the selection")
    return kept, wanted


def known_datasets(records: "Sequence[Record]", names: Sequence[str]) -> list[str]:
    """Return names or titles of datasets with results, each once.

    Raises:
        BenchError: A name is unknown. The message suggests similar names.
    """
    from benchmark.registry import choose

    known = [name for each in records for name in (each.cell.dataset.name, each.dataset_title)]
    return choose("dataset with results", names, dict.fromkeys(known))


def known_backbone(records: "Sequence[Record]", text: str) -> str:
    """Return the name of a backbone with results, or the beginning of its sha256, if there is one.

    Raises:
        BenchError: There is none. The message suggests similar names.
    """
    from benchmark.registry import choose
    from benchmark.tables import select_records

    if text and records and not select_records(records, backbone=text):
        choose("backbone with results", [text], dict.fromkeys(each.cell.backbone.name for each in records))
    return text
