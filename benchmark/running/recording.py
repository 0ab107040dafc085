"""From what workers found to the record of a cell, with where and how each class was scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.clip import assumptions
from benchmark.common import Settings, device_name, year_in
from benchmark.data import DatasetError, ImageError, SampleSet
from benchmark.metrics import MAIN_METRICS
from benchmark.records import (
    Checkpoint,
    ClassFile,
    Record,
    Run,
    TrainingReport,
    class_path,
    code_key,
    combined,
    environment,
    images_of,
    mean_over_classes,
    path_key,
    placed,
    read_checkpoint,
    read_class,
    remove_classes,
    undefined_notes,
    with_intervals,
    write_record,
)
from benchmark.registry import source_sha256
from benchmark.running.planning import Job
from benchmark.running.tasks import class_places


def class_run(
    job: Job,
    settings: Settings,
    device: str,
    *,
    seconds: Mapping[str, float],
    own_pass: bool,
    peak_memory: int | None,
) -> Run:
    """Return how and where this process scored a class."""
    return Run(
        seconds={name: round(value, 3) for name, value in seconds.items()},
        batch_size=settings.batch_size,
        workers=settings.workers,
        own_pass=own_pass,
        processes=settings.side_by_side,
        peak_memory=peak_memory,
        device=device_name(device),
        source_sha256=source_sha256(job.method),
        **environment(),
    )


def class_paths(job: Job, settings: Settings) -> dict[str, Path]:
    """Return where each class of a cell lies, in the order of the samples."""
    learned = read_checkpoint(job.training.checkpoint(settings.results)).sha256 if job.training else None
    code, places = code_key(source_sha256(job.method), learned), class_places(job.samples)
    return {name: class_path(settings.results, job.cell.id, place, code) for name, place in places.items()}


def write_if_whole(job: Job, settings: Settings) -> Record | None:
    """Write the record of a cell if all its classes are there, and remove them; return it, or None if one is missing.

    Raises:
        ClassResultError: a class is damaged.
        DatasetError: an image or a mask was changed meanwhile.
        ImageError: no image could be read.
        RecordError: the record cannot be written.
    """
    paths = class_paths(job, settings)
    with settings.lock(job.cell.id):  # of several processes that saw the last class, one writes
        if not all(path.exists() for path in paths.values()):
            _check_unchanged(job, settings)
            return None
        found = {path: read_class(path) for path in paths.values()}
        results = [known.result for known in found.values()]
        if not any(result.normal + result.anomalous for result in results):
            remove_classes(settings.results, job.cell.id)  # so that the next run tries again
            skipped = [each for result in results for each in result.skipped]
            raise ImageError(f"none of {len(skipped)} images could be read; the first: {skipped[0].reason}")
        _check_unchanged(job, settings)
        images = images_of(found)
        record = with_intervals(_record(job, list(found.values()), settings.results), images)
        write_record(settings.results, record, images)
        remove_classes(settings.results, job.cell.id)
    return record


def _check_unchanged(job: Job, settings: Settings) -> None:
    """Remove all classes of a cell if the images changed that this process scored; others see to theirs."""
    try:
        job.samples.check_unchanged()
    except DatasetError:
        remove_classes(settings.results, job.cell.id)
        raise


def _record(job: Job, found: Sequence[ClassFile], results: Path) -> Record:
    classes = {each.class_name: each.result for each in found}
    training = _training_report(job, results)
    runs = [result.run for result in classes.values() if result.run]
    known = _common(job, training, results)
    if len(devices := dict.fromkeys(run.device for run in runs)) > 1:
        known["warnings"] += (f"its classes were scored on different devices: {', '.join(devices)}",)
    return Record(
        **known,
        status="done",
        image_size=found[0].image_size,
        parameters=found[0].parameters,
        scores_whole_class=bool(job.method.scores_whole_class(job.options)),
        classes=classes,
        prompts=job.samples.test_classes,
        mean=mean_over_classes(classes.values()),
        training=training,
        run=combined(runs),
    )


def failure(job: Job, error: str, settings: Settings) -> Record:
    """Return the record of a cell that failed."""
    run = Run(
        seconds={},
        batch_size=settings.batch_size,
        workers=settings.workers,
        processes=settings.side_by_side,
        peak_memory=None,
        device="unknown",
        source_sha256=source_sha256(job.method),
        **environment(),
    )
    return Record(**_common(job, None, settings.results), status="failed", error=error, run=run)


def _common(job: Job, training: TrainingReport | None, results: Path) -> dict[str, Any]:
    card, backbone = job.samples.card, job.cell.backbone
    synthetic_weights = backbone.synthetic or (training is not None and training.synthetic)
    generated = {"data": job.samples.synthetic, "weights": synthetic_weights}
    return {
        "id": job.cell.id,
        "title": job.title,
        "dataset_title": job.samples.title,
        "domain": card.domain,
        "beyond": card.beyond,
        "year": year_in(job.method.paper),
        "cell": job.cell,
        "synthetic": tuple(what for what, is_so in generated.items() if is_so),
        "warnings": (
            *job.samples.warnings,
            *job.warnings,
            *assumptions(backbone.name, backbone.architecture, backbone.sha256),
        ),
        "location": path_key(job.samples.directory) if card.domain == "custom" else None,
        "placement": placed(results, job.cell.id, job.placement),
    }


def _training_report(job: Job, results: Path) -> TrainingReport | None:
    if job.training is None:
        return None
    path = job.training.checkpoint(results)
    known = read_checkpoint(path)
    same = known.model_dump(include=TrainingReport.model_fields.keys() & Checkpoint.model_fields.keys())
    return TrainingReport(checkpoint=path.stem, magnifies=job.training.method.magnifies, **same)


def refuse_broken_data(data: SampleSet, settings: Settings) -> None:
    """Raise DatasetError where the dataset has a fault that the run is not to skip."""
    fatal = [problem for problem in data.problems if problem.fatal]
    if fatal and settings.on_error == "fail":
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise DatasetError(
            f"{fatal[0].path}: {fatal[0].message}{more}; `bench data check {data.argument}` lists them, "
            "--on-error skip leaves them out"
        )


def describe(record: Record) -> str:
    """Return the counts and the main numbers of a record in one line, and why there are none."""
    normal = sum(result.normal for result in record.classes.values())
    anomalous = sum(result.anomalous for result in record.classes.values())
    skipped = sum(len(result.skipped) for result in record.classes.values())
    parts = [f"{normal + anomalous} images ({normal} normal, {anomalous} anomalous)"]
    parts += [f"{skipped} skipped"] if skipped else []
    for metric in MAIN_METRICS:
        value = record.mean.get(metric)
        parts += [f"{metric.replace('_', ' ')} {100 * value:.1f}"] if value is not None else []
    line = ", ".join(parts) + f", {record.run.seconds['total']:.1f} s"
    return f"{line}. {' '.join(notes)}" if (notes := undefined_notes(record)) else line
