"""Predictions of one method on images that belong to no dataset: scored in batches, drawn, and written down."""

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
from benchmark.common import Model, write_whole
from benchmark.contract import Learner, Method, Prediction
from benchmark.data import ImageError, Preprocess, read_image
from benchmark.predict.heatmaps import COLOUR_MAP, overlay
from benchmark.predict.own_images import PREDICTIONS, Found, PredictError, shown
from benchmark.protocol import AUXILIARY, Protocol
from benchmark.records import BackboneId, Checkpoint, CheckpointError, misfit, read_checkpoint
from benchmark.running import at_evaluation_size

Floats = npt.NDArray[np.float32]
Part = Literal["backbone", "checkpoint"]

SHIPPED = Path(__file__).parents[1] / "mini" / "checkpoints"
"""What the learning methods learned from the mini suite with the miniature CLIP, by default options."""
OVERLAY_SIDE = 1024
"""Longer side in pixels down to which larger images are drawn; a map has no more detail."""


# ---- with what it learned


def choose_checkpoint(
    method: type[Learner], options: Any, backbone: BackboneId, *, given: Path | None, results: Path
) -> tuple[Path, Checkpoint]:
    """Return the checkpoint to predict with: the one given, else one of `results`, else the one that ships along.

    One fits that was made by this version of the method, with the same options that change what is learned, and with
    the same backbone. Of those in `results`, trained on the protocol's auxiliary dataset and with seed 0 go first.

    Raises:
        CheckpointError: the one given cannot be read or does not fit, or there is none; says how to get one.
    """
    if given is not None:
        checkpoint = read_checkpoint(given)
        if reason := misfit(checkpoint.training, method, options, backbone):
            raise CheckpointError(f"{given}: {reason}")
        return given, checkpoint
    fitting: list[tuple[Path, Checkpoint]] = []
    reasons: list[str] = []
    kept = sorted((results / "checkpoints").glob(f"{method.name}--*.json"))
    for path in [*kept, SHIPPED / f"{method.name}.json"]:
        if path.parent == SHIPPED and (fitting or not path.exists()):
            continue
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        known = checkpoint.training
        reason = misfit(known, method, options, backbone)
        if not reason and known.method_version != method.version:
            reason = f"made by version {known.method_version} of {method.title}, which is now {method.version}"
        if reason:
            reasons.append(f"{path}: {reason}")
        else:
            fitting.append((path, checkpoint))
    if not fitting:
        last = "".join(f"\n  does not fit: {reason}" for reason in reasons[-3:])
        raise CheckpointError(
            f"{method.title} learns, and there is no checkpoint for these options and the backbone {backbone.name}, "
            f"neither in {results / 'checkpoints'} nor along with the benchmark; make one by `bench train --methods "
            f"{method.name} --backbone {backbone.name} --data DIR`, or by `bench import-checkpoint FILE.pth "
            f"--auxiliary NAME`, or name yours by --checkpoint FILE.json{last}"
        )
    return min(fitting, key=_preference)


def _preference(found: tuple[Path, Checkpoint]) -> tuple[bool, int, str]:
    known = found[1].training
    return known.auxiliary.name != AUXILIARY, known.seed, found[0].name


# ---- scoring


@dataclass(frozen=True, slots=True)
class Scored:
    """What a method says of one image."""

    path: Path
    score: float
    map: Floats
    """(S, S), at the evaluation size, smoothed as the harness does."""
    raw: Floats
    """(h, w), as the method gave it, on the patch grid."""
    size: tuple[int, int]
    """Width and height of the image in pixels."""

    @property
    def maximum_at(self) -> tuple[int, int]:
        """The pixel (x, y) of the image on which the middle of the map's highest value falls."""
        row, column = divmod(int(self.map.argmax()), self.map.shape[1])
        (width, height), side = self.size, len(self.map)
        return int((column + 0.5) * width / side), int((row + 0.5) * height / side)


