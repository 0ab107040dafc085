"""The papers' figures: text features by t-SNE, qualitative comparison, and the diagram of critical differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.per_image import ClassImages
from benchmark.ranks import Ranking

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


@dataclass(frozen=True)
class Label:
    """A method in the diagram: a line from its rank on the axis down to its name."""

    title: str
    rank: str
    x: float
    y: float
    side: str
    """left or right, where the name stands."""


@dataclass(frozen=True)
class Diagram:
    """The diagram of critical differences (Demšar, 2006), in units of its view box."""

    width: float
    height: float
    axis: tuple[float, float]
    top: float
    ticks: tuple[tuple[float, int], ...]
    labels: tuple[Label, ...]
    bars: tuple[tuple[float, float, float], ...]
    """From x to x at y: methods that are not told apart."""
    difference: tuple[float, str]
    """Its length, and how large it is."""


def diagram(ranking: Ranking) -> Diagram | None:
    """Return the diagram of a ranking, None where there is no Friedman test."""
    if ranking.critical_difference is None:
        return None
    ordered = sorted(ranking.ranks.items(), key=lambda pair: pair[1])
    width, margin, top, line = 560.0, 130.0, 62.0, 21.0
    count = len(ordered)
    per_rank = (width - 2 * margin) / (count - 1)

    def place(rank: float) -> float:
        return round(margin + (rank - 1) * per_rank, 2)

    bars: list[tuple[float, float, float]] = []
    for low, high in cliques([rank for _, rank in ordered], ranking.critical_difference):
        y = top + 9 + 7 * len(bars)
        bars.append((place(ordered[low][1]) - 4, place(ordered[high][1]) + 4, y))
    first = top + 22 + 7 * len(bars)
    half = (count + 1) // 2
    labels = [
        Label(title, f"{rank:.2f}", place(rank), first + line * index, "left")
        for index, (title, rank) in enumerate(ordered[:half])
    ]
    labels += [
        Label(title, f"{rank:.2f}", place(rank), first + line * index, "right")
        for index, (title, rank) in enumerate(reversed(ordered[half:]))
    ]
    return Diagram(
        width=width,
        height=first + line * half,
        axis=(margin, width - margin),
        top=top,
        ticks=tuple((place(rank), rank) for rank in range(1, count + 1)),
        labels=tuple(labels),
        bars=tuple(bars),
        difference=(
            round(min(ranking.critical_difference * per_rank, width - margin), 2),
            f"{ranking.critical_difference:.2f}",
        ),
    )


def cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the largest runs of ascending ranks, by first and last index, whose ends are less apart than that."""
    runs: list[tuple[int, int]] = []
    for low, start in enumerate(ranks):
        high = max(index for index, rank in enumerate(ranks) if rank - start < difference)
        if high > low and not any(high <= last for _, last in runs):
            runs.append((low, high))
    return runs
