"""What was learned: how much it is, in words, and loaded into a new module."""

import pytest
import torch
from torch import nn

from benchmark.records.learned import extent_of, load_learned


class Memory(nn.Module):
    """Parameters, a memory of any number of rows, and another one in a module below."""

    def __init__(self, rows: int, *, width: int = 3, below: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, width))
        self.rows: torch.Tensor
        self.register_buffer("rows", torch.randn(rows, width))
        if below is not None:
            self.below = Memory(below)


@pytest.mark.parametrize(("rows", "below"), [(0, 5), (4, 0), (7, 9), (2, 2)])
def test_a_memory_of_any_length_is_loaded(rows: int, below: int) -> None:
    made, new = Memory(rows, below=below), Memory(2, below=2)
    parameters = list(new.parameters())
    load_learned(new, made.state_dict())
    torch.testing.assert_close(new.state_dict(), made.state_dict(), atol=0, rtol=0)
    assert all(one is other for one, other in zip(new.parameters(), parameters, strict=True))
    assert dict(new.named_buffers()).keys() == {"rows", "below.rows"}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Memory(4, width=5), "size mismatch for weight"),
        (Memory(4, below=1), "Unexpected key.*below.rows"),
        (nn.Linear(3, 2), "Missing key.*rows"),
    ],
)
def test_what_does_not_fit_otherwise_is_refused(made: nn.Module, said: str) -> None:
    with pytest.raises(RuntimeError, match=f"(?s){said}"):
        load_learned(Memory(0), made.state_dict())


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Linear(300, 100), "30,100 parameters, 120.4 kB"),
        (
            Memory(1725, width=1000, below=2950),
            "2,006 parameters, a memory of rows 1,725 + below.rows 2,950 rows, 6.9 MB",
        ),
        (nn.Module(), "0 parameters, 0.0 kB"),
    ],
)
def test_how_much_was_learned_is_said_in_words(module: nn.Module, said: str) -> None:
    assert str(extent_of(module)) == said


def test_a_memory_is_what_is_saved_of_it() -> None:
    memory = nn.Module()
    for name, rows in (("normal", 1500), ("anomalous", 1450)):
        memory.register_buffer(name, torch.zeros(rows, 1024))
    memory.register_buffer("labels", torch.zeros(2950, dtype=torch.uint8))
    memory.register_buffer("grid", torch.zeros(37, 37), persistent=False)
    found = extent_of(memory)
    assert (found.parameters, found.fitted, found.rows) == (0, 2950 * 1025, {"normal": 1500, "anomalous": 1450})
    assert found.size == 2950 * (4 * 1024 + 1)
    assert str(found) == "a memory of normal 1,500 + anomalous 1,450 rows, 12.1 MB"


def test_a_parameter_of_two_names_counts_once() -> None:
    tied = nn.Linear(3, 2, bias=False)
    tied.again = tied.weight
    found = extent_of(tied)
    assert (found.parameters, found.fitted, str(found)) == (6, 0, "6 parameters, 0.0 kB")


def test_numbers_without_rows_are_numbers() -> None:
    counts = nn.Module()
    counts.register_buffer("seen", torch.zeros(5))
    assert str(extent_of(counts)) == "fitted: 5 numbers, 0.0 kB"
