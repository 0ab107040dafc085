"""Images that are read and encoded in every epoch: as stored features have them, augmented alike whoever reads them."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.batches import assert_same
from support.stages import SIZE, draw_pictures, mixed
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.common.cache import GB, Cache
from benchmark.contract import Features, Layer, Others, Picture, TrainingBatch, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import ImageError
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.preprocess import Preprocess
from benchmark.data.samples import DatasetError, SampleSet
from benchmark.errors import ContractError
from benchmark.protocol import Protocol
from benchmark.training.batches import Auxiliary, JoinedFeatures, part_of, read_ahead
from benchmark.training.features import auxiliary_features
from benchmark.training.images import AuxiliaryImages, StreamedFeatures, auxiliary_images

SPEC = VisionSpec(SIZE, layers=(Layer(2),), cls=(1,), hidden=(Layer(4),))


@pytest.fixture
def data(tmp_path: Path) -> SampleSet:
    """Eight images of two kinds of defects."""
    return read_folder(PlainFolder(directory=draw_pictures(tmp_path / "nuts", seed=0)))


def images_of(data: SampleSet, backbone: Backbone, **changes: Any) -> AuxiliaryImages:
    given = {"spec": SPEC, "protocol": Protocol(), "workers": 2, "skip_broken": False, **changes}
    return auxiliary_images(data, backbone, **given)


def stored(data: SampleSet, backbone: Backbone, cache: Path) -> TrainingBatch:
    """All images, of stored features."""
    given = {"workers": 0, "skip_broken": False}
    features = auxiliary_features(data, backbone, SPEC, Protocol(), Cache(cache, GB), **given)  # type: ignore[arg-type]
    return features.batch(range(len(features)))


def in_batches(images: Auxiliary, size: int, **epoch: int) -> list[TrainingBatch]:
    """All images in batches, as they are in an epoch, read by as many threads as there are."""
    order = [list(range(start, min(start + size, len(images)))) for start in range(0, len(images), size)]
    at = {"seed": 0, "stage": 1, "epoch": 0, **epoch}
    return [batch for _, batch in read_ahead(images.in_epoch(**at), order, device="cpu")]


def test_images_as_they_are_give_the_batches_of_stored_features(
    data: SampleSet, tiny: Backbone, tmp_path: Path
) -> None:
    images, expected = images_of(data, tiny), stored(data, tiny, tmp_path / "cache")
    found = images.batch(range(len(images)))
    assert_same(found, expected, atol=1e-5)
    assert found.class_names == expected.class_names
    name = found.class_names[0]
    assert (name, name.folder, name.dataset, name.domain) == ("object", "object", data.card.name, "custom")
    assert_same(images.batch([7, 0, 5, 5]), _taken(expected, [7, 0, 5, 5]), atol=1e-5)
    assert (images.samples, images.skipped) == (data.test, {})
    assert torch.equal(images_of(data, tiny, with_masks=False).batch([7]).masks, torch.zeros(1, SIZE, SIZE))


def _taken(batch: TrainingBatch, rows: list[int]) -> TrainingBatch:
    from benchmark.clip.spec import map_features

    features = map_features(batch.features, lambda values: values[rows])
    return TrainingBatch(features, (), batch.labels[rows], batch.masks[rows])


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The images of each forward pass of the vision tower."""
    found: list[Tensor] = []
    original = Backbone.encode_images

    def keeping(self: Backbone, images: Tensor, spec: VisionSpec) -> Features:
        found.append(images.clone())
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", keeping)
    return found


@pytest.mark.parametrize("skip_broken", [False, True])
@pytest.mark.parametrize("size", [1, 3, 8, 11, 20])
def test_features_that_are_read_once_are_those_of_the_cache_to_the_last_digit(
    tmp_path: Path, tiny: Backbone, passes: list[Tensor], size: int, *, skip_broken: bool
) -> None:
    """The images of each pass are the same, whatever the batches are, and each image goes through the tower once."""
    root = draw_pictures(tmp_path / "nuts", seed=0, images=20)
    broken = sorted(root.rglob("test/*/*.png"))[5]
    if skip_broken:
        broken.write_bytes(broken.read_bytes()[:50])
    data, given = read_folder(PlainFolder(directory=root)), {"workers": 2, "skip_broken": skip_broken}
    cached = auxiliary_features(data, tiny, SPEC, Protocol(), Cache(tmp_path / "cache", GB), **{**given, "workers": 0})  # type: ignore[arg-type]
    expected, kept = list(passes), len(data.test) - skip_broken
    passes.clear()
    streamed = images_of(data, tiny, once=True, skip_broken=skip_broken)
    assert (streamed.samples, streamed.skipped) == (cached.samples, cached.skipped)
    assert len(streamed) == kept
    for found, wanted in zip(in_batches(streamed, size), in_batches(cached, size), strict=True):
        assert_same(found, wanted, atol=0)
        assert found.class_names == wanted.class_names
    assert [len(images) for images in passes] == ([7, 8, 4] if skip_broken else [8, 8, 4])
    assert all(map(torch.equal, passes, expected))


