"""Reading files of unknown origin: only regular files are read, and each kind of file has a size limit."""

from pathlib import Path

MIB = 2**20
CARD_LIMIT = MIB
"""Most bytes of a card, and of `sources.toml`."""
TABLE_LIMIT = 64 * MIB
"""Most bytes of a CSV file; the longest list of samples, VisA's, has about 1 MB."""
JSON_LIMIT = 64 * MIB
"""Most bytes of a record, or of the JSON file of a checkpoint."""
IMAGES_LIMIT = 2048 * MIB
"""Most bytes of results per image, unpacked; an image has about 5 kB."""


def require_regular(path: Path) -> None:
    """Refuse a path that is a pipe, a device or a folder; a path where nothing is passes.

    Raises:
        OSError: The path exists and is no regular file.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is not a regular file")


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: The file is missing, has more than `limit` bytes, or is no regular file; reading a pipe would block.
    """
    require_regular(path)
    if (size := path.stat().st_size) > limit:
        raise OSError(f"has {size:,} bytes, more than the limit of {limit:,}")
    return path.read_bytes()
