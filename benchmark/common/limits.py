"""Reading files that may come from strangers: regular files only, and no larger than such a file can sensibly be."""

from pathlib import Path

MIB = 2**20
CARD_LIMIT = MIB
"""Bytes of a card, and of `sources.toml`."""
TABLE_LIMIT = 64 * MIB
"""Bytes of a CSV file; the longest list of samples, VisA's, has about 1 MB."""
JSON_LIMIT = 64 * MIB
"""Bytes of a record, or of what is known of a checkpoint."""
IMAGES_LIMIT = 2048 * MIB
"""Bytes of results per image, unpacked; an image has about 5 kB."""


def require_regular(path: Path) -> None:
    """Refuse a pipe, a device or a folder.

    Raises:
        OSError: it is one; not where there is nothing.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is not a regular file")


def read_limited(path: Path, limit: int) -> bytes:
    """Read a file whole.

    Raises:
        OSError: it is missing, no regular file (a pipe would be waited for), or has more than `limit` bytes.
    """
    require_regular(path)
    if (size := path.stat().st_size) > limit:
        raise OSError(f"has {size:,} bytes, more than the limit of {limit:,}")
    return path.read_bytes()
