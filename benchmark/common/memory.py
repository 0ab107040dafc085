"""Out of memory: work on fewer items at a time, and say so."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that of an allocator, of an accelerator or of the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch has no type of its own for the host's memory: "can't allocate memory" (Linux), "not enough memory" (Windows)
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory")
    )


@dataclass
class Fitting:
    """How many items are worked on at a time; halved whenever they do not fit, for good."""

    at_most: int
    say: Callable[[str], None]

    def chunks(self, items: Sequence[T], work: Callable[[Sequence[T]], R]) -> Iterator[tuple[Sequence[T], R]]:
        """Yield the items, as many at a time as fit, each time with what `work` gives for them.

        Raises:
            Exception: whatever `work` raises, out of memory only where a single item does not fit.
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
            # Outside of the handler: its traceback would keep alive what did not fit.
            self.at_most = len(chunk) // 2
            self.say(
                f"out of memory with {len(chunk)} images at a time; going on with {self.at_most} "
                f"(--batch-size {self.at_most} spares the attempt)"
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