def test_features_that_are_read_once_are_there_in_any_order(data: SampleSet, tiny: Backbone, tmp_path: Path) -> None:
    streamed, expected = images_of(data, tiny, once=True), stored(data, tiny, tmp_path / "cache")
    for order in ([7, 0, 5, 5], [3], [1, 2]):
        assert_same(streamed.batch(order), _taken(expected, order), atol=0)
    assert torch.equal(images_of(data, tiny, once=True, with_masks=False).batch([7]).masks, torch.zeros(1, SIZE, SIZE))


def test_one_chunk_of_features_that_are_read_once_is_in_memory(tmp_path: Path, tiny: Backbone) -> None:
    data = read_folder(PlainFolder(directory=draw_pictures(tmp_path / "nuts", seed=0, images=20)))
    streamed = images_of(data, tiny, once=True)
    assert isinstance(streamed, StreamedFeatures)
    held = []
    for batch in (range(3), range(3, 10), range(10, 20)):
        streamed.batch(batch)
        held.append({number: len(kept.labels) for number, kept in streamed._last.items()})
    assert held == [{0: 8}, {1: 8}, {2: 4}]


def mirrored(picture: Picture, others: Others, drawn: np.random.Generator) -> Picture:
    """Turn left and right."""
    return replace(picture, image=picture.image[:, ::-1], mask=picture.mask[:, ::-1])


def test_image_and_mask_are_changed_at_their_own_size_and_then_resized(
    data: SampleSet, tiny: Backbone, tmp_path: Path
) -> None:
    """As if the files had been changed before."""
    found = images_of(data, tiny, augment=mirrored).in_epoch(0, 0, 0).batch(range(8))
    for path in data.directory.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path))[:, ::-1]).save(path)
    changed = read_folder(PlainFolder(directory=data.directory))
    assert_same(found, stored(changed, tiny, tmp_path / "cache"), atol=1e-5)


def test_an_augmentation_sees_files_as_they_are_and_the_class_by_kinds(data: SampleSet, tiny: Backbone) -> None:
    """Two classes; a kind that the dataset does not name is not the kind of normal images."""
    halves = [replace(s, class_name="ab"[i % 2], defect=s.defect * (i < 7)) for i, s in enumerate(data.samples)]
    data = replace(data, samples=tuple(halves), whole=())
    rule = MaskRule(data.layout.mask_threshold)

    def look(picture: Picture, others: Others, drawn: np.random.Generator) -> Picture:
        assert {kind: list(places) for kind, places in others.kinds.items()} in (
            {"": [0, 2], "hole": [4], "scratch": [6]},
            {"": [1, 3], "hole": [5], "anomalous": [7]},
        )
        for kind, places in others.kinds.items():
            for place in places:
                sample, read = data.test[place], others.read(place)
                assert (read.kind, read.label, read.class_name.folder) == (kind, sample.label, sample.class_name)
                np.testing.assert_array_equal(read.image, np.asarray(Image.open(sample.path)))
                expected = read_mask(sample.mask, rule) if sample.mask else np.zeros(read.image.shape[:2], bool)
                np.testing.assert_array_equal(read.mask, expected)
        return picture

    images_of(data, tiny, augment=look).in_epoch(0, 0, 0).batch(range(8))


def test_what_is_drawn_depends_on_seed_stage_epoch_and_image_alone(data: SampleSet, tiny: Backbone) -> None:
    drawn: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    names: set[str] = set()

    def draw(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
        names.add(threading.current_thread().name)
        numbers.append((picture.image.shape[0], int(generator.integers(2**60))))  # each image has a height of its own
        return picture

    spec = VisionSpec(14)
    for size, workers in ((8, 0), (3, 1), (1, 4)):
        for seed, stage, epoch in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)):
            numbers: list[tuple[int, int]] = []
            images = images_of(data, tiny, spec=spec, workers=workers, augment=draw)
            in_batches(images, size, seed=seed, stage=stage, epoch=epoch)
            assert drawn.setdefault((seed, stage, epoch), sorted(numbers)) == sorted(numbers)
    assert len({number for each in drawn.values() for _, number in each}) == 4 * 8
    assert len(names) > 1
    fewer = replace(data, samples=data.samples[3:])
    numbers = []
    in_batches(images_of(fewer, tiny, spec=spec, augment=draw), 8, stage=0)
    assert set(numbers) < set(drawn[0, 0, 0])


def test_mixed_images_are_the_same_in_whatever_batches_they_come(data: SampleSet, tiny: Backbone) -> None:
    images = images_of(data, tiny, augment=mixed)
    [whole], parts = in_batches(images, 8), in_batches(images, 3)
    for start, part in zip((0, 3, 6), parts, strict=True):
        assert_same(part, part_of(whole, slice(start, start + 3)), atol=1e-5)
    assert whole.labels.tolist() == [int(mask.any()) for mask in whole.masks]
    [again], [other] = in_batches(images, 8), in_batches(images, 8, epoch=1)
    assert torch.equal(again.features.image, whole.features.image)
    assert not torch.equal(other.features.image, whole.features.image)


