"""Which cells are done, and whether their method's files were edited since."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.records import Record, RecordError, done_record, misnamed, path_of, write_record
from benchmark.registry import source_sha256
from benchmark.running.planning import Job


def missing(jobs: Sequence[Job], results: Path, *, force: bool = False) -> list[Job]:
    """Return the jobs without a record of success, or all of them if forced.

    Raises:
        RecordError: as in `finished`.
    """
    done = {} if force else finished(jobs, results)
    return [job for job in jobs if job.cell.id not in done]


def finished(jobs: Sequence[Job], results: Path) -> dict[str, Record]:
    """Return the records of success of these jobs, by the id of their cells; each file is read once.

    Raises:
        RecordError: a record was made with a default that has been changed since.
    """
    found = {job.cell.id: record for job in jobs if (record := done_record(results, job.cell.id))}
    for job in jobs:
        if job.cell.id in found and (changed := misnamed(found[job.cell.id].cell, job.cell)):
            raise RecordError(
                f"{path_of(results, job.cell.id)} was made with {', '.join(changed)}: a default was changed without a "
                f"new version of {job.method.title}; raise its `version`, or redo its cells with --force"
            )
    return found


def aged(job: Job, record: Record, results: Path) -> Record:
    """Return the record of a cell, which says whether the method's files were edited since; what is new is written.

    Raises:
        RecordError: the record cannot be written.
    """
    now, trained = source_sha256(job.method), record.training.made if record.training else None
    if record.cell.checkpoint:  # the cell names its parameters, whoever trained them
        trained = None
    made_by = {record.run.source_sha256, trained.source_sha256 if trained else None} - {None}
    newer = now if made_by - {now} else None
    if newer == record.newer_source_sha256:
        return record
    record = record.model_copy(update={"newer_source_sha256": newer})
    write_record(results, record)
    return record
