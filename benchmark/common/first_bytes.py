"""What a file is by its first bytes, for messages about files that are not what their names say."""

import codecs
import json
import zipfile
from pathlib import Path

from benchmark.common.names import printable

_AGAIN = "download it again"
_UNPACK = "unpack it, and name the file inside"
_START = 4096
"""Number of bytes that are looked at."""
_LIST = 2**24
"""Most bytes of the list of tensors of a safetensors file."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (0, b"Rar!\x1a\x07", f"a rar archive; {_UNPACK}"),
    (0, b"\x1f\x8b", f"a gzip archive (.gz, .tar.gz); {_UNPACK}"),
    (0, b"\xfd7zXZ\x00", f"an xz archive (.xz, .tar.xz); {_UNPACK}"),
    (0, b"BZh", f"a bzip2 archive (.bz2, .tar.bz2); {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"a zstd archive (.zst, .tar.zst); {_UNPACK}"),
    (257, b"ustar", f"a tar archive; {_UNPACK}"),
    (0, b"%PDF-", "a PDF document, not the file itself"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (as of Keras), which is not read"),
    (0, b"\x93NUMPY", "a NumPy array (.npy), which is not read here"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
)
"""Offset, bytes found there, and what such a file is."""

_TEXTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("version https://git-lfs",),
        "a pointer of Git LFS, not the file itself; fetch the file with `git lfs pull`",
    ),
    (
        ("<!doctype html", "<html", "<head", "<body", "<script"),
        "a web page (HTML), not the file itself; open the link in a browser and download the file from there",
    ),
    (("<",), f"a text in XML, as the error message of a server; {_AGAIN}"),
    (("{", "["), "a text in JSON, not the file itself"),
)
"""How a text begins, in lower case, and what such a file is."""


def what_is_it(path: Path, *, text: bool = False) -> str | None:
    """Return what a file is that cannot be read as what its name says, with the way out; None where that is unknown.

    A web page, a pointer of Git LFS, an error message of a server, an archive, an empty file and a download that was
    broken off are known. No file is read beyond its first 4096 bytes, but for the list of contents of a zip archive or
    of a safetensors file.

    Args:
        path: The file.
        text: Whether it should be a text; then one that is nothing else is no surprise.
    """
    try:
        if not path.is_file():  # reading from a pipe would block
            return None
        with path.open("rb") as file:
            start = file.read(_START)
        size = path.stat().st_size
    except OSError:
        return None
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(path)
    if is_safetensors(start, size=size):
        return _safetensors(path, size)
    return what_begins(start, text=text)


def what_begins(start: bytes, *, text: bool = False) -> str | None:
    """Return what a file is by its first bytes alone, as `what_is_it`; None also for a zip archive."""
    if not start.strip(b"\0"):
        return f"zero bytes only, as after a download that was broken off; {_AGAIN}" if start else f"empty; {_AGAIN}"
    signed = (kind for offset, signature, kind in _SIGNATURES if start[offset:].startswith(signature))
    return next(signed, None) or _text(start[:_START], known=not text)


def is_safetensors(start: bytes, *, size: int) -> bool:
    """Return whether a file of this size with these first bytes is laid out as a safetensors file."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _safetensors(path: Path, size: int) -> str:
    """Return whether the end of a safetensors file is missing, by the list of its tensors."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            listed = json.loads(file.read(length)) if length <= _LIST else {}
        ends = [each["data_offsets"][1] for name, each in listed.items() if name != "__metadata__"]
        missing = max(ends, default=0) > size - 8 - length
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        missing = True
    return f"a safetensors file of which the end is missing or broken; {_AGAIN}" if missing else "a safetensors file"


def _zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"a zip archive (as .pt and .pth files are) of which the end is missing or broken; {_AGAIN}"
    of_torch = any(name.endswith(("data.pkl", "constants.pkl")) for name in names)
    return None if of_torch else f"a zip archive; {_UNPACK}"


def _text(start: bytes, *, known: bool) -> str | None:
    """Return what kind of text a file is, or None where it is no text.

    Args:
        start: Its first bytes.
        known: Whether any other text has a name too.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start, final=len(start) < _START).strip()
    except UnicodeDecodeError:
        return None
    if not text or any(character < " " and character not in "\t\r\n\f" for character in text):
        return None
    low = text.lower()
    if "<html" in low[:1000]:
        low = f"<html{low}"
    first = printable(text.splitlines()[0][:60])
    other = f'a text that begins "{first}", not the file itself; {_AGAIN}' if known else None
    return next((kind for start, kind in _TEXTS if low.startswith(start)), other)
