"""Commands that compute: run, train, ablate, and import-checkpoint."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from benchmark.cli.options import (
    AuxiliaryName,
    Backbone,
    BatchSize,
    CacheLimit,
    Checkpoints,
    DataPaths,
    DataRoot,
    Device,
    DryRun,
    Dtype,
    FolderClass,
    FolderPath,
    Force,
    Methods,
    OnErrorOption,
    Results,
    Seeds,
    Set,
    WindowChunk,
    Workers,
    fail,
    say,
)
from benchmark.defaults import BATCH_SIZE, CACHE_LIMIT, WINDOW_CHUNK, WORKERS
from benchmark.weights import DEFAULT_BACKBONE, MINI_BACKBONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.backbone import Backbone as LoadedBackbone
    from benchmark.contract import Method
    from benchmark.plan import Chosen, Plan
    from benchmark.protocol import Protocol
    from benchmark.records import Record
    from benchmark.samples import SampleSet
    from benchmark.settings import Settings
    from benchmark.weights import WeightsSource

M = TypeVar("M", bound="Method")


@dataclass(frozen=True)
class _Data:
    """Where the images are."""

    root: Path | None
    paths: list[str]
    targets: "list[SampleSet]"
    problems: list[str]


@dataclass(frozen=True)
class _Compute:
    """With what, and how."""

    backbone: str
    device: str
    dtype: str
    window_chunk: int
    settings: "Settings"

    def source(self, data: _Data, method: "type[Method]") -> "WeightsSource":
        """Return the backbone asked for, or the method's on such data."""
        from benchmark.weights import parse_backbone

        if self.backbone:
            return parse_backbone(self.backbone)
        synthetic = all(samples.synthetic for samples in data.targets)
        return parse_backbone(MINI_BACKBONE if synthetic else method.backbone_on_real_data or DEFAULT_BACKBONE)

    def load(self, source: "WeightsSource", protocol: "Protocol") -> "LoadedBackbone":
        """Load the backbone onto the device."""
        from benchmark.backbone import load_backbone

        return load_backbone(
            source,
            dtype=self.dtype,
            device=_device(self.device),
            pos_interp=protocol.pos_interp,
            window_chunk=self.window_chunk,
            cache=self.settings.cache,
        )


def _data(
    datasets: str,
    data: Path | None,
    paths: list[str] | None,
    *,
    folder: Path | None = None,
    folder_class: str = "",
    every: bool = False,
) -> _Data:
    """Find the datasets named, or all; without any place given, in the mini suite."""
    from benchmark import selection

    names = selection.split(datasets)
    selection.select_cards(names)  # a wrong name is said before anything is made for it
    if data is None and not paths and folder is None:
        data = selection.mini_suite(say=say)
        say(f"no data given: running on the mini suite, generated miniatures of 17 datasets, in {data}")
    folders = [] if folder is None else [selection.select_folder(folder, folder_class)]
    found: list[SampleSet] = []
    problems: list[str] = []
    if every or datasets or folder is None:
        found, problems = selection.select_datasets(names, data=data, paths=paths or [])
    for problem in problems:
        say(f"FAILED {problem}")
    if not found + folders:
        fail("nothing to run on" if problems else selection.no_data(data), code=1 if problems else 2)
    return _Data(data, paths or [], found + folders, problems)


def _compute(
    backbone: str,
    device: str,
    dtype: str,
    *,
    results: Path,
    batch_size: int,
    workers: int,
    on_error: Any,
    force: bool,
    cache_limit: float,
    window_chunk: int = WINDOW_CHUNK,
) -> _Compute:
    from benchmark.settings import Settings, feature_cache

    settings = Settings(
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=force,
        cache=feature_cache(cache_limit),
    )
    return _Compute(backbone, device, dtype, window_chunk, settings)


def _by_backbone(
    chosen: "Sequence[tuple[type[M], Any]]", data: _Data, compute: _Compute
) -> "dict[WeightsSource, list[tuple[type[M], Any]]]":
    """Return the methods by the backbone they run with."""
    groups: dict[WeightsSource, list[tuple[type[M], Any]]] = {}
    for method, options in chosen:
        groups.setdefault(compute.source(data, method), []).append((method, options))
    return groups


