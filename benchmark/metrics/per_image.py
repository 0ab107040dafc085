"""Results per image: what a cell found of each test image, kept beside its record.

Scores and pixel histograms are what uncertainty is estimated from, maps and text embeddings what a report shows. All of
it is small: a map on the grid of patches in 256 steps, and per image a histogram over at most `BINS` bins, which the
images of a class share.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from benchmark.common import IMAGES_LIMIT, read_limited
from benchmark.errors import BenchError
from benchmark.metrics.pixel import ImagePixels, PixelHistogram, map_limits, pixel_histogram

BINS = 256
"""Of the pixel histograms as they are kept; chosen by mass, so that ties move AUROC and AUPRO by 1e-5 on smooth maps
and by 1e-3 on saturated ones. Intervals are moved to the exact value."""
FINE_BINS = 2048
"""Of an image's histogram before the bins of its class are known."""
TEXT_IMAGES = 8
"""Images of a class whose text embeddings are kept."""

_SUMS = ("counts", "positive_counts", "positive_weights")

Array = npt.NDArray[Any]


class PerImageError(BenchError):
    """A file of results per image cannot be read; the message names it and the way out."""


@dataclass(frozen=True)
class PixelBins:
    """Pixels of N images by K bins of ascending score."""

    negatives: Array
    """Normal pixels (N, K)."""
    positives: Array
    """Anomalous pixels (N, K)."""
    weights: Array
    """1 / (size of its region), summed over the anomalous pixels (N, K)."""
    regions: Array
    """Connected anomalous regions (N,)."""


@dataclass(frozen=True)
class ClassImages:
    """What was found of the N test images of a class."""

    keys: tuple[str, ...]
    """Their sample keys."""
    labels: Array
    """0 normal, 1 anomalous (N,)."""
    scores: Array
    """Image scores (N,)."""
    maps: Array
    """Raw anomaly maps (N, h, w) on the grid of the method, from 0 to 255 over `map_range`."""
    map_range: tuple[float, float]
    pixels: PixelBins | None = None
    """None where there are no masks."""
    photographs: Array | None = None
    """Number of the photograph that each image was cut from (N,), uint32; None where no two images have one."""
    texts: Mapping[str, Array] = field(default_factory=dict)
    """Unit text embeddings (M, 2, D), normal first, of M of the images, by what the method calls them."""


@dataclass
class PerImageAccumulator:
    """Collects the results of the images of a class one by one."""

    keys: list[str] = field(default_factory=list)
    photographs: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    maps: list[Array] = field(default_factory=list)
    map_range: tuple[float, float] = (math.inf, -math.inf)
    histograms: list[PixelHistogram] = field(default_factory=list)
    texts: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, key: str, label: int, score: float, raw_map: Array, *, photograph: str | None = None) -> None:
        """Add an image with its map (h, w) on the method's grid.

        The map stays float32: how coarse its steps may be is known when the range of the class is.

        Args:
            key: of the image.
            label: 0 normal, 1 anomalous.
            score: of the image.
            raw_map: its anomaly map.
            photograph: key of the photograph that the image was cut from; None for the image itself.

        Raises:
            ValueError: the map has a score that is NaN, infinite or beyond ±1.2e30. Nothing is added.
        """
        low, high = map_limits(raw_map)
        self.map_range = (min(self.map_range[0], low), max(self.map_range[1], high))
        self.keys.append(key)
        self.photographs.append(photograph or key)
        self.labels.append(label)
        self.scores.append(score)
        self.maps.append(raw_map.astype(np.float32))

    def add_pixels(self, pixels: ImagePixels) -> None:
        """Add the pixels of the map that was evaluated of the image last added, and of its mask."""
        found = pixel_histogram(pixels, max_bins=FINE_BINS)
        # Half as large as float64, and exact for counts of up to 2**24 pixels.
        self.histograms.append(found._replace(**{name: getattr(found, name).astype(np.float32) for name in _SUMS}))

    def add_texts(self, texts: Mapping[str, Array]) -> None:
        """Add the unit text embeddings (B, 2, D) of a batch, as far as there is room.

        Raises:
            ValueError: they have another shape, or values that are NaN or beyond float16. None of them is added.
        """
        for name, embeddings in texts.items():
            with np.errstate(over="ignore"):
                rounded = embeddings.astype(np.float16)
            if rounded.ndim != 3 or rounded.shape[1] != 2 or not np.isfinite(rounded).all():
                raise ValueError(f"text embeddings {name!r} of shape {rounded.shape} are no unit vectors (B, 2, D)")
            kept = self.texts.setdefault(name, [])
            kept.extend(rounded[: TEXT_IMAGES - len(kept)])

    def finish(self) -> ClassImages:
        """Return the class, its maps in 256 steps and its pixels over common bins."""
        distinct, photographs = np.unique(self.photographs, return_inverse=True)
        low, high = self.map_range
        span = high - low if high > low else 1.0
        return ClassImages(
            keys=tuple(self.keys),
            labels=np.array(self.labels, np.uint8),
            scores=np.array(self.scores, np.float64),
            maps=np.stack([_steps(each, low, span) for each in self.maps]),
            map_range=(low, high),
            pixels=_common_bins(self.histograms) if self.histograms else None,
            photographs=photographs.astype(np.uint32) if len(distinct) < len(photographs) else None,
            texts={name: _distinct(np.stack(rows)) for name, rows in self.texts.items()},
        )


