"""Parts of records made by hand."""

from typing import Any

from benchmark.records.records import Run


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
