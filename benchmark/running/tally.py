"""What methods have scored so far: class by class, and in parts of a dataset that are scored apart and add up."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmark.data import Loaded
from benchmark.metrics import PIXEL_METRICS, ClassImages, Gathering, ImageMetrics, PixelMetrics
from benchmark.records import ClassResult, Skipped

FloatArray = npt.NDArray[np.float32]


@dataclass
class Tally:
    """What a method has scored of one class, or of those of its images that a part holds."""

    image: ImageMetrics = field(default_factory=ImageMetrics)
    pixel: PixelMetrics = field(default_factory=PixelMetrics)
    skipped: list[Skipped] = field(default_factory=list)
    images: Gathering = field(default_factory=Gathering)

    def add(self, item: Loaded, score: float, raw: FloatArray, evaluated: FloatArray | None) -> None:
        """Add an image with its score, its map (h, w) as predicted, and the one (S, S) that is evaluated.

        Raises:
            ValueError: a score is NaN or infinite; names the image.
        """
        try:
            self.image.update(score, item.sample.label)
            self.images.add(item.sample.key, item.sample.label, score, raw)
            if evaluated is not None and item.mask is not None:
                self.pixel.update(evaluated, item.mask)
                self.images.add_pixels(evaluated, item.mask)
        except ValueError as error:
            raise ValueError(f"{item.sample.path}: {error}") from error

    def merge(self, other: "Tally") -> None:
        """Add the images of another tally, which come after these."""
        self.image.merge(other.image)
        self.pixel.merge(other.pixel)
        self.skipped += other.skipped
        self.images.merge(other.images)

    def result(self, *, with_masks: bool) -> ClassResult:
        """Return the metrics of the class; those of pixels are null without masks."""
        pixel = self.pixel.compute() if with_masks else dict.fromkeys(PIXEL_METRICS)
        anomalous = sum(self.images.labels)
        return ClassResult(
            normal=len(self.images.labels) - anomalous,
            anomalous=anomalous,
            skipped=tuple(self.skipped),
            metrics={**self.image.compute(), **pixel},
            ranges=self.pixel.compute_ranges() if with_masks else {},
        )


@dataclass
class Outcome:
    """What became of one method in a pass over a dataset, or over a part of it."""

    classes: dict[str, ClassResult] = field(default_factory=dict)
    images: dict[str, ClassImages] = field(default_factory=dict)
    """Results per image by class; none of a class of which no image could be read."""
    unfinished: dict[str, Tally] = field(default_factory=dict)
    """Classes that have images in another part too."""
    image_size: int | None = None
    """Side of the maps that were evaluated, in pixels."""
    error: Exception | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def finish(self, class_name: str, tally: Tally, *, with_masks: bool) -> None:
        """Take in a class of which all images are in."""
        self.classes[class_name] = tally.result(with_masks=with_masks)
        if tally.images.keys:
            self.images[class_name] = tally.images.finish()


def merged(parts: Sequence[Outcome], order: Sequence[str], *, with_masks: bool) -> Outcome:
    """Return what one pass over all images would have given, of parts in the order of the images.

    Args:
        parts: of one method; those that failed have no place here.
        order: the classes, as they come in the dataset.
        with_masks: whether there are pixel metrics.
    """
    whole, unfinished = Outcome(image_size=parts[0].image_size), dict[str, Tally]()
    for part in parts:
        whole.classes |= part.classes
        whole.images |= part.images
        for name, seconds in part.seconds.items():
            whole.seconds[name] = whole.seconds.get(name, 0.0) + seconds
        for class_name, tally in part.unfinished.items():
            unfinished.setdefault(class_name, Tally()).merge(tally)
    for class_name, tally in unfinished.items():
        whole.finish(class_name, tally, with_masks=with_masks)
    # Means are sums of floats: in another order of classes they would differ in their last bit.
    whole.classes = {name: whole.classes[name] for name in order}
    whole.images = {name: whole.images[name] for name in order if name in whole.images}
    return whole
