"""What a run is asked for, apart from methods and datasets: where data lies, what is trained on, how it is computed."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE
from benchmark.common import (
    BATCH_SIZE,
    CACHE_LIMIT,
    LEAST,
    RESULTS,
    RULE,
    WORKERS,
    Dtype,
    ExecutorName,
    OnError,
    as_path,
    tell,
)
from benchmark.errors import BenchError

if TYPE_CHECKING:
    from benchmark.clip import WeightsSource
    from benchmark.common import Settings
    from benchmark.contract import Method
    from benchmark.data import PlainFolder
    from benchmark.protocol import Protocol
    from benchmark.records import BackboneId
    from benchmark.running import Executor, Job, Loading
    from benchmark.training import Training

MOST_SEED = 2**63
"""Seeds are smaller: torch takes no more."""


def results_folder(given: Path | str | None) -> Path:
    """Return the folder of results that is given, else that of `BENCH_RESULTS`, else the default."""
    return as_path(given if given is not None else os.environ.get("BENCH_RESULTS") or RESULTS, "results")


def data_folder(given: Path | str | None) -> Path | None:
    """Return the folder of the datasets that is given, else that of `BENCH_DATA`; None where neither is."""
    named = given if given is not None else os.environ.get("BENCH_DATA") or None
    return None if named is None else as_path(named, "data")


def several(names: str | Iterable[str], what: str) -> list[str]:
    """Return names, each once, of which a single one may be given alone.

    Raises:
        BenchError: They are no names. The message begins with `what`.
    """
    found = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
    if not all(isinstance(name, str) for name in found):
        raise BenchError(f"{what}={names!r}: say a name, or a list of names")
    return list(dict.fromkeys(found))


def seed_numbers(seeds: int | Iterable[int]) -> list[int]:
    """Return seeds, each once, of which a single one may be given alone.

    Raises:
        BenchError: They are no whole numbers from 0 on.
    """
    found = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else [seeds]
    if not found or not all(_is_whole(seed) and 0 <= seed < MOST_SEED for seed in found):
        raise BenchError(f"seeds={seeds!r}: say whole numbers from 0 on, as in [0, 1, 2]")
    return list(dict.fromkeys(map(int, found)))


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def number_type(dtype: str) -> str:
    """Return the number type that `auto` stands for; that of the published results unless another is named."""
    return "float32" if dtype == "auto" else dtype


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where images are.

    Raises:
        BenchError: A dataset whose folder is given is none.
    """

    data: Path | None = None
    """Folder that holds the datasets, each in a folder of its own."""
    paths: Mapping[str, Path] = field(default_factory=dict)
    """Folders of datasets, by their names."""
    folders: "Sequence[PlainFolder]" = ()
    """Folders of a user's own images."""
    follow_links: bool = False
    """Whether links that lead out of a dataset's folder are followed."""

    def __post_init__(self) -> None:
        if self.paths:
            from benchmark.api.datasets import select_cards
            from benchmark.registry import choose

            choose("dataset", self.paths, [card.name for card in select_cards([])])

    @property
    def is_given(self) -> bool:
        """Whether any place is given; without, commands run on the mini suite."""
        return bool(self.data or self.paths or self.folders)

    def tell_of_mini(self) -> None:
        """Say that no place is given, before the seconds in which torch is imported."""
        if not self.is_given:
            tell("no data given: running on the mini suite, generated miniatures of the datasets")


@dataclass(frozen=True, kw_only=True)
class Learning:
    """On what methods train, and by which random numbers."""

    protocol: str = RULE
    """Name of the rule that says what is trained on for which target."""
    auxiliary: Sequence[str] = ()
    """Datasets to train on in place of those of the rule."""
    seeds: Sequence[int] = (0,)
    checkpoints: Sequence[Path] = ()
    """JSON files of checkpoints that are used in place of trainings."""
    way_out: str | None = None
    """What a command offers besides naming a folder where an auxiliary dataset is not found; None for the usual."""
    allow_overlap: bool = False
    """Whether a method is tested also where it was trained on images of the target."""

    def __post_init__(self) -> None:
        if self.auxiliary and self.protocol != RULE:
            raise BenchError(f"--auxiliary and --protocol {self.protocol} both say what to train on; leave one out")
        seed_numbers(self.seeds)


