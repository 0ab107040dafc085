"""What was learned, loaded into a new module."""

import pytest
import torch
from torch import nn

from benchmark.records.learned import load_learned


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
