"""Running cells: what is missing, one pass per dataset, one record per cell, safe against kills and other processes."""

import itertools
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import Timeout

from benchmark.backbone import Backbone
from benchmark.checkpoints import Checkpoint, read_checkpoint
from benchmark.contract import Method, merge_specs
from benchmark.evaluate import Outcome, Pass, evaluate
from benchmark.fitting import build_method, ensure_trained
from benchmark.per_image import to_bytes
from benchmark.plan import Job, missing
from benchmark.progress import image_progress
from benchmark.records import (
    Record,
    Run,
    TrainingReport,
    environment,
    is_done,
    mean_over_classes,
    write_record,
)
from benchmark.registry import changed_options, source_sha256
from benchmark.samples import SampleSet
from benchmark.settings import Settings


def run(jobs: Sequence[Job], backbone: Backbone, settings: Settings, *, say: Callable[[str], None]) -> None:
    """Run the missing jobs, writing a record each; cells that share a dataset and an image size share one pass.

    Methods that learn are trained first, where there is no checkpoint yet. A failed cell is recorded with its error and
    the run goes on. A cell that another process is computing is waited for at the end and not computed twice.

    Args:
        jobs: from `plan`, those of one dataset side by side.
        backbone: the one the jobs were planned with.
        settings: how to run.
        say: called with a line for each cell that ends.

    Raises:
        RecordError: a record cannot be written (disk full, no permission); those written before are safe.
    """
    todo = missing(jobs, settings.results, force=settings.force)
    trainings = [job.training for job in todo if job.training is not None]
    runner = _Runner(backbone, settings, say, ensure_trained(trainings, backbone, settings, say=say))
    for _, group in itertools.groupby(todo, key=lambda job: job.cell.dataset):
        runner.run_unlocked(list(group))
    for job in runner.busy:
        say(f"waiting for another process that is computing {job.cell.id}")
        with settings.lock(job.cell.id):
            if not is_done(settings.results, job.cell.id):
                runner.compute([job])


@dataclass
class _Runner:
    backbone: Backbone
    settings: Settings
    say: Callable[[str], None]
    untrained: dict[str, Exception]
    """Why a training failed, by its id."""
    busy: list[Job] = field(default_factory=list)
    """Jobs that another process held when their turn came."""

    def run_unlocked(self, jobs: list[Job]) -> None:
        """Compute those jobs of one dataset that no other process holds."""
        mine = []
        with ExitStack() as locks:
            for job in jobs:
                try:
                    locks.enter_context(self.settings.lock(job.cell.id, timeout=0))
                except Timeout:
                    self.busy.append(job)
                    continue
                mine.append(job)
            # Another process may have finished some of them since they were found missing.
            self.compute(missing(mine, self.settings.results, force=self.settings.force))

    def compute(self, jobs: list[Job]) -> None:
        """Compute jobs of one dataset, in as few passes as their image sizes allow, and write their records."""
        ready: list[tuple[Job, Method]] = []
        for job in jobs:
            try:
                _refuse_broken_data(job.samples, self.settings)
                method = self.build(job)
                method.vision()
            except Exception as error:  # a method's own code may raise anything
                self.write(job, Outcome(error=error), {"total": 0.0}, image_size=None)
            else:
                ready.append((job, method))
        for spec in merge_specs(method.vision() for _, method in ready):
            sharing = [(job, method) for job, method in ready if method.vision().image_size == spec.image_size]
            data = jobs[0].samples
            title = f"{data.card.title}: {', '.join(job.title for job, _ in sharing)}"
            try:
                with image_progress(title, len(data.test)) as progress:
                    done = evaluate(
                        [method for _, method in sharing],
                        self.backbone,
                        data,
                        spec,
                        references=[job.references for job, _ in sharing],
                        protocol=jobs[0].cell.protocol,
                        batch_size=self.settings.batch_size,
                        workers=self.settings.workers,
                        on_error=self.settings.on_error,
                        progress=progress,
                    )
            except Exception as error:  # out of memory, a killed loader process, …: the other datasets go on
                done = Pass([Outcome(error=error) for _ in sharing], {"total": 0.0})
            for (job, _), outcome in zip(sharing, done.outcomes, strict=True):
                self.write(job, outcome, done.seconds, image_size=spec.image_size)

    def build(self, job: Job) -> Method:
        """Return the method of a job with what it learned.

        Raises:
            Exception: its training failed, or whatever the method's own code raises.
        """
        if job.training and (error := self.untrained.get(job.training.id.id)):
            raise error
        checkpoint = job.training.checkpoint(self.settings.results) if job.training else None
        return build_method(job.method, self.backbone, job.options, seed=job.cell.seed, checkpoint=checkpoint)

    def write(self, job: Job, outcome: Outcome, seconds: dict[str, float], *, image_size: int | None) -> None:
        """Write the record of a job and say so."""
        card = job.samples.card
        failed = outcome.error is not None
        training = None if failed else _training_report(job, self.settings.results)
        weights = self.backbone.synthetic or (training is not None and training.synthetic)
        generated = {"data": job.samples.synthetic, "weights": weights}
        record = Record(
            id=job.cell.id,
            title=job.title,
            dataset_title=card.title,
            domain=card.domain,
            cell=job.cell,
            changed=changed_options(job.options),
            image_size=image_size,
            status="failed" if failed else "done",
            error=f"{type(outcome.error).__name__}: {outcome.error}" if failed else None,
            synthetic=tuple(what for what, is_so in generated.items() if is_so),
            warnings=job.samples.warnings,
            classes={} if failed else outcome.classes,
            mean={} if failed else mean_over_classes(outcome.classes.values()),
            training=training,
            run=Run(
                seconds={name: round(value, 3) for name, value in {**seconds, **outcome.seconds}.items()},
                batch_size=self.settings.batch_size,
                workers=self.settings.workers,
                peak_memory=_peak_memory(self.backbone.device),
                device=_device_name(self.backbone.device),
                source_sha256=source_sha256(job.method),
                **environment(),
            ),
        )
        write_record(self.settings.results, record, None if failed else to_bytes(outcome.images))
        where = f"{job.title} on {card.title}"
        self.say(f"FAILED {where}: {record.error}" if failed else f"done   {where}: {describe(record)}")


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
