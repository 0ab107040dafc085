"""Features of the auxiliary images, cached on disk so that each image is encoded once and not once per epoch.

The key of a cache entry covers everything that can change a feature: code, packages, device, weights, dtype, positional
embeddings, image size, sample list and mask threshold. An entry holds one array per layer, with a row per sample. A
method that asks for another layer adds an array to the entry.
"""

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import NoReturn

import numpy as np
import torch

from benchmark.clip import DTYPES, Backbone
from benchmark.common import AdaptiveBatch, Cache, CacheError, Entry, Rows, Writer, device_name, size_in_words, tell
from benchmark.contract import Features, VisionSpec
from benchmark.data import DatasetError, ImageError, Loaded, MaskRule, Reading, Sample, SampleSet, load, stack
from benchmark.protocol import Protocol
from benchmark.records import features_key
from benchmark.training.batches import (
    HIDDEN,
    IMAGE,
    IMAGE_RAW,
    MASKS,
    PATCHES,
    TOKENS,
    Array,
    AuxiliaryFeatures,
    cls_name,
    layer_name,
)

# Images per forward pass, whatever --batch-size says: another number changes the last digits of the features, and
# training may magnify them.
ENCODING_BATCH = 8
FEWER = "the last digits of the features may differ"


def auxiliary_features(
    data: SampleSet,
    backbone: Backbone,
    spec: VisionSpec,
    protocol: Protocol,
    cache: Cache,
    *,
    workers: int,
    skip_broken: bool,
    with_masks: bool = True,
    progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda line: None,
) -> AuxiliaryFeatures:
    """Return the features of a dataset's test samples. Only features that are not in the cache are computed.

    Args:
        data: The auxiliary dataset. Normal and anomalous images of its test split are used, as in the papers' code.
        backbone: The frozen CLIP.
        spec: The features to return. All missing ones are computed in one pass over the images.
        protocol: Mask threshold and class names.
        cache: Cache of the features.
        workers: Number of loader processes; 0 loads images in this process.
        skip_broken: Leave out samples that cannot be read instead of raising an error.
        with_masks: Whether batches have the masks. They are in the cache in any case: an image whose mask cannot be
            read is broken, whatever is made of it.
        progress: Called with the number of images encoded since the last call.
        say: Called with messages for the user.

    Raises:
        DatasetError: If an image or a mask is changed meanwhile.
        CacheError: If the features do not fit into the cache limit or on the disk.
        ImageError: If a sample cannot be read and `skip_broken` is False, or if no sample can be read.
    """
    entry, arrays, reading = _storage(data, backbone, spec, protocol, cache, workers=workers)
    try:
        with entry.lock():
            missing = _missing_arrays(entry, arrays, data.test, reading)
            if missing:
                entry.clear(missing)
                needed = sum(array.row_bytes for array in missing.values()) * len(data.test)
                entry.make_room(needed)
                tell(f"features of {data.title}: {size_in_words(needed)} in {entry.folder}")
                _encode(
                    data.test,
                    backbone,
                    spec,
                    entry,
                    missing=missing,
                    reading=reading,
                    skip_broken=skip_broken,
                    progress=progress,
                    adaptive=AdaptiveBatch(ENCODING_BATCH, say, FEWER),
                )
                try:
                    data.check_unchanged()
                except DatasetError:
                    entry.clear(missing)
                    raise
            entry.touch()
            skipped = _skipped(entry, arrays)
            files = {
                name: (array, Rows(entry.path(name), array.row_bytes))
                for name, array in arrays.items()
                if with_masks or name != MASKS
            }
    except OSError as error:
        raise CacheError(f"{entry.folder}: {error}; free the disk or point BENCH_CACHE elsewhere") from error
    if skipped and not skip_broken:
        raise_image_error(next(iter(skipped.values())))
    kept = readable(data, skipped)
    samples, rows = tuple(data.test[row] for row in kept), np.array(kept, dtype=np.int64)
    return AuxiliaryFeatures(samples, skipped, spec, backbone, protocol, data.card, rows, files)


def are_stored(data: SampleSet, backbone: Backbone, spec: VisionSpec, protocol: Protocol, cache: Cache) -> bool:
    """Return whether all that `auxiliary_features` returns is in the cache. No entry is made to find it out."""
    entry, arrays, reading = _storage(data, backbone, spec, protocol, cache, workers=0)
    try:
        return not _missing_arrays(entry, arrays, data.test, reading)
    except OSError:  # another process removes it
        return False


def _storage(
    data: SampleSet, backbone: Backbone, spec: VisionSpec, protocol: Protocol, cache: Cache, *, workers: int
) -> tuple[Entry, dict[str, Array], Reading]:
    """Return the entry of the features of a dataset, its arrays, and how the images are read."""
    masks = mask_rule(data, protocol)
    reading = Reading(spec.image_size, masks=masks, batch_size=ENCODING_BATCH, workers=workers, ranges=data.ranges)
    entry = Entry(cache, _entry_name(data, backbone, spec.image_size, masks))
    return entry, _arrays(backbone, spec, with_masks=masks is not None), reading


def mask_rule(data: SampleSet, protocol: Protocol) -> MaskRule | None:
    """Return which pixels of the masks of a dataset are anomalous; None for a dataset without masks."""
    return protocol.mask_rule(data.layout.mask_threshold) if data.has_masks else None


def _missing_arrays(
    entry: Entry, arrays: dict[str, Array], samples: Sequence[Sample], reading: Reading
) -> dict[str, Array]:
    """Return the arrays to write: incomplete ones, or all of them if a sample that was left out can be read now."""
    missing = {name: array for name, array in arrays.items() if not entry.is_whole(name)}
    left_out = _skipped(entry, arrays.keys() - missing.keys())
    again = load([sample for sample in samples if sample.key in left_out], replace(reading, workers=0))
    return arrays if any(item.image is not None for batch in again for item in batch) else missing


