"""The cache: what is written comes back, what is damaged is not trusted, and what is old makes room."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.common.cache import GB, Cache, CacheError, Entry, Rows, Writer

ROWS = np.random.default_rng(0).integers(0, 256, size=(20, 48), dtype=np.uint8)
MB = 2**20


def entry_of(directory: Path, key: str = "key", *, limit: int = GB) -> Entry:
    entry = Entry(Cache(directory, limit), key)
    entry.folder.mkdir(parents=True, exist_ok=True)
    return entry


def write(entry: Entry, name: str = "a") -> Entry:
    with Writer(entry, name) as writer:
        for row in ROWS:
            writer.write(row.tobytes())
        writer.finish({"rows": len(ROWS)})
    return entry


def used_in_order(directory: Path, keys: str) -> list[Entry]:
    """Write entries of one size, the first of them used longest ago."""
    entries = [write(entry_of(directory, key)) for key in keys]
    for age, entry in enumerate(entries):
        os.utime(entry.folder, (1000 + age, 1000 + age))
    return entries


def left(entries: list[Entry]) -> str:
    return "".join(entry.key for entry in entries if entry.folder.exists())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # else the remembered sha256 is given


@pytest.mark.parametrize("rows", [range(20), [19, 0, 7], [3, 3, 3, 2, 3], [5], []])
def test_rows_come_back_in_any_order_and_repeated(tmp_path: Path, rows: list[int]) -> None:
    entry = write(entry_of(tmp_path))
    chosen = np.array(rows, dtype=np.int64)
    np.testing.assert_array_equal(Rows(entry.path("a"), 48).read(chosen), ROWS[chosen])
    assert entry.is_whole("a")
    assert entry.sidecar("a")["rows"] == 20
    assert entry.size() == ROWS.size + entry.path("a").with_suffix(".json").stat().st_size


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        flip,
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_bytes(b'{"sha256": "'),
        lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe"),
        lambda path: path.with_suffix(".json").write_text("[]"),
        lambda path: path.with_suffix(".json").write_text("{}"),
        lambda path: shutil.rmtree(path.parent),
    ],
    ids=["gone", "truncated", "flipped", "no-sidecar", "half", "binary", "list", "empty", "no-folder"],
)
def test_a_damaged_array_is_not_whole_until_it_is_written_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    entry = write(write(entry_of(tmp_path)), "b")
    assert entry.is_whole("a")
    damage(entry.path("a"))
    assert not entry.is_whole("a")
    assert entry.is_whole("b") == entry.folder.exists()
    assert write(entry_of(tmp_path)).is_whole("a")


def test_size_and_time_are_enough_until_a_thorough_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = write(entry_of(tmp_path))
    changed = entry.path("a").stat().st_mtime_ns
    flip(entry.path("a"))
    os.utime(entry.path("a"), ns=(0, changed))
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was read"))
        assert entry.is_whole("a")
    assert not entry.is_whole("a", thoroughly=True)


@pytest.mark.parametrize("known", ["nothing", "another time"])
def test_what_was_copied_or_written_by_earlier_code_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    entry = write(entry_of(tmp_path))
    if known == "nothing":
        sidecar = {key: value for key, value in entry.sidecar("a").items() if key in ("sha256", "rows")}
        entry.path("a").with_suffix(".json").write_text(json.dumps(sidecar))
    else:
        os.utime(entry.path("a"), ns=(0, 10**18))
    assert entry.is_whole("a")
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was read again"))
    assert entry.is_whole("a")
    assert entry.sidecar("a")["rows"] == 20


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, None])
def test_an_interrupted_writer_leaves_what_was_there_before(tmp_path: Path, error: type[BaseException] | None) -> None:
    def interrupted(name: str) -> None:
        with Writer(entry, name) as writer:
            writer.write(b"half")
            if error:
                raise error

    entry = write(entry_of(tmp_path))
    for name in "ab":
        if error:
            with pytest.raises(error):
                interrupted(name)
        else:
            interrupted(name)  # never finished
    assert sorted(path.name for path in entry.folder.iterdir()) == ["a.bin", "a.json"]
    assert entry.is_whole("a")


def test_an_array_whose_sidecar_could_not_be_written_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError("No space left on device")

    entry = write(entry_of(tmp_path))
    monkeypatch.setattr("benchmark.common.cache.write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        write(entry)
    assert not entry.is_whole("a")


def test_the_least_recently_used_go_first_and_only_as_many_as_needed(tmp_path: Path) -> None:
    entries = used_in_order(tmp_path, "abcd")
    entries[0].touch()
    size = entries[0].size()
    new = entry_of(tmp_path, "new", limit=4 * size)
    for needed, expected in [(0, "abcd"), (1, "acd"), (size, "acd"), (size + 1, "ad"), (3 * size, "a"), (4 * size, "")]:
        new.make_room(needed)
        assert left(entries) == expected


def test_an_entry_never_goes_to_make_room_for_itself(tmp_path: Path) -> None:
    oldest, *others = used_in_order(tmp_path, "abc")
    Entry(Cache(tmp_path, 2 * oldest.size()), "a").make_room(oldest.size())
    assert oldest.is_whole("a")
    assert left(others) == ""


def test_an_entry_whose_lock_is_held_stays(tmp_path: Path) -> None:
    entries = used_in_order(tmp_path, "abc")
    new = entry_of(tmp_path, "new", limit=3 * entries[0].size())
    with entries[0].lock():
        new.make_room(1)
        assert left(entries) == "ac"
    new.make_room(2 * entries[0].size())
    assert left(entries) == "c"


def test_more_than_the_limit_is_refused_and_nothing_removed(tmp_path: Path) -> None:
    entries = used_in_order(tmp_path, "ab")
    size = entries[0].size()
    for key, room in (("new", 10 * size), ("a", 9 * size)):  # what an entry has already counts too
        entry = entry_of(tmp_path, key, limit=10 * size)
        with pytest.raises(CacheError, match="raise --cache-limit") as raised:
            entry.make_room(room + 1)
        assert str(tmp_path) in str(raised.value)
        assert left(entries) == "ab"
    entry.make_room(room)


def test_more_than_the_disk_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20 * MB))
    entry = entry_of(tmp_path)
    entry.make_room(20 * MB)
    with pytest.raises(CacheError, match=r"the disk has 21\.0 MB left.*BENCH_CACHE"):
        entry.make_room(20 * MB + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be removed on Windows")
def test_rows_stay_readable_when_their_entry_is_removed(tmp_path: Path) -> None:
    entry = write(entry_of(tmp_path))
    file = Rows(entry.path("a"), 48)
    entry_of(tmp_path, "new", limit=entry.size()).make_room(1)
    assert not entry.folder.exists()
    np.testing.assert_array_equal(file.read(np.arange(20)), ROWS)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_reading_a_large_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for _ in range(96):
            file.write(bytes(MB))
    rows, before = Rows(path, MB), resident()
    for row in range(96):
        rows.read(np.array([row]))
    assert resident() - before < 32 * MB


def test_an_entry_that_another_process_evicts_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_in_order(tmp_path, "ab")
    real = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:
        for path in real(self):
            if path.name == "a.bin":
                shutil.rmtree(self)
            yield path

    monkeypatch.setattr(Path, "iterdir", iterdir)
    new = entry_of(tmp_path, "new")
    new.make_room(1)
    assert not (tmp_path / "a").exists()


def test_a_short_disk_makes_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = used_in_order(tmp_path, "ab")
    sizes = {entry.folder: entry.size() for entry in entries}

    def disk(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1000 + sum(size for folder, size in sizes.items() if not folder.exists()))

    monkeypatch.setattr(shutil, "disk_usage", disk)
    new = entry_of(tmp_path, "new")
    new.make_room(1000 + sizes[entries[0].folder])
    assert [entry.folder.exists() for entry in entries] == [False, True]


def test_folders_of_others_beside_the_entries_stay(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.png").write_bytes(bytes(1000))
    new = entry_of(tmp_path, "new", limit=500)
    new.make_room(400)
    assert (tmp_path / "photos/one.png").exists()
