"""Parts of a call: what one method gives for all of its images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmark.clip import Backbone
from benchmark.contract import Method, Prediction
from benchmark.predict.own_images import InputImage
from benchmark.predict.predictions import (
    ColourScale,
    ImagePrediction,
    Predictions,
    ThresholdUsed,
    common_scale,
    describe,
)
from benchmark.predict.scorer import Scorer, ScorerId
from benchmark.predict.scoring import Floats, Scored, resized, score_images
from benchmark.running import Maps


@dataclass(frozen=True)
class Part:
    """What one method gives for all images of a call."""

    scorer: ScorerId
    method: Method
    threshold: ThresholdUsed | None
    images: tuple[ImagePrediction, ...]
    raws: tuple[Maps | None, ...]
    """Maps of the upright photos as the method returned them; None where an image has no score. All maps are kept in
    this size until they are drawn, since the common colour scale takes all values."""

    @property
    def scale(self) -> ColourScale | None:
        """The colour scale of all heatmaps; None where no image has a score."""
        return common_scale(self.images)

    def map_of(self, index: int) -> Floats | None:
        """Return the map of an image at the evaluation size; None where it has no score."""
        if (raw := self.raws[index]) is None:
            return None
        again = Prediction(scores=torch.zeros(1), maps=raw)
        _, maps = resized(again, self.method, self.scorer.protocol.evaluation_size)
        return np.asarray(maps[0], dtype=np.float32)

    def predictions(self, images: Sequence[ImagePrediction], run: Mapping[str, Any]) -> Predictions:
        """Return the content of `predictions.json`.

        Args:
            images: The images, with what was drawn of them.
            run: Time, machine, package versions and git commit of the call.
        """
        size = self.method.vision().image_size
        return Predictions(
            **dict(self.scorer),
            image_size=size,
            map_size=self.scorer.protocol.evaluation_size or size,
            threshold=self.threshold,
            scale=self.scale,
            images=tuple(images),
            run=dict(run),
        )


def score_found(
    found: Sequence[InputImage],
    scorers: Sequence[Scorer],
    backbone: Backbone,
    *,
    thresholds: Mapping[str, ThresholdUsed],
    batch_size: int,
    progress: Callable[[int], None] = lambda images: None,
) -> list[Part]:
    """Score the images with each method, without drawing anything.

    Args:
        found: The images.
        scorers: The methods, all of the same class name, protocol and ranges.
        backbone: Their backbone.
        thresholds: Thresholds by name of the method, of those that have one.
        batch_size: Images per forward pass.
        progress: Called with the number of images scored since the last call.
    """
    methods = [scorer.build(backbone) for scorer in scorers]
    first = scorers[0].id
    images: list[list[ImagePrediction]] = [[] for _ in scorers]
    raws: list[list[Maps | None]] = [[] for _ in scorers]
    limits = [thresholds.get(scorer.id.method) for scorer in scorers]
    for outcomes in score_images(
        [each.path for each in found],
        methods,
        backbone,
        class_name=first.class_name,
        batch_size=batch_size,
        evaluation_size=first.protocol.evaluation_size,
        ranges=first.ranges,
    ):
        for index, scored in enumerate(outcomes):
            images[index].append(describe(scored, limits[index]))
            raws[index].append(scored.raw if isinstance(scored, Scored) else None)
        progress(1)
    parts = zip(scorers, methods, limits, images, raws, strict=True)
    return [Part(scorer.id, method, limit, tuple(of), tuple(maps)) for scorer, method, limit, of, maps in parts]
