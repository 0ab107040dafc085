"""Seeds of what is drawn in a training. Each depends on nothing but the numbers and names that it is made of."""

import hashlib
import json


def draw_seed(*parts: str | int) -> int:
    """Return a seed of 63 bits that is made of names and numbers."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8]) >> 1
