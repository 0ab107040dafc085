"""Resizing and smoothing by a product beside torch's interpolation and SciPy's filter."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from benchmark.common.resizing import resizing_matrix
from benchmark.contract import Prediction
from benchmark.running.maps import at_evaluation_size


@pytest.mark.parametrize("smoothing", [0.0, 0.4, 4.0, 300.0])
@pytest.mark.parametrize(("height", "width"), [(37, 37), (15, 22), (1, 3), (300, 250)])
@pytest.mark.parametrize("side", [112, 240])
def test_maps_are_those_of_interpolation_and_filter(side: int, height: int, width: int, smoothing: float) -> None:
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(0))
    _, found = at_evaluation_size(Prediction(torch.zeros(2), maps), image_size=side, smoothing=smoothing)
    double = maps[:, None].double()  # in float32 the interpolation alone is off by up to 3e-6
    resized = torch.nn.functional.interpolate(double, size=(side, side), mode="bilinear")[:, 0].numpy()
    expected = np.stack([gaussian_filter(each, smoothing) for each in resized]) if smoothing else resized
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("level", [1.0, 0.1, 1 - 2**-24, -3e5, 7e-9])
@pytest.mark.parametrize("smoothing", [0.0, 4.0])
def test_a_constant_map_stays_constant(level: float, smoothing: float) -> None:
    """Scores that are tied must not be told apart by rounding, which would favour some part of the image."""
    maps = torch.full((1, 37, 37), level)
    _, found = at_evaluation_size(Prediction(torch.zeros(1), maps), image_size=518, smoothing=smoothing)
    assert np.unique(found).tolist() == [np.float32(level)]  # type: ignore[arg-type]


def test_the_number_of_maps_changes_no_map() -> None:
    maps = torch.rand(5, 37, 37, generator=torch.Generator().manual_seed(1))
    together, alone = (
        [at_evaluation_size(Prediction(torch.zeros(len(m)), m), image_size=112, smoothing=4.0)[1] for m in given]
        for given in ([maps], maps.split(1))
    )
    np.testing.assert_allclose(together[0], np.concatenate(alone), atol=1e-7, rtol=0)  # type: ignore[arg-type]


def test_a_matrix_is_made_once() -> None:
    made = [resizing_matrix(7, 30, sigma=2.0, device=torch.device("cpu"), dtype=torch.float32) for _ in range(2)]
    assert made[0] is made[1]
    assert made[0].sum(1).numpy() == pytest.approx(np.ones(30), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(old=st.integers(1, 40), new=st.integers(2, 60), aligned=st.booleans(), seed=st.integers(0, 99))
def test_lines_are_resized_with_corners_aligned_or_not(old: int, new: int, aligned: bool, seed: int) -> None:
    line = torch.rand(1, 1, old, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    how = {"device": torch.device("cpu"), "dtype": torch.float64}
    found = resizing_matrix(old, new, sigma=0.0, corners_aligned=aligned, **how) @ line[0, 0]
    expected = torch.nn.functional.interpolate(line, size=new, mode="linear", align_corners=aligned)[0, 0]
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    if aligned:
        assert found[0] == line[0, 0, 0]
        assert found[-1] == line[0, 0, -1]
