"""The meta.json of repackaged datasets, compared with the files: what it says of labels and masks is not trusted."""

import json
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from benchmark.data.cards import Split
from benchmark.data.layouts import Sample
from benchmark.data.samples import SampleSet
from benchmark.data.tree import Problem, inside, relative
from benchmark.data.words import split_of

META = "meta.json"
META_LIMIT = 64 * 2**20
"""A larger meta.json is not read; that of VisA, the longest list, has about 3 MB."""


def check_meta(data: SampleSet) -> Iterator[Problem]:
    """Compare the meta.json files of repackaged datasets with the files; differences are warnings."""
    real = os.path.realpath(data.directory)
    for root in sorted({"", data.root}):
        name = meta_name(data.directory, root)
        path = data.directory / name
        if not path.is_file():
            continue
        if not inside(os.path.realpath(path), real):
            yield _meta(name, "is a link that leads out of the dataset; not read")
        elif path.stat().st_size > META_LIMIT:
            yield _meta(name, f"is larger than {META_LIMIT >> 20} MiB; not read")
        else:
            try:
                content = json.loads(path.read_bytes())  # in UTF-8 or UTF-16, by its mark
                records = [each for split, _, each in meta_records(content) if split == "test"]
            except (OSError, ValueError, RecursionError) as error:
                yield _meta(name, f"is not of the usual form: {error or type(error).__name__}")
            else:
                yield from _compare(data, root, name, records)


def meta_name(directory: Path, root: str = "") -> str:
    """Return the path of the meta.json in a folder, in the case in which it is written there."""
    folder = directory / root
    there = sorted(each.name for each in folder.iterdir() if each.name.casefold() == META) if folder.is_dir() else []
    return posixpath.join(root, META if META in there or not there else there[0])


def meta_records(content: Any) -> Iterator[tuple[Split, str, dict[str, Any]]]:
    """Yield the records of a meta.json with their splits and classes, whatever the spelling of its phases.

    Raises:
        ValueError: It is not of the usual form.
    """
    phases = [(split_of(name), classes) for name, classes in content.items()] if isinstance(content, dict) else []
    known = [(split, classes) for split, classes in phases if split is not None]
    if not known:
        raise ValueError("it has neither 'test' nor 'train'")
    for split, classes in known:
        if not isinstance(classes, dict) or not all(isinstance(each, list) for each in classes.values()):
            raise ValueError(f"its {split} part does not give a list of records for each class")
        for name, records in classes.items():
            for each in records:
                usual = isinstance(each, dict) and isinstance(each.get("img_path"), str)
                if not usual:
                    raise ValueError("a record has no img_path")
                yield split, name, each


def _compare(data: SampleSet, root: str, name: str, records: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    """Compare by name only: no path of the file is ever opened.

    A path that does not count from the file, as several official scripts write it, is compared by its end.
    """
    tests: dict[str, Sample] = {}
    for s in data.test:
        tests.setdefault(relative(s.path, data.directory), s)
    folded = {path.casefold(): path for path in tests}
    listed: set[str] = set()
    elsewhere: list[str] = []
    unknown = 0
    for record in records:
        given = posix(record["img_path"])
        path = posixpath.join(root, str(given))
        moved = outside = leads_out(given)
        if outside:
            elsewhere.append(str(given))
            ends = (posixpath.join(root, *given.parts[start:]) for start in range(1, len(given.parts)))
            path = next((end for end in ends if end in tests), "")
            if not path:
                unknown += 1
                continue
        if (
            not outside and path not in tests and not os.path.lexists(data.directory / path)
        ):  # in another case, or from another folder
            starts = range(max(1, len(given.parts) - 1))
            ends = (posixpath.join(root, *given.parts[start:]).casefold() for start in starts)
            path = next((folded[end] for end in ends if end in folded), path)
            moved = True
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
            alike = stated != ours and moved and f"/{stated}".casefold().endswith(f"/{ours}".casefold())
            if stated != ours and not alike:
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
