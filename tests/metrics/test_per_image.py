"""Results per image: what is kept, how near its bins are to the exact metrics, and that strangers' files do no harm."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from benchmark.common.regions import find_regions
from benchmark.metrics.bootstrap import pixel_replicates
from benchmark.metrics.per_image import (
    BINS,
    TEXT_IMAGES,
    ClassImages,
    PerImageAccumulator,
    PerImageError,
    from_bytes,
    read_per_image,
    to_bytes,
)
from benchmark.metrics.pixel import PixelMetrics, image_pixels


def gather(maps: list[Any], masks: list[Any], texts: dict[str, Any] | None = None) -> ClassImages:
    gathering = PerImageAccumulator()
    for index, (scores, mask) in enumerate(zip(maps, masks, strict=True)):
        gathering.add(f"good/ä {index}.png", int(mask.any()), float(scores.max()), scores[::8, ::8])
        gathering.add_pixels(image_pixels(scores, find_regions(mask)))
    gathering.add_texts(texts or {})
    return gathering.finish()


def some_maps(count: int, seed: int, spread: float) -> tuple[list[Any], list[Any]]:
    """Smooth maps from 0 to 1, more or less saturated, and masks of one or two regions in every other one."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for index in range(count):
        noise, mask = gaussian_filter(rng.normal(size=(64, 64)), 4) * 20, np.zeros((64, 64), bool)
        if index % 2:
            mask[10:25, 20:40] = mask[50:55, 50:60] = True
            noise[mask] += rng.normal(0.7, 0.5)
        maps.append((1 / (1 + np.exp(-spread * noise))).astype(np.float32))
        masks.append(mask)
    return maps, masks


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.001, 0.1, 1.0, 10.0]), zeros=st.booleans())
def test_bins_are_few_and_near_the_exact_metrics(seed: int, spread: float, zeros: bool) -> None:
    maps, masks = some_maps(6, seed, spread)
    if zeros:
        maps = [np.where(scores < 0.3, np.float32(0), scores) for scores in maps]
    exact = PixelMetrics()
    for scores, mask in zip(maps, masks, strict=True):
        exact.update(scores, mask)
    pixels = gather(maps, masks).pixels
    assert pixels is not None
    assert pixels.negatives.shape[1] <= BINS
    assert pixels.negatives.sum(axis=1).tolist() == [int((~mask).sum()) for mask in masks]
    assert pixels.positives.sum(axis=1).tolist() == [int(mask.sum()) for mask in masks]
    assert pixels.weights.sum(axis=1) == pytest.approx(pixels.regions)
    found = pixel_replicates(pixels, np.ones((1, len(maps))))
    values = exact.compute()
    assert found["pixel_auroc"][0] == pytest.approx(values["pixel_auroc"], abs=2e-3)
    assert found["pixel_aupro"][0] == pytest.approx(values["pixel_aupro"], abs=2e-3)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    maps, masks = some_maps(4, 0, 1.0)
    rng = np.random.default_rng(0)
    seen = gather(maps, masks, {"F_T, block 2": rng.normal(size=(20, 2, 8)), "F_Q": np.ones((20, 2, 8))})
    plain = PerImageAccumulator()
    plain.add("x.png", 0, 0.25, np.full((4, 4), 0.5))
    written = {"metal_nut": seen, "é/<b>": plain.finish()}
    path = tmp_path / "a.npz"
    path.write_bytes(content := to_bytes(written))
    assert to_bytes(written) == content
    read = read_per_image(path, hashlib.sha256(content).hexdigest())
    assert list(read) == list(written)
    for name, images in read.items():
        expected = written[name]
        assert (images.keys, images.map_range) == (expected.keys, expected.map_range)
        for field in ("labels", "scores", "maps"):
            np.testing.assert_array_equal(getattr(images, field), getattr(expected, field))
    assert read["é/<b>"].pixels is None
    assert read["metal_nut"].pixels is not None
    np.testing.assert_array_equal(read["metal_nut"].pixels.weights, seen.pixels.weights)  # type: ignore[union-attr]
    assert {name: len(each) for name, each in read["metal_nut"].texts.items()} == {
        "F_T, block 2": TEXT_IMAGES,
        "F_Q": 1,
    }


