"""Accumulation of what a method gives for the images of one class."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmark.common import printable
from benchmark.data import Loaded
from benchmark.metrics import (
    DEFECT_BINS,
    PIXEL_METRICS,
    ClassImages,
    ImageMetrics,
    PerImageAccumulator,
    PixelMetrics,
    Range,
    image_pixels,
)
from benchmark.records import ClassResult, DefectResult, Skipped

FloatArray = npt.NDArray[np.float32]


@dataclass
class DefectAccumulator:
    """Collects the images of one kind of defect, in at most 6 MB."""

    image: ImageMetrics = field(default_factory=ImageMetrics)
    # Only three maps of 518 px wait to be counted: kinds are many.
    pixel: PixelMetrics = field(default_factory=lambda: PixelMetrics(max_bins=DEFECT_BINS, buffer_pixels=2**20))
    images: int = 0

    def result(self, normal: ImageMetrics, *, with_masks: bool) -> DefectResult:
        """Return the metrics of the kind, given the normal images of its class."""
        against = ImageMetrics()
        against.merge(normal)
        against.merge(self.image)
        pixel, ranges = _values(self.pixel, with_masks=with_masks)
        return DefectResult(
            images=self.images,
            metrics={**against.compute(), **pixel},
            ranges=against.compute_ranges() | ranges,
        )


def _values(pixel: PixelMetrics, *, with_masks: bool) -> tuple[dict[str, float | None], dict[str, Range]]:
    """Return the metrics at pixel level, which are null without masks, and the ranges of fragile ones."""
    if not with_masks:
        return dict.fromkeys(PIXEL_METRICS), {}
    curve = pixel.curve()
    return pixel.compute(curve), pixel.compute_ranges(curve)


@dataclass
class ClassAccumulator:
    """Collects scores and maps image by image; memory grows by a few kB per image."""

    image: ImageMetrics = field(default_factory=ImageMetrics)
    normal: ImageMetrics = field(default_factory=ImageMetrics)
    """Of the normal images, which every kind of defect is held against."""
    pixel: PixelMetrics = field(default_factory=PixelMetrics)
    defects: dict[str, DefectAccumulator] = field(default_factory=dict)
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
            pixels = None if evaluated is None or item.regions is None else image_pixels(evaluated, item.regions)
        except ValueError as error:
            raise ValueError(f"{item.sample.path}: {error}") from error
        if pixels is not None:
            self.pixel.add(pixels)
            self.images.add_pixels(pixels)
        if not sample.label:
            self.normal.update(score, sample.label)
        elif sample.defect:
            kind = self.defects.setdefault(printable(sample.defect), DefectAccumulator())
            kind.images += 1
            kind.image.update(score, sample.label)
            if pixels is not None:
                kind.pixel.add(pixels)

    def result(self, *, with_masks: bool) -> ClassResult:
        """Return the metrics of the class and of its kinds of defect; those at pixel level are null without masks."""
        pixel, ranges = _values(self.pixel, with_masks=with_masks)
        anomalous = sum(self.images.labels)
        return ClassResult(
            normal=len(self.images.labels) - anomalous,
            anomalous=anomalous,
            skipped=tuple(self.skipped),
            metrics={**self.image.compute(), **pixel},
            ranges=self.image.compute_ranges() | ranges,
            defects={
                name: kind.result(self.normal, with_masks=with_masks) for name, kind in sorted(self.defects.items())
            },
        )

    def per_image(self) -> ClassImages | None:
        """Return the results per image; None where no image could be read."""
        return self.images.finish() if self.images.keys else None
