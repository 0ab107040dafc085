"""How cells and trainings are run; nothing here changes a number."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.common.files import user_cache
from benchmark.errors import BenchError

if TYPE_CHECKING:  # the command line reads the defaults from here, and must start fast
    from filelock import FileLock

    from benchmark.common.cache import Cache

BATCH_SIZE = 8
"""Images per forward pass."""
WINDOW_CHUNK = 512
"""Windows that go through the vision tower at a time; in bfloat16 fewer are slower."""
WORKERS = 2
"""Processes that read images."""
TASK_IMAGES = 500
"""Test images of the classes that are scored in one task; one class is never divided."""
CACHE_LIMIT = 100.0
"""GB of training features; GenCLIP's four layers of the 1725 images of MVTec AD at 518 px take 29."""

OnError = Literal["fail", "skip"]


def feature_cache(limit: float = CACHE_LIMIT) -> "Cache":
    """Return the user's cache of features, of at most `limit` GB."""
    from benchmark.common.cache import GB, Cache

    return Cache(user_cache() / "features", int(limit * GB))


@dataclass(frozen=True)
class Settings:
    """How to run."""

    results: Path
    batch_size: int = BATCH_SIZE
    workers: int = WORKERS
    on_error: OnError = "fail"
    force: bool = False
    task_images: int = TASK_IMAGES
    """Test images of the classes that a task bundles; a class is never divided."""
    cell_timeout: float | None = None
    """Seconds after which a cell in a task, or a training, is given up; not where it runs in this very process."""
    cache: "Cache" = field(default_factory=feature_cache)

    def lock(self, name: str, *, timeout: float = -1) -> "FileLock":
        """Return the lock of a cell or training; it is free again when its process ends, however it ends."""
        from filelock import FileLock

        folder = self.results / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock", timeout=timeout)

    def check_writable(self) -> None:
        """Make sure, before anything is computed, that it can be kept.

        Raises:
            BenchError: the results directory cannot be written, or its file system has no locks.
        """
        try:
            with self.lock("check"):
                pass
        except (OSError, NotImplementedError) as error:
            raise BenchError(
                f"--results {self.results}: cannot be written ({getattr(error, 'strerror', None) or error}); nothing "
                "was computed. Name another folder, or make it writable"
            ) from error
