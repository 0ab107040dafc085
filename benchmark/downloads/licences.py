"""Licences of datasets that the user has accepted, kept in the user's cache."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from benchmark.common import read_limited, safe_name, user_cache, write_whole
from benchmark.data import Card
from benchmark.errors import BenchError

_NOTE_LIMIT = 2**16


def is_accepted(card: Card) -> bool:
    """Return whether the user has accepted the licence of a dataset, as its card has it now."""
    try:
        content = json.loads(read_limited(_note(card), _NOTE_LIMIT))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("licence") == card.licence


def accept(card: Card) -> None:
    """Remember that the user accepts the licence of a dataset.

    Raises:
        BenchError: The cache cannot be written.
    """
    path = _note(card)
    content = {"dataset": card.name, "licence": card.licence, "accepted": datetime.now(UTC).date().isoformat()}
    try:
        write_whole(path, json.dumps(content, indent=1))
    except OSError as error:
        raise BenchError(
            f"{path.parent}: that the licence is accepted cannot be kept there ({error.strerror or error}); name a "
            "folder that can be written by the environment variable BENCH_CACHE"
        ) from error


def _note(card: Card) -> Path:
    text = hashlib.sha256(card.licence.encode()).hexdigest()[:16]
    return user_cache() / "licences" / f"{safe_name(card.name)}-{text}.json"