@dataclass(frozen=True, slots=True)
class Unscored:
    """An image without a score."""

    path: Path
    error: str


def score_images(
    paths: Sequence[Path], method: Method, backbone: Backbone, *, class_name: str, batch_size: int
) -> Iterator[Scored | Unscored]:
    """Yield what a method says of each image, in order; memory does not grow with their number.

    Args:
        paths: image files, in any format that `read_image` reads.
        method: ready to predict, not k-shot.
        backbone: the method's.
        class_name: what all images show, as it stands in prompts.
        batch_size: images per forward pass; changes no number.

    Raises:
        PredictError: the accelerator has not enough memory.
    """
    spec = method.vision()
    preprocess = Preprocess(spec.image_size)
    for begin in range(0, len(paths), batch_size):
        batch = paths[begin : begin + batch_size]
        outcomes: dict[Path, Scored | Unscored] = {}
        tensors: dict[Path, torch.Tensor] = {}
        sizes: dict[Path, tuple[int, int]] = {}
        for path in batch:
            try:
                image = read_image(path)
            except (ImageError, OSError) as error:  # or no permission, a network drive that is gone, …
                outcomes[path] = Unscored(path, str(error))
            else:
                tensors[path], sizes[path] = preprocess(image), image.size
        if tensors:
            try:
                with torch.no_grad():
                    features = backbone.encode_images(torch.stack(list(tensors.values())), spec)
                    prediction = method.predict(features, [class_name] * len(tensors))
            except torch.cuda.OutOfMemoryError as error:
                raise PredictError(f"out of memory: {error}; try a smaller --batch-size, or --device cpu") from error
            scores, maps = _at_evaluation_size(prediction, method)
            raws = prediction.maps.float().cpu().numpy()
            for path, score, each, raw in zip(tensors, scores, maps, raws, strict=True):
                if np.isfinite(score) and np.isfinite(each).all():
                    outcomes[path] = Scored(path, score, each, raw.copy(), sizes[path])
                else:
                    outcomes[path] = Unscored(path, f"{path}: the method gave no finite numbers; try --dtype float32")
        yield from (outcomes[path] for path in batch)


def _at_evaluation_size(prediction: Prediction, method: Method) -> tuple[list[float], Floats]:
    scores, maps = at_evaluation_size(prediction, image_size=method.vision().image_size, smoothing=method.smoothing)
    assert maps is not None
    return scores, maps


# ---- what is written


class ImagePrediction(Model):
    """One image of `predictions.json`."""

    path: str
    """As given, or below the folder given."""
    score: float | None = None
    """The higher, the more anomalous; comparable among images of one method, class and backbone only."""
    map_minimum: float | None = None
    map_maximum: float | None = None
    maximum_at: tuple[int, int] | None = None
    """Where the map is highest: x from the left and y from the top, in pixels of the image as it is stored (EXIF
    orientation is not applied)."""
    size: tuple[int, int] | None = None
    """Width and height of the image in pixels."""
    overlay: str | None = None
    """File of the drawing, from the folder in which `predictions.json` lies."""
    error: str | None = None
    """Why there is no score, or no drawing."""


class ColourScale(Model):
    """How values became colours, the same for all drawings of a call."""

    colours: str = COLOUR_MAP
    low: float
    """The lowest value of all maps; the photo shows unchanged."""
    high: float
    """The highest value of all maps; the strongest colour."""


class CheckpointUsed(Model):
    """What the method learned, and from what."""

    file: str
    sha256: str
    auxiliary: str
    seed: int
    origin: Literal["trained", "imported"]
    synthetic: bool
    """Learned from generated images."""

    @classmethod
    def of(cls, path: Path, known: Checkpoint) -> "CheckpointUsed":
        """Return what is said of the checkpoint whose JSON is `path`."""
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
    synthetic: tuple[Part, ...]
    """What of it is not real: weights that are random, or learned from generated images."""
    image_size: int
    """Side of the input, and of the maps, in pixels."""
    scale: ColourScale | None
    """Null where no image could be scored."""
    images: tuple[ImagePrediction, ...]
    run: dict[str, Any]
    """When, on what machine, with which packages and which commit of the code."""


