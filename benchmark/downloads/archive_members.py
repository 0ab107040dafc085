"""The members of zip and tar archives, read one after the other; what an archive is, is told by its first bytes."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmark.common import printable, size_in_words, what_begins
from benchmark.downloads.member_names import ArchiveError

_COMPRESSED: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"\xfd7zXZ\x00", lzma.open),
    (b"BZh", bz2.open),
)
"""How a compressed tar archive begins, and what opens it."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
_ENCRYPTED = 0x1
_HEADERS = 2**20
"""Most bytes of the headers of one member of a tar archive: its name and what else is said of it."""


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive."""

    name: str
    is_folder: bool
    size: int
    """Bytes that the archive declares."""
    opened: Callable[[], IO[bytes]]


def is_archive(start: bytes) -> bool:
    """Return whether a file with these first bytes may be a zip archive or a tar archive."""
    signatures = (*_ZIP, *(signature for signature, _ in _COMPRESSED))
    return start.startswith(signatures) or start[257:262] == b"ustar"


def none_but(start: bytes) -> str | None:
    """Return what a file with these first bytes is, if it is surely no zip or tar archive but, say, a web page."""
    return None if is_archive(start) else (what_begins(start) or "").partition(";")[0] or None


@contextmanager
def members_of(path: Path, *, most: int) -> Iterator[Iterator[Member]]:
    """Yield the members of an archive in order; each must be read before the next is asked for.

    Args:
        path: The archive, whatever its name.
        most: Bytes that it may unpack to. Those that a zip archive declares are added up before anything is read,
            those of a compressed tar archive are counted as they come.

    Raises:
        ArchiveError: It is no such archive, is damaged, needs a password, declares more bytes or members than it may,
            or has a member that is neither a file nor a folder. The message does not name the archive.
    """
    with _told(path):
        start = _start_of(path)
        if start.startswith(_ZIP) or (not is_archive(start) and zipfile.is_zipfile(path)):
            with zipfile.ZipFile(path) as archive:
                yield _of_zip(archive, most)
            return
        opener = next((opens for signature, opens in _COMPRESSED if start.startswith(signature)), None)
        with path.open("rb") as file:
            stream = opener(file) if opener else file
            counted: Any = _Counted(stream, most)
            with tarfile.open(fileobj=counted, mode="r|") as tar:
                yield _of_tar(tar, counted)
            while counted.read(2**16):  # checksums of the compression come after the last member
                pass
            if counted.given < tar.offset + tarfile.BLOCKSIZE:  # cut between two members
                raise ArchiveError("is damaged: its end is missing")


def unpacked_size(path: Path) -> int | None:
    """Return how many bytes an archive declares, where it is a zip archive or a tar archive that is not compressed."""
    with _told(path):
        start = _start_of(path)
        if start.startswith(_ZIP):
            with zipfile.ZipFile(path) as archive:
                return sum(entry.file_size for entry in archive.infolist())
        return None if start.startswith(tuple(signature for signature, _ in _COMPRESSED)) else path.stat().st_size


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in words what the readers of the standard library raise where an archive is damaged."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        raise ArchiveError(f"is packed in a way that is not read here ({error})") from error
    except _DAMAGE as error:
        if isinstance(error, PermissionError):
            raise ArchiveError("may not be read; change its permissions") from error
        if what := none_but(_start_of(path)):
            raise ArchiveError(f"is no zip or tar archive, but {what}") from error
        raise ArchiveError(f"is damaged, or is no zip or tar archive ({error})") from error


def _of_zip(archive: zipfile.ZipFile, most: int) -> Iterator[Member]:
    entries = archive.infolist()
    if (declared := sum(entry.file_size for entry in entries)) > most:
        raise too_large(declared, most)
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"holds {printable(entry.filename)!r}, which is a link or a device")
        if entry.flag_bits & _ENCRYPTED:
            raise ArchiveError("needs a password")
        # Not `is_dir`: that looks at the slash alone, which tools of Windows write the other way round.
        folder = entry.filename.endswith(("/", "\\")) or kind == stat.S_IFDIR
        yield Member(entry.filename, folder, entry.file_size, lambda entry=entry: archive.open(entry))  # type: ignore[misc]


def _of_tar(archive: tarfile.TarFile, counted: "_Counted") -> Iterator[Member]:
    while True:
        counted.begin_header()
        entry = archive.next()
        counted.end_header()
        if entry is None:
            return
        if not (entry.isreg() or entry.isdir()):
            raise ArchiveError(f"holds {printable(entry.name)!r}, which is a link or a device")
        yield Member(entry.name, entry.isdir(), entry.size, lambda entry=entry: archive.extractfile(entry))  # type: ignore[arg-type,misc]


def too_large(size: int, most: int) -> ArchiveError:
    """Return the error of an archive that unpacks to more than it may."""
    return ArchiveError(
        f"unpacks to {size_in_words(size)} or more; at most {size_in_words(most)} are right for its size"
    )


class _Counted:
    """A stream that may give so many bytes and no more: headers of a tar archive count, too.

    The headers of a member are held in memory, so that they may have fewer bytes. The stream begins with one.
    """

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most, self.given = stream, most, 0
        self._until: int | None = _HEADERS

    def begin_header(self) -> None:
        """Limit what is read next."""
        self._until = self.given + _HEADERS

    def end_header(self) -> None:
        """Limit what is read by the size of the archive alone."""
        self._until = None

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        content = self._stream.read(size)
        self.given += len(content)
        if self.given > self._most:
            raise too_large(self.given, self._most)
        if self._until is not None and self.given > self._until:
            raise ArchiveError(f"holds a member whose headers have more than {size_in_words(_HEADERS)}")
        return content
