"""Files that are there whole or not at all."""

import os
import sys
from pathlib import Path

import pytest

from benchmark.common.files import write_whole


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_others_may_read_what_the_user_lets_them_read(tmp_path: Path) -> None:
    """Results are shared between users of a machine, and a report is served by another one."""
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a/b.json", "ä")
    finally:
        os.umask(before)
    assert (tmp_path / "a/b.json").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a/b.json").read_text("utf-8") == "ä"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
