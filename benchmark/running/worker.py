"""Doing a task: encode, train, score or merge, and write what comes of it; safe against kills and other processes."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from benchmark.clip import Backbone
from benchmark.common import Settings, image_progress
from benchmark.contract import Method, VisionSpec, merge_specs
from benchmark.data import SampleSet
from benchmark.errors import BenchError
from benchmark.metrics import to_bytes
from benchmark.records import (
    BackboneId,
    Checkpoint,
    Record,
    RecordError,
    Run,
    TrainingReport,
    environment,
    is_trained,
    mean_over_classes,
    read_checkpoint,
    write_record,
)
from benchmark.registry import changed_options, source_sha256
from benchmark.running.evaluate import Pass, evaluate
from benchmark.running.parts import is_scored, part_path, read_parts, remove_parts, write_part
from benchmark.running.planning import Job, missing
from benchmark.running.tally import Outcome, merged
from benchmark.running.tasks import Reply, Task
from benchmark.training import build_method, encode_auxiliary, train_method

BackboneOf = Callable[[BackboneId], Backbone]


def do(task: Task, backbone_of: BackboneOf, settings: Settings, *, say: Callable[[str], None]) -> Reply:
    """Do a task and write its checkpoints, parts or records.

    What fails, fails alone and is told; what another process is at is told too, and left to it.

    Args:
        task: what to do.
        backbone_of: gives the backbone, loaded.
        settings: how to do it.
        say: called with a line for each cell and training that ends well.
    """
    doing = _Doing(task, settings, say)
    try:
        backbone = backbone_of(task.backbone)
        with ExitStack() as locks:
            mine = doing.lock(locks)
            {"encode": doing.encode, "train": doing.train, "score": doing.score, "merge": doing.merge}[task.kind](
                mine, backbone
            )
    except RecordError as error:
        return doing.reply(stop=str(error))
    except Exception as error:  # the backbone cannot be had, a broken installation, …
        for each in task.ids:
            if each not in doing.written:
                doing.fail(each, error)
    return doing.reply()


def failure(job: Job, error: str, settings: Settings) -> Record:
    """Return the record of a cell that failed."""
    run = Run(
        seconds={},
        batch_size=settings.batch_size,
        workers=settings.workers,
        peak_memory=None,
        device="unknown",
        source_sha256=source_sha256(job.method),
        **environment(),
    )
    return _record(job, run, status="failed", error=error)


@dataclass
class _Doing:
    task: Task
    settings: Settings
    say: Callable[[str], None]
    failed: dict[str, str] = field(default_factory=dict)
    busy: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    """Cells whose records were written."""

    def reply(self, *, stop: str | None = None) -> Reply:
        return Reply(failed=self.failed, busy=tuple(self.busy), stop=stop)

    def fail(self, identity: str, error: Exception) -> None:
        message = str(error) or "no message"
        self.failed[identity] = f"{type(error).__name__}: {message}"

    def lock(self, locks: ExitStack) -> set[str]:
        """Take the locks of the cells or trainings that no other process is at, and return their ids."""
        mine = set()
        for identity in self.task.ids if self.task.kind != "encode" else ():  # that has a lock of its own
            try:
                locks.enter_context(self.settings.lock(lock_name(self.task, identity), timeout=0))
            except Timeout:
                self.busy.append(identity)
            else:
                mine.add(identity)
        return mine

    def encode(self, _: set[str], backbone: Backbone) -> None:
        """Put the features of an auxiliary dataset into the cache."""
        failed = encode_auxiliary(self.task.trainings, backbone, self.settings, say=self.say)
        for identity, error in failed.items():
            self.fail(identity, error)

    def train(self, mine: set[str], backbone: Backbone) -> None:
        """Train a method, unless another process has done it since it was found missing."""
        for training in self.task.trainings:
            if training.id.id in mine and not is_trained(self.settings.results, training.id):
                try:
                    train_method(training, backbone, self.settings, say=self.say)
                except Exception as error:  # a method's own code may raise anything
                    self.fail(training.id.id, error)

    def score(self, mine: set[str], backbone: Backbone) -> None:
        """Score a dataset, or a part of it, in as few passes as the methods' image sizes allow."""
        ready: list[tuple[Job, Method]] = []
        for job in self.undone(mine):
            try:
                _refuse_broken_data(job.samples, self.settings)
                method = self.build(job, backbone)
                method.vision()
            except Exception as error:  # a method's own code may raise anything
                self.fail(job.cell.id, error)
            else:
                ready.append((job, method))
        for spec in merge_specs(method.vision() for _, method in ready):
            sharing = [(job, method) for job, method in ready if method.vision().image_size == spec.image_size]
            done = self.evaluated(sharing, backbone, spec)
            for (job, _), outcome in zip(sharing, done.outcomes, strict=True):
                outcome.seconds = {**done.seconds, **outcome.seconds}
                if outcome.error is not None:
                    self.fail(job.cell.id, outcome.error)
                elif self.task.spans:
                    write_part(self.part(job), outcome)
                else:
                    self.write(job, outcome, backbone)

    def evaluated(self, sharing: Sequence[tuple[Job, Method]], backbone: Backbone, spec: VisionSpec) -> Pass:
        """Return what a pass gives; where it breaks down, that each method failed."""
        data, (span,) = sharing[0][0].samples, self.task.spans or (slice(0, None),)
        try:
            with image_progress(self.task.title, len(data.test[span])) as progress:
                return evaluate(
                    [method for _, method in sharing],
                    backbone,
                    data,
                    spec,
                    references=[job.references for job, _ in sharing],
                    protocol=sharing[0][0].cell.protocol,
                    batch_size=self.settings.batch_size,
                    workers=self.settings.workers,
                    on_error=self.settings.on_error,
                    span=span,
                    progress=progress,
                    say=self.say,
                )
        except Exception as error:  # out of memory with one image, a killed loader process, …: the others go on
            return Pass([Outcome(error=error) for _ in sharing], {})

    def merge(self, mine: set[str], backbone: Backbone) -> None:
        """Put cells together of their parts."""
        for job in self.undone(mine):
            data = job.samples
            try:
                parts = read_parts(self.settings.results, job.cell.id, self.task.spans, source_sha256(job.method))
            except BenchError as error:
                self.fail(job.cell.id, error)
                continue
            order = dict.fromkeys(sample.class_name for sample in data.test)
            self.write(job, merged(parts, tuple(order), with_masks=data.has_masks), backbone)
        for identity in mine - self.failed.keys():
            remove_parts(self.settings.results, identity)

    def undone(self, mine: set[str]) -> list[Job]:
        """Return those of the locked cells that no other process has done since they were found missing."""
        jobs = [job for job in self.task.jobs if job.cell.id in mine]
        jobs = missing(jobs, self.settings.results, force=self.settings.force)
        if self.task.kind == "merge" or not self.task.spans:
            return jobs
        return [job for job in jobs if not is_scored(self.part(job))]

    def part(self, job: Job) -> Path:
        """Return where the part of a cell lies that the task is to score."""
        return part_path(self.settings.results, job.cell.id, self.task.spans[0], source_sha256(job.method))

    def build(self, job: Job, backbone: Backbone) -> Method:
        """Return the method of a job with what it learned."""
        checkpoint = job.training.checkpoint(self.settings.results) if job.training else None
        return build_method(job.method, backbone, job.options, seed=job.cell.seed, checkpoint=checkpoint)

    def write(self, job: Job, outcome: Outcome, backbone: Backbone) -> None:
        """Write the record of a cell and say so."""
        run = Run(
            seconds={name: round(value, 3) for name, value in outcome.seconds.items()},
            batch_size=self.settings.batch_size,
            workers=self.settings.workers,
            peak_memory=_peak_memory(backbone.device),
            device=_device_name(backbone.device),
            source_sha256=source_sha256(job.method),
            **environment(),
        )
        record = _record(
            job,
            run,
            status="done",
            image_size=outcome.image_size,
            classes=outcome.classes,
            mean=mean_over_classes(outcome.classes.values()),
            training=_training_report(job, self.settings.results),
        )
        write_record(self.settings.results, record, to_bytes(outcome.images))
        self.written.add(record.id)
        self.say(f"done   {job.title} on {job.samples.card.title}: {describe(record)}")


