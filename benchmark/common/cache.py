"""A cache on disk of arrays with equal rows: written row by row, read through memory maps.

An entry is a folder; each array in it is a file of raw rows, and counts only with a sidecar that holds its size, the
time of its last change and its sha256. An array whose size and time are those is whole; the sha256 is computed where
they differ, as after a copy, and by `bench data check-cache`.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from benchmark.common.files import write_whole
from benchmark.common.names import size_in_words
from benchmark.common.reading import JSON_LIMIT, read_limited
from benchmark.errors import BenchError

GB = 10**9
DATA, SIDECAR, PARTIAL = ".bin", ".json", ".partial"


class CacheError(BenchError):
    """The cache cannot hold what is asked; the message names the folder and the way out."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Where arrays are kept, and how much of them."""

    directory: Path
    limit: int
    """Bytes of all entries together; the least recently used go first."""

    def entries(self) -> list["Entry"]:
        """Return its entries in order of their keys."""
        if not self.directory.is_dir():
            return []
        found = [Entry(self, path.name) for path in sorted(self.directory.iterdir())]
        return [entry for entry in found if entry.holds_arrays_alone()]

    def evict(self, needed: int = 0, *, spared: "Entry | None" = None) -> None:
        """Remove the entries used longest ago until `needed` bytes more fit below the limit and on the disk.

        Entries that another process is writing stay, and the one that is spared: the limit may then be passed.
        """
        ages = {entry: _age(entry) for entry in self.entries() if entry != spared}
        used = sum(entry.size() for entry in ages) + (spared.size() if spared else 0)
        for entry in sorted(ages, key=ages.__getitem__, reverse=True):
            if used + needed <= self.limit and needed <= shutil.disk_usage(self.directory).free:
                break
            with suppress(Timeout), entry.lock(timeout=0):
                used -= entry.size()
                shutil.rmtree(entry.folder, ignore_errors=True)


