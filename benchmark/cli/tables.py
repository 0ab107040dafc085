"""The command `bench tables`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.messages import fail, say, writing
from benchmark.cli.options import RESULTS, Datasets, Methods, OneBackbone, Results, split


def tables_command(
    *,
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="Folder for the tables; default RESULTS/tables.")] = None,
    methods: Methods = "",
    datasets: Datasets = "",
    backbone: OneBackbone = "",
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; list files that are not up to date, and fail if there are any."),
    ] = False,
) -> None:
    """Write the tables of all records as Markdown, CSV and LaTeX, and print the main ones.

    There are tables of datasets by methods, of classes, with bootstrap intervals, of ranks and of ablations, and
    results.csv with every number. The same records give the same bytes on every machine; --check compares the files
    with the records. Results on generated data are left out where there are real ones.
    """
    from benchmark.records import read_records
    from benchmark.tables import (
        choose_records,
        differences,
        draws_keeper,
        make_outputs,
        per_image_reader,
        summary,
        write_files,
    )

    records, problems = read_records(results)
    for problem in problems:
        say(f"left out: {problem}")
    kept, lines = choose_records(records, methods=split(methods), datasets=split(datasets), backbone=backbone)
    for line in lines:
        say(line)
    if not kept:
        fail(f"no records in {results / 'records'}" + (" fit the selection" if records else "; `bench run` makes them"))
    directory = output or results / "tables"
    made = make_outputs(kept, per_image_reader(results, say), draws_keeper(results))
    if check:
        found = differences(directory, made.files)
        print("\n".join(found) or f"{directory}: {len(made.files)} files, all as the records give them")
        if found:
            fail(f"{len(found)} files in {directory} are not what the records give; `bench tables` writes them", code=1)
        return
    with writing(directory):
        write_files(directory, made.files)
    print(summary(made.tables))
    say(f"written to {directory}")
