"""What is written about images that were scored: `predictions.json`, `predictions.csv`, and the table on the screen."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from benchmark.common import JSON_LIMIT, Model, printable, read_limited, to_csv_text, write_whole
from benchmark.predict.heatmaps import COLOUR_MAP
from benchmark.predict.own_images import PREDICTIONS, PredictError
from benchmark.predict.regions import Region
from benchmark.predict.scorer import ScorerId
from benchmark.predict.scoring import Scored, Unscored

CSV = "predictions.csv"

Decision = Literal["normal", "anomalous"]


class ImagePrediction(Model):
    """One image of `predictions.json`. Paths of files are relative to the folder of `predictions.json`."""

    path: str
    """Path as given, or below a given folder."""
    score: float | None = None
    """Anomaly score; higher is more anomalous. Scores of different methods, classes or backbones are not comparable."""
    decision: Decision | None = None
    """Whether the score is below the threshold or not; null without a threshold."""
    map_minimum: float | None = None
    map_maximum: float | None = None
    maximum_at: tuple[int, int] | None = None
    """Position of the map's maximum: x from the left, y from the top, in pixels of the upright photo."""
    size: tuple[int, int] | None = None
    """Width and height of the upright photo in pixels."""
    orientation: int | None = None
    """EXIF orientation of the file. If it is not 1, the stored pixels are turned by it in all that is written."""
    regions: tuple[Region, ...] | None = None
    """The anomalous regions, the largest first, in pixels of the upright photo; null unless masks are written."""
    overlay: str | None = None
    """Path of the heatmap."""
    mask: str | None = None
    """Path of the mask: 255 where a pixel is anomalous, else 0."""
    outline: str | None = None
    """Path of the photo with the outlines of the mask."""
    map: str | None = None
    """Path of the map as float32, at the evaluation size."""
    error: str | None = None
    """Why there is no score or no drawing."""


class ColourScale(Model):
    """The values at both ends of the colour map, the same for all heatmaps of a method in a call."""

    colours: str = COLOUR_MAP
    low: float
    """Lowest value of all maps. It leaves the image unchanged."""
    high: float
    """Highest value of all maps. It gets the strongest colour."""


class ThresholdUsed(Model):
    """From which score on an image counts as anomalous, and where that comes from."""

    image: float
    pixel: float | None = None
    """From which value on a pixel of a map does; null where that is not known."""
    rule: str
    """How it was chosen; `given` if it was typed as a number."""
    calibration: str | None = None
    """Name of the file of the calibration."""
    calibration_sha256: str | None = None
    data: str | None = None
    """Name of the images that it was chosen on."""

    def decide(self, score: float) -> Decision:
        """Return what the threshold says of an image."""
        return "anomalous" if score >= self.image else "normal"


class Predictions(ScorerId):
    """The content of `predictions.json`."""

    schema_version: Literal[2] = 2
    image_size: int
    """Side of the input in pixels."""
    map_size: int
    """Side of the maps in pixels."""
    threshold: ThresholdUsed | None
    scale: ColourScale | None
    """Null if no image could be scored."""
    images: tuple[ImagePrediction, ...]
    run: dict[str, Any]
    """Time, machine, package versions and git commit of the call."""


def describe(scored: Scored | Unscored, threshold: ThresholdUsed | None) -> ImagePrediction:
    """Return the prediction of an image of which nothing is drawn yet."""
    if isinstance(scored, Unscored):
        return ImagePrediction(path=printable(scored.image), error=printable(scored.error))
    return ImagePrediction(
        path=printable(scored.image),
        score=scored.score,
        decision=threshold and threshold.decide(scored.score),
        map_minimum=float(scored.map.min()),
        map_maximum=float(scored.map.max()),
        maximum_at=scored.maximum_at,
        size=scored.size,
        orientation=scored.orientation,
    )


def common_scale(predictions: Sequence[ImagePrediction]) -> ColourScale | None:
    """Return the colour scale from the lowest to the highest value of all maps, or None if there is no map."""
    lows = [each.map_minimum for each in predictions if each.map_minimum is not None]
    highs = [each.map_maximum for each in predictions if each.map_maximum is not None]
    return ColourScale(low=min(lows), high=max(highs)) if lows else None


def table(methods: Sequence[Predictions]) -> list[str]:
    """Return a line for each scored image with scores, decisions and path, the highest score of the first method first.

    With several methods a line with their names goes first.
    """
    columns = [[_shown(each.images[row]) for row in range(len(each.images))] for each in methods]
    names = [each.method for each in methods]
    widths = [max(map(len, [name * (len(names) > 1), *column])) for name, column in zip(names, columns, strict=True)]
    scored = [row for row, each in enumerate(methods[0].images) if any(column[row] for column in columns)]
    scored.sort(key=lambda row: -(methods[0].images[row].score or 0.0))
    lines = [[*(column[row] for column in columns), methods[0].images[row].path] for row in scored]
    if len(names) > 1 and lines:
        lines.insert(0, [*names, "image"])
    return [
        "  ".join([*(f"{text:<{width}}" for text, width in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    ]


def _shown(prediction: ImagePrediction) -> str:
    if prediction.score is None:
        return ""
    return f"{prediction.score:.6f}" + (f"  {prediction.decision:<9}" if prediction.decision else "")


COLUMNS = (
    "path",
    "score",
    "decision",
    "map_minimum",
    "map_maximum",
    "maximum_x",
    "maximum_y",
    "width",
    "height",
    "orientation",
    "regions",
    "anomalous_pixels",
    "overlay",
    "mask",
    "outline",
    "map",
    "error",
)
"""Columns of `predictions.csv`. Those that `predictions.json` has mean the same; `regions` is their number."""


def to_csv(predictions: Sequence[ImagePrediction]) -> str:
    """Return the content of `predictions.csv`, a line for each image in the order of `predictions.json`."""
    rows = []
    for each in predictions:
        (x, y), (width, height) = each.maximum_at or (None, None), each.size or (None, None)
        cells = each.model_dump() | {"maximum_x": x, "maximum_y": y, "width": width, "height": height}
        if each.regions is not None:
            cells |= {"regions": len(each.regions), "anomalous_pixels": sum(region.area for region in each.regions)}
        rows.append([cells.get(column) for column in COLUMNS])
    return to_csv_text([COLUMNS, *rows])


def note_on_earlier(folder: Path) -> str:
    """Return a sentence about results of an earlier call that are to be replaced; "" where there are none."""
    try:
        earlier = json.loads(read_limited(folder / PREDICTIONS, JSON_LIMIT))
        made, count = earlier["run"]["created"], len(earlier["images"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return f"{printable(folder)}: results of an earlier call are replaced"
    return f"{printable(folder)}: the results of {count} images, made at {made}, are replaced"


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write `predictions.json`, by which the folder is known from then on, and `predictions.csv`, each atomically."""
    text = json.dumps(predictions.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    write(folder / PREDICTIONS, text + "\n")
    write(folder / CSV, to_csv(predictions.images))


def write(path: Path, content: str | bytes) -> None:
    """Write a file of the output.

    Raises:
        PredictError: It cannot be written.
    """
    with _changing(path):
        write_whole(path, content)


def remove(path: Path) -> None:
    """Remove a file of the output, if it is there.

    Raises:
        PredictError: It cannot be removed.
    """
    with _changing(path):
        path.unlink(missing_ok=True)


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PredictError(
            f"cannot write {printable(path)}: {error.strerror or error}; free the disk or choose another --output"
        ) from error
