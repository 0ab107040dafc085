"""Every kind of image on people's disks is read as what it shows, or refused by name."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from benchmark.data.images import ImageError, read_image
from benchmark.data.masks import MaskRule, MaskSizeError, read_mask, resize_mask

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def grey(path: Path, **options: object) -> np.ndarray:
    image = read_image(path, **options)
    assert image.mode == "RGB"
    values = np.asarray(image)
    assert (values[..., 0] == values[..., 1]).all()
    assert (values[..., 0] == values[..., 2]).all()
    return values[..., 0]


def write(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.PNG", "a.gif", "bild ü (1).webp"])
def test_grey_images_of_every_format_are_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, Image.fromarray(RAMP), **({"lossless": True} if name.endswith("webp") else {}))
    assert (grey(path) == RAMP).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_modes_become_rgb_with_the_same_values(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(255 - RAMP, mode="L").convert("P")
        image.putpalette([255 - i for i in range(256) for _ in range(3)])  # index i is shown as 255 - i
    else:
        image = Image.fromarray(RAMP).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(255 - RAMP))  # half transparent pixels keep their colour
    path = write(tmp_path / "a.png", image)
    assert Image.open(path).mode == mode
    assert (grey(path) == RAMP).all()


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", Image.fromarray(RAMP > 99))
    assert (grey(path) == np.where(RAMP > 99, 255, 0)).all()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    red, green, blue = np.asarray(read_image(path)).reshape(-1, 3).mean(axis=0)
    assert red > 250
    assert max(green, blue) < 5


def test_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert("P")
    path = write(tmp_path / "a.png", image, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (grey(path) == RAMP).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 32896, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 128.0, 255.0]], np.float32), [0, 128, 255]),
        (np.array([[-5.0, 0.0, 255.0]], np.float32), [0, 0, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float64), [0, 128, 255]),  # unknown to Pillow
        (np.array([[[0.0] * 3, [0.5] * 3, [1.0] * 3]], np.float64), [0, 128, 255]),
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
    ],
)
def test_deep_images_are_scaled_not_clipped(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if values.ndim == 3 else None)
    assert grey(tmp_path / "a.tif").tolist() == [expected]


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ImageError, match=r"a\.tif.*finite"):
        read_image(tmp_path / "a.tif")


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "a.jpg", Image.new("RGB", (20, 10)), exif=exif)
    assert read_image(path).size == (20, 10)


def noise(height: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "tif"])
def test_truncated_images_are_refused(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"a.{extension}", noise())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (read_image, lambda p: read_mask(p, MaskRule(0))):
        with pytest.raises(ImageError, match=rf"a\.{extension}: .*again"):
            read(path)


def test_what_is_no_image_is_refused_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    causes = {
        "empty.png": "zero bytes",
        "text.png": "not an image",
        "text.tif": 'not an image in a known format, but a text that begins "no image"',
        "pointer.png": "git lfs pull",
        "folder.png": "no such file",
        "pipe.png": "no such file",
        "dangling.png": "no such file",
        "missing.png": "no such file",
    }
    for name, cause in causes.items():
        with pytest.raises(ImageError, match=f"{name}: .*{cause}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("factor", [1.5, 3])
def test_more_pixels_than_pillows_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    write(tmp_path / "a.png", noise())
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(64 * 64 / factor))
    for name in ("a.png", "a.tif"):
        with warnings.catch_warnings(), pytest.raises(ImageError, match=rf"{name}: .*pixels"):
            warnings.simplefilter("ignore")
            read_image(tmp_path / name)


def test_a_bomb_is_refused_when_warnings_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png", noise())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with warnings.catch_warnings(), pytest.raises(ImageError, match=r"a\.png"):
        warnings.simplefilter("error")
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("height", [9, 10, 11])
def test_pieces_are_the_thirds_and_cover_every_row_once(tmp_path: Path, height: int) -> None:
    values = np.repeat(np.arange(height, dtype=np.uint8)[:, None], 4, axis=1)
    path = write(tmp_path / "a.png", Image.fromarray(values))
    pieces = [grey(path, piece=(i, 3)) for i in range(3)]
    assert [len(p) for p in pieces] == [height // 3, 2 * height // 3 - height // 3, height - 2 * height // 3]
    assert (np.concatenate(pieces) == values).all()
    masks = [read_mask(path, MaskRule(3), piece=(i, 3), size=(4, len(pieces[i]))) for i in range(3)]
    assert (np.concatenate(masks) == (values > 3)).all()


def test_an_image_with_fewer_rows_than_pieces_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", noise(2))
    with pytest.raises(ImageError, match=r"a\.png.*2 rows.*3 pieces"):
        read_image(path, piece=(0, 3))


@pytest.mark.parametrize("threshold", [0, 127])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_masks_are_thresholded_on_an_8_bit_scale(tmp_path: Path, mode: str, threshold: int) -> None:
    image = Image.fromarray(RAMP.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(RAMP).convert(mode)
    if mode == "RGBA":
        image.putalpha(0)
    mask = read_mask(write(tmp_path / "a.png", image), MaskRule(threshold))
    assert mask.dtype == bool
    assert (mask == (threshold < RAMP)).all()


def test_of_a_16_bit_mask_every_nonzero_value_is_above_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", Image.fromarray(np.array([[0, 1, 9, 65535]], np.uint16)))
    assert read_mask(path, MaskRule(0)).tolist() == [[False, True, True, True]]
    assert read_mask(path, MaskRule(127)).tolist() == [[False, False, False, True]]


def test_a_mask_of_another_size_is_refused_naming_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", Image.fromarray(RAMP))
    assert read_mask(path, MaskRule(0), size=(16, 16)).shape == (16, 16)
    with pytest.raises(MaskSizeError, match=r"a\.png: .*16x16 px.*16x17 px"):
        read_mask(path, MaskRule(0), size=(16, 17))


def test_masks_are_resized_like_the_reference() -> None:
    mask = np.zeros((60, 40), bool)
    mask[30:, 10:30] = True
    small = resize_mask(mask, 20)
    assert small.dtype == bool
    assert small.shape == (20, 20)
    assert small[10:, 5:15].all()
    assert small.sum() == 100
    # One pixel of nine covers less than half of its target and disappears.
    mask = np.zeros((60, 60), bool)
    mask[31, 31] = True
    assert not resize_mask(mask, 20).any()
    assert resize_mask(np.ones((7, 5), bool), 518).all()