@dataclass(frozen=True)
class Entry:
    """A folder of the cache."""

    cache: Cache
    key: str

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.cache.directory / self.key

    def lock(self, *, timeout: float = -1) -> FileLock:
        """Return the lock under which the entry is written or removed."""
        self.cache.directory.mkdir(parents=True, exist_ok=True)
        return FileLock(self.cache.directory / f"{self.key}.lock", timeout=timeout)

    def path(self, name: str) -> Path:
        """Return the file of an array."""
        return self.folder / f"{name}{DATA}"

    def sidecar(self, name: str) -> dict[str, Any]:
        """Return what was noted of an array when it was complete."""
        content: dict[str, Any] = json.loads(read_limited(self.path(name).with_suffix(SIDECAR), JSON_LIMIT))
        return content

    def is_whole(self, name: str, *, thoroughly: bool = False) -> bool:
        """Say whether an array is there as it was written: with its size and time, else with its content.

        The size and time of an array with its content are noted anew.

        Args:
            name: Name of the array.
            thoroughly: Read the content in any case.
        """
        try:
            known, stamp = self.sidecar(name), _stamp(self.path(name))
            if not thoroughly and {key: known.get(key) for key in stamp} == stamp:
                return True
            with self.path(name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != known["sha256"]:
                    return False
            with suppress(OSError):  # a cache that may only be read
                write_whole(self.path(name).with_suffix(SIDECAR), json.dumps({**known, **stamp}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        return True

    def names(self) -> list[str]:
        """Return the names of its arrays, complete or not."""
        return sorted({path.stem for path in self.files() if path.suffix in (DATA, SIDECAR)})

    def read(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
        """Return an array of float64 that `write` wrote; None where it is missing, damaged or of another shape."""
        if not self.is_whole(name):
            return None
        try:
            if self.sidecar(name).get("key") != self.key:  # files of another entry
                return None
            values = np.fromfile(self.path(name), "<f8")
            self.touch()
        except (OSError, ValueError):  # another process removes it
            return None
        return values.reshape(shape) if values.size == math.prod(shape) else None

    def write(self, name: str, values: npt.NDArray[np.float64]) -> None:
        """Keep an array of float64. It may pass the limit of the cache, which `Cache.evict` enforces.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        with self.lock():
            self.clear([name])
            with Writer(self, name) as writer:
                writer.write(values.astype("<f8").tobytes())
                writer.finish({"key": self.key})

    def touch(self) -> None:
        """Mark the entry as used now."""
        os.utime(self.folder)

    def clear(self, names: Iterable[str]) -> None:
        """Make the folder where it is not, and remove these arrays and what an interrupted process left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            for suffix in (DATA, SIDECAR):
                self.path(name).with_suffix(suffix).unlink(missing_ok=True)
        for path in self.folder.glob(f"*{PARTIAL}"):
            path.unlink(missing_ok=True)

    def files(self) -> dict[Path, int]:
        """Return its files with their sizes; another process may be removing them."""
        found = {}
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):
                    found[path] = path.stat().st_size
        return found

    def holds_arrays_alone(self) -> bool:
        """Say whether it is an entry and not some other folder, which is none of the cache's business."""
        return self.folder.is_dir() and all(path.suffix in (DATA, SIDECAR, PARTIAL) for path in self.files())

    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(self.files().values())

    def make_room(self, needed: int) -> None:
        """Remove the entries used longest ago until `needed` bytes more fit below the limit and on the disk.

        Entries that another process is writing stay, so the limit may be passed while it does.

        Raises:
            CacheError: they can never fit, or the disk is too full.
        """
        says = f"{self.cache.directory}: the features need {size_in_words(needed)}"
        if needed + self.size() > self.cache.limit:
            raise CacheError(f"{says}, the limit is {size_in_words(self.cache.limit)}; raise --cache-limit")
        self.cache.evict(needed, spared=self)
        if needed > (free := shutil.disk_usage(self.folder).free):
            raise CacheError(f"{says}, the disk has {size_in_words(free)} left; free it or point BENCH_CACHE elsewhere")


def _age(entry: Entry) -> float:
    """Return for how long an entry has not been used, in seconds from some start."""
    try:
        return -entry.folder.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _stamp(path: Path) -> dict[str, int]:
    """Return the size of a file and the time of its last change, by which a sidecar knows it."""
    stat = path.stat()
    return {"size": stat.st_size, "changed": stat.st_mtime_ns}


@dataclass
class Writer:
    """Writes an array under another name, and gives it its own and a sidecar when it is complete."""

    entry: Entry
    name: str
    _digest: Any = field(default_factory=hashlib.sha256)
    _file: IO[bytes] | None = None

    @property
    def _temporary(self) -> Path:
        return self.entry.path(self.name).with_suffix(PARTIAL)

    def __enter__(self) -> "Writer":
        self._file = self._temporary.open("wb")
        return self

    def write(self, row: bytes) -> None:
        """Append a row."""
        assert self._file is not None
        self._file.write(row)
        self._digest.update(row)

    def finish(self, notes: dict[str, Any]) -> None:
        """Say that all rows are written; `notes` go into the sidecar."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        path = self.entry.path(self.name)
        path.with_suffix(SIDECAR).unlink(missing_ok=True)
        self._temporary.replace(path)
        known = {"sha256": self._digest.hexdigest(), **_stamp(path), **notes}
        write_whole(path.with_suffix(SIDECAR), json.dumps(known))

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._temporary.unlink(missing_ok=True)


class Rows:
    """An array of the cache, mapped; it stays readable when another process evicts it."""

    def __init__(self, path: Path, row_bytes: int) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._row_bytes = row_bytes

    def read(self, rows: npt.NDArray[np.int64], *, out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """Return copies of rows as bytes (len(rows), row bytes), in `out` if it is given."""
        every = np.frombuffer(self._map, dtype=np.uint8).reshape(-1, self._row_bytes)
        # Unlike an index, this lets other threads work meanwhile. Clipping alone writes to `out` without a buffer.
        copied: npt.NDArray[np.uint8] = every.take(rows, axis=0, out=out, mode="raise" if out is None else "clip")
        if hasattr(mmap, "MADV_DONTNEED"):  # else pages once read would count as this process's memory
            self._map.madvise(mmap.MADV_DONTNEED)
        return copied
