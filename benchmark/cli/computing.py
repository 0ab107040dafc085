"""What the commands that compute share: finding data, loading the backbone, planning cells and running them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.cli.data_options import DataOptions, FolderOptions, PartOptions
from benchmark.cli.ending import Ran, Tally, stopped, tell_of_reference
from benchmark.cli.executing import open_executor
from benchmark.cli.messages import fail, say
from benchmark.cli.options import CellOptions, ComputeOptions, ExecutorOptions, TrainingOptions, split
from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE
from benchmark.common import WORKERS, counted, listed, printable

if TYPE_CHECKING:
    from benchmark.clip import WeightsSource
    from benchmark.common import Settings
    from benchmark.contract import Method
    from benchmark.data import SampleSet
    from benchmark.protocol import Protocol
    from benchmark.records import BackboneId, Placement, Record
    from benchmark.running import Auxiliaries, Chosen, Executor, Job, Loading, Plan
    from benchmark.training import Training

M = TypeVar("M", bound="Method")


@dataclass(frozen=True)
class Targets:
    """The datasets that a command runs on."""

    places: DataOptions
    found: "list[SampleSet]"
    problems: list[str]
    """What was asked for and is not there; the command goes on without it and ends with exit code 1."""
    folders: "list[SampleSet]" = field(default_factory=list)
    """The plain folders, also those that methods are only trained on."""
    follow_links: bool = False
    asked: Sequence[str] = ()
    """The names of the datasets that were looked for."""


@dataclass(frozen=True)
class Computation:
    """The settings and the executor that the options of a command ask for."""

    compute: ComputeOptions
    executor: ExecutorOptions
    cells: CellOptions = field(default_factory=CellOptions)

    @cached_property
    def settings(self) -> "Settings":
        """How cells and trainings are run."""
        from benchmark.common import Settings, feature_cache

        return Settings(
            results=self.compute.results.absolute(),  # a method may change the working directory
            batch_size=self.compute.batch_size,
            workers=WORKERS if self.compute.workers is None else self.compute.workers,
            on_error=self.compute.on_error,
            force=self.cells.force,
            processes=self.executor.processes or 1,
            cell_timeout=self.executor.cell_timeout,
            cache=feature_cache(self.compute.cache_limit),
        )

    def source(self, targets: Targets, method: "type[Method]") -> "WeightsSource":
        """Return the backbone of --backbone, else the method's own on real data and a small one on generated data."""
        from benchmark.clip import parse_backbone

        if self.compute.backbone:
            return parse_backbone(self.compute.backbone)
        synthetic = all(samples.synthetic for samples in targets.found)
        return parse_backbone(MINI_BACKBONE if synthetic else method.backbone_on_real_data or DEFAULT_BACKBONE)

    def loading(self, source: "WeightsSource", protocol: "Protocol") -> "Loading":
        """Return how a backbone is loaded."""
        from benchmark.running import Loading

        compute = self.compute
        return Loading(source, compute.number_type, compute.device, protocol.pos_interp, compute.window_chunk)

    @contextmanager
    def opened(
        self, loading: "Mapping[BackboneId, Loading]", jobs: "Sequence[Job]", trainings: "Sequence[Training]" = ()
    ) -> "Iterator[tuple[Executor, Settings]]":
        """Yield the executor of --executor for some cells and trainings, and settings that fit it; close it at the end.

        Args:
            loading: How each backbone is loaded.
            jobs: The missing cells.
            trainings: The missing trainings, but for those that the cells name.
        """
        executor, settings = open_executor(
            self.executor,
            self.compute,
            self.settings,
            loading=loading,
            jobs=jobs,
            trainings=trainings,
        )
        try:
            yield executor, settings
        finally:
            executor.close()


def tell_of_mini(places: DataOptions, folders: FolderOptions) -> None:
    """Say that no data was given, before the seconds in which torch is imported."""
    if not (places.data or places.data_path or folders.folder):
        say("no data given: running on the mini suite, generated miniatures of 17 datasets")


