"""Memory: its peak, and work in batches that become smaller when it runs out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# What errors without a type of their own say where memory ran out. cuBLAS and cuDNN also say that they are not
# initialised where there is no memory for their first workspace.
OUT_OF_MEMORY = (
    "can't allocate memory",  # the host, on Linux
    "not enough memory",  # the host, on Windows
    "out of memory",  # CUDA's runtime and driver, MPS
    "_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE, cuFFT
    "_ALLOCATION_FAILED",  # cuDNN from version 9
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of an accelerator or of the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def start_peak_memory(device: str) -> None:
    """Let the peak of an accelerator's memory count from now; that of a process cannot be set back."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> int | None:
    """Return the peak of the memory in bytes, of an accelerator or of this process; None where it is not known."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory(gpu: str) -> int:
    """Return the bytes of a GPU that nobody uses, those included that this process has reserved for later.

    Args:
        gpu: Name of the device, such as "cuda:1".
    """
    free, _ = torch.cuda.mem_get_info(gpu)
    return int(free + torch.cuda.memory_reserved(gpu) - torch.cuda.memory_allocated(gpu))


@dataclass
class AdaptiveBatch:
    """The number of items that fit into memory together; it is halved for good whenever a batch does not fit."""

    at_most: int
    say: Callable[[str], None]
    advice: str = "--batch-size {} spares the attempt"
    """Said of the smaller number."""

    def chunks(self, items: Sequence[T], work: Callable[[Sequence[T]], R]) -> Iterator[tuple[Sequence[T], R]]:
        """Yield the items in batches, each with what `work` returns for it.

        Args:
            items: what is worked on, in order.
            work: called with one batch; it is called again with fewer items where it runs out of memory.

        Raises:
            Exception: What `work` raises. An out-of-memory error is raised only where a single item does not fit.
        """
        start = 0
        while start < len(items):
            chunk = items[start : start + self.at_most]
            try:
                result = work(chunk)
            except Exception as error:
                if len(chunk) == 1 or not is_out_of_memory(error):
                    raise
            else:
                yield chunk, result
                start += len(chunk)
                continue
            # This stands outside of the handler, whose traceback would keep the tensors of the failed batch alive.
            self.at_most = len(chunk) // 2
            self.say(
                f"out of memory with {len(chunk)} images at a time; going on with {self.at_most} "
                f"({self.advice.format(self.at_most)})"
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
