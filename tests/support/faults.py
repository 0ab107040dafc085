"""Faults that tests cause for real."""

import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let this process write no file of more than so many bytes; a larger one fails as on a full disk."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.witness,))


def save_malicious(file: Path, key: str, witness: Path, *, zipped: bool) -> None:
    """Write a checkpoint whose entry `key` creates the file `witness` when it is unpickled.

    `zipped` chooses between torch's format and a plain pickle.
    """
    content = {key: Malicious(witness)}
    if zipped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
