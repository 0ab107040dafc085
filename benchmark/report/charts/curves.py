"""ROC, precision-recall and PRO curves of a class, from the results per image that are stored with a record.

The image level is exact. At pixel level the stored histograms have at most 256 bins. The area under a curve is then the
value of the record to about 1e-4 in AUROC and AUPRO, but far from it where scores saturate, so that many pixels share a
bin; the methods of which that holds are named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmark.metrics import FPR_LIMIT, METRICS, ClassImages, Curve, descending_curve
from benchmark.report.charts.chart import DASHES, STEPS, Chart, look, packed
from benchmark.report.values import UNDEFINED

TOLERANCE = 5e-4
"""Greatest distance of a point that is left out from the curve that is drawn: a fifth of a pixel."""
COARSE = 0.005
"""Difference between the area under a curve and the value of the record from which on the page says so."""

Array = npt.NDArray[np.float64]


def image_curve(images: ClassImages) -> Curve:
    """Return the curve of the image scores."""
    scores, places = np.unique(images.scores, return_inverse=True)
    sides = (np.bincount(places[images.labels == label], minlength=len(scores)) for label in (0, 1))
    return descending_curve(scores, *sides)


def pixel_curve(images: ClassImages) -> Curve | None:
    """Return the curve of the pixels by the bins that are stored, or None if there are no masks."""
    bins = images.pixels
    if bins is None:
        return None
    negatives, positives, weights = (
        side.sum(axis=0, dtype=np.float64) for side in (bins.negatives, bins.positives, bins.weights)
    )
    places = np.arange(len(negatives))  # the scores of bins are not stored, and no rate needs them
    return descending_curve(places, negatives, positives, weights=weights, regions=int(bins.regions.sum()))


def roc(curve: Curve) -> Array | None:
    """Return false and true positive rates `(2, K)`, from (0, 0) to (1, 1), or None with one label.

    The area is the AUROC.
    """
    if not curve.negatives or not curve.positives:
        return None
    rates = np.stack([curve.false_positives / curve.negatives, curve.true_positives / curve.positives])
    return np.concatenate([np.zeros((2, 1)), rates], axis=1)


def precision_recall(curve: Curve) -> Array | None:
    """Return recall and precision `(2, 2 K)` as steps, or None with one label.

    Precision between two thresholds is that of the lower one, so the area is the average precision; straight lines
    between the thresholds would overstate it (Davis and Goadrich, ICML 2006).
    """
    points = precision_recall_of_bins(curve)
    if points is None:
        return None
    recall, precision = points
    return np.stack([np.repeat(recall, 2)[1:-1], np.repeat(precision[1:], 2)])


def precision_recall_of_bins(curve: Curve) -> Array | None:
    """Return recall and precision `(2, K + 1)` at the ends of bins, or None with one label.

    A bin holds many scores, so a straight line across it is nearer to the curve of these than a step is.
    """
    if not curve.positives or not curve.negatives:
        return None
    recall = curve.true_positives / curve.positives
    precision = curve.true_positives / (curve.true_positives + curve.false_positives)
    return np.stack([np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])])


def pro(curve: Curve) -> Array | None:
    """Return false positive rates and mean region overlaps `(2, K)` up to a rate of 0.3, or None without regions.

    The area, divided by 0.3, is the AUPRO.
    """
    if not curve.negatives or not curve.positives or not curve.overlap.any():
        return None
    rates = np.concatenate([np.zeros((2, 1)), [curve.false_positives / curve.negatives, curve.overlap]], axis=1)
    cut = int(np.searchsorted(rates[0], FPR_LIMIT, side="right"))
    end = np.interp(FPR_LIMIT, rates[0, cut - 1 : cut + 1], rates[1, cut - 1 : cut + 1])
    return np.concatenate([rates[:, :cut], [[FPR_LIMIT], [end]]], axis=1)


def thinned(points: Array, tolerance: float = TOLERANCE) -> Array:
    """Return some of the points `(2, K)`, such that no point is farther than `tolerance` from the lines between them.

    The rule is that of Ramer (1972), Douglas and Peucker (1973): of each line the point that is farthest from it is
    kept, until none is too far. All lines of a round are treated at once.
    """
    kept = np.zeros(points.shape[1], bool)
    kept[[0, -1]] = True
    while True:
        ends = np.flatnonzero(kept)
        if len(ends) < 2:
            return points[:, kept]
        line = np.minimum(np.cumsum(kept) - 1, len(ends) - 2)
        start, step = points[:, ends[line]], np.diff(points[:, ends], axis=1)[:, line]
        length = np.maximum(np.sum(step**2, axis=0), np.finfo(float).tiny)
        along = np.clip(np.sum((points - start) * step, axis=0) / length, 0, 1)
        distance = np.hypot(*(points - start - along * step))
        farthest = (distance == np.maximum.reduceat(distance, ends[:-1])[line]) & (distance > tolerance)
        if not farthest.any():
            return points[:, kept]
        kept |= farthest


@dataclass(frozen=True)
class CurveKind:
    """A kind of curve."""

    metric: str
    """Key of the metric that is the area under it."""
    title: str
    axes: tuple[str, str]
    points: Callable[[Curve], Array | None]
    range: tuple[float, float] = (0, 1)
    """Of the horizontal axis."""
    tolerance: float = TOLERANCE
    """Greatest distance of a point that is left out; more where the bins tell no more."""


_ROC = ("false positive rate", "true positive rate")
_PR = ("recall", "precision")
CURVES: Mapping[Literal["image", "pixel"], Sequence[CurveKind]] = {
    "image": (
        CurveKind("image_auroc", "ROC, images", _ROC, roc),
        CurveKind("image_ap", "Precision-recall, images", _PR, precision_recall),
    ),
    "pixel": (
        CurveKind("pixel_auroc", "ROC, pixels", _ROC, roc),
        CurveKind("pixel_ap", "Precision-recall, pixels", _PR, precision_recall_of_bins, tolerance=4 * TOLERANCE),
        CurveKind("pixel_aupro", "PRO", (_ROC[0], "mean overlap of regions"), pro, (0, FPR_LIMIT)),
    ),
}


@dataclass(frozen=True)
class KeyRow:
    """A row of the key to the curves: how the lines of a method look, and its numbers."""

    title: str
    colour: str
    dash: str
    """One of `DASHES`."""
    numbers: tuple[str, ...]
    """Values of its record, in percent, by chart."""


@dataclass(frozen=True)
class ClassCurves:
    """The curves of a class: a chart per kind of curve, and one key to all of them."""

    charts: tuple[Chart, ...]
    columns: Mapping[str, tuple[str, ...]]
    """Headings of the numbers in the key, by level."""
    key: tuple[KeyRow, ...]
    coarse: tuple[str, ...]
    """Titles of the methods of which an area is farther than `COARSE` from the value of the record."""


def class_curves(
    images: Mapping[str, ClassImages], values: Mapping[str, Mapping[str, float | None]], titles: Sequence[str]
) -> ClassCurves | None:
    """Return the curves of a class, or None if no curve is defined.

    Args:
        images: Results per image of the class, by method.
        values: Values of the records by method and metric, as fractions.
        titles: All methods in their order, which gives each its colour and dash.
    """
    found = {title: {"image": image_curve(of), "pixel": pixel_curve(of)} for title, of in images.items()}
    looks = {title: look(place) for place, title in enumerate(titles)}
    charts, metrics = [], []
    coarse: dict[str, None] = {}
    for level, kinds in CURVES.items():
        for kind in kinds:
            lines = {
                title: points
                for title, curves in found.items()
                if (curve := curves[level]) is not None and (points := kind.points(curve)) is not None
            }
            if lines:
                metrics.append(kind.metric)
                charts.append(_chart(kind, lines, looks))
                coarse |= dict.fromkeys(t for t, p in lines.items() if _is_coarse(p, kind, values[t].get(kind.metric)))
    if not charts:
        return None
    key = tuple(
        KeyRow(title, *looks[title], tuple(_percent(values[title].get(metric)) for metric in metrics))
        for title in images
    )
    levels: dict[str, None] = dict.fromkeys(METRICS[metric].level for metric in metrics)
    columns = {
        level: tuple(METRICS[metric].heading for metric in metrics if METRICS[metric].level == level)
        for level in levels
    }
    return ClassCurves(tuple(charts), columns, key, tuple(title for title in titles if title in coarse))


def _is_coarse(points: Array, kind: CurveKind, value: float | None) -> bool:
    area = float(np.trapezoid(points[1], points[0])) / kind.range[1]
    return value is not None and abs(area - value) > COARSE


def _chart(kind: CurveKind, lines: Mapping[str, Array], looks: Mapping[str, tuple[str, str]]) -> Chart:
    data: list[dict[str, Any]] = []
    for title, points in lines.items():
        colour, dash = looks[title]
        x, y = thinned(points, kind.tolerance)
        line = {"color": colour} | ({} if dash == DASHES[0] else {"dash": dash})
        data.append({"meta": title, "line": line, "x": packed(x), "y": packed(y)})
    margin = kind.range[1] / 100  # a line along the edge is seen whole
    layout = {
        "meta": {"steps": STEPS},
        "template": {"data": {"scatter": [{"mode": "lines", "line": {"width": 1.5}}]}},
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 48, "r": 8, "t": 8, "b": 44},
        "xaxis": {"title": {"text": kind.axes[0]}, "range": [-margin, kind.range[1] + margin], "hoverformat": ".3f"},
        "yaxis": {"title": {"text": kind.axes[1]}, "range": [-0.01, 1.01], "hoverformat": ".3f"},
    }
    alternative = (
        f"{kind.title}, a line per method; the {METRICS[kind.metric].title} of each stands in the table beside."
    )
    key = f"curve-{kind.metric.replace('_', '-')}"
    return Chart(key, kind.title, {"data": data, "layout": layout}, height=310, alternative=alternative)


def _percent(fraction: float | None) -> str:
    return UNDEFINED if fraction is None else f"{100 * fraction:.1f}"
