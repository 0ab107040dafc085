"""How AA-CLIP changes training images: the colours of pictures, and the geometry of images with their masks."""

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from benchmark.contract import Others, Picture

COLOURS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
COLOUR_PROBABILITY, COLOUR_RANGE = 0.7, 0.5
"""Each colour property is multiplied by a factor of `1 ± COLOUR_RANGE` with this probability."""
DEGREES, SHIFT = 30.0, 0.15
"""Most degrees of a rotation, and largest shift as part of a side. Rotation, shift and each flip happen to every second
image."""


def jittered(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
    """Return a picture whose brightness, contrast and saturation are changed."""
    image = Image.fromarray(picture.image)
    for enhance in COLOURS:
        if generator.random() < COLOUR_PROBABILITY:
            image = enhance(image).enhance(generator.uniform(1 - COLOUR_RANGE, 1 + COLOUR_RANGE))
    return Picture(np.asarray(image), picture.mask, picture.label, picture.class_name, picture.kind)


def moved(images: Tensor, masks: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return images, each rotated, shifted and flipped together with its mask. Both are 0 where nothing was.

    Args:
        images: Normalised images of shape `(B, 3, S, S)`.
        masks: Masks of shape `(B, S, S)`.
        seed: Seed of what is drawn.
    """
    generator = np.random.default_rng(seed)
    both = torch.cat([images, masks[:, None]], dim=1)
    changed = torch.stack([_moved(one, generator) for one in both])
    return changed[:, :-1], changed[:, -1]


def _moved(image: Tensor, generator: np.random.Generator) -> Tensor:
    """Return an image of shape `(C, S, S)` that is rotated, shifted and flipped."""
    from torchvision.transforms.v2.functional import affine  # a slow import

    side = image.shape[-1]
    turn, shift, *flips = generator.random(4) < 0.5
    angle = generator.uniform(-DEGREES, DEGREES)
    across, down = np.round(generator.uniform(-SHIFT, SHIFT, 2) * side).tolist()
    for wanted, by, translate in ((turn, angle, (0.0, 0.0)), (shift, 0.0, (across, down))):
        if wanted:  # in two steps, as there: what a rotation moves out of the image does not come back
            image = affine(image, by, list(translate), scale=1.0, shear=[0.0, 0.0])
    return image.flip([axis for axis, wanted in zip((2, 1), flips, strict=True) if wanted])
