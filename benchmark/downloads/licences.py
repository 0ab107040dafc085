"""Licences of datasets that the user has accepted, kept in the user's cache."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from benchmark.common import safe_name, user_cache, write_whole
from benchmark.data import Card
from benchmark.downloads.disk import disk_errors


def is_accepted(card: Card) -> bool:
    """Return whether the user has accepted the licence of a dataset, as its card has it now."""
    return _note(card).is_file()


def accept(card: Card) -> None:
    """Remember that the user accepts the licence of a dataset.

    Raises:
        BenchError: The cache cannot be written.
    """
    path = _note(card)
    with disk_errors(path.parent):
        write_whole(
            path,
            json.dumps(
                {"dataset": card.name, "licence": card.licence, "accepted": datetime.now(UTC).date().isoformat()},
                indent=1,
            ),
        )


def _note(card: Card) -> Path:
    text = hashlib.sha256(card.licence.encode()).hexdigest()[:16]
    return user_cache() / "licences" / f"{safe_name(card.name)}-{text}.json"
