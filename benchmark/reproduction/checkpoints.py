"""Checkpoints that authors have published: which there are, and which of them lie in a folder of the user's."""

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import Field

from benchmark.common import CARD_LIMIT, Model, file_sha256, read_limited
from benchmark.data import RelativePath, WebAddress
from benchmark.errors import BenchError

CATALOGUE = Path(__file__).parent / "checkpoints.toml"
MOST_FILES = 10_000
"""Files that a folder of checkpoints may hold."""


class PublishedFile(Model):
    """A file of a published checkpoint."""

    path: RelativePath = Field(min_length=1)
    """As in the repository that holds it, or its name alone."""
    url: WebAddress | None = None
    """Where it is to be had directly; None where a person must fetch it."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """None where it is not known; then the file is known by its name, and by its folder where it has one."""

    @property
    def name(self) -> str:
        """The name without folders."""
        return PurePosixPath(self.path).name

    @property
    def place(self) -> tuple[str, ...]:
        """The folder and the name."""
        return PurePosixPath(self.path).parts[-2:]


class PublishedCheckpoint(Model):
    """What a method's authors have published of one training."""

    method: str
    auxiliary: tuple[str, ...] = Field(min_length=1)
    """Cards of the datasets that it was trained on."""
    where: str
    """Page that has the files or links to them."""
    files: tuple[PublishedFile, ...] = Field(min_length=1)


class _Catalogue(Model):
    checkpoints: tuple[PublishedCheckpoint, ...]


@functools.cache
def published_checkpoints() -> tuple[PublishedCheckpoint, ...]:
    """Return all published checkpoints that are known."""
    return _Catalogue.model_validate(tomllib.loads(read_limited(CATALOGUE, CARD_LIMIT).decode())).checkpoints


def checkpoint_for(method: str, auxiliary: Iterable[str]) -> PublishedCheckpoint | None:
    """Return what is published of a method that was trained on some datasets, None if nothing is."""
    wanted = (method, set(auxiliary))
    return next((each for each in published_checkpoints() if (each.method, set(each.auxiliary)) == wanted), None)


@dataclass(frozen=True)
class FoundFiles:
    """The files of a published checkpoint that lie in a folder."""

    checkpoint: PublishedCheckpoint
    paths: Mapping[PublishedFile, Path]
    others: tuple[Path, ...] = ()
    """Files with the name of a published one, whose sha256 is another."""

    @property
    def complete(self) -> bool:
        """Whether no file is missing."""
        return len(self.paths) == len(self.checkpoint.files)

    @property
    def missing(self) -> tuple[PublishedFile, ...]:
        """Those that are not there."""
        return tuple(each for each in self.checkpoint.files if each not in self.paths)


def find_checkpoint(checkpoint: PublishedCheckpoint, folder: Path | None) -> FoundFiles:
    """Look for the files of a published checkpoint in a folder and its subfolders.

    A file with a known sha256 is known by it alone, whatever its name; the others by name.

    Args:
        checkpoint: What is looked for.
        folder: None for nothing.

    Raises:
        BenchError: The folder does not exist, or holds too many files.
    """
    there = _files_in(folder) if folder is not None else ()
    paths: dict[PublishedFile, Path] = {}
    others: list[Path] = []
    for wanted in checkpoint.files:
        named = [path for path in there if path.name == wanted.name]
        if wanted.sha256 is None:
            exact = [path for path in named if path.parts[-len(wanted.place) :] == wanted.place] or named
            if len(exact) > 1:
                raise BenchError(
                    f"--checkpoints {folder}: {exact[0]} and {exact[1]} are both called as {wanted.path} of "
                    f"{checkpoint.where}; leave one"
                )
            if exact:
                paths[wanted] = exact[0]
            continue
        same = next((path for path in (*named, *there) if file_sha256(path) == wanted.sha256), None)
        if same is not None:
            paths[wanted] = same
        else:
            others += [path for path in named if path.parts[-len(wanted.place) :] == wanted.place]
    return FoundFiles(checkpoint, paths, tuple(others))


def _files_in(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that may be checkpoints, sorted."""
    if not folder.is_dir():
        raise BenchError(f"--checkpoints {folder}: is not a directory; name the folder that holds the published files")
    found = []
    for count, path in enumerate(folder.rglob("*")):
        if count >= MOST_FILES:
            raise BenchError(
                f"--checkpoints {folder}: holds more than {MOST_FILES} files; name one that holds checkpoints alone"
            )
        if path.suffix in (".pth", ".pt", ".safetensors") and path.is_file():
            found.append(path)
    return tuple(sorted(found))
