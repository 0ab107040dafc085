"""The gallery: which images of a class are shown, in which order, and their small pictures."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data import ImageError, Sample, SampleSet, read_image, read_mask
from benchmark.metrics import ClassImages
from benchmark.protocol import Protocol

WORST, BEST = 3, 1
"""Of each label and method, so many images that it ranks worst and best are shown."""
PHOTO = 176
"""Longer side of a photo in pixels."""
GRID = 40
"""Longest side of a map; larger ones are made smaller."""
QUALITY = 70

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Heat:
    """What a method says of an image."""

    title: str
    score: str
    right: int
    """On the right side of so many images of the other kind."""
    others: int
    """Of so many."""
    rank: int
    """Of all images of the class, 1 the most anomalous."""
    map: str
    """Base64 of 8-bit values, row by row, over the method's range in the class."""
    height: int
    width: int


@dataclass(frozen=True)
class Case:
    """An image of the gallery."""

    key: str
    label: int
    defect: str
    photo: str
    """File name."""
    width: int
    height: int
    mask: str | None
    """A data URI: white where the defect is; None where there is none."""
    heats: tuple[Heat, ...]
    wrong: tuple[float, ...]
    """How wrong by the mean over the methods, then by each method; the higher the worse."""


@dataclass(frozen=True)
class Cases:
    """The images of a class that are shown, with their files."""

    shown: tuple[Case, ...]
    photos: dict[str, bytes]
    problems: tuple[str, ...]


def wrongness(scores: Array, labels: npt.NDArray[np.uint8]) -> Array:
    """Return how wrong each image (N,) is ranked: the share of images of the other label on its wrong side.

    Its mean over the images of a label is 1 − AUROC; images on the same score count half. Where that is equal, the
    share of all images counts a little, so that of two anomalous images the one with the lower score is the worse.
    """
    below = (scores[None, :] < scores[:, None]).mean(axis=1) + (scores[None, :] == scores[:, None]).mean(axis=1) / 2
    side = np.where(labels == 1, 1 - below, below)
    wrong = 1 - shares_right(scores, labels)
    made: Array = np.where(np.isnan(wrong), side, wrong) + 1e-3 * side
    return made


def shares_right(scores: Array, labels: npt.NDArray[np.uint8]) -> Array:
    """Return for each image (N,) the share of those of the other label on its right side, NaN without any."""
    ahead = scores[:, None] - scores[None, :]
    ahead = np.where(labels[:, None] == 1, ahead, -ahead)
    right = (ahead > 0) + 0.5 * (ahead == 0)
    other = labels[:, None] != labels[None, :]
    count = other.sum(axis=1)
    found: Array = np.divide((right * other).sum(axis=1), count, out=np.full(len(scores), np.nan), where=count > 0)
    return found


def choose(wrong: Array, labels: npt.NDArray[np.uint8]) -> list[int]:
    """Return the images to show of those whose wrongness is given, (methods, N), the worst on the mean first."""
    chosen: set[int] = set()
    for of_method in [*wrong, wrong.mean(axis=0)]:
        order = np.argsort(-of_method, kind="stable")
        for label in (0, 1):
            same = [int(index) for index in order if labels[index] == label]
            chosen |= {*same[:WORST], *same[len(same) - BEST :]}
    mean = wrong.mean(axis=0)
    return sorted(chosen, key=lambda index: (-mean[index], index))


def cases(images: Mapping[str, ClassImages], samples: SampleSet, protocol: Protocol, *, stem: str) -> Cases:
    """Return the images of a class that are shown.

    Args:
        images: of the class, by method.
        samples: of the dataset; images that are not among them, or cannot be read, are left out.
        protocol: how masks are read.
        stem: of the photos' file names.
    """
    first = next(iter(images.values()))
    places = {title: {key: index for index, key in enumerate(each.keys)} for title, each in images.items()}
    keys = [key for key in first.keys if all(key in place for place in places.values())]
    if not keys:
        return Cases((), {}, ())
    labels = first.labels[[places[next(iter(images))][key] for key in keys]]
    rows = {title: [places[title][key] for key in keys] for title in images}
    scores = {title: each.scores[rows[title]] for title, each in images.items()}
    wrong = np.stack([wrongness(each, labels) for each in scores.values()])
    by_key = {sample.key: sample for sample in samples.test}
    made: list[Case] = []
    photos: dict[str, bytes] = {}
    problems: list[str] = []
    for index in choose(wrong, labels):
        sample = by_key.get(keys[index])
        if sample is None:
            problems.append(f"{keys[index]}: not in {samples.directory.name}")
            continue
        try:
            photo = read_image(sample.path, sample.piece)
            mask = mask_of(sample, samples, protocol, photo.size)
        except ImageError as error:
            problems.append(str(error))
            continue
        small = shrink(photo, PHOTO)
        name = f"{stem}-{len(made):02d}.webp"
        photos[name] = webp(small)
        made.append(
            Case(
                key=keys[index],
                label=int(labels[index]),
                defect=sample.defect,
                photo=name,
                width=small.width,
                height=small.height,
                mask=None if mask is None else mask_uri(mask, small.size),
                heats=tuple(
                    _heat(title, images[title].maps[rows[title][index]], scores[title], labels, index)
                    for title in images
                ),
                wrong=tuple(round(float(each), 5) for each in (wrong[:, index].mean(), *wrong[:, index])),
            )
        )
    return Cases(tuple(made), photos, tuple(problems))


def _heat(title: str, raw_map: npt.NDArray[np.uint8], scores: Array, labels: npt.NDArray[np.uint8], index: int) -> Heat:
    others = int((labels != labels[index]).sum())
    share = shares_right(scores, labels)[index]
    grid = Image.fromarray(raw_map)
    grid.thumbnail((GRID, GRID), Image.Resampling.BOX)
    return Heat(
        title=title,
        score=f"{scores[index]:.3g}",
        right=0 if not others else round(float(share) * others),
        others=others,
        rank=1 + int((scores > scores[index]).sum()),
        map=base64.b64encode(grid.tobytes()).decode(),
        height=grid.height,
        width=grid.width,
    )


def mask_of(
    sample: Sample, samples: SampleSet, protocol: Protocol, size: tuple[int, int]
) -> npt.NDArray[np.bool_] | None:
    """Return the mask of an anomalous image whose size is given, None where there is none.

    Raises:
        ImageError: it cannot be read.
    """
    if sample.mask is None or not samples.has_masks or not sample.label:
        return None
    threshold = protocol.mask_threshold(samples.layout.mask_threshold)
    return read_mask(sample.mask, threshold=threshold, piece=sample.piece, size=size)


def shrink(image: Image.Image, longer: int) -> Image.Image:
    """Return the image with a longer side of at most so many pixels."""
    scale = min(1.0, longer / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image if scale == 1 else image.resize((width, height), Image.Resampling.LANCZOS)


def webp(image: Image.Image) -> bytes:
    """Return the image as a small file."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def mask_uri(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> str:
    """Return a mask as a data URI, an image of two colours of the given width and height."""
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    grey.point([0] * 64 + [255] * 192).convert("1").save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def by_method(
    titles: Sequence[str], found: Mapping[str, Mapping[str, ClassImages] | None], class_name: str
) -> dict[str, ClassImages]:
    """Return the results per image of a class by method, without methods that have none."""
    return {title: images[class_name] for title in titles if (images := found.get(title)) and class_name in images}
