"""Parts of a cell: what a worker found of a share of a dataset's images, on disk until the cell is put together.

A part is written once and whole, by the worker that scored it, so that a run that is cut off goes on after it.
"""

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.common import IMAGES_LIMIT, read_limited, write_whole
from benchmark.data import SampleSet
from benchmark.errors import BenchError
from benchmark.metrics import PixelMetrics, check_archive, from_bytes, to_bytes
from benchmark.records import ClassResult, RecordError, Skipped
from benchmark.running.tally import Outcome, Tally

Array = npt.NDArray[Any]


class PartError(BenchError):
    """A part cannot be read; the message names the file and the way out."""


def spans(data: SampleSet, at_most: int, batch_size: int) -> list[slice]:
    """Return the parts in which a dataset is scored: one, or several of about equal size.

    They end where batches end, so that the images go through the towers in the same company however they are shared.

    Args:
        data: the dataset.
        at_most: test images in a part.
        batch_size: images per forward pass.
    """
    count = len(data.test)
    if count <= at_most:
        return [slice(0, count)]
    parts = -(-count // at_most)
    size = -(-count // (parts * batch_size)) * batch_size
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def parts_folder(results: Path, cell_id: str) -> Path:
    """Return where the parts of a cell lie until its record is written."""
    return results / ".parts" / cell_id


def part_path(results: Path, cell_id: str, span: slice, source_sha256: str | None) -> Path:
    """Return where a part of a cell lies; what an edited method gave is another part."""
    return parts_folder(results, cell_id) / f"{span.start}-{span.stop}-{(source_sha256 or 'unknown')[:12]}.npz"


def remove_parts(results: Path, cell_id: str) -> None:
    """Remove the parts of a cell."""
    shutil.rmtree(parts_folder(results, cell_id), ignore_errors=True)


def write_part(path: Path, outcome: Outcome) -> None:
    """Write what one method gave for a part.

    Raises:
        RecordError: the disk is full, or the directory cannot be written.
    """
    arrays: dict[str, Array] = {"images": np.frombuffer(to_bytes(outcome.images), np.uint8)}
    known = {
        "classes": {name: result.model_dump(mode="json") for name, result in outcome.classes.items()},
        "image_size": outcome.image_size,
        "seconds": outcome.seconds,
        "unfinished": {
            name: {
                "skipped": [skipped.model_dump(mode="json") for skipped in tally.skipped],
                "keys": tally.images.keys,
                "states": len(tally.images.states),
            }
            for name, tally in outcome.unfinished.items()
        },
    }
    arrays["known"] = np.frombuffer(json.dumps(known).encode(), np.uint8)
    for index, tally in enumerate(outcome.unfinished.values()):
        arrays |= {f"{index}/{name}": array for name, array in _arrays(tally)}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    try:
        write_whole(path, file.getvalue())
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}; what was written before is safe") from error


def _arrays(tally: Tally) -> Iterator[tuple[str, Array]]:
    images = tally.images
    yield "labels", np.array(images.labels, np.uint8)
    yield "scores", np.array(images.scores, np.float64)
    if images.maps:
        yield "maps", np.stack(images.maps)
    yield from ((f"pixel/{name}", array) for name, array in tally.pixel.state().items())
    yield from ((f"texts/{name}", np.stack(rows)) for name, rows in images.texts.items())
    for name in images.states[0] if images.states else ():
        each = [state[name] for state in images.states]
        yield f"states/{name}", np.concatenate(each)
        yield f"lengths/{name}", np.array([len(array) for array in each])


def read_part(path: Path) -> Outcome:
    """Read a part.

    Raises:
        PartError: it is not there, or damaged.
    """
    try:
        content = read_limited(path, IMAGES_LIMIT)
        check_archive(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            known = json.loads(bytes(arrays["known"]))
            outcome = Outcome(image_size=known["image_size"], seconds=known["seconds"])
            outcome.images = from_bytes(bytes(arrays["images"]))
            outcome.classes = {name: ClassResult.model_validate(each) for name, each in known["classes"].items()}
            for index, (name, each) in enumerate(known["unfinished"].items()):
                outcome.unfinished[name] = _tally(arrays, f"{index}/", each)
    except Exception as error:  # on broken bytes zipfile and zlib raise types of their own
        raise PartError(f"{path}: not a readable part of a cell ({error}); run again to redo it") from None
    return outcome


def _tally(arrays: Mapping[str, Array], prefix: str, known: dict[str, Any]) -> Tally:
    found = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    tally = Tally(skipped=[Skipped.model_validate(each) for each in known["skipped"]])
    tally.pixel = PixelMetrics.from_state(_below(found, "pixel/"))
    images = tally.images
    images.keys, images.scores, images.labels = known["keys"], found["scores"].tolist(), found["labels"].tolist()
    for score, label in zip(images.scores, images.labels, strict=True):
        tally.image.update(score, label)
    images.maps = list(found["maps"]) if images.keys else []
    images.texts = {name: list(rows) for name, rows in _below(found, "texts/").items()}
    images.states = [{} for _ in range(known["states"])]
    lengths = _below(found, "lengths/")
    for name, array in _below(found, "states/").items():
        pieces = np.split(array, np.cumsum(lengths[name])[:-1])
        for state, piece in zip(images.states, pieces, strict=True):
            state[name] = piece
    return tally


def _below(found: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}


def is_scored(path: Path) -> bool:
    """Say whether a part is there, and whole."""
    try:
        return path.exists() and read_part(path) is not None
    except PartError:
        return False


def read_parts(results: Path, cell_id: str, parts: Sequence[slice], source_sha256: str | None) -> list[Outcome]:
    """Read all parts of a cell, in the order of the images.

    Raises:
        PartError: one is not there, or damaged.
    """
    return [read_part(part_path(results, cell_id, span, source_sha256)) for span in parts]
