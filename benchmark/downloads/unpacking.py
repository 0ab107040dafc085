"""Safe unpacking of archives from strangers: nothing is written outside of the folder, and no more than fits its size.

Links and devices are refused, modes and owners of the archive are not taken, archives inside of archives stay packed.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmark.common import printable
from benchmark.downloads.archive_members import members_of, too_large, unpacked_size
from benchmark.downloads.disk import disk_errors, require_room, write_all
from benchmark.downloads.member_names import ArchiveError, Names, parts_of

RATIO = 20
"""To how many times its size an archive may unpack. Images are compressed already; bitmaps are about ten times."""
SLACK = 64 * 2**20
"""Bytes that even a small archive may unpack to: tables and masks of one colour pack well."""
MOST_MEMBERS = 2_000_000
_CHUNK = 2**20


def most_bytes(size: int) -> int:
    """Return to how many bytes an archive of a size may unpack."""
    return RATIO * size + SLACK


def unpack(archive: Path, folder: Path, *, progress: Callable[[int], None] = lambda _: None) -> None:
    """Unpack a zip or tar archive, compressed or not, into a folder.

    Args:
        archive: The file; its content says what it is, not its name.
        folder: New or empty; files that an earlier archive left there are not overwritten.
        progress: Called with the number of bytes that were just written.

    Raises:
        ArchiveError: It is refused (see the module) or damaged; the message names it. What was written stays.
        DiskFullError: The disk is full.
    """
    with _naming(archive):
        _unpack(archive, folder, progress)


def bytes_of(archive: Path) -> int | None:
    """Return how many bytes an archive unpacks to, as far as it declares that without being unpacked.

    Raises:
        ArchiveError: It is damaged, or cannot be read; the message names it.
    """
    with _naming(archive):
        return unpacked_size(archive)


@contextmanager
def _naming(archive: Path) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"{printable(archive)}: {error}") from error


def _unpack(archive: Path, folder: Path, progress: Callable[[int], None]) -> None:
    most = most_bytes(archive.stat().st_size)
    names, written = Names(ignores_case(folder)), 0
    with members_of(archive, most=most) as members:
        for number, member in enumerate(members):
            if number >= MOST_MEMBERS:
                raise ArchiveError(f"holds more than {MOST_MEMBERS:,} files")
            parts = parts_of(member.name)
            target = folder.joinpath(*parts)
            if member.is_folder:
                names.add_folder(parts)
                with disk_errors(folder):
                    target.mkdir(parents=True, exist_ok=True)
                continue
            if not parts:
                raise ArchiveError(f"holds a file named {printable(member.name)!r}")
            names.add_file(parts)
            if written + member.size > most:
                raise too_large(written + member.size, most)
            require_room(folder, member.size, f"{printable(member.name)} of {archive.name}")
            with disk_errors(folder):
                target.parent.mkdir(parents=True, exist_ok=True)
            with member.opened() as source:
                written += _copy(source, target, most - written, folder, progress)


def _copy(source: IO[bytes], target: Path, most: int, folder: Path, progress: Callable[[int], None]) -> int:
    """Write a member into a new file; return its bytes, which may be others than the archive declares."""
    written = 0
    with disk_errors(folder):
        try:
            file = target.open("xb", buffering=0)
        except FileExistsError as error:
            raise ArchiveError(f"holds {printable(target.name)!r}, which another archive holds too") from error
    with file:
        while content := source.read(_CHUNK):
            written += len(content)
            if written > most:
                raise too_large(written, most)
            with disk_errors(folder):
                write_all(file, content)
            progress(len(content))
    return written


def ignores_case(folder: Path) -> bool:
    """Return whether the disk of a folder takes names that differ only in case for the same."""
    with tempfile.NamedTemporaryFile(prefix="case", dir=folder) as file:
        path = Path(file.name)
        return path.with_name(path.name.upper()).exists()
