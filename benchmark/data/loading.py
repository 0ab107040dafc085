"""Reading samples in the loader's workers: image tensors, masks at the evaluation size, and what could not be read."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmark.data.images import ImageError, read_image, read_mask, resize_mask
from benchmark.data.layouts import Sample
from benchmark.data.preprocess import Preprocess

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Loaded:
    """One sample as read, or why it could not be."""

    sample: Sample
    image: Tensor | None = None
    """(3, S, S), preprocessed."""
    mask: Mask | None = None
    """(S, S), where masks were asked for."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How samples are read."""

    image_size: int
    """S in pixels."""
    mask_threshold: int | None
    """Grey value above which a mask pixel is anomalous; None: masks are not read."""
    batch_size: int
    workers: int
    """Loader processes; 0 reads in this one."""


def load(
    samples: Sequence[Sample], reading: Reading, *, apart: Callable[[Sample], Hashable] = lambda sample: None
) -> Iterator[list[Loaded]]:
    """Yield the samples in order, in batches.

    Args:
        samples: what to read.
        reading: how.
        apart: a key; samples with different keys never share a batch.
    """
    batches: list[list[int]] = []
    for _, group in groupby(range(len(samples)), key=lambda index: apart(samples[index])):
        indices = list(group)
        batches += [indices[start : start + reading.batch_size] for start in range(0, len(indices), reading.batch_size)]
    yield from DataLoader(
        _Images(samples, reading), batch_sampler=batches, num_workers=reading.workers, collate_fn=list
    )


class _Images(Dataset[Loaded]):
    def __init__(self, samples: Sequence[Sample], reading: Reading) -> None:
        self._samples, self._reading = samples, reading
        self._preprocess = Preprocess(reading.image_size)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Loaded:
        sample = self._samples[index]
        try:
            image = read_image(sample.path, piece=sample.piece)
            mask = self._mask(sample, image.size)
        except (ImageError, OSError) as error:  # or no permission, a network drive that is gone, …
            return Loaded(sample, error=str(error))
        return Loaded(sample, image=self._preprocess(image), mask=mask)

    def _mask(self, sample: Sample, size: tuple[int, int]) -> Mask | None:
        side, threshold = self._reading.image_size, self._reading.mask_threshold
        if threshold is None:
            return None
        if sample.label == 0:
            return np.zeros((side, side), dtype=bool)
        if sample.mask is None:
            raise ImageError(f"{sample.path}: anomalous, but it has no mask; `bench data check` lists all such images")
        mask = read_mask(sample.mask, threshold=threshold, piece=sample.piece, size=size)
        return resize_mask(mask, side)
