"""The gallery: the images of a class that are shown, their order, and their reduced photos and maps."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data import ImageError, SampleSet, read_image
from benchmark.metrics import ClassImages
from benchmark.protocol import Protocol
from benchmark.report.class_images import common_images
from benchmark.report.images.contours import contours, svg_path
from benchmark.report.images.photos import PHOTO_SIZE, THUMBNAIL_SIZE, mask_of, shrink, webp
from benchmark.report.images.scale import Reference, colour_levels, normal_values, reference_of

WORST, BEST = 3, 1
"""Number of images that are chosen per label and method: those with the worst and those with the best ranking."""
MOST = 24
"""Number of images that are shown at most, besides those that other pages link to."""
MAP_SIZE = 40
"""Longer side of a stored map in values; larger maps are reduced."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MethodScale:
    """The maps of one method in the class."""

    title: str
    height: int
    """Height of its maps in values."""
    width: int
    first: int
    """Number of values of its maps that have no colour, since they are too low."""
    levels: str
    """Base64 of the colours, from 1 to 255, of the values from `first` on, see `colour_levels`; values beyond have the
    last colour, 255."""


@dataclass(frozen=True)
class MethodResult:
    """Score and map of one method for one image."""

    score: str
    right: float
    """Number of images of the other label that are ranked on the correct side of this one."""
    rank: int
    """Rank among all images of the class; 1 has the highest anomaly score."""
    map: bytes
    """8-bit map, row by row, scaled to the range of the method's maps in the class."""


@dataclass(frozen=True)
class GalleryImage:
    """An image of the gallery."""

    key: str
    label: int
    """0 for a normal, 1 for an anomalous image."""
    defect: str
    photo: str
    """File name of the photo."""
    large: str
    """File name of the enlarged photo; the same one if the image is not larger."""
    width: int
    """Width of the photo in pixels."""
    height: int
    contour: str | None
    """Contour of the ground truth as data of an SVG path, see `svg_path`; None if there is no mask."""
    results: tuple[MethodResult, ...]
    """One for each method."""
    errors: tuple[float, ...]
    """Ranking error (see `ranking_errors`): the mean over the methods, then the error of each method."""


@dataclass(frozen=True)
class Gallery:
    """The images of a class that are shown, with their photos."""

    shown: tuple[GalleryImage, ...] = ()
    photos: Mapping[str, bytes] = field(default_factory=dict)
    """Content of the photos by file name."""
    problems: tuple[str, ...] = ()
    """Messages about images that could not be shown."""
    methods: tuple[MethodScale, ...] = ()
    normal: int = 0
    """Number of normal images of the class that all methods have a result of."""
    anomalous: int = 0
    reference: Reference = Reference.ALL
    """The pixels that count as normal."""

    @property
    def data(self) -> dict[str, Any]:
        """What the scripts of a page draw the tiles from, as JSON: the methods, and the images in order.

        The place of an image counts the smaller ranking errors among the images shown: in the mean over the methods,
        then of each method.
        """
        columns = np.array([image.errors for image in self.shown]).T
        places = [np.unique(column, return_inverse=True)[1].tolist() for column in columns]
        return {
            "methods": [vars(each) for each in self.methods],
            "normal": self.normal,
            "anomalous": self.anomalous,
            "images": [
                {
                    "key": image.key,
                    "label": image.label,
                    "photo": image.photo,
                    "large": image.large,
                    "contour": image.contour,
                    "places": [column[index] for column in places],
                    # Lists with a value for each method are shorter than an object for each.
                    **{name: [getattr(each, name) for each in image.results] for name in ("score", "right", "rank")},
                    "maps": base64.b64encode(b"".join(each.map for each in image.results)).decode(),
                }
                for index, image in enumerate(self.shown)
            ],
        }


def ranking_errors(scores: Array, labels: npt.NDArray[np.uint8]) -> Array:
    """Return how badly each image is ranked, from 0 to 1, plus a term of at most 0.001 that breaks ties.

    The error is the fraction of images with the other label that are ranked on the wrong side of the image. Images
    with equal scores count half. The mean of the errors over the images of one label is 1 − AUROC. If two images have
    the same error, the small term puts the anomalous image with the lower score (the normal image with the higher
    score) first.

    Args:
        scores: Anomaly scores of shape `(N,)`.
        labels: Labels of shape `(N,)`, 0 or 1.

    Returns:
        Errors of shape `(N,)`.
    """
    lower, equal = _lower_and_equal(scores, scores)
    below = lower / len(scores) + equal / len(scores) / 2
    side = np.where(labels == 1, 1 - below, below)
    wrong = 1 - fractions_right(scores, labels)
    errors: Array = np.where(np.isnan(wrong), side, wrong) + 1e-3 * side
    return errors


def fractions_right(scores: Array, labels: npt.NDArray[np.uint8]) -> Array:
    """Return, for each image, the fraction of images with the other label that are ranked on its correct side.

    Args:
        scores: Anomaly scores of shape `(N,)`.
        labels: Labels of shape `(N,)`, 0 or 1.

    Returns:
        Fractions of shape `(N,)`; NaN if no image has the other label.
    """
    found = np.full(len(scores), np.nan)
    for label in (0, 1):
        own, others = labels == label, scores[labels != label]
        if len(others):
            lower, equal = _lower_and_equal(scores[own], others)
            ahead = lower + equal / 2
            found[own] = (ahead if label == 1 else len(others) - ahead) / len(others)
    return found


