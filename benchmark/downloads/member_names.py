"""Names of the members of an archive: where each is written, and what is refused."""

import re
import unicodedata
from dataclasses import dataclass, field

from benchmark.common import printable, safe_name
from benchmark.errors import BenchError


class ArchiveError(BenchError):
    """An archive is damaged, is none, or holds what is not unpacked. The message names the file and the way out."""


def parts_of(name: str) -> tuple[str, ...]:
    """Return the folders and the name, below the target, under which a member of an archive is written.

    Old tools of Windows separate folders by `\\`. A character that Windows forbids becomes `_`.

    Args:
        name: As it stands in the archive; that of a folder may end in a slash.

    Returns:
        No parts for the top folder itself.

    Raises:
        ArchiveError: The name is absolute, holds `..` or begins with a drive.
    """
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", path):
        raise ArchiveError(f"holds {printable(name[:200])!r}, a name that leads out of the folder")
    return tuple(safe_name(unicodedata.normalize("NFC", part)) for part in parts)


@dataclass
class Names:
    """The names of an archive that were seen so far; two members never get the same place."""

    ignores_case: bool
    """Whether the disk takes names that differ only in case, or in Unicode's normal form, for the same."""
    _files: dict[tuple[str, ...], str] = field(default_factory=dict)
    _folders: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def _key(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part.casefold() for part in parts) if self.ignores_case else parts

    def add_folder(self, parts: tuple[str, ...]) -> None:
        """Note a folder and those above it.

        Raises:
            ArchiveError: One has the place of a file, or, on a disk that ignores case, of another folder.
        """
        for depth in range(1, len(parts) + 1):
            folder = parts[:depth]
            key = self._key(folder)
            if (file := self._files.get(key)) is not None:
                raise ArchiveError(f"holds {printable(file)!r} both as a file and as a folder")
            if (other := self._folders.setdefault(key, folder)) != folder:
                raise ArchiveError(
                    f"holds the folders {printable('/'.join(other))!r} and {printable('/'.join(folder))!r}, which are "
                    "the same on this disk; name a folder on a disk that tells upper from lower case by --data"
                )

    def add_file(self, parts: tuple[str, ...]) -> None:
        """Note a file and the folders above it.

        Raises:
            ArchiveError: Its place is taken.
        """
        self.add_folder(parts[:-1])
        key, name = self._key(parts), "/".join(parts)
        if key in self._folders:
            raise ArchiveError(f"holds {printable(name)!r} both as a file and as a folder")
        if (other := self._files.get(key)) is not None:
            twice = "twice" if other == name else f"and {printable(other)!r}, which have the same name on this disk"
            raise ArchiveError(f"holds {printable(name)!r} {twice}")
        self._files[key] = name
