"""Archives come over HTTP whole and right, whatever happens on the way."""

import hashlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from support.archive_server import ArchiveServer, answer, served_archive, zipped

from benchmark.data.archives import Archive
from benchmark.downloads import disk, transfer
from benchmark.downloads.checksums import Checksum, RecordError, checksum_of
from benchmark.downloads.disk import DiskFullError
from benchmark.downloads.fetching import FetchError, fetch

CONTENT = zipped({"noise": np.random.default_rng(0).bytes(800_000)})
HALF = 400_000
CHUNKS = 6 * 2**16


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def get(tmp_path: Path, said: list[str]) -> Callable[..., Path]:
    """Fetch an archive into `tmp_path`, without pauses."""

    def call(archive: Archive) -> Path:
        checksum = checksum_of(archive)
        assert checksum is not None
        return fetch(archive, tmp_path, checksum, say=said.append, pause=lambda _: None)

    return call


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_archive_is_fetched_once(server: ArchiveServer, get: Callable[..., Path], tmp_path: Path) -> None:
    archive = served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT))
    for _ in range(2):
        assert get(archive).read_bytes() == CONTENT
        assert left(tmp_path) == ["a.zip"]
    assert server.ranges_of("a.zip") == [None]


def test_a_broken_connection_goes_on_where_it_broke(
    server: ArchiveServer, get: Callable[..., Path], said: list[str], tmp_path: Path
) -> None:
    url = server.put("a.zip", CONTENT, breaks=[HALF, 200_000])
    assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT
    first, second, third = server.ranges_of("a.zip")
    assert first is None
    starts = [int((each or "").removeprefix("bytes=").removesuffix("-")) for each in (second, third)]
    assert 0 < starts[0] <= HALF < starts[1] <= HALF + 200_000
    assert [headers.get("if-range") for _, headers in server.asked] == [None, '"1"', '"1"']
    assert len(said) == 2 and "going on" in said[0]
    assert left(tmp_path) == ["a.zip"]


def test_a_connection_that_ends_early_without_an_error_goes_on(
    server: ArchiveServer, get: Callable[..., Path], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = requests.Response.iter_content

    def tolerant(response: requests.Response, size: int) -> Iterator[bytes]:  # as that of urllib3 before its version 2
        with suppress(requests.exceptions.ChunkedEncodingError):
            yield from whole(response, size)

    monkeypatch.setattr(requests.Response, "iter_content", tolerant)
    url = server.put("a.zip", CONTENT, breaks=[HALF])
    assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT
    assert len(server.asked) == 2 and "ended early" in said[0]


def test_a_later_process_goes_on(server: ArchiveServer, get: Callable[..., Path], tmp_path: Path) -> None:
    url = server.put("a.zip", CONTENT, breaks=[HALF, *[0] * transfer.TRIES])
    archive = served_archive("a.zip", CONTENT, url)
    with pytest.raises(FetchError, match="in a row"):
        get(archive)
    assert left(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    before = len(server.asked)
    assert get(archive).read_bytes() == CONTENT
    assert server.ranges_of("a.zip")[before:] == [f"bytes={HALF // 2**16 * 2**16}-"]


def test_a_server_without_ranges_sends_all_again(server: ArchiveServer, get: Callable[..., Path]) -> None:
    url = server.put("a.zip", CONTENT, ranges=False, breaks=[HALF])
    assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_file_that_was_changed_on_the_server_is_fetched_anew(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path
) -> None:
    other = zipped({"noise": np.random.default_rng(1).bytes(800_000)})
    url = server.put("a.zip", other, etag='"old"', breaks=[HALF, *[0] * transfer.TRIES])
    archive = served_archive("a.zip", CONTENT, url)
    with pytest.raises(FetchError):
        get(archive)
    server.put("a.zip", CONTENT, etag='"new"')
    assert get(archive).read_bytes() == CONTENT
    assert server.asked[-1][1]["if-range"] == '"old"'


def test_parts_of_two_versions_without_a_sign_of_it_are_fetched_anew(
    server: ArchiveServer, get: Callable[..., Path], said: list[str]
) -> None:
    other = zipped({"noise": np.random.default_rng(1).bytes(800_000)})
    url = server.put("a.zip", other, etag=None, breaks=[HALF, *[0] * transfer.TRIES])
    archive = served_archive("a.zip", CONTENT, url)
    with pytest.raises(FetchError):
        get(archive)
    server.put("a.zip", CONTENT, etag=None)
    assert get(archive).read_bytes() == CONTENT
    assert "fetched anew" in said[-1]


def test_a_part_that_is_complete_or_too_long_is_no_trap(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path
) -> None:
    url = server.put("a.zip", CONTENT)
    for part in (CONTENT, CONTENT + b"more"):
        (tmp_path / "a.zip").unlink(missing_ok=True)
        (tmp_path / "a.zip.part").write_bytes(part)
        (tmp_path / "a.zip.part.json").write_text(json.dumps({"url": url, "version": '"1"'}))
        assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": 3}', '{"url": "other", "version": "x"}'])
def test_a_note_that_says_nothing_of_the_part_starts_anew(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path, note: str
) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"PK of something else")
    (tmp_path / "a.zip.part.json").write_text(note)
    assert get(served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT))).read_bytes() == CONTENT
    assert server.ranges_of("a.zip") == [None]


