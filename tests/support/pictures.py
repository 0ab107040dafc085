"""Pictures for benchmarks of what comes after the vision tower."""

import numpy as np
import numpy.typing as npt

SIZE, GRID = 518, 37


def scene(seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return a mask (518, 518) and a map of logits (37, 37), higher within it; a picture of an even seed is normal."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    for _ in range(rng.integers(1, 5) if seed % 2 else 0):
        (row, column), (height, width) = rng.integers(20, SIZE - 20, 2), rng.integers(5, 60, 2)
        mask |= ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1
    return mask, rng.normal(size=(GRID, GRID)) + 2 * mask[7::14, 7::14] - 2
