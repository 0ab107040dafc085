"""The images on which a method is checked: random ones, or a few of a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.data import MaskRule, Reading, Sample, SampleSet, load, references, stack
from benchmark.errors import BenchError


@dataclass(frozen=True)
class CheckImages:
    """B ≥ 4 images of side S with labels and masks, and reference images for few-shot methods."""

    images: Tensor
    """Images of shape `(B, 3, S, S)` for `Backbone.encode_images`."""
    class_names: tuple[str, ...]
    """Class name of each image; there are at least two different names."""
    labels: Tensor
    """Labels of shape `(B,)`: 0 for normal, 1 for anomalous."""
    masks: Tensor
    """Masks of shape `(B, S, S)`, float32, 1 where an image is anomalous."""
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
    return CheckImages(
        images=torch.randn(6, *shape, generator=generator),
        class_names=("metal nut", "carpet") * 3,
        labels=torch.tensor([0, 0, 0, 1, 1, 1]),
        masks=masks,
        references=tuple(torch.randn(shots, *shape, generator=generator) for _ in range(2 if shots else 0)),
    )


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
    chosen = [sample for group in groups for sample in group]
    drawn = [references(data, shots, seed=0)[name] for name in classes]
    if len(groups) != 4 or min(map(len, groups)) < 2 or any(len(shown) < shots for shown in drawn):
        raise BenchError(f"{data.directory}: too few images for a check of two classes and {shots} shots")
    images, masks = _read(chosen, data, image_size)
    return CheckImages(
        images=images,
        class_names=tuple(sample.prompt_name for sample in chosen),
        labels=torch.tensor([sample.label for sample in chosen]),
        masks=masks,
        references=tuple(_read(shown, data, image_size)[0] for shown in drawn) if shots else (),
    )


def _read(samples: Sequence[Sample], data: SampleSet, image_size: int) -> tuple[Tensor, Tensor]:
    reading = Reading(
        image_size, masks=MaskRule(data.layout.mask_threshold), batch_size=len(samples), workers=0, ranges=data.ranges
    )
    items = next(load(samples, reading))
    if broken := [item.error for item in items if item.image is None]:
        raise BenchError(broken[0])
    return stack(items), torch.stack([torch.from_numpy(item.mask).float() for item in items])
