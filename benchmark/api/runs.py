"""A run from Python: methods on datasets, as `bench run` runs them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from benchmark.api.computing import run_methods
from benchmark.api.requests import Computation, Learning, Places, data_folder, results_folder, seed_numbers, several
from benchmark.api.results import Results
from benchmark.api.selection import select_methods
from benchmark.api.typed import check_typed, register_typed
from benchmark.common import (
    BATCH_SIZE,
    CACHE_LIMIT,
    RULE,
    Dtype,
    ExecutorName,
    OnError,
    as_path,
    tell,
    validation_problems,
)
from benchmark.contract import Method
from benchmark.data import PlainFolder
from benchmark.errors import BenchError

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
    protocol: str = RULE,
    auxiliary: Names = (),
    seeds: int | Sequence[int] = 0,
    checkpoints: Folder | Sequence[Folder] = (),
    allow_overlap: bool = False,
    backbone: str = "",
    device: str = "",
    dtype: Dtype = "auto",
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    on_error: OnError = "fail",
    window_chunk: int | None = None,
    cache_limit: float = CACHE_LIMIT,
    executor: ExecutorName = "local",
    processes: int | None = None,
    ray_address: str = "",
    slurm: Mapping[str, str | int] | None = None,
    cell_timeout: float | None = None,
    force: bool = False,
    results: Folder | None = None,
) -> Results:
    """Run methods on datasets and return their results, as `bench run` does; what is done already is not done again.

    Each keyword means what the option of `bench run` of the same name does, and messages name these options. Four have
    other names: `paths` is `--data-path`, `folders` is `--folder`, `options` is `--set`, and `checkpoints` is
    `--checkpoint`. In every path `~` is the home folder. Without `data`, `paths` and `folders`, it runs on the mini
    suite, generated miniatures of the datasets, with a small CLIP that is part of the package. Records, checkpoints and
    results of finished classes are kept in `results`, also where the run is interrupted or a cell fails.

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
        protocol: Name of the rule that says what is trained on.
        auxiliary: Datasets to train on in place of those of the rule.
        seeds: Seeds of methods that draw random numbers.
        checkpoints: JSON file of a checkpoint that is used in place of a training, or several.
        allow_overlap: Whether methods are tested also where they were trained on images of the target.
        backbone: CLIP and its weights; empty for the methods' own, and for the small one on generated data.
        device: Where CLIP computes; empty for the best that is there.
        dtype: Number type in which CLIP computes; `auto` is float32.
        batch_size: Images per forward pass.
        workers: Processes that read images for each that computes; None for as many as can be spared.
        on_error: Whether the cell of an image that cannot be read fails, or leaves the image out (`skip`).
        window_chunk: Windows that are encoded at a time; None for as many as suit the device.
        cache_limit: GB of training features that are kept on disk.
        executor: Where cells are computed: in this process unless `processes` says otherwise, or on a cluster.
        processes: Tasks that are computed at the same time; None for 1, and on a cluster for as many as it has.
        ray_address: Ray cluster to join; empty for one that is started on this machine.
        slurm: Options of sbatch by their names.
        cell_timeout: Seconds after which a cell or a training is given up; None for never.
        force: Whether cells that are done, and the trainings that they need, are done again.
        results: Folder of results; None for `BENCH_RESULTS`, else `results/local`.

    Returns:
        The results of all cells that were asked for, also of those that failed: see `Results.failed`.

    Raises:
        BenchError: A name or a value is wrong, or nothing can be run. The message says what to change.
        KeyboardInterrupt: It was interrupted. What is finished is kept, and the same call goes on from there.
    """
    began = time.monotonic()
    if not isinstance(protocol, str):
        raise BenchError(f"protocol={protocol!r}: say a name, as in protocol={RULE!r}")
    if not (methods or datasets or folders):
        raise BenchError("say what to run: methods, datasets or folders; of methods and datasets, none means all")
    alone = isinstance(methods, str | type) or not isinstance(methods, Iterable)
    names = register_typed([methods] if alone else methods)  # type: ignore[list-item, arg-type]
    places = Places(
        data=data_folder(data),
        paths={name: as_path(path, f"paths[{name!r}]") for name, path in _items(paths, "paths", "{'visa': '/data/v'}")},
        folders=_folders(folders),
        follow_links=follow_links,
    )
    learning = Learning(
        protocol=protocol,
        auxiliary=several(auxiliary, "auxiliary"),
        seeds=seed_numbers(seeds),
        checkpoints=_paths(checkpoints),
        allow_overlap=allow_overlap,
    )
    computation = _checked(
        backbone=backbone,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        window_chunk=window_chunk,
        cache_limit=cache_limit,
        results=results_folder(results),
        force=force,
        executor=executor,
        processes=1 if processes is None and executor == "local" else processes,
        ray_address=ray_address,
        slurm=slurm or {},
        cell_timeout=cell_timeout,
    )
    chosen, held_fixed = select_methods(names, dict(_items(options, "options", "{'clip': {'temperature': 0.01}}")))
    check_typed([method for method, _ in chosen], computation)
    places.tell_of_mini()
    ran = run_methods(
        chosen,
        held_fixed,
        several(datasets, "datasets"),
        places=places,
        learning=learning,
        computation=computation,
        classes=several(classes, "classes"),
        limit=limit,
        since=began,
    )
    tell(ran.tally)
    return Results(tuple(ran.records), computation.results.absolute(), tuple(ran.problems), tuple(names))


def _items(given: Mapping[str, Any] | None, name: str, example: str) -> Iterable[tuple[str, Any]]:
    """Return what a keyword says by name.

    Raises:
        BenchError: It is no mapping.
    """
    if given is not None and not isinstance(given, Mapping):
        raise BenchError(f"{name}={given!r}: say a mapping, as in {name}={example}")
    return (given or {}).items()


def _paths(given: Folder | Sequence[Folder]) -> list[Path]:
    each = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return [as_path(path, "checkpoints") for path in each]


def _folders(given: Mapping[str, Folder | PlainFolder] | None) -> list[PlainFolder]:
    found = dict(_items(given, "folders", "{'nuts': './nuts'}"))
    folders = {
        name: each if isinstance(each, PlainFolder) else PlainFolder(directory=as_path(each, f"folders[{name!r}]"))
        for name, each in found.items()
    }
    return [replace(each, name=name, one_of_several=len(found) > 1) for name, each in folders.items()]


def _checked(**values: Any) -> Computation:
    """Return how it is computed.

    Raises:
        BenchError: A value is wrong.
    """
    try:
        return TypeAdapter(Computation).validate_python(values)
    except ValidationError as error:
        raise BenchError(validation_problems(error)[0]) from None
