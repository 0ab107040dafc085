"""Reading masks: which pixels of a mask file are anomalous, by a card's threshold or by what the file is."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.data.images import ImageError, decode, orientation, rows, turn
from benchmark.data.ranges import Extremes, Range, Values

Mask = npt.NDArray[np.bool_]

_FEW = 16
"""Most grey levels of a lossless mask whose thin lines may be kinds of defects; of a palette, most colours."""
LOSSY = ("JPEG", "JPEG2000", "WEBP")
"""Formats whose compression may leave noise."""
_NEAR = 8 / 255
"""Levels nearer than this, relative to the maximum, are one level with the noise of compression."""
_BLACK = 2
"""Highest level of 0 to 255 that compression may leave in a black mask."""
_VOC_VOID, _VOC = 255, {1: (128, 0, 0), 255: (224, 224, 192)}
"""The index of PASCAL VOC's borders, which belong to no class, and two colours by which its palette is known."""
_FAINT = 1 / 8
"""Levels below this, relative to the maximum, are noise in a file that is noisy."""


class MaskSizeError(ImageError):
    """A mask and its image have different sizes."""


@dataclass(frozen=True, slots=True)
class MaskRule:
    """Which pixels of a mask are anomalous."""

    threshold: int | None
    """Those whose grey value, on a scale of 0 to 255, is above this; 0 means one half in a JPEG file or another that is
    compressed with loss, whose background is not quite 0. None: by what each file is."""
    gt0: bool = False
    """Those above 0, whatever the threshold and the file (a quirk of published loaders)."""


def read_mask(
    path: Path,
    rule: MaskRule,
    *,
    piece: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
    photo: Path | None = None,
) -> Mask:
    """Read a mask, or one band of its rows, as booleans (H, W).

    Args:
        path: an image file. Under a threshold colours become grey first, as Pillow's conversion to L does.
        rule: which pixels are anomalous.
        piece: as in `read_image`.
        size: (width, height) of what `read_image` returned for the mask's image, with the same `piece`.
        photo: the mask's image. If the rule has no threshold, the mask is turned as the image is stored, where EXIF
            says that only one of them is to be turned for display. Published loaders pair the pixels as stored.

    Raises:
        MaskSizeError: the mask has another size than `size`; it is never resized silently.
        ImageError: as in `read_image`, or nothing says whether the mask is to be turned.
    """
    mask = _anomalous(path, rule)
    if photo is not None and size is not None and rule.threshold is None:
        mask = _as_stored(path, mask, photo, size)
    top, bottom = rows(path, len(mask), piece)
    found = (mask.shape[1], bottom - top)
    if size is not None and found != size:
        raise MaskSizeError(
            f"{path}: the mask is {found[0]}x{found[1]} px, its image {size[0]}x{size[1]} px; a mask is never resized "
            "to fit: get the mask that belongs to this image"
        )
    return mask[top:bottom]


def shades_of_grey(path: Path) -> float:
    """Return the share of a file's pixels that are many levels between its background and its maximum.

    It is large in a photograph or a map of scores, and small in a mask, even if that has smooth edges.
    """
    values = np.maximum(_levels(decode(path, alpha=True)), 0)
    peak = values.max()
    between = (values > 0.1 * peak) & (values < 0.9 * peak)
    return float(between.mean()) if len(np.unique(values[between])) > _FEW else 0.0


def resize_mask(mask: Mask, size: int) -> Mask:
    """Resize a mask (H, W) to (size, size) as published evaluations do: Pillow's bilinear, cut at one half."""
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    resized: Mask = np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR)) > 127.5
    return resized


def _as_stored(path: Path, mask: Mask, photo: Path, size: tuple[int, int]) -> Mask:
    """Return the mask in the frame of its image's stored pixels."""
    ours, theirs = orientation(path), orientation(photo)
    if ours == theirs:
        return mask
    back = {6: 8, 8: 6}.get(theirs, theirs)
    turned: Mask = turn(turn(mask, ours), back)
    if mask.shape != size[::-1]:
        return turned if turned.shape == size[::-1] else mask
    if turned.shape == mask.shape and (turned != mask).any():
        raise ImageError(
            f"{path}: cannot be laid on {photo}: EXIF turns one of them for display and not the other (orientation "
            f"{ours} and {theirs}), and their sizes do not tell whether the mask was drawn on the turned image; save "
            "the image upright, without the tag"
        )
    return mask


