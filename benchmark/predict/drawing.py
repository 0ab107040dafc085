"""Drawings of images that were scored: heatmaps, masks and their outlines, maps as numbers, methods side by side."""

import functools
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmark.common import printable
from benchmark.data import ImageError, orientation, read_image, turn
from benchmark.predict.heatmaps import COLOUR_MAP, overlay, reduced
from benchmark.predict.own_images import InputImage
from benchmark.predict.parts import Part
from benchmark.predict.predictions import ColourScale, ImagePrediction, remove, write
from benchmark.predict.regions import mask_at, outlined, regions_of
from benchmark.predict.scoring import Floats

MapFormat = Literal["npy", "tiff"]

LARGEST_SIDE = 1024
"""Largest side of a drawing in pixels; larger images are reduced, since a map has no more detail."""
PANEL_SIDE = 512
"""Largest side of a panel of the methods side by side in pixels."""
_CAPTION_WIDTH = 200
"""Least width and height of a panel in pixels."""
_BAR_WIDTH = 90
"""Width of a colour bar with its values in pixels."""
_TOP = 60
"""Height of the captions in pixels."""
_DPI = 100  # of the colour bar, whose text has points


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is written of each image besides its heatmap."""

    masks: bool = False
    """Masks of the anomalous pixels, and their outlines drawn over the photo."""
    maps: MapFormat | None = None
    """The maps as float32 in files of this format."""


@dataclass(frozen=True)
class _Pictures:
    photo: Image.Image
    """The upright photo, reduced."""
    size: tuple[int, int]
    """Width and height of the photo before that."""
    anomaly_map: Floats
    heatmap: Image.Image


def draw(
    found: Sequence[InputImage],
    parts: Sequence[Part],
    folders: Sequence[Path],
    *,
    wanted: Wanted,
    together: Path | None = None,
    progress: Callable[[int], None] = lambda images: None,
) -> list[tuple[ImagePrediction, ...]]:
    """Write the drawings of each scored image. All heatmaps of a method have the same colour scale.

    Images are read again, and drawn upright. One with a side above `LARGEST_SIDE` is reduced.

    Args:
        found: The images.
        parts: What each method gave for them.
        folders: Where the files of each method go.
        wanted: What is written besides heatmaps.
        together: Folder for the pictures that show the methods side by side; None for none.
        progress: Called with the number of images drawn since the last call.

    Returns:
        The predictions of each method with the paths of the files, or with an error if an image could not be read.

    Raises:
        PredictError: If a file cannot be written.
    """
    drawn = [list(part.images) for part in parts]
    scales = [part.scale for part in parts]  # of all images
    for index, each in enumerate(found):
        progress(1)
        maps = [part.map_of(index) for part in parts]
        if all(anomaly_map is None for anomaly_map in maps):
            continue
        try:
            stored = read_image(each.path, ranges=parts[0].scorer.ranges)
        except (ImageError, OSError) as error:
            for images in drawn:
                images[index] = images[index].model_copy(
                    update={"error": images[index].error or printable(f"scored, but not drawn: {error}")}
                )
            continue
        photo = Image.fromarray(turn(np.asarray(stored), orientation(each.path)))
        small = reduced(photo, LARGEST_SIDE)
        panels: list[Panel] = []
        for part, folder, images, anomaly_map, scale in zip(parts, folders, drawn, maps, scales, strict=True):
            if anomaly_map is None or scale is None:
                continue
            heatmap = overlay(small, anomaly_map, low=scale.low, high=scale.high)
            pictures = _Pictures(small, photo.size, anomaly_map, heatmap)
            threshold = part.threshold.pixel if part.threshold and wanted.masks else None
            files = _write_files(folder, each.drawing, pictures, threshold=threshold, maps=wanted.maps)
            images[index] = images[index].model_copy(update=files)
            panels.append(Panel(part.scorer.title, images[index], heatmap, scale))
        if together is not None:
            write(together / each.drawing, _png(side_by_side(small, panels)))
    return [tuple(images) for images in drawn]


def _write_files(
    folder: Path, name: str, pictures: _Pictures, *, threshold: float | None, maps: MapFormat | None
) -> dict[str, object]:
    """Write the files of one image and method, and return what the prediction says of them.

    Files of an earlier call that show the same image, and are not written now, are removed: they are of other scores.

    Args:
        folder: Where the files of the method go.
        name: Path of the drawings below the folder of their kind.
        pictures: What is drawn.
        threshold: From which value on a pixel is anomalous; None for no mask.
        maps: Format of the map's file; None for no file.
    """
    stem = name.removesuffix(".png")
    said: dict[str, object] = {"overlay": f"heatmaps/{name}"}
    write(folder / "heatmaps" / name, _png(pictures.heatmap))
    if threshold is not None:
        mask = mask_at(pictures.anomaly_map, threshold, pictures.size)
        said |= {"mask": f"masks/{name}", "outline": f"outlines/{name}", "regions": regions_of(mask)}
        write(folder / "masks" / name, _png(Image.fromarray(mask.astype(np.uint8) * np.uint8(255))))
        write(folder / "outlines" / name, _png(outlined(pictures.photo, mask)))
    if maps is not None:
        said["map"] = f"maps/{stem}.{maps}"
        write(folder / f"maps/{stem}.{maps}", map_content(pictures.anomaly_map, maps))
    for file in (f"masks/{name}", f"outlines/{name}", f"maps/{stem}.npy", f"maps/{stem}.tiff"):
        if file not in said.values():
            remove(folder / file)
    return said


def map_content(anomaly_map: Floats, kind: MapFormat) -> bytes:
    """Return the content of a file that holds a map as float32."""
    content = io.BytesIO()
    if kind == "npy":
        np.save(content, anomaly_map, allow_pickle=False)
    else:
        import tifffile

        tifffile.imwrite(content, anomaly_map)
    return content.getvalue()


@dataclass(frozen=True)
class Panel:
    """What one method says of an image, for the picture of the methods side by side."""

    title: str
    prediction: ImagePrediction
    heatmap: Image.Image
    scale: ColourScale


def side_by_side(photo: Image.Image, panels: Sequence[Panel]) -> Image.Image:
    """Return one picture of a photo and of each method's heatmap, with scores, decisions and a colour bar each.

    Args:
        photo: The photo.
        panels: Title, prediction, heatmap and colour scale of each method.
    """
    pictures = [reduced(each, PANEL_SIDE) for each in (photo, *(panel.heatmap for panel in panels))]
    width, height = max(pictures[0].width, _CAPTION_WIDTH), max(pictures[0].height, _CAPTION_WIDTH)
    step = width + _BAR_WIDTH
    drawn = Image.new("RGB", (step * len(pictures), height + _TOP), "white")
    writer = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(14)
    for index, (picture, panel) in enumerate(zip(pictures, (None, *panels), strict=True)):
        drawn.paste(picture, (index * step + (width - picture.width) // 2, _TOP + (height - picture.height) // 2))
        writer.text((index * step + 4, 4), _caption(panel) if panel else "photo", fill="black", font=font)
        if panel is not None:
            drawn.paste(_colour_bar(panel.scale.low, panel.scale.high, height), (index * step + width, _TOP))
    return drawn


@functools.lru_cache(maxsize=64)  # most images of a call have the same size
def _colour_bar(low: float, high: float, height: int) -> Image.Image:
    """Return a colour bar with its values, `_BAR_WIDTH` pixels wide."""
    from matplotlib import rc_context  # slow imports
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "text.usetex": False}):
        figure = Figure(figsize=(_BAR_WIDTH / _DPI, height / _DPI), dpi=_DPI)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.08, 0.04, 0.16, 0.92))
        figure.colorbar(ScalarMappable(Normalize(low, high), COLOUR_MAP), cax=axes)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _caption(panel: Panel) -> str:
    said = f"{panel.prediction.score:.4g}" + (f", {panel.prediction.decision}" if panel.prediction.decision else "")
    return "\n".join([*textwrap.wrap(panel.title, 28, max_lines=2), said])


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
