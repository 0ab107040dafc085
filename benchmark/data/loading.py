"""Loading samples in worker processes: image tensors, masks at the evaluation size, and errors of reading."""

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
    """One sample with its image and mask, or with the error that reading it raised."""

    sample: Sample
    image: Tensor | None = None
    """The preprocessed image (3, S, S)."""
    mask: Mask | None = None
    """The mask (S, S), where masks are read."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How samples are read."""

    image_size: int
    """Side S of images and masks in pixels."""
    mask_threshold: int | None
    """Grey value above which a mask pixel is anomalous; with None no masks are read."""
    batch_size: int
    workers: int
    """Number of processes that read; with 0 this process reads."""


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
        except (ImageError, OSError) as error:  # OSError: no permission, a network drive that is gone, …
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
