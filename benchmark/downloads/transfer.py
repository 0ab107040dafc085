"""One file over HTTP that goes on where a broken connection left it, as a downloader of pooch."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from benchmark.common import byte_progress, read_limited, size_in_words, write_whole
from benchmark.downloads.archive_members import none_but
from benchmark.downloads.disk import disk_errors, require_room, write_all
from benchmark.errors import BenchError

TIMEOUT = (30, 120)
"""Seconds until a server must take the connection, and must send something."""
TRIES = 5
"""Connections in a row that may bring nothing before an address is given up."""
_PAUSE = 60.0
"""Most seconds between two tries."""
_CHUNK = 2**16
_NOTE_LIMIT = 2**16
_AGENT = "zsad-bench"
_WAIT_AND_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransferError(BenchError):
    """An address does not give the file. The message says why, and does not name the address."""


class _BrokenError(Exception):
    """The connection broke, or the server is busy; trying again may help."""


class _Session(requests.Session):
    """Follows no link from https to http."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and urlsplit(urljoin(resp.url, target)).scheme != "https":
            raise TransferError(f"the server leads on to {target}, which is not https")
        return target


@dataclass
class Resuming:
    """Fetches an address into a file with the end `.part`, in as many connections as it takes.

    A later process goes on with the same file, by HTTP's Range and If-Range, so that a file that was changed on the
    server between the two is fetched anew. pooch calls it, checks the checksum and gives the file its name.
    """

    part: Path
    size: int | None
    """Bytes of the file, where they are known."""
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep
    went_on: bool = False
    """Whether the last file begins with a part that an earlier process, or version of the file, may have left."""

    def __call__(self, url: str, output_file: str | Path, pooch: object) -> None:
        """Fetch an address, and move what it gives to `output_file`.

        Raises:
            TransferError: The address does not give an archive of the expected size.
            DiskFullError: The disk is full; the part stays.
        """
        with _Session() as session:
            session.headers["User-Agent"] = _AGENT
            session.headers["Accept-Encoding"] = "identity"  # bytes are counted as they are in the file
            self.went_on = self._have() > 0
            self._fetch(session, url)
        self.part.replace(output_file)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        """Says from which address the part is, and which version of the file it is of."""
        return self.part.with_name(f"{self.part.name}.json")

    def _fetch(self, session: requests.Session, url: str) -> None:
        in_vain = 0
        while True:
            before = self._have()
            try:
                if self._connect(session, url):
                    return
                why = "the connection ended early"
            except _BrokenError as error:
                why = str(error)
            in_vain = 0 if self._have() > before else in_vain + 1
            if in_vain >= TRIES:
                raise TransferError(f"{why}, {TRIES} times in a row")
            wait = min(_PAUSE, 2.0**in_vain)
            self.say(f"{self.part.stem}: {why} after {size_in_words(self._have())}; going on in {wait:.0f} s")
            self.pause(wait)

    def _have(self) -> int:
        with suppress(FileNotFoundError):
            return self.part.stat().st_size
        return 0

    def _connect(self, session: requests.Session, url: str) -> bool:
        """Fetch what one connection gives; return whether the file is complete."""
        have, headers = self._have(), {}
        note = self._read_note()
        if have and note.get("url") == url:
            headers["Range"] = f"bytes={have}-"
            if version := note.get("version"):
                headers["If-Range"] = version
        with _broken_connections(), session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            status = response.status_code
            if status == 416 and _total_of_range(response) == have == (self.size or have):
                return True
            if status == 416:  # the part is longer than the file: of another version
                self.part.unlink(missing_ok=True)
                return False
            if status in _WAIT_AND_TRY:
                raise _BrokenError(f"the server answers {status} ({response.reason})")
            if status not in (200, 206):
                raise TransferError(f"the server answers {status} ({response.reason})")
            start = _start_of_range(response) if status == 206 else 0
            if start not in (0, have):
                raise TransferError(f"the server sends bytes from {start} on, not from {have} as was asked")
            return self._receive(response, url, start)

    def _receive(self, response: requests.Response, url: str, start: int) -> bool:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        if start == 0:
            self.went_on = False
            version = response.headers.get("ETag", "")
            if not version or version.startswith("W/"):  # weak: other bytes may have it
                version = response.headers.get("Last-Modified", "")
            with disk_errors(self.part.parent):
                write_whole(self._note, json.dumps({"url": url, "version": version}))
        if total is not None:
            require_room(self.part.parent, total - start, self.part.stem)
        with disk_errors(self.part.parent):
            file = self.part.open("ab" if start else "wb", buffering=0)
        with file:
            done = self._write(file, response, start, total)
        if total is not None and done > total:
            raise TransferError(f"the server sends more than the {total:,} bytes that it announced")
        if total is not None and done < total:
            return False
        self._check_size(done)
        return True

    def _write(self, file: FileIO, response: requests.Response, start: int, total: int | None) -> int:
        """Write what a response holds; return how many bytes the file has then."""
        done, known = start, start > 0
        with byte_progress(self.part.stem, self.size or total, done=start) as progress:
            for chunk in response.iter_content(_CHUNK):
                if not known:
                    known = True
                    self._check_start(chunk, total)
                with disk_errors(self.part.parent):
                    write_all(file, chunk)
                done += len(chunk)
                progress(len(chunk))
                if self.size is not None and done > self.size:
                    break
        return done

    def _check_start(self, chunk: bytes, total: int | None) -> None:
        """Stop at the first bytes where they are not those of an archive, or where another size is announced."""
        if what := none_but(chunk):
            self._drop()
            raise TransferError(f"the server sends {what}")
        if total is not None and self.size not in (None, total):
            self._drop()
            raise TransferError(f"the file has {total:,} bytes there, the published one has {self.size:,}")

    def _check_size(self, done: int) -> None:
        if done == 0:
            self._drop()
            raise TransferError("the server sends an empty file")
        if self.size not in (None, done):
            self._drop()
            raise TransferError(f"the file has {done:,} bytes there, the published one has {self.size:,}")

    def _drop(self) -> None:
        """Remove the part, which is of another file."""
        with suppress(PermissionError):  # Windows: it is open, and written anew at the next try
            self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _read_note(self) -> dict[str, str]:
        try:
            content: Any = json.loads(read_limited(self._note, _NOTE_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


@contextmanager
def _broken_connections() -> Iterator[None]:
    """Tell connections that broke from ones that will not come about."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise TransferError(
            f"the certificate of the server cannot be verified, so nothing is taken from it ({_reason(error)})"
        ) from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _BrokenError(f"the connection failed ({_reason(error)})") from error
    except requests.RequestException as error:
        raise TransferError(f"it cannot be asked for ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """Return the innermost reason of an error of requests, which wraps those of urllib3 and of the system."""
    seen: BaseException = error
    for _ in range(8):
        inner = getattr(seen, "reason", None) or next((each for each in seen.args if isinstance(each, Exception)), None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
    text = re.sub(r"^\W?[\w.]*Connection\w*(\(.*?\)| object at \w+>)?: ", "", text)  # which object of urllib3 says it
    return re.sub(r"\s+", " ", text)[:200]


def _start_of_range(response: requests.Response) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None:
        raise TransferError("the server sends a part of the file and does not say which")
    return int(found[1])


def _total_of_range(response: requests.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def read_json(url: str, *, limit: int = 2**24) -> Any:
    """Return the JSON that an address gives.

    Raises:
        TransferError: It gives none.
    """
    with _Session() as session:
        session.headers["User-Agent"] = _AGENT
        try:
            with _broken_connections(), session.get(url, stream=True, timeout=TIMEOUT) as response:
                if response.status_code != 200:
                    raise TransferError(f"the server answers {response.status_code} ({response.reason})")
                content = b"".join(_up_to(response.iter_content(2**16), limit))
            return json.loads(content)
        except _BrokenError as error:
            raise TransferError(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise TransferError("the server sends no JSON") from error


def _up_to(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    given = 0
    for chunk in chunks:
        given += len(chunk)
        if given > limit:
            raise TransferError(f"the server sends more than {size_in_words(limit)}")
        yield chunk
