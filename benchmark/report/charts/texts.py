"""The text features of a method, placed in the plane by t-SNE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.common import listed
from benchmark.metrics import ClassImages
from benchmark.report.charts.chart import PALETTE, SYMBOLS, Chart, escape

FEWEST_POINTS = 12
"""Smallest number of distinct text embeddings for which a plot is drawn."""
PERPLEXITY = 30
"""Perplexity of t-SNE; less for few points."""
SIDES = ("normal", "abnormal")

Array = npt.NDArray[np.float64]
TextFeatures = Mapping[str, Mapping[str, Mapping[str, npt.NDArray[Any]]]]
"""Text embeddings of a dataset `(M, 2, D)`, by method, class, and what the method calls them."""


@dataclass(frozen=True)
class TextPoint:
    """A text embedding, placed in the plane."""

    x: float
    y: float
    side: str
    """One of `SIDES`."""
    name: str
    """Name that the method gives to this kind of text embedding."""
    class_names: str
    """Classes that have this embedding."""


@dataclass(frozen=True)
class TextPlot:
    """The text embeddings of a method on a dataset, placed in the plane together."""

    title: str
    points: tuple[TextPoint, ...]
    """Empty if there are fewer than `FEWEST_POINTS` distinct embeddings."""
    distinct: int
    """Number of distinct embeddings."""


def text_features(images: Mapping[str, Mapping[str, ClassImages]]) -> TextFeatures:
    """Return the text embeddings that are stored with the results per image of a dataset, by method and class."""
    return {title: {name: of.texts for name, of in classes.items()} for title, classes in images.items()}


def text_points(title: str, classes: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> TextPlot:
    """Place the text embeddings of all classes in the plane by t-SNE (van der Maaten and Hinton, 2008) with seed 0.

    Equal embeddings become one point, for instance those of prompts that do not contain the class name.

    Args:
        title: Title of the method.
        classes: Text embeddings of the method, by class and what the method calls them.
    """
    found: dict[tuple[str, int, bytes], tuple[Array, list[str]]] = {}
    for class_name, texts in classes.items():
        for name, embeddings in texts.items():
            for pair in embeddings.astype(np.float64):
                for side in (0, 1):
                    _, names = found.setdefault((name, side, pair[side].tobytes()), (pair[side], []))
                    if class_name not in names:
                        names.append(class_name)
    if len(found) < FEWEST_POINTS:
        return TextPlot(title, (), len(found))
    from sklearn.manifold import TSNE

    vectors = np.stack([vector for vector, _ in found.values()])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    plane = TSNE(random_state=0, init="pca", perplexity=perplexity, n_jobs=1).fit_transform(vectors)
    points = tuple(
        TextPoint(round(float(x), 2), round(float(y), 2), SIDES[side], name, listed(names, 3))
        for (x, y), ((name, side, _), (_, names)) in zip(plane, found.items(), strict=True)
    )
    return TextPlot(title, points, len(found))


def text_chart(dataset: str, texts: TextPlot, key: str) -> Chart:
    """Return a chart of text embeddings, with a colour for normal and abnormal and a symbol per kind of embedding."""
    names = list(dict.fromkeys(point.name for point in texts.points))
    data = []
    for index, name in enumerate(names):
        for colour, side in zip((PALETTE[0], PALETTE[6]), SIDES, strict=True):
            same = [point for point in texts.points if point.name == name and point.side == side]
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": side if len(names) == 1 else escape(f"{name}, {side}"),
                    "x": [point.x for point in same],
                    "y": [point.y for point in same],
                    "text": [escape(point.class_names) for point in same],
                    "hovertemplate": "%{text}<extra>" + f"{side}</extra>",
                    "marker": {
                        "color": colour,
                        "symbol": SYMBOLS[index % len(SYMBOLS)],
                        "size": 7 if len(texts.points) > 100 else 10,
                        "opacity": 0.85,
                        "line": {"width": 0},
                    },
                }
            )
    axis = {"showticklabels": False, "showgrid": False, "zeroline": False, "mirror": True, "showline": True}
    layout = {
        "xaxis": axis,
        "yaxis": axis,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": {"y": -0.02, "yanchor": "top", "itemsizing": "constant"},
    }
    return Chart(key, f"{texts.title} on {dataset}", {"data": data, "layout": layout}, height=360 + 12 * len(names))
