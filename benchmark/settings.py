"""How cells and trainings are run; nothing here changes a number."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock

from benchmark.cache import GB, Cache
from benchmark.defaults import BATCH_SIZE, CACHE_LIMIT, WORKERS
from benchmark.files import user_cache

OnError = Literal["fail", "skip"]


def feature_cache(limit: float = CACHE_LIMIT) -> Cache:
    """Return the user's cache of features, of at most `limit` GB."""
    return Cache(user_cache() / "features", int(limit * GB))


@dataclass(frozen=True)
class Settings:
    """How to run."""

    results: Path
    batch_size: int = BATCH_SIZE
    workers: int = WORKERS
    on_error: OnError = "fail"
    force: bool = False
    cache: Cache = field(default_factory=feature_cache)

    def lock(self, name: str, *, timeout: float = -1) -> FileLock:
        """Return the lock of a cell or training; it is free again when its process ends, however it ends."""
        folder = self.results / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock", timeout=timeout)
