"""Commands that show what is there: methods, and the tables of results."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import OneBackbone, Plugin, Results, fail, say, uncollected


@uncollected()
def tables_command(
    *,
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="Folder for the tables; default RESULTS/tables.")] = None,
    methods: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    datasets: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    backbone: OneBackbone = "",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; show what is not up to date, and fail.")
    ] = False,
) -> None:
    """Write the tables of all records as Markdown, CSV and LaTeX, and print the main ones.

    Tables of datasets by methods, per class, with bootstrap intervals, of ranks and of ablations, and results.csv with
    every number. The same records give the same bytes, on every machine; --check holds the files against the records.
    Synthetic results are left out where there are real ones.
    """
    from benchmark.cli.selection import split
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
    write_files(directory, made.files)
    print(summary(made.tables))
    say(f"written to {directory}")


def methods_command(*, plugin: Plugin = None) -> None:
    """List the methods with their options, what they train on, and their papers."""
    import dataclasses

    from benchmark.contract import Learner
    from benchmark.protocol import Protocol
    from benchmark.registry import all_methods

    for method in all_methods().values():
        print(f"{method.name}  ({method.title}, version {method.version})")
        print(f"  paper:  {method.paper}")
        print(f"  trains: {'on the auxiliary dataset' if issubclass(method, Learner) else 'on nothing'}")
        if method.ablations:
            print(f"  ablate: {', '.join(ablation.name for ablation in method.ablations)}")
        for field in dataclasses.fields(method.Options):
            print(f"  option: {method.name}.{field.name} = {field.default}")
    print("protocol  (holds for every method of a run)")
    for name, info in Protocol.model_fields.items():
        print(f"  option: protocol.{name} = {info.default}")
