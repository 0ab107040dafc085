"""A mask without a threshold is read by what its file is: the same shape gives the same pixels in every format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from scipy import ndimage

from benchmark.data.images import ImageError, read_image
from benchmark.data.masks import MaskRule, MaskSizeError, read_mask

DATA = Path(__file__).parents[2].parent / "shared" / "data"
BY_FILE = MaskRule(None)
BLACK = Image.new("L", (96, 80))


def draw(*levels: int, size: int = 1, width: int = 3) -> Image.Image:
    """Return a disc, a box and a line for each level, on a background of 0."""
    image = BLACK.resize((96 * size, 80 * size))
    pen = ImageDraw.Draw(image)
    for row, level in enumerate(levels):
        x, y, s = 0, 26 * row * size, size
        pen.ellipse((x + 4 * s, y + 4 * s, x + 24 * s, y + 20 * s), fill=level)
        pen.rectangle((x + 34 * s, y + 5 * s, x + 52 * s, y + 18 * s), fill=level)
        pen.line((x + 62 * s, y + 6 * s, x + 88 * s, y + 20 * s), fill=level, width=width * s)
    return image


SHAPE = draw(255)
TRUTH = np.asarray(SHAPE) > 0
KINDS = draw(85, 170, 255)
THREE = np.asarray(KINDS) > 0


def alpha(colour: Image.Image, opacity: Image.Image = SHAPE) -> Image.Image:
    image = colour.convert("RGB")
    image.putalpha(opacity)
    return image


def palette(indices: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette([value for colour in colours for value in colour])
    return image


def coloured(red: int, green: int, blue: int) -> Image.Image:
    return Image.merge("RGB", [SHAPE.point(lambda value, top=top: top if value else 0) for top in (red, green, blue)])


SOFT = SHAPE.filter(ImageFilter.GaussianBlur(1))
WHITE = BLACK.point(lambda _: 255)
VOC = palette(
    np.where(ndimage.binary_dilation(TRUTH), np.where(TRUTH, 1, 255), 0),
    *((0, 0, 0), (128, 0, 0), *[(9, 9, 9)] * 253, (224, 224, 192)),
)
LOSSLESS: dict[str, tuple[Image.Image, np.ndarray]] = {
    "grey": (SHAPE, TRUTH),
    "0 and 1": (draw(1), TRUTH),
    "0 and 1, a palette of black": (palette(TRUTH, (0, 0, 0), (0, 0, 0)), TRUTH),
    "indices from 1": (draw(1).point(lambda value: value + 1), TRUTH),
    "a background of 1": (BLACK.point(lambda _: 1), np.zeros_like(TRUTH)),
    "an empty layer": (alpha(WHITE, BLACK), np.zeros_like(TRUTH)),
    "PASCAL VOC with a border": (VOC, TRUTH),
    "faint": (draw(7), TRUTH),
    "one bit": (SHAPE.convert("1"), TRUTH),
    "indices": (draw(1, 2, 3), THREE),
    "indices with a border of 255": (draw(1, 15, 255), THREE),
    "three kinds": (KINDS, THREE),
    "three kinds as thin lines": (draw(85, 170, 255, width=1), np.asarray(draw(85, 170, 255, width=1)) > 0),
    "neighbouring levels": (draw(253, 254, 255), THREE),
    "red": (coloured(128, 0, 0), TRUTH),
    "dark blue": (coloured(0, 0, 1), TRUTH),
    "palette": (palette(TRUTH, (0, 0, 0), (200, 0, 0)), TRUTH),
    "palette in another order": (palette(~TRUTH, (200, 0, 0), (0, 0, 0)), TRUTH),
    "palette without black": (palette(TRUTH, (90, 90, 90), (255, 255, 255)), TRUTH),
    "palette of red on white": (palette(TRUTH, (255, 255, 255), (255, 0, 0)), TRUTH),
    "palette of kinds": (palette(np.asarray(draw(2, 1, 2)), (0, 0, 0), (128, 0, 0), (0, 0, 9)), THREE),
    "palette of greys": (SHAPE.convert("P"), TRUTH),
    "alpha over black": (alpha(BLACK), TRUTH),
    "alpha over white": (alpha(WHITE), TRUTH),
    "black on transparent white": (alpha(ImageOps.invert(SHAPE)), TRUTH),
    "white on transparent black": (alpha(SHAPE), TRUTH),
    "soft alpha": (alpha(SHAPE, SOFT), TRUTH & (np.asarray(SOFT) > 127)),
    "transparent margin": (alpha(SHAPE, Image.fromarray((np.indices(TRUTH.shape)[1] > 1) * np.uint8(255))), TRUTH),
    "opaque": (alpha(SHAPE, WHITE), TRUTH),
    "wholly transparent": (alpha(SHAPE, BLACK), TRUTH),
    "empty": (BLACK, np.zeros_like(TRUTH)),
    "whole": (WHITE, np.ones_like(TRUTH)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_mask_has_its_own_pixels(tmp_path: Path, name: str) -> None:
    image, truth = LOSSLESS[name]
    image.save(tmp_path / "a.png")
    assert (read_mask(tmp_path / "a.png", BY_FILE) == truth).all()


@pytest.mark.parametrize("transparency", [0, 1])
def test_a_transparent_colour_is_the_background(tmp_path: Path, transparency: int) -> None:
    shown = TRUTH if transparency == 0 else ~TRUTH
    image = palette(shown, (0, 0, 0), (255, 255, 255))
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name, transparency=transparency)
        assert (read_mask(tmp_path / name, BY_FILE) == TRUTH).all()


@pytest.mark.parametrize(
    "values",
    [
        TRUTH * np.uint16(65535),
        TRUTH * np.uint16(1),
        ndimage.label(THREE)[0].astype(np.uint16) * np.uint16(600),  # instances
        TRUTH * np.float32(1),
        TRUTH * np.float64(255),
        TRUTH * np.int32(3),
        np.stack([TRUTH * np.uint16(0), TRUTH * np.uint16(9), TRUTH * np.uint16(0)], -1),
        TRUTH * np.float32(0.8) + np.float32(0.1),  # no pixel is 0
        np.where(TRUTH, np.float32(1), np.float32(-1)),
    ],
)
def test_deep_masks(tmp_path: Path, values: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack")
    truth = THREE if values.max() == 5400 else TRUTH
    assert (read_mask(tmp_path / "a.tif", BY_FILE) == truth).all()


def test_a_deep_mask_with_its_shape_in_the_alpha(tmp_path: Path) -> None:
    values = np.zeros((*TRUTH.shape, 4), np.uint16)
    values[..., 3] = TRUTH * np.uint16(40)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    assert (read_mask(tmp_path / "a.tif", BY_FILE) == TRUTH).all()


def agreement(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def regions(mask: np.ndarray) -> int:
    return int(ndimage.label(mask, np.ones((3, 3)))[1])


@pytest.mark.parametrize("quality", [50, 75, 90, 100])
def test_the_noise_of_jpeg_is_no_defect(tmp_path: Path, quality: int) -> None:
    for image, truth in ((SHAPE, TRUTH), (coloured(255, 0, 0), TRUTH), (coloured(0, 0, 255), TRUTH), (KINDS, THREE)):
        image.save(tmp_path / "a.jpg", quality=quality, subsampling=0)
        Image.open(tmp_path / "a.jpg").save(tmp_path / "again.png")
        for name in ("a.jpg", "again.png"):
            mask = read_mask(tmp_path / name, BY_FILE)
            assert agreement(mask, truth) > 0.97
            if image is SHAPE:
                assert regions(mask) == 3


def test_hardly_more_than_black_in_a_jpeg_is_nothing(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "a.jpg", quality=100)
    assert np.asarray(Image.open(tmp_path / "a.jpg")).any()
    assert not read_mask(tmp_path / "a.jpg", BY_FILE).any()


@pytest.mark.parametrize(("name", "options"), [("a.webp", {"quality": 70}), ("a.jp2", {"quality_layers": [20]})])
def test_the_noise_of_other_lossy_formats_is_no_defect(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    SHAPE.convert("RGB").save(tmp_path / name, **options)
    Image.open(tmp_path / name).save(tmp_path / "again.png")
    for each in (name, "again.png"):
        mask = read_mask(tmp_path / each, BY_FILE)
        assert agreement(mask, TRUTH) > 0.95
        assert regions(mask) == 3


SIZES = ((300, 250), (288, 240), (192, 160))  # whole multiples give few levels, each of many pixels


@pytest.mark.parametrize(
    "resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX]
)
def test_smooth_edges_are_cut_at_half(tmp_path: Path, resample: Image.Resampling) -> None:
    for image in (draw(255, size=4).resize((96, 80), resample), *(SHAPE.resize(size, resample) for size in SIZES)):
        image.save(tmp_path / "a.png")
        assert (read_mask(tmp_path / "a.png", BY_FILE) == (np.asarray(image) > 127)).all()


def test_under_a_card_lossless_masks_go_by_its_threshold_and_jpeg_at_half(tmp_path: Path) -> None:
    smooth = draw(255, size=4).resize((96, 80), Image.Resampling.BILINEAR)
    smooth.save(tmp_path / "a.png")
    smooth.save(tmp_path / "a.jpg")
    grey, noisy = np.asarray(smooth), np.asarray(Image.open(tmp_path / "a.jpg"))
    for threshold in (0, 127):
        assert (read_mask(tmp_path / "a.png", MaskRule(threshold)) == (grey > threshold)).all()
        assert (read_mask(tmp_path / "a.jpg", MaskRule(threshold)) == (noisy > 127)).all()
        assert (read_mask(tmp_path / "a.jpg", MaskRule(threshold, gt0=True)) == (noisy > 0)).all()
    assert (read_mask(tmp_path / "a.png", MaskRule(None, gt0=True)) == (grey > 0)).all()


def test_real_jpeg_masks_are_read_as_by_their_card_in_every_format(tmp_path: Path) -> None:
    masks = sorted((DATA / "Kvasir-SEG-sample" / "masks").glob("*.jpg"))
    if not masks:
        pytest.skip("the real samples are not here")
    for path in masks:
        expected = read_mask(path, MaskRule(127))
        Image.open(path).convert("L").save(tmp_path / "a.png")
        Image.open(path).convert("L").convert("P").save(tmp_path / "b.png")
        for each in (path, tmp_path / "a.png", tmp_path / "b.png"):
            assert (read_mask(each, BY_FILE) == expected).all()
        assert regions(expected) == regions(read_mask(path, BY_FILE)) <= 3


# ---- EXIF orientation

Turn = Callable[[Image.Image], Image.Image]


def save(path: Path, image: Image.Image, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def read_pair(photo: Path, mask: Path) -> np.ndarray:
    return read_mask(mask, BY_FILE, size=read_image(photo).size, photo=photo)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_drawn_on_the_displayed_image_is_turned_back(tmp_path: Path, orientation: int) -> None:
    photo = save(tmp_path / "photo.jpg", SHAPE.convert("RGB"), orientation)
    alike = save(tmp_path / "alike.png", SHAPE, orientation)
    assert (read_pair(photo, alike) == TRUTH).all()
    stored, displayed = save(tmp_path / "stored.png", SHAPE), tmp_path / "displayed.png"
    save(displayed, ImageOps.exif_transpose(Image.open(alike)))
    if orientation >= 5:  # the sides are exchanged, so sizes tell
        assert (read_pair(photo, displayed) == TRUTH).all()
        assert (read_pair(photo, stored) == TRUTH).all()
    elif orientation >= 2:
        for mask in (displayed, stored):
            with pytest.raises(ImageError, match=r"photo\.jpg.*upright, without the tag") as raised:
                read_pair(photo, mask)
            assert str(mask) in str(raised.value)


def test_where_turning_changes_nothing_or_does_not_help_nothing_is_asked(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg", SHAPE.convert("RGB"), 3)
    assert not read_pair(photo, save(tmp_path / "black.png", BLACK)).any()
    with pytest.raises(MaskSizeError, match=r"other\.png.*50x40"):
        read_pair(photo, save(tmp_path / "other.png", SHAPE.resize((50, 40))))
    # Published loaders pair stored pixels, so under a card's threshold nothing is turned.
    plain = save(tmp_path / "plain.png", SHAPE)
    assert (read_mask(plain, MaskRule(0), size=SHAPE.size, photo=photo) == TRUTH).all()


def test_a_mask_that_carries_the_tag_alone_is_turned_where_sizes_tell(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", SHAPE.convert("RGB"))
    turned = SHAPE.transpose(Image.Transpose.ROTATE_90)  # displayed upright by orientation 6
    assert (read_pair(photo, save(tmp_path / "mask.png", turned, 6)) == TRUTH).all()
