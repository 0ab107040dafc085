"""Work in batches that become smaller when memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of an accelerator or of the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch has no error type for the host's memory, but a message: the first on Linux, the second on Windows.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory")
    )


@dataclass
class AdaptiveBatch:
    """The number of items that fit into memory together; it is halved for good whenever a batch does not fit."""

    at_most: int
    say: Callable[[str], None]

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
                f"(--batch-size {self.at_most} spares the attempt)"
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
