"""The images on which a method is checked: random ones, or a few of a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.contract import ClassName, Picture
from benchmark.data import MaskRule, Preprocess, Sample, SampleSet, read_sample, references, resize_mask
from benchmark.errors import BenchError
from benchmark.protocol import Protocol


@dataclass(frozen=True)
class CheckImages:
    """B ≥ 4 images of side S with labels and masks, and reference images for few-shot methods."""

    images: Tensor
    """Images of shape `(B, 3, S, S)` for `Backbone.encode_images`."""
    class_names: tuple[ClassName, ...]
    """Class name of each image; there are at least two different names."""
    labels: Tensor
    """Labels of shape `(B,)`: 0 for normal, 1 for anomalous."""
    masks: Tensor
    """Masks of shape `(B, S, S)`, float32, 1 where an image is anomalous."""
    pictures: tuple[Picture, ...]
    """Images of the same classes with their masks, as large as they are before they are resized."""
    references: tuple[Tensor, ...] = ()
    """Normal images of shape `(k, 3, S, S)` of each of two classes; empty if k is 0."""


ImageSource = Callable[[int, int], CheckImages]
"""Returns the images for an image size S and a number of shots k."""


def random_images(image_size: int, shots: int) -> CheckImages:
    """Return six random images of two classes. They need no dataset.

    Args:
        image_size: Side S of the images in pixels.
        shots: Number k of reference images per class.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (3, image_size, image_size)
    masks = torch.zeros(6, image_size, image_size)
    masks[3:, : image_size // 2, : image_size // 3] = 1
    nut = ClassName("metal nut", folder="metal_nut", dataset="mvtec", domain="industrial")
    names, labels = (nut, ClassName("carpet", dataset="mvtec", domain="industrial")) * 3, (0, 0, 0, 1, 1, 1)
    return CheckImages(
        images=torch.randn(6, *shape, generator=generator),
        class_names=names,
        labels=torch.tensor(labels),
        masks=masks,
        pictures=tuple(_random_picture(place, *each) for place, each in enumerate(zip(names, labels, strict=True))),
        references=tuple(torch.randn(shots, *shape, generator=generator) for _ in range(2 if shots else 0)),
    )


def _random_picture(place: int, name: ClassName, label: int) -> Picture:
    height, width = ((24, 36), (36, 24), (30, 30))[place % 3]
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[: height // 2, : width // 3] = bool(label)
    pixels = np.random.default_rng(place).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(pixels, mask, label, name, ("scratch", "hole")[place % 2] if label else "")


def dataset_images(data: SampleSet, image_size: int, shots: int, *, each: int = 2) -> CheckImages:
    """Return two or more normal and anomalous test images of each of the first two classes of a dataset.

    Args:
        data: A dataset with masks.
        image_size: Side S of the images in pixels.
        shots: Number k of reference images per class.
        each: Largest number of normal, and of anomalous, images of a class.

    Raises:
        BenchError: If the dataset has too few images, or if an image cannot be read.
    """
    classes = list(dict.fromkeys(sample.class_name for sample in data.test))[:2]
    groups = [
        [sample for sample in data.test if (sample.class_name, sample.label) == (name, label)][:each]
        for name in classes
        for label in (0, 1)
    ]
    drawn = [references(data, shots, seed=0)[name] for name in classes]
    if len(groups) != 4 or min(map(len, groups)) < 2 or any(len(shown) < shots for shown in drawn):
        raise BenchError(f"{data.directory}: too few images for a check of two classes and {shots} shots")
    pictures = tuple(_picture(sample, data) for group in groups for sample in group)
    masks = [torch.from_numpy(resize_mask(picture.mask, image_size)).float() for picture in pictures]
    return CheckImages(
        images=_stacked(pictures, image_size),
        class_names=tuple(picture.class_name for picture in pictures),
        labels=torch.tensor([picture.label for picture in pictures]),
        masks=torch.stack(masks),
        pictures=pictures,
        references=tuple(_stacked([_picture(sample, data) for sample in shown], image_size) for shown in drawn)
        if shots
        else (),
    )


def _picture(sample: Sample, data: SampleSet) -> Picture:
    image, mask = read_sample(sample, MaskRule(data.layout.mask_threshold), data.ranges)
    if mask is None:
        mask = np.zeros((image.height, image.width), dtype=np.bool_)
    return Picture(np.asarray(image), mask, sample.label, Protocol().class_name(sample, data.card), sample.defect)


def _stacked(pictures: Sequence[Picture], image_size: int) -> Tensor:
    """Return the pixels of images of shape `(B, 3, S, S)`, uint8."""
    preprocess = Preprocess(image_size)
    return torch.stack([torch.from_numpy(preprocess(Image.fromarray(each.image))) for each in pictures])
