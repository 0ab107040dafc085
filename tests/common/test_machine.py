"""What is known of the machine: its memory, of which a container may have a part, and its processor."""

from pathlib import Path

import pytest
import torch

from benchmark.common.machine import memory_bytes, model_in, processor

GB = 10**9
CPUINFO = "processor : 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor : 1\nmodel : 99\n"


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


def test_processors_of_one_name_are_told_apart_by_family_and_model() -> None:
    assert model_in(CPUINFO) == "AMD EPYC (family 25, model 17)"
    assert model_in("model name : Cortex") == "Cortex"
    assert model_in("Hardware : none") == ""
    assert model_in("") == ""


def test_a_record_says_the_instructions_and_the_threads_that_round() -> None:
    assert torch.backends.cpu.get_cpu_capability() in processor()
    assert processor().endswith(f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}")
