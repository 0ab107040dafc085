"""Scores and maps of images that belong to no dataset: several methods share each forward pass that they can."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmark.clip import Backbone
from benchmark.common import is_out_of_memory
from benchmark.contract import Method, Prediction, merge_specs, require_prediction
from benchmark.data import ImageError, Preprocess, Ranges, orientation, read_image, turn
from benchmark.predict.own_images import PredictError
from benchmark.running import at_evaluation_size

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scored:
    """Score and map of one image. Sizes, positions and maps are those of the upright photo, as people see it."""

    path: Path
    score: float
    map: Floats
    """Anomaly map of shape `(S, S)` at the evaluation size, resized and smoothed as in a run."""
    raw: Floats
    """Anomaly map of shape `(h, w)` as the method returned it, on the patch grid."""
    size: tuple[int, int]
    """Width and height of the image in pixels."""
    orientation: int = 1
    """EXIF orientation of the file; 1 where the stored pixels are upright."""

    @property
    def maximum_at(self) -> tuple[int, int]:
        """The pixel (x, y) of the image at the centre of the map's highest value."""
        row, column = divmod(int(self.map.argmax()), self.map.shape[1])
        (width, height), side = self.size, len(self.map)
        return int((column + 0.5) * width / side), int((row + 0.5) * height / side)


@dataclass(frozen=True, slots=True)
class Unscored:
    """An image that could not be scored, with the reason."""

    path: Path
    error: str


def score_images(
    paths: Sequence[Path],
    methods: Sequence[Method],
    backbone: Backbone,
    *,
    class_name: str,
    batch_size: int,
    evaluation_size: int | None = None,
    ranges: Ranges | None = None,
) -> Iterator[tuple[Scored | Unscored, ...]]:
    """Yield what each method gives for an image, image by image. One batch of images is in memory at a time.

    Each image is read once, and encoded once for all methods that share an image size.

    Args:
        paths: Image files in any format that `read_image` reads.
        methods: Methods that are ready to predict and have seen the reference images that they need.
        backbone: The methods' backbone.
        class_name: Class of all images, as it appears in prompts.
        batch_size: Images per forward pass. It changes no number.
        evaluation_size: Side of the maps in pixels; None for the image size of each method.
        ranges: Black and white of images of more than 8 bits; None for those of each image itself.

    Raises:
        PredictError: If the memory does not suffice.
    """
    sizes = [method.vision().image_size for method in methods]
    specs = merge_specs(method.vision() for method in methods)
    for begin in range(0, len(paths), batch_size):
        batch = paths[begin : begin + batch_size]
        images: dict[Path, Image.Image] = {}
        errors: dict[Path, Unscored] = {}
        for path in batch:
            try:
                images[path] = read_image(path, ranges=ranges)
            except (ImageError, OSError) as error:  # OSError: no permission, a lost network drive, …
                errors[path] = Unscored(path, str(error))
        given: dict[int, list[Scored | Unscored]] = {}
        for spec in specs if images else ():
            sharing = [index for index, size in enumerate(sizes) if size == spec.image_size]
            pixels = torch.from_numpy(np.stack(list(map(Preprocess(spec.image_size), images.values()))))
            try:
                with torch.no_grad():
                    features = backbone.encode_images(pixels, spec)
                    found = [methods[index].predict(features, [class_name] * len(images)) for index in sharing]
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise PredictError(f"out of memory: {error}; try a smaller --batch-size, or --device cpu") from error
            for index, prediction in zip(sharing, found, strict=True):
                require_prediction(prediction, len(images))
                given[index] = _scored(images, prediction, methods[index], evaluation_size)
        places = {path: place for place, path in enumerate(images)}
        for path in batch:
            broken = errors.get(path)
            yield tuple(broken or given[index][places[path]] for index in range(len(methods)))


def _scored(
    images: Mapping[Path, Image.Image], prediction: Prediction, method: Method, evaluation_size: int | None
) -> list[Scored | Unscored]:
    """Return what a method gives for each image of a batch."""
    found: list[Scored | Unscored] = []
    scores, maps = resized(prediction, method, evaluation_size)
    raws = prediction.maps.float().cpu().numpy()
    for (path, image), score, anomaly_map, raw in zip(images.items(), scores, maps, raws, strict=True):
        if np.isfinite(score) and np.isfinite(anomaly_map).all():
            turned = orientation(path)
            size = image.size if turned < 5 else image.size[::-1]
            upright, grid = (np.ascontiguousarray(turn(each, turned)) for each in (anomaly_map, raw))
            found.append(Scored(path, score, upright, grid, size, turned))
        else:
            found.append(Unscored(path, f"{path}: {method.title} gave no finite numbers; try --dtype float32"))
    return found


def resized(prediction: Prediction, method: Method, evaluation_size: int | None) -> tuple[list[float], Floats]:
    """Return scores, and maps of shape `(B, S, S)` at the evaluation size, as a run computes them."""
    return at_evaluation_size(
        prediction,
        image_size=method.vision().image_size,
        evaluation_size=evaluation_size,
        smoothing=method.smoothing,
    )
