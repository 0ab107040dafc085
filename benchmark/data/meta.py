"""The meta.json of repackaged datasets, compared with the files: what it says of labels and masks is not trusted."""

import json
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from benchmark.data.layouts import Sample
from benchmark.data.samples import SampleSet
from benchmark.data.tree import Problem, inside, relative

META_LIMIT = 64 * 2**20
"""A larger meta.json is not read; that of VisA, the longest list, has about 3 MB."""


def check_meta(data: SampleSet) -> Iterator[Problem]:
    """Compare the meta.json files of repackaged datasets with the files; differences are warnings."""
    real = os.path.realpath(data.directory)
    for root in sorted({"", data.root}):
        name = posixpath.join(root, "meta.json")
        path = data.directory / name
        if not path.is_file():
            continue
        if not inside(os.path.realpath(path), real):
            yield _meta(name, "is a link that leads out of the dataset; not read")
        elif path.stat().st_size > META_LIMIT:
            yield _meta(name, f"is larger than {META_LIMIT >> 20} MiB; not read")
        else:
            try:
                records = _records(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, RecursionError, TypeError, AttributeError) as error:
                yield _meta(name, f"is not of the usual form: {error or type(error).__name__}")
            else:
                yield from _compare(data, root, name, records)


def _records(content: Any) -> list[dict[str, Any]]:
    """Return the test records of a meta.json, whatever the spelling of its phase."""
    phases = [content[phase] for phase in ("test", "Test") if phase in content]
    if not phases:
        raise ValueError("it has neither 'test' nor 'Test'")
    records = [record for classes in phases for records in classes.values() for record in records]
    if not all(isinstance(r, dict) and isinstance(r.get("img_path"), str) for r in records):
        raise ValueError("a record has no img_path")
    return records


def _compare(data: SampleSet, root: str, name: str, records: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    """Compare by name only: no path of the file is ever opened.

    A path that does not count from the file, as several official scripts write it, is compared by its end.
    """
    tests: dict[str, Sample] = {}
    for s in data.test:
        tests.setdefault(relative(s.path, data.directory), s)
    listed: set[str] = set()
    elsewhere: list[str] = []
    unknown = 0
    for record in records:
        given = posix(record["img_path"])
        path = posixpath.join(root, str(given))
        if outside := leads_out(given):
            elsewhere.append(str(given))
            ends = (posixpath.join(root, *given.parts[start:]) for start in range(1, len(given.parts)))
            path = next((end for end in ends if end in tests), "")
            if not path:
                unknown += 1
                continue
        listed.add(path)
        sample = tests.get(path)
        if sample is None:
            there = os.path.lexists(data.directory / path)
            yield _meta(path, f"{name} lists it, but it is " + ("no test image" if there else "not there"))
            continue
        anomaly, mask = record.get("anomaly"), record.get("mask_path")
        if sample.piece is None and anomaly in (0, 1) and anomaly != sample.label:  # a tuple: it may be a list
            yield _meta(path, f"{name} says anomaly = {anomaly}, the files say {sample.label}")
        if sample.mask and isinstance(mask, str) and mask:
            ours = relative(sample.mask, data.directory)
            stated = posixpath.join(root, str(posix(mask)))
            if stated != ours and not (outside and stated.endswith(f"/{ours}")):
                yield _meta(path, f"{name} says its mask is {mask}, by name it is {ours}")
    if elsewhere:
        told = f"; {unknown} of them end like no test image here" if unknown else ""
        yield _meta(
            name,
            f"{name} names {len(elsewhere)} of {len(records)} images by paths that do not count from it, such as "
            f"{elsewhere[0]}; they were compared by their ends{told}",
        )
    if listed:  # else it is of other images altogether
        for path in sorted(set(tests) - listed):
            yield _meta(path, f"a test image that {name} does not list")


def leads_out(path: PurePosixPath) -> bool:
    """Return whether a path of a meta.json is absolute, on Windows too, or goes up."""
    return path.is_absolute() or bool(PureWindowsPath(path).drive) or ".." in path.parts


def posix(path: str) -> PurePosixPath:
    """Return a path of a meta.json with forward slashes, in Unicode's NFC."""
    return PurePosixPath(unicodedata.normalize("NFC", path.replace("\\", "/")))


def _meta(path: str, message: str) -> Problem:
    return Problem(path, "meta.json", message, fatal=False)
