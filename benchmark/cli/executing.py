"""The executor that the options of a command ask for, and settings that fit it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.cli.messages import say
from benchmark.cli.options import ExecutorOptions

if TYPE_CHECKING:
    from benchmark.common import Settings
    from benchmark.records import BackboneId
    from benchmark.running import Executor, Job, Loading
    from benchmark.training import Training


def open_executor(
    chosen: ExecutorOptions,
    settings: "Settings",
    *,
    loading: "Mapping[BackboneId, Loading]",
    jobs: "Sequence[Job]",
    trainings: "Sequence[Training]" = (),
    device: str = "",
    workers: int | None = None,
) -> "tuple[Executor, Settings]":
    """Return the executor for some cells and trainings, and the settings with the number of readers that fits it.

    Args:
        chosen: The options of the executor.
        settings: How cells and trainings are run.
        loading: How each backbone is loaded.
        jobs: The missing cells.
        trainings: The missing trainings, but for those that the cells name.
        device: Device of --device; empty: the best there is.
        workers: Readers of --workers; None: as many as fit.
    """
    if chosen.executor == "ray":
        from benchmark.running import RayCluster

        return RayCluster(address=chosen.ray_address or None, processes=chosen.processes), settings
    if chosen.executor == "slurm":
        from benchmark.running import SlurmJobs

        folder = settings.results / ".slurm" / secrets.token_hex(4)
        slurm = SlurmJobs(folder, at_a_time=chosen.processes, parameters=chosen.slurm_parameters())
        say(f"jobs and their logs are in {folder}" + ("; no Slurm here: they are processes" * slurm.simulated))
        return slurm, settings
    import torch

    from benchmark.clip import gpu_count, vision_width
    from benchmark.common import cores, memory_bytes
    from benchmark.running import InThisProcess, LocalProcesses, loaded, share, side_by_side

    gpus = 0 if device else gpu_count()
    cut = share(
        cores(),
        tasks=side_by_side(jobs, trainings, settings),
        width=max(vision_width(each.source.architecture) for each in loading.values()),
        gpus=gpus,
        on_cpu=device == "cpu" or not (device or gpus),
        memory=memory_bytes(),
        processes=chosen.processes,
        workers=workers,
    )
    settings = replace(settings, workers=cut.workers)
    if cut.processes > 1 or settings.cell_timeout is not None:
        if cut.processes > 1 and not chosen.processes:
            say(f"computing in {cut.processes} processes; --processes 1 computes in this one alone")
        devices = [f"cuda:{index}" for index in range(gpus)]
        return LocalProcesses(cut.processes, devices, threads=cut.threads), settings
    torch.set_num_threads(cut.threads)
    if len(loading) == 1:  # then without it nothing can be done at all
        loaded(*loading.values(), settings.cache)
    return InThisProcess(say=say), settings