def test_a_busy_server_is_asked_again(server: ArchiveServer, get: Callable[..., Path], said: list[str]) -> None:
    url = server.put("a.zip", CONTENT, busy=2)
    assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT
    assert len(said) == 2 and "503" in said[0]


def test_pauses_grow_and_end(server: ArchiveServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    archive = served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT, busy=99))
    with pytest.raises(FetchError, match=r"a\.zip: the server answers 503 .*, 5 times in a row"):
        fetch(archive, tmp_path, Checksum("sha256", "0" * 64), say=lambda _: None, pause=pauses.append)
    assert pauses == [2, 4, 8, 16]


def test_another_checksum_is_told_and_nothing_is_kept(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path
) -> None:
    url = server.put("a.zip", CONTENT)
    with pytest.raises(FetchError, match=rf"{url}: the file there has another sha256 than the published one, 0000"):
        get(served_archive("a.zip", CONTENT, url, sha256="0" * 64))
    assert left(tmp_path) == []


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_web_page_in_place_of_the_archive_is_told(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path, size: int | None
) -> None:
    page = b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"
    url = server.put("a.zip", page, kind="text/html")
    with pytest.raises(FetchError, match=r"the server sends a web page \(HTML\).*\n  look at the page"):
        get(served_archive("a.zip", CONTENT, url, size=size, note="look at the page"))
    assert left(tmp_path) == []


def test_a_file_of_another_size_is_not_fetched_whole(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path
) -> None:
    url = server.put("a.zip", CONTENT)
    with pytest.raises(FetchError, match="bytes there, the published one has 12"):
        get(served_archive("a.zip", CONTENT, url, size=12))
    assert left(tmp_path) == []


def test_of_several_addresses_the_first_that_answers_serves(
    server: ArchiveServer, get: Callable[..., Path], said: list[str]
) -> None:
    gone, dead = f"{server.address}/gone.zip", "http://127.0.0.1:9/a.zip"
    wrong, right = server.put("b.zip", zipped({"other": b""}), etag=None), server.put("c.zip", CONTENT)
    assert get(served_archive("a.zip", CONTENT, gone, dead, wrong, right, size=None)).read_bytes() == CONTENT
    assert [line.partition(": ")[0] for line in said if line.startswith("http")] == [gone, dead, wrong]


def test_an_address_that_is_gone_is_told_at_once(server: ArchiveServer, get: Callable[..., Path]) -> None:
    with pytest.raises(FetchError, match=r"gone\.zip: the server answers 404"):
        get(served_archive("a.zip", CONTENT, f"{server.address}/gone.zip"))
    assert len(server.asked) == 1


def half_there(folder: Path, url: str, content: bytes = CONTENT[:HALF]) -> bytes:
    """Leave a part of an earlier process."""
    (folder / "a.zip.part").write_bytes(content)
    (folder / "a.zip.part.json").write_text(json.dumps({"url": url, "version": '"1"'}))
    return content


