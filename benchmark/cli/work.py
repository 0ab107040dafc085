"""What the computing commands share: finding the data, loading the backbone, planning the cells and running them."""

import secrets
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.cli.options import fail, say, uncollected
from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE
from benchmark.common import WINDOW_CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmark.clip import WeightsSource
    from benchmark.common import Settings
    from benchmark.contract import Method
    from benchmark.data import SampleSet
    from benchmark.protocol import Protocol
    from benchmark.records import BackboneId, Record
    from benchmark.running import Chosen, Executor, Loading, Plan

M = TypeVar("M", bound="Method")


@dataclass(frozen=True)
class Data:
    """Where the images are."""

    root: Path | None
    paths: list[str]
    targets: "list[SampleSet]"
    problems: list[str]
    """What was asked for and cannot be had; the command goes on without it and ends with exit code 1."""


@dataclass(frozen=True)
class Where:
    """On what."""

    executor: str = "local"
    processes: int | None = None
    ray_address: str = ""
    slurm: "Mapping[str, str | int]" = field(default_factory=dict)


@dataclass(frozen=True)
class Compute:
    """With what, how and where."""

    backbone: str
    device: str
    dtype: str
    window_chunk: int
    settings: "Settings"
    where: Where

    def source(self, data: Data, method: "type[Method]") -> "WeightsSource":
        """Return the backbone asked for, or the method's on such data."""
        from benchmark.clip import parse_backbone

        if self.backbone:
            return parse_backbone(self.backbone)
        synthetic = all(samples.synthetic for samples in data.targets)
        return parse_backbone(MINI_BACKBONE if synthetic else method.backbone_on_real_data or DEFAULT_BACKBONE)

    def loading(self, source: "WeightsSource", protocol: "Protocol") -> "Loading":
        """Return how a backbone is loaded."""
        from benchmark.running import Loading

        return Loading(source, self.dtype, self.device, protocol.pos_interp, self.window_chunk)

    @contextmanager
    def executor(self, loading: "Mapping[BackboneId, Loading]") -> "Iterator[Executor]":
        """Give the executor asked for, and see to it that nothing of it is left."""
        executor = self._open(loading)
        try:
            yield executor
        finally:
            executor.close()

    def _open(self, loading: "Mapping[BackboneId, Loading]") -> "Executor":
        from benchmark.clip import gpu_count

        where = self.where
        if where.executor == "ray":
            from benchmark.running import RayCluster

            return RayCluster(address=where.ray_address or None, processes=where.processes)
        if where.executor == "slurm":
            from benchmark.running import SlurmJobs

            folder = self.settings.results / ".slurm" / secrets.token_hex(4)
            jobs = SlurmJobs(folder, at_a_time=where.processes, parameters=where.slurm)
            say(f"jobs and their logs are in {folder}" + ("; no Slurm here: they are processes" * jobs.simulated))
            return jobs
        gpus = 0 if self.device else gpu_count()
        count = where.processes or max(1, gpus)
        if count > 1 or self.settings.cell_timeout is not None:
            from benchmark.running import LocalProcesses

            return LocalProcesses(count, [f"cuda:{index}" for index in range(gpus)])
        from benchmark.running import InThisProcess, loaded

        if len(loading) == 1:  # then without it nothing can be done at all
            loaded(*loading.values(), self.settings.cache)
        return InThisProcess(say=say)


def find_data(
    datasets: str,
    data: Path | None,
    paths: list[str] | None,
    *,
    folder: Path | None = None,
    folder_class: str = "",
    every: bool = False,
) -> Data:
    """Find the datasets named, or all; without any place given, in the mini suite."""
    from benchmark.cli import selection

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
    return Data(data, paths or [], found + folders, problems)


def make_compute(
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
    executor: str,
    processes: int | None,
    ray_address: str,
    slurm: list[str] | None,
    cell_timeout: float | None,
    window_chunk: int = WINDOW_CHUNK,
) -> Compute:
    """Gather the options of a computing command; their help texts say what they are."""
    from benchmark.common import Settings, feature_cache

    settings = Settings(
        results=results,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        force=force,
        cell_timeout=cell_timeout,
        cache=feature_cache(cache_limit),
    )
    if ray_address and executor != "ray":
        fail("--ray-address is for --executor ray")
    if slurm and executor != "slurm":
        fail("--slurm is for --executor slurm")
    where = Where(executor, processes, ray_address, _parameters(slurm or []))
    return Compute(backbone, device, dtype, window_chunk, settings, where)


