"""Slurm, by submitit: an array of jobs for the tasks that are ready."""

import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.common import require_extra
from benchmark.errors import BenchError
from benchmark.running.tasks import Ended, Lost, Reply, Task
from benchmark.running.worker import perform

POLL = 0.5
"""Seconds between looks at the jobs; at Slurm itself submitit looks less often."""
TIME_LIMIT = 24 * 60
"""Minutes of a job unless told otherwise; a task is some classes of a dataset, or a training."""
LINES = 3
"""Of a dead job's log, as many are shown."""


class SlurmJobs:
    """Each task is a job. Where there is no Slurm, submitit runs the jobs as processes of this machine."""

    def __init__(self, folder: Path, *, at_a_time: int | None, parameters: Mapping[str, str | int]) -> None:
        """Prepare to submit.

        Args:
            folder: shared with the nodes; submitit keeps tasks, replies and logs there.
            at_a_time: jobs that run at the same time.
            parameters: of sbatch, as submitit names them: partition, account, gpus_per_node, timeout_min, …

        Raises:
            BenchError: submitit is not installed, or a parameter is none of sbatch.
        """
        require_extra("slurm", ["submitit"], user="--executor slurm")
        import submitit

        self._folder = folder.absolute()
        self.simulated = shutil.which("sbatch") is None
        self._executor = submitit.AutoExecutor(self._folder / "%j", cluster="local" if self.simulated else "slurm")
        self._room = (at_a_time or 1) if self.simulated else None
        try:
            self._executor.update_parameters(name="bench", timeout_min=TIME_LIMIT)
            self._executor.update_parameters(**{f"slurm_{key}": value for key, value in parameters.items()})
            if at_a_time:
                self._executor.update_parameters(slurm_array_parallelism=at_a_time)
        except (NameError, ValueError, TypeError) as error:
            raise BenchError(f"--slurm: {error}") from None
        self._queue: deque[Task] = deque()
        self._running: list[tuple[Any, Task]] = []
        self._lost = False

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)
        self._hand_out()

    def wait(self, seconds: float | None = None) -> Ended | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            for running in self._running:
                job, task = running
                if job.done():
                    self._running.remove(running)
                    self._hand_out()
                    return task, self._answer(job)
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(POLL)

    def close(self) -> None:
        self._queue.clear()
        for job, _ in self._running:
            job.cancel()
        self._running.clear()
        if not self._lost:  # else somebody may want to read the logs
            shutil.rmtree(self._folder, ignore_errors=True)

    def _hand_out(self) -> None:
        room = len(self._queue) if self._room is None else self._room - len(self._running)
        tasks = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        if not tasks:
            return
        try:
            jobs = self._executor.map_array(perform, tasks)
        except Exception as error:  # submitit and sbatch have errors of their own
            raise BenchError(f"Slurm takes no jobs: {error}; correct --slurm NAME=VALUE") from error
        self._running += zip(jobs, tasks, strict=True)

    def _answer(self, job: Any) -> Reply | Lost:
        try:
            reply: Reply = job.result()
        except Exception:  # submitit has an error for each way in which a job can end
            self._lost = True
            log = (job.stderr() or "").strip().splitlines()
            says = f"; its log {job.paths.stderr} ends: {' / '.join(log[-LINES:])}" if log else ""
            return Lost(f"WorkerDied: job {job.job_id} ended without an answer ({job.state}){says}")
        return reply
