"""The metrics of whole arrays, for those who need nothing else of the benchmark."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.pixel import PixelMetrics


def image_metrics(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float | None]:
    """Return AUROC, AP and F1-max of image scores as fractions by their keys, such as `image_auroc`.

    Args:
        labels: 0 (normal) or 1 (anomalous) for each image, of shape `(N,)`.
        scores: A score for each image, of shape `(N,)`. A higher score is more anomalous.

    Returns:
        The values of the metrics of the level `image`; None where they are undefined, as with one label only.

    Raises:
        ValueError: The shapes differ, a label is another, or a score is not finite.
    """
    known, found = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or known.shape != found.shape:
        raise ValueError(f"labels have shape {known.shape} and scores {found.shape}; both must be the same (N,)")
    metrics = ImageMetrics()
    for label, score in zip(known.tolist(), found.tolist(), strict=True):
        metrics.update(score, label)
    return metrics.compute()


def pixel_metrics(masks: Iterable[npt.NDArray[Any]], maps: Iterable[npt.NDArray[Any]]) -> dict[str, float | None]:
    """Return AUROC, AUPRO, AUPRO-200, AP and F1-max of anomaly maps as fractions by their keys, such as `pixel_aupro`.

    Args:
        masks: A mask (H, W) for each image, bool or of 0 and 1, where 1 stands for a defect: an array `(N, H, W)`, or
            arrays of several sizes, one after the other. Those of normal images are empty.
        maps: An anomaly map (H, W) of floats for each image, compared as float32. A higher value is more anomalous.

    Returns:
        The values of the metrics of the level `pixel`; None where they are undefined, as without any defect.

    Raises:
        ValueError: There are more masks than maps or the other way round, shapes differ, a mask holds other values, or
            a map holds values that are not finite.
    """
    metrics = PixelMetrics()
    for mask, anomaly_map in zip(masks, maps, strict=True):
        values = np.asarray(mask)
        if values.dtype != np.bool_ and not np.isin(values, (0, 1)).all():
            raise ValueError(
                "a mask holds values other than 0 and 1; say from which on a pixel is a defect: mask > 127"
            )
        metrics.update(np.asarray(anomaly_map), values != 0)  # bool of 1-bit images holds bytes of 255, too
    return metrics.compute()
