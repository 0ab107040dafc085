"""Names: file names that every file system accepts, and short lists of names in a sentence."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])(\..*)?", re.IGNORECASE)
"""Names that Windows refuses, with any extension."""
_YEAR = re.compile(r"(?<![\d.])(?:19|20)\d\d(?!\d|\.\d)")
_SLUG_LENGTH = 80
_MOST_BYTES = 200


def safe_name(name: str) -> str:
    """Return the name of a file or folder with `_` for each character that Windows forbids, of at most 200 bytes."""
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]', "_", name)  # surrogates stand for bytes that are no Unicode
    safe = safe.encode()[:_MOST_BYTES].decode(errors="ignore").rstrip(" .") or "_"
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe


def slug(text: str) -> str:
    """Return a file name of lower-case ASCII letters, digits, `_` and `-` for a text.

    A text that already is such a name is returned unchanged. Any other text gets a hash appended, so that different
    texts such as `A b` and `a-b` get different names.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    if plain and plain == text and not _RESERVED.fullmatch(plain):
        return plain
    return "-".join(part for part in (plain, hashlib.sha256(text.encode()).hexdigest()[:8]) if part)


def unique_slugs(names: Sequence[str]) -> list[str]:
    """Return one slug per name. The names must differ; the slugs then differ too."""
    slugs = [slug(name) for name in names]
    return [each if slugs.count(each) == 1 else f"{each}-{index}" for index, each in enumerate(slugs)]


def printable(text: object) -> str:
    """Return a text, or a path, without bytes that are no Unicode and with control characters escaped, for one line."""
    known = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", str(text))
    return re.sub("[\x00-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], known)


def is_blank(name: str) -> bool:
    """Return whether a name says nothing: it has no letter and no digit, or it has control characters."""
    return not any(map(str.isalnum, name)) or any(unicodedata.category(character) == "Cc" for character in name)


def counted(number: int, what: str) -> str:
    """Return a number of things in words, as in `1 cell` and `2 cells`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int, rest: str = "more") -> str:
    """Return the first `most` names with commas between them, and how many more there are, as in `a, b and 3 more`."""
    more = f" and {len(names) - most} {rest}" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def size_in_words(size: int) -> str:
    """Return a number of bytes in words, as in `13.9 MB`."""
    unit, name = next((each for each in ((10**9, "GB"), (10**6, "MB")) if size >= each[0]), (1000, "kB"))
    return f"{size / unit:.1f} {name}"


def year_in(reference: str) -> int | None:
    """Return the year of a reference such as `Zhou et al., AnomalyCLIP, ICLR 2024`, the first of several.

    The number of a preprint, such as `arXiv 2005.01234`, is no year.
    """
    found = _YEAR.search(reference)
    return int(found[0]) if found else None