def _plan(
    chosen: "Chosen",
    data: _Data,
    compute: _Compute,
    protocol: "Protocol",
    *,
    seeds: str,
    auxiliary: str,
    checkpoints: list[Path] | None,
) -> "dict[WeightsSource, Plan]":
    """Plan the cells of each backbone; what there cannot be is said."""
    from benchmark import selection
    from benchmark.cells import backbone_id
    from benchmark.plan import Setting, plan
    from benchmark.weights import BackboneError

    auxiliaries = selection.select_auxiliaries(
        chosen, data.targets, data=data.root, paths=data.paths, override=auxiliary, checkpoints=checkpoints or []
    )
    by_source = _by_backbone(chosen, data, compute)
    made: dict[WeightsSource, Plan] = {}
    for source, methods in by_source.items():
        try:
            setting = Setting(backbone_id(source, dtype=compute.dtype), protocol, auxiliaries)
        except BackboneError as error:
            if len(by_source) == 1:
                raise
            data.problems.append(str(error))
            say(f"FAILED {', '.join(method.title for method, _ in methods)}: {error}")
            continue
        made[source] = plan(methods, data.targets, setting, seeds=selection.select_seeds(seeds))
        for line in made[source].refused:
            say(f"left out: {line}")
        for line in made[source].problems:
            data.problems.append(line)
            say(f"FAILED {line}")
    if not any(each.jobs for each in made.values()):
        fail("nothing to run", code=1 if data.problems else 2)
    return made


def _carry_out(
    made: "dict[WeightsSource, Plan]", data: _Data, compute: _Compute, protocol: "Protocol", *, dry_run: bool
) -> "list[Record]":
    """Run what is missing of a plan and return the records of all of it; none where it is a dry run."""
    from benchmark.plan import missing, untrained
    from benchmark.records import path_of, read_record

    settings = compute.settings
    for samples in data.targets:
        say(f"{samples.card.title}: {len(samples.test)} test images in {samples.directory}; {samples.reason}")
    for source, each in made.items():
        todo = missing(each.jobs, settings.results, force=settings.force)
        trainings = untrained([job.training for job in todo if job.training], settings.results)
        say(f"{len(each.jobs)} cells, {len(todo)} to do, {len(trainings)} to train first, backbone {source.name}")
        if dry_run:
            for training in trainings:
                print(f"train  {training.id.id}")
            ids = {job.cell.id for job in todo}
            for job in each.jobs:
                print(f"{'to do' if job.cell.id in ids else 'done '}  {job.cell.id}")
        elif todo:
            from benchmark.run import run

            run(each.jobs, compute.load(source, protocol), settings, say=say)
    if dry_run:
        return []
    return [read_record(path_of(settings.results, job.cell.id)) for each in made.values() for job in each.jobs]


def _exit(records: "list[Record]", problems: list[str]) -> None:
    failed = sum(record.status == "failed" for record in records)
    if failed:
        say(f"{failed} of {len(records)} cells failed; mend the cause and run the same command again")
    if failed or problems:
        sys.exit(1)


def _device(name: str) -> str:
    import torch

    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        fail(f"--device {name}: not usable here ({str(error).splitlines()[0]}); leave the option out for cpu or cuda")
    return name


