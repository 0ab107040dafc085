"""Choosing thresholds: labelled images are scored as `bench predict` scores them, and divided by their scores."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmark.clip import Backbone
from benchmark.contract import Method
from benchmark.data import Reading, Sample, SampleSet, load, turn
from benchmark.metrics import Curve, ImageMetrics, PixelMetrics
from benchmark.predict.calibration import Calibration, CalibrationData, ImageThreshold, PixelThreshold, Rule
from benchmark.predict.own_images import PredictError
from benchmark.predict.scorer import ScorerId
from benchmark.predict.scoring import Scored, score_images
from benchmark.predict.thresholds import (
    Outcome,
    fewest_negatives,
    outcome,
    threshold_of_best_f1,
    threshold_of_rate,
)

RATE = 0.05
"""The rate of false alarms that is taken where there are normal images alone and none is asked for."""
PIXEL_RATE = 0.01
"""The share of the pixels of normal images that may be anomalous, where no masks say what is."""


@dataclass
class Scores:
    """Scores of labelled images, of which a threshold is chosen."""

    scores: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    pixels: PixelMetrics = field(default_factory=PixelMetrics)
    masked: int = 0
    """Number of images in `pixels`."""
    anomalous_pixels: bool = False
    """Whether there are masks, so that `pixels` holds anomalous images too."""
    problems: list[str] = field(default_factory=list)
    """What could not be scored, or has no mask that can be read."""
    left_out: int = 0

    def curve(self) -> Curve:
        """Return the curve of the images."""
        metrics = ImageMetrics()
        for score, label in zip(self.scores, self.labels, strict=True):
            metrics.update(score, label)
        return metrics.curve()


def score_samples(
    samples: SampleSet,
    method: Method,
    backbone: Backbone,
    scorer: ScorerId,
    *,
    batch_size: int,
    progress: Callable[[int], None] = lambda images: None,
) -> Scores:
    """Score the test images of a folder as `bench predict` does, and count the pixels of their maps.

    Pixels are counted of the images whose masks are known: normal ones, and anomalous ones that have a mask.

    Args:
        samples: The folder, of one class.
        method: A method that is ready to predict.
        backbone: The method's backbone.
        scorer: What identifies both; it says the class name and the protocol.
        batch_size: Images per forward pass.
        progress: Called with the number of images done since the last call.
    """
    found = Scores(anomalous_pixels=any(sample.mask for sample in samples.test if sample.label))
    size = scorer.protocol.evaluation_size or method.vision().image_size
    scored = score_images(
        [sample.path for sample in samples.test],
        [method],
        backbone,
        class_name=scorer.class_name,
        batch_size=batch_size,
        evaluation_size=scorer.protocol.evaluation_size,
        ranges=scorer.ranges,
    )
    for sample, (each,) in zip(samples.test, scored, strict=True):
        progress(1)
        if not isinstance(each, Scored):
            found.problems.append(each.error)
            found.left_out += 1
            continue
        found.scores.append(each.score)
        found.labels.append(sample.label)
        _count_pixels(found, sample, each, samples, scorer, size=size)
    return found


def _count_pixels(
    found: Scores, sample: Sample, scored: Scored, samples: SampleSet, scorer: ScorerId, *, size: int
) -> None:
    if sample.label and not found.anomalous_pixels:
        return
    rule = scorer.protocol.mask_rule(samples.layout.mask_threshold)
    reading = Reading(size, masks=rule, batch_size=1, workers=0, ranges=scorer.ranges)
    ((loaded,),) = load([sample], reading)  # by which masks are read for a run
    if loaded.mask is None:
        found.problems.append(f"{loaded.error}; it counts for the threshold of images alone")
        return
    found.pixels.update(scored.map, turn(loaded.mask, scored.orientation))
    found.masked += 1


def calibrate(
    found: Scores, scorer: ScorerId, samples: SampleSet, *, rate: float | None, run: dict[str, Any]
) -> Calibration:
    """Choose the thresholds of images and pixels.

    Args:
        found: Scores of the folder's images.
        scorer: What gave them.
        samples: The folder.
        rate: Largest rate of false alarms on normal images; None for F1-max, and for `RATE` without anomalous images.
        run: Time, machine, package versions and git commit of the call.

    Raises:
        PredictError: The images do not say where the threshold lies. The message says what to add or to ask for.
    """
    normal, anomalous = found.labels.count(0), found.labels.count(1)
    name = samples.card.title
    if not normal:
        raise PredictError(
            f"{name}: no normal image could be scored, and a threshold needs some; add some to the folder"
        )
    warnings = []
    if rate is None and not anomalous:
        rate = RATE
        warnings.append(f"there are no anomalous images: the threshold is that of --false-alarms {RATE:g}")
    curve = found.curve()
    value = threshold_of_best_f1(curve) if rate is None else threshold_of_rate(curve, rate)
    if value is None:
        raise PredictError(
            f"{name}: all {normal + anomalous} images have the same score, {found.scores[0]:.6g}, so no threshold "
            "divides them; add other images, or try another method"
        )
    result = outcome(found.scores, found.labels, value)
    rule: Rule = "f1-max" if rate is None else "false-alarms"
    return Calibration(
        **dict(scorer),
        image=ImageThreshold(value=value, rule=rule, rate=rate, outcome=result),
        pixel=_pixel_threshold(found),
        data=CalibrationData(
            name=name,
            fingerprint=samples.fingerprint,
            normal=normal,
            anomalous=anomalous,
            left_out=found.left_out,
        ),
        warnings=(*warnings, *_warnings(result, rate)),
        run=run,
    )


def _pixel_threshold(found: Scores) -> PixelThreshold | None:
    if not found.masked:
        return None
    curve = found.pixels.curve()
    best = threshold_of_best_f1(curve)
    if best is not None:
        return PixelThreshold(value=best, rule="f1-max", rate=None, images=found.masked)
    value = threshold_of_rate(curve, PIXEL_RATE)
    if value is None:
        return None
    return PixelThreshold(value=value, rule="false-alarms", rate=PIXEL_RATE, images=found.masked)


def _warnings(result: Outcome, rate: float | None) -> list[str]:
    """Return what a user must know before relying on a threshold, in sentences."""
    normal = result.false_positives + result.true_negatives
    found = ["the numbers are optimistic: the threshold was chosen on the same images; try it on others"]
    if rate and normal < (fewest := fewest_negatives(rate)):
        found.append(
            f"a false-alarm rate of {rate:g} takes at least {fewest} normal images, and there are {normal}: the "
            "threshold lies above all of them"
        )
    if not result.true_negatives:
        found.append("every image is said to be anomalous: the scores do not tell normal from anomalous here")
    if rate is not None and result.false_negatives and not result.true_positives:
        found.append("no anomalous image is found at this rate")
    return found
