"""Fetching an archive from the first of its addresses that gives it, checked by its checksum."""

import time
from collections.abc import Callable
from pathlib import Path

from benchmark.data import Archive
from benchmark.downloads.checksums import Checksum
from benchmark.downloads.disk import disk_errors
from benchmark.downloads.transfer import Resuming, TransferError
from benchmark.errors import BenchError

PART = ".part"


class FetchError(BenchError):
    """No address gives the archive. The message says why for each."""


def fetch(
    archive: Archive,
    folder: Path,
    checksum: Checksum,
    *,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch an archive into a folder; what is there already is not fetched again.

    Args:
        archive: Its addresses are tried in their order.
        folder: It is there. A part of the file is kept in it until the file is whole.
        checksum: Of the file; one with another is removed.
        say: Called with lines about broken connections and addresses that fail.
        pause: Waits so many seconds before a connection is tried again.

    Returns:
        The path of the archive.

    Raises:
        FetchError: No address gives the file. The part stays where the connection broke, and the next call goes on.
        DiskFullError: The disk is full; the part stays.
    """
    path = folder / archive.file
    if path.is_file() and checksum.of(path) == checksum.digest:
        return path
    reasons = []
    part = Resuming(folder / f"{archive.file}{PART}", archive.size, say, pause)
    for url in archive.urls:
        try:
            with disk_errors(folder):
                _fetch_from(url, part, checksum)
                part.keep(path)
        except TransferError as error:
            reasons.append(f"{url}: {error}")
        else:
            return path
        if len(archive.urls) > 1:
            say(reasons[-1])
    note = f"\n  {' '.join(archive.note.split())}" if archive.note else ""
    raise FetchError(f"{archive.file} cannot be fetched:\n  " + "\n  ".join(reasons) + note)


def _fetch_from(url: str, part: Resuming, checksum: Checksum) -> None:
    """Make a part the whole file. The checksum is computed before the part is renamed, so that a kill loses nothing."""
    for anew in (False, True):
        part.fetch(url)
        if checksum.of(part.part) == checksum.digest:
            return
        mixed = part.went_on and not anew  # a part of another version may have been its beginning
        part.drop()
        if not mixed:
            break
        part.say(f"{part.part.stem}: its parts are not of one file; it is fetched anew")
    raise TransferError(
        f"the file there has another {checksum.algorithm} than the published one, {checksum.digest}: it was changed, "
        "or damaged on its way"
    )
