"""A Ray cluster: nodes may be lost and drivers go and come back, whatever was written by then holds."""

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from benchmark.common import require_extra
from benchmark.errors import BenchError
from benchmark.running.tasks import Ended, Lost, Reply, Task


class RayCluster:
    """Each task is one of Ray's, on one GPU where the cluster has GPUs, else on one CPU."""

    def __init__(self, *, address: str | None, processes: int | None) -> None:
        """Join a cluster, or start one on this machine where there is no address.

        Raises:
            BenchError: Ray is not installed, or there is no cluster at the address.
        """
        require_extra("ray", ["ray"], user="--executor ray")
        import ray

        self._ray = ray
        try:
            if address:
                ray.init(address=address, logging_level=logging.WARNING)
            else:
                ray.init("local", num_cpus=processes, logging_level=logging.WARNING, include_dashboard=False)
        except ConnectionError as error:
            raise BenchError(
                f"--ray-address {address}: no cluster there ({error}); `ray start --head` makes one"
            ) from None
        # Ray shows what workers say as if the driver said it; standard output holds the result alone.
        self._aside = redirect_stdout(sys.stderr)
        self._aside.__enter__()
        gpus = int(ray.cluster_resources().get("GPU", 0) > 0)  # type: ignore[no-untyped-call]
        # Lost tasks are counted and divided by the driver of the run. A worker keeps its backbone from task to task.
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, max_calls=0)(_perform)
        self._tasks: dict[Any, Task] = {}

    def submit(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._tasks[self._remote.remote(task)] = task

    def wait(self, seconds: float | None = None) -> Ended | None:
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        if not ready:
            return None
        task = self._tasks.pop(ready[0])
        try:
            reply: Reply = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            return task, Lost(_cause(error))
        return task, reply

    def close(self) -> None:
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)
        self._tasks.clear()
        self._ray.shutdown()
        self._aside.__exit__(None, None, None)


def _perform(task: Task) -> Reply:
    from benchmark.running.worker import perform

    return perform(task)


def _cause(error: Exception) -> str:
    causes = {
        "NodeDiedError": "the node that it ran on was lost",
        "WorkerCrashedError": "its process died",
        "OutOfMemoryError": "its process was ended because the node ran out of memory",
        "ObjectLostError": "its answer was lost with the node that held it",
    }
    name = next((each.__name__ for each in type(error).__mro__ if each.__name__ in causes), type(error).__name__)
    return f"WorkerDied: {causes.get(name) or str(error).strip().splitlines()[-1]}"
