"""The qualitative comparison of the papers: image, ground truth and each method's heatmap, a column per dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from benchmark.data import SampleSet, read_image
from benchmark.metrics import ClassImages
from benchmark.predict import overlay
from benchmark.report.gallery import Case, Cases, by_method, mask_of, webp
from benchmark.report.gather import Dataset

SIDE = 144
"""Of a tile, in pixels."""
OF_A_DOMAIN = 4
"""Columns."""
EVERYWHERE = ("mvtec", "visa")


@dataclass(frozen=True)
class _Column:
    dataset: Dataset
    class_name: str
    page: str
    pictures: Mapping[str, Image.Image]
    """By row."""


@dataclass
class Tiles:
    """The columns of the figure as datasets come."""

    columns: list[_Column] = field(default_factory=list)

    def add(
        self,
        dataset: Dataset,
        galleries: Mapping[str, Cases],
        images: Mapping[str, Mapping[str, ClassImages]],
        samples: SampleSet,
    ) -> None:
        """Add a dataset's column, if it has masks."""
        picked = typical(galleries)
        if picked is None:
            return
        class_name, case = picked
        sample = next(each for each in samples.test if each.key == case.key)
        photo = read_image(sample.path, sample.piece)
        mask = mask_of(sample, samples, dataset.records[0].cell.protocol, photo.size)
        assert mask is not None
        square = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        truth = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize((SIDE, SIDE), Image.Resampling.BOX)
        made = {"Image": square, "Ground truth": truth.convert("RGB")}
        for title, of_class in by_method(list(images), images, class_name).items():
            if case.key in of_class.keys:
                grid = of_class.maps[of_class.keys.index(case.key)].astype(np.float64)
                made[title] = overlay(square, grid, low=float(grid.min()), high=float(grid.max()))
        page = next(each.page for each in dataset.classes if each.name == class_name)
        self.columns.append(_Column(dataset, class_name if len(dataset.classes) > 1 else "", page, made))

    def figure(self, titles: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the columns with the file, or None, of each row, and the files."""
        rows = ("Image", "Ground truth", *titles)
        shown, files = _few(self.columns), {}
        tiles: dict[str, list[str | None]] = {row: [] for row in rows}
        for column in shown:
            for index, row in enumerate(rows):
                path = f"images/figures/{column.dataset.slug}-{index}.webp" if row in column.pictures else None
                tiles[row].append(path)
                if path is not None:
                    files[path] = webp(column.pictures[row])
        columns = [{"dataset": c.dataset.title, "class_name": c.class_name, "page": c.page} for c in shown]
        return {"columns": columns, "tiles": [{"title": row, "tiles": found} for row, found in tiles.items()]}, files


def _few(columns: Sequence[_Column]) -> list[_Column]:
    """Return the columns of a few datasets per domain, those that every paper shows before the others."""
    known = sorted(columns, key=lambda column: column.dataset.name not in EVERYWHERE)
    by_domain = dict.fromkeys(column.dataset.domain for column in columns)
    return [each for domain in by_domain for each in [c for c in known if c.dataset.domain == domain][:OF_A_DOMAIN]]


def typical(galleries: Mapping[str, Cases]) -> tuple[str, Case] | None:
    """Return the image with a mask that is the median by how wrong it is on the mean, and its class."""
    found = [(case.wrong[0], name, case) for name, cases in galleries.items() for case in cases.shown if case.mask]
    if not found:
        return None
    found.sort(key=lambda each: (each[0], each[2].key))
    _, name, case = found[len(found) // 2]
    return name, case
