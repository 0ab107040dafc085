"""The qualitative comparison of the papers: image, ground truth and each method's heatmap, a column per dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmark.data import SampleSet, read_image
from benchmark.metrics import ClassImages
from benchmark.predict import overlay
from benchmark.report.class_images import by_method
from benchmark.report.images.contours import Points, contours
from benchmark.report.images.gallery import Gallery, GalleryImage
from benchmark.report.images.photos import mask_of, webp
from benchmark.report.report_data import DatasetResults

TILE_SIZE = 176
"""Side of a tile in pixels."""
COLUMNS_PER_DOMAIN = 4
FIRST_DATASETS = ("mvtec", "visa")
"""Datasets that every paper shows; they come first."""


@dataclass(frozen=True)
class Column:
    """A dataset in the figure."""

    dataset: DatasetResults
    class_name: str
    page: str
    pictures: Mapping[str, Image.Image]
    """Pictures by title of the row."""


@dataclass
class QualitativeFigure:
    """The figure, to which datasets are added one after the other."""

    columns: list[Column] = field(default_factory=list)

    def add(
        self,
        dataset: DatasetResults,
        galleries: Mapping[str, Gallery],
        images: Mapping[str, Mapping[str, ClassImages]],
        samples: SampleSet,
    ) -> None:
        """Add the column of a dataset. A dataset without masks gets no column.

        Args:
            dataset: The dataset.
            galleries: Gallery of each class.
            images: Results per image, by method and class.
            samples: Samples of the dataset.
        """
        chosen = median_image(galleries)
        if chosen is None:
            return
        class_name, image = chosen
        sample = next(each for each in samples.test if each.key == image.key)
        photo = read_image(sample.path, sample.piece, samples.ranges)
        mask = mask_of(sample, samples, dataset.records[0].cell.protocol, photo.size)
        assert mask is not None
        size = (TILE_SIZE, TILE_SIZE)
        square = photo.resize(size, Image.Resampling.LANCZOS)
        truth = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.BOX)
        lines = [each * TILE_SIZE / np.array(photo.size) for each in contours(mask)]
        pictures = {"Image": _outlined(square, lines), "Ground truth": truth.convert("RGB")}
        for title, of_class in by_method(images, class_name).items():
            if image.key in of_class.keys:
                grid = of_class.maps[of_class.keys.index(image.key)].astype(np.float64)
                drawn = overlay(square, grid, low=float(grid.min()), high=float(grid.max()))
                pictures[title] = _outlined(drawn, lines)
        page = next(each.page for each in dataset.classes if each.name == class_name)
        column = Column(dataset, class_name if len(dataset.classes) > 1 else "", page, pictures)
        self.columns = shown_columns([*self.columns, column])  # pictures of others need not be kept

    def render(self, titles: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the context of the page's template and the image files by path.

        Args:
            titles: Titles of the methods, one row each.
        """
        rows = ("Image", "Ground truth", *titles)
        files = {}
        tiles: dict[str, list[str | None]] = {row: [] for row in rows}
        for column in self.columns:
            for index, row in enumerate(rows):
                path = f"images/figures/{column.dataset.slug}-{index}.webp" if row in column.pictures else None
                tiles[row].append(path)
                if path is not None:
                    files[path] = webp(column.pictures[row])
        columns = [{"dataset": c.dataset.title, "class_name": c.class_name, "page": c.page} for c in self.columns]
        return {"columns": columns, "tiles": [{"title": row, "tiles": found} for row, found in tiles.items()]}, files


def _outlined(image: Image.Image, lines: Sequence[Points]) -> Image.Image:
    """Return an image with closed lines, white in black so that they are seen on any photo."""
    drawn = image.copy()
    fine = 4  # drawn larger and reduced, as Pillow draws no smooth lines
    for colour, width in (("black", 3), ("white", 1.2)):
        inked = Image.new("L", (fine * image.width, fine * image.height))
        writer = ImageDraw.Draw(inked)
        for points in lines:
            writer.line([(fine * x, fine * y) for x, y in points], fill=255, width=round(fine * width), joint="curve")
        drawn.paste(colour, mask=inked.resize(image.size, Image.Resampling.BOX))
    return drawn


def shown_columns(columns: Sequence[Column]) -> list[Column]:
    """Return at most `COLUMNS_PER_DOMAIN` columns per domain, those of `FIRST_DATASETS` first.

    Columns that are added later can take the place of shown ones, but never bring back one that was left out.
    """
    ordered = sorted(columns, key=lambda column: column.dataset.name not in FIRST_DATASETS)
    by_domain = dict.fromkeys(column.dataset.group for column in columns)
    return [
        each
        for domain in by_domain
        for each in [column for column in ordered if column.dataset.group == domain][:COLUMNS_PER_DOMAIN]
    ]


def median_image(galleries: Mapping[str, Gallery]) -> tuple[str, GalleryImage] | None:
    """Return the class and the image whose mean ranking error is the median of all shown images with a mask."""
    found = [
        (image.errors[0], name, image) for name, each in galleries.items() for image in each.shown if image.contour
    ]
    if not found:
        return None
    found.sort(key=lambda each: (each[0], each[2].key))
    _, name, image = found[len(found) // 2]
    return name, image
