"""Settings of a run. None of them changes a number."""

from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from benchmark.common.cache import GB, Cache
from benchmark.common.defaults import BATCH_SIZE, CACHE_LIMIT, TASK_IMAGES, WORKERS, OnError
from benchmark.common.files import user_cache
from benchmark.errors import BenchError


def feature_cache(limit: float = CACHE_LIMIT) -> Cache:
    """Return the user's cache of features, of at most `limit` GB."""
    return Cache(user_cache() / "features", int(limit * GB))


@dataclass(frozen=True)
class Settings:
    """How cells and trainings are run."""

    results: Path
    batch_size: int = BATCH_SIZE
    workers: int = WORKERS
    on_error: OnError = "fail"
    force: bool = False
    processes: int = 1
    """Processes of the run that may share a GPU with this one, itself included."""
    side_by_side: int | None = None
    """Processes of the run that compute on this machine, itself included; None where that is not known."""
    task_images: int = TASK_IMAGES
    """Test images of the classes that a task bundles; a class is never divided."""
    cell_timeout: float | None = None
    """Seconds for each cell of a task, or for a training; None for never. The driver's own process has no limit."""
    cache: Cache = field(default_factory=feature_cache)

    def lock(self, name: str, *, timeout: float = -1) -> FileLock:
        """Return the lock of a cell or training. The system frees it when the process that holds it ends."""
        folder = self.results / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock", timeout=timeout)

    def check_writable(self) -> None:
        """Check that results can be written, before anything is computed.

        Raises:
            BenchError: The results directory cannot be written, or its file system has no locks.
        """
        try:
            with self.lock("check"):
                pass
        except (OSError, NotImplementedError) as error:
            raise BenchError(
                f"--results {self.results}: cannot be written ({getattr(error, 'strerror', None) or error}); nothing "
                "was computed. Name another folder, or make it writable"
            ) from error
