"""How a command that computes ends: its tables are written, and failures change the exit code."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.messages import writing
from benchmark.common import counted, tell

if TYPE_CHECKING:
    from benchmark.records import Record

BEGAN = time.monotonic()
"""When the command began: what takes long to import is imported later."""


def write_tables(results: Path) -> None:
    """Write the tables of all records of a folder, as `bench tables` does, and say where they are.

    Raises:
        TableError: the records cannot share tables.
    """
    from benchmark.records import read_records
    from benchmark.tables import choose_records, lacking, make_outputs, write_files

    records, problems = read_records(results)
    kept, lines = choose_records(records)
    files = make_outputs(kept).files
    for line in [*(f"left out: {problem}" for problem in problems), *lines, *lacking(kept)]:
        tell(line)
    directory = results / "tables"
    with writing(directory):
        write_files(directory, files)
    tell(f"tables are written to {directory}")


def end(records: "Sequence[Record]", problems: Sequence[str]) -> None:
    """End the command with exit code 1 if a cell failed or something was not found."""
    failed = sum(record.status == "failed" for record in records)
    if failed:
        tell(f"{failed} of {counted(len(records), 'cell')} failed; remove the cause and run the same command again")
    if failed or problems:
        sys.exit(1)
