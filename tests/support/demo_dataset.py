"""A dataset of five small images that a local server offers, and its card."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from benchmark.data.cards import Card


def demo_card(name: str = "demo", **fields: Any) -> Card:
    """Return the card of the dataset, which is had in no way yet."""
    rules = [
        {"pattern": r"(?P<class>[^/]+)/good/[^/]+", "label": "normal"},
        {"pattern": r"(?P<class>[^/]+)/bad/(?P<stem>[^/]+)", "label": "anomalous", "mask": ["{class}/masks/{stem}"]},
    ]
    return Card.model_validate(
        {
            "name": name,
            "title": name.title(),
            "version": 1,
            "domain": "industrial",
            "levels": ["image", "pixel"],
            "licence": "CC BY 4.0",
            "home": "https://example.org/demo",
            "reference": "nobody",
            "folders": [],
            "classes": [{"name": f"{name}_nut", "normal": 3, "anomalous": 2}],
            "layouts": [{"name": "original", "roots": ["", "images"], "rules": rules}],
            **fields,
        }
    )


def demo_files(name: str = "demo", *, normal: int = 3, within: str = "") -> Mapping[str, bytes]:
    """Return the files of the dataset by their names in an archive, below a folder that ends in a slash."""
    rng = np.random.default_rng(len(name))
    below = f"{within}{name}_nut"
    files = {f"{within}README.txt": b"Thank you."}
    for number in range(normal):
        files[f"{below}/good/{number:03d}.png"] = _png(rng.integers(0, 256, size=(24, 24, 3), dtype=np.uint8))
    for number in range(2):
        files[f"{below}/bad/{number:03d}.png"] = _png(rng.integers(0, 256, size=(24, 24, 3), dtype=np.uint8))
        mask = np.zeros((24, 24), dtype=np.uint8)
        mask[4:9, 5:12] = 255
        files[f"{below}/masks/{number:03d}.png"] = _png(mask)
    return files


def _png(pixels: np.ndarray) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
