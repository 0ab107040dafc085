"""The command `bench ablate`."""

from typing import Annotated

import typer

from benchmark.cli.computing_options import CellOptions, ExecutorOptions, computation
from benchmark.cli.data_options import DataOptions, FolderOptions, PartOptions
from benchmark.cli.ending import BEGAN, end
from benchmark.cli.messages import terminal_width, writing
from benchmark.cli.options import ComputeOptions, EvaluationOptions, MethodOptions, TrainingOptions, split, with_options
from benchmark.cli.settings import parse_settings
from benchmark.common import tell


@with_options
def ablate_command(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="A method that `bench methods` shows ablations of.")],
    *,
    only: Annotated[
        str, typer.Option(help="Names of ablations of the method, separated by commas; none means all.")
    ] = "",
    method: MethodOptions,
    datasets: Annotated[
        str,
        typer.Option(
            help="Names from `bench data list`, separated by commas.",
            show_default="mvtec,visa; with --folder the folders",
            rich_help_panel="Data",
        ),
    ] = "",
    places: DataOptions,
    folders: FolderOptions,
    part: PartOptions,
    training: TrainingOptions,
    compute: ComputeOptions,
    executor: ExecutorOptions,
    cells: CellOptions,
    evaluation: EvaluationOptions,
) -> None:
    """Run the ablations of a method and print a table for each, with the differences from the default.

    An ablation is a list of variants of a method: each changes some options. `bench methods` names the ablations of
    each method; a method of your own declares them as `ablations`. Finished variants are not run again. The tables are
    also written as Markdown, LaTeX and CSV to RESULTS/tables/ablations, with earlier results of the same ablations on
    other datasets. --set changes an option in all variants.

    Examples:

    bench ablate anomalyclip --datasets mvtec,visa --data /datasets --device cuda

    bench ablate genclip --only modules,branches --datasets btad,mpdd

    bench ablate my_method --plugin my_method.py
    """
    where = places.places(folders)
    where.tell_of_mini()
    from benchmark.api import compare_with_reference, run_methods, select_methods
    from benchmark.records import read_records
    from benchmark.running import select_ablations, variants_of
    from benchmark.tables import ablation_files, ablation_summary, alongside, make_ablations, table_stem, write_files

    [(chosen, base)], protocol = select_methods([name], parse_settings([*method.settings, *evaluation.settings()]))
    variants = variants_of(chosen, base, select_ablations(chosen, split(only)))
    names = split(datasets) or ([] if folders.folder else ["mvtec", "visa"])
    how = computation(compute, executor, force=cells.force)
    placements = {(chosen, options): placement for options, placement in variants.items()}
    ran = run_methods(
        list(placements),
        protocol,
        names,
        places=where,
        learning=training.learning(allow_overlap=cells.allow_overlap),
        computation=how,
        classes=split(part.classes),
        limit=part.limit,
        placements=placements,
        dry_run=cells.dry_run,
        since=BEGAN,
    )
    if records := ran.records:
        stems = {table_stem(chosen.name, row) for placement in variants.values() for row in placement.ablations}
        make_ablations(records)  # those of this run fit together
        known = [each for each in read_records(how.settings.results)[0] if each.cell.method == chosen.name]
        tables = [table for table in make_ablations(alongside(known, records)) if table.stem in stems]
        directory = compute.results / "tables" / "ablations"
        print(ablation_summary(tables, width=terminal_width()), flush=True)
        with writing(directory):
            write_files(directory, ablation_files(tables))
        tell(f"written to {directory}")
        tell(ran.tally)
        compare_with_reference(records, compute.results)
    end(records, ran.problems)