def test_the_images_themselves_are_handed_over(data: SampleSet, tiny: Backbone, monkeypatch: Any) -> None:
    encode, sizes = Backbone.encode_images, []

    def counting(self: Backbone, images: Tensor, spec: VisionSpec) -> Features:
        assert not torch.is_grad_enabled() or spec.images
        sizes.append(len(images))
        return encode(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", counting)
    samples = (*data.samples, *data.samples[:3])
    twice = replace(data, samples=samples, whole=samples)
    batch = images_of(twice, tiny, spec=VisionSpec(SIZE, images=True, encoded=False)).batch(range(11))
    assert sizes == [8, 3]
    pixels = np.stack([Preprocess(SIZE)(Image.open(sample.path)) for sample in twice.test]).astype(np.float32) / 255
    mean, std = (np.array(each, dtype=np.float32)[:, None, None] for each in (tiny.mean, tiny.std))
    assert batch.features.images is not None
    np.testing.assert_allclose(batch.features.images.numpy(), (pixels - mean) / std, atol=1e-5)
    assert batch.features.image.shape == (11, 0)


def test_too_many_images_for_the_memory_are_encoded_in_parts(
    data: SampleSet, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, encode = images_of(data, tiny).batch(range(8)), Backbone.encode_images

    def short(self: Backbone, images: Tensor, spec: VisionSpec) -> Features:
        if len(images) > 3:
            raise torch.OutOfMemoryError
        return encode(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", short)
    said: list[str] = []
    images = images_of(data, tiny, say=said.append).in_epoch(0, 0, 0)
    assert_same(images.batch(range(8)), expected, atol=1e-5)
    assert len(said) == 2
    assert "the last digits of the features may differ" in said[-1]
    images.in_epoch(0, 0, 1).batch(range(8))
    assert len(said) == 2


@pytest.mark.parametrize("broken", ["nut/test/hole/001.png", "nut/ground_truth/hole/001_mask.png"])
def test_an_unreadable_file_is_named_or_left_out(data: SampleSet, tiny: Backbone, broken: str) -> None:
    path = data.directory / broken
    path.write_bytes(path.read_bytes()[:60])
    data = read_folder(PlainFolder(directory=data.directory))
    images = images_of(data, tiny)
    with pytest.raises(ImageError, match=rf"{path.name}.*\(--on-error skip leaves such images out\)"):
        images.batch(range(8))
    told: list[int] = []
    images = images_of(data, tiny, skip_broken=True, progress=told.append)
    assert list(images.skipped) == ["nut/test/hole/001.png"]
    assert sum(told) == 8
    assert [sample.key for sample in images.samples] == [s.key for s in data.test if s.key not in images.skipped]
    assert len(images.batch(range(7)).labels) == 7
    for sample in data.test:
        sample.path.write_bytes(b"none")
    with pytest.raises(ImageError, match="no image can be read"):
        images_of(data, tiny, skip_broken=True)


def test_a_file_that_is_changed_is_noticed(data: SampleSet, tiny: Backbone) -> None:
    images = images_of(data, tiny).in_epoch(0, 0, 0)
    JoinedFeatures((images,)).check_unchanged()
    Image.new("RGB", (5, 5)).save(data.test[3].path)
    with pytest.raises(DatasetError, match=r"006\.png: the file was changed while the run was at it"):
        JoinedFeatures((images,)).check_unchanged()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda picture: None, "returns a NoneType, not a Picture"),
        (lambda picture: replace(picture, image=picture.image / 255), "returns images of float64"),
        (lambda picture: replace(picture, mask=picture.mask.astype(np.uint8)), "returns masks of uint8"),
        (lambda picture: replace(picture, mask=picture.mask[1:]), "returns an image of shape .* and a mask of"),
        (lambda picture: replace(picture, class_name="nut"), "returns the class name as str, not ClassName"),
    ],
)
def test_an_augmentation_that_returns_no_picture_is_told(
    data: SampleSet, tiny: Backbone, change: Any, said: str
) -> None:
    images = images_of(data, tiny, augment=lambda picture, others, drawn: change(picture)).in_epoch(0, 0, 0)
    with pytest.raises(ContractError, match=f"augment {said}"):
        images.batch([0])


def test_threads_read_as_many_batches_ahead_in_order(data: SampleSet) -> None:
    started: list[int] = []

    class Slow:
        threads = 3

        def read(self, indices: Sequence[int]) -> Any:
            started.append(indices[0])
            return lambda: indices[0]

    order = [[index] for index in range(7)]
    for (index,), batch in read_ahead(Slow(), order, device="cpu"):  # type: ignore[arg-type]
        assert batch == index
        assert max(started) <= index + 3
    assert sorted(started) == list(range(7))