PAGE = b"<!DOCTYPE html><html><title>Please log in</title></html>"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (answer(302, Location="http://[::1", Content_Length="0"), "cannot be asked for"),
        (answer(302, Location="file:///etc/passwd", Content_Length="0"), "cannot be asked for"),
        (answer(206, CONTENT[HALF:], Content_Range=f"bytes {'9' * 5000}-1/2"), "does not say which"),
        (answer(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"), "not from 400000"),
        (answer(206, CONTENT[HALF:], Content_Range=f"bytes {HALF}-499999/500000"), "the file has 500,000 bytes there"),
        (answer(200, PAGE, Content_Length=str(len(PAGE))), "a web page"),
        (answer(200, b"", Content_Length="0"), "an empty file"),
        (answer(200, CONTENT, Content_Encoding="gzip"), "packed as gzip"),
        (answer(200, CONTENT[:-3], Content_Length=str(len(CONTENT) - 3)), "the file has .* bytes there"),
        (answer(404, PAGE), "answers 404"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("part", [b"", CONTENT[:HALF]], ids=["anew", "resumed"])
def test_an_answer_that_is_wrong_ends_the_address_and_leaves_the_part(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path, part: bytes, wrong: bytes, why: str
) -> None:
    url = server.put("a.zip", CONTENT, answers=[wrong])
    if part:
        half_there(tmp_path, url)
    elif wrong.startswith(b"HTTP/1.1 206"):
        return  # nothing is asked for in part
    with pytest.raises(FetchError, match=why):
        get(served_archive("a.zip", CONTENT, url))
    assert len(server.asked) == 1
    assert not part or (tmp_path / "a.zip.part").read_bytes() == part
    assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT  # the server is right again
    assert server.ranges_of("a.zip")[1] == (f"bytes={HALF}-" if part else None)


def test_a_web_page_of_a_second_address_leaves_the_part_of_the_first(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = server.put("a.zip", CONTENT, busy=transfer.TRIES), server.put("b.zip", PAGE)
    half_there(tmp_path, first)
    archive = served_archive("a.zip", CONTENT, first, second)
    with pytest.raises(FetchError, match="a web page"):
        get(archive)
    assert get(archive).read_bytes() == CONTENT
    assert server.ranges_of("a.zip")[-1] == f"bytes={HALF}-"


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_answers_that_hold_less_than_the_file_are_put_together(
    server: ArchiveServer, get: Callable[..., Path], size: int | None
) -> None:
    whole = len(CONTENT)
    short = answer(206, CONTENT[CHUNKS : CHUNKS + 9], ETag='"1"', Content_Range=f"bytes {CHUNKS}-{CHUNKS + 8}/{whole}")
    first = answer(200, CONTENT[:CHUNKS], ETag='"1"', **({} if size else {"Content_Length": str(whole)}))
    url = server.put("a.zip", CONTENT, answers=[first, short])
    assert get(served_archive("a.zip", CONTENT, url, size=size)).read_bytes() == CONTENT
    assert server.ranges_of("a.zip") == [None, f"bytes={CHUNKS}-", f"bytes={CHUNKS + 9}-"]


def test_a_first_chunk_of_few_bytes_is_no_web_page(server: ArchiveServer, get: Callable[..., Path]) -> None:
    chunks = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in (CONTENT[:1], CONTENT[1:]))
    chunked = answer(200, chunks + b"0\r\n\r\n", Transfer_Encoding="chunked")
    assert get(served_archive("a.zip", CONTENT, server.put("a.zip", b"", answers=[chunked]))).read_bytes() == CONTENT


def test_a_kill_while_the_checksum_is_computed_loses_nothing(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> str:
        raise KeyboardInterrupt

    for size in (len(CONTENT), None):
        archive = served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT), size=size)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Checksum, "of", kill)
            get(archive)
        assert left(tmp_path) == ["a.zip.part", "a.zip.part.json"]
        before = len(server.asked)
        assert get(archive).read_bytes() == CONTENT
        assert server.ranges_of("a.zip")[before:] == ([] if size else [f"bytes={len(CONTENT)}-"])
        (tmp_path / "a.zip").unlink()


def test_a_whole_part_of_a_server_that_does_not_say_the_size_is_not_fetched_again(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path
) -> None:
    url = server.put("a.zip", CONTENT, answers=[answer(416, Content_Length="0")] * 2)
    half_there(tmp_path, url, CONTENT)
    assert get(served_archive("a.zip", CONTENT, url, size=None)).read_bytes() == CONTENT
    assert len(server.asked) == 1
    half_there(tmp_path, url)
    (tmp_path / "a.zip").unlink()
    assert get(served_archive("a.zip", CONTENT, url, size=None)).read_bytes() == CONTENT  # the checksum told
    assert server.ranges_of("a.zip")[1:] == [f"bytes={HALF}-", None]


def test_a_server_without_ranges_that_always_breaks_is_given_up(
    server: ArchiveServer, get: Callable[..., Path]
) -> None:
    breaks = [HALF, *[200_000, 300_000] * 50]
    url = server.put("a.zip", CONTENT, ranges=False, breaks=breaks)
    with pytest.raises(FetchError, match="in a row"):
        get(served_archive("a.zip", CONTENT, url))
    assert len(server.asked) == 1 + transfer.TRIES


def test_without_a_network_nothing_is_waited_for(
    tmp_path: Path, said: list[str], get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(FetchError, match=r"name of the server is not known .*is there a network"):
        get(served_archive("a.zip", CONTENT, "https://example.org/a.zip"))
    assert said == []


def test_a_network_that_goes_away_for_a_moment_is_waited_for(
    server: ArchiveServer, said: list[str], get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = socket.getaddrinfo, list[int]()

    def sometimes(*arguments: Any, **more: Any) -> Any:
        calls.append(0)
        if len(calls) == 2:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return whole(*arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", sometimes)
    assert get(served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT, breaks=[HALF]))).read_bytes() == CONTENT
    assert "not known" in said[1]


def test_what_a_server_says_is_shown_without_control_characters(
    server: ArchiveServer, get: Callable[..., Path]
) -> None:
    wrong = answer(403).replace(b"403 X", b"403 \x1b[31mred")
    with pytest.raises(FetchError) as error:
        get(served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT, answers=[wrong])))
    assert "red" in str(error.value) and "\x1b" not in str(error.value)


