"""Maps of any form at the evaluation size, beside torch's interpolation and SciPy's filter."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from benchmark.contract import LayerLogits
from benchmark.running import maps
from benchmark.running.maps import maps_at_evaluation_size, on_grid


def random_logits(*shape: int, scale: float = 5.0, seed: int = 0, **how: bool) -> LayerLogits:
    return LayerLogits(scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed)), **how)


def two_logits(of: LayerLogits, side: int, *, smoothing: float) -> Any:
    """The maps as published code makes them, of both logits with a softmax."""
    pairs = torch.stack([torch.zeros_like(of.differences), of.differences], dim=2).double()
    batch, layers, _, *grid = pairs.shape

    def resized(values: torch.Tensor) -> torch.Tensor:
        flat = values.reshape(batch * layers, 2, *grid)
        flat = interpolate(flat, size=(side, side), mode="bilinear", align_corners=of.corners_aligned)
        return flat.reshape(batch, layers, 2, side, side)

    both = resized(pairs).softmax(2) if of.softmax_last else resized(pairs.softmax(2))
    summed = both[:, :, 1].sum(1).numpy()
    return np.stack([gaussian_filter(each, smoothing) for each in summed]) if smoothing else summed


@settings(max_examples=25, deadline=None)
@given(
    layers=st.integers(1, 4),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    side=st.sampled_from((12, 30)),
    smoothing=st.sampled_from((0.0, 2.0)),
    aligned=st.booleans(),
    last=st.booleans(),
)
def test_layers_are_resized_as_published_code_does(
    layers: int, height: int, width: int, side: int, smoothing: float, aligned: bool, last: bool
) -> None:
    of = random_logits(2, layers, height, width, corners_aligned=aligned, softmax_last=last)
    found = maps_at_evaluation_size(of, image_size=side, smoothing=smoothing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, two_logits(of, side, smoothing=smoothing), atol=2.5e-7, rtol=0)


@pytest.mark.parametrize("last", [False, True])
def test_probabilities_near_0_keep_their_digits(last: bool) -> None:
    of = LayerLogits(torch.full((1, 1, 4, 4), -60.0), softmax_last=last)
    expected = 1 / (1 + np.exp(60.0))
    assert maps_at_evaluation_size(of, image_size=16, smoothing=0.0) == pytest.approx(expected, rel=1e-6)
    assert on_grid(of, 4).numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("last", [False, True])
def test_equal_differences_make_a_constant_map(last: bool) -> None:
    of = LayerLogits(torch.full((1, 3, 37, 37), 1.7), corners_aligned=True, softmax_last=last)
    assert len(np.unique(maps_at_evaluation_size(of, image_size=120, smoothing=4.0))) == 1


def test_another_evaluation_size_smooths_the_same_part_of_the_image() -> None:
    of = random_logits(1, 2, 5, 5, softmax_last=True)
    scaled = maps_at_evaluation_size(of, image_size=32, evaluation_size=64, smoothing=2.0)
    assert np.array_equal(scaled, maps_at_evaluation_size(of, image_size=64, smoothing=4.0))


def test_the_number_of_images_changes_no_map() -> None:
    of = random_logits(3, 2, 5, 5, softmax_last=True)
    alone = [LayerLogits(each, softmax_last=True) for each in of.differences.split(1)]
    found = [maps_at_evaluation_size(each, image_size=24, smoothing=1.0) for each in (of, *alone)]
    assert np.array_equal(found[0], np.concatenate(found[1:]))


def test_maps_of_the_evaluation_size_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    full = torch.rand(2, 30, 30, generator=torch.Generator().manual_seed(0))
    smooth = maps_at_evaluation_size(full, image_size=30, smoothing=2.0)
    expected = [gaussian_filter(each, 2.0) for each in full.double().numpy()]
    np.testing.assert_allclose(smooth, expected, atol=1e-7, rtol=0)
    monkeypatch.delattr(maps, "resizing_matrix")
    assert np.array_equal(maps_at_evaluation_size(full, image_size=30, smoothing=0.0), full.numpy())
    of = LayerLogits(full[:, None], softmax_last=True)
    found = maps_at_evaluation_size(of, image_size=30, smoothing=0.0)
    np.testing.assert_allclose(found, full.sigmoid().numpy(), atol=1e-7, rtol=0)


def test_maps_on_the_grid_are_what_is_kept_of_an_image() -> None:
    of = random_logits(2, 3, 5, 6, softmax_last=True)
    probability = torch.stack([torch.zeros_like(of.differences), of.differences]).softmax(0)[1].sum(1)
    torch.testing.assert_close(on_grid(of, 6), probability, atol=1e-6, rtol=0)
    assert torch.equal(on_grid(probability, 6), probability)
    large = torch.rand(2, 30, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(on_grid(large, 10), adaptive_avg_pool2d(large, 10))
    assert on_grid(large, 25).shape == (2, 25, 20)
