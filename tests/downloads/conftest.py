"""A server of archives, and a cache of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.archive_server import ArchiveServer, archive_server


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Licences that a test accepts are forgotten after it."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with archive_server() as server:
        yield server
