"""Auxiliary images that are read and encoded when they are needed, augmented where a method says so.

They are those of stages that read images in every epoch, and those of which the features are read only once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmark.clip import Backbone
from benchmark.common import AdaptiveBatch
from benchmark.contract import Augmentation, ClassName, Picture, TrainingBatch, VisionSpec
from benchmark.data import (
    ImageError,
    Preprocess,
    Reading,
    Sample,
    SampleSet,
    load,
    read_sample,
    resize_mask,
)
from benchmark.errors import ContractError
from benchmark.protocol import Protocol
from benchmark.training.batches import Finish, cat_features, join, part_of
from benchmark.training.features import ENCODING_BATCH, FEWER, mask_rule, raise_image_error, readable
from benchmark.training.seeds import draw_seed

UNKNOWN_KIND = "anomalous"
"""Kind of defect of an anomalous image of which the dataset does not say it."""
_SMALL = 16
"""Side in pixels of images that are read to see whether they can be."""


class _Class:
    """The images of a class, of which an augmentation may take some."""

    def __init__(self, kinds: Mapping[str, Sequence[int]], read: Callable[[int], Picture]) -> None:
        self.kinds, self._read = kinds, read

    def read(self, place: int) -> Picture:
        return self._read(place)


@dataclass(frozen=True)
class AuxiliaryImages:
    """The images of an auxiliary dataset, read from their files and encoded batch by batch."""

    data: SampleSet
    samples: tuple[Sample, ...]
    """The samples that could be read, in order."""
    skipped: dict[str, str]
    """Key of each sample that could not be read, with the reason."""
    spec: VisionSpec
    backbone: Backbone
    protocol: Protocol
    with_masks: bool
    """Whether batches have the masks. Without them masks are zeros; an augmentation gets them in any case."""
    skip_broken: bool
    threads: int
    adaptive: AdaptiveBatch
    """Images that are encoded at a time."""
    augment: Augmentation | None = None
    drawn: tuple[int, int, int] | None = None
    """Seed, stage and epoch, by which images are augmented; without them they are as they are."""
    size: int = 0
    """Nothing is kept on the GPU."""

    def __len__(self) -> int:
        return len(self.samples)

    def kept(self) -> "AuxiliaryImages":
        """Return the same: images are not kept."""
        return self

    def in_epoch(self, seed: int, stage: int, epoch: int) -> "AuxiliaryImages":
        """Return the images as they are in an epoch of a stage, both counted from 0."""
        return replace(self, drawn=(seed, stage, epoch))

    def check_unchanged(self) -> None:
        """Check that no image and no mask was changed since the training began.

        Raises:
            DatasetError: One was. The message names it.
        """
        self.data.check_unchanged()

    def batch(self, indices: Sequence[int]) -> TrainingBatch:
        """Return the samples with these indices as a batch on the backbone's device."""
        return self.read(indices)()

    def read(self, indices: Sequence[int]) -> Finish:
        """Read the samples with these indices, and augment them. This may be done in another thread."""
        size, resize = self.spec.image_size, Preprocess(self.spec.image_size)
        pictures = [self._augmented(index) for index in indices]
        pixels = torch.from_numpy(np.stack([resize(Image.fromarray(picture.image)) for picture in pictures]))
        masks = torch.zeros(()).expand(len(pictures), size, size)
        if self.with_masks:
            masks = torch.from_numpy(np.stack([resize_mask(picture.mask, size) for picture in pictures]))
        names = tuple(picture.class_name for picture in pictures)
        labels = torch.tensor([picture.label for picture in pictures])
        places = range(len(pictures))  # the pictures themselves are let go, which may be large

        def finish() -> TrainingBatch:
            device = self.backbone.device
            chunks = self.adaptive.chunks(
                places, lambda chunk: self.backbone.encode_images(pixels[chunk[0] : chunk[-1] + 1], self.spec)
            )
            features = cat_features([features for _, features in chunks])
            return TrainingBatch(features, names, labels.to(device), masks.to(device).float())

        return finish

    def _augmented(self, index: int) -> Picture:
        """Return what is trained on in place of an image."""
        picture = self._read(index)
        if self.augment is None or self.drawn is None:
            return picture
        sample = self.samples[index]
        seed = draw_seed("augmentation", *self.drawn, self.data.card.name, sample.key)
        changed = self.augment(picture, self._classes[sample.class_name], np.random.default_rng(seed))
        _require_picture(changed)
        return changed

    @cached_property
    def _classes(self) -> dict[str, _Class]:
        """The images by the name of the class's folder."""
        places: dict[str, dict[str, list[int]]] = {}
        for place, sample in enumerate(self.samples):
            places.setdefault(sample.class_name, {}).setdefault(kind_of(sample), []).append(place)
        return {name: _Class(kinds, self._read) for name, kinds in places.items()}

    def _read(self, index: int) -> Picture:
        """Read an image with its mask as they are in their files.

        Raises:
            ImageError: They cannot be read.
        """
        sample = self.samples[index]
        try:
            image, mask = read_sample(sample, mask_rule(self.data, self.protocol), self.data.ranges)
        except (ImageError, OSError) as error:  # OSError: no permission, a network drive that is gone, …
            if self.skip_broken:  # it could be read before
                raise ImageError(str(error)) from error
            raise_image_error(str(error))
        pixels: npt.NDArray[np.uint8] = np.asarray(image)
        if mask is None:
            mask = np.zeros(pixels.shape[:2], dtype=bool)
        name = self.protocol.class_name(sample, self.data.card)
        return Picture(pixels, mask, sample.label, name, kind_of(sample))


