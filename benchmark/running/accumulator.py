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
    map_limits,
    require_score,
    sample_maxima,
)
from benchmark.records import ClassResult, DefectResult, Skipped

FloatArray = npt.NDArray[np.float32]


@dataclass
class DefectAccumulator:
    """Collects the images of one kind of defect, in at most 6 MB."""

    # Only three maps of 518 px wait to be counted: kinds are many.
    pixel: PixelMetrics = field(default_factory=lambda: PixelMetrics(max_bins=DEFECT_BINS, buffer_pixels=2**20))
    images: int = 0

    def result(self, image: ImageMetrics, *, with_masks: bool) -> DefectResult:
        """Return the metrics of the kind, given those of its images and the normal ones of its class."""
        pixel, ranges = _values(self.pixel, with_masks=with_masks)
        return DefectResult(
            images=self.images,
            metrics={**image.compute(), **pixel},
            ranges=image.compute_ranges() | ranges,
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

    pixel: PixelMetrics = field(default_factory=PixelMetrics)
    defects: dict[str, DefectAccumulator] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    images: PerImageAccumulator = field(default_factory=PerImageAccumulator)
    """Whose scores may be replaced once all images are there: the metrics of images are computed at the end."""
    kinds: list[str] = field(default_factory=list)
    """Of each image; empty where it is normal, or of no named kind."""
    lowest: list[float] = field(default_factory=list)
    """The lowest value of the map of each image, as it is evaluated; empty if maps are not."""
    highest: list[float] = field(default_factory=list)
    """The highest value, likewise."""

    def add(self, item: Loaded, score: float, raw: FloatArray, evaluated: FloatArray | None) -> None:
        """Add an image with its score, its map (h, w) as predicted, and the map (S, S) that is evaluated.

        Raises:
            ValueError: a score is NaN or infinite; the message names the image.
        """
        sample, pixels = item.sample, None
        try:
            require_score(score)
            self.images.add(sample.key, sample.label, score, raw, photograph=sample.photograph, sample=sample.view_of)
            if evaluated is not None:
                pixels = image_pixels(evaluated, item.regions) if item.regions is not None else None
                low, high = pixels.limits if pixels else map_limits(evaluated)
                self.lowest.append(low)
                self.highest.append(high)
        except ValueError as error:
            raise ValueError(f"{item.sample.path}: {error}") from error
        if pixels is not None:
            self.pixel.add(pixels)
            self.images.add_pixels(pixels)
        self.kinds.append(printable(sample.defect) if sample.label else "")
        if self.kinds[-1]:
            kind = self.defects.setdefault(self.kinds[-1], DefectAccumulator())
            kind.images += 1
            if pixels is not None:
                kind.pixel.add(pixels)

    def result(self, *, with_masks: bool, with_samples: bool = False) -> ClassResult:
        """Return the metrics of the class and of its kinds of defect.

        Args:
            with_masks: whether there are masks; without, metrics at pixel level are null.
            with_samples: whether the images are views of physical samples; without, there is no metric at sample level.
                Kinds of defect have none.
        """
        pixel, ranges = _values(self.pixel, with_masks=with_masks)
        anomalous = sum(self.images.labels)
        levels = [self._of_images(), *([self._of_samples()] if with_samples else [])]
        return ClassResult(
            normal=len(self.images.labels) - anomalous,
            anomalous=anomalous,
            skipped=tuple(self.skipped),
            metrics={key: value for each in levels for key, value in each.compute().items()} | pixel,
            ranges={key: value for each in levels for key, value in each.compute_ranges().items()} | ranges,
            defects={
                name: kind.result(self._of_images(name), with_masks=with_masks)
                for name, kind in sorted(self.defects.items())
            },
        )

    def _of_images(self, wanted: str | None = None) -> ImageMetrics:
        """Return the metrics of the normal images and of the anomalous ones, or of those of one kind."""
        found = ImageMetrics()
        for score, label, kind in zip(self.images.scores, self.images.labels, self.kinds, strict=True):
            if not label or wanted in (None, kind):
                found.update(score, label)
        return found

    def _of_samples(self) -> ImageMetrics:
        """Return the metrics of the physical samples, of which the images are views."""
        found, of = ImageMetrics("sample"), self.images
        for score, label in zip(*sample_maxima(of.samples, of.scores, of.labels), strict=True):
            found.update(score, label)
        return found

    def per_image(self) -> ClassImages | None:
        """Return the results per image; None where no image could be read."""
        return self.images.finish() if self.images.keys else None
