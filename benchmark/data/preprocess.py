"""From an RGB image to the tensor that the vision tower takes."""

import open_clip
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2


class Preprocess:
    """Turn an RGB image into a normalised tensor (3, S, S).

    The image is resized (bicubic) to a square without keeping its aspect ratio, and normalised by CLIP's means and
    standard deviations.
    """

    def __init__(self, image_size: int) -> None:
        self._transform = v2.Compose(
            [
                v2.Resize((image_size, image_size), interpolation=v2.InterpolationMode.BICUBIC),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean=list(open_clip.OPENAI_DATASET_MEAN), std=list(open_clip.OPENAI_DATASET_STD)),
            ]
        )

    def __call__(self, image: Image.Image) -> Tensor:
        tensor: Tensor = self._transform(image)
        return tensor
