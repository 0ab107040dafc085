"""Connected regions of a mask, in the form in which metrics count them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Regions:
    """The positive pixels of a mask (H, W) and the sizes of their connected regions.

    Pixels are kept as R runs within rows, in row-major order. That takes a few kB where the mask takes H·W bytes, so
    that a process which reads masks can send it to the one that computes metrics.
    """

    shape: tuple[int, int]
    """Height H and width W of the mask."""
    starts: Int32Array
    """Number of the first pixel of each run (R,), counted row by row."""
    lengths: Int32Array
    """Number of pixels of each run (R,)."""
    sizes: Int32Array
    """Number of pixels of the region to which each run belongs (R,)."""
    count: int
    """Number of regions."""

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Numbers of the P positive pixels, counted row by row, ascending."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        return np.arange(ends[-1:].sum()) + np.repeat(self.starts + self.lengths - ends, self.lengths)

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """1 / (size of its region) of each positive pixel (P,), in the order of `places`."""
        return np.repeat(1.0 / self.sizes, self.lengths)

    def mask(self) -> npt.NDArray[np.bool_]:
        """Return the mask (H, W)."""
        mask = np.zeros(self.shape, dtype=bool)
        mask.ravel()[self.places] = True
        return mask


def find_regions(mask: npt.NDArray[np.bool_]) -> Regions:
    """Return the regions of a mask (H, W) in which True stands for a defect.

    Regions are 8-connected, as in every published code: with 4-connectivity a diagonal line would be many regions.

    Raises:
        ValueError: the mask is of another type, or has no two dimensions.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"mask is {mask.dtype} of shape {mask.shape}; it must be bool (H, W)")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        nothing = np.empty(0, np.int32)
        return Regions(mask.shape, nothing, nothing, nothing, count=0)
    top, left = rows[0], columns[0]
    box = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    labels = np.empty(box.shape, dtype=np.int32)
    count = ndimage.label(box, structure=np.ones((3, 3)), output=labels)
    steps = np.diff(np.pad(box, ((0, 0), (1, 1))).view(np.int8), axis=1)
    row, begin = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    return Regions(
        mask.shape,
        starts=((row + top) * mask.shape[1] + begin + left).astype(np.int32),
        lengths=(end - begin).astype(np.int32),
        sizes=np.bincount(labels.ravel()).astype(np.int32)[labels[row, begin]],
        count=int(count),
    )
