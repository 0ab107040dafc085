"""What is known of the machine: its memory, of which a container may have a part."""

from pathlib import Path

import pytest

from benchmark.common.machine import memory_bytes

GB = 10**9


@pytest.mark.parametrize(
    ("name", "content", "limited"),
    [
        ("memory.max", "100000000\n", True),
        ("memory/memory.limit_in_bytes", "100000000\n", True),
        ("memory.max", "max\n", False),
        ("memory.max", "", False),
        ("memory/memory.limit_in_bytes", f"{2**63 - 4096}\n", False),  # how version 1 says that there is none
        ("other", "1", False),
    ],
)
def test_the_memory_is_that_of_the_container(tmp_path: Path, name: str, content: str, limited: bool) -> None:
    whole = memory_bytes(tmp_path / "no control groups")
    assert whole is None or whole > GB / 10
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert memory_bytes(tmp_path) == (100_000_000 if limited else whole)
