"""At the end of a run, a table of all comparisons and one of all other figures; the same for --benchmark-json.

A benchmark keeps what it measured in the `extra_info` of pytest-benchmark. `extra_info`, or any dictionary in it, is a
comparison if it has a `ratio`: how many times faster it is than what stands under `against`, measured side by side,
with the seconds of both under `ours_s` and `theirs_s`. All other numbers are figures, named with their unit.
"""

from typing import Any

import pytest
from tabulate import tabulate

MEASURED = pytest.StashKey[list[tuple[str, dict[str, Any]]]]()
COMPARISON = ("against", "ours_s", "theirs_s", "ratio")


def pytest_configure(config):
    config.stash[MEASURED] = []
    # pytest-benchmark measures nothing where tests are distributed, and takes --dist in pyproject.toml for that.
    if not config.getoption("numprocesses"):
        config.option.dist = "no"


@pytest.fixture(autouse=True)
def keep_what_is_measured(benchmark, request):
    yield
    if benchmark.stats is not None:  # it is None if it was skipped, or with --benchmark-disable
        name = request.node.nodeid.rpartition("/")[2]
        request.config.stash[MEASURED].append((name, benchmark.extra_info))


def comparisons(measured):
    """Return a row per comparison: the benchmark, what it is compared with, the seconds of both, and the ratio."""
    rows = []
    for name, info in measured:
        nested = {f"{name}, {key}": value for key, value in info.items() if isinstance(value, dict)}
        for each, found in ({name: info} | nested).items():
            if "ratio" in found:
                rows.append({"benchmark": each} | {key: found.get(key) for key in COMPARISON})
    return rows


def figures(measured):
    """Return a row per number that belongs to no comparison: the benchmark, the name with its unit, and the value."""
    return [
        {"benchmark": name, "figure": key, "value": value}
        for name, info in measured
        for key, value in info.items()
        if key not in COMPARISON and isinstance(value, int | float)
    ]


def pytest_benchmark_update_json(config, output_json):
    measured = config.stash[MEASURED]
    output_json |= {"comparisons": comparisons(measured), "figures": figures(measured)}


def pytest_terminal_summary(terminalreporter, config):
    measured = config.stash[MEASURED]
    for title, rows in (("comparisons", comparisons(measured)), ("other figures", figures(measured))):
        if rows:
            terminalreporter.section(title)
            terminalreporter.line(tabulate(rows, headers="keys", floatfmt=".4g", missingval="–"))