def test_a_file_says_which_images_are_pieces_of_one_photograph() -> None:
    """Without such pieces it says nothing, as the files of earlier versions."""
    cut, whole = PerImageAccumulator(), PerImageAccumulator()
    for index in range(4):
        cut.add(f"{index}", index % 2, 0.5, np.zeros((2, 2)), photograph=f"{index // 2}.jpg")
        whole.add(f"{index}", index % 2, 0.5, np.zeros((2, 2)), photograph=f"{index}.jpg")
    content = to_bytes({"cut": cut.finish(), "whole": whole.finish()})
    read = from_bytes(content)
    assert read["cut"].photographs is not None
    assert read["cut"].photographs.tolist() == [0, 0, 1, 1]
    assert read["whole"].photographs is None
    with np.load(io.BytesIO(content)) as arrays:
        assert [name for name in arrays.files if name.endswith("photographs")] == ["0/photographs"]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(-44, 29.5).map(lambda exponent: 10.0**exponent),
    offset=st.sampled_from([0.0, -0.5, 1.0]),
)
@example(seed=0, scale=1e5, offset=0.0)
@example(seed=0, scale=1e-8, offset=0.0)
def test_maps_of_any_scale_keep_their_order_in_256_steps(seed: int, scale: float, offset: float) -> None:
    """From the smallest scores that float32 holds to the largest that the contract allows."""
    maps, masks = some_maps(3, seed, 1.0)
    maps = [((scores + offset) * scale).astype(np.float32) for scores in maps]
    content = to_bytes({"a": gather(maps, masks)})
    images = from_bytes(content)["a"]
    expected = np.stack([scores[::8, ::8] for scores in maps]).astype(np.float64)
    low, high = images.map_range
    assert (low, high) == (expected.min(), expected.max())
    restored = low + images.maps.astype(float) * (high - low) / 255
    assert (np.abs(restored - expected) <= 0.501 * (high - low) / 255).all()
    order = np.argsort(expected.ravel())
    assert (np.diff(images.maps.ravel()[order].astype(int)) >= 0).all()


def test_a_flat_map_is_all_zero() -> None:
    flat = PerImageAccumulator()
    flat.add("a", 0, 0.5, np.full((2, 2), 0.5))
    assert not flat.finish().maps.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -2e30])
def test_what_could_not_be_read_again_is_refused(bad: float) -> None:
    """Also without masks, where no pixel metric looks at the maps."""
    gathering = PerImageAccumulator()
    with pytest.raises(ValueError, match="NaN or infinite"):
        gathering.add("a", 0, 0.5, np.array([[0.5, bad]], np.float32))
    assert not gathering.keys
    for wrong in (np.full((3, 2, 4), bad, np.float32), np.ones((3, 4))):
        with pytest.raises(ValueError, match=r"'F_T' .* unit vectors"):
            gathering.add_texts({"F_T": wrong})


class Trap:
    """Says so if it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("kind", ["missing", "changed", "no archive", "pickle", "entries"])
def test_a_file_that_is_not_the_records_is_refused(kind: str, tmp_path: Path) -> None:
    path, file = tmp_path / "a.npz", io.BytesIO()
    if kind == "pickle":
        np.savez(file, classes=np.array([Trap()], dtype=object))
    elif kind == "entries":
        np.savez(file, classes=np.array(["a"]))
    elif kind == "no archive":
        file.write(b"no archive")
    elif kind == "changed":  # readable, but another one
        maps, masks = some_maps(2, 0, 1.0)
        file.write(to_bytes({"a": gather(maps, masks)}))
    sha256 = "0" * 64 if kind == "changed" else hashlib.sha256(file.getvalue()).hexdigest()
    if kind != "missing":
        path.write_bytes(file.getvalue())
    with pytest.raises(PerImageError, match=r"a\.npz: .*--force"):
        read_per_image(path, sha256)


def test_the_file_is_what_numpy_writes_of_the_same_arrays() -> None:
    """So that files that are written class by class are those of earlier versions, byte for byte."""
    maps, masks = some_maps(5, 3, 1.0)
    content = to_bytes({"a": gather(maps, masks), "b": gather(maps[:3], masks[:3])})
    with np.load(io.BytesIO(content)) as arrays:
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **{name: arrays[name] for name in arrays.files})
    assert file.getvalue() == content
