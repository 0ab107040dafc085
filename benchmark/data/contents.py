"""The content of files by its sha256, and what is known of images, remembered so that a second look reads nothing.

What is known of a file counts while its path, size, times and inode are what they were; a thumbnail belongs to a
content. The memory is a file in the user's cache; without it everything is read again.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, TypeVar

from benchmark.common import image_progress, user_cache

MEMORY = "contents.sqlite3"
FRESH = 2.0
"""Seconds. A file that was changed so recently may change again without another time; it is not remembered."""
THUMBNAIL = 32
"""Side of a thumbnail in pixels."""
_THREADS = min(8, os.cpu_count() or 1)
_PART = 32
"""Files that a thread is given at a time, at most: handing over each one takes as long as reading a small one."""

T = TypeVar("T")
Stamp = tuple[int, int, int, int]
"""Size, times of change of content and of inode in ns, and inode."""


def digests(paths: Iterable[Path], title: str) -> dict[Path, str | None]:
    """Return the sha256 of files in hexadecimal; None for a file that is missing or cannot be read.

    Args:
        paths: Files; each is looked at once.
        title: What is read, for the progress that is shown where it takes long.
    """
    return remembered("files", paths, _sha256, f"reading {title}")


def remembered(
    table: Literal["files", "peaks", "mask_facts", "image_facts"],
    paths: Iterable[Path],
    look: Callable[[Path], str | None],
    title: str,
) -> dict[Path, str | None]:
    """Return what `look` says of files, from memory where they are unchanged; None for a file that is missing.

    Args:
        table: Where it is kept.
        paths: Files; each is looked at once.
        look: Returns a text about a file, or None if it cannot be read; then it is asked again the next time.
        title: What is done, for the progress that is shown where it takes long.
    """
    stamps = {path: stamp(path) for path in dict.fromkeys(paths)}
    present = {path: stamp for path, stamp in stamps.items() if stamp is not None}
    known = _recall(table, present)
    unknown = [path for path in present if path not in known]
    said: Mapping[Path, str | None] = {}
    if unknown:
        said = _each(look, unknown, title)
        latest = time.time_ns() - int(FRESH * 1e9)
        settled = {path: text for path, text in said.items() if text and max(present[path][1:3]) < latest}
        _remember(table, {path: (present[path], text) for path, text in settled.items()})
    return {path: known.get(path) or said.get(path) for path in stamps}


def thumbnails(digests: Mapping[Path, str], make: Callable[[Path], bytes | None], title: str) -> dict[Path, bytes]:
    """Return the thumbnails of images; none of those of which `make` gives none.

    Args:
        digests: The sha256 of each image, from `contents`.
        make: Returns the thumbnail of an image, `THUMBNAIL`² bytes.
        title: What is read, for the progress that is shown where it takes long.
    """
    known: dict[Path, bytes] = {}
    with suppress(OSError, sqlite3.Error), closing(_open()) as database:
        for path, digest in digests.items():
            row = database.execute("SELECT pixels FROM thumbnails WHERE sha256 = ?", (digest,)).fetchone()
            if row and len(row[0]) == THUMBNAIL**2:
                known[path] = row[0]
    unknown = [path for path in digests if path not in known]
    made = {path: pixels for path, pixels in _each(make, unknown, f"comparing {title}").items() if pixels}
    if made:
        rows = [(digests[path], pixels) for path, pixels in made.items()]
        with suppress(OSError, sqlite3.Error), closing(_open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", rows)
    both = known | made
    return {path: both[path] for path in digests if path in both}


def _each(do: Callable[[Path], T], paths: Sequence[Path], title: str) -> dict[Path, T]:
    """Do something with each file, several at a time."""
    found: dict[Path, T] = {}
    size = max(1, min(_PART, len(paths) // (4 * _THREADS)))
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]
    with image_progress(title, len(paths)) as progress, ThreadPoolExecutor(_THREADS) as pool:
        for part, values in zip(parts, pool.map(lambda part: [do(path) for path in part], parts), strict=True):
            found.update(zip(part, values, strict=True))
            progress(len(part))
    return found


def stamp(path: Path) -> Stamp | None:
    """Return what changes with a file; None for a file that is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _open() -> sqlite3.Connection:
    folder = user_cache()
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / MEMORY, timeout=30)
    database.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT)")
    for table in ("peaks", "mask_facts", "image_facts"):
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} (path TEXT PRIMARY KEY, stamp TEXT, found TEXT)")
    database.execute("CREATE TABLE IF NOT EXISTS thumbnails (sha256 TEXT PRIMARY KEY, pixels BLOB)")
    return database


def _recall(table: str, stamps: Mapping[Path, Stamp]) -> dict[Path, str]:
    """Return what is remembered of files; nothing where the memory cannot be read: then the files are."""
    found: dict[Path, str] = {}
    with suppress(OSError, sqlite3.Error), closing(_open()) as database:
        for path, stamp in stamps.items():
            row = database.execute(f"SELECT * FROM {table} WHERE path = ?", (_key(path),)).fetchone()
            if row and row[1] == str(stamp):
                found[path] = row[2]
    return found


def _remember(table: str, files: Mapping[Path, tuple[Stamp, str]]) -> None:
    rows = [(_key(path), str(stamp), text) for path, (stamp, text) in files.items()]
    with suppress(OSError, sqlite3.Error), closing(_open()) as database, database:
        database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)


def _key(path: Path) -> str:
    return str(path.absolute()).encode(errors="surrogateescape").decode(errors="backslashreplace")
