"""One file over HTTP that goes on where a broken connection left it."""

import itertools
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from benchmark.common import byte_progress, printable, read_limited, size_in_words, write_whole
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
_START = 512
"""First bytes by which an archive is told from a web page."""
_NOTE_LIMIT = 2**16
_AGENT = "zsad-bench"
_WAIT_AND_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransferError(BenchError):
    """An address does not give the file. The message says why, and does not name the address."""


class _BrokenError(Exception):
    """The connection broke, or the server is busy; trying again may help."""


class _UnknownNameError(_BrokenError):
    """The name of the server is not known: there is no network, or the name is wrong."""


class _Session(requests.Session):
    """Follows no link from https to http."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and urlsplit(resp.url).scheme == "https" and urlsplit(urljoin(resp.url, target)).scheme != "https":
            raise TransferError(f"the server leads on to {printable(target[:200])}, which is not https")
        return target


@dataclass
class Resuming:
    """Fetches an address into a file with the end `.part`, in as many connections as it takes.

    A later process goes on with the same file, by HTTP's Range and If-Range, so that a file that was changed on the
    server between the two is fetched anew. What a part holds is given up only for the beginning of an archive.
    """

    part: Path
    size: int | None
    """Bytes of the file, where they are known."""
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep
    went_on: bool = False
    """Whether the last file begins with a part that an earlier process, or version of the file, may have left."""

    def fetch(self, url: str) -> None:
        """Make the part the whole file that an address gives; its checksum is not looked at.

        Raises:
            TransferError: The address does not give an archive of the expected size.
            DiskFullError: The disk is full; the part stays.
        """
        if self.size is not None and self._have() > self.size:
            self.drop()
        self.went_on = self._have() > 0
        if self.size is not None and self._have() == self.size:
            return
        with _Session() as session:
            session.headers["User-Agent"] = _AGENT
            session.headers["Accept-Encoding"] = "identity"  # bytes are counted as they are in the file
            self._fetch(session, url)

    def drop(self) -> None:
        """Remove the part, which is of another file."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def keep(self, path: Path) -> None:
        """Give the whole file its name."""
        self.part.replace(path)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        """Says from which address the part is, and which version of the file it is of."""
        return self.part.with_name(f"{self.part.name}.json")

    def _fetch(self, session: requests.Session, url: str) -> None:
        in_vain, first = 0, self._have()
        most = first
        while True:
            try:
                if self._connect(session, url):
                    return
                why = "the connection ended early"
            except _BrokenError as error:
                if isinstance(error, _UnknownNameError) and most == first:  # else the network was there a moment ago
                    raise TransferError(str(error)) from error
                why = str(error)
            in_vain = 0 if self._have() > most else in_vain + 1
            most = max(most, self._have())
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
            if status == 416 and headers:
                total = _total_of_range(response)
                self._check_total(total)
                if total in (None, have):  # where the server does not say how long the file is, the checksum decides
                    return True
                self.drop()  # it is of another version of the file
                return False
            if status in _WAIT_AND_TRY:
                raise _BrokenError(f"the server answers {_status(response)}")
            if status not in (200, 206):
                raise TransferError(f"the server answers {_status(response)}")
            if coding := response.headers.get("Content-Encoding", "identity").strip().lower().replace("identity", ""):
                raise TransferError(f"the server sends the file packed as {printable(coding[:50])}, unasked")
            start = _start_of_range(response) if status == 206 else 0
            if start not in (0, have):
                raise TransferError(f"the server sends bytes from {start} on, not from {have} as was asked")
            return self._receive(response, url, start)

    def _receive(self, response: requests.Response, url: str, start: int) -> bool:
        """Write what a response holds; return whether the file is complete."""
        length = _number(response.headers.get("Content-Length", ""))
        announced = None if length is None else start + length
        total = _total_of_range(response) if response.status_code == 206 else announced
        chunks = response.iter_content(_CHUNK)
        beginning = b""
        if start == 0:  # what is there is given up only where an archive comes
            beginning = _first_bytes(chunks)
            if not beginning and announced:
                return False
            if not beginning:
                raise TransferError("the server sends an empty file")
            if what := none_but(beginning):
                raise TransferError(f"the server sends {what}")
        self._check_total(total)
        if announced is not None:
            require_room(self.part.parent, announced - start, self.part.stem)
        with disk_errors(self.part.parent):
            file = self.part.open("ab" if start else "wb", buffering=0)
        done, most = start, next((each for each in (self.size, announced) if each is not None), None)
        with file, byte_progress(self.part.stem, self.size or total, done=start) as progress:
            if start == 0:
                self._begin(response, url)
            for chunk in itertools.chain((beginning,), chunks):
                with disk_errors(self.part.parent):
                    write_all(file, chunk)
                done += len(chunk)
                progress(len(chunk))
                if most is not None and done > most:
                    break
        if most is not None and done > most:
            self.drop()
            raise TransferError(f"the server sends more than the {most:,} bytes of the file")
        return done >= max(self.size or 0, total or 0, announced or 0)

    def _begin(self, response: requests.Response, url: str) -> None:
        """Note of what file the part is from now on."""
        self.went_on = False
        version = response.headers.get("ETag", "")
        if not version or version.startswith("W/"):  # weak: other bytes may have it
            version = response.headers.get("Last-Modified", "")
        with disk_errors(self.part.parent):
            write_whole(self._note, json.dumps({"url": url, "version": version}))

    def _check_total(self, total: int | None) -> None:
        if total is not None and self.size not in (None, total):
            raise TransferError(f"the file has {total:,} bytes there, the published one has {self.size:,}")

    def _read_note(self) -> dict[str, str]:
        try:
            content: Any = json.loads(read_limited(self._note, _NOTE_LIMIT))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


def _first_bytes(chunks: Iterator[bytes]) -> bytes:
    beginning = b""
    while len(beginning) < _START and (chunk := next(chunks, b"")):
        beginning += chunk
    return beginning


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
        if any(isinstance(each, socket.gaierror) for each in _causes(error)):
            raise _UnknownNameError(
                f"the name of the server is not known ({_reason(error)}); is there a network?"
            ) from error
        raise _BrokenError(f"the connection failed ({_reason(error)})") from error
    except (requests.RequestException, ValueError) as error:  # of a server's headers, too
        raise TransferError(f"it cannot be asked for ({_reason(error)})") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error of requests and those that it wraps, of urllib3 and of the system."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        inner = getattr(seen, "reason", None) or next((each for each in seen.args if isinstance(each, Exception)), None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__


def _reason(error: BaseException) -> str:
    """Return the innermost reason of an error of requests."""
    *_, seen = _causes(error)
    text = getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
    text = re.sub(r"^\W?[\w.]*Connection\w*(\(.*?\)| object at \w+>)?: ", "", text)  # which object of urllib3 says it
    return printable(re.sub(r"\s+", " ", text)[:200])


def _status(response: requests.Response) -> str:
    return f"{response.status_code} ({printable((response.reason or '')[:100])})"


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _start_of_range(response: requests.Response) -> int:
    found = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    if found is None:
        raise TransferError("the server sends a part of the file and does not say which")
    return int(found[1])


def _total_of_range(response: requests.Response) -> int | None:
    """Return how many bytes the whole file has, by the header Content-Range."""
    return _number(response.headers.get("Content-Range", "").rpartition("/")[2])


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
                    raise TransferError(f"the server answers {_status(response)}")
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
