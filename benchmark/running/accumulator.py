"""Accumulation of what a method gives for the images of one class."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmark.data import Loaded
from benchmark.metrics import PIXEL_METRICS, ClassImages, ImageMetrics, PerImageAccumulator, PixelMetrics
from benchmark.records import ClassResult, Skipped

FloatArray = npt.NDArray[np.float32]


@dataclass
class ClassAccumulator:
    """Collects scores and maps image by image; memory grows by a few kB per image."""

    image: ImageMetrics = field(default_factory=ImageMetrics)
    pixel: PixelMetrics = field(default_factory=PixelMetrics)
    skipped: list[Skipped] = field(default_factory=list)
    images: PerImageAccumulator = field(default_factory=PerImageAccumulator)

    def add(self, item: Loaded, score: float, raw: FloatArray, evaluated: FloatArray | None) -> None:
        """Add an image with its score, its map (h, w) as predicted, and the map (S, S) that is evaluated.

        Raises:
            ValueError: a score is NaN or infinite; the message names the image.
        """
        try:
            sample = item.sample
            self.image.update(score, sample.label)
            self.images.add(sample.key, sample.label, score, raw, photograph=sample.photograph)
            if evaluated is not None and item.mask is not None:
                self.pixel.update(evaluated, item.mask)
                self.images.add_pixels(evaluated, item.mask)
        except ValueError as error:
            raise ValueError(f"{item.sample.path}: {error}") from error

    def result(self, *, with_masks: bool) -> ClassResult:
        """Return the metrics of the class; those at pixel level are null without masks."""
        pixel = self.pixel.compute() if with_masks else dict.fromkeys(PIXEL_METRICS)
        anomalous = sum(self.images.labels)
        return ClassResult(
            normal=len(self.images.labels) - anomalous,
            anomalous=anomalous,
            skipped=tuple(self.skipped),
            metrics={**self.image.compute(), **pixel},
            ranges=self.pixel.compute_ranges() if with_masks else {},
        )

    def per_image(self) -> ClassImages | None:
        """Return the results per image; None where no image could be read."""
        return self.images.finish() if self.images.keys else None