def _skipped(entry: Entry, names: Iterable[str]) -> dict[str, str]:
    """Return the samples that were left out of these arrays, as reasons by key."""
    return {key: why for name in names for key, why in entry.sidecar(name)["skipped"].items()}


def raise_image_error(reason: str) -> NoReturn:
    """Raise the error of an image that cannot be read, where such images are not left out."""
    raise ImageError(f"{reason} (--on-error skip leaves such images out)")


def readable(data: SampleSet, skipped: Container[str]) -> list[int]:
    """Return the places of the test samples of which some are left out.

    Args:
        data: The dataset.
        skipped: Keys of the samples that are left out.

    Raises:
        ImageError: All of them are.
    """
    kept = [row for row, sample in enumerate(data.test) if sample.key not in skipped]
    if not kept:
        raise ImageError(f"{data.directory}: no image can be read; `bench data check {data.argument}` says why")
    return kept


def _entry_name(data: SampleSet, backbone: Backbone, image_size: int, masks: MaskRule | None) -> str:
    weights = (backbone.sha256, backbone.architecture, backbone.dtype, backbone.mean, backbone.std)
    made_by, tower = features_key(device_name(backbone.device)), backbone.in_effect(image_size)
    run = (tower.pos_interp or "bilinear", *["plain-gelu"] * tower.plain_gelu)  # names of entries keep their meaning
    text = json.dumps([made_by, *weights, *run, image_size, masks and asdict(masks), data.fingerprint])
    return f"{data.card.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _arrays(backbone: Backbone, spec: VisionSpec, *, with_masks: bool) -> dict[str, Array]:
    """Return the arrays of an entry. Features have the dtype of the towers; masks are packed to one bit per pixel."""
    patches, dtype = (spec.image_size // backbone.patch_size) ** 2, DTYPES[backbone.dtype]
    embedding = Array((backbone.width,), dtype)
    arrays = dict.fromkeys((IMAGE, IMAGE_RAW, *(cls_name(block) for block in spec.cls)), embedding)
    arrays |= {layer_name(PATCHES, layer): Array((patches, backbone.width), dtype) for layer in spec.layers}
    wide = Array((patches, backbone.vision_width), dtype)
    for kind, layers in ((TOKENS, spec.tokens), (HIDDEN, spec.hidden)):
        arrays |= {layer_name(kind, layer): wide for layer in layers}
    return arrays | ({MASKS: Array((-(-(spec.image_size**2) // 8),), torch.uint8)} if with_masks else {})


def _encode(
    samples: Sequence[Sample],
    backbone: Backbone,
    spec: VisionSpec,
    entry: Entry,
    *,
    missing: dict[str, Array],
    reading: Reading,
    skip_broken: bool,
    progress: Callable[[int], None],
    adaptive: AdaptiveBatch,
) -> None:
    """Encode every sample once and write the missing arrays row by row, with zeros for samples that cannot be read."""
    pending = VisionSpec(
        spec.image_size,
        layers=tuple(layer for layer in spec.layers if layer_name(PATCHES, layer) in missing),
        cls=tuple(block for block in spec.cls if cls_name(block) in missing),
        tokens=tuple(layer for layer in spec.tokens if layer_name(TOKENS, layer) in missing),
        hidden=tuple(layer for layer in spec.hidden if layer_name(HIDDEN, layer) in missing),
    )
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        writers = {name: stack.enter_context(Writer(entry, name)) for name in missing}
        for batch in load(samples, reading, say=adaptive.say):
            skipped |= {item.sample.key: item.error for item in batch if item.image is None}
            if skipped and not skip_broken:
                raise_image_error(next(iter(skipped.values())))
            rows = _rows(batch, backbone, pending, adaptive)
            for name, writer in writers.items():
                for index in range(len(batch)):
                    writer.write(rows[index].get(name) or bytes(missing[name].row_bytes))
            progress(len(batch))
        for writer in writers.values():
            writer.finish({"skipped": skipped})


def _rows(
    batch: Sequence[Loaded], backbone: Backbone, spec: VisionSpec, adaptive: AdaptiveBatch
) -> list[dict[str, bytes]]:
    """Encode the samples of a batch.

    Returns:
        For each sample its rows as bytes by name of the array; empty for a sample that cannot be read.
    """
    rows: list[dict[str, bytes]] = [{} for _ in batch]
    good = [index for index, item in enumerate(batch) if item.image is not None]

    def encode(chunk: Sequence[int]) -> Features:
        return backbone.encode_images(stack([batch[index] for index in chunk]), spec)

    for chunk, features in adaptive.chunks(good, encode):
        named = {
            IMAGE: features.image,
            IMAGE_RAW: features.image_raw,
            **{layer_name(PATCHES, layer): patches for layer, patches in features.patches.items()},
            **{layer_name(TOKENS, layer): tokens for layer, tokens in features.tokens.items()},
            **{layer_name(HIDDEN, layer): tokens for layer, tokens in features.hidden.items()},
            **{cls_name(block): embedding for block, embedding in features.cls.items()},
        }
        for name, values in named.items():
            stored = values.to(DTYPES[backbone.dtype]).flatten(1).contiguous().cpu().view(torch.uint8).numpy()
            for index, row in zip(chunk, stored, strict=True):
                rows[index][name] = row.tobytes()
    for index in good:
        mask = batch[index].mask
        rows[index][MASKS] = b"" if mask is None else np.packbits(mask).tobytes()
    return rows
