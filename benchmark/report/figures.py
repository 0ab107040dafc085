"""The papers' figures: text features by t-SNE, and the diagram of critical differences."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from benchmark.common import listed
from benchmark.metrics import ClassImages
from benchmark.tables import Ranking

FEWEST_POINTS = 12
"""Smallest number of distinct text embeddings for which a plot is drawn."""
PERPLEXITY = 30
"""Perplexity of t-SNE; less for few points."""
SIDES = ("normal", "abnormal")

Array = npt.NDArray[np.float64]


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


def text_points(title: str, classes: Mapping[str, ClassImages]) -> TextPlot:
    """Place the text embeddings of all classes in the plane by t-SNE (van der Maaten and Hinton, 2008) with seed 0.

    Equal embeddings become one point, for instance those of prompts that do not contain the class name.

    Args:
        title: Title of the method.
        classes: Results per image of the method, by class.
    """
    found: dict[tuple[str, int, bytes], tuple[Array, list[str]]] = {}
    for class_name, images in classes.items():
        for name, embeddings in images.texts.items():
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


def diagram(ranking: Ranking, *, key: str) -> Markup | None:
    """Return the diagram of critical differences (Demšar, 2006) as SVG, or None if there is no Friedman test.

    The SVG draws in the text colour of the page.

    Args:
        ranking: Ranking of the methods by one metric.
        key: Text that makes the ids of the SVG unique within the page.
    """
    p_values = ranking.p_values
    if p_values is None:
        return None
    from matplotlib import rc_context  # slow imports
    from matplotlib.figure import Figure
    from scikit_posthocs import critical_difference_diagram

    names = {
        title: title.replace("$", r"\$") for title in ranking.ranks
    }  # matplotlib reads text between two $ as mathematics
    ranks = {names[title]: rank for title, rank in ranking.ranks.items()}
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": key, "svg.fonttype": "path", "font.size": 9, "text.usetex": False}):
        figure = Figure(figsize=(6.4, 1.0 + 0.16 * len(ranks)))
        critical_difference_diagram(
            ranks,
            p_values.rename(index=names, columns=names),
            ax=figure.subplots(),
            label_fmt_left="{label} ({rank:.2f})  ",  # blanks between a label and its line
            label_fmt_right="  ({rank:.2f}) {label}",
            color_palette=dict.fromkeys(ranks, "#000000"),
        )
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg ") :].replace("<svg ", '<svg class="diagram" ', 1).replace("#000000", "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    # Letters are drawn as paths, so the markup contains no title of a method.
    return Markup(re.sub(r'<g id="[^"]*"', "<g", svg))
