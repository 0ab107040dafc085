"""Parts of records made by hand."""

from typing import Any

from benchmark.records.agreement import differences
from benchmark.records.records import Record, Run


def made_run(**changes: Any) -> Run:
    """Return what a record says of the machine and the time; `changes` are fields of `Run`."""
    given: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": {"total": 1.0},
        "batch_size": 8,
        "workers": 0,
        "peak_memory": None,
        "device": "cpu",
        "machine": "test",
        "python": "3.11",
        "packages": {},
        "git_commit": None,
    }
    return Run(**given | changes)


def disagreements(one: Record, other: Record, *, tolerance: float) -> list[str]:
    """Return a line for each number in which two records of the same work differ by more than the tolerance."""
    return [
        f"{each.place}, {each.metric}: {each.one} and {each.other}"
        for each in differences(one, other)
        if each.size > tolerance
    ]