def score_found(
    found: Sequence[Found],
    method: Method,
    backbone: Backbone,
    *,
    class_name: str,
    batch_size: int,
    progress: Callable[[int], None] = lambda images: None,
) -> tuple[list[ImagePrediction], list[Floats | None]]:
    """Score the images.

    Returns:
        What is said of each, without a drawing, and its map as the method gave it, a few kB each: it is drawn when the
        scale of all is known.
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
        return ImagePrediction(path=shown(scored.path), error=shown(scored.error))
    return ImagePrediction(
        path=shown(scored.path),
        score=scored.score,
        map_minimum=float(scored.map.min()),
        map_maximum=float(scored.map.max()),
        maximum_at=scored.maximum_at,
        size=scored.size,
    )


def common_scale(predictions: Sequence[ImagePrediction]) -> ColourScale | None:
    """Return the colour scale from the lowest to the highest value of all maps; None where there is no map."""
    lows = [each.map_minimum for each in predictions if each.map_minimum is not None]
    highs = [each.map_maximum for each in predictions if each.map_maximum is not None]
    return ColourScale(low=min(lows), high=max(highs)) if lows else None


def draw_found(
    found: Sequence[Found],
    predictions: Sequence[ImagePrediction],
    raws: Sequence[Floats | None],
    method: Method,
    output: Path,
    *,
    progress: Callable[[int], None] = lambda images: None,
) -> list[ImagePrediction]:
    """Draw the map of each scored image over it, all on their common scale, and return what is said of them now.

    An image larger than `OVERLAY_SIDE` is drawn that large. It is read again; if it cannot be, that is its error.

    Raises:
        PredictError: a drawing cannot be written.
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
            drawn[-1] = prediction.model_copy(update={"error": shown(f"scored, but not drawn: {error}")})
            continue
        size = min(max(image.size), OVERLAY_SIDE)
        content = io.BytesIO()
        overlay(image, anomaly_map, low=scale.low, high=scale.high, size=size).save(content, "PNG")
        _write(output / each.overlay, content.getvalue())
        drawn[-1] = prediction.model_copy(update={"overlay": each.overlay})
    return drawn


def synthetic_parts(backbone: BackboneId, checkpoint: CheckpointUsed | None) -> tuple[Part, ...]:
    """Return which weights are random, or learned from generated images."""
    parts: dict[Part, bool] = {
        "backbone": backbone.synthetic,
        "checkpoint": checkpoint is not None and checkpoint.synthetic,
    }
    return tuple(part for part, is_so in parts.items() if is_so)


def banner(synthetic: Sequence[Part]) -> str:
    """Return what a reader of scores by such weights must know; "" where all are real."""
    if not synthetic:
        return ""
    way = (
        "real weights with --backbone" if "backbone" in synthetic else "one learned from real images with --checkpoint"
    )
    what = " and ".join(synthetic)
    return f"SYNTHETIC: {what} random or learned from generated images; not for real decisions; name {way}"


def table(predictions: Sequence[ImagePrediction]) -> list[str]:
    """Return a line for each image that has a score, the highest first."""
    scored = [(each.score, each.path) for each in predictions if each.score is not None]
    return [f"{score:.6f}  {path}" for score, path in sorted(scored, key=lambda each: -each[0])]


def write_predictions(output: Path, predictions: Predictions) -> Path:
    """Write `predictions.json` into the output folder, whole or not at all, and return its path.

    Raises:
        PredictError: it cannot be written.
    """
    text = json.dumps(predictions.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    _write(output / PREDICTIONS, text + "\n")
    return output / PREDICTIONS


def _write(path: Path, content: str | bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise PredictError(
            f"cannot write {shown(path)}: {error.strerror or error}; free the disk or choose another --output"
        ) from error