def find_targets(
    datasets: str,
    places: DataOptions,
    *,
    folders: FolderOptions | None = None,
    part: PartOptions | None = None,
    every: bool = False,
    aside: Sequence[str] = (),
) -> Targets:
    """Find the named datasets, or all; they are those of the mini suite where no folder is given.

    Args:
        datasets: Names of datasets and of plain folders, with commas.
        places: Where the datasets are.
        folders: The plain folders. They are targets where none of them is named.
        part: Which part of the datasets is tested.
        every: All datasets that are found, though folders are given.
        aside: Names of plain folders that are no targets.
    """
    from benchmark.cli import selection
    from benchmark.data import read_folder, subsets

    known = {each.title: read_folder(each) for each in (folders.folders() if folders else [])}
    for card in selection.select_cards([]):
        for name in known.keys() & {card.name, card.title}:
            fail(
                f"--folder: {name} is the name of a dataset; give the folder another, as in --folder "
                f"my-{card.name}={known[name].directory}"
            )
    names = [name for name in split(datasets) if name not in known]
    own = [known[name] for name in split(datasets) if name in known]
    own = own or [each for name, each in known.items() if name not in aside]
    selection.select_cards(names)  # a wrong name is reported before the mini suite is made
    data, paths, follow_links = places.data, places.data_path, bool(folders and folders.follow_links)
    if data is None and not paths and not known:
        data = selection.mini_suite(say=say)
    found: list[SampleSet] = []
    problems: list[str] = []
    asked: list[str] = []
    if every or names or not own:
        asked = [card.name for card in selection.select_cards(names)]
        found, problems = selection.select_datasets(names, data=data, paths=paths, follow_links=follow_links)
    for problem in problems:
        say(f"FAILED {problem}")
    if known and not own and not found + problems:
        fail(f"{', '.join(known)}: trained on and not tested; name another folder to test, as in --folder NAME=DIR")
    if not found + own:
        fail("nothing to run on" if problems else selection.no_data(data), code=1 if problems else 2)
    selection.check_class_names([*found, *known.values()])
    targets = subsets(found + own, classes=split(part.classes), limit=part.limit) if part else found + own
    for samples in found + own:
        if all(samples.card.name != each.card.name for each in targets):
            say(f"left out: {samples.title}, which has none of the classes {part.classes if part else ''}")
    return Targets(replace(places, data=data), targets, problems, list(known.values()), follow_links, asked)


def identify(source: "WeightsSource", *, dtype: str) -> "BackboneId":
    """Return what identifies a backbone, and print what is assumed of it that cannot be known."""
    from benchmark.clip import assumptions
    from benchmark.records import backbone_id

    identity = backbone_id(source, dtype=dtype)
    for line in assumptions(identity.name, identity.architecture, identity.sha256):
        say(f"note: {line}")
    return identity


def by_backbone(
    chosen: "Sequence[tuple[type[M], Any]]", targets: Targets, computation: Computation
) -> "dict[WeightsSource, list[tuple[type[M], Any]]]":
    """Return the methods by the backbone they run with."""
    groups: dict[WeightsSource, list[tuple[type[M], Any]]] = {}
    for method, options in chosen:
        groups.setdefault(computation.source(targets, method), []).append((method, options))
    return groups


