"""The papers' figures: text features by t-SNE, and the diagram of critical differences."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from benchmark.metrics import ClassImages
from benchmark.tables import Ranking

FEWEST_POINTS = 12
"""Fewer distinct text embeddings are not worth a plot."""
PERPLEXITY = 30
SIDES = ("normal", "abnormal")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A text embedding in the plane."""

    x: float
    y: float
    side: str
    name: str
    """What the method calls it."""
    class_names: str


@dataclass(frozen=True)
class Texts:
    """The text embeddings of a method on a dataset, put into the plane together; without points if there are few."""

    title: str
    points: tuple[Point, ...]
    distinct: int


def text_points(title: str, classes: Mapping[str, ClassImages]) -> Texts:
    """Put the text embeddings of all classes into the plane by t-SNE (van der Maaten and Hinton, 2008), seed 0.

    Embeddings that are equal, as those of prompts that do not name the class, are one point.
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
        return Texts(title, (), len(found))
    from sklearn.manifold import TSNE

    vectors = np.stack([vector for vector, _ in found.values()])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    plane = TSNE(random_state=0, init="pca", perplexity=perplexity, n_jobs=1).fit_transform(vectors)
    points = tuple(
        Point(round(float(x), 2), round(float(y), 2), SIDES[side], name, _listed(names))
        for (x, y), ((name, side, _), (_, names)) in zip(plane, found.items(), strict=True)
    )
    return Texts(title, points, len(found))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def diagram(ranking: Ranking, *, key: str) -> Markup | None:
    """Return the diagram of critical differences (Demšar, 2006) as SVG, None where there is no Friedman test.

    Its black is the page's ink.

    Args:
        ranking: by a metric.
        key: by which what it clips is named; no two diagrams of a page have the same.
    """
    p_values = ranking.p_values
    if p_values is None:
        return None
    from matplotlib import rc_context  # these imports take seconds
    from matplotlib.figure import Figure
    from scikit_posthocs import critical_difference_diagram

    names = {title: title.replace("$", r"\$") for title in ranking.ranks}  # else what stands between two is mathematics
    ranks = {names[title]: rank for title, rank in ranking.ranks.items()}
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": key, "svg.fonttype": "path", "font.size": 9, "text.usetex": False}):
        figure = Figure(figsize=(6.4, 1.0 + 0.16 * len(ranks)))
        critical_difference_diagram(
            ranks,
            p_values.rename(index=names, columns=names),
            ax=figure.subplots(),
            label_fmt_left="{label} ({rank:.2f})",
            label_fmt_right="({rank:.2f}) {label}",
            color_palette=dict.fromkeys(ranks, "#000000"),
        )
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg ") :].replace("<svg ", '<svg class="diagram" ', 1).replace("#000000", "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    # Letters are drawn as paths, so no title is part of the markup.
    return Markup(re.sub(r'<g id="[^"]*"', "<g", svg))