@dataclass(frozen=True)
class StreamedFeatures(AuxiliaryImages):
    """The features of images that are read once and in order: what stored features give, to the last digit.

    Images are encoded in the chunks in which those of stored features are, whatever the batches are. One chunk is kept
    at a time, for the batch that begins within it. In another order each chunk would be encoded several times.
    """

    _last: dict[int, TrainingBatch] = field(default_factory=dict)
    """The chunk that was encoded last, by its number."""

    @cached_property
    def _numbers(self) -> list[int]:
        """The number of the chunk of each image; an image that is left out shortens its chunk."""
        return [place // ENCODING_BATCH for place in readable(self.data, self.skipped)]

    @cached_property
    def _chunks(self) -> dict[int, range]:
        """The indices of the images of each chunk, by its number."""
        ends = {number: index + 1 for index, number in enumerate(self._numbers)}
        return {number: range(self._numbers.index(number), end) for number, end in ends.items()}

    def read(self, indices: Sequence[int]) -> Finish:
        """Read the samples with these indices. This may be done in another thread."""
        read = super().read
        wanted = sorted({self._numbers[index] for index in indices})
        # A chunk that begins before these images is read, and encoded by then, for the batch before.
        begun = {number: read(self._chunks[number]) for number in wanted if self._chunks[number].start in indices}

        def finish() -> TrainingBatch:
            parts: list[TrainingBatch] = []
            order: list[int] = []
            for number in wanted:
                chunk = self._chunks[number]
                if number not in self._last:
                    encode = begun.pop(number, None) or read(chunk)
                    self._last.clear()  # two of them need not be in memory
                    self._last[number] = encode()
                places = [place for place, index in enumerate(indices) if index in chunk]
                parts.append(part_of(self._last[number], [indices[place] - chunk.start for place in places]))
                order += places
            return join(parts, order)

        return finish


def kind_of(sample: Sample) -> str:
    """Return the kind of defect of a sample; empty for a normal one."""
    return (sample.defect or UNKNOWN_KIND) if sample.label else ""


def auxiliary_images(
    data: SampleSet,
    backbone: Backbone,
    spec: VisionSpec,
    protocol: Protocol,
    *,
    augment: Augmentation | None = None,
    once: bool = False,
    workers: int,
    skip_broken: bool,
    with_masks: bool = True,
    progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda line: None,
) -> AuxiliaryImages:
    """Return a dataset's test samples, as `auxiliary_features` does, to be read and encoded when they are needed.

    Args:
        data: The auxiliary dataset.
        backbone: The frozen CLIP.
        spec: The features of a batch.
        protocol: Mask rule and class names.
        augment: Changes images before they are resized and encoded.
        once: Whether they are read once and in order, and the features are to be those of `auxiliary_features` to the
            last digit.
        workers: Number of threads that read batches ahead, of which there is one at least.
        skip_broken: Leave out samples that cannot be read, for which all are read once, instead of raising an error.
        with_masks: Whether batches have the masks.
        progress: Called with the number of images that were read to see whether they can be.
        say: Called with messages for the user.

    Raises:
        ImageError: If no sample can be read.
    """
    _ = data.stamps, data.ranges  # changes are noticed by the stamps; threads find both there
    skipped: dict[str, str] = {}
    if skip_broken:
        reading = Reading(
            _SMALL, mask_rule(data, protocol), batch_size=ENCODING_BATCH, workers=workers, ranges=data.ranges
        )
        for batch in load(data.test, reading, say=say):
            skipped |= {item.sample.key: item.error for item in batch if item.image is None}
            progress(len(batch))
    kind = StreamedFeatures if once else AuxiliaryImages
    return kind(
        data,
        tuple(data.test[row] for row in readable(data, skipped)),
        skipped,
        spec,
        backbone,
        protocol,
        with_masks,
        skip_broken,
        threads=max(1, workers),
        adaptive=AdaptiveBatch(ENCODING_BATCH, say, FEWER),
        augment=augment,
    )


def _require_picture(found: object) -> None:
    """Check what an augmentation returned.

    Raises:
        ContractError: It is no picture with a mask of the image's size.
    """
    if not isinstance(found, Picture):
        raise ContractError(f"augment returns a {type(found).__name__}, not a Picture")
    for name, values, dtype, dimensions in (("image", found.image, np.uint8, 3), ("mask", found.mask, np.bool_, 2)):
        if values.dtype != dtype or values.ndim != dimensions:
            raise ContractError(f"augment returns {name}s of {values.dtype} and shape {values.shape}")
    if found.image.shape != (*found.mask.shape, 3):
        raise ContractError(f"augment returns an image of shape {found.image.shape} and a mask of {found.mask.shape}")
    if not isinstance(found.class_name, ClassName):
        raise ContractError(f"augment returns the class name as {type(found.class_name).__name__}, not ClassName")
