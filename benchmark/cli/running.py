"""Commands that compute: run, train, ablate, and import-checkpoint."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    AuxiliaryName,
    Backbone,
    BatchSize,
    CacheLimit,
    CellTimeout,
    Checkpoints,
    DataPaths,
    DataRoot,
    Device,
    DryRun,
    Dtype,
    ExecutorName,
    FolderClass,
    FolderPath,
    Force,
    Methods,
    OnErrorOption,
    Plugin,
    Processes,
    RayAddress,
    Results,
    Seeds,
    Set,
    SlurmParameters,
    WindowChunk,
    Workers,
    fail,
    say,
    uncollected,
)
from benchmark.cli.work import by_backbone, carry_out, find_data, finish, make_compute, plan_cells
from benchmark.clip import DEFAULT_BACKBONE
from benchmark.common import BATCH_SIZE, CACHE_LIMIT, WINDOW_CHUNK, WORKERS


def run_command(
    *,
    every: Annotated[bool, typer.Option("--all", help="Every method on every dataset found.")] = False,
    methods: Methods = "",
    plugin: Plugin = None,
    datasets: Annotated[str, typer.Option(help="Names from `bench data list`, with commas; default all found.")] = "",
    data: DataRoot = None,
    data_path: DataPaths = None,
    folder: FolderPath = None,
    folder_class: FolderClass = "object",
    auxiliary: AuxiliaryName = "",
    checkpoint: Checkpoints = None,
    seeds: Seeds = "0",
    backbone: Backbone = "",
    device: Device = "",
    dtype: Dtype = "float32",
    batch_size: BatchSize = BATCH_SIZE,
    workers: Workers = WORKERS,
    on_error: OnErrorOption = "fail",
    settings: Set = None,
    window_chunk: WindowChunk = WINDOW_CHUNK,
    cache_limit: CacheLimit = CACHE_LIMIT,
    executor: ExecutorName = "local",
    processes: Processes = None,
    ray_address: RayAddress = "",
    slurm: SlurmParameters = None,
    cell_timeout: CellTimeout = None,
    results: Results = Path("results"),
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Run methods on datasets, write a record per cell, and print the tables.

    Without --data, on the mini suite: generated miniatures of the 17 datasets, with a small CLIP that ships along. A
    cell is a method on a dataset under a seed, a backbone and a protocol. Methods that learn are trained first, once
    per auxiliary dataset, and never tested on what they were trained on. Run the same command again and only what is
    missing is done. Exit code 0: every cell is done; 1: a cell failed; 2: the command could not start.

    Examples:

    bench run --all

    bench run --all --data /datasets

    bench run --methods clip,anomalyclip --datasets mvtec,visa --data /datasets --device cuda

    bench run --methods clip --folder ./parts --folder-class "metal nut"

    bench run --all --data /datasets --executor slurm --slurm partition=gpu --slurm gpus_per_node=1
    """
    if every and (methods or datasets):
        fail("--all means every method on every dataset found; leave it out, or --methods and --datasets")
    if not (every or methods or datasets or folder):
        fail("say what to run: --all, or --methods and --datasets (see `bench methods` and `bench data list`)")
    from benchmark.cli import selection
    from benchmark.tables import make_tables, summary

    chosen, protocol = selection.select_methods(selection.split(methods), settings or [])
    seed_list = selection.select_seeds(seeds)
    where = find_data(datasets, data, data_path, folder=folder, folder_class=folder_class, every=every)
    compute = make_compute(
        backbone,
        device,
        dtype,
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=force,
        cache_limit=cache_limit,
        executor=executor,
        processes=processes,
        ray_address=ray_address,
        slurm=slurm,
        cell_timeout=cell_timeout,
        window_chunk=window_chunk,
    )
    made = plan_cells(chosen, where, compute, protocol, seeds=seed_list, auxiliary=auxiliary, checkpoints=checkpoint)
    records = carry_out(made, where, compute, protocol, dry_run=dry_run)
    if records:
        with uncollected():
            print(summary(make_tables(records)))
    finish(records, where.problems)


def train_command(
    *,
    methods: Methods = "",
    plugin: Plugin = None,
    auxiliary: AuxiliaryName = "",
    data: DataRoot = None,
    data_path: DataPaths = None,
    seeds: Seeds = "0",
    backbone: Backbone = "",
    device: Device = "",
    dtype: Dtype = "float32",
    batch_size: BatchSize = BATCH_SIZE,
    workers: Workers = WORKERS,
    on_error: OnErrorOption = "fail",
    settings: Set = None,
    cache_limit: CacheLimit = CACHE_LIMIT,
    executor: ExecutorName = "local",
    processes: Processes = None,
    ray_address: RayAddress = "",
    slurm: SlurmParameters = None,
    cell_timeout: CellTimeout = None,
    results: Results = Path("results"),
) -> None:
    """Train methods on one auxiliary dataset (mvtec unless said otherwise), and print their checkpoints.

    `bench run` does this by itself, and finds what was trained here by its key: method, options, auxiliary dataset,
    seed, backbone and protocol. A training that was interrupted goes on after its last epoch.

    Examples:

    bench train --methods anomalyclip --auxiliary visa --data /datasets --device cuda
    """
    from benchmark.cli import selection
    from benchmark.contract import Learner
    from benchmark.protocol import AUXILIARY
    from benchmark.records import backbone_id
    from benchmark.running import Auxiliaries, Setting, plan_training, run
    from benchmark.training import Training

    selected, protocol = selection.select_methods(selection.split(methods), settings or [])
    learners = [(method, options) for method, options in selected if issubclass(method, Learner)]
    if not learners:
        fail(f"nothing to train: {', '.join(method.name for method, _ in selected)} train on nothing")
    seed_list = selection.select_seeds(seeds)
    where = find_data(auxiliary or AUXILIARY, data, data_path)
    compute = make_compute(
        backbone,
        device,
        dtype,
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=False,
        cache_limit=cache_limit,
        executor=executor,
        processes=processes,
        ray_address=ray_address,
        slurm=slurm,
        cell_timeout=cell_timeout,
    )
    found = {samples.card.name: samples for samples in where.targets}
    trainings: list[Training] = []
    loading = {}
    for source, group in by_backbone(learners, where, compute).items():
        setting = Setting(backbone_id(source, dtype=dtype), protocol, Auxiliaries(found))
        loading[setting.backbone] = compute.loading(source, protocol)
        planned = [
            plan_training(method, options, name, setting, seed=seed)
            for method, options in group
            for seed in seed_list
            for name in found
        ]
        trainings += [training for training in planned if training]
    with compute.executor(loading) as opened:
        failed = run([], compute.settings, opened, loading=loading, trainings=trainings, say=say)
    for training in trainings:
        if training.id.id not in failed:
            print(training.checkpoint(results))
    if failed:
        sys.exit(1)


