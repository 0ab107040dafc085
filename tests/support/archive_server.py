"""A local server that stands in for those of the publishers, with what goes wrong on the way, and cards for it."""

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmark.data.archives import Archive, Download
from benchmark.data.cards import Card
from benchmark.data.samples import SampleSet, count


@dataclass
class Served:
    """A file that a server has."""

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    """Whether a part of it may be asked for."""
    breaks: list[int] = field(default_factory=list)
    """After how many bytes each of the next connections breaks."""
    status: int = 200
    busy: int = 0
    """How many of the next requests are answered by 503."""
    kind: str = "application/octet-stream"
    redirect: str = ""
    answers: list[bytes] = field(default_factory=list)
    """Whole answers to the next requests, with status line and headers."""


@dataclass
class ArchiveServer:
    """Serves files on this machine; `asked` are the requests, as path and headers in lower case."""

    files: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def put(self, name: str, content: bytes, **how: Any) -> str:
        """Serve a file, and return its address."""
        self.files[f"/{name}"] = Served(content, **how)
        return f"{self.address}/{name}"

    def ranges_of(self, name: str) -> list[str | None]:
        """Return which part each request for a file has asked for."""
        return [headers.get("range") for path, headers in self.asked if path == f"/{name}"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: ArchiveServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.files.asked.append((self.path, headers))
        served = self.files.files.get(self.path)
        self.close_connection = True
        if served is None or served.status != 200 or served.busy:
            busy = served is not None and served.busy > 0
            if served is not None and busy:
                served.busy -= 1
            self.send_error(503 if busy else served.status if served else 404)
            return
        if served.answers:
            self.wfile.write(served.answers.pop(0))
            return
        if served.redirect:
            self.send_response(302)
            self.send_header("Location", served.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start(served, headers)
        if start is not None and start >= len(served.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(served.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = served.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        self.send_header("Content-Type", served.kind)
        self.send_header("Content-Length", str(len(body)))
        if served.etag:
            self.send_header("ETag", served.etag)
        if start is not None:
            whole = len(served.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        self.wfile.write(body[: served.breaks.pop(0)] if served.breaks else body)

    @staticmethod
    def _start(served: Served, headers: Mapping[str, str]) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        same = headers.get("if-range") in (None, served.etag)
        return int(found[1]) if found and served.ranges and same else None


@contextmanager
def archive_server() -> Iterator[ArchiveServer]:
    """Serve files until the block ends."""
    files = ArchiveServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": files}))
    server.daemon_threads = True
    files.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole answer of a server, as `Served.answers` has it; `_` in the names of headers stands for `-`."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, "Connection: close", ""]).encode() + body


def served_archive(name: str, content: bytes, *urls: str, **fields: Any) -> Archive:
    """Return what a card says of an archive; unlike one of a card its addresses may be those of a local server."""
    checksum = {} if {"md5", "record", "sha256"} & fields.keys() else {"sha256": hashlib.sha256(content).hexdigest()}
    return Archive.model_construct(
        **{**Archive(file=name).model_dump(), "urls": urls, "size": len(content), **checksum, **fields}
    )


def served_card(card: Card, *archives: Archive, unattended: bool = True, steps: str = "") -> Card:
    """Return a card whose dataset is had by these archives."""
    download = Download.model_construct(unattended=unattended, archives=archives, steps=steps, expects="its classes")
    return card.model_copy(update={"download": download})


def card_as_drawn(card: Card, drawn: SampleSet) -> Card:
    """Return a card with the classes, and the numbers of test images, that a generated dataset has."""
    counts = count(drawn.test)
    classes = [
        each.model_copy(update={"normal": counts[each.name][0], "anomalous": counts[each.name][1], "defects": {}})
        for each in card.classes
        if each.name in counts
    ]
    return card.model_copy(update={"classes": tuple(classes)})


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of files by their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # with a fixed date: the same files give the same bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], *, mode: str = "w") -> bytes:
    """Return a tar archive of files by their names, compressed as `mode` says, as in `w:xz`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder by its path."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
