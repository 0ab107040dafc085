"""Heatmaps: colours against matplotlib, the blend against its formula; maps are resized as torch does."""

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from benchmark.predict.heatmaps import COLOUR_MAP, OPACITY, colours, overlay, reduced


def photo(width: int = 60, height: int = 40, *, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_colours_are_those_of_the_colour_map_whatever_the_shape() -> None:
    values = np.linspace(0, 1, 256).reshape(4, 64)
    expected = np.rint(255 * np.asarray(matplotlib.colormaps[COLOUR_MAP].colors))  # type: ignore[attr-defined]
    found = colours(values)
    assert found.shape == (4, 64, 3)
    assert np.abs(found.reshape(-1, 3) - expected).max() <= 1
    low, high = colours(np.array([0.0, 1.0])).astype(int)
    assert low.max() < 100
    assert high[:2].min() > 200 > high[2]  # violet and yellow, as its docstring says


def test_a_higher_value_is_lighter() -> None:
    """Also in a grey print, and to readers who do not tell red from green."""
    lightness = rgb2lab(colours(np.linspace(0, 1, 256)))[:, 0]
    assert np.diff(lightness).min() > -0.05  # colours are rounded to 8 bits; a step of turbo goes back by 0.9
    assert np.diff(lightness[::4]).min() > 0
    assert lightness[-1] - lightness[0] > 70


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_colours_are_for_zero_to_one(value: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        colours(np.array([0.5, value]))


def test_the_photo_shows_where_the_map_is_low_and_its_colour_where_it_is_high() -> None:
    image = photo()
    anomaly_map = np.full((40, 60), 3.0)
    anomaly_map[:, 30:] = 7.0
    drawn = np.asarray(overlay(image, anomaly_map, low=3.0, high=7.0)).astype(float)
    pixels = np.asarray(image).astype(float)
    assert np.array_equal(drawn[:, :30], pixels[:, :30])
    expected = (1 - OPACITY) * pixels[:, 30:] + OPACITY * colours(np.ones(1))[0]
    assert np.abs(drawn[:, 30:] - expected).max() <= 2


def test_a_higher_value_hides_more_of_the_photo() -> None:
    white, black = Image.new("RGB", (256, 1), (255, 255, 255)), Image.new("RGB", (256, 1))
    ramp = np.linspace(0, 1, 256)[None]
    contrast = [
        np.asarray(overlay(each, ramp, low=0.0, high=1.0)).astype(int).sum(axis=(0, 2)) for each in (white, black)
    ]
    left = contrast[0] - contrast[1]  # what is left of the difference between the two photos
    assert (np.diff(left) <= 3).all()  # rounding
    assert left[0] == 3 * 255
    assert left[-1] == pytest.approx(3 * 255 * (1 - OPACITY), abs=4)


def test_a_map_is_resized_bilinearly_to_the_image() -> None:
    image, grid = photo(90, 60), np.random.default_rng(1).random((6, 6)).astype(np.float32)
    resized = torch.nn.functional.interpolate(torch.from_numpy(grid)[None, None], size=(60, 90), mode="bilinear")
    whole = overlay(image, resized[0, 0].numpy(), low=0.0, high=1.0)
    small = overlay(image, grid, low=0.0, high=1.0)
    assert np.abs(np.asarray(whole).astype(int) - np.asarray(small).astype(int)).max() <= 8
    turned = overlay(image, grid.T, low=0.0, high=1.0)
    assert np.abs(np.asarray(whole).astype(int) - np.asarray(turned).astype(int)).max() > 40


def test_values_beyond_the_scale_get_its_ends() -> None:
    image, anomaly_map = photo(), np.linspace(-5, 5, 2400).reshape(40, 60)
    clipped = overlay(image, anomaly_map.clip(0, 1), low=0.0, high=1.0)
    assert overlay(image, anomaly_map, low=0.0, high=1.0).tobytes() == clipped.tobytes()


def test_a_constant_map_has_nothing_to_show_and_what_is_above_it_has() -> None:
    image = photo()
    assert overlay(image, np.full((8, 8), 0.4), low=0.4, high=0.4).tobytes() == image.tobytes()
    above = overlay(image, np.full((8, 8), 0.5), low=0.4, high=0.4)
    assert above.tobytes() == overlay(image, np.ones((8, 8)), low=0.0, high=1.0).tobytes()


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (np.nan, 0.0, 1.0, "not finite"),
        (np.inf, 0.0, 1.0, "not finite"),
        (0.5, -np.inf, 1.0, "not finite"),
        (0.5, 0.0, np.nan, "not finite"),
        (0.5, 1.0, 0.0, "above the highest"),
    ],
)
def test_what_cannot_be_drawn_is_refused(value: float, low: float, high: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        overlay(photo(), np.array([[0.5, value]]), low=low, high=high)


@pytest.mark.parametrize(("longer", "expected"), [(60, (60, 40)), (30, (30, 20)), (120, (60, 40)), (1, (1, 1))])
def test_a_large_image_is_reduced_in_its_proportions(longer: int, expected: tuple[int, int]) -> None:
    assert reduced(photo(), longer).size == expected
