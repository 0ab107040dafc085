"""Images that are in memory already, read as their file would be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.common import printable
from benchmark.data.images import (
    DEEP_MODES,
    ImageError,
    as_8_bit_rgb,
    finite,
    orientation,
    read_image,
    refuse_bomb,
    turned_by,
)
from benchmark.data.ranges import Extremes, Ranges, Values


@dataclass(frozen=True, eq=False)
class ImageInMemory:
    """An image that no file holds."""

    name: str
    """What messages call it."""
    values: Image.Image | Values
    """As `benchmark.data.images.decode` gives it: an image of Pillow, or values of more than 8 bits."""
    orientation: int = 1
    """How it is turned for display, from 1 (not at all) to 8."""

    def __str__(self) -> str:
        return self.name

    @property
    def extremes(self) -> Extremes | None:
        """The smallest and the largest value of an image of more than 8 bits; None of any other."""
        return None if isinstance(self.values, Image.Image) else Extremes.of(self.values)


def image_in_memory(given: object, name: str) -> ImageInMemory:
    """Return an image of Pillow, or an array, as one that can be read.

    Args:
        given: An image of Pillow of any mode; or an array (H, W), grey, or (H, W, 3), red, green and blue, of uint8,
            bool, or, for more than 8 bits, other integers or floats, all finite.
        name: What messages call it.

    Raises:
        ImageError: It is something else, or too large.
    """
    if isinstance(given, Image.Image):
        refuse_bomb(name, given.width, given.height)
        try:
            values: Image.Image | Values = np.asarray(given) if given.mode.startswith(DEEP_MODES) else given
            turned = turned_by(given)
        except (OSError, SyntaxError, ValueError) as error:  # Pillow reads the file of an image when it is first used
            raise ImageError(f"{printable(name)}: cannot be read: {error}") from error
    elif hasattr(given, "__array__"):
        values, turned = _values(np.asarray(given), name), 1
    else:
        raise ImageError(f"{name}: a {type(given).__name__} is no image; give a path, an image of Pillow, or an array")
    return ImageInMemory(name, values if isinstance(values, Image.Image) else finite(name, values), turned)


def _values(array: npt.NDArray[Any], name: str) -> Image.Image | Values:
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ImageError(f"{name}: an array of {array.dtype} {array.shape}; give (H, W), grey, or (H, W, 3), RGB")
    if not array.size:
        raise ImageError(f"{name}: an array of shape {array.shape} has no pixels")
    refuse_bomb(name, array.shape[1], array.shape[0])
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    return Image.fromarray(np.ascontiguousarray(array)) if array.dtype == np.uint8 else array


def read_any(image: Path | ImageInMemory, ranges: Ranges | None = None) -> Image.Image:
    """Return an image, of a file or in memory, as 8-bit RGB, as `read_image` does.

    Raises:
        ImageError: As in `read_image`.
    """
    if isinstance(image, Path):
        return read_image(image, ranges=ranges)
    try:
        return as_8_bit_rgb(image.values, ranges)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads the file of an image when it is first used
        raise ImageError(f"{printable(image.name)}: cannot be read: {error}") from error


def orientation_of(image: Path | ImageInMemory) -> int:
    """Return how an image is turned for display, as `orientation` does."""
    return orientation(image) if isinstance(image, Path) else image.orientation
