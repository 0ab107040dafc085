"""The executor that a computation asks for, and settings that fit it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.common import tell

if TYPE_CHECKING:
    from benchmark.api.requests import Computation
    from benchmark.common import Settings
    from benchmark.records import BackboneId
    from benchmark.running import Executor, Job, Loading
    from benchmark.training import Training

WORTH = 0.8
"""Part of the time that bfloat16 takes, below which it is worth a line."""


def open_executor(
    computation: "Computation",
    *,
    loading: "Mapping[BackboneId, Loading]",
    jobs: "Sequence[Job]",
    trainings: "Sequence[Training]" = (),
) -> "tuple[Executor, Settings]":
    """Return the executor for some cells and trainings, and the settings with the number of readers that fits it.

    Args:
        computation: How they are computed, and in which processes.
        loading: How each backbone is loaded.
        jobs: The missing cells.
        trainings: The missing trainings, but for those that the cells name.
    """
    settings, processes = computation.settings, computation.processes
    if computation.executor == "ray":
        from benchmark.running import RayCluster

        return RayCluster(address=computation.ray_address or None, processes=processes), settings
    if computation.executor == "slurm":
        from benchmark.running import SlurmJobs

        folder = settings.results / ".slurm" / secrets.token_hex(4)
        slurm = SlurmJobs(folder, at_a_time=processes, parameters=computation.slurm)
        tell(f"jobs and their logs are in {folder}" + ("; no Slurm here: they are processes" * slurm.simulated))
        return slurm, settings
    import torch

    from benchmark.clip import vision_width
    from benchmark.common import cores, memory_bytes
    from benchmark.running import SMALL, InThisProcess, LocalProcesses, share, side_by_side

    device, width = computation.device, max(vision_width(each.source.architecture) for each in loading.values())
    gpus = 0 if device else torch.cuda.device_count()
    cut = share(
        cores(),
        tasks=side_by_side(jobs, trainings, settings),
        width=width,
        gpus=gpus,
        on_cpu=device == "cpu" or not (device or gpus),
        memory=memory_bytes(),
        processes=processes,
        workers=computation.workers,
    )
    settings = replace(settings, workers=cut.workers, side_by_side=cut.processes)
    if cut.processes > 1 or settings.cell_timeout is not None:
        if cut.processes > 1 and not processes:
            tell(f"computing in {cut.processes} processes; --processes 1 computes in this one alone")
        devices = [f"cuda:{index}" for index in range(gpus)]
        return LocalProcesses(cut.processes, devices, threads=cut.threads), settings
    torch.set_num_threads(cut.threads)
    if computation.dtype == "auto" and width >= SMALL:
        _tell_of_bfloat16(width, device or ("cuda" if gpus else "cpu"))
    from benchmark.running import loaded  # with open_clip, which takes seconds, where it is not needed otherwise

    if len(loading) == 1:  # then without it nothing can be done at all
        loaded(*loading.values(), settings.cache)
    return InThisProcess(say=tell), settings


def _tell_of_bfloat16(width: int, device: str) -> None:
    from benchmark.clip import bfloat16_share

    if (part := bfloat16_share(width, device)) < WORTH:
        tell(
            f"computing in float32; with --dtype bfloat16 matrix products take {part:.0%} of the time here, and "
            "numbers change"
        )