def _steps(scores: Array, low: float, span: float) -> npt.NDArray[np.uint8]:
    """Return scores from `low` to `low + span` in 256 steps."""
    return np.rint((scores.astype(np.float64) - low) / span * 255).astype(np.uint8)


def _distinct(embeddings: Array) -> Array:
    """Return the embeddings, or one of them if they are all the same: most methods' text does not see the image."""
    return embeddings[:1] if (embeddings == embeddings[0]).all() else embeddings


def _common_bins(histograms: list[PixelHistogram]) -> PixelBins:
    """Return the pixels of some images over at most `BINS` common bins, about equally full."""
    shift = max(each.shift for each in histograms)
    own = [np.uint32(shift - each.shift) for each in histograms]
    keys = [each.keys >> bits for each, bits in zip(histograms, own, strict=True)]
    positive_keys = [each.positive_keys >> bits for each, bits in zip(histograms, own, strict=True)]
    grid = np.unique(np.concatenate(keys))
    # The bins are chosen on sums over the images: a row per image on the whole grid would be large.
    pixels = _sums_at(np.searchsorted(grid, np.concatenate(keys)), [each.counts for each in histograms], len(grid))
    places = np.searchsorted(grid, np.concatenate(positive_keys))
    positives = _sums_at(places, [each.positive_counts for each in histograms], len(grid))
    weights = _sums_at(places, [each.positive_weights for each in histograms], len(grid))
    sides = (pixels - positives, positives, weights)
    mass = np.cumsum(sum(side / max(side.sum(), 1) for side in sides))
    starts = np.unique(np.searchsorted(mass, np.linspace(0, mass[-1], BINS, endpoint=False), side="right"))
    lowest = grid[starts]
    bins = PixelBins(
        negatives=np.zeros((len(histograms), len(starts)), np.uint32),
        positives=np.zeros((len(histograms), len(starts)), np.uint32),
        weights=np.zeros((len(histograms), len(starts)), np.float32),
        regions=np.array([each.regions for each in histograms], np.uint32),
    )
    for row, each in enumerate(histograms):
        columns = np.searchsorted(lowest, keys[row], side="right") - 1
        of_positives = np.searchsorted(lowest, positive_keys[row], side="right") - 1
        bins.positives[row] = _sums_at(of_positives, [each.positive_counts], len(starts))
        bins.negatives[row] = _sums_at(columns, [each.counts], len(starts)) - bins.positives[row]
        bins.weights[row] = _sums_at(of_positives, [each.positive_weights], len(starts))
    return bins


def _sums_at(places: Array, values: Sequence[Array], count: int) -> npt.NDArray[np.float64]:
    """Return the sums (count,) of some values by their places."""
    return np.bincount(places, weights=np.concatenate(values), minlength=count).astype(np.float64, copy=False)


