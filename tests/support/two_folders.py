"""Two folders of a few results of the reference, of which one is changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.reference import REFERENCE_RECORDS

from benchmark.records.records import Record, read_record, write_record

CELLS = ("anomalyclip--mpdd--s0", "clip--btad--s0", "coop--btad--s0")
"""Of two methods that learn, and one that does not between them, with their defaults."""


def reference_records() -> dict[str, Record]:
    """Return these cells of the reference by the beginning of their ids, in this order."""
    found = {}
    for path in REFERENCE_RECORDS:
        name = path.stem.rpartition("--")[0]
        if name in CELLS and not (record := read_record(path)).cell.changed:
            found[name] = record
    return found


def changed(record: Record, change: Callable[[Any], None]) -> Record:
    """Return a record with what a function changes in its JSON."""
    content = record.model_dump(mode="json")
    change(content)
    return Record.model_validate(json.loads(json.dumps(content)))


def of_ablation(record: Record, *, name: str = "length", main: bool = False) -> Record:
    """Return a record that stands in the table of an ablation, and in the main tables only if that is said."""
    row = {"ablation": name, "method": record.title, "title": "Length", "base": {}}
    row |= {"row": "one", "place": 0, "default": True}
    return changed(record, lambda content: content.update(placement={"main": main, "ablations": [row]}))


def write_all(folder: Path, records: list[Record]) -> Path:
    """Write a folder of results anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for record in records:
        write_record(folder, record)
    return folder
