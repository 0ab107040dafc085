"""Planning cells and running them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.api.ending import Ran, Tally, interruption, tell_of_reference
from benchmark.common import counted, listed, printable, tell
from benchmark.errors import BenchError, NothingToRunError

if TYPE_CHECKING:
    from benchmark.api.datasets import Targets
    from benchmark.api.requests import Computation, Learning
    from benchmark.clip import WeightsSource
    from benchmark.common import Settings
    from benchmark.contract import Method
    from benchmark.data import SampleSet
    from benchmark.protocol import Protocol
    from benchmark.records import BackboneId, Placement, Record
    from benchmark.running import Auxiliaries, Chosen, Job, Plan

M = TypeVar("M", bound="Method")


def identify(source: "WeightsSource", *, dtype: str) -> "BackboneId":
    """Return what identifies a backbone, and tell what is assumed of it that cannot be known."""
    from benchmark.clip import assumptions
    from benchmark.records import backbone_id

    identity = backbone_id(source, dtype=dtype)
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


def plan_cells(
    chosen: "Chosen",
    targets: "Targets",
    computation: "Computation",
    protocol: "Protocol",
    learning: "Learning",
) -> "dict[WeightsSource, Plan]":
    """Plan the cells of each backbone, and tell what is left out.

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
            identity = identify(source, dtype=computation.number_type)
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
        raise NothingToRunError("nothing to run") if targets.problems else BenchError("nothing to run")
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


def carry_out(
    plans: "dict[WeightsSource, Plan]",
    targets: "Targets",
    computation: "Computation",
    protocol: "Protocol",
    *,
    dry_run: bool = False,
    since: float | None = None,
) -> Ran:
    """Run the missing cells of some plans.

    Args:
        plans: From `plan_cells`.
        targets: The datasets.
        computation: How cells are computed.
        protocol: How maps are compared.
        dry_run: Print the cells on standard output, and run none.
        since: As in `Tally.told`.

    Raises:
        KeyboardInterrupt: The user stopped it. The error says what is kept.
    """
    from benchmark.records import is_done, path_of, place_record, read_record
    from benchmark.running import Outcome, aged, finished
    from benchmark.training import untrained

    settings = computation.settings
    _tell_of_data(targets.found)
    jobs = [job for each in plans.values() for job in each.jobs]
    done = {} if settings.force else finished(jobs, settings.results)
    todo = [job for job in jobs if job.cell.id not in done]
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
                print(f"train  {training.id.id}")
            for job in each.jobs:
                print(f"{'done ' if job.cell.id in done else 'to do'}  {job.cell.id}")
    if dry_run:
        return Ran()
    tell_of_reference(computation.results)
    outcome = Outcome()
    if todo:
        from benchmark.running import run

        tell(f"{_intent(todo, untrained_first)}; results go to {computation.results} and stay if it is stopped")
        try:
            with computation.opened(loading, todo) as (executor, fitting):
                outcome = run(todo, fitting, executor, loading=loading, say=tell)
        except KeyboardInterrupt:
            done_now = len(finished(jobs, settings.results))
            raise interruption(done_now, len(jobs), "cell", settings.results) from None
        failed = outcome.failed
        kept = [job for job in todo if job.cell.id in failed and is_done(settings.results, job.cell.id)]
        targets.problems.extend(f"{job.name}: {failed[job.cell.id]}" for job in kept)
    known = ((job, done.get(job.cell.id) or read_record(path_of(settings.results, job.cell.id))) for job in jobs)
    records = [aged(job, record, settings.results) for job, record in known]
    for index, (job, record) in enumerate(zip(jobs, records, strict=True)):
        if record.placement.joined(job.placement) != record.placement:  # made before, for other tables
            with settings.lock(job.cell.id):
                records[index] = place_record(settings.results, job.cell.id, job.placement)
    asked = {job.cell.id: job.placement for job in jobs if job.cell.id in done}
    records = _met_again(records, asked, settings)
    if edited := {record.cell.method for record in records if record.newer_source_sha256}:
        tell(
            f"kept: results of {', '.join(sorted(edited))} from before its files were edited; if that can change a "
            "number, raise the method's version, or train and score again with --force"
        )
    if settings.on_error == "fail" and (partial := [record for record in records if _left_out(record)]):
        tell(
            f"kept: results without images that could not be read (made with --on-error skip): "
            f"{listed([f'{record.title} on {record.dataset_title}' for record in partial], 3)}; "
            "mend the images and run again"
        )
    tally = Tally.of([job.cell.id for job in todo], outcome, there=len(jobs) - len(todo))
    return Ran(records, tally.told("cell", since=since))


def _met_again(records: "list[Record]", asked: "Mapping[str, Placement]", settings: "Settings") -> "list[Record]":
    """Return the records, of which those whose images, or whose row of an ablation, were put back now say so.

    Args:
        records: Those of the run.
        asked: For which tables the run asked, by the ids of the cells that were done before.
        settings: Those of the run.
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
