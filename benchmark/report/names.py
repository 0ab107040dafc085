"""Names of the site's files, which every file system takes, whatever a dataset or a class is called."""

import hashlib
import re

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
"""What Windows does not take, whatever the extension."""
_LONGEST = 80


def slug(text: str) -> str:
    """Return a file name of lower-case ASCII letters, digits, _ and - for a text, another for another text.

    A text that is such a name stays as it is; any other gets a hash, so that `A b` and `a-b` do not meet.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")
    if plain and plain == text and plain not in _RESERVED:
        return plain
    return "-".join(part for part in (plain, hashlib.sha256(text.encode()).hexdigest()[:8]) if part)


def distinct(names: list[str]) -> list[str]:
    """Return a slug for each of some names that differ, no two alike."""
    made = [slug(name) for name in names]
    return [each if made.count(each) == 1 else f"{each}-{index}" for index, each in enumerate(made)]