def _lower_and_equal(scores: Array, others: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return, for each score, how many of some other scores are lower, and how many are equal."""
    ordered = np.sort(others)
    lower, upto = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return lower, upto - lower


def select_images(errors: Array, labels: npt.NDArray[np.uint8], *, also: Collection[int] = ()) -> list[int]:
    """Return the indices of the images to show, the largest mean error first.

    For each method, for the mean over the methods, and for each label these are the `WORST` images with the largest
    and the `BEST` images with the smallest error. If they are more than `MOST`, those of the mean come first, then the
    worst and the best one of each method, then its further ones.

    Args:
        errors: Ranking errors of shape `(methods, N)`.
        labels: Labels of shape `(N,)`, 0 or 1.
        also: Indices that are chosen in any case; they do not count.
    """
    mean = errors.mean(axis=0)
    turns: dict[int, list[int]] = {}
    for of_method in [mean, *errors]:
        order = np.argsort(-of_method, kind="stable")
        for label in (0, 1):
            same = [int(index) for index in order if labels[index] == label]
            chosen = [*same[:1], *same[len(same) - BEST :], *same[1:WORST]]
            for turn, index in enumerate(chosen):
                turns.setdefault(0 if of_method is mean else 1 + turn, []).append(index)
    by_turn = [index for turn in sorted(turns) for index in turns[turn]]
    shown = {*also, *list(dict.fromkeys(by_turn))[:MOST]}
    return sorted(shown, key=lambda index: (-mean[index], index))


def class_gallery(
    images: Mapping[str, ClassImages],
    samples: SampleSet,
    protocol: Protocol,
    *,
    stem: str,
    also: Collection[str] = (),
) -> Gallery:
    """Return the gallery of a class.

    Args:
        images: Results per image of the class, by method.
        samples: Samples of the dataset. Images that are not among them or cannot be read are left out.
        protocol: Protocol of the records; it decides how masks are read.
        stem: Start of the photos' file names.
        also: Keys of images that the gallery shows in any case, since other pages link to them. Other keys are ignored.
    """
    common = common_images(images)
    keys, labels, rows = common.keys, common.labels, common.rows
    if not keys:
        return Gallery()
    scores = {title: each.scores[rows[title]] for title, each in images.items()}
    errors = np.stack([ranking_errors(each, labels) for each in scores.values()])
    fractions = {title: fractions_right(each, labels) for title, each in scores.items()}
    by_key = {sample.key: sample for sample in samples.test}
    shown: list[GalleryImage] = []
    photos: dict[str, bytes] = {}
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    problems: list[str] = []
    linked = [index for index, key in enumerate(keys) if key in also]
    for index in select_images(errors, labels, also=linked):
        key = keys[index]
        sample = by_key.get(key)
        if sample is None:
            problems.append(f"{key}: not in {samples.directory.name}")
            continue
        try:
            photo = read_image(sample.path, sample.piece, samples.ranges)
            mask = mask_of(sample, samples, protocol, photo.size)
        except ImageError as error:
            problems.append(str(error))
            continue
        if mask is not None and labels.all():  # else they are not asked for, and many large masks need much memory
            masks[key] = mask
        small, name = shrink(photo, THUMBNAIL_SIZE), f"{stem}-{len(shown):02d}"
        photos[f"{name}.webp"] = webp(small)
        large = f"{name}.webp" if small.size == photo.size else f"{name}-large.webp"
        if large not in photos:
            photos[large] = webp(shrink(photo, PHOTO_SIZE))
        shown.append(
            GalleryImage(
                key=key,
                label=int(labels[index]),
                defect=sample.defect,
                photo=f"{name}.webp",
                large=large,
                width=small.width,
                height=small.height,
                contour=None if mask is None else svg_path(contours(mask), photo.size),
                results=tuple(
                    _method_result(
                        images[title].maps[rows[title][index]],
                        scores[title],
                        index,
                        fraction=float(fractions[title][index]),
                        others=int((labels != labels[index]).sum()),
                    )
                    for title in images
                ),
                errors=tuple(round(float(each), 5) for each in (errors[:, index].mean(), *errors[:, index])),
            )
        )
    reference = reference_of(images.values(), masks)
    return Gallery(
        shown=tuple(shown),
        photos=photos,
        problems=tuple(problems),
        methods=tuple(
            _method_scale(title, each, colour_levels(normal_values(each, masks, reference)))
            for title, each in images.items()
        ),
        normal=int((labels == 0).sum()),
        anomalous=int((labels == 1).sum()),
        reference=reference,
    )


def _method_scale(title: str, images: ClassImages, levels: npt.NDArray[np.uint8]) -> MethodScale:
    grid = _reduced(images.maps[0])
    first, end = np.searchsorted(levels, [1, 255])  # they ascend, so the rest need not be kept
    kept = base64.b64encode(levels[first:end].tobytes()).decode()
    return MethodScale(title, grid.height, grid.width, int(first), kept)


def _method_result(
    raw_map: npt.NDArray[np.uint8], scores: Array, index: int, *, fraction: float, others: int
) -> MethodResult:
    return MethodResult(
        score=f"{scores[index]:.3g}",
        right=0 if not others else _half(fraction * others),
        rank=1 + int((scores > scores[index]).sum()),
        map=_reduced(raw_map).tobytes(),
    )


def _half(count: float) -> float:
    """Return a count in which equal scores are halves, as an integer where it is one."""
    halves = round(2 * count)
    return halves / 2 if halves % 2 else halves // 2


def _reduced(raw_map: npt.NDArray[np.uint8]) -> Image.Image:
    grid = Image.fromarray(raw_map)
    grid.thumbnail((MAP_SIZE, MAP_SIZE), Image.Resampling.BOX)
    return grid
