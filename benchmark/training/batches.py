"""Batches of auxiliary images: read by threads while the step before is taken, or kept on the GPU if they fit."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Protocol as Interface
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.clip import Backbone, map_features
from benchmark.common import Rows, free_memory
from benchmark.contract import Features, Layer, TrainingBatch, VisionSpec
from benchmark.data import Card, Sample
from benchmark.protocol import Protocol

IMAGE, IMAGE_RAW, MASKS = "image", "image_raw", "masks"
SHARE = 0.5
"""Share of a GPU's free memory that features may take; the other half is for the steps."""
AT_A_TIME = 64
"""Images that are copied to the GPU at a time."""

Finish: TypeAlias = Callable[[], TrainingBatch]
"""Makes a batch on the backbone's device of what was read."""


@dataclass(frozen=True, slots=True)
class Array:
    """Shape and dtype of a row of a cached array."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


PATCHES, TOKENS, HIDDEN = "patches", "tokens", "hidden"
"""What is cached of a layer: the names of the fields of `Features`."""


def layer_name(kind: str, layer: Layer) -> str:
    """Return the name of the array of a layer."""
    path = layer.dpam
    return f"{kind}-{layer.block}" + (f"-{path.attention}{path.first}{'-ffn' * path.ffn}" if path else "")


def cls_name(block: int) -> str:
    """Return the name of the array of a block's CLS embeddings."""
    return f"cls-{block}"


class Auxiliary(Interface):
    """The images of an auxiliary dataset as batches, of stored features or encoded anew."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that could be read, in order."""

    @property
    def skipped(self) -> Mapping[str, str]:
        """Key of each sample that could not be read, with the reason."""

    @property
    def spec(self) -> VisionSpec:
        """The features of a batch."""

    @property
    def backbone(self) -> Backbone:
        """The frozen CLIP."""

    @property
    def threads(self) -> int:
        """Number of batches that are worth being read at a time."""

    @property
    def size(self) -> int:
        """Bytes that `kept` takes of the GPU."""

    def __len__(self) -> int: ...

    def kept(self) -> "Auxiliary":
        """Return the same, with what can be kept on the GPU there."""

    def in_epoch(self, seed: int, stage: int, epoch: int) -> "Auxiliary":
        """Return the same as it is in an epoch of a stage, both counted from 0."""

    def check_unchanged(self) -> None:
        """Check that no file that batches are made of was changed since the training began.

        Raises:
            DatasetError: One was.
        """

    def batch(self, indices: Sequence[int]) -> TrainingBatch:
        """Return the samples with these indices as a batch on the backbone's device."""

    def read(self, indices: Sequence[int]) -> Finish:
        """Read the samples with these indices. This may be done in another thread."""


