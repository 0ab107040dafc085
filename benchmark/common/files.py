"""Files: whole writes, hashes, the folders that the benchmark brings along, and the user's cache folder."""

import functools
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from benchmark.errors import BenchError


def as_path(given: str | Path, what: str) -> Path:
    """Return a path that a user gives in Python, with `~` replaced by the home folder.

    Args:
        given: The path.
        what: What messages call it.

    Raises:
        BenchError: It is no path, or there is no such home folder.
    """
    if not isinstance(given, str | Path) or not str(given).strip():
        raise BenchError(f"{what}: {given!r} is no path; give a text or a pathlib.Path")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise BenchError(f"{what}: {given}: {error}") from None


def write_whole(path: Path, content: str | bytes | Callable[[IO[bytes]], None]) -> None:
    """Write a file so that it is there with all its content or not at all.

    The content is given, or a function that writes it, where it would take much memory.

    The content goes to a temporary file, which is synced to disk and then renamed. A process that is killed, or a full
    disk, leaves the old file, or none where there was none.

    Raises:
        OSError: The directory cannot be written or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with temporary.open("xb") as file:  # not by tempfile, whose files only their owner may read
        try:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(path)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal. A file with unchanged size and time is not read again."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1024)  # a run asks several times for weights and cached features, which are large
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unix_content(path: Path) -> bytes:
    """Return the content of a text file with the same line ends on every system.

    Raises:
        OSError: The file cannot be read.
    """
    return path.read_bytes().replace(b"\r\n", b"\n")


def shipped_folder(name_in_package: str, path_in_checkout: str) -> Path:
    """Return a folder of data that the benchmark brings along: inside the installed package, else in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / name_in_package
    return installed if installed.is_dir() else package.parent / path_in_checkout


def reference_results() -> Path | None:
    """Return the folder of the results that the checkout holds to compare with; None where there is no checkout."""
    folder = Path(__file__).parents[2] / "results" / "reference"
    return folder if (folder / "records").is_dir() else None


def user_cache() -> Path:
    """Return the folder that the environment variable `BENCH_CACHE` names, else the system's cache folder of the user.

    It holds what can be downloaded or computed again: weights, the mini suite, features of training images.
    """
    import pooch

    if given := os.environ.get("BENCH_CACHE"):
        return Path(given)
    return Path(pooch.os_cache("zsad-bench"))
