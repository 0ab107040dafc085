"""Fetching an archive from the first of its addresses that gives it, checked by its checksum."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pooch

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
    pooch.get_logger().setLevel(logging.WARNING)
    reasons = []
    for url in archive.urls:
        try:
            return _fetch_from(
                url, archive, folder, checksum, Resuming(folder / f"{archive.file}{PART}", archive.size, say, pause)
            )
        except TransferError as error:
            reasons.append(f"{url}: {error}")
        if len(archive.urls) > 1:
            say(reasons[-1])
    note = f"\n  {' '.join(archive.note.split())}" if archive.note else ""
    raise FetchError(f"{archive.file} cannot be fetched:\n  " + "\n  ".join(reasons) + note)


def _fetch_from(url: str, archive: Archive, folder: Path, checksum: Checksum, downloader: Resuming) -> Path:
    while True:
        try:
            with disk_errors(folder):
                fetched = pooch.retrieve(
                    url=url, known_hash=str(checksum), fname=archive.file, path=folder, downloader=downloader
                )
        except ValueError as error:  # the file had another checksum, and was removed
            if downloader.went_on:  # a part of another version may have been its beginning
                downloader.say(f"{archive.file}: its parts are not of one file; it is fetched anew")
                continue
            raise TransferError(
                f"the file there has another {checksum.algorithm} than the published one, {checksum.digest}: it was "
                "changed, or damaged on its way"
            ) from error
        return Path(fetched)
