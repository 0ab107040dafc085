"""Checksums of archives: those of the card, those that a record of Zenodo lists, and that of a file."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from benchmark.data import Archive
from benchmark.downloads.transfer import TransferError, read_json
from benchmark.errors import BenchError


@dataclass(frozen=True)
class Checksum:
    """What a file must be: the name of an algorithm, as hashlib has it, and the digest in hexadecimal."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest}"

    def of(self, path: Path) -> str:
        """Return the digest of a file by this algorithm."""
        return str(pooch.file_hash(str(path), alg=self.algorithm))


class RecordError(BenchError):
    """A record with checksums cannot be read. The message names its address."""


def checksum_of(archive: Archive) -> Checksum | None:
    """Return the checksum of an archive, from its record if its card names one; None where none is published.

    Raises:
        RecordError: The record cannot be read, or does not list the file.
    """
    if archive.sha256:
        return Checksum("sha256", archive.sha256)
    if archive.md5:
        return Checksum("md5", archive.md5)
    return _in_record(archive.record, archive.file) if archive.record else None


@functools.lru_cache(maxsize=8)  # one record lists all archives of a dataset
def _read_record(record: str) -> Any:
    return read_json(record)


def _in_record(record: str, file: str) -> Checksum:
    try:
        content = _read_record(record)
    except TransferError as error:
        raise RecordError(f"{record}, which lists the checksum of {file}: {error}; try again later") from error
    try:
        listed = {each["key"]: str(each["checksum"]) for each in content["files"]}
        algorithm, _, digest = listed[file].rpartition(":")
    except (KeyError, TypeError) as error:
        raise RecordError(f"{record}: lists no checksum of {file}; was the record changed?") from error
    return Checksum(algorithm or "md5", digest.lower())
