"""The disk on which datasets are kept: how much is left, and what to do where it is full."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from benchmark.common import size_in_words
from benchmark.errors import BenchError

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class DiskFullError(BenchError):
    """The disk has too little room. The message names the folder, what is needed and the way out."""


def require_room(folder: Path, needed: int, what: str) -> None:
    """Check that so many bytes fit on the disk of a folder.

    Args:
        folder: It is there.
        needed: Bytes.
        what: For what they are needed, as in `VisA_20220922.tar, unpacked`.

    Raises:
        DiskFullError: They do not fit.
    """
    if needed > (free := shutil.disk_usage(folder).free):
        raise DiskFullError(
            f"{folder}: {what} needs {size_in_words(needed)}, the disk has {size_in_words(free)} left; free some, or "
            "name a folder on another disk by --data"
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of writing into ones that say what to do.

    Raises:
        DiskFullError: The disk, or the user's part of it, is full.
        BenchError: The folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"{folder}: the disk is full; free some and run the same command again: what was fetched is kept, and "
                "it goes on from there"
            ) from error
        if isinstance(error, FileExistsError):
            raise BenchError(f"{error.filename or folder}: a file is where a folder should be; move it away") from error
        raise BenchError(f"{folder}: cannot be written ({error.strerror or error})") from error


def write_all(file: FileIO, content: bytes) -> None:
    """Write bytes into a file without a buffer, so that no error of the disk is left for when it is closed."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
