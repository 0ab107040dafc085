"""Reading images and masks: every mode and format on disk gives the same kind of array.

Images become 8-bit RGB before they are resized, because Pillow resizes palette images by nearest neighbour. EXIF
orientation is not applied, as in the published evaluations. Nothing is repaired: a file that cannot be read completely
raises an error that names it.
"""

import lzma
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from benchmark.data.formats import DECODED

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

FORMATS = tuple(DECODED)
"""The formats that are decoded, by Pillow's names."""
MAX_PIXELS = 89_478_485
"""Most pixels of an image. It equals Pillow's default limit but does not change with Pillow's setting."""
MAX_SIDE = 2**17
"""Longest side of an image in pixels: resizing needs memory that grows with the longer side."""
_SLACK = 2**24
"""Bytes by which a strip or tile of a TIFF may exceed its page, since tiles are padded."""
_DEEP_MODES = ("I", "F")
"""First letters of Pillow's modes of more than 8 bits (I, I;16, …, F), whose values Pillow's conversion clips."""


class ImageError(RuntimeError):
    """An image or mask cannot be used. The message names the path and the cause, and says what to do."""


class MaskSizeError(ImageError):
    """A mask and its image have different sizes."""


def read_image(path: Path, piece: tuple[int, int] | None = None) -> Image.Image:
    """Read an image, or one band of its rows, as 8-bit RGB.

    Args:
        path: a file in one of `FORMATS`, whatever its name; TIFFs that Pillow cannot read go through tifffile.
        piece: (i, n) for the rows [i·h//n, (i+1)·h//n) only.

    Returns:
        An image of mode RGB. Deeper pixels are scaled to 8 bits, not clipped: 16-bit ones by 255/65535; 32-bit integers
        and floats by the smallest full scale that holds them (1 for floats, 255, 65535, 2**32 - 1). Alpha is dropped.

    Raises:
        ImageError: missing, empty, truncated, no image, or larger than `MAX_PIXELS` or `MAX_SIDE`.
    """
    image = _open(path)
    if image.mode.startswith(_DEEP_MODES):
        values = _finite(path, np.asarray(image))
        image = Image.fromarray(_to_8_bits(values, _full_scale(image, values)))
    image = image if image.mode == "RGB" else image.convert("RGB")
    top, bottom = _rows(path, image.height, piece)
    return image if piece is None else image.crop((0, top, image.width, bottom))


def read_mask(
    path: Path, *, threshold: int, piece: tuple[int, int] | None = None, size: tuple[int, int] | None = None
) -> Mask:
    """Read a mask, or one band of its rows, as booleans (H, W): grey value above `threshold`.

    Args:
        path: an image file; colours become grey first, as Pillow's conversion to L does.
        threshold: on a scale of 0 to 255; of deeper masks it is scaled up, so that with 0 every nonzero value counts.
        piece: as in `read_image`.
        size: (width, height) of what `read_image` returned for the mask's image, with the same `piece`.

    Raises:
        MaskSizeError: the mask has another size than `size`; it is never resized silently.
        ImageError: as in `read_image`.
    """
    image = _open(path)
    top, bottom = _rows(path, image.height, piece)
    found = (image.width, bottom - top)
    if size is not None and found != size:
        raise MaskSizeError(
            f"{path}: the mask is {found[0]}x{found[1]} px, its image {size[0]}x{size[1]} px; a mask is never resized "
            "to fit: get the mask that belongs to this image"
        )
    if image.mode.startswith(_DEEP_MODES):
        values = _finite(path, np.asarray(image))
        return (values > threshold * (_full_scale(image, values) / 255))[top:bottom]
    return (np.asarray(image.convert("L")) > threshold)[top:bottom]


def resize_mask(mask: Mask, size: int) -> Mask:
    """Resize a mask (H, W) to (size, size) as published evaluations do: Pillow's bilinear, cut at one half."""
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR)) > 127.5


def _open(path: Path) -> Image.Image:
    """Decode a file completely."""
    if not path.is_file():  # also keeps pipes and devices from being opened
        raise ImageError(f"{path}: there is no such file; complete the dataset, or correct the link")
    try:
        return _decode(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: {error}; scale it down") from None
    except ImageError:
        raise
    except Exception as error:  # on broken bytes decoders raise anything: OSError, SyntaxError, struct.error
        cause = str(error) or type(error).__name__
        raise ImageError(f"{path}: broken or truncated ({cause}); download or extract it again") from error


def _decode(path: Path) -> Image.Image:
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty (zero bytes); download or extract it again")
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_bomb(path, image.width, image.height)
            image.info.pop("transparency", None)  # alpha is dropped anyway; keeping it only makes Pillow warn
            image.load()
            return image
    except UnidentifiedImageError:
        if path.suffix.lower() not in {".tif", ".tiff"}:
            raise ImageError(f"{path}: not an image in a known format; replace it or move it away") from None
    return _decode_odd_tiff(path)


def _decode_odd_tiff(path: Path) -> Image.Image:
    """Decode the first page of a TIFF that Pillow cannot read (64-bit floats, BigTIFF, rare compressions)."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        _refuse_bomb(path, page.imagewidth, page.imagelength, page.size)
        _refuse_packed_bomb(path, tiff)
        values = np.asarray(page.asarray())
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8 or (values.dtype == np.uint16 and values.ndim == 2):
        return Image.fromarray(values)
    if values.ndim == 2:
        return Image.fromarray(values.astype(np.float32))
    numbers = _finite(path, values)
    white = 65535.0 if values.dtype == np.uint16 else _white(numbers, floats=values.dtype.kind == "f")
    return Image.fromarray(_to_8_bits(numbers, white))


def _refuse_bomb(path: Path, width: int, height: int, values: int = 0) -> None:
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


def _rows(path: Path, height: int, piece: tuple[int, int] | None) -> tuple[int, int]:
    i, n = piece or (0, 1)
    top, bottom = i * height // n, (i + 1) * height // n
    if top == bottom:
        raise ImageError(f"{path}: {height} rows cannot be cut into {n} pieces; is this an image of this dataset?")
    return top, bottom


def _finite(path: Path, values: npt.NDArray[Any]) -> Floats:
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ImageError(f"{path}: holds values that are no finite numbers; replace it or move it away")
    return numbers


def _full_scale(image: Image.Image, values: Floats) -> float:
    """Return the value of white in an image with more than 8 bits."""
    # Older Pillow opens a 16-bit PNG in mode I; a PNG cannot be deeper than that.
    if image.mode.startswith("I;16") or image.format == "PNG":
        return 65535.0
    return _white(values, floats=image.mode == "F")


def _white(values: Floats, *, floats: bool) -> float:
    peak = float(values.max(initial=0.0))
    scales = (*((1.0,) if floats else ()), 255.0, 65535.0, 4294967295.0)
    return next((scale for scale in scales if peak <= scale), peak)


def _to_8_bits(values: Floats, full_scale: float) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(values * (255 / full_scale)), 0, 255).astype(np.uint8)