def run_command(
    *,
    every: Annotated[bool, typer.Option("--all", help="Every method on every dataset found.")] = False,
    methods: Methods = "",
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
    """
    if every and (methods or datasets):
        fail("--all means every method on every dataset found; leave it out, or --methods and --datasets")
    if not (every or methods or datasets or folder):
        fail("say what to run: --all, or --methods and --datasets (see `bench methods` and `bench data list`)")
    from benchmark import selection
    from benchmark.tables import make_tables, summary

    chosen, protocol = selection.select_methods(selection.split(methods), settings or [])
    selection.select_seeds(seeds)
    where = _data(datasets, data, data_path, folder=folder, folder_class=folder_class, every=every)
    compute = _compute(
        backbone,
        device,
        dtype,
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=force,
        cache_limit=cache_limit,
        window_chunk=window_chunk,
    )
    made = _plan(chosen, where, compute, protocol, seeds=seeds, auxiliary=auxiliary, checkpoints=checkpoint)
    records = _carry_out(made, where, compute, protocol, dry_run=dry_run)
    if records:
        print(summary(make_tables(records)))
    _exit(records, where.problems)


def train_command(
    *,
    methods: Methods = "",
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
    results: Results = Path("results"),
) -> None:
    """Train methods on one auxiliary dataset (mvtec unless said otherwise), and print their checkpoints.

    `bench run` does this by itself, and finds what was trained here by its key: method, options, auxiliary dataset,
    seed, backbone and protocol. A training that was interrupted goes on after its last epoch.

    Examples:

    bench train --methods anomalyclip --auxiliary visa --data /datasets --device cuda
    """
    from benchmark import selection
    from benchmark.cells import backbone_id
    from benchmark.contract import Learner
    from benchmark.fitting import ensure_trained
    from benchmark.plan import Auxiliaries, Setting, plan_training
    from benchmark.protocol import AUXILIARY

    selected, protocol = selection.select_methods(selection.split(methods), settings or [])
    learners = [(method, options) for method, options in selected if issubclass(method, Learner)]
    if not learners:
        fail(f"nothing to train: {', '.join(method.name for method, _ in selected)} train on nothing")
    seed_list = selection.select_seeds(seeds)
    where = _data(auxiliary or AUXILIARY, data, data_path)
    compute = _compute(
        backbone,
        device,
        dtype,
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=False,
        cache_limit=cache_limit,
    )
    found = {samples.card.name: samples for samples in where.targets}
    failed = False
    for source, group in _by_backbone(learners, where, compute).items():
        setting = Setting(backbone_id(source, dtype=dtype), protocol, Auxiliaries(found))
        planned = [
            plan_training(method, options, name, setting, seed=seed)
            for method, options in group
            for seed in seed_list
            for name in found
        ]
        trainings = [training for training in planned if training]
        unfinished = ensure_trained(trainings, compute.load(source, protocol), compute.settings, say=say)
        failed = failed or bool(unfinished)
        for training in trainings:
            if training.id.id not in unfinished:
                print(training.checkpoint(results))
    if failed:
        sys.exit(1)


def ablate_command(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="A method that `bench methods` shows ablations of.")],
    *,
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
    from benchmark import selection
    from benchmark.ablations import select_ablations, variants_of, write_ablations

    [(method, base)], protocol = selection.select_methods([name], settings or [])
    ablations = select_ablations(method, selection.split(only))
    variants = variants_of(base, ablations)
    selection.select_seeds(seeds)
    where = _data(datasets, data, data_path)
    compute = _compute(
        backbone,
        device,
        dtype,
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=force,
        cache_limit=cache_limit,
        window_chunk=window_chunk,
    )
    chosen = [(method, options) for options in variants.distinct]
    made = _plan(chosen, where, compute, protocol, seeds=seeds, auxiliary=auxiliary, checkpoints=None)
    records = _carry_out(made, where, compute, protocol, dry_run=dry_run)
    if records:
        directory = results / "tables" / "ablations"
        print(write_ablations(method, variants, records, directory))
        say(f"written to {directory}")
    _exit(records, where.problems)


def import_command(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the method's published code (.pth).")],
    *,
    method: Annotated[str, typer.Option(help="Name from `bench methods`.")] = "anomalyclip",
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
    from benchmark import selection
    from benchmark.cells import backbone_id
    from benchmark.imports import import_checkpoint
    from benchmark.weights import parse_backbone

    [(chosen, _)], protocol = selection.select_methods([method], [])
    [card] = selection.select_cards([auxiliary])
    identity = backbone_id(parse_backbone(backbone), dtype=dtype)
    path, options = import_checkpoint(
        file, chosen, auxiliary=card, backbone=identity, protocol=protocol, results=results
    )
    if options:
        say(f"made with {' '.join(f'--set {method}.{key}={value}' for key, value in options.items())}")
    print(path)
