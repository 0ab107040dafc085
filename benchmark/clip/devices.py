"""Devices that the towers run on: which one, how much at a time, and what a shorter number type gains there."""

import torch
import torch.nn.functional as F  # noqa: N812

from benchmark.clip.architectures import BackboneError
from benchmark.common import WINDOW_CHUNK, WINDOW_CHUNK_GPU, now


def windows_at_a_time(device: str) -> int:
    """Return how many windows go through the vision tower at a time unless a number is given."""
    return WINDOW_CHUNK_GPU if device.startswith("cuda") else WINDOW_CHUNK


@torch.no_grad()
def bfloat16_share(width: int, device: str, *, rows: int = 1024, times: int = 3) -> float:
    """Return the time of a product of matrices in bfloat16 as a part of its time in float32, as measured now.

    Args:
        width: Length of a token; the product is that of the first layer of an MLP with `rows` tokens.
        device: Device on which it is measured.
        rows: Number of tokens.
        times: How often each is measured; the shortest time counts.
    """
    shortest: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        tokens, weights = (torch.ones(n, width, dtype=dtype, device=device) for n in (rows, 4 * width))
        seconds = []
        for _ in range(times + 1):  # the first warms up
            start = now(device)
            F.linear(tokens, weights)
            seconds.append(now(device) - start)
        shortest[dtype] = min(seconds[1:])
    return shortest[torch.bfloat16] / shortest[torch.float32]


def pick_device(name: str) -> str:
    """Return a device after checking that it can be used.

    Args:
        name: Name of the device, such as "cpu" or "cuda:1". Empty for cuda if there is a GPU, else cpu.

    Raises:
        BackboneError: If the device cannot be used on this machine.
    """
    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackboneError(
            f"--device {name}: not usable here ({reason}); leave the option out for cpu or cuda"
        ) from error
    return name
