"""From an RGB image to the pixels that the backbone normalises and encodes."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


class Preprocess:
    """Turn an RGB image into pixels of shape `(3, S, S)`, uint8.

    The image is resized (bicubic, antialiased, as Pillow does it) to a square without keeping its aspect ratio. The
    backbone normalises the pixels, since mean and standard deviation belong to its weights.
    """

    def __init__(self, image_size: int) -> None:
        self._size = (image_size, image_size)

    def __call__(self, image: Image.Image) -> Pixels:
        resized = image.resize(self._size, Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))