def _parameters(texts: list[str]) -> "dict[str, str | int]":
    """Return the parameters given as `NAME=VALUE`, numbers as numbers."""
    found: dict[str, str | int] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name):
            fail(f"--slurm {text!r}: say NAME=VALUE, as in partition=gpu or timeout_min=600")
        found[name.strip().replace("-", "_")] = int(value) if value.isdecimal() else value
    return found


def by_backbone(
    chosen: "Sequence[tuple[type[M], Any]]", data: Data, compute: Compute
) -> "dict[WeightsSource, list[tuple[type[M], Any]]]":
    """Return the methods by the backbone they run with."""
    groups: dict[WeightsSource, list[tuple[type[M], Any]]] = {}
    for method, options in chosen:
        groups.setdefault(compute.source(data, method), []).append((method, options))
    return groups


def plan_cells(
    chosen: "Chosen",
    data: Data,
    compute: Compute,
    protocol: "Protocol",
    *,
    seeds: "Sequence[int]",
    auxiliary: str,
    checkpoints: list[Path] | None,
) -> "dict[WeightsSource, Plan]":
    """Plan the cells of each backbone; what there cannot be is said."""
    from benchmark.cli import selection
    from benchmark.clip import BackboneError
    from benchmark.records import backbone_id
    from benchmark.running import Setting, plan

    auxiliaries = selection.select_auxiliaries(
        chosen, data.targets, data=data.root, paths=data.paths, override=auxiliary, checkpoints=checkpoints or []
    )
    by_source = by_backbone(chosen, data, compute)
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
        with uncollected():
            made[source] = plan(methods, data.targets, setting, seeds=seeds)
        for line in made[source].refused:
            say(f"left out: {line}")
        for line in made[source].problems:
            data.problems.append(line)
            say(f"FAILED {line}")
    if not any(each.jobs for each in made.values()):
        fail("nothing to run", code=1 if data.problems else 2)
    return made


def carry_out(
    made: "dict[WeightsSource, Plan]", data: Data, compute: Compute, protocol: "Protocol", *, dry_run: bool
) -> "list[Record]":
    """Run what is missing of a plan and return the records of all of it; none where it is a dry run."""
    from benchmark.records import path_of, read_record
    from benchmark.registry import source_sha256
    from benchmark.running import finished
    from benchmark.training import untrained

    settings = compute.settings
    for samples in data.targets:
        say(f"{samples.card.title}: {len(samples.test)} test images in {samples.directory}; {samples.reason}")
    jobs = [job for each in made.values() for job in each.jobs]
    with uncollected():
        done = {} if settings.force else finished(jobs, settings.results)
    todo = [job for job in jobs if job.cell.id not in done]
    loading = {}
    for source, each in made.items():
        missing = [job for job in each.jobs if job.cell.id not in done]
        trainings = untrained([job.training for job in missing if job.training], settings.results)
        say(f"{len(each.jobs)} cells, {len(missing)} to do, {len(trainings)} to train first, backbone {source.name}")
        if missing:
            loading[missing[0].cell.backbone] = compute.loading(source, protocol)
        if dry_run:
            for training in trainings:
                print(f"train  {training.id.id}")
            for job in each.jobs:
                print(f"{'done ' if job.cell.id in done else 'to do'}  {job.cell.id}")
    if dry_run:
        return []
    if todo:
        from benchmark.running import run

        with compute.executor(loading) as executor:
            run(todo, settings, executor, loading=loading, say=say)
    records = [done.get(job.cell.id) or read_record(path_of(settings.results, job.cell.id)) for job in jobs]
    sources = {method: source_sha256(method) for method in {job.method for job in jobs}}
    edited = {
        job.method.name
        for job, record in zip(jobs, records, strict=True)
        if record.run.source_sha256 not in (None, sources[job.method])
    }
    if edited:
        say(
            f"kept: results of {', '.join(sorted(edited))} from before the file was edited; if that can change a "
            "number, raise the method's version, or redo them with --force"
        )
    return records


def finish(records: "list[Record]", problems: list[str]) -> None:
    """End the command with exit code 1 if a cell failed or something was lacking."""
    failed = sum(record.status == "failed" for record in records)
    if failed:
        say(f"{failed} of {len(records)} cells failed; mend the cause and run the same command again")
    if failed or problems:
        sys.exit(1)
