"""Slurm, by submitit: an array of jobs for the tasks that are ready; orders and replies are files they share."""

import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.common import write_whole
from benchmark.errors import BenchError
from benchmark.running.tasks import Ended, Reply, Task

if TYPE_CHECKING:
    from benchmark.running.orders import Clerk

POLL = 0.5
"""Seconds between looks at the jobs; at Slurm itself submitit looks less often."""
TIME_LIMIT = 24 * 60
"""Minutes of a job unless told otherwise; a task is at most a part of a dataset, or a training."""
LINES = 3
"""Of a dead job's log, as many are shown."""


class SlurmJobs:
    """Each task is a job. Where there is no Slurm, submitit runs the jobs as processes of this machine."""

    def __init__(
        self, clerk: "Clerk", folder: Path, *, at_a_time: int | None, parameters: Mapping[str, str | int]
    ) -> None:
        """Prepare to submit.

        Args:
            clerk: writes the orders.
            folder: shared with the nodes; for orders, replies and logs.
            at_a_time: jobs that run at the same time.
            parameters: of sbatch, as submitit names them: partition, account, gpus_per_node, timeout_min, …

        Raises:
            BenchError: submitit is not installed, or a parameter is none of sbatch.
        """
        try:
            import submitit
        except ImportError:
            raise BenchError("--executor slurm needs submitit, its extra `slurm`; say pip install submitit") from None
        self._clerk, self._folder = clerk, folder.absolute()
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
        self._running: list[tuple[Any, Task, Path]] = []
        self._count = 0
        self._lost = False

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue.extend(tasks)
        self._hand_out()

    def wait(self, seconds: float | None = None) -> Ended | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            for running in self._running:
                job, task, reply = running
                ended = job.done()  # before the reply is looked for, which is written before the job ends
                if reply.exists() or ended:
                    self._running.remove(running)
                    self._hand_out()
                    return self._end(job, task, reply)
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(POLL)

    def close(self) -> None:
        self._queue.clear()
        for job, _, _ in self._running:
            job.cancel()
        self._running.clear()
        if not self._lost:  # else somebody may want to read the logs
            shutil.rmtree(self._folder, ignore_errors=True)

    def _hand_out(self) -> None:
        room = len(self._queue) if self._room is None else self._room - len(self._running)
        tasks = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        if not tasks:
            return
        orders = []
        for task in tasks:
            self._count += 1
            order = self._folder / f"{self._count}--{task.key}.order.json"
            order.with_suffix(".reply").unlink(missing_ok=True)
            write_whole(order, self._clerk.write(task))
            orders.append(order)
        try:
            jobs = self._executor.map_array(execute_file, [str(order) for order in orders])
        except Exception as error:  # submitit and sbatch have errors of their own
            raise BenchError(f"Slurm takes no jobs: {error}; correct --slurm NAME=VALUE") from error
        self._running += [
            (job, task, order.with_suffix(".reply")) for job, task, order in zip(jobs, tasks, orders, strict=True)
        ]

    def _end(self, job: Any, task: Task, reply: Path) -> Ended:
        if reply.exists():
            return task, Reply.model_validate_json(reply.read_bytes())
        self._lost = True
        log = (job.stderr() or "").strip().splitlines()
        says = f"; its log {job.paths.stderr} ends: {' / '.join(log[-LINES:])}" if log else ""
        return task, self._clerk.lost(task, f"WorkerDied: job {job.job_id} ended without an answer ({job.state}){says}")


def execute_file(order: str) -> None:
    """Do the order in a file and write the reply beside it."""
    from benchmark.running.orders import execute

    path = Path(order)
    write_whole(path.with_suffix(".reply"), execute(path.read_text(encoding="utf-8")))
