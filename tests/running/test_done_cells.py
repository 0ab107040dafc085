"""Whether a method's files were edited since a record was made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.records import data_id, made_record

from benchmark.running import done_cells
from methods.coop import CoOp


@pytest.mark.parametrize(
    ("scored", "trained", "checkpoint", "newer"),
    [
        ("now", None, None, None),
        ("before", None, None, "now"),
        ("now", "before", None, "now"),
        ("now", "before", "c" * 64, None),
        ("before", "before", "c" * 64, "now"),
    ],
)
def test_a_checkpoint_that_was_given_is_no_result_of_older_files(
    scored: str, trained: str | None, checkpoint: str | None, newer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sha256 is in the cell: whatever trained it, the numbers are those of these parameters."""
    monkeypatch.setattr(done_cells, "source_sha256", lambda method: "now")
    monkeypatch.setattr(done_cells, "write_record", lambda results, record: None)
    cell = {"method": "coop", "dataset": data_id("btad", "f"), "checkpoint": checkpoint}
    made = made_record({}, cell=cell, title="CoOp", dataset="BTAD")
    training = SimpleNamespace(made=SimpleNamespace(source_sha256=trained))
    run = made.run.model_copy(update={"source_sha256": scored})
    record = made.model_copy(update={"run": run, "training": training})
    job: Any = SimpleNamespace(method=CoOp)
    assert done_cells.aged(job, record, Path()).newer_source_sha256 == newer
