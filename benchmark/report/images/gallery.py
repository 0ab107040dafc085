"""The gallery: the images of a class that are shown, their order, and their reduced photos and maps."""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data import ImageError, Sample, SampleSet, read_image, read_mask
from benchmark.metrics import ClassImages
from benchmark.protocol import Protocol

WORST, BEST = 3, 1
"""Number of images that are shown per label and method: those with the worst and those with the best ranking."""
PHOTO_SIZE = 176
"""Longer side of a photo in pixels."""
MAP_SIZE = 40
"""Longer side of a stored map in values; larger maps are reduced."""
QUALITY = 70
"""Quality of the WebP files, from 0 to 100."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MethodResult:
    """Score and map of one method for one image."""

    title: str
    score: str
    right: int
    """Number of images of the other label that are ranked on the correct side of this one."""
    others: int
    """Number of images of the other label."""
    rank: int
    """Rank among all images of the class; 1 has the highest anomaly score."""
    map: str
    """Base64 of the 8-bit map, row by row, scaled to the range of the method's maps in the class."""
    height: int
    width: int


@dataclass(frozen=True)
class GalleryImage:
    """An image of the gallery."""

    key: str
    label: int
    """0 for a normal, 1 for an anomalous image."""
    defect: str
    photo: str
    """File name of the photo."""
    width: int
    height: int
    mask: str | None
    """Data URI of the mask, white where the image is anomalous; None if there is no mask."""
    results: tuple[MethodResult, ...]
    errors: tuple[float, ...]
    """Ranking error (see `ranking_errors`): the mean over the methods, then the error of each method."""


@dataclass(frozen=True)
class Gallery:
    """The images of a class that are shown, with their photos."""

    shown: tuple[GalleryImage, ...]
    photos: dict[str, bytes]
    """Content of the photos by file name."""
    problems: tuple[str, ...]
    """Messages about images that could not be shown."""


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
    below = (scores[None, :] < scores[:, None]).mean(axis=1) + (scores[None, :] == scores[:, None]).mean(axis=1) / 2
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
    ahead = scores[:, None] - scores[None, :]
    ahead = np.where(labels[:, None] == 1, ahead, -ahead)
    right = (ahead > 0) + 0.5 * (ahead == 0)
    other = labels[:, None] != labels[None, :]
    count = other.sum(axis=1)
    found: Array = np.divide((right * other).sum(axis=1), count, out=np.full(len(scores), np.nan), where=count > 0)
    return found


def select_images(errors: Array, labels: npt.NDArray[np.uint8], *, also: Collection[int] = ()) -> list[int]:
    """Return the indices of the images to show, the largest mean error first.

    For each method, for the mean over the methods, and for each label these are the `WORST` images with the largest
    and the `BEST` images with the smallest error.

    Args:
        errors: Ranking errors of shape `(methods, N)`.
        labels: Labels of shape `(N,)`, 0 or 1.
        also: Indices that are chosen in any case.
    """
    chosen = set(also)
    for of_method in [*errors, errors.mean(axis=0)]:
        order = np.argsort(-of_method, kind="stable")
        for label in (0, 1):
            same = [int(index) for index in order if labels[index] == label]
            chosen |= {*same[:WORST], *same[len(same) - BEST :]}
    mean = errors.mean(axis=0)
    return sorted(chosen, key=lambda index: (-mean[index], index))


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
    first = next(iter(images.values()))
    places = {title: {key: index for index, key in enumerate(each.keys)} for title, each in images.items()}
    keys = [key for key in first.keys if all(key in place for place in places.values())]
    if not keys:
        return Gallery((), {}, ())
    labels = first.labels[[places[next(iter(images))][key] for key in keys]]
    rows = {title: [places[title][key] for key in keys] for title in images}
    scores = {title: each.scores[rows[title]] for title, each in images.items()}
    errors = np.stack([ranking_errors(each, labels) for each in scores.values()])
    by_key = {sample.key: sample for sample in samples.test}
    shown: list[GalleryImage] = []
    photos: dict[str, bytes] = {}
    problems: list[str] = []
    linked = [index for index, key in enumerate(keys) if key in also]
    for index in select_images(errors, labels, also=linked):
        sample = by_key.get(keys[index])
        if sample is None:
            problems.append(f"{keys[index]}: not in {samples.directory.name}")
            continue
        try:
            photo = read_image(sample.path, sample.piece, samples.ranges)
            mask = mask_of(sample, samples, protocol, photo.size)
        except ImageError as error:
            problems.append(str(error))
            continue
        small = shrink(photo, PHOTO_SIZE)
        name = f"{stem}-{len(shown):02d}.webp"
        photos[name] = webp(small)
        shown.append(
            GalleryImage(
                key=keys[index],
                label=int(labels[index]),
                defect=sample.defect,
                photo=name,
                width=small.width,
                height=small.height,
                mask=None if mask is None else mask_uri(mask, small.size),
                results=tuple(
                    _method_result(title, images[title].maps[rows[title][index]], scores[title], labels, index)
                    for title in images
                ),
                errors=tuple(round(float(each), 5) for each in (errors[:, index].mean(), *errors[:, index])),
            )
        )
    return Gallery(tuple(shown), photos, tuple(problems))


def _method_result(
    title: str, raw_map: npt.NDArray[np.uint8], scores: Array, labels: npt.NDArray[np.uint8], index: int
) -> MethodResult:
    others = int((labels != labels[index]).sum())
    fraction = fractions_right(scores, labels)[index]
    grid = Image.fromarray(raw_map)
    grid.thumbnail((MAP_SIZE, MAP_SIZE), Image.Resampling.BOX)
    return MethodResult(
        title=title,
        score=f"{scores[index]:.3g}",
        right=0 if not others else round(float(fraction) * others),
        others=others,
        rank=1 + int((scores > scores[index]).sum()),
        map=base64.b64encode(grid.tobytes()).decode(),
        height=grid.height,
        width=grid.width,
    )


def mask_of(
    sample: Sample, samples: SampleSet, protocol: Protocol, size: tuple[int, int]
) -> npt.NDArray[np.bool_] | None:
    """Return the mask of an anomalous image, or None if the sample has no mask.

    Args:
        sample: The image.
        samples: The dataset that the image belongs to.
        protocol: Protocol of the records; it decides above which grey value a mask pixel is anomalous.
        size: Width and height of the image in pixels.

    Raises:
        ImageError: If the mask cannot be read.
    """
    if sample.mask is None or not samples.has_masks or not sample.label:
        return None
    rule = protocol.mask_rule(samples.layout.mask_threshold)
    return read_mask(sample.mask, rule, piece=sample.piece, size=size, photo=sample.path)


def shrink(image: Image.Image, longer: int) -> Image.Image:
    """Return the image, reduced so that its longer side has at most `longer` pixels."""
    scale = min(1.0, longer / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image if scale == 1 else image.resize((width, height), Image.Resampling.LANCZOS)


def webp(image: Image.Image) -> bytes:
    """Return the content of a WebP file of the image."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def mask_uri(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> str:
    """Return a black and white PNG of a mask, resized to `size` (width, height), as a data URI."""
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    grey.point([0] * 64 + [255] * 192).convert("1").save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def by_method(
    titles: Sequence[str], found: Mapping[str, Mapping[str, ClassImages] | None], class_name: str
) -> dict[str, ClassImages]:
    """Return the results per image of a class by method, without the methods that have none."""
    return {title: images[class_name] for title in titles if (images := found.get(title)) and class_name in images}
