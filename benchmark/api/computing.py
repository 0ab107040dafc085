"""Planning cells and running them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.api.ending import Ran, Tally, interruption, tell_of_reference
from benchmark.common import counted, listed, printable, tell
from benchmark.errors import BenchError, NothingToRunError

if TYPE_CHECKING:
    from benchmark.api.datasets import Targets
    from benchmark.api.requests import Computation, Learning, Places
    from benchmark.clip import WeightsSource
    from benchmark.common import Settings
    from benchmark.contract import Method
    from benchmark.data import SampleSet
    from benchmark.protocol import Protocol
    from benchmark.records import BackboneId, Cell, Placement, Record, TrainingId
    from benchmark.running import Auxiliaries, Chosen, Job, Loading, Outcome, Plan

    Placements = Mapping[tuple[type[Method], Any], Placement]

M = TypeVar("M", bound="Method")


def identify(source: "WeightsSource", *, dtype: str, download: bool = True) -> "BackboneId":
    """Return what identifies a backbone, and tell what is assumed of it that cannot be known.

    Args:
        source: Its weights.
        dtype: Number type in which it computes.
        download: Whether weights that are not on this machine are downloaded; a dry run does without.
    """
    from benchmark.clip import assumptions
    from benchmark.records import UNKNOWN_SHA256, backbone_id

    identity = backbone_id(source, dtype=dtype, download=download)
    if identity.sha256 == UNKNOWN_SHA256:
        tell(
            f"note: the weights of {source.name} are not on this machine, and their sha256, which is part of each id, "
            "is not published; cells and trainings are listed without ids"
        )
    for line in assumptions(identity.name, identity.architecture, identity.sha256):
        tell(f"note: {line}")
    return identity


def by_backbone(
    chosen: "Sequence[tuple[type[M], Any]]", targets: "Targets", computation: "Computation"
) -> "dict[WeightsSource, list[tuple[type[M], Any]]]":
    """Return the methods by the backbone they run with."""
    groups: dict[WeightsSource, list[tuple[type[M], Any]]] = {}
    for method, options in chosen:
        groups.setdefault(computation.source(method, synthetic=targets.synthetic), []).append((method, options))
    return groups


def _plan_cells(
    chosen: "Chosen",
    targets: "Targets",
    computation: "Computation",
    protocol: "Protocol",
    learning: "Learning",
    *,
    download: bool,
) -> "dict[WeightsSource, Plan]":
    """Plan the cells of each backbone, and tell what is left out. Weights are downloaded if `download`.

    Raises:
        BenchError: A name or a checkpoint is wrong or has no effect, or nothing can be run.
    """
    from benchmark.api.selection import select_auxiliaries, with_kept_checkpoints
    from benchmark.clip import BackboneError
    from benchmark.data import hold_out
    from benchmark.running import Setting, plan

    shots = max(method.shots(options) for method, options in chosen)
    datasets = [hold_out(samples, shots) for samples in targets.found]
    for samples in datasets:
        for note in samples.notes:
            tell(f"{samples.title}: {note}")
    auxiliaries = select_auxiliaries(chosen, targets, learning)
    by_source = by_backbone(chosen, targets, computation)
    plans: dict[WeightsSource, Plan] = {}
    for source, methods in by_source.items():
        try:
            identity = identify(source, dtype=computation.number_type, download=download)
            setting = with_kept_checkpoints(
                Setting(identity, protocol, auxiliaries), methods, targets.found, computation.settings.results
            )
        except BackboneError as error:
            if len(by_source) == 1:
                raise
            targets.problems.append(str(error))
            tell(f"FAILED {', '.join(method.title for method, _ in methods)}: {error}")
            continue
        plans[source] = plan(methods, datasets, setting, seeds=learning.seeds)
        for line in plans[source].refused:
            tell(f"left out: {line}")
        for line in plans[source].problems:
            targets.problems.append(line)
            tell(f"FAILED {line}")
    _check_checkpoints(learning.checkpoints, auxiliaries, plans)
    if not any(each.jobs for each in plans.values()):
        problems = targets.problems
        raise NothingToRunError("nothing to run", problems) if problems else BenchError("nothing to run")
    return plans


def _check_checkpoints(
    paths: Sequence[Path], auxiliaries: "Auxiliaries", plans: "Mapping[WeightsSource, Plan]"
) -> None:
    """Refuse a checkpoint that was given and that no cell takes, but for one whose targets are all refused."""
    used = {job.training.given for each in plans.values() for job in each.jobs if job.training}
    refused = any(each.refused for each in plans.values())
    for path in paths:
        if path not in used and not refused:
            known = auxiliaries.checkpoints[path].training
            others = [auxiliaries.checkpoints[each].training for each in paths if each in used]
            if any((each.method, each.auxiliary.name) == (known.method, known.auxiliary.name) for each in others):
                raise BenchError(
                    f"--checkpoint {path}: another of {known.method}, trained on {known.auxiliary.name}, is given too; "
                    "run the command once for each"
                )
            raise BenchError(
                f"--checkpoint {path}: it is of {known.method}, trained on {known.auxiliary.name}, and nothing here "
                "runs that; see --methods, --auxiliary and --protocol"
            )


def _tell_of_data(found: "Sequence[SampleSet]") -> None:
    for samples in found:
        tell(printable(f"{samples.title}: {len(samples.test)} test images in {samples.directory}; {samples.reason}"))
        for warning in samples.warnings:
            tell(printable(f"warning: {samples.title}: {warning}"))


def _intent(jobs: "Sequence[Job]", trainings: int) -> str:
    """Say in words what a run is about to do."""
    methods, targets = len({job.cell.method for job in jobs}), len({job.samples.title for job in jobs})
    first = f"{counted(trainings, 'training')} first, then " if trainings else ""
    return f"{first}{counted(methods, 'method')} on {counted(targets, 'dataset')}"


def run_methods(
    chosen: "Chosen",
    protocol: "Protocol",
    datasets: Sequence[str],
    *,
    places: "Places",
    learning: "Learning",
    computation: "Computation",
    classes: Sequence[str] = (),
    limit: int | None = None,
    every: bool = False,
    placements: "Placements" = MappingProxyType({}),
    dry_run: bool = False,
    since: float,
) -> Ran:
    """Find the datasets, and run the missing cells of methods on them.

    Args:
        chosen: Methods with their options, from `select_methods`.
        protocol: How maps are compared, from `select_methods`.
        datasets: Names of datasets and of plain folders; the other arguments about them are those of `find_targets`.
        places: Where images are.
        learning: What is trained on.
        computation: How cells are computed.
        classes: Only these classes are tested.
        limit: Most test images of a class.
        every: All datasets of the papers that are found, though folders are given.
        placements: As in `run_on`.
        dry_run: Print the cells on standard output, and run none.
        since: When it began, by `time.monotonic`.

    Raises:
        BenchError: A name or a value is wrong, or nothing can be run.
        KeyboardInterrupt: The user stopped it. The error says what is kept.
    """
    from benchmark.api.datasets import find_targets

    targets = find_targets(datasets, places, classes=classes, limit=limit, every=every, aside=learning.auxiliary)
    return run_on(
        targets,
        chosen,
        protocol,
        learning=learning,
        computation=computation,
        placements=placements,
        dry_run=dry_run,
        since=since,
    )


def run_on(
    targets: "Targets",
    chosen: "Chosen",
    protocol: "Protocol",
    *,
    learning: "Learning",
    computation: "Computation",
    placements: "Placements" = MappingProxyType({}),
    dry_run: bool = False,
    since: float,
) -> Ran:
    """Run the missing cells of methods on datasets that are found.

    Args:
        targets: From `find_targets`.
        chosen: Methods with their options.
        protocol: How maps are compared.
        learning: What is trained on.
        computation: How cells are computed.
        placements: For which tables cells are made, by method and options; without, for the main tables.
        dry_run: Print the cells on standard output, and run none.
        since: When it began, by `time.monotonic`.

    Raises:
        BenchError: A name or a checkpoint is wrong or has no effect, or nothing can be run.
        KeyboardInterrupt: The user stopped it. The error says what is kept.
    """
    from benchmark.api.typed import forget_edited

    plans = _plan_cells(chosen, targets, computation, protocol, learning, download=not dry_run)
    if placements:
        for plan in plans.values():
            plan.jobs = [replace(job, placement=placements[job.method, job.options]) for job in plan.jobs]
    jobs = [job for plan in plans.values() for job in plan.jobs]
    _tell_of_data(targets.found)
    if not dry_run:
        forget_edited(jobs, computation.settings)
    todo = _todo(plans, computation, protocol, dry_run=dry_run)
    if dry_run:
        return Ran(problems=targets.problems)
    tell_of_reference(computation.results)
    outcome = _carry_out(jobs, todo, computation)
    failed, settings = outcome.failed, computation.settings
    targets.problems.extend(f"{job.name}: {failed[job.cell.id]}" for job in _kept(todo.jobs, outcome, settings))
    records = _records(jobs, todo.done, settings)
    _tell_of_kept(records, settings)
    tally = Tally.of([job.cell.id for job in todo.jobs], outcome, there=len(jobs) - len(todo.jobs))
    return Ran(records, tally.told("cell", since=since), targets.problems)


@dataclass(frozen=True)
class _ToDo:
    """What is missing of some plans."""

    jobs: "list[Job]"
    done: "Mapping[str, Record]"
    """The records of the other cells, by id."""
    trainings: int
    """Trainings that come first."""
    loading: "Mapping[BackboneId, Loading]"


def _todo(
    plans: "Mapping[WeightsSource, Plan]", computation: "Computation", protocol: "Protocol", *, dry_run: bool
) -> _ToDo:
    """Return what is missing, and tell how much; a dry run prints each training and cell."""
    from benchmark.running import finished
    from benchmark.training import untrained

    settings = computation.settings
    jobs = [job for each in plans.values() for job in each.jobs]
    done = {} if settings.force else finished(jobs, settings.results)
    loading, untrained_first = {}, 0
    for source, each in plans.items():
        lacking = [job for job in each.jobs if job.cell.id not in done]
        wanted = [job.training for job in lacking if job.training]
        trainings = untrained(wanted, settings.results, force=settings.force)
        count = counted(len(each.jobs), "cell")
        tell(f"{count}, {len(lacking)} to do, {len(trainings)} to train first, backbone {source.name}")
        untrained_first += len(trainings)
        if lacking:
            loading[lacking[0].cell.backbone.weights] = computation.loading(source, protocol)
        if dry_run:
            for training in trainings:
                print(f"train  {_shown_id(training.id)}")
            for job in each.jobs:
                print(f"{'done ' if job.cell.id in done else 'to do'}  {_shown_id(job.cell)}")
    return _ToDo([job for job in jobs if job.cell.id not in done], done, untrained_first, loading)


def _shown_id(what: "Cell | TrainingId") -> str:
    """Return an id; where it is known only after the weights were downloaded, its beginning."""
    from benchmark.records import UNKNOWN_SHA256

    return what.id.rpartition("--")[0] if what.backbone.sha256 == UNKNOWN_SHA256 else what.id


def _carry_out(jobs: "Sequence[Job]", todo: _ToDo, computation: "Computation") -> "Outcome":
    """Run the missing cells.

    Raises:
        KeyboardInterrupt: The user stopped it. The error says what is kept.
    """
    from benchmark.running import Outcome, finished, run

    if not todo.jobs:
        return Outcome()
    tell(f"{_intent(todo.jobs, todo.trainings)}; results go to {computation.results} and stay if it is stopped")
    try:
        with _state_kept(), computation.opened(todo.loading, todo.jobs) as (executor, fitting):
            return run(todo.jobs, fitting, executor, loading=todo.loading, say=tell)
    except KeyboardInterrupt:
        results = computation.settings.results
        raise interruption(len(finished(jobs, results)), len(jobs), "cell", results) from None


@contextmanager
def _state_kept() -> "Iterator[None]":
    """Put back the random generators and the number of threads, which those who call may use too."""
    import random

    import torch

    python, threads = random.getstate(), torch.get_num_threads()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        torch.set_num_threads(threads)


def _kept(todo: "Sequence[Job]", outcome: "Outcome", settings: "Settings") -> "list[Job]":
    """Return the cells that failed now and have results of before."""
    from benchmark.records import is_done

    return [job for job in todo if job.cell.id in outcome.failed and is_done(settings.results, job.cell.id)]


def _records(jobs: "Sequence[Job]", done: "Mapping[str, Record]", settings: "Settings") -> "list[Record]":
    """Return the records of all cells, placed in the tables for which they are asked now.

    Args:
        jobs: The cells.
        done: The records of those that were done before, by id.
        settings: Of the run.
    """
    from benchmark.records import path_of, place_record, read_record
    from benchmark.running import aged

    known = ((job, done.get(job.cell.id) or read_record(path_of(settings.results, job.cell.id))) for job in jobs)
    records = [aged(job, record, settings.results) for job, record in known]
    for index, (job, record) in enumerate(zip(jobs, records, strict=True)):
        if record.placement.joined(job.placement) != record.placement:  # made before, for other tables
            with settings.lock(job.cell.id):
                records[index] = place_record(settings.results, job.cell.id, job.placement)
    return _met_again(records, {job.cell.id: job.placement for job in jobs if job.cell.id in done}, settings)


def _tell_of_kept(records: "Sequence[Record]", settings: "Settings") -> None:
    """Tell which results are of before an edit, or lack images that could not be read."""
    if edited := {record.cell.method for record in records if record.newer_source_sha256}:
        whose = "its" if len(edited) == 1 else "their"
        tell(
            f"kept: results of {', '.join(sorted(edited))} from before {whose} files were edited; if that can change a "
            "number, raise the method's version, or train and score again with --force"
        )
    if settings.on_error == "fail" and (partial := [record for record in records if _left_out(record)]):
        tell(
            f"kept: results without images that could not be read (made with --on-error skip): "
            f"{listed([f'{record.title} on {record.dataset_title}' for record in partial], 3)}; "
            "mend the images and run again"
        )


def _met_again(records: "list[Record]", asked: "Mapping[str, Placement]", settings: "Settings") -> "list[Record]":
    """Return the records, of which those whose images, or whose row of an ablation, were put back now say so.

    Args:
        records: Of the run.
        asked: For which tables the run asked, by the ids of the cells that were done before.
        settings: Of the run.
    """
    from benchmark.records import keep_record, read_records
    from benchmark.tables import put_back

    met = [each.model_copy(update={"placement": asked[each.id]}) for each in records if each.id in asked]
    again = {record.id for record in put_back(met, read_records(settings.results)[0])} if met else ()
    kept = {}
    for cell_id in again:
        with settings.lock(cell_id):
            kept[cell_id] = keep_record(settings.results, cell_id)
    return [kept.get(record.id, record) for record in records]


def _left_out(record: "Record") -> bool:
    """Say whether images were left out of the results, or of the training before them."""
    trained = record.training.skipped if record.training else ()
    return bool(trained) or any(result.skipped for result in record.classes.values())
