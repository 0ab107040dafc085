"""Calibration: thresholds chosen on labelled images, kept with all that can change the scores that they are for."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import FiniteFloat, ValidationError

from benchmark.common import JSON_LIMIT, Model, printable, read_limited, validation_problems, write_whole
from benchmark.data import Ranges
from benchmark.predict.own_images import PredictError
from benchmark.predict.predictions import ThresholdUsed
from benchmark.predict.scorer import ScorerId
from benchmark.predict.thresholds import Outcome

Rule = Literal["f1-max", "false-alarms"]


class ImageThreshold(Model):
    """From which score on an image is anomalous."""

    value: FiniteFloat
    rule: Rule
    rate: float | None
    """The largest rate of false alarms that was asked for; null of F1-max."""
    outcome: Outcome
    """What it gives on the images that it was chosen on. It is optimistic: other images give worse."""


class PixelThreshold(Model):
    """From which value on a pixel of a map is anomalous."""

    value: FiniteFloat
    rule: Rule
    rate: float | None
    """The largest share of the normal pixels that may be at or above it; null of F1-max."""
    images: int
    """Number of images whose pixels it was chosen on."""


class CalibrationData(Model):
    """The images that a threshold was chosen on."""

    name: str
    fingerprint: str
    """The sha256 of their names, labels, masks, and the content of the files."""
    normal: int
    anomalous: int
    left_out: int
    """Number of images that could not be scored."""


class Calibration(ScorerId):
    """The content of the file that `bench calibrate` writes."""

    schema_version: Literal[1] = 1
    image: ImageThreshold
    pixel: PixelThreshold | None
    """Null where the maps are constant, or where there are neither masks nor normal images."""
    data: CalibrationData
    warnings: tuple[str, ...]
    run: dict[str, Any]
    """Time, machine, package versions and git commit of the call."""


def report(calibration: Calibration) -> list[str]:
    """Return the lines that say what a threshold is and what it gives on the images that it was chosen on."""
    image, pixel, data = calibration.image, calibration.pixel, calibration.data
    result = image.outcome
    rows = (
        ("", "said normal", "said anomalous"),
        ("normal", str(result.true_negatives), str(result.false_positives)),
        ("anomalous", str(result.false_negatives), str(result.true_positives)),
    )
    rates = {
        "precision": result.precision,
        "recall": result.recall,
        "F1": result.f1,
        "false-alarm rate": result.false_alarm_rate,
    }
    shown = ", ".join(f"{name} {'–' if value is None else f'{value:.1%}'}" for name, value in rates.items())
    lines = [
        f"images are anomalous from a score of {image.value:.6g} on ({_rule(image.rule, image.rate)})",
        "pixels have no threshold"
        if pixel is None
        else f"pixels are anomalous from {pixel.value:.6g} on ({_rule(pixel.rule, pixel.rate)}, {pixel.images} images)",
        f"on {data.name}, n = {data.normal + data.anomalous}:",
        *(f"{row[0]:<9}  {row[1]:>11}  {row[2]:>14}" for row in rows),
        shown,
    ]
    return lines


def _rule(rule: Rule, rate: float | None) -> str:
    return rule if rate is None else f"{rule}, at most {rate:g}"


def write_calibration(path: Path, calibration: Calibration) -> str:
    """Write a calibration, and return what it replaces: an earlier one with the same scorer; "" if there is no file.

    Raises:
        PredictError: The file cannot be written, or there is a file that is something else.
    """
    replaced = ""
    if earlier := check_file(path, calibration):
        replaced = f"threshold {earlier.image.value:.6g}, chosen on {earlier.data.name} at {earlier.run.get('created')}"
    text = json.dumps(calibration.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        write_whole(path, text + "\n")
    except OSError as error:
        raise _not_written(path, error) from error
    return replaced


def _not_written(path: Path, error: OSError) -> PredictError:
    return PredictError(f"--output {printable(path)}: {error.strerror or error}; choose another file")


def check_file(path: Path, scorer: ScorerId) -> Calibration | None:
    """Check that a calibration can be written to a file without a loss.

    Returns:
        The calibration of the same scorer that it would replace; None if there is no file.

    Raises:
        PredictError: The folder cannot be written, or the file is there and is something else.
    """
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                return None
        except OSError as error:
            raise _not_written(path, error) from error
    try:
        earlier = read_calibration(path)
        differences = scorer.differences(earlier)
    except PredictError:
        differences = ["not a calibration"]
    if differences:
        raise PredictError(
            f"--output {printable(path)} is there already, and it is another: {differences[0]}; choose another file"
        )
    return earlier


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        PredictError: The file cannot be read, or is none.
    """
    try:
        return Calibration.model_validate_json(read_limited(path, JSON_LIMIT))
    except OSError as error:
        raise PredictError(
            f"--threshold {printable(path)}: {error.strerror or error}; make a calibration by `bench calibrate "
            "--folder DIR`, or say a number, as in 0.5"
        ) from error
    except ValidationError as error:
        raise PredictError(
            f"--threshold {printable(path)}: not a calibration ({validation_problems(error)[0]}); make one by `bench "
            "calibrate --folder DIR`, or say a number"
        ) from None


def common_ranges(calibrations: Sequence[Calibration]) -> Ranges:
    """Return black and white of images of more than 8 bits, as calibrations have them.

    Raises:
        PredictError: They differ, so that no image can be read for both.
    """
    found = {each.ranges: each.method for each in calibrations if each.ranges}
    if len(found) > 1:
        said = "; ".join(f"{method}: {ranges}" for ranges, method in found.items())
        raise PredictError(
            f"--threshold: images were read by different ranges for these files ({said}); make them anew on the same "
            "images, or run a method at a time"
        )
    return next(iter(found), Ranges())


def threshold_of(calibration: Calibration, path: Path, scorer: ScorerId) -> ThresholdUsed:
    """Return the thresholds of a calibration for the predictions of a scorer.

    Raises:
        PredictError: It is for other scores. The message names what differs, with both values.
    """
    if differences := scorer.differences(calibration):
        raise PredictError(
            f"--threshold {printable(path)} is for other scores: {'; '.join(differences)}. Use what it was made with, "
            "or make another by `bench calibrate`"
        )
    pixel = calibration.pixel
    return ThresholdUsed(
        image=calibration.image.value,
        pixel=pixel and pixel.value,
        rule=calibration.image.rule,
        calibration=path.name,
        calibration_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        data=calibration.data.name,
    )
