"""Archives are unpacked as they are, and those that could do harm are refused."""

import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.archive_server import files_below, tarred, zipped

from benchmark.downloads import disk, unpacking
from benchmark.downloads.disk import DiskFullError
from benchmark.downloads.member_names import ArchiveError, parts_of
from benchmark.downloads.unpacking import bytes_of, unpack

FILES = {"cable/test/good/000.png": b"\x89PNG" * 300, "cable/Ground Truth/000.png": b"", "README.txt": b"hello"}


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[[bytes, str], None]:
    """Check that an archive is refused with a message that names it, and that nothing is written beside its folder."""

    def check(content: bytes, said: str) -> None:
        archive, folder = tmp_path / "some archive", tmp_path / "outer" / "folder"
        archive.write_bytes(content)
        folder.mkdir(parents=True)
        with pytest.raises(ArchiveError, match=f"(?s)some archive: .*{said}"):
            bytes_of(archive)
            unpack(archive, folder)
        assert sorted(tmp_path.iterdir()) == [tmp_path / "outer", archive]
        assert list((tmp_path / "outer").iterdir()) == [folder]

    return check


@pytest.mark.parametrize(
    "content",
    [zipped(FILES), *(tarred(FILES, mode=mode) for mode in ("w", "w:gz", "w:xz", "w:bz2"))],
    ids=["zip", "tar", "gz", "xz", "bz2"],
)
def test_an_archive_is_told_by_its_content_and_unpacked(tmp_path: Path, content: bytes) -> None:
    archive, folder, told = tmp_path / "wrong.zip", tmp_path / "folder", list[int]()
    archive.write_bytes(content)
    folder.mkdir()
    unpack(archive, folder, progress=told.append)
    assert files_below(folder) == FILES
    assert sum(told) == sum(map(len, FILES.values()))
    assert bytes_of(archive) in (None, sum(told), len(content))


def test_modes_of_an_archive_are_not_taken(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("locked")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o000
        tar.addfile(folder)
        entry = tarfile.TarInfo("locked/run")
        entry.mode, entry.size = 0o6777, 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.tar", tmp_path / "out")
    (tmp_path / "plain").write_bytes(b"hi")
    assert (tmp_path / "out/locked/run").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "out/locked").stat().st_mode == (tmp_path / "out").stat().st_mode


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:/evil", "c:evil", "..\\evil", "\\evil"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_that_lead_out_are_refused(refuse: Callable[..., None], name: str, pack: Callable[..., bytes]) -> None:
    refuse(pack({name: b"evil"}), "leads out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_tar_archives_are_refused(refuse: Callable[..., None], kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = kind, "/etc"
        tar.addfile(entry)
        below = tarfile.TarInfo("link/evil")
        below.size = 4
        tar.addfile(below, io.BytesIO(b"evil"))
    refuse(buffer.getvalue(), "'link', which is a link or a device")


def test_links_of_zip_archives_are_refused(refuse: Callable[..., None]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc")
    refuse(buffer.getvalue(), "'link', which is a link or a device")


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "SLACK", 1000)


ZEROS = {"zeros": bytes(10**6)}


@pytest.mark.parametrize("before", [{}, {"a": bytes(3 * 2**20)}], ids=["first", "later"])
def test_headers_that_would_fill_the_memory_are_refused(refuse: Callable[..., None], before: dict[str, bytes]) -> None:
    refuse(tarred({**before, "a" * (2 * 2**20): b"", "b": b""}, mode="w:gz"), "headers have more than")


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    "content",
    [zipped(ZEROS), tarred(ZEROS, mode="w:gz"), tarred(ZEROS, mode="w:xz"), tarred({"a" * 10**6: b""}, mode="w:gz")],
    ids=["zip", "gz", "xz", "header"],
)
def test_what_unpacks_to_far_more_than_its_size_is_refused(refuse: Callable[..., None], content: bytes) -> None:
    refuse(content, "unpacks to")


