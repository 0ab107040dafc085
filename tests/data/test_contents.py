"""The content of files: equal to hashlib's, read once, and read again after any change."""

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from benchmark.data import contents as module
from benchmark.data.contents import MEMORY, digests

Reads = list[Path]


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "FRESH", 0.0)
    return tmp_path / "cache" / MEMORY


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The files that were read."""
    found: Reads = []
    original = module._sha256

    def noted(path: Path) -> str | None:
        found.append(path)
        return original(path)

    monkeypatch.setattr(module, "_sha256", noted)
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "files").mkdir()
    paths = [tmp_path / "files" / f"{index}.bin" for index in range(20)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]) * 100)
    return paths


def test_a_second_look_reads_nothing(files: list[Path], reads: Reads) -> None:
    expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert digests([*files, *files], "files") == expected
    assert sorted(reads) == sorted(files)
    assert digests(files, "files") == expected
    assert len(reads) == len(files)


@pytest.mark.parametrize("kept", ["nothing", "size", "size and time", "size, time and name of another file"])
def test_what_was_changed_is_read_again(files: list[Path], reads: Reads, kept: str) -> None:
    before, path = digests(files, "files"), files[3]
    stat = path.stat()
    if kept == "size, time and name of another file":
        other = path.with_name("other")
        other.write_bytes(b"x" * 100)
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(path)
    else:
        path.write_bytes(b"x" * (99 if kept == "nothing" else 100))
    if kept == "size and time":
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    reads.clear()
    after = digests(files, "files")
    assert reads == [path]
    assert after[path] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {key: value for key, value in after.items() if key != path} == {
        key: value for key, value in before.items() if key != path
    }


def test_a_file_that_may_still_change_is_not_remembered(
    files: list[Path], reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH", 1000.0)
    digests(files, "files")
    digests(files, "files")
    assert len(reads) == 2 * len(files)


def test_what_is_missing_or_no_file_has_no_content(files: list[Path], tmp_path: Path) -> None:
    found = digests([files[0], tmp_path / "none", tmp_path], "files")
    assert [value is None for value in found.values()] == [False, True, True]


@pytest.mark.parametrize("damage", ["no database", "another table", "a folder"])
def test_without_a_memory_files_are_read(files: list[Path], memory: Path, damage: str) -> None:
    memory.parent.mkdir()
    if damage == "no database":
        memory.write_bytes(b"no database" * 100)
    elif damage == "another table":
        with sqlite3.connect(memory) as database:
            database.execute("CREATE TABLE files (other TEXT)")
    else:
        memory.mkdir()
    expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert digests(files, "files") == digests(files, "files") == expected
