"""Scores and maps of images that belong to no dataset: several methods share each forward pass that they can."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmark.clip import Backbone, passes, take_asked
from benchmark.common import is_out_of_memory
from benchmark.contract import ClassName, Method, Prediction, require_prediction
from benchmark.data import ImageError, ImageInMemory, Preprocess, Ranges, orientation_of, read_any, turn
from benchmark.predict.own_images import PredictError
from benchmark.running import Maps, at_evaluation_size, changed_maps
from benchmark.training import tower_of

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scored:
    """Score and map of one image. Sizes, positions and maps are those of the upright photo, as people see it."""

    image: Path | ImageInMemory
    score: float
    map: Floats
    """Anomaly map of shape `(S, S)` at the evaluation size, resized and smoothed as in a run."""
    raw: Maps
    """What the method returned for the map, of one image: of shape `(1, h, w)` or of L layers `(1, L, h, w)`."""
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

    image: Path | ImageInMemory
    error: str


def score_images(
    images: Sequence[Path | ImageInMemory],
    methods: Sequence[Method],
    backbone: Backbone,
    *,
    class_name: str,
    batch_size: int,
    evaluation_size: int | None = None,
    ranges: Ranges | None = None,
) -> Iterator[tuple[Scored | Unscored, ...]]:
    """Yield what each method gives for an image, image by image. One batch of images is in memory at a time.

    Each image is read once, and encoded once for all methods that share a tower, as `benchmark.clip.passes` says.

    Args:
        images: Image files in any format that `read_image` reads, and images in memory.
        methods: Methods that are ready to predict and have seen the reference images that they need.
        backbone: The methods' backbone.
        class_name: Class of all images, as it appears in prompts.
        batch_size: Images per forward pass. It changes no number.
        evaluation_size: Side of the maps in pixels; None for the image size of each method.
        ranges: Black and white of images of more than 8 bits; None for those of each image itself.

    Raises:
        PredictError: If the memory does not suffice.
    """
    asked = [(tower_of(type(each), backbone, each.options), each.vision()) for each in methods]
    towers = passes(asked)
    for begin in range(0, len(images), batch_size):
        batch = images[begin : begin + batch_size]
        read: dict[int, Image.Image] = {}
        errors: dict[int, Unscored] = {}
        for place, image in enumerate(batch):
            try:
                read[place] = read_any(image, ranges)
            except (ImageError, OSError) as error:  # OSError: no permission, a lost network drive, …
                errors[place] = Unscored(image, str(error))
        given: dict[int, list[Scored | Unscored]] = {}
        for tower in towers if read else ():
            names = [ClassName(class_name)] * len(read)
            pixels = torch.from_numpy(np.stack(list(map(Preprocess(tower.spec.image_size), read.values()))))
            try:
                with torch.no_grad():
                    features = tower.backbone.encode_images(pixels, tower.spec)
                    given_to = {index: take_asked(features, asked[index][1]) for index in tower.places}
                    found = [methods[index].predict(mine, names) for index, mine in given_to.items()]
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise PredictError(f"out of memory: {error}; try a smaller --batch-size, or --device cpu") from error
            for index, prediction in zip(tower.places, found, strict=True):
                require_prediction(prediction, len(read))
                of_batch = [(batch[place], image) for place, image in read.items()]
                given[index] = _scored(of_batch, prediction, methods[index], evaluation_size)
        rows = {place: row for row, place in enumerate(read)}
        for place in range(len(batch)):
            broken = errors.get(place)
            yield tuple(broken or given[index][rows[place]] for index in range(len(methods)))


def _scored(
    images: Sequence[tuple[Path | ImageInMemory, Image.Image]],
    prediction: Prediction,
    method: Method,
    evaluation_size: int | None,
) -> list[Scored | Unscored]:
    """Return what a method gives for each image of a batch."""
    found: list[Scored | Unscored] = []
    scores, maps = resized(prediction, method, evaluation_size)
    for index, ((image, pixels), score, anomaly_map) in enumerate(zip(images, scores, maps, strict=True)):
        if np.isfinite(score) and np.isfinite(anomaly_map).all():
            turned = orientation_of(image)
            size = pixels.size if turned < 5 else pixels.size[::-1]
            upright = np.ascontiguousarray(turn(anomaly_map, turned))
            found.append(Scored(image, score, upright, _raw(prediction.maps, index, turned), size, turned))
        else:
            found.append(Unscored(image, f"{image}: {method.title} gave no finite numbers; try --dtype float32"))
    return found


def _raw(maps: Maps, index: int, turned: int) -> Maps:
    """Return the maps of an image as it is displayed, by its EXIF orientation, in the memory of the host."""

    def upright(values: torch.Tensor) -> torch.Tensor:
        rows_first = np.moveaxis(values[index].float().cpu().numpy(), (-2, -1), (0, 1))
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(turn(rows_first, turned), (0, 1), (-2, -1))))[None]

    return changed_maps(maps, upright)


def resized(prediction: Prediction, method: Method, evaluation_size: int | None) -> tuple[list[float], Floats]:
    """Return scores, and maps of shape `(B, S, S)` at the evaluation size, as a run computes them."""
    return at_evaluation_size(
        prediction,
        image_size=method.vision().image_size,
        evaluation_size=evaluation_size,
        smoothing=method.smoothing,
    )