@dataclass(frozen=True, kw_only=True)
class Computation:
    """How cells and trainings are computed, in which processes, and where results go.

    Nothing here changes a number, but for `backbone`, `dtype` and what `on_error` leaves out.
    """

    backbone: str = ""
    """As `--backbone` spells it; empty for the method's own on real data, and a small one on generated data."""
    device: str = ""
    """Empty for the best that is there."""
    dtype: Dtype = "auto"
    batch_size: int = BATCH_SIZE
    workers: int | None = None
    """Processes that read images for each that computes; None for as many as can be spared."""
    on_error: OnError = "fail"
    window_chunk: int | None = None
    cache_limit: float = CACHE_LIMIT
    """GB of training features."""
    results: Path = RESULTS
    force: bool = False
    """Whether cells that are done, and the trainings that they need, are done again."""
    executor: ExecutorName = "local"
    processes: int | None = None
    """Tasks that are computed at the same time; None for as many as suit the machine."""
    ray_address: str = ""
    slurm: Mapping[str, str | int] = field(default_factory=dict)
    """Parameters of sbatch."""
    cell_timeout: float | None = None
    """Seconds."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if (value := getattr(self, name)) is not None and not (math.isfinite(value) and value >= least):
                raise BenchError(f"{name}={value}: say a number of {least} or more")
        if self.ray_address and self.executor != "ray":
            raise BenchError(f"ray_address={self.ray_address!r} is for the executor ray, not {self.executor}")
        if self.slurm and self.executor != "slurm":
            raise BenchError(f"slurm={dict(self.slurm)} is for the executor slurm, not {self.executor}")

    @property
    def number_type(self) -> str:
        """The number type in which CLIP computes."""
        return number_type(self.dtype)

    @cached_property
    def settings(self) -> "Settings":
        """How cells and trainings are run."""
        from benchmark.common import Settings, feature_cache

        return Settings(
            results=self.results.absolute(),  # a method may change the working directory
            batch_size=self.batch_size,
            workers=WORKERS if self.workers is None else self.workers,
            on_error=self.on_error,
            force=self.force,
            processes=self.processes or 1,
            cell_timeout=self.cell_timeout,
            cache=feature_cache(self.cache_limit),
        )

    def source(self, method: "type[Method]", *, synthetic: bool) -> "WeightsSource":
        """Return the backbone that was asked for, else the method's own on real data and a small one on generated data.

        Args:
            method: The method.
            synthetic: Whether all data is generated.
        """
        from benchmark.clip import parse_backbone

        if self.backbone:
            return parse_backbone(self.backbone)
        return parse_backbone(MINI_BACKBONE if synthetic else method.backbone_on_real_data or DEFAULT_BACKBONE)

    def loading(self, source: "WeightsSource", protocol: "Protocol") -> "Loading":
        """Return how a backbone is loaded."""
        from benchmark.running import Loading

        return Loading(source, self.number_type, self.device, protocol.pos_interp, self.window_chunk)

    @contextmanager
    def opened(
        self, loading: "Mapping[BackboneId, Loading]", jobs: "Sequence[Job]", trainings: "Sequence[Training]" = ()
    ) -> "Iterator[tuple[Executor, Settings]]":
        """Yield the executor for some cells and trainings, and settings that fit it; close it at the end.

        Args:
            loading: How each backbone is loaded.
            jobs: The missing cells.
            trainings: The missing trainings, but for those that the cells name.
        """
        from benchmark.api.executing import open_executor

        executor, settings = open_executor(self, loading=loading, jobs=jobs, trainings=trainings)
        try:
            yield executor, settings
        finally:
            executor.close()
