"""Photos and masks of test images, reduced for the report."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data import Sample, SampleSet, read_mask
from benchmark.protocol import Protocol

THUMBNAIL_SIZE = 176
"""Longer side of a photo in a list of images, in pixels."""
PHOTO_SIZE = 512
"""Longer side of an enlarged photo in pixels. No photo gets larger than the image that it is made from."""
QUALITY = 70
"""Quality of the WebP files, from 0 to 100."""


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
    image.save(file, "WEBP", quality=QUALITY, method=6)
    return file.getvalue()
