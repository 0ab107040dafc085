"""Mosaics of four images of a class, with which APRIL-GAN and AdaCLIP train on MVTec AD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.contract import Augmentation, Others, Picture

DATASET = "mvtec"
"""The dataset whose images are replaced by mosaics in both codes."""

Draw: TypeAlias = Callable[[Mapping[str, Sequence[int]], np.random.Generator], Sequence[int]]
"""Draws the places of four images from those of a class, which are given by kind of defect."""


def by_kind(kinds: Mapping[str, Sequence[int]], generator: np.random.Generator) -> list[int]:
    """Draw a kind of defect (or the normal images), then one of its images, four times, with replacement."""
    of_kind, drawn = list(kinds.values()), []
    for _ in range(4):
        places = of_kind[int(generator.integers(len(of_kind)))]
        drawn.append(places[int(generator.integers(len(places)))])
    return drawn


def distinct(kinds: Mapping[str, Sequence[int]], generator: np.random.Generator) -> list[int]:
    """Draw four distinct images. Where a class has fewer, they repeat."""
    places = [place for of_kind in kinds.values() for place in of_kind]
    chosen: list[int] = generator.choice(places, 4, replace=len(places) < 4).tolist()
    return chosen


def mosaics(
    probability: float, auxiliaries: Sequence[str], draw: Draw, *, keep_label: bool = False
) -> Augmentation | None:
    """Return what replaces images of MVTec AD by mosaics of their class; None where no image is ever replaced.

    Args:
        probability: Probability that an image is replaced.
        auxiliaries: Names of the datasets that are trained on.
        draw: How the four images are drawn.
        keep_label: Whether a mosaic keeps the label of the image that it replaces, whatever is in it. Otherwise it is
            anomalous if one of the four is.
    """
    if not probability or DATASET not in auxiliaries:
        return None

    def augment(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
        if picture.class_name.dataset != DATASET or generator.random() >= probability:
            return picture
        cells = [others.read(place) for place in draw(others.kinds, generator)]
        label = picture.label if keep_label else max(cell.label for cell in cells)
        image, mask = mosaic(cells)
        return replace(picture, image=image, mask=mask, label=label)

    return augment


def mosaic(cells: Sequence[Picture]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return image and mask of four pictures in two rows, each as large as the first one.

    In MVTec AD the images of a class are equally large. Others are resized, where the codes cut them off or leave gaps.
    """
    height, width = cells[0].mask.shape

    def resized(pixels: npt.NDArray[np.uint8], how: Image.Resampling) -> npt.NDArray[np.uint8]:
        return np.asarray(Image.fromarray(pixels).resize((width, height), how))

    images = [resized(cell.image, Image.Resampling.BICUBIC) for cell in cells]
    masks = [resized(cell.mask * np.uint8(255), Image.Resampling.BILINEAR) for cell in cells]
    return _in_two_rows(images), _in_two_rows(masks) > 127


def _in_two_rows(cells: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return np.vstack([np.hstack(cells[:2]), np.hstack(cells[2:])])