def test_a_redirect_is_followed_but_not_from_https_to_http(server: ArchiveServer, get: Callable[..., Path]) -> None:
    url = server.put("a.zip", b"", redirect=server.put("b.zip", CONTENT))
    assert get(served_archive("a.zip", CONTENT, url)).read_bytes() == CONTENT
    response = requests.Response()
    response.url, response.status_code = "https://example.org/a.zip", 302
    response.headers["location"] = "http://example.org/a.zip"
    with transfer._Session() as session:
        with pytest.raises(transfer.TransferError, match="not https"):
            session.get_redirect_target(response)
        response.headers["location"] = "/b.zip"
        assert session.get_redirect_target(response) == "/b.zip"


def test_a_certificate_that_cannot_be_verified_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        inner = ssl.SSLCertVerificationError(1, "certificate verify failed: unable to get local issuer certificate")
        raise requests.exceptions.SSLError(inner)

    monkeypatch.setattr(transfer._Session, "get", refuse)
    archive = served_archive("a.zip", CONTENT, "https://example.org/a.zip")
    with pytest.raises(FetchError, match=r"cannot be verified, so nothing is taken .*certificate verify failed"):
        fetch(archive, tmp_path, Checksum("sha256", "0" * 64), say=lambda _: None)


def test_a_full_disk_is_told_and_the_part_is_kept(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT))
    write, left_over = transfer.write_all, [HALF]

    def quota(file: object, content: bytes) -> None:
        if left_over[0] < len(content):
            raise OSError(28, "No space left on device")
        left_over[0] -= len(content)
        write(file, content)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "write_all", quota)
    with pytest.raises(DiskFullError, match=f"{tmp_path}: the disk is full; free some and run the same command again"):
        get(archive)
    assert 0 < (tmp_path / "a.zip.part").stat().st_size <= HALF
    monkeypatch.setattr(transfer, "write_all", write)
    assert get(archive).read_bytes() == CONTENT
    assert server.ranges_of("a.zip")[1] is not None


def test_too_little_room_is_told_before_the_first_byte(
    server: ArchiveServer, get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DiskFullError, match=r"a\.zip needs 800\.4 kB, the disk has 1\.0 kB left"):
        get(served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT)))
    assert "a.zip.part" not in left(tmp_path)


def test_the_checksum_of_a_record_is_asked_for(server: ArchiveServer, get: Callable[..., Path]) -> None:
    digest = hashlib.md5(CONTENT).hexdigest()
    files = [{"key": "other.zip", "checksum": "md5:00"}, {"key": "a.zip", "size": 1, "checksum": f"md5:{digest}"}]
    record = server.put("record", json.dumps({"files": files}).encode())
    archive = served_archive("a.zip", CONTENT, server.put("a.zip", CONTENT), record=record)
    assert checksum_of(archive) == checksum_of(archive) == Checksum("md5", digest)
    assert len(server.asked) == 1  # one record lists the archives of a dataset
    assert get(archive).read_bytes() == CONTENT
    server.put("a.zip", zipped({"other": b""}))
    get(archive).unlink()
    with pytest.raises(FetchError, match="published one"):
        get(archive)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"files": []}', b'{"files": 3}', b"<html>", b'{"files": [{"key": 1}]}']
)
def test_a_record_that_does_not_list_the_file_is_told(server: ArchiveServer, content: bytes) -> None:
    record = server.put("record", content)
    with pytest.raises(RecordError, match=record):
        checksum_of(served_archive("a.zip", CONTENT, record=record))
    with pytest.raises(RecordError, match="404"):
        checksum_of(served_archive("a.zip", CONTENT, record=f"{server.address}/gone"))


def test_an_endless_record_is_not_read(server: ArchiveServer) -> None:
    with pytest.raises(transfer.TransferError, match="sends more than"):
        transfer.read_json(server.put("record", b" " * 5000), limit=1000)


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", (0.2, 0.2))
    silent = HTTPServer(("127.0.0.1", 0), None)  # type: ignore[arg-type]  # it takes connections and never answers
    archive = served_archive("a.zip", CONTENT, f"http://127.0.0.1:{silent.server_port}/a.zip")
    with pytest.raises(FetchError, match=r"(?i)timed? ?out"):
        fetch(archive, tmp_path, Checksum("sha256", "0" * 64), say=lambda _: None, pause=lambda _: None)
    silent.server_close()
