"""Everything below `tables/` as a function of records: which records count, the files, and whether they are current."""

import difflib
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmark.common import Cache, Entry, file_sha256, user_cache, write_whole
from benchmark.metrics import (
    BOOTSTRAP_VERSION,
    MAIN_METRICS,
    REPLICATES,
    ClassImages,
    PerImageError,
    read_per_image,
)
from benchmark.records import Record, per_image_path
from benchmark.tables import ranks, uncertainty
from benchmark.tables.tables import Table, make_tables, table_files

if TYPE_CHECKING:
    from benchmark.tables.ablations import AblationTable

GENERATED = (".md", ".tex", ".csv")
DRAWS_LIMIT = 2 * 10**9
"""Bytes of replicates that are kept on disk from one command to the next."""
DRAWS = "draws"
DIFF_LINES = 40
"""Of a file's difference, as many are shown."""


@dataclass(frozen=True)
class Outputs:
    """The tables of some records, and all files made of them."""

    tables: list[Table]
    files: dict[str, str]
    """Contents by path below `tables/`."""


def select_records(
    records: Sequence[Record], *, methods: Sequence[str] = (), datasets: Sequence[str] = (), backbone: str = ""
) -> list[Record]:
    """Return the records of the named methods and datasets (none for all) and of a backbone (empty for all)."""
    return [
        record
        for record in records
        if (not methods or record.cell.method in methods)
        and (not datasets or record.cell.dataset.name in datasets)
        and (not backbone or record.cell.backbone.name == backbone)
    ]


def choose_records(
    records: Sequence[Record], *, methods: Sequence[str] = (), datasets: Sequence[str] = (), backbone: str = ""
) -> tuple[list[Record], list[str]]:
    """Return the selected records, without synthetic ones where there are real ones, and what to say of it."""
    kept = select_records(records, methods=methods, datasets=datasets, backbone=backbone)
    real = [record for record in kept if not record.synthetic]
    if not real or len(real) == len(kept):
        return kept, []
    names = ", ".join(sorted({record.cell.backbone.name for record in kept if record.synthetic}))
    return real, [
        f"left out: {len(kept) - len(real)} synthetic results beside real ones (--backbone shows those of {names})"
    ]


def per_image_reader(results: Path, say: Callable[[str], None]) -> Callable[[Record], Mapping[str, ClassImages] | None]:
    """Return what reads the results per image of a record; where they are missing or damaged it says so."""

    def read(record: Record) -> Mapping[str, ClassImages] | None:
        if record.images_sha256 is None:
            return None
        try:
            return read_per_image(per_image_path(results, record.id), record.images_sha256)
        except PerImageError as error:
            say(f"no intervals: {error}")
            return None

    return read


def draws_keeper(results: Path, cache: Cache | None = None) -> uncertainty.Keep:
    """Return what keeps the replicates of the records of a results directory, so that they are drawn once.

    An entry of the cache holds those of a method on a dataset, the mean over its seeds, which is all that tables need
    and small. It counts while every file of results per image is as its record says. Nothing that is printed depends on
    the cache: replicates that are missing, damaged or cannot be written are drawn again.
    """
    cache = cache or Cache(user_cache() / "bootstrap", DRAWS_LIMIT)
    with suppress(OSError):
        cache.evict()

    def keep(same: Sequence[Record], make: uncertainty.Make) -> npt.NDArray[np.float64] | None:
        if not all(_has_images(results, record) for record in same):
            return make()
        # All that can change a replicate.
        images = [(record.cell.dataset.fingerprint, record.images_sha256) for record in same]
        settings = (BOOTSTRAP_VERSION, REPLICATES, MAIN_METRICS, np.__version__)
        classes = list(same[0].classes)
        key = hashlib.sha256(json.dumps([settings, classes, images]).encode()).hexdigest()
        entry = Entry(cache, key)
        drawn = entry.read(DRAWS, (1 + len(classes), len(MAIN_METRICS), 1 + REPLICATES))
        if drawn is None and (drawn := make()) is not None:
            with suppress(OSError):
                entry.write(DRAWS, drawn)
        return drawn

    return keep


def _has_images(results: Path, record: Record) -> bool:
    """Say whether the results per image of a record are there as it says."""
    try:
        return file_sha256(per_image_path(results, record.id)) == record.images_sha256
    except OSError:
        return False


def set_variants_apart(records: Sequence[Record]) -> "tuple[list[Record], list[AblationTable]]":
    """Return the records of the main tables, and the tables of ablations.

    Rows of an ablation are in its tables alone; other variants of a method have columns of their own. Where there is
    nothing but rows of ablations, they are the main tables too.

    Raises:
        TableError: the records are not comparable.
    """
    if not any(record.cell.changed for record in records):
        return list(records), []
    from benchmark.tables.ablations import known_ablations  # the registry imports torch

    tables, variants = known_ablations(records)
    return [record for record in records if record.id not in variants] or list(records), tables


def make_outputs(
    records: Sequence[Record],
    read: Callable[[Record], Mapping[str, ClassImages] | None],
    keep: uncertainty.Keep = uncertainty.made_now,
) -> Outputs:
    """Return the main tables, those per class, with intervals, of ranks and of ablations, and `results.csv`.

    Args:
        records: that count.
        read: gives the results per image of a record, as `per_image_reader`.
        keep: keeps the replicates of the bootstrap, as `draws_keeper`.

    Raises:
        TableError: the records are not comparable.
    """
    main, ablations = set_variants_apart(records)
    files: dict[str, str] = {}
    if ablations:
        from benchmark.tables.ablations import ablation_files

        files |= {f"ablations/{name}": text for name, text in ablation_files(ablations).items()}
    tables_of_main = make_tables(main)
    files |= table_files(tables_of_main, records)
    done = [record for record in main if record.status == "done"]
    estimates = uncertainty.estimates(done, read, keep)
    files |= {
        "uncertainty.md": uncertainty.render(estimates, main),
        "uncertainty.csv": uncertainty.to_csv(estimates),
        "ranks.md": ranks.render(ranks.rankings(done), main),
    }
    return Outputs(tables_of_main, {name: text for name, text in files.items() if text})


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write files below a directory, each whole.

    Raises:
        OSError: the directory cannot be written.
        ValueError: a name leads out of it.
    """
    for name, text in files.items():
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            raise ValueError(f"{name} is no name of a file below {directory}")
        write_whole(directory / name, text)


def differences(directory: Path, files: Mapping[str, str]) -> list[str]:
    """Return in which way a directory is not what it would be if the files were written anew: a diff for each file."""
    found = []
    for name, text in sorted(files.items()):
        path = directory / name
        before = path.read_bytes().decode(errors="replace") if path.is_file() else None
        if before is None:
            found.append(f"{path}: missing")
        elif before != text:
            lines = difflib.unified_diff(
                before.splitlines(), text.splitlines(), str(path), "made from the records", lineterm="", n=1
            )
            found.append("\n".join(itertools.islice(lines, DIFF_LINES)) or f"{path}: differs in its line ends")
    for path in sorted(directory.rglob("*")):
        if path.suffix in GENERATED and path.relative_to(directory).as_posix() not in files:
            found.append(f"{path}: no record gives it; delete it")
    return found