def ablate_command(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="A method that `bench methods` shows ablations of.")],
    *,
    plugin: Plugin = None,
    only: Annotated[str, typer.Option(help="Names of ablations, with commas; default all of the method.")] = "",
    datasets: Annotated[str, typer.Option(help="Names from `bench data list`, with commas.")] = "mvtec,visa",
    data: DataRoot = None,
    data_path: DataPaths = None,
    auxiliary: AuxiliaryName = "",
    seeds: Seeds = "0",
    backbone: Backbone = "",
    device: Device = "",
    dtype: Dtype = "float32",
    batch_size: BatchSize = BATCH_SIZE,
    workers: Workers = WORKERS,
    on_error: OnErrorOption = "fail",
    settings: Set = None,
    window_chunk: WindowChunk = WINDOW_CHUNK,
    cache_limit: CacheLimit = CACHE_LIMIT,
    executor: ExecutorName = "local",
    processes: Processes = None,
    ray_address: RayAddress = "",
    slurm: SlurmParameters = None,
    cell_timeout: CellTimeout = None,
    results: Results = Path("results"),
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Run the ablations of a method and print a table each, with the change against the default.

    Each variant is a cell like any other, so what was run before is not run again, and a killed run goes on. The tables
    are also written, as Markdown, LaTeX and CSV, to RESULTS/tables/ablations. --set changes what all variants share.

    Examples:

    bench ablate anomalyclip --datasets mvtec,visa --data /datasets --device cuda

    bench ablate genclip --only modules,branches --datasets btad,mpdd
    """
    from benchmark.cli import selection
    from benchmark.tables import (
        ablation_files,
        ablation_summary,
        make_ablations,
        select_ablations,
        variants_of,
        write_files,
    )

    [(method, base)], protocol = selection.select_methods([name], settings or [])
    ablations = select_ablations(method, selection.split(only))
    variants = variants_of(base, ablations)
    seed_list = selection.select_seeds(seeds)
    where = find_data(datasets, data, data_path)
    compute = make_compute(
        backbone,
        device,
        dtype,
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=force,
        cache_limit=cache_limit,
        executor=executor,
        processes=processes,
        ray_address=ray_address,
        slurm=slurm,
        cell_timeout=cell_timeout,
        window_chunk=window_chunk,
    )
    chosen = [(method, options) for options in variants.distinct]
    made = plan_cells(chosen, where, compute, protocol, seeds=seed_list, auxiliary=auxiliary, checkpoints=None)
    records = carry_out(made, where, compute, protocol, dry_run=dry_run)
    if records:
        tables = make_ablations(method, variants, records)
        directory = results / "tables" / "ablations"
        write_files(directory, ablation_files(tables))
        print(ablation_summary(tables))
        say(f"written to {directory}")
    finish(records, where.problems)


def import_command(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the method's published code (.pth).")],
    *,
    method: Annotated[str, typer.Option(help="Name from `bench methods`.")] = "anomalyclip",
    plugin: Plugin = None,
    auxiliary: Annotated[str, typer.Option(help="The dataset it was trained on.")],
    backbone: Annotated[str, typer.Option(help="The backbone it was trained with.")] = DEFAULT_BACKBONE,
    dtype: Dtype = "float32",
    results: Results = Path("results"),
) -> None:
    """Import a checkpoint of a method's published code, and print where it lies now.

    Nothing in the file is unpickled but tensors. `bench run --checkpoint` then uses it in place of a training. That
    its auxiliary dataset is what --auxiliary says cannot be checked; the target that has this name is refused.

    Examples:

    bench import-checkpoint epoch_15.pth --auxiliary mvtec

    bench run --methods anomalyclip --datasets visa --data /datasets --checkpoint results/checkpoints/….json
    """
    from benchmark.cli import selection
    from benchmark.clip import parse_backbone
    from benchmark.records import backbone_id
    from benchmark.training import import_checkpoint

    [(chosen, _)], protocol = selection.select_methods([method], [])
    [card] = selection.select_cards([auxiliary])
    identity = backbone_id(parse_backbone(backbone), dtype=dtype)
    path, options = import_checkpoint(
        file, chosen, auxiliary=card, backbone=identity, protocol=protocol, results=results
    )
    if options:
        say(f"made with {' '.join(f'--set {method}.{key}={value}' for key, value in options.items())}")
    print(path)