def lock_name(task: Task, identity: str) -> str:
    """Return the name of the lock under which a cell, a part of it or a training is done."""
    return "--".join([identity, *(f"{span.start}-{span.stop}" for span in task.spans if task.kind == "score")])


def _record(job: Job, run: Run, **known: Any) -> Record:
    card, training = job.samples.card, known.get("training")
    weights = job.cell.backbone.synthetic or (training is not None and training.synthetic)
    generated = {"data": job.samples.synthetic, "weights": weights}
    return Record(
        id=job.cell.id,
        title=job.title,
        dataset_title=card.title,
        domain=card.domain,
        cell=job.cell,
        changed=changed_options(job.options),
        synthetic=tuple(what for what, is_so in generated.items() if is_so),
        warnings=job.samples.warnings,
        run=run,
        **known,
    )


def _training_report(job: Job, results: Path) -> TrainingReport | None:
    if job.training is None:
        return None
    path = job.training.checkpoint(results)
    known = read_checkpoint(path)
    same = known.model_dump(include=TrainingReport.model_fields.keys() & Checkpoint.model_fields.keys())
    return TrainingReport(checkpoint=path.stem, **same)


def _refuse_broken_data(data: SampleSet, settings: Settings) -> None:
    fatal = [problem for problem in data.problems if problem.fatal]
    if fatal and settings.on_error == "fail":
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise ValueError(
            f"{fatal[0].path}: {fatal[0].message}{more}; `bench data check {data.card.name}` lists them, "
            "--on-error skip leaves them out"
        )


def describe(record: Record) -> str:
    """Return the counts and the main numbers of a record in one line."""
    normal = sum(result.normal for result in record.classes.values())
    anomalous = sum(result.anomalous for result in record.classes.values())
    skipped = sum(len(result.skipped) for result in record.classes.values())
    parts = [f"{normal + anomalous} images ({normal} normal, {anomalous} anomalous)"]
    parts += [f"{skipped} skipped"] if skipped else []
    for metric in ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro"):
        value = record.mean.get(metric)
        parts += [f"{metric.replace('_', ' ')} {100 * value:.1f}"] if value is not None else []
    return ", ".join(parts) + f", {record.run.seconds['total']:.1f} s"


def _peak_memory(device: str) -> int | None:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
