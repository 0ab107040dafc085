"""Mosaics: each cell is an image of the class, the mask follows the image, and the seed draws them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contract import ClassName, Picture
from methods.mosaics import Draw, by_kind, distinct, mosaic, mosaics

DRAWS: dict[str, Draw] = {"by kind": by_kind, "distinct": distinct}


def picture(place: int, *, width: int = 5, height: int = 4, kind: str = "", dataset: str = "mvtec") -> Picture:
    """A picture whose red tells its place, and whose mask is where its green is."""
    mask = np.random.default_rng(place).random((height, width)) < (0.5 if kind else 0)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0], image[..., 1] = place, mask * 200
    return Picture(image, mask, int(bool(kind)), ClassName("screw", dataset=dataset), kind)


class AClass:
    """The pictures of a class, as many of each kind as said."""

    def __init__(self, numbers: Mapping[str, int], **more: Any) -> None:
        kinds = [kind for kind, number in numbers.items() for _ in range(number)]
        self.pictures = [picture(place, kind=kind, **more) for place, kind in enumerate(kinds)]
        self.kinds: Mapping[str, Sequence[int]] = {
            kind: [place for place, each in enumerate(kinds) if each == kind] for kind in numbers
        }

    def read(self, place: int) -> Picture:
        return self.pictures[place]


A_CLASS = st.dictionaries(st.sampled_from(["", "bent", "cut"]), st.integers(1, 5), min_size=1).map(AClass)
SEEDS = st.integers(0, 2**32 - 1)


def cells_of(found: Picture) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """The four parts of image and mask, row by row."""
    height, width = (side // 2 for side in found.mask.shape)
    parts = [(slice(i * height, (i + 1) * height), slice(j * width, (j + 1) * width)) for i in (0, 1) for j in (0, 1)]
    return [(found.image[part], found.mask[part]) for part in parts]


@pytest.mark.parametrize("how", DRAWS)
@given(of=A_CLASS, seed=SEEDS, keep=st.booleans())
def test_a_mosaic_is_of_four_images_of_the_class(how: str, of: AClass, seed: int, keep: bool) -> None:
    augment = mosaics(1.0, ["visa", "mvtec"], DRAWS[how], keep_label=keep)
    assert augment is not None
    replaced = of.pictures[0]
    found = augment(replaced, of, np.random.default_rng(seed))
    assert found.image.shape == (8, 10, 3)
    assert found.image.dtype == np.uint8
    assert found.mask.dtype == np.bool_
    places = []
    for image, mask in cells_of(found):
        cell = of.read(int(image[0, 0, 0]))
        np.testing.assert_array_equal(image, cell.image)
        np.testing.assert_array_equal(mask, cell.mask)
        places.append(int(image[0, 0, 0]))
    labels = [of.read(place).label for place in places]
    assert found.label == (replaced.label if keep else max(labels))
    assert (found.class_name, found.kind) == (replaced.class_name, replaced.kind)
    if how == "distinct" and len(of.pictures) >= 4:
        assert len(set(places)) == 4
    again = augment(replaced, of, np.random.default_rng(seed))
    np.testing.assert_array_equal(found.image, again.image)


def test_kinds_are_drawn_uniformly_and_then_their_images_or_all_images_alike() -> None:
    of = AClass({"": 8, "bent": 2})
    shares = {}
    for how, draw in DRAWS.items():
        generator = np.random.default_rng(0)
        drawn = Counter(place for _ in range(2000) for place in draw(of.kinds, generator))
        shares[how] = [drawn[place] / 8000 for place in (0, 7, 8, 9)]
    assert shares["by kind"] == pytest.approx([1 / 16, 1 / 16, 1 / 4, 1 / 4], abs=0.02)
    assert shares["distinct"] == pytest.approx([1 / 10] * 4, abs=0.02)


def test_images_of_other_sizes_are_resized_to_the_first() -> None:
    left = np.zeros((40, 60), dtype=np.bool_)
    left[:, :24] = True
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[left] = 255
    large = Picture(image, left, 1, ClassName("screw", dataset="mvtec"), "cut")
    pixels, mask = mosaic([picture(1), large, large, picture(2)])
    assert (pixels.shape, mask.shape) == ((8, 10, 3), (8, 10))
    np.testing.assert_array_equal(mask[:4, 5:], [[True, True, False, False, False]] * 4)
    np.testing.assert_array_equal(mask[:4, 5:], mask[4:, :5])
    assert pixels[:4, 5].min() == 255
    assert pixels[:4, 9].max() == 0


def test_only_images_of_mvtec_are_replaced_and_as_often_as_said() -> None:
    of, other = AClass({"": 3, "cut": 3}), AClass({"": 4}, dataset="cvc_colondb")
    assert mosaics(0.0, ["mvtec"], by_kind) is None
    assert mosaics(0.2, ["visa"], by_kind) is None
    augment = mosaics(0.2, ["mvtec", "cvc_colondb"], by_kind)
    assert augment is not None
    generator = np.random.default_rng(0)
    replaced = [augment(of.pictures[0], of, generator) is not of.pictures[0] for _ in range(2000)]
    assert np.mean(replaced) == pytest.approx(0.2, abs=0.03)
    assert all(augment(other.pictures[0], other, generator) is other.pictures[0] for _ in range(50))
    same = replace(of.pictures[0], class_name=ClassName("screw"))
    assert augment(same, of, generator) is same
