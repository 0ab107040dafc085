"""Predictions of one method for images that belong to no dataset: scores, heatmaps and `predictions.json`."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from benchmark.clip import Backbone
from benchmark.common import Model, is_out_of_memory, printable, write_whole
from benchmark.contract import Method, Prediction
from benchmark.data import ImageError, Pixels, Preprocess, read_image
from benchmark.predict.heatmaps import COLOUR_MAP, overlay
from benchmark.predict.own_images import PREDICTIONS, InputImage, PredictError
from benchmark.protocol import Protocol
from benchmark.records import BackboneId, Checkpoint
from benchmark.running import at_evaluation_size

Floats = npt.NDArray[np.float32]
WeightsKind = Literal["backbone", "checkpoint"]

OVERLAY_SIDE = 1024
"""Largest side of a heatmap in pixels; larger images are reduced, since a map has no more detail."""


# ---- scoring


@dataclass(frozen=True, slots=True)
class Scored:
    """Score and map of one image."""

    path: Path
    score: float
    map: Floats
    """Anomaly map of shape `(S, S)` at the evaluation size, resized and smoothed as in a run."""
    raw: Floats
    """Anomaly map of shape `(h, w)` as the method returned it, on the patch grid."""
    size: tuple[int, int]
    """Width and height of the image in pixels."""

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
    paths: Sequence[Path], method: Method, backbone: Backbone, *, class_name: str, batch_size: int
) -> Iterator[Scored | Unscored]:
    """Yield the score and map of each image, in order. One batch of images is in memory at a time.

    Args:
        paths: Image files in any format that `read_image` reads.
        method: A method that is ready to predict and needs no reference images.
        backbone: The method's backbone.
        class_name: Class of all images, as it appears in prompts.
        batch_size: Images per forward pass. It changes no number.

    Raises:
        PredictError: If the memory does not suffice.
    """
    spec = method.vision()
    preprocess = Preprocess(spec.image_size)
    for begin in range(0, len(paths), batch_size):
        batch = paths[begin : begin + batch_size]
        outcomes: dict[Path, Scored | Unscored] = {}
        pixels: dict[Path, Pixels] = {}
        sizes: dict[Path, tuple[int, int]] = {}
        for path in batch:
            try:
                image = read_image(path)
            except (ImageError, OSError) as error:  # OSError: no permission, a lost network drive, …
                outcomes[path] = Unscored(path, str(error))
            else:
                pixels[path], sizes[path] = preprocess(image), image.size
        if pixels:
            try:
                with torch.no_grad():
                    features = backbone.encode_images(torch.from_numpy(np.stack(list(pixels.values()))), spec)
                    prediction = method.predict(features, [class_name] * len(pixels))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise PredictError(f"out of memory: {error}; try a smaller --batch-size, or --device cpu") from error
            scores, maps = _at_evaluation_size(prediction, method)
            raws = prediction.maps.float().cpu().numpy()
            for path, score, each, raw in zip(pixels, scores, maps, raws, strict=True):
                if np.isfinite(score) and np.isfinite(each).all():
                    outcomes[path] = Scored(path, score, each, raw.copy(), sizes[path])
                else:
                    outcomes[path] = Unscored(path, f"{path}: the method gave no finite numbers; try --dtype float32")
        yield from (outcomes[path] for path in batch)


def _at_evaluation_size(prediction: Prediction, method: Method) -> tuple[list[float], Floats]:
    scores, maps = at_evaluation_size(prediction, image_size=method.vision().image_size, smoothing=method.smoothing)
    assert maps is not None
    return scores, maps


# ---- predictions.json


class ImagePrediction(Model):
    """One image of `predictions.json`."""

    path: str
    """Path as given, or below a given folder."""
    score: float | None = None
    """Anomaly score; higher is more anomalous. Scores of different methods, classes or backbones are not comparable."""
    map_minimum: float | None = None
    map_maximum: float | None = None
    maximum_at: tuple[int, int] | None = None
    """Position of the map's maximum: x from the left, y from the top, in pixels of the stored image (without EXIF
    orientation)."""
    size: tuple[int, int] | None = None
    """Width and height of the image in pixels."""
    overlay: str | None = None
    """Path of the heatmap, relative to the folder of `predictions.json`."""
    error: str | None = None
    """Why there is no score or no heatmap."""


class ColourScale(Model):
    """The values at both ends of the colour map, the same for all heatmaps of a call."""

    colours: str = COLOUR_MAP
    low: float
    """Lowest value of all maps. It leaves the image unchanged."""
    high: float
    """Highest value of all maps. It gets the strongest colour."""


class CheckpointUsed(Model):
    """The checkpoint that the method predicted with."""

    file: str
    sha256: str
    auxiliary: str
    seed: int
    origin: Literal["trained", "imported"]
    synthetic: bool
    """Whether it was trained on generated images."""

    @classmethod
    def of(cls, path: Path, known: Checkpoint) -> "CheckpointUsed":
        """Return the description of the checkpoint `known`, whose JSON file is `path`."""
        return cls(
            file=path.name,
            sha256=known.sha256,
            auxiliary=known.training.auxiliary.name,
            seed=known.training.seed,
            origin=known.origin,
            synthetic=known.synthetic,
        )


class Predictions(Model):
    """The content of `predictions.json`."""

    schema_version: Literal[1] = 1
    method: str
    method_version: int
    title: str
    options: dict[str, Any]
    class_name: str
    protocol: Protocol
    backbone: BackboneId
    checkpoint: CheckpointUsed | None
    synthetic: tuple[WeightsKind, ...]
    """The weights that are random or were trained on generated images."""
    image_size: int
    """Side of the input and of the maps in pixels."""
    scale: ColourScale | None
    """Null if no image could be scored."""
    images: tuple[ImagePrediction, ...]
    run: dict[str, Any]
    """Time, machine, package versions and git commit of the call."""


def score_found(
    found: Sequence[InputImage],
    method: Method,
    backbone: Backbone,
    *,
    class_name: str,
    batch_size: int,
    progress: Callable[[int], None] = lambda images: None,
) -> tuple[list[ImagePrediction], list[Floats | None]]:
    """Score the images; see `score_images` for the arguments.

    Returns:
        The prediction of each image, still without a heatmap, and its map on the patch grid (None if the image has no
        score). Heatmaps can be drawn when the values of all maps are known.
    """
    predictions: list[ImagePrediction] = []
    raws: list[Floats | None] = []
    paths = [each.path for each in found]
    for scored in score_images(paths, method, backbone, class_name=class_name, batch_size=batch_size):
        predictions.append(_describe(scored))
        raws.append(scored.raw if isinstance(scored, Scored) else None)
        progress(1)
    return predictions, raws


def _describe(scored: Scored | Unscored) -> ImagePrediction:
    if isinstance(scored, Unscored):
        return ImagePrediction(path=printable(scored.path), error=printable(scored.error))
    return ImagePrediction(
        path=printable(scored.path),
        score=scored.score,
        map_minimum=float(scored.map.min()),
        map_maximum=float(scored.map.max()),
        maximum_at=scored.maximum_at,
        size=scored.size,
    )


def common_scale(predictions: Sequence[ImagePrediction]) -> ColourScale | None:
    """Return the colour scale from the lowest to the highest value of all maps, or None if there is no map."""
    lows = [each.map_minimum for each in predictions if each.map_minimum is not None]
    highs = [each.map_maximum for each in predictions if each.map_maximum is not None]
    return ColourScale(low=min(lows), high=max(highs)) if lows else None


def draw_found(
    found: Sequence[InputImage],
    predictions: Sequence[ImagePrediction],
    raws: Sequence[Floats | None],
    method: Method,
    output: Path,
    *,
    progress: Callable[[int], None] = lambda images: None,
) -> list[ImagePrediction]:
    """Write the heatmap of each scored image, all with the same colour scale.

    Images are read again. An image with a side above `OVERLAY_SIDE` is reduced.

    Args:
        found: The images.
        predictions: Their predictions from `score_found`.
        raws: Their maps from `score_found`.
        method: The method; it says how maps are smoothed.
        output: The output folder.
        progress: Called with the number of images drawn since the last call.

    Returns:
        The predictions with the paths of the heatmaps, or with an error if an image could not be read again.

    Raises:
        PredictError: If a heatmap cannot be written.
    """
    scale = common_scale(predictions)
    drawn = []
    for each, prediction, raw in zip(found, predictions, raws, strict=True):
        drawn.append(prediction)
        progress(1)
        if raw is None or scale is None:
            continue
        again = Prediction(scores=torch.zeros(1), maps=torch.from_numpy(raw)[None])
        _, (anomaly_map,) = _at_evaluation_size(again, method)
        try:
            image = read_image(each.path)
        except (ImageError, OSError) as error:
            drawn[-1] = prediction.model_copy(update={"error": printable(f"scored, but not drawn: {error}")})
            continue
        size = min(max(image.size), OVERLAY_SIDE)
        content = io.BytesIO()
        overlay(image, anomaly_map, low=scale.low, high=scale.high, size=size).save(content, "PNG")
        _write(output / each.overlay, content.getvalue())
        drawn[-1] = prediction.model_copy(update={"overlay": each.overlay})
    return drawn


def synthetic_parts(backbone: BackboneId, checkpoint: CheckpointUsed | None) -> tuple[WeightsKind, ...]:
    """Return which weights are random or were trained on generated images."""
    synthetic: dict[WeightsKind, bool] = {
        "backbone": backbone.synthetic,
        "checkpoint": checkpoint is not None and checkpoint.synthetic,
    }
    return tuple(kind for kind, is_synthetic in synthetic.items() if is_synthetic)


def banner(synthetic: Sequence[WeightsKind]) -> str:
    """Return the warning about synthetic weights, or an empty text if all weights are real."""
    if not synthetic:
        return ""
    way = (
        "real weights with --backbone" if "backbone" in synthetic else "one learned from real images with --checkpoint"
    )
    what = " and ".join(synthetic)
    return f"SYNTHETIC: {what} random or learned from generated images; not for real decisions; name {way}"


def table(predictions: Sequence[ImagePrediction]) -> list[str]:
    """Return a line with score and path for each scored image, the highest score first."""
    scored = [(each.score, each.path) for each in predictions if each.score is not None]
    return [f"{score:.6f}  {path}" for score, path in sorted(scored, key=lambda each: -each[0])]


def write_predictions(output: Path, predictions: Predictions) -> Path:
    """Write `predictions.json` atomically into the output folder and return its path."""
    text = json.dumps(predictions.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    _write(output / PREDICTIONS, text + "\n")
    return output / PREDICTIONS


def _write(path: Path, content: str | bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise PredictError(
            f"cannot write {printable(path)}: {error.strerror or error}; free the disk or choose another --output"
        ) from error
