"""Photos as people see them: the EXIF orientation of a file, by which viewers turn the stored pixels.

Methods see the stored pixels, as in the published evaluations. What is drawn and told about a user's own images is
about the photo that they see.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

T = TypeVar("T", np.float32, np.bool_)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image from `read_image`, 1 to 8; 1 if there is none or it is no orientation."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # on broken bytes Pillow raises anything; viewers then show the stored pixels
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image as its orientation says it is seen."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def upright_map(values: npt.NDArray[T], orientation: int) -> npt.NDArray[T]:
    """Return a map or a mask of shape `(h, w)`, float32 or bool, as a copy, turned as the image is by `upright`."""
    return np.array(upright(Image.fromarray(values), orientation), dtype=values.dtype)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the width and height of an image after `upright`."""
    return (size[1], size[0]) if orientation >= 5 else size
