"""What a method learned, loaded into its module."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

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
