"""The options that say which cells are computed, where, and by what."""

from dataclasses import dataclass, field
from typing import Annotated

from benchmark.api import Computation
from benchmark.cli.options import ComputeOptions, in_panel
from benchmark.common import LEAST, ExecutorName
from benchmark.errors import BenchError

_executor, _results = in_panel("Executor"), in_panel("Results")


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """In which processes, on which machines."""

    executor: Annotated[
        ExecutorName,
        _executor("--executor", help="Where cells are computed; changes no number. ray and slurm are extras."),
    ] = "local"
    processes: Annotated[
        int | None,
        _executor(
            "--processes",
            min=LEAST["processes"],
            help="Tasks (trainings, classes of a dataset) that are computed at the same time.",
            show_default="local: one per GPU; without, one per core for a small backbone, else 1; ray and slurm: what "
            "the cluster has",
        ),
    ] = None
    ray_address: Annotated[
        str, _executor("--ray-address", help="Ray cluster to join.", show_default="one is started on this machine")
    ] = ""
    slurm: Annotated[
        list[str],
        _executor("--slurm", metavar="NAME=VALUE", help="Option of sbatch, as in partition=gpu; may be repeated."),
    ] = field(default_factory=list)
    cell_timeout: Annotated[
        float | None,
        _executor(
            "--cell-timeout",
            min=LEAST["cell_timeout"],
            metavar="SECONDS",
            help="Give up a cell or a training that takes longer; a task has this long for each of its cells.",
            show_default="never",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.ray_address and self.executor != "ray":
            raise BenchError("--ray-address is for --executor ray")
        if self.slurm and self.executor != "slurm":
            raise BenchError("--slurm is for --executor slurm")
        self.slurm_parameters()

    def slurm_parameters(self) -> dict[str, str | int]:
        """Return the parameters of sbatch by name, numbers as numbers.

        Raises:
            BenchError: one is not of the form `NAME=VALUE`.
        """
        found: dict[str, str | int] = {}
        for text in self.slurm:
            name, equals, value = text.partition("=")
            if not (equals and name):
                raise BenchError(f"--slurm {text!r}: say NAME=VALUE, as in partition=gpu or timeout_min=600")
            found[name.strip().replace("-", "_")] = int(value) if value.isdecimal() else value
        return found


@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """Which cells are computed."""

    force: Annotated[bool, _results("--force", help="Redo cells that are done, and the trainings that they need.")] = (
        False
    )
    dry_run: Annotated[bool, _results("--dry-run", help="Print all cells and which are missing; run none.")] = False
    allow_overlap: Annotated[
        bool,
        _results(
            "--allow-overlap", help="Test also where a method was trained on images of the target; the tables say so."
        ),
    ] = False


def computation(compute: ComputeOptions, executor: ExecutorOptions, *, force: bool = False) -> Computation:
    """Return how cells and trainings are to be computed."""
    return Computation(
        backbone=compute.backbone,
        device=compute.device,
        dtype=compute.dtype,
        batch_size=compute.batch_size,
        workers=compute.workers,
        on_error=compute.on_error,
        window_chunk=compute.window_chunk,
        cache_limit=compute.cache_limit,
        results=compute.results,
        force=force,
        executor=executor.executor,
        processes=executor.processes,
        ray_address=executor.ray_address,
        slurm=executor.slurm_parameters(),
        cell_timeout=executor.cell_timeout,
    )
