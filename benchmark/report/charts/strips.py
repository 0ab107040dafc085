"""Strips of the image scores of a class: a row per method, normal images above anomalous ones."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.common import counted
from benchmark.metrics import ClassImages
from benchmark.report.charts.chart import LONGEST, PALETTE, STEPS, Chart, ChartTable, packed
from benchmark.report.class_images import common_images
from benchmark.report.values import UNDEFINED

MOST_IMAGES = 400
"""Beyond so many images of a class, a mark stands for all images in a bin."""
BINS = 100
"""Number of bins from the lowest to the highest score of a method."""
ROW = 34
"""Height of a row in pixels."""
BORDER = 100
"""Height of what is above and below the rows, in pixels."""
SIDES = (
    {"name": "normal", "color": PALETTE[0], "symbol": "circle"},
    {"name": "anomalous", "color": PALETTE[6], "symbol": "diamond"},
)
"""How the marks of each label look."""


def class_strips(images: Mapping[str, ClassImages], linked: Collection[str]) -> Chart | None:
    """Return the chart of the image scores of a class, or None without images that all methods have.

    Each method has its own scale, from its lowest to its highest score in the class. Marks say which image they are; of
    more than `MOST_IMAGES` images they say how many of them are in a bin.

    Args:
        images: Results per image of the class, by method.
        linked: Keys of the images that are in the gallery of the page; the marks of these lead there.
    """
    common = common_images(images)
    if not common.keys:
        return None
    order = np.argsort(common.labels, kind="stable")
    keys, normal = [common.keys[place] for place in order], int((common.labels == 0).sum())
    rows: list[dict[str, Any]] = []
    numbers = []
    for title, of in images.items():
        scores = of.scores[common.rows[title]][order]
        low, high = float(scores.min()), float(scores.max())
        at = (scores - low) / (high - low if high > low else 1.0)
        sides = at[:normal], at[normal:]
        medians = [None if not len(side) else round(float(np.median(side)), 4) for side in sides]
        row: dict[str, Any] = {"title": title, "medians": medians}
        if len(keys) > MOST_IMAGES:
            row["x"], row["counts"], row["normal"] = _binned(sides)
        else:
            row |= {"x": packed(at)["bdata"], "normal": normal}
        rows.append(row)
        middles = (
            UNDEFINED if not len(side) else _score(np.median(side)) for side in (scores[:normal], scores[normal:])
        )
        numbers.append((title, *middles, _score(low), _score(high)))
    binned = len(keys) > MOST_IMAGES
    kept = {} if binned else {"keys": keys, "linked": [place for place, key in enumerate(keys) if key in linked]}
    look = {"row": ROW, "border": BORDER, "longest": LONGEST, "sides": SIDES}
    layout = {
        "meta": {"steps": STEPS, "strips": {"rows": rows, **kept, **look}},
        "margin": {"l": 8, "r": 16, "t": 8, "b": 44},
        "hovermode": "closest",
        "legend": {"itemclick": False, "itemdoubleclick": False},
        "xaxis": {
            "title": {"text": "score, from the lowest to the highest of the method"},
            "range": [-0.02, 1.02],
            "zeroline": False,
        },
        "yaxis": {"automargin": True, "showgrid": False, "zeroline": False},
    }
    counts = f"{normal} normal and {counted(len(keys) - normal, 'anomalous image')}"
    each = f"Each mark stands for the images in one of {BINS} bins" if binned else "Each mark is an image"
    return Chart(
        "strips",
        f"Scores of {counts}, each method on its own scale. {each}; the long marks are the medians.",
        {"data": [], "layout": layout},
        height=BORDER + ROW * len(rows),
        alternative=f"Scores of {counts}, a row per method; the table beneath has the medians.",
        table=ChartTable(
            ("Method", *(f"Median, {side['name']}" for side in SIDES), "Lowest", "Highest"),
            tuple(numbers),
            methods=True,
        ),
    )


def _binned(sides: tuple[npt.NDArray[np.float64], ...]) -> tuple[str, list[int], int]:
    """Return the packed centres of the bins that hold images, how many each holds, and how many are of normals."""
    found = [np.unique(np.minimum((side * BINS).astype(int), BINS - 1), return_counts=True) for side in sides]
    centres = np.concatenate([(bins + 0.5) / BINS for bins, _ in found])
    return packed(centres)["bdata"], [int(count) for _, many in found for count in many], len(found[0][0])


def _score(value: float) -> str:
    return f"{value:.3g}"
