"""File names of the site that are valid on every file system, whatever a dataset or a class is called."""

import hashlib
import re

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
"""Names that Windows refuses with any extension."""
_MAX_LENGTH = 80


def slug(text: str) -> str:
    """Return a file name of lower-case ASCII letters, digits, `_` and `-` for a text.

    A text that already is such a name is returned unchanged. Any other text gets a hash appended, so that different
    texts such as `A b` and `a-b` get different names.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:_MAX_LENGTH].strip("-")
    if plain and plain == text and plain not in _RESERVED:
        return plain
    return "-".join(part for part in (plain, hashlib.sha256(text.encode()).hexdigest()[:8]) if part)


def unique_slugs(names: list[str]) -> list[str]:
    """Return one slug per name. The names must differ; the slugs then differ too."""
    slugs = [slug(name) for name in names]
    return [each if slugs.count(each) == 1 else f"{each}-{index}" for index, each in enumerate(slugs)]