@pytest.mark.usefixtures("small_limits")
def test_sizes_that_a_zip_archive_declares_are_added_up_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({str(number): bytes(2000) for number in range(100)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "RATIO", 1)
        (tmp_path / "out").mkdir()
        with pytest.raises(ArchiveError, match=r"unpacks to 200\.0 kB or more"):
            unpack(tmp_path / "a.zip", tmp_path / "out")
    assert files_below(tmp_path / "out") == {}


def test_bytes_are_counted_while_they_are_written(tmp_path: Path) -> None:
    written: list[int] = []
    with pytest.raises(ArchiveError, match="unpacks to"):
        unpacking._copy(io.BytesIO(bytes(3 * 2**20)), tmp_path / "a", 2**21, tmp_path, written.append)
    assert sum(written) == 2**21 == (tmp_path / "a").stat().st_size


def test_a_zip_archive_that_understates_its_size_is_refused(refuse: Callable[..., None]) -> None:
    content = zipped(ZEROS)
    assert content.count(struct.pack("<L", 10**6)) == 2  # the member's own header and the list at the end
    refuse(content.replace(struct.pack("<L", 10**6), struct.pack("<L", 10)), "damaged")


def test_too_many_members_are_refused(refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 2)
    refuse(zipped(FILES), "more than 2 files")


def test_archives_inside_stay_packed(tmp_path: Path) -> None:
    inner = zipped({"x": bytes(100)})
    (tmp_path / "a.zip").write_bytes(zipped({"inner.zip": inner}))
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert files_below(tmp_path / "out") == {"inner.zip": inner}


def test_a_password_is_told(refuse: Callable[..., None]) -> None:
    content = bytearray(zipped({"secret": b"x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    refuse(bytes(content), "needs a password")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Rar!\x1a\x07\x01\x00" + bytes(600), "no zip or tar archive, but a rar archive$"),
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "but a web page"),
        (zipped(FILES)[:-30], "damaged"),
        (tarred(FILES)[:1000], "damaged"),
        (tarred({"a": bytes(512), "b": b""})[:1024], "its end is missing"),
        (tarred(FILES, mode="w:gz")[:-30], "damaged"),
        (tarred(FILES, mode="w:xz")[:-30], "damaged"),
        (b"\x1f\x8b" + bytes(100), "damaged"),
        (b"", "damaged|empty"),
    ],
)
def test_what_is_no_whole_archive_is_told(refuse: Callable[..., None], content: bytes, said: str) -> None:
    refuse(content, said)


def test_a_damaged_member_is_told(refuse: Callable[..., None]) -> None:
    whole = zipped({"a": os.urandom(3000)})
    refuse(whole[:100] + bytes(10) + whole[110:], "damaged")


def test_one_place_for_two_members_is_refused(tmp_path: Path) -> None:
    for number, names in enumerate((("a", "a"), ("a", "a/b"), ("a/b", "a"), ("q?y", "q*y"))):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))
        (tmp_path / "a.tar").write_bytes(buffer.getvalue())
        (folder := tmp_path / str(number)).mkdir()
        with pytest.raises(ArchiveError, match=r"twice|both as a file"):
            unpack(tmp_path / "a.tar", folder)


def test_names_that_differ_in_case_alone_collide_where_the_disk_ignores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.zip"
    for ignores, content, said in (
        (False, {"A/x": b"1", "a/x": b"2"}, None),
        (True, {"A/x": b"1", "a/y": b"2"}, "the folders 'A' and 'a'"),
        (True, {"x": b"1", "X": b"2"}, "same name on this disk"),
    ):
        monkeypatch.setattr(unpacking, "ignores_case", lambda _, ignores=ignores: ignores)
        archive.write_bytes(zipped(content))
        (folder := tmp_path / f"{ignores}{said}"[:6]).mkdir(exist_ok=True)
        if said is None:
            unpack(archive, folder)
            assert files_below(folder) == content
        else:
            with pytest.raises(ArchiveError, match=said):
                unpack(archive, folder)


def test_names_that_windows_forbids_are_changed(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(
        zipped({"Icon\r": b"1", "aux.png": b"2", "COM¹.txt": b"5", "a b /c?.png": b"3", "d\\e.png": b"4"})
    )
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert sorted(files_below(tmp_path / "out")) == ["Icon_", "_COM¹.txt", "_aux.png", "a b/c_.png", "d/e.png"]


@given(st.text())
def test_no_name_leads_out(name: str) -> None:
    try:
        parts = parts_of(name)
    except ArchiveError:
        return
    path = os.path.normpath("/".join(("/data/folder", *parts)))
    assert path == "/data/folder" or path.startswith("/data/folder/")
    assert not any(set(part) & set('\\/:*?"<>|\0') for part in parts)


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(FILES))
    (tmp_path / "out").mkdir()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacking, "write_all", full)
    with pytest.raises(DiskFullError, match="out: the disk is full; free some"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    (tmp_path / "other").mkdir()
    with pytest.raises(DiskFullError, match=r"000\.png of a\.zip needs 1\.2 kB, the disk has 0\.1 kB left"):
        unpack(tmp_path / "a.zip", tmp_path / "other")


def test_an_archive_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.zip").write_bytes(zipped(FILES))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ArchiveError, match=r"a\.zip: may not be read; change its permissions"):
        bytes_of(tmp_path / "a.zip")
