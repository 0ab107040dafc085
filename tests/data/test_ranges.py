"""Black and white of deep images: one range for a dataset, such that nothing turns black and brightness compares."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmark.data import images
from benchmark.data.check import check_dataset, render
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import find_extremes, read_image
from benchmark.data.ranges import Range, Ranges
from benchmark.data.samples import SampleSet

RAMP = np.linspace(0, 1, 48).reshape(6, 8)


def deep_png(path: Path, values: np.ndarray) -> None:
    """Write 16-bit grey, colours or colours with alpha; Pillow writes grey only."""
    kind = {2: 0, 3: 2, 4: 6}[values.ndim if values.ndim == 2 else values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize(
    ("low", "high", "floats", "expected"),
    [
        (0, 200, False, (0, 255)),
        (0, 270, False, (0, 255)),  # overshoot
        (0, 300, False, (0, 1023)),
        (0, 1023, False, (0, 1023)),
        (0, 1024, False, (0, 4095)),
        (0, 4095, False, (0, 4095)),
        (0, 12000, False, (0, 16383)),
        (0, 65535, False, (0, 65535)),
        (0, 70000, False, (0, 2**32 - 1)),
        (-1024, 3071, False, (-1024, 4095)),
        (-5, 255, False, (0, 255)),
        (0, 0.4, True, (0, 1)),
        (-0.02, 1.03, True, (0, 1)),
        (-1, 1, True, (-1, 1)),
        (-0.7, 0.9, True, (-1, 1)),
        (-0.9, 0.1, True, (-1, 1)),
        (-1.05, 1.02, True, (-1, 1)),
        (-3, 1, True, (-3, 1)),
        (0, 0.001, True, (0, 0.001)),
        (-0.002, 0.001, True, (-0.002, 0.001)),
        (0, 0, True, (0, 1)),
        (0, 1.2, True, (0, 1.2)),
        (0, 31, True, (0, 31)),
        (0, 40, True, (0, 255)),
        (-3, 261.5, True, (0, 255)),
        (0, 900, True, (0, 1023)),
        (0, 1e12, True, (0, 1e12)),
    ],
)
def test_the_smallest_usual_range_that_holds_all_values(
    low: float, high: float, floats: bool, expected: tuple[float, float]
) -> None:
    assert Range.holding(low, high, floats=floats) == Range(*expected)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.booleans())
def test_every_range_holds_its_values_but_for_a_tenth(low: float, high: float, floats: bool) -> None:
    span = Range.holding(low, high, floats=floats)
    assert span.low <= 0 < span.high
    assert high <= 1.1 * span.high
    assert low >= span.low - 0.1 * span.high - 1e-6 * span.high


def folder(root: Path, **values: np.ndarray) -> SampleSet:
    """Return a plain folder with these images; the name says the side, as in `normal_0`."""
    for name, pixels in values.items():
        side, _, number = name.partition("_")
        (root / side).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(root / side / f"{number}.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    return read_folder(PlainFolder(directory=root))


def grey(path: Path, ranges: Ranges | None = None) -> np.ndarray:
    return np.asarray(read_image(path, ranges=ranges))[..., 0]


@pytest.mark.parametrize(
    ("dtype", "peak", "white"),
    [(np.uint16, 4095, 4095), (np.uint16, 1000, 1023), (np.uint16, 258, 255), (np.float32, 1.04, 1.0),
     (np.int32, 4095, 4095), (np.float64, 4095, 4095)],
)  # fmt: skip
def test_brightness_compares_between_images_of_a_dataset(
    tmp_path: Path, dtype: type, peak: float, white: float
) -> None:
    bright, dark = (RAMP * peak).astype(dtype), (RAMP * peak / 4).astype(dtype)
    data = folder(tmp_path, normal_0=dark, abnormal_0=bright, abnormal_1=np.stack([bright] * 3, -1))
    assert str(data.ranges).endswith(f"from 0 (black) to {white:.15g} (white)")
    read = {s.key: grey(s.path, data.ranges) for s in data.samples}
    for key, values in (("normal/0.tif", dark), ("abnormal/0.tif", bright), ("abnormal/1.tif", bright)):
        assert (read[key] == np.clip(np.rint(values.astype(float) * (255 / white)), 0, 255)).all()
    assert read["abnormal/0.tif"].max() > 240
    # A part of the dataset is read as the whole.
    part = replace(data, samples=data.samples[-1:])
    assert part.samples[0].key == "normal/0.tif"
    assert part.ranges == data.ranges
    assert str(data.ranges) in str(data.warnings)


def test_the_range_is_part_of_what_the_data_are(tmp_path: Path) -> None:
    images = {"normal_0": (RAMP * 4000).astype(np.uint16), "abnormal_0": (RAMP * 900).astype(np.uint16)}
    both = folder(tmp_path, **images)
    parts = [replace(both, whole=both.samples[i : i + 1]) for i in (0, 1)]
    assert len({data.fingerprint for data in parts}) == 2
    assert parts[1].fingerprint == replace(both, whole=()).fingerprint


def test_shallow_images_have_no_range_and_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.jpg", "c.bmp", "d.gif"):
        Image.fromarray((RAMP * 255).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "e.png").write_text("broken")
    monkeypatch.setattr(images, "decode", pytest.fail)
    assert not find_extremes([*tmp_path.iterdir(), tmp_path / "missing.png"], "")


@pytest.mark.parametrize("channels", [0, 3, 4])
def test_deep_pngs_keep_all_their_bits(tmp_path: Path, channels: int) -> None:
    values = (RAMP * 1000).astype(np.uint16)
    several = [values, values // 2, values // 4, np.full_like(values, 65535)]
    deep_png(tmp_path / "a.png", np.stack(several[:channels], -1) if channels else values)
    ranges = Ranges.holding(find_extremes([tmp_path / "a.png"], "").values())
    assert ranges == Ranges(integers=Range(0, 1023))
    read = np.asarray(read_image(tmp_path / "a.png", ranges=ranges))
    for channel in range(3):
        expected = several[channel if channels else 0] * (255 / 1023)
        assert np.abs(read[..., channel] - expected).max() <= 0.5
    assert (read_image(tmp_path / "a.png", piece=(1, 2), ranges=ranges).size) == (8, 3)


def test_what_was_found_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(tmp_path, normal_0=(RAMP * 4000).astype(np.uint16), abnormal_0=(RAMP * 90).astype(np.uint16))
    monkeypatch.setattr("benchmark.data.contents.FRESH", -60.0)  # these files count as settled
    first = data.ranges
    monkeypatch.setattr(images, "decode", pytest.fail)
    assert replace(data).ranges == first


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_dead_pixel_turns_no_image_black(tmp_path: Path, dtype: type) -> None:
    values = np.tile(RAMP, (20, 25)).repeat(2, axis=0)  # 48,000 pixels
    images = {f"normal_{i}": (values * peak).astype(dtype) for i, peak in enumerate((900, 3000, 4000))}
    images["normal_0"][3, 4:8] = 65535
    data = folder(tmp_path, abnormal_0=(values * 2000).astype(dtype), **images)
    assert str(data.ranges).endswith("from 0 (black) to 4095 (white)")
    images["normal_0"][3, 4:9] = 65535  # five of 48,000 may be a reflection
    assert str(folder(tmp_path, **images).ranges).endswith("to 65535 (white)")


def test_a_hot_pixel_of_a_small_image_says_nothing_either(tmp_path: Path) -> None:
    values = (np.tile(RAMP, (5, 5)) * 4000).astype(np.uint16)
    hot = values.copy()
    hot[3, 3] = 65535
    assert folder(tmp_path, normal_0=hot, abnormal_0=values).ranges == Ranges(integers=Range(0, 4095))


@pytest.mark.parametrize("scale", [(4000, 65000), (0.9, 900.0)])
def test_images_that_turn_black_by_the_range_of_others_are_named(tmp_path: Path, scale: tuple[float, float]) -> None:
    dtype = np.uint16 if scale[0] > 1 else np.float32
    dark, bright = ((RAMP * peak).astype(dtype) for peak in scale)
    data = folder(tmp_path, normal_0=dark, normal_1=bright, abnormal_0=dark, abnormal_1=bright)
    (found,) = [warning for warning in data.warnings if "nearly black" in warning]
    assert found.startswith("2 of 4 images of more than 8 bits are nearly black by the range of all: in abnormal/0.tif")
    assert "save all images with the same depth" in found
    assert found in render(check_dataset(data))
    even = folder(tmp_path / "even", normal_0=bright, abnormal_0=bright // 4)
    assert not even.turned_black


def test_integers_and_floats_have_ranges_of_their_own(tmp_path: Path) -> None:
    data = folder(tmp_path, normal_0=(RAMP * 4000).astype(np.uint16), abnormal_0=RAMP.astype(np.float32))
    assert data.ranges == Ranges(Range(0, 4095), Range(0, 1))
    assert min(grey(s.path, data.ranges).max() for s in data.samples) > 240
