"""Files that are there whole or not at all, and where those go that can be made again."""

import functools
import hashlib
import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file by temporary file, fsync and rename; a kill or a full disk leaves the old file or none.

    Raises:
        OSError: the directory cannot be written or the disk is full; no part of the new file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with temporary.open("xb") as file:  # not by tempfile, whose files only their owner may read
        try:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(path)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal; a file that has not changed since is not read again."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1024)  # weights and cached features are asked for several times in a run, and are large
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped_folder(name_in_package: str, path_in_checkout: str) -> Path:
    """Return a folder of data that the benchmark brings along: inside the installed package, else in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / name_in_package
    return installed if installed.is_dir() else package.parent / path_in_checkout


def user_cache() -> Path:
    """Return the folder for what can be fetched or made again: weights, the mini suite, features of training images.

    `BENCH_CACHE`, else the user's cache folder of the system.
    """
    import pooch

    if given := os.environ.get("BENCH_CACHE"):
        return Path(given)
    return Path(pooch.os_cache("zsad-bench"))