def plan_cells(
    chosen: "Chosen",
    targets: Targets,
    computation: Computation,
    protocol: "Protocol",
    training: TrainingOptions,
    *,
    checkpoints: Sequence[Path] = (),
) -> "dict[WeightsSource, Plan]":
    """Plan the cells of each backbone, and print what is left out."""
    from benchmark.cli import selection
    from benchmark.clip import BackboneError
    from benchmark.data import hold_out
    from benchmark.running import Setting, plan

    shots = max(method.shots(options) for method, options in chosen)
    datasets = [hold_out(samples, shots) for samples in targets.found]
    for samples in datasets:
        for note in samples.notes:
            say(f"{samples.title}: {note}")
    auxiliaries = selection.select_auxiliaries(
        chosen,
        targets.found,
        data=targets.places.data,
        paths=targets.places.data_path,
        rule=training.protocol,
        override=training.auxiliaries(),
        checkpoints=checkpoints,
        allow_overlap=computation.cells.allow_overlap,
        folders=targets.folders,
        asked=targets.asked,
        follow_links=targets.follow_links,
    )
    by_source = by_backbone(chosen, targets, computation)
    plans: dict[WeightsSource, Plan] = {}
    for source, methods in by_source.items():
        try:
            identity = identify(source, dtype=computation.compute.number_type)
            setting = selection.with_kept_checkpoints(
                Setting(identity, protocol, auxiliaries), methods, targets.found, computation.settings.results
            )
        except BackboneError as error:
            if len(by_source) == 1:
                raise
            targets.problems.append(str(error))
            say(f"FAILED {', '.join(method.title for method, _ in methods)}: {error}")
            continue
        plans[source] = plan(methods, datasets, setting, seeds=training.seed_numbers())
        for line in plans[source].refused:
            say(f"left out: {line}")
        for line in plans[source].problems:
            targets.problems.append(line)
            say(f"FAILED {line}")
    _check_checkpoints(checkpoints, auxiliaries, plans)
    if not any(each.jobs for each in plans.values()):
        fail("nothing to run", code=1 if targets.problems else 2)
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
                fail(
                    f"--checkpoint {path}: another of {known.method}, trained on {known.auxiliary.name}, is given too; "
                    "run the command once for each"
                )
            fail(
                f"--checkpoint {path}: it is of {known.method}, trained on {known.auxiliary.name}, and nothing here "
                "runs that; see --methods, --auxiliary and --protocol"
            )


def _tell_of_data(found: "Sequence[SampleSet]") -> None:
    for samples in found:
        say(printable(f"{samples.title}: {len(samples.test)} test images in {samples.directory}; {samples.reason}"))
        for warning in samples.warnings:
            say(printable(f"warning: {samples.title}: {warning}"))


def _intent(jobs: "Sequence[Job]", trainings: int) -> str:
    """Say in words what a run is about to do."""
    methods, targets = len({job.cell.method for job in jobs}), len({job.samples.title for job in jobs})
    first = f"{counted(trainings, 'training')} first, then " if trainings else ""
    return f"{first}{counted(methods, 'method')} on {counted(targets, 'dataset')}"


def carry_out(
    plans: "dict[WeightsSource, Plan]", targets: Targets, computation: Computation, protocol: "Protocol"
) -> Ran:
    """Run the missing cells of some plans."""
    from benchmark.records import is_done, path_of, place_record, read_record
    from benchmark.running import Outcome, aged, finished
    from benchmark.training import untrained

    settings, dry_run = computation.settings, computation.cells.dry_run
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
        say(f"{count}, {len(lacking)} to do, {len(trainings)} to train first, backbone {source.name}")
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
    tell_of_reference(computation.compute.results)
    outcome = Outcome()
    if todo:
        from benchmark.running import run

        say(f"{_intent(todo, untrained_first)}; results go to {computation.compute.results} and stay if it is stopped")
        try:
            with computation.opened(loading, todo) as (executor, fitting):
                outcome = run(todo, fitting, executor, loading=loading, say=say)
        except KeyboardInterrupt:
            stopped(len(finished(jobs, settings.results)), len(jobs), "cell", settings.results)
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
        say(
            f"kept: results of {', '.join(sorted(edited))} from before its files were edited; if that can change a "
            "number, raise the method's version, or train and score again with --force"
        )
    if settings.on_error == "fail" and (partial := [record for record in records if _left_out(record)]):
        say(
            f"kept: results without images that could not be read (made with --on-error skip): "
            f"{listed([f'{record.title} on {record.dataset_title}' for record in partial], 3)}; "
            "mend the images and run again"
        )
    tally = Tally.of([job.cell.id for job in todo], outcome, there=len(jobs) - len(todo))
    return Ran(records, tally.told("cell"))


def _met_again(records: "list[Record]", asked: "Mapping[str, Placement]", settings: "Settings") -> "list[Record]":
    """Return the records, of which those whose images, or whose row of an ablation, were put back now say so.

    Args:
        records: of the run.
        asked: for which tables the run asked, by the ids of the cells that were done before.
        settings: of the run.
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
