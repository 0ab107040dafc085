"""Everything below `tables/` as a function of records: the files, and whether they are current."""

import difflib
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
from benchmark.tables.ablations import ablation_files, make_ablations
from benchmark.tables.comparable import main_records
from benchmark.tables.cost import cost_files, cost_tables
from benchmark.tables.render import table_files
from benchmark.tables.tables import Table, make_tables

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


def make_outputs(
    records: Sequence[Record],
    read: Callable[[Record], Mapping[str, ClassImages] | None],
    keep: uncertainty.Keep = uncertainty.made_now,
    *,
    metrics: Sequence[str] = MAIN_METRICS,
    methods: Sequence[str] = (),
) -> Outputs:
    """Return the main tables, those per class, with intervals, of ranks, costs and ablations, and `results.csv`.

    Args:
        records: that count.
        read: gives the results per image of a record, as `per_image_reader`.
        keep: keeps the replicates of the bootstrap, as `draws_keeper`.
        metrics: keys of the metrics of the main tables, those per class and of ranks.
        methods: names of methods in the order of the columns of these tables.

    Raises:
        TableError: the records are not comparable.
    """
    main = main_records(records)
    files = {f"ablations/{name}": text for name, text in ablation_files(make_ablations(records)).items()}
    tables_of_main = make_tables(main, metrics=metrics, methods=methods)
    files |= table_files(tables_of_main, records)
    files |= cost_files(cost_tables(records, methods))
    done = [record for record in main if record.status == "done"]
    estimates = uncertainty.estimates(done, read, keep)
    files |= {
        "uncertainty.md": uncertainty.render(estimates, main, methods),
        "uncertainty.csv": uncertainty.to_csv(estimates),
        "ranks.md": ranks.render(ranks.rankings(done, metrics), main, methods, metrics),
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
    """Return in which way files of a directory are not as they would be if they were written anew: a diff for each."""
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
    return found


def left_over(directory: Path, files: Mapping[str, str]) -> list[Path]:
    """Return the tables in a directory that are none of the files: earlier records gave them."""
    paths = sorted(path for path in directory.rglob("*") if path.suffix in GENERATED)
    return [path for path in paths if path.relative_to(directory).as_posix() not in files]
