"""The list of metrics: whoever adds one writes its function and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmark.metrics.curve import Curve, FloatArray, aupro, aupro_200, auroc, average_precision, f1_max
from benchmark.metrics.fragile import Range, aupro_200_range

METRICS_VERSION: int = 1  # raised whenever a change can move a number, which a new metric does not; in every result

Level = Literal["sample", "image", "pixel"]
LEVELS: dict[Level, str] = {"image": "Image level", "sample": "Sample level", "pixel": "Pixel level"}
"""Heading of each level. At sample level, the images are views of physical samples, which are judged as a whole."""


@dataclass(frozen=True)
class Metric:
    """A metric of a class: what it is called, and how it is read from the curve of the scores."""

    key: str
    """As records and CSV files spell it; it begins with the level."""
    heading: str
    """As the papers spell it; the level stands above it."""
    value: Callable[[Curve], float | None]
    """Gives it as a fraction, None where it is undefined."""
    main: bool = False
    """Whether the main tables show it, as the papers' main tables do."""
    higher_is_better: bool = True
    value_range: Callable[[Curve, FloatArray, FloatArray], Range | None] | None = None
    """Of a fragile metric: gives the least and the greatest value it takes when scores move in their last digits."""

    @property
    def level(self) -> Level:
        """What is judged: samples, images or pixels."""
        return next(level for level in LEVELS if self.key.startswith(f"{level}_"))

    @property
    def short(self) -> str:
        """The key without its level."""
        return self.key.removeprefix(f"{self.level}_")

    @property
    def title(self) -> str:
        """The heading with the level before it, as in `pixel AUPRO`."""
        return f"{self.level} {self.heading}"

    @property
    def full_heading(self) -> str:
        """The heading with that of the level."""
        return f"{LEVELS[self.level]}, {self.heading}"

    @property
    def fragile(self) -> bool:
        """Whether last digits of the scores move it, so that it is compared by its range."""
        return self.value_range is not None


METRICS = {
    metric.key: metric
    for metric in (
        Metric("image_auroc", "AUROC", auroc, main=True),
        Metric("image_ap", "AP", average_precision, main=True),
        Metric("image_f1max", "F1-max", f1_max),
        Metric("sample_auroc", "AUROC", auroc, main=True),
        Metric("sample_ap", "AP", average_precision, main=True),
        Metric("sample_f1max", "F1-max", f1_max),
        Metric("pixel_auroc", "AUROC", auroc, main=True),
        Metric("pixel_aupro", "AUPRO", aupro, main=True),
        Metric("pixel_aupro_200", "AUPRO-200", aupro_200, value_range=aupro_200_range),
        Metric("pixel_ap", "AP", average_precision),
        Metric("pixel_f1max", "F1-max", f1_max),
    )
}
"""By key; within a level in the order in which reports show them."""


def metrics_of(level: Level) -> tuple[Metric, ...]:
    """Return the metrics of a level."""
    return tuple(metric for metric in METRICS.values() if metric.level == level)


PIXEL_METRICS = tuple(metric.key for metric in metrics_of("pixel"))
MAIN_METRICS = tuple(metric.key for metric in METRICS.values() if metric.main)
