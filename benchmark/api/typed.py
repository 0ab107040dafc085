"""Methods that a notebook defines: classes that no other process knows, and whose definition changes at any time."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.common import Settings, counted, listed, tell
from benchmark.contract import Method
from benchmark.errors import BenchError
from benchmark.records import CheckpointError, Record, done_record, read_checkpoint, remove_record
from benchmark.registry import GIVEN, look_again, not_compared, register, source_sha256

if TYPE_CHECKING:
    from benchmark.api.requests import Computation
    from benchmark.running import Job


def register_typed(methods: Iterable[str | type[Method]]) -> list[str]:
    """Return the names of methods, each once, after classes are registered.

    Raises:
        BenchError: A class is no whole method, or has a name that is taken.
    """
    look_again()
    given: dict[str, type[Method]] = {}
    names = []
    for method in methods:
        if not isinstance(method, str | type):
            raise BenchError(f"{method!r} is no method; give a name or a class; benchmark.load_plugin loads a file")
        if not isinstance(method, str):
            register(method)
            if given.setdefault(method.name, method) is not method:
                raise BenchError(f"two of these classes are named {method.name!r}; give one a name of its own")
        names.append(method if isinstance(method, str) else method.name)
    return list(dict.fromkeys(names))


def check_typed(methods: Iterable[type[Method]], computation: "Computation") -> None:
    """Refuse what needs other processes, or the source, of classes that have no file that others can read.

    Raises:
        BenchError: The message says what to change.
    """
    way = "write it to a file and load that by benchmark.load_plugin"
    for method in filter(_is_typed, methods):
        if computation.executor != "local" or (computation.processes or 0) > 1 or computation.cell_timeout is not None:
            raise BenchError(
                f"{method.__name__}: other processes do not know a class that is defined here; {way}, or leave out "
                "executor, processes and cell_timeout"
            )
        if source_sha256(method) is None:
            raise BenchError(
                f"{method.__name__}: its definition is kept nowhere, so that results could not be told from those of "
                f"another; define it in a cell of a notebook, or {way}"
            )


def forget_edited(jobs: "Sequence[Job]", settings: Settings) -> None:
    """Remove the results, and what was learned, that other definitions of classes have made, and tell it."""
    for method in filter(_is_typed, dict.fromkeys(job.method for job in jobs)):
        now = source_sha256(method)
        removed = sum(_forget(job, now, settings) for job in jobs if job.method is method)
        if removed and (names := not_compared(method)):
            tell(
                f"{method.title}: whether {listed(names, 3)} changed is not known, so {counted(removed, 'result')} of "
                "before will be made anew"
            )
        elif removed:
            tell(f"{method.title} was edited: {counted(removed, 'result')} of before will be made anew")


def _is_typed(method: type[Method]) -> bool:
    return GIVEN.get(method.name) is method


def _forget(job: "Job", now: str | None, settings: Settings) -> bool:
    """Remove what another definition has learned for a cell, and its record; return whether there was such a record."""
    if job.training and job.training.given is None:
        path = job.training.checkpoint(settings.results)
        try:
            made = read_checkpoint(path).made if path.exists() else None
        except CheckpointError:
            made = None
        if made and made.source_sha256 != now:
            path.unlink()
    record = done_record(settings.results, job.cell.id)
    if record is None or {record.run.source_sha256, _trained_by(record) or now} == {now}:
        return False
    with settings.lock(job.cell.id):
        remove_record(settings.results, job.cell.id)
    return True


def _trained_by(record: Record) -> str | None:
    """Return the sha256 of the source that trained for a record; None where nothing was trained, or it is not known."""
    made = record.training.made if record.training else None
    return made.source_sha256 if made else None
