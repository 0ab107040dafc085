"""Commands that show what is there: methods, and the tables of results."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import OneBackbone, Results, fail, say


def tables_command(
    *,
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="Folder for the tables; default RESULTS/tables.")] = None,
    methods: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    datasets: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    backbone: OneBackbone = "",
) -> None:
    """Write the tables of all records as Markdown, CSV and LaTeX, and print the main ones.

    Tables of datasets by methods, per class, and results.csv with every number. The same records give the same bytes.
    """
    from benchmark.records import read_records
    from benchmark.selection import split
    from benchmark.tables import summary, write_tables

    records, problems = read_records(results)
    for problem in problems:
        say(f"left out: {problem}")
    kept = [
        record
        for record in records
        if (not methods or record.cell.method in split(methods))
        and (not datasets or record.cell.dataset.name in split(datasets))
        and (not backbone or record.cell.backbone.name == backbone)
    ]
    if not kept:
        fail(f"no records in {results / 'records'}" + (" fit the selection" if records else "; `bench run` makes them"))
    directory = output or results / "tables"
    print(summary(write_tables(kept, directory)))
    say(f"written to {directory}")


def methods_command() -> None:
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
