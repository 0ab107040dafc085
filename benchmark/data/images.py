"""Reading images: every mode and format on disk gives the same kind of array.

Images become 8-bit RGB before they are resized, because Pillow resizes palette images by nearest neighbour. EXIF
orientation is not applied, as in the published evaluations; the pixels as they are stored are the frame of images,
masks and maps. Nothing is repaired: a file that cannot be read completely raises an error that names it.
"""

import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from benchmark.common import what_is_it
from benchmark.data.contents import remembered
from benchmark.data.formats import DECODED
from benchmark.data.ranges import Extremes, Ranges, Values
from benchmark.errors import BenchError

FORMATS = tuple(DECODED)
"""The formats that are decoded, by Pillow's names."""
MAX_PIXELS = 89_478_485
"""Most pixels of an image. It equals Pillow's default limit but does not change with Pillow's setting."""
MAX_SIDE = 2**17
"""Longest side of an image in pixels: resizing needs memory that grows with the longer side."""
_SLACK = 2**24
"""Bytes by which a strip or tile of a TIFF may exceed its page, since tiles are padded."""
DEEP_MODES = ("I", "F")
"""First letters of Pillow's modes of more than 8 bits (I, I;16, …, F), whose values Pillow's conversion clips."""
_DEEP_PNG = {"LA;16B": ("RGBA", "RGBA"), "RGB;16B": ("RGB", "RGB;16L"), "RGBA;16B": ("RGBA", "RGBA;16L")}
"""Pillow keeps the high bytes of 16-bit colours only. The mode and raw mode by which it gives the low ones."""
_SHALLOW = "8 bits"
ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is turned for display."""


class ImageError(BenchError):
    """An image or mask cannot be used. The message names the path and the cause, and says what to do."""


def read_image(path: Path, piece: tuple[int, int] | None = None, ranges: Ranges | None = None) -> Image.Image:
    """Read an image, or one band of its rows, as 8-bit RGB.

    Args:
        path: a file in one of `FORMATS`, whatever its name; TIFFs that Pillow cannot read go through tifffile.
        piece: (i, n) for the rows [i·h//n, (i+1)·h//n) only.
        ranges: black and white of images of more than 8 bits, which are those of the whole dataset; None: of the image.

    Returns:
        An image of mode RGB. Deeper pixels are scaled to 8 bits by `ranges`. Alpha is dropped.

    Raises:
        ImageError: missing, empty, truncated, no image, or larger than `MAX_PIXELS` or `MAX_SIDE`.
    """
    image = as_8_bit_rgb(decode(path), ranges)
    top, bottom = rows(path, image.height, piece)
    return image if piece is None else image.crop((0, top, image.width, bottom))


def as_8_bit_rgb(values: Image.Image | Values, ranges: Ranges | None = None) -> Image.Image:
    """Return what `decode` gives as an image of mode RGB, as `read_image` does."""
    if not isinstance(values, Image.Image):
        values = Image.fromarray((ranges or Ranges()).to_8_bits(values))
    return values if values.mode == "RGB" else values.convert("RGB")


def find_extremes(paths: Iterable[Path], title: str) -> dict[Path, Extremes]:
    """Return the extremes of the images of more than 8 bits among these; `Ranges.holding` makes ranges of them.

    Args:
        paths: The images of a whole dataset. Files that cannot be read have no say.
        title: What is read, for the progress that is shown where it takes long.
    """
    found = remembered("peaks", paths, _extremes, title)
    return {path: Extremes(**json.loads(text)) for path, text in found.items() if text and text != _SHALLOW}


def _extremes(path: Path) -> str | None:
    """Return the extremes of a deep image as JSON, or `_SHALLOW`."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
        if not _can_be_deep(start):
            return _SHALLOW
        values = decode(path)
    except (ImageError, OSError):
        return None
    return _SHALLOW if isinstance(values, Image.Image) else json.dumps(asdict(Extremes.of(values)))


def _can_be_deep(start: bytes) -> bool:
    """Return whether a file that starts like this can hold more than 8 bits a value, which no JPEG, BMP or GIF does."""
    if start.startswith(b"\x89PNG"):
        return start[24:25] == b"\x10"  # bits of a value
    return start.startswith((b"II", b"MM", b"P", b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51"))  # TIFF, PPM, JPEG 2000


def orientation(path: Path) -> int:
    """Return how an image is turned for display by its EXIF tag, 1 (not at all) to 8.

    A TIFF counts as not turned, because Pillow turns its pixels when it reads them.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return turned_by(image)
    except Exception:  # decoders raise anything; reading the pixels says what is wrong
        return 1


def turned_by(image: Image.Image) -> int:
    """Return how an image of Pillow is turned for display, as `orientation` does."""
    turned = 1 if image.format == "TIFF" else image.getexif().get(ORIENTATION, 1)
    return turned if turned in range(1, 9) else 1


def has_more_frames(path: Path) -> bool:
    """Return whether a file holds several pages or frames, of which the first is read; not a phone's extra previews."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise anything; reading the pixels says what is wrong
        return False


def turn(pixels: npt.NDArray[Any], turned: int) -> npt.NDArray[Any]:
    """Return pixels (H, W, …) as they are displayed, by the EXIF orientation 1 to 8."""
    if turned >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if turned in (3, 4, 7, 8) else pixels


def decode(path: Path, *, alpha: bool = False) -> Image.Image | Values:
    """Decode a file completely.

    Args:
        path: an image file.
        alpha: whether transparency that stands beside the pixels (of a palette, or one transparent colour) is kept.

    Returns:
        The image as Pillow has it, or its values (H, W) or (H, W, 3) where they have more than 8 bits.

    Raises:
        ImageError: As in `read_image`.
    """
    if not path.is_file():  # also keeps pipes and devices from being opened
        raise ImageError(f"{path}: there is no such file; complete the dataset, or correct the link")
    try:
        return _decode(path, alpha=alpha)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: {error}; scale it down") from None
    except ImageError:
        raise
    except Exception as error:  # on broken bytes decoders raise anything: OSError, SyntaxError, struct.error
        cause = str(error) or type(error).__name__
        raise ImageError(f"{path}: broken or truncated ({cause}); download or extract it again") from error


def _decode(path: Path, *, alpha: bool) -> Image.Image | Values:
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty (zero bytes); download or extract it again")
    try:
        with Image.open(path, formats=FORMATS) as image:
            refuse_bomb(path, image.width, image.height)
            if not _has_deep_colours(image):
                return _decode_by_pillow(path, image, alpha=alpha)
    except UnidentifiedImageError:
        what = what_is_it(path)
        if what or path.suffix.lower() not in {".tif", ".tiff"}:
            known = f", but {what}" if what else "; replace it or move it away"
            raise ImageError(f"{path}: not an image in a known format{known}") from None
    return _decode_odd_tiff(path, alpha=alpha)


def _has_deep_colours(image: ImageFile) -> bool:
    """Return whether an image is a TIFF of deep colours, of which Pillow keeps the high bytes only."""
    return isinstance(image, TiffImageFile) and image.mode.startswith("RGB") and image.tag_v2.get(258, (8,))[0] > 8


def _decode_by_pillow(path: Path, image: ImageFile, *, alpha: bool) -> Image.Image | Values:
    raw = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
    if not alpha:
        image.info.pop("transparency", None)  # alpha is dropped anyway; keeping it only makes Pillow warn
    image.load()
    if raw in _DEEP_PNG:
        values = _deep_colours(path, np.asarray(image), raw)
        return values if alpha else values[..., :3]
    return finite(path, np.asarray(image)) if image.mode.startswith(DEEP_MODES) else image


def _deep_colours(path: Path, high: npt.NDArray[np.uint8], raw: str) -> Values:
    """Return the colours of a 16-bit PNG, of which Pillow gave the high bytes, by reading it once more."""
    mode, raw_low = _DEEP_PNG[raw]
    with Image.open(path, formats=["PNG"]) as image:
        assert isinstance(image, ImageFile)
        image._mode = mode
        image.tile = [image.tile[0]._replace(args=raw_low)]
        low = np.asarray(image)
    if raw == "LA;16B":  # the four bytes of a pixel: of grey, high and low, and of alpha
        low = low[..., [1, 1, 1, 3]]
    values: Values = (high.astype(np.uint16) << 8) | low
    return values


def _decode_odd_tiff(path: Path, *, alpha: bool) -> Image.Image | Values:
    """Decode the first page of a TIFF that Pillow cannot read whole (deep colours, 64-bit floats, BigTIFF, …)."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        refuse_bomb(path, page.imagewidth, page.imagelength, page.size)
        _refuse_packed_bomb(path, tiff)
        values = np.asarray(page.asarray())
        tag = page.tags.get(ORIENTATION)
        planes = values.ndim == 3 and page.planarconfig == 2
    values = np.moveaxis(values, 0, -1) if planes else values
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype.kind not in "buif" or (values.ndim != 2 and (values.ndim != 3 or values.shape[2] not in (3, 4))):
        raise ImageError(f"{path}: pixels of {values.dtype} {values.shape} are neither grey nor RGB; save it as RGB")
    values = turn(values, int(tag.value) if tag else 1)  # as Pillow does
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(values))
    values = finite(path, values)
    return values if alpha or values.ndim == 2 else values[..., :3]


def refuse_bomb(path: Path | str, width: int, height: int, values: int = 0) -> None:
    """Refuse an image that is too large by its header; Pillow only warns up to twice its limit."""
    limit = min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS)
    if (pixels := max(width * height, values)) > limit:
        raise ImageError(f"{path}: has {pixels:,} pixels, more than the limit of {limit:,}; scale it down")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{path}: has {width:,} x {height:,} pixels, a side above {MAX_SIDE:,}; cut it up")


def _refuse_packed_bomb(path: Path, tiff: Any) -> None:
    """Refuse strips and tiles that unpack to far more than their page, since tifffile unpacks them completely."""
    page = tiff.pages.first
    start: dict[int, Callable[[], Any]] = {
        8: zlib.decompressobj,
        32946: zlib.decompressobj,
        50013: zlib.decompressobj,
        34925: lzma.LZMADecompressor,
    }
    limit = page.nbytes + _SLACK
    if page.is_tiled and math.prod((page.tilewidth, page.tilelength, page.tiledepth)) * page.dtype.itemsize > limit:
        raise ImageError(f"{path}: its tiles are larger than the image; save it anew")
    if (unpacking := start.get(int(page.compression))) is None:
        return
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False):
        tiff.filehandle.seek(offset)
        if len(unpacking().decompress(tiff.filehandle.read(size), limit + 1)) > limit:
            raise ImageError(f"{path}: unpacks to more than {limit:,} bytes, the limit for its size; save it anew")


def rows(path: Path, height: int, piece: tuple[int, int] | None) -> tuple[int, int]:
    """Return the first row of a piece (i, n) of an image, and the row after its last."""
    i, n = piece or (0, 1)
    top, bottom = i * height // n, (i + 1) * height // n
    if top == bottom:
        raise ImageError(f"{path}: {height} rows cannot be cut into {n} pieces; is this an image of this dataset?")
    return top, bottom


def finite(path: Path | str, values: npt.NDArray[Any]) -> Values:
    """Return values, all of which are finite numbers.

    Raises:
        ImageError: One is not.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageError(f"{path}: holds values that are no finite numbers; replace it or move it away")
    return values