def _anomalous(path: Path, rule: MaskRule) -> Mask:
    threshold = 0 if rule.gt0 else rule.threshold
    values = decode(path, alpha=threshold is None)
    lossy = isinstance(values, Image.Image) and values.format in {*LOSSY, "MPO"}  # which some phones write as JPEG
    if threshold is None:
        levels = _levels(values)
        return (
            np.zeros(levels.shape, bool) if _is_empty(levels, lossy=lossy) else _above_background(levels, lossy=lossy)
        )
    if isinstance(values, Image.Image):
        if threshold == 0 and lossy and not rule.gt0:
            return _above_background(_brightest(np.asarray(values.convert("RGB"))), lossy=True)
        above: Mask = np.asarray(values.convert("L")) > threshold
        return above
    values = _brightest(values)
    above = values > threshold * (_white(values) / 255)
    return above


def _white(values: Values) -> float:
    """Return the value of white of a mask (H, W)."""
    own = Extremes.of(values)
    return 255.0 if values.dtype == np.uint8 else Range.holding(own.low, own.high, floats=own.floats).high


def _is_empty(values: Values, *, lossy: bool) -> bool:
    """Return whether a mask (H, W) of one level marks nothing, or one of hardly more than the noise of compression.

    One level below half of white is the index of a background that is not 0, as where 2 is the defect.
    """
    peak = values.max()
    return bool((lossy and peak <= _BLACK) or (values.min() == peak and peak < _white(values) / 2))


def _brightest(values: Values) -> Values:
    """Return the largest of the three colours (H, W); a luminance would make pure blue darker than pure red."""
    return values if values.ndim == 2 else values[..., :3].max(axis=2)


def _levels(image: Image.Image | Values) -> Values:
    """Return one value a pixel (H, W) such that 0 is background: of the colours, the alpha or the palette's index."""
    if not isinstance(image, Image.Image):
        values = image
    elif image.has_transparency_data:
        values = np.asarray(image.convert("RGBA"))
    elif image.mode == "P":
        index = np.asarray(image)
        used = np.unique(index)
        colours = np.zeros((256, 3), np.uint8)  # an index beyond the palette is black, as in Pillow's conversion
        listed = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
        colours[: len(listed)] = listed
        if len(used) > 2 and all(tuple(colours[place]) == colour for place, colour in _VOC.items()):
            index = np.where(index == _VOC_VOID, 0, index)
        alike = len(used) > 1 and (colours[used] == colours[used[0]]).all()
        if alike or (len(used) <= _FEW and colours[used].any(axis=1).all()):
            return index  # no black, or nothing else: the first colour is the background
        values = colours[index]  # programs that make files smaller reorder palettes, so black is looked for
    else:
        values = np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB"))
    if values.ndim == 3 and values.shape[2] == 4 and not (values[..., 3].any() or np.ptp(values, axis=(0, 1)).any()):
        return values[..., 3]  # an empty layer
    if values.ndim == 3 and values.shape[2] == 4 and np.ptp(values[..., 3]):
        alpha = values[..., 3]
        seen = values[alpha > 0][:, :3]
        if not np.ptp(seen, axis=0).any():
            return alpha
        faded: Values = _brightest(values) * (alpha / alpha.max())
        return faded
    return _brightest(values)


def _above_background(values: Values, *, lossy: bool) -> Mask:
    """Return the pixels (H, W) above half of the lowest level that counts.

    Of two levels, 0 and another, the other counts. Of more, those count that fill areas, as kinds of defects do, and
    the maximum; levels of smooth edges and of compression do not. Without a pixel of 0, the maximum counts alone.
    """
    values = np.maximum(values, 0)
    peak = values.max()
    if ((values == 0) | (values == peak)).all():
        above: Mask = values > 0
        return above
    lowest = peak if values.min() > 0 else _lowest_level(values, float(peak), lossy=lossy)
    above = values > lowest / 2
    return above


def _lowest_level(values: Values, peak: float, *, lossy: bool) -> float:
    """Return the lowest level of a mask (H, W) with a background of 0 that is not of smooth edges or compression."""
    levels, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    place = place.reshape(values.shape)
    height, width = values.shape
    padded = np.pad(values, 1, mode="edge").astype(np.float32)
    here = padded[1:-1, 1:-1]
    same = np.zeros(values.shape, np.uint8)
    lower, higher, near = (np.zeros(values.shape, bool) for _ in range(3))
    for i, j in product(range(3), repeat=2):
        step = padded[i : i + height, j : j + width] - here
        same += step == 0  # counts the pixel itself too
        lower |= step < 0
        higher |= step > 0
        near |= (step != 0) & (np.abs(step) < _NEAR * peak)

    def share(pixels: Mask) -> npt.NDArray[np.float64]:
        return np.bincount(place.ravel(), pixels.ravel(), len(levels)) / counts

    counting = share(same >= 6) >= 0.5
    noisy = lossy or counting[1:-1].mean() < 0.5
    if not lossy and len(levels) <= _FEW:
        counting |= share((lower & higher) | near) < 0.5
    if noisy:
        counting &= levels >= _FAINT * peak
    counting[0], counting[-1] = False, True
    return float(levels[counting][0])
