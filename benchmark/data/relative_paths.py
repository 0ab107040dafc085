"""Paths that a card names: relative ones, with forward slashes, that stay inside their folder."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

_FORBIDDEN = frozenset(":\\\0\r\n")
"""Characters that no path of a card may hold: they name drives, separate folders on Windows or end a line."""


def relative_path(path: str) -> str:
    """Return the path.

    Raises:
        ValueError: It is absolute, leads out of its folder or has characters that no file name has everywhere.
    """
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or not _FORBIDDEN.isdisjoint(path):
        raise ValueError(f"{path!r} must be a relative path with forward slashes that stays inside the dataset")
    return path


RelativePath = Annotated[str, AfterValidator(relative_path)]
