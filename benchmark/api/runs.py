"""A run from Python: methods on datasets, as `bench run` runs them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from benchmark.api.computing import carry_out, plan_cells
from benchmark.api.datasets import find_targets
from benchmark.api.requests import Computation, Learning, Places, data_folder, results_folder
from benchmark.api.results import Results
from benchmark.api.selection import select_methods
from benchmark.common import RULE, counted, tell, validation_problems
from benchmark.contract import Method
from benchmark.data import PlainFolder
from benchmark.errors import BenchError
from benchmark.records import CheckpointError, Record, done_record, path_of, per_image_path, read_checkpoint
from benchmark.registry import GIVEN, register, source_sha256

if TYPE_CHECKING:
    from benchmark.running import Job

Folder = str | Path
Names = str | Sequence[str]


def run(
    methods: str | type[Method] | Sequence[str | type[Method]] = (),
    datasets: Names = (),
    *,
    data: Folder | None = None,
    paths: Mapping[str, Folder] | None = None,
    folders: Mapping[str, Folder | PlainFolder] | None = None,
    classes: Names = (),
    limit: int | None = None,
    follow_links: bool = False,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    backbone: str = "",
    protocol: str = RULE,
    auxiliary: Names = (),
    seeds: int | Sequence[int] = 0,
    checkpoints: Sequence[Folder] = (),
    allow_overlap: bool = False,
    results: Folder | None = None,
    **how: Any,
) -> Results:
    """Run methods on datasets and return their results, as `bench run` does; what is done already is not done again.

    Each keyword means what the option of `bench run` of the same name does, and messages name these options. Without
    `data`, `paths` and `folders`, it runs on the mini suite, generated miniatures of the datasets, with a small CLIP
    that is part of the package. Records, checkpoints and results of finished classes are kept in `results`, also where
    the run is interrupted or a cell fails. All is computed in this process, unless `processes` or `executor` says
    otherwise.

    A method may be a class, as a cell of a notebook defines it; it is then known by its name. Results that were made
    before its definition was edited, or that of something it names, are removed and made anew.

    Args:
        methods: Names of methods, or classes; none means all.
        datasets: Names of datasets and of `folders`; none means the folders, else all of the papers that are found.
        data: Folder that holds the datasets; None for `BENCH_DATA`.
        paths: Folders of datasets by their names.
        folders: Folders of images of your own by their names in tables, as paths, or as `PlainFolder`, which says what
            they show and how they are read.
        classes: Only these classes are tested; none means all.
        limit: Most test images of each class.
        follow_links: Whether links that lead out of a dataset's folder are followed.
        options: Values of options by their names, of methods by name, as in `{"clip": {"temperature": 0.01}}`, and of
            the protocol, as in `{"protocol": {"evaluation_size": 256}}`.
        backbone: CLIP and its weights; empty for the methods' own, and for the small one on generated data.
        protocol: Name of the rule that says what is trained on.
        auxiliary: Datasets to train on in place of those of the rule.
        seeds: Seeds of methods that draw random numbers.
        checkpoints: JSON files of checkpoints that are used in place of trainings.
        allow_overlap: Whether methods are tested also where they were trained on images of the target.
        results: Folder of results; None for `BENCH_RESULTS`, else `results/local`.
        how: Fields of `Computation`: `device`, `dtype`, `batch_size`, `processes`, `executor`, `on_error`, `force`, …

    Returns:
        The results of all cells that were asked for, also of those that failed: see `Results.failed`.

    Raises:
        BenchError: A name or a value is wrong, or nothing can be run. The message says what to change.
        KeyboardInterrupt: It was interrupted. What is finished is kept, and the same call goes on from there.
    """
    began = time.monotonic()
    if not (methods or datasets or folders):
        raise BenchError("say what to run: methods, datasets or folders; of methods and datasets, none means all")
    names = _registered([methods] if isinstance(methods, str | type) else methods)
    places = Places(
        data=data_folder(data),
        paths={name: Path(path).expanduser() for name, path in (paths or {}).items()},
        folders=_folders(folders or {}),
        follow_links=follow_links,
    )
    learning = Learning(
        protocol=protocol,
        auxiliary=_several(auxiliary),
        seeds=_seeds(seeds),
        checkpoints=[Path(path) for path in checkpoints],
        allow_overlap=allow_overlap,
    )
    computation = _computation(backbone=backbone, results=results_folder(results), **how)
    chosen, held_fixed = select_methods(names, options or {})
    typed = [method for method, _ in chosen if GIVEN.get(method.name) is method]
    _check_typed(typed, computation)
    places.tell_of_mini()
    targets = find_targets(_several(datasets), places, classes=_several(classes), limit=limit, aside=learning.auxiliary)
    plans = plan_cells(chosen, targets, computation, held_fixed, learning)
    for method in typed:
        _forget_edited(
            method, [job for plan in plans.values() for job in plan.jobs if job.method is method], computation
        )
    ran = carry_out(plans, targets, computation, held_fixed, since=began)
    tell(ran.tally)
    return Results(tuple(ran.records), computation.results, tuple(targets.problems), tuple(names))


def _several(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))


def _registered(methods: Iterable[str | type[Method]]) -> list[str]:
    """Return the names of methods, each once, after classes are registered."""
    names = []
    for method in methods:
        if not isinstance(method, str):
            register(method)
        names.append(method if isinstance(method, str) else method.name)
    return list(dict.fromkeys(names))


def _folders(given: Mapping[str, Folder | PlainFolder]) -> list[PlainFolder]:
    found = []
    for name, folder in given.items():
        each = folder if isinstance(folder, PlainFolder) else PlainFolder(directory=Path(folder).expanduser())
        found.append(replace(each, name=name, one_of_several=len(given) > 1))
    return found


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    found = [seeds] if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not found or not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in found):
        raise BenchError(f"seeds={seeds!r}: say whole numbers from 0 on, as in [0, 1, 2]")
    return found


def _computation(**values: Any) -> Computation:
    """Return how it is computed: in this process, unless it is said otherwise.

    Raises:
        BenchError: A keyword is none, or has a wrong value.
    """
    known = [each.name for each in fields(Computation)]
    for name in values:
        if name not in known:
            near = get_close_matches(name, known)
            raise BenchError(f"run has no keyword {name!r}; " + (f"did you mean {near[0]}?" if near else f"{known}"))
    if values.get("executor", "local") == "local":
        values = {"processes": 1} | values
    try:
        return TypeAdapter(Computation).validate_python(values)
    except ValidationError as error:
        raise BenchError(validation_problems(error)[0]) from None


def _check_typed(typed: Sequence[type[Method]], computation: Computation) -> None:
    """Refuse what needs other processes, or the source, of classes that have no file that others can read.

    Raises:
        BenchError: The message says what to change.
    """
    way = "write it to a file and load that by benchmark.load_plugin"
    for method in typed:
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


def _forget_edited(method: type[Method], jobs: "Sequence[Job]", computation: Computation) -> None:
    """Remove the results, and what was learned, that another definition of a class has made, and tell it."""
    settings, now, removed = computation.settings, source_sha256(method), 0
    for job in jobs:
        if job.training and job.training.given is None:
            path = job.training.checkpoint(settings.results)
            try:
                made = read_checkpoint(path).made if path.exists() else None
            except CheckpointError:
                made = None
            if made and made.source_sha256 != now:
                path.unlink()
        record = done_record(settings.results, job.cell.id)
        if record is not None and {record.run.source_sha256, _trained_by(record) or now} != {now}:
            with settings.lock(job.cell.id):
                path_of(settings.results, job.cell.id).unlink(missing_ok=True)
                per_image_path(settings.results, job.cell.id).unlink(missing_ok=True)
            removed += 1
    if removed:
        tell(f"{method.title} was edited: {counted(removed, 'result')} of before will be made anew")


def _trained_by(record: Record) -> str | None:
    """Return the sha256 of the source that trained for a record; None where nothing was trained, or it is not known."""
    made = record.training.made if record.training else None
    return made.source_sha256 if made else None
