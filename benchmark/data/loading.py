"""Loading samples in worker processes: pixels, regions of masks at the evaluation size, and errors of reading.

They go through pipes, as numpy arrays do, and not through shared memory, of which containers have little.
"""

import signal
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmark.common import Regions, find_regions
from benchmark.data.images import ImageError, read_image
from benchmark.data.layouts import Sample
from benchmark.data.masks import Mask, MaskRule, read_mask, resize_mask
from benchmark.data.preprocess import Pixels, Preprocess
from benchmark.data.ranges import Ranges


@dataclass(frozen=True, slots=True)
class Loaded:
    """One sample with its image and mask, or with the error that reading it raised."""

    sample: Sample
    image: Pixels | None = None
    """The pixels of the image (3, S, S), uint8."""
    regions: Regions | None = None
    """The regions of the mask (S, S), of the side of masks, where masks are read."""
    error: str = ""

    @property
    def mask(self) -> Mask | None:
        """The mask (S, S), where masks are read."""
        return None if self.regions is None else self.regions.mask()


@dataclass(frozen=True, slots=True)
class Reading:
    """How samples are read."""

    image_size: int
    """Side S of images in pixels."""
    masks: MaskRule | None
    """Which pixels of masks are anomalous; with None no masks are read."""
    batch_size: int
    workers: int
    """Number of processes that read; with 0 this process reads."""
    mask_size: int | None = None
    """Side of masks in pixels; None: that of images."""
    ranges: Ranges | None = None
    """Black and white of images of more than 8 bits; None: of each image itself."""


def stack(items: Sequence[Loaded]) -> Tensor:
    """Return the pixels of B samples that could be read, of shape `(B, 3, S, S)`, uint8."""
    return torch.from_numpy(np.stack([item.image for item in items if item.image is not None]))


def read_sample(sample: Sample, rule: MaskRule | None, ranges: Ranges | None = None) -> tuple[Image.Image, Mask | None]:
    """Read the image of a sample as `read_image` does, and its mask (H, W), both as large as their files.

    Args:
        sample: what to read.
        rule: which pixels of masks are anomalous; with None no mask is read.
        ranges: black and white of images of more than 8 bits.

    Returns:
        The image and its mask; None for the mask of a normal image, or where none is read.

    Raises:
        ImageError: as in `read_image` and `read_mask`, or an anomalous image has no mask.
    """
    image = read_image(sample.path, sample.piece, ranges)
    if rule is None or sample.label == 0:
        return image, None
    if sample.mask is None:
        raise ImageError(f"{sample.path}: anomalous, but it has no mask; `bench data check` lists all such images")
    return image, read_mask(sample.mask, rule, piece=sample.piece, size=image.size, photo=sample.path)


def load(
    samples: Sequence[Sample],
    reading: Reading,
    *,
    apart: Callable[[Sample], Hashable] = lambda sample: None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[list[Loaded]]:
    """Yield the samples in order, in batches, as `load_at_sizes` does for a single size."""
    for batch in load_at_sizes(samples, reading, [reading.image_size], apart=apart, say=say):
        yield [item for (item,) in batch]


def load_at_sizes(
    samples: Sequence[Sample],
    reading: Reading,
    sizes: Sequence[int],
    *,
    apart: Callable[[Sample], Hashable] = lambda sample: None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[list[tuple[Loaded, ...]]]:
    """Yield the samples in order, in batches, each sample at several sizes. Each image and mask is read once.

    If a process that reads dies, this process reads the rest.

    Args:
        samples: what to read.
        reading: how; its image size is not used.
        sizes: sides of images in pixels.
        apart: a key; samples with different keys never share a batch.
        say: called with a message if a process dies.
    """
    batches: list[list[int]] = []
    for _, group in groupby(range(len(samples)), key=lambda index: apart(samples[index])):
        indices = list(group)
        batches += [indices[start : start + reading.batch_size] for start in range(0, len(indices), reading.batch_size)]
    done = 0
    try:
        for batch in _read(samples, batches, reading, sizes):
            yield batch
            done += 1
    except (RuntimeError, OSError) as error:
        if not reading.workers or (isinstance(error, RuntimeError) and "exited unexpectedly" not in str(error)):
            raise
        say(
            f"a process that reads images died ({error}); this process reads the rest, which is slower "
            "(--workers 0 does so from the start)"
        )
        yield from _read(samples, batches[done:], replace(reading, workers=0), sizes)


def _read(
    samples: Sequence[Sample], batches: list[list[int]], reading: Reading, sizes: Sequence[int]
) -> Iterator[list[tuple[Loaded, ...]]]:
    """Yield the batches of samples with these indices.

    Raises:
        RuntimeError: If a process that reads dies; it "exited unexpectedly".
        OSError: If no process can be started.
    """
    images = _Images(samples, reading, sizes)
    loader = DataLoader(images, batch_sampler=batches, num_workers=reading.workers, collate_fn=list)
    # torch raises an error for a dead process from a signal handler, which may run in the midst of any other code, such
    # as that of a method. Without the handler the error comes when the next batch is asked for.
    handler = None
    if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)
    yield from iterator


class _Images(Dataset[tuple[Loaded, ...]]):
    def __init__(self, samples: Sequence[Sample], reading: Reading, sizes: Sequence[int]) -> None:
        self._samples, self._reading, self._sizes = samples, reading, sizes

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Loaded, ...]:
        sample = self._samples[index]
        try:
            image, mask = read_sample(sample, self._reading.masks, self._reading.ranges)
            regions = self._regions(mask)
        except (ImageError, OSError) as error:  # OSError: no permission, a network drive that is gone, …
            return tuple(Loaded(sample, error=str(error)) for _ in self._sizes)
        return tuple(Loaded(sample, Preprocess(size)(image), regions[self._side(size)]) for size in self._sizes)

    def _side(self, image_size: int) -> int:
        """Return the side of masks of images of a size."""
        return self._reading.mask_size or image_size

    def _regions(self, mask: Mask | None) -> dict[int, Regions | None]:
        """Return the regions of the mask by its side; None where no masks are read."""
        sides = {self._side(size) for size in self._sizes}
        if self._reading.masks is None:
            return dict.fromkeys(sides)
        if mask is None:
            return {side: find_regions(np.zeros((side, side), dtype=bool)) for side in sides}
        return {side: find_regions(resize_mask(mask, side)) for side in sides}
