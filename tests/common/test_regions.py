"""Connected regions of masks beside those of scikit-image, and what it takes to send them."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label

from benchmark.common.regions import find_regions


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    share=st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.0]),
)
def test_regions_are_those_of_scikit_image(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    found, numbered = find_regions(mask), label(mask, connectivity=2)
    sizes = np.bincount(numbered.ravel())
    assert found.count == numbered.max()
    assert np.array_equal(found.places, np.flatnonzero(mask))
    np.testing.assert_array_equal(found.weights, 1 / sizes[numbered[mask]])
    assert np.array_equal(found.mask(), mask)


def test_a_run_ends_with_its_row() -> None:
    mask = np.zeros((3, 40), bool)
    mask[0, 38:] = mask[1, :3] = True
    found = find_regions(mask)
    assert (found.count, found.lengths.tolist(), found.sizes.tolist()) == (2, [2, 3], [2, 3])


def test_a_mask_is_sent_in_a_few_kilobytes() -> None:
    rows, columns = np.ogrid[:518, :518]
    mask = (rows - 200) ** 2 + (columns - 250) ** 2 < 100**2
    mask[400:450, 30:400] = True
    assert find_regions(mask).places.size > 45_000
    assert len(pickle.dumps(find_regions(mask))) < 6_000
    assert len(pickle.dumps(find_regions(np.zeros((518, 518), bool)))) < 1_000
    kept = pickle.loads(pickle.dumps(find_regions(mask)))
    assert np.array_equal(kept.mask(), mask)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.uint8), np.zeros((1, 2, 2), bool)])
def test_unfit_masks_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"it must be bool \(H, W\)"):
        find_regions(wrong)
