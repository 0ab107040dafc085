"""What a method learned: how much it is, and how it is loaded into the method's module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.common import size_in_words

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_learned(module: "nn.Module", state: Mapping[str, "Tensor"]) -> None:
    """Load a state dict into a module, in which buffers may have another first dimension than in the state.

    The rows of a memory are known only after its fitting, so a new instance of the method does not have them yet.

    Args:
        module: `Learner.learned` of a new instance.
        state: What an instance of the same method learned.

    Raises:
        RuntimeError: The state does not fit otherwise; torch says how.
    """
    owners = dict(module.named_modules())
    for name, buffer in list(module.named_buffers()):
        rows = state.get(name, buffer)
        if rows.shape != buffer.shape and buffer.dim() == rows.dim() and buffer.shape[1:] == rows.shape[1:]:
            owner, _, own = name.rpartition(".")
            setattr(owners[owner], own, buffer.new_empty(rows.shape))
    module.load_state_dict(dict(state))


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a method learned."""

    parameters: int
    """Number of parameters, which an optimiser trained."""
    fitted: int
    """Numbers in buffers, which were kept without one, such as a memory of features."""
    rows: Mapping[str, int]
    """Rows of each buffer of at least two dimensions, by its name."""
    size: int
    """Bytes of all of it."""

    def __str__(self) -> str:
        """Return it in words, as in `1,024 parameters, a memory of normal 2,950 + anomalous 1,725 rows, 13.9 MB`."""
        said = [f"{self.parameters:,} parameters"] if self.parameters or not self.fitted else []
        if self.rows:
            said.append(f"a memory of {' + '.join(f'{name} {count:,}' for name, count in self.rows.items())} rows")
        elif self.fitted:
            said.append(f"fitted: {self.fitted:,} numbers")
        return ", ".join([*said, size_in_words(self.size)])


def extent_of(module: "nn.Module") -> Extent:
    """Return how much a module holds that is saved in checkpoints.

    Args:
        module: `Learner.learned`.
    """
    parameters, trained = list(module.parameters()), dict(module.named_parameters(remove_duplicate=False))
    buffers = {name: values for name, values in module.state_dict().items() if name not in trained}
    every = [*parameters, *buffers.values()]
    return Extent(
        sum(values.numel() for values in parameters),
        sum(values.numel() for values in buffers.values()),
        {name: len(values) for name, values in buffers.items() if values.dim() > 1},
        sum(values.nbytes for values in every),
    )
