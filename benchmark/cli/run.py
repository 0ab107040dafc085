"""The command `bench run`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.computing_options import CellOptions, ExecutorOptions, computation
from benchmark.cli.data_options import DataOptions, FolderOptions, GettingOptions, PartOptions
from benchmark.cli.ending import BEGAN, end, write_tables
from benchmark.cli.messages import fail, terminal_width
from benchmark.cli.options import (
    ComputeOptions,
    Datasets,
    EvaluationOptions,
    MethodOptions,
    Methods,
    TrainingOptions,
    split,
    with_options,
)
from benchmark.cli.settings import parse_settings
from benchmark.common import tell


@with_options
def run_command(
    *,
    every: Annotated[bool, typer.Option("--all", help="Every method on every dataset of the papers found.")] = False,
    methods: Methods = "",
    method: MethodOptions,
    datasets: Datasets = "",
    places: DataOptions,
    getting: GettingOptions,
    folders: FolderOptions,
    part: PartOptions,
    training: TrainingOptions,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.json",
            help="Use this checkpoint of a method instead of training; it brings its own auxiliary dataset; may be "
            "repeated.",
            rich_help_panel="Training",
        ),
    ] = None,
    compute: ComputeOptions,
    executor: ExecutorOptions,
    cells: CellOptions,
    evaluation: EvaluationOptions,
) -> None:
    """Run methods on datasets, write a record per cell, and print the tables.

    A cell is one method on one dataset with one seed, backbone and protocol. Methods that learn are trained first, once
    per auxiliary dataset, and are never tested on the dataset they were trained on. The same command, run again, does
    only the missing cells. Without --data it runs on the mini suite, generated miniatures of the datasets, with a small
    CLIP that is part of the package. Datasets beyond the papers take part only where --datasets or --data-path names
    them. Exit code 0: every cell is done; 1: a cell failed; 2: the command could not start.

    Examples:

    bench run --all

    bench run --all --data /datasets

    bench run --all --data /datasets --get --accept

    bench run --methods clip,anomalyclip --datasets mvtec,visa --data /datasets --device cuda

    bench run --methods clip --folder ./parts --folder-class "metal nut"

    bench run --all --folder nuts=./nuts --folder bolts=./bolts --backbone mini:v2

    bench run --all --data /datasets --executor slurm --slurm partition=gpu --slurm gpus_per_node=1
    """
    if every and (methods or datasets):
        fail("--all means every method on every dataset of the papers; leave it out, or --methods and --datasets")
    if not (every or methods or datasets or folders.folder):
        fail("say what to run: --all, or --methods and --datasets (see `bench methods` and `bench data list`)")
    where = places.places(folders)
    where.tell_of_mini()
    getting.check(where, dry_run=cells.dry_run)
    from benchmark.api import compare_with_reference, run_methods, select_methods
    from benchmark.cli.getting import get_missing
    from benchmark.tables import TableError, make_tables, summary

    chosen, protocol = select_methods(split(methods), parse_settings([*method.settings, *evaluation.settings()]))
    how = computation(compute, executor, force=cells.force)
    learning = training.learning(checkpoints=checkpoint or (), allow_overlap=cells.allow_overlap)
    missed = get_missing(split(datasets), where, chosen, learning, how, accept=getting.accept) if getting.get else []
    ran = run_methods(
        chosen,
        protocol,
        split(datasets),
        places=where,
        learning=learning,
        computation=how,
        classes=split(part.classes),
        limit=part.limit,
        every=every,
        dry_run=cells.dry_run,
        since=BEGAN,
    )
    if ran.records:
        try:
            print(summary(make_tables(ran.records, methods=split(methods)), width=terminal_width()), flush=True)
            write_tables(compute.results)
        except TableError as error:  # with results of earlier runs; the records of this one are written
            tell(f"no tables are written: {error}")
        tell(ran.tally)
        compare_with_reference(ran.records, compute.results)
    end(ran.records, [*ran.problems, *missed])