def write_per_image(file: IO[bytes], classes: Mapping[str, ClassImages]) -> None:
    """Write arrays in a compressed archive, as numpy's `savez_compressed` does; nothing has to be unpickled.

    Args:
        file: open for writing.
        classes: by name. Each is asked for when the one before it is written, so that they need not be in memory
            together.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in _arrays(classes):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _arrays(classes: Mapping[str, ClassImages]) -> Iterator[tuple[str, Array]]:
    yield "classes", np.array(list(classes), dtype=np.str_)
    for index, images in enumerate(classes.values()):
        yield f"{index}/keys", np.array(images.keys, dtype=np.str_)
        yield f"{index}/labels", images.labels
        yield f"{index}/scores", images.scores
        yield f"{index}/maps", images.maps
        yield f"{index}/map_range", np.array(images.map_range)
        for name, embeddings in images.texts.items():
            yield f"{index}/texts/{name}", embeddings
        if images.photographs is not None:
            yield f"{index}/photographs", images.photographs
        if images.pixels is not None:
            for name, array in vars(images.pixels).items():
                yield f"{index}/pixels/{name}", array


def to_bytes(classes: Mapping[str, ClassImages]) -> bytes:
    """Return what `write_per_image` writes."""
    file = io.BytesIO()
    write_per_image(file, classes)
    return file.getvalue()


def read_per_image(path: Path, sha256: str) -> dict[str, ClassImages]:
    """Read the results per image of a record, by class.

    Args:
        path: the file.
        sha256: what its record says of it.

    Raises:
        PerImageError: it is missing, or not what its record speaks of.
    """
    try:
        content = read_limited(path, IMAGES_LIMIT)
    except OSError as error:
        raise PerImageError(f"{path}: {error.strerror or error}; run with --force to redo the cell") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PerImageError(f"{path}: not the file that its record speaks of; run with --force to redo the cell")
    try:
        return from_bytes(content)
    except ValueError as error:
        raise PerImageError(f"{path}: not results per image ({error}); run with --force to redo the cell") from None


def from_bytes(content: bytes) -> dict[str, ClassImages]:
    """Return what `to_bytes` was given.

    Raises:
        ValueError: the content is another, its arrays do not go together, or would be larger than `IMAGES_LIMIT`.
    """
    try:
        check_archive(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["classes"]]
            return {name: _class_images(arrays, f"{index}/") for index, name in enumerate(names)}
    except Exception as error:  # on broken bytes zipfile and zlib raise types of their own
        raise ValueError(str(error) or type(error).__name__) from error


def check_archive(content: bytes) -> None:
    """Refuse arrays that would be too large, or larger than what is there, before any of them is unpacked."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if (size := sum(entry.file_size for entry in entries)) > IMAGES_LIMIT:
            raise ValueError(f"{size:,} bytes when unpacked, more than the limit of {IMAGES_LIMIT:,}")
        for entry in entries:
            with archive.open(entry) as file:
                major, _ = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                if file.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
                    raise ValueError(f"{entry.filename} says it has the shape {shape}, which it has not")


def _class_images(arrays: Mapping[str, Array], prefix: str) -> ClassImages:
    found = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    low, high = found["map_range"].tolist()
    parts = {name: found.get(f"pixels/{name}") for name in PixelBins.__dataclass_fields__}
    images = ClassImages(
        keys=tuple(found["keys"].tolist()),
        labels=found["labels"],
        scores=found["scores"],
        maps=found["maps"],
        map_range=(low, high),
        pixels=None if parts["regions"] is None else PixelBins(**parts),  # type: ignore[arg-type]
        photographs=found.get("photographs"),
        texts={name.removeprefix("texts/"): array for name, array in found.items() if name.startswith("texts/")},
    )
    _check(images)
    return images


def _check(images: ClassImages) -> None:
    """Refuse arrays that do not go together, which a record may speak of when neither was made here."""
    count = len(images.keys)
    wanted = {"labels": ("u", 1), "scores": ("f", 1), "maps": ("u", 3)}
    arrays = {name: (getattr(images, name), *form) for name, form in wanted.items()}
    if images.photographs is not None:
        arrays["photographs"] = (images.photographs, "u", 1)
    if images.pixels is not None:
        forms = {"negatives": ("u", 2), "positives": ("u", 2), "weights": ("f", 2), "regions": ("u", 1)}
        arrays |= {name: (getattr(images.pixels, name), *form) for name, form in forms.items()}
        bins = {array.shape[1:] for array in (images.pixels.negatives, images.pixels.positives, images.pixels.weights)}
        if len(bins) > 1 or (0,) in bins:
            raise ValueError(f"pixels have bins of the shapes {sorted(bins)}")
    for name, (array, kind, dimensions) in arrays.items():
        if array.dtype.kind != kind or array.ndim != dimensions or len(array) != count or not array.size:
            raise ValueError(f"{name} are {array.dtype} of the shape {array.shape}, and there are {count} images")
        if kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} hold values that are no finite numbers")
    for name, array in images.texts.items():
        if array.dtype.kind != "f" or array.ndim != 3 or array.shape[1] != 2 or not np.isfinite(array).all():
            raise ValueError(f"texts {name} are {array.dtype} of the shape {array.shape}")
    if images.labels.max() > 1 or len(set(images.keys)) != count or not np.isfinite(images.map_range).all():
        raise ValueError("a label is neither 0 nor 1, a key comes twice, or the range of the maps is none")