@dataclass(frozen=True)
class AuxiliaryFeatures:
    """The features of an auxiliary dataset, read batch by batch."""

    samples: tuple[Sample, ...]
    """The samples that could be read, in order."""
    skipped: dict[str, str]
    """Key of each sample that could not be read, with the reason."""
    spec: VisionSpec
    backbone: Backbone
    protocol: Protocol
    card: Card
    _rows: npt.NDArray[np.int64]
    _files: Mapping[str, tuple[Array, Rows]]
    """The arrays that batches are made of. Without that of the masks, masks are zeros."""
    _kept: Mapping[str, Tensor] | None = None
    """All rows, in the order of the samples, on the GPU."""
    threads: int = 1

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def size(self) -> int:
        """Bytes of the rows of all samples."""
        return len(self) * sum(array.row_bytes for array, _ in self._files.values())

    def kept(self) -> "AuxiliaryFeatures":
        """Return the same features, copied to the GPU."""
        copied = {
            name: torch.empty(len(self), *array.shape, dtype=array.dtype, device=self.backbone.device)
            for name, (array, _) in self._files.items()
        }
        for start in range(0, len(self), AT_A_TIME):
            for name, rows in self._stored(range(start, min(start + AT_A_TIME, len(self)))).items():
                copied[name][start : start + len(rows)] = rows
        return replace(self, _kept=copied)

    def in_epoch(self, seed: int, stage: int, epoch: int) -> "AuxiliaryFeatures":
        """Return the same, as stored features are in every epoch."""
        return self

    def check_unchanged(self) -> None:
        """Do nothing: the images were checked when their features were stored."""

    def batch(self, indices: Sequence[int]) -> TrainingBatch:
        """Return the samples with these indices as a batch on the backbone's device."""
        return self.read(indices)()

    def read(self, indices: Sequence[int]) -> Finish:
        """Read the samples with these indices. This may be done in another thread."""
        stored = self._stored(indices) if self._kept is None else None
        return lambda: self._made(indices, stored)

    def _stored(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return rows in the memory of the host, as they are stored, by name of the array."""
        pinned, rows = self.backbone.device.startswith("cuda"), self._rows[list(indices)]
        stored: dict[str, Tensor] = {}
        for name, (array, file) in self._files.items():
            content = torch.empty(len(rows), array.row_bytes, dtype=torch.uint8, pin_memory=pinned)
            file.read(rows, out=content.numpy())
            stored[name] = content.view(array.dtype).reshape(-1, *array.shape)
        return stored

    def _made(self, indices: Sequence[int], stored: Mapping[str, Tensor] | None) -> TrainingBatch:
        device, size, chosen = self.backbone.device, self.spec.image_size, [self.samples[index] for index in indices]

        def sent(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=True)

        if stored is None and self._kept is not None:
            places = sent(torch.tensor(indices))
            read = {name: rows[places] for name, rows in self._kept.items()}
        else:
            read = {name: sent(rows) for name, rows in (stored or {}).items()}
        features = Features(
            image=read[IMAGE].float(),
            image_raw=read[IMAGE_RAW].float(),
            patches={layer: read[layer_name(PATCHES, layer)].float() for layer in self.spec.layers},
            cls={block: read[cls_name(block)].float() for block in self.spec.cls},
            grid=size // self.backbone.patch_size,
            tokens={layer: read[layer_name(TOKENS, layer)].float() for layer in self.spec.tokens},
            hidden={layer: read[layer_name(HIDDEN, layer)].float() for layer in self.spec.hidden},
        )
        if MASKS in read:  # unpacked here, so that an eighth of a byte a pixel is read, kept and sent
            bits = read[MASKS][..., None] >> torch.arange(7, -1, -1, dtype=torch.uint8, device=device) & 1
            masks = bits.flatten(1)[:, : size * size].reshape(-1, size, size).float()
        else:
            masks = torch.zeros((), device=device).expand(len(chosen), size, size)
        names = tuple(self.protocol.class_name(sample, self.card) for sample in chosen)
        return TrainingBatch(features, names, sent(torch.tensor([sample.label for sample in chosen])), masks)


@dataclass(frozen=True)
class JoinedFeatures:
    """The images of several auxiliary datasets as those of one, in order."""

    parts: tuple[Auxiliary, ...]

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that could be read."""
        return tuple(sample for part in self.parts for sample in part.samples)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Keys of the samples that could not be read."""
        return tuple(key for part in self.parts for key in part.skipped)

    def __len__(self) -> int:
        return len(self.samples)

    def kept_if_small(self, *, processes: int) -> "JoinedFeatures":
        """Return the same features, on the GPU if they take at most `SHARE` of its free memory for each process.

        Features of a backbone on the CPU stay in their files, which the system keeps in the memory that nobody needs.

        Args:
            processes: Number of processes that the GPU may be shared with, this one included.
        """
        device, needed = self.parts[0].backbone.device, sum(part.size for part in self.parts)
        if not device.startswith("cuda") or needed > SHARE * free_memory(device) / processes:
            return self
        return JoinedFeatures(tuple(part.kept() for part in self.parts))

    @property
    def threads(self) -> int:
        """Number of batches that are worth being read at a time."""
        return max(part.threads for part in self.parts)

    def in_epoch(self, seed: int, stage: int, epoch: int) -> "JoinedFeatures":
        """Return the same as it is in an epoch of a stage, both counted from 0."""
        return JoinedFeatures(tuple(part.in_epoch(seed, stage, epoch) for part in self.parts))

    def check_unchanged(self) -> None:
        """Check that no file that batches are made of was changed since the training began.

        Raises:
            DatasetError: One was.
        """
        for part in self.parts:
            part.check_unchanged()

    def batch(self, indices: Sequence[int]) -> TrainingBatch:
        """Return the samples with these indices as a batch, in their order."""
        return self.read(indices)()

    def read(self, indices: Sequence[int]) -> Finish:
        """Read the samples with these indices. This may be done in another thread."""
        found: list[Finish] = []
        order: list[int] = []
        start = 0
        for part in self.parts:
            places = [place for place, index in enumerate(indices) if start <= index < start + len(part)]
            if places:
                found.append(part.read([indices[place] - start for place in places]))
                order += places
            start += len(part)
        return found[0] if len(found) == 1 else lambda: join([finish() for finish in found], order)


def join(batches: Sequence[TrainingBatch], order: Sequence[int]) -> TrainingBatch:
    """Return several batches as one, whose image `order[i]` is the i-th of them."""
    back = torch.tensor(order).argsort()

    def sort(values: Tensor) -> Tensor:
        return values[back.to(values.device)]

    names = [name for batch in batches for name in batch.class_names]
    return TrainingBatch(
        map_features(cat_features([batch.features for batch in batches]), sort),
        tuple(names[place] for place in back.tolist()),
        sort(torch.cat([batch.labels for batch in batches])),
        sort(torch.cat([batch.masks for batch in batches])),
    )


def cat_features(parts: Sequence[Features]) -> Features:
    """Return the features of several batches of images as those of one; they are of one specification."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def cat(tensors: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(tensors))

    return Features(
        image=cat(each.image for each in parts),
        image_raw=cat(each.image_raw for each in parts),
        patches={layer: cat(each.patches[layer] for each in parts) for layer in first.patches},
        cls={block: cat(each.cls[block] for each in parts) for block in first.cls},
        grid=first.grid,
        windows={size: cat(each.windows[size] for each in parts) for size in first.windows},
        tokens={layer: cat(each.tokens[layer] for each in parts) for layer in first.tokens},
        hidden={layer: cat(each.hidden[layer] for each in parts) for layer in first.hidden},
        images=None if first.images is None else torch.cat([each.images for each in parts if each.images is not None]),
    )


def part_of(batch: TrainingBatch, rows: slice | Sequence[int]) -> TrainingBatch:
    """Return some images of a batch, in the order in which they are named; a slice copies nothing."""
    features = map_features(batch.features, lambda values: values[rows])
    names = batch.class_names[rows] if isinstance(rows, slice) else tuple(batch.class_names[row] for row in rows)
    return TrainingBatch(features, names, batch.labels[rows], batch.masks[rows], batch.seed)


def read_ahead(
    data: Auxiliary | JoinedFeatures, batches: Iterable[list[int]], *, device: str
) -> Iterator[tuple[list[int], TrainingBatch]]:
    """Yield batches with the indices of their samples. Threads read the next ones while the caller uses one.

    A GPU is given work faster than it does it. The caller comes to be two batches ahead of it at most, so that no more
    of them are in memory.

    Args:
        data: What is read.
        batches: Indices of the samples of each batch.
        device: Device of the backbone.
    """
    used: list[torch.cuda.Event] = []
    waiting: deque[tuple[list[int], Future[Finish]]] = deque()
    with ThreadPoolExecutor(data.threads) as threads:
        for indices in chain(batches, [None] * data.threads):
            if indices is not None:
                waiting.append((indices, threads.submit(data.read, indices)))
                if len(waiting) <= data.threads:
                    continue
            if waiting:
                those, reading = waiting.popleft()
                yield those, reading.result()()
                if device.startswith("cuda"):
                    used.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
                    used[-1].record(torch.cuda.current_stream(device))
                    if len(used) > 1:
                        used.pop(0).synchronize()
