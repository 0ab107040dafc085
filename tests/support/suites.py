"""A few classes of the mini suite, drawn where a test needs images."""

from collections.abc import Collection
from pathlib import Path

from benchmark.mini.plan import shots
from benchmark.mini.suite import SUITE_VERSION, make_suite

SUITE_FOLDER = f"mini-suite-{SUITE_VERSION}"
"""Where commands without data look for the suite, below BENCH_CACHE."""


def draw_classes(folder: Path, classes: Collection[tuple[str, str]]) -> Path:
    """Draw these classes, as (dataset, class), into a folder that may be missing or empty."""
    make_suite(folder, which=[shot for shot in shots() if (shot.dataset, shot.class_name) in classes])
    return folder
