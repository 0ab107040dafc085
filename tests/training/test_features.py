"""Features of auxiliary images: the backbone's numbers, each image encoded once, nothing damaged ever trusted."""

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import tifffile
import torch
from PIL import Image
from support.batches import assert_same, tensors
from support.faults import file_size_limit
from torch import Tensor

from benchmark.clip.architectures import TINY
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.spec import BackboneVariant
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache, CacheError
from benchmark.contract import Dpam, Features, Layer, TrainingBatch, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import ImageError, read_image
from benchmark.data.masks import MaskRule, read_mask, resize_mask
from benchmark.data.preprocess import Preprocess
from benchmark.data.samples import DatasetError, SampleSet
from benchmark.protocol import Protocol
from benchmark.training import batches as batches_module
from benchmark.training import features as features_module
from benchmark.training.batches import AuxiliaryFeatures, JoinedFeatures
from benchmark.training.features import auxiliary_features

SIZE = 70
PATHS = (None, Dpam(3), Dpam(3, "qq"), Dpam(2, "qq"), Dpam(2, "qq", ffn=True))
SPEC = VisionSpec(
    SIZE,
    layers=(Layer(2), *(Layer(4, path) for path in PATHS)),
    cls=(1, 3),
    tokens=(Layer(2), Layer(4), Layer(4, PATHS[1])),
    hidden=(Layer(2), Layer(4), Layer(4, PATHS[1])),
)
SMALL = VisionSpec(SIZE, layers=(Layer(2),))
Passes = list[tuple[int, VisionSpec]]


def data_of(parts: Path) -> SampleSet:
    """The plain folder, as a layout whose masks have soft edges."""
    data = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    return replace(data, layout=data.layout.model_copy(update={"mask_threshold": 127}))


def features_of(data: SampleSet, backbone: Backbone, cache: Path, **changes: Any) -> AuxiliaryFeatures:
    given = {"spec": SMALL, "protocol": Protocol(), "workers": 0, "skip_broken": False, **changes}
    limit = given.pop("limit", GB)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_module, "ENCODING_BATCH", given.pop("batch_size", 16))
        return auxiliary_features(data, backbone, cache=Cache(cache, limit), **given)


def read(data: SampleSet, backbone: Backbone, cache: Path, **changes: Any) -> TrainingBatch:
    features = features_of(data, backbone, cache, **changes)
    return features.batch(range(len(features)))


def files_of(cache: Path) -> list[Path]:
    """The files of the only entry, the largest last."""
    return sorted(cache.glob("*/*"), key=lambda path: path.stat().st_size)


@pytest.fixture
def data(parts: Path) -> SampleSet:
    return data_of(parts)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """The number of images of each forward pass, and what was asked of it."""
    passes: Passes = []
    original = Backbone.encode_images

    def counting(self: Backbone, images: Tensor, spec: VisionSpec) -> Features:
        passes.append((len(images), spec))
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", counting)
    return passes


def test_the_same_weights_with_another_normalisation_have_other_features(data: SampleSet, cache: Path) -> None:
    backbone = load_backbone(parse_backbone("tiny:random"))
    before = read(data, backbone, cache).features.image
    other = Backbone(
        backbone.model, name="", architecture="tiny", sha256=backbone.sha256, synthetic=True, mean=[0.5] * 3
    )
    assert not torch.allclose(read(data, other, cache).features.image, before, atol=1e-3)
    assert torch.equal(read(data, backbone, cache).features.image, before)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0)])
def test_a_batch_is_what_the_backbone_makes_of_the_images(
    data: SampleSet, cache: Path, dtype: str, atol: float
) -> None:
    backbone = load_backbone(parse_backbone("tiny:random"), dtype=dtype)
    data = replace(data, samples=(*data.samples[:-1], replace(data.samples[-1], piece=(1, 2))))
    images = [Preprocess(SIZE)(read_image(sample.path, piece=sample.piece)) for sample in data.test]
    expected = tensors(backbone.encode_images(torch.from_numpy(np.stack(images)), SPEC))
    features = features_of(data, backbone, cache, spec=SPEC)
    for indices in (list(range(13)), [12, 0, 5, 5]):
        batch = features.batch(indices)
        rows = {name: values[indices] for name, values in expected.items()}
        torch.testing.assert_close(tensors(batch.features), rows, atol=atol, rtol=0)
        assert batch.labels.tolist() == [data.test[index].label for index in indices]
    assert batch.features.grid == SIZE // 14
    assert (features.samples, features.skipped) == (data.test, {})


@pytest.mark.parametrize("size", [70, 98])
@pytest.mark.parametrize("gt0", [False, True])
def test_masks_follow_the_protocol(parts: Path, tiny: Backbone, cache: Path, size: int, gt0: bool) -> None:
    grey = parts / "masks/abnormal/008.png"
    pixels = np.asarray(Image.open(grey)).copy()
    pixels[:5] = 100
    Image.fromarray(pixels).save(grey)
    data = data_of(parts)
    batch = read(data, tiny, cache, spec=VisionSpec(size), protocol=Protocol(mask_gt0=gt0))
    for sample, mask in zip(data.test, batch.masks, strict=True):
        expected = np.zeros((size, size), dtype=bool)
        if sample.mask is not None:
            expected = resize_mask(read_mask(sample.mask, MaskRule(0 if gt0 else 127)), size)
        np.testing.assert_array_equal(mask.numpy(), expected)
        assert expected.any() == (sample.label == 1)


def test_a_dataset_without_masks_gives_masks_of_zeros(parts: Path, tiny: Backbone, cache: Path) -> None:
    for mask in (parts / "masks/abnormal").iterdir():
        mask.unlink()
    batch = read(read_folder(PlainFolder(directory=parts, class_name="x")), tiny, cache)
    assert torch.equal(batch.masks, torch.zeros(13, SIZE, SIZE))
    assert batch.labels.sum() == 6


def test_class_names_follow_the_protocol_and_encode_nothing_again(
    data: SampleSet, tiny: Backbone, cache: Path, encoded: Passes
) -> None:
    for raw, name in ((False, "metal nut"), (True, "object")):
        assert read(data, tiny, cache, protocol=Protocol(raw_class_names=raw)).class_names == (name,) * 13
    assert len(encoded) == 1


def test_each_image_is_encoded_once_and_only_for_what_is_missing(
    data: SampleSet, tiny: Backbone, cache: Path, tmp_path: Path, encoded: Passes
) -> None:
    told: list[int] = []
    for _ in range(3):
        features = features_of(data, tiny, cache, batch_size=4, progress=told.append)
        features.batch(range(13))
    assert [images for images, _ in encoded] == told == [4, 4, 4, 1]
    new = Layer(3, Dpam(2))
    more = VisionSpec(SIZE, layers=(*SMALL.layers, new), cls=(3,))
    found = read(data, tiny, cache, spec=more)
    assert encoded[4:] == [(13, VisionSpec(SIZE, layers=(new,), cls=(3,)))]
    assert_same(found, read(data, tiny, tmp_path / "fresh", spec=more), atol=1e-5)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2), (16, 2)])
def test_batch_size_and_workers_change_no_number(
    data: SampleSet, tiny: Backbone, tmp_path: Path, batch_size: int, workers: int
) -> None:
    expected = read(data, tiny, tmp_path / "a", spec=SPEC)
    found = read(data, tiny, tmp_path / "b", spec=SPEC, batch_size=batch_size, workers=workers)
    assert_same(found, expected, atol=1e-5)


def test_features_are_kept_apart_by_what_changes_them_and_by_nothing_else(
    parts: Path, data: SampleSet, tiny: Backbone, cache: Path, encoded: Passes
) -> None:
    for changes in ({}, {"batch_size": 3}, {"workers": 2}, {"skip_broken": True}, {"limit": GB // 2}):
        read(data, tiny, cache, **changes)
    assert len(encoded) == 1
    source = parse_backbone("tiny:random")
    read(data, tiny, cache, spec=VisionSpec(56))
    read(data, load_backbone(source, dtype="bfloat16"), cache)
    read(data, load_backbone(parse_backbone("tiny:random-1")), cache)
    read(data, load_backbone(source, pos_interp="bicubic"), cache, protocol=Protocol(pos_interp="bicubic"))
    read(data, tiny, cache, protocol=Protocol(mask_gt0=True))
    Image.new("RGB", (9, 9)).save(parts / "normal/new.png")
    read(data_of(parts), tiny, cache)
    read(data, tiny, cache)
    assert [images for images, _ in encoded] == [13] * 6 + [14]


def test_variants_of_a_backbone_share_features_where_they_give_the_same(
    data: SampleSet, cache: Path, encoded: Passes
) -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY, quick_gelu=True)
    quick = Backbone(model, name="", architecture="tiny", sha256="0" * 64, synthetic=True)
    exact, cubic = BackboneVariant(plain_gelu=True), BackboneVariant(pos_interp="bicubic")
    own, smaller = VisionSpec(quick.image_size), VisionSpec(56)
    found = [read(data, quick.variant(each), cache, spec=own) for each in (BackboneVariant(), cubic, exact)]
    assert len(encoded) == 2, "positional embeddings are not resized at the image size of the weights"
    assert_same(found[1], found[0], atol=0)
    assert not torch.allclose(found[2].features.image, found[0].features.image, atol=1e-3)
    for each in (BackboneVariant(), cubic):
        read(data, quick.variant(each), cache, spec=smaller)
    assert len(encoded) == 4


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # else the remembered sha256 is given


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-256]),
        lambda path: path.rename(path.with_suffix(".partial")),
        lambda path: path.with_suffix(".json").write_text("{"),
    ],
    ids=["flipped", "gone", "truncated", "partial", "sidecar"],
)
def test_a_damaged_array_alone_is_made_again(
    data: SampleSet, tiny: Backbone, cache: Path, encoded: Passes, damage: Callable[[Path], None]
) -> None:
    expected = read(data, tiny, cache, spec=SPEC)
    damage(files_of(cache)[-1])
    for _ in range(2):
        assert_same(read(data, tiny, cache, spec=SPEC), expected, atol=1e-5)
    (images, again) = encoded[1]
    assert (images, len((*again.layers, *again.tokens, *again.hidden)), again.cls) == (13, 1, ())
    assert len(encoded) == 2


@pytest.mark.parametrize("broken", ["abnormal/009.png", "masks/abnormal/009.png"])
def test_an_unreadable_file_is_an_error_or_left_out(
    parts: Path, data: SampleSet, tiny: Backbone, cache: Path, tmp_path: Path, broken: str
) -> None:
    whole = read(data, tiny, tmp_path / "whole")
    (parts / broken).write_bytes((parts / broken).read_bytes()[:60])
    data, message = data_of(parts), rf"{broken.replace('/', '.')}.*--on-error skip"
    with pytest.raises(ImageError, match=message):
        read(data, tiny, cache, batch_size=2)
    assert files_of(cache) == []
    features = features_of(data, tiny, cache, batch_size=2, skip_broken=True)
    assert list(features.skipped) == ["abnormal/009.png"]
    left = [index for index, sample in enumerate(data.test) if sample.key not in features.skipped]
    assert features.samples == tuple(data.test[index] for index in left)
    batch = features.batch(range(12))
    expected = {name: values[left] for name, values in tensors(whole.features).items()}
    torch.testing.assert_close(tensors(batch.features), expected, atol=1e-5, rtol=0)
    assert torch.equal(batch.masks, whole.masks[left])
    assert torch.equal(batch.labels, whole.labels[left])
    with pytest.raises(ImageError, match=message):
        read(data, tiny, cache)
    assert features_of(data, tiny, cache, skip_broken=True).skipped == features.skipped


def test_an_anomalous_image_that_alone_lacks_its_mask_is_an_error(data: SampleSet, tiny: Backbone, cache: Path) -> None:
    samples = tuple(replace(s, mask=None) if s.key == "abnormal/010.png" else s for s in data.samples)
    with pytest.raises(ImageError, match=r"010\.png: anomalous, but it has no mask"):
        read(replace(data, samples=samples), tiny, cache)


def test_a_dataset_of_unreadable_images_is_an_error(data: SampleSet, tiny: Backbone, cache: Path) -> None:
    for sample in data.test:
        sample.path.write_bytes(b"none")
    with pytest.raises(
        ImageError, match=r"parts: no image .*`bench data check --folder .*parts --folder-class 'metal nut'`"
    ):
        read(data, tiny, cache, skip_broken=True)


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing_to_trust(
    data: SampleSet, tiny: Backbone, cache: Path, tmp_path: Path
) -> None:
    with (
        file_size_limit(20_000),  # a third of the patches of all images
        pytest.raises(CacheError, match=r"File too large; free the disk or point BENCH_CACHE elsewhere"),
    ):
        read(data, tiny, cache)
    assert files_of(cache) == []
    assert_same(read(data, tiny, cache), read(data, tiny, tmp_path / "fresh"), atol=1e-5)


def test_the_size_is_told_before_the_features_are_made(
    data: SampleSet, tiny: Backbone, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = replace(data, samples=data.samples * 20)
    told: list[str] = []
    encode = tiny.encode_images
    monkeypatch.setattr(tiny, "encode_images", lambda *given: (told.append(capsys.readouterr().err), encode(*given))[1])
    features_of(wide, tiny, cache)
    [entry] = [path for path in cache.iterdir() if path.is_dir()]
    size = sum(path.stat().st_size for path in entry.glob("*.bin"))
    assert told[0] == f"features of {data.title}: {size / 10**6:.1f} MB in {entry}\n"
    features_of(wide, tiny, cache)
    assert capsys.readouterr().err == ""


def test_the_room_asked_for_is_the_room_taken(data: SampleSet, tiny: Backbone, cache: Path, tmp_path: Path) -> None:
    read(data, tiny, cache, spec=SPEC)
    taken = sum(path.stat().st_size for path in files_of(cache) if path.suffix == ".bin")
    with pytest.raises(CacheError, match="raise --cache-limit"):
        read(data, tiny, tmp_path / "b", spec=SPEC, limit=taken - 1)
    read(data, tiny, tmp_path / "b", spec=SPEC, limit=taken)


@pytest.mark.parametrize("skip_broken", [True, False])
def test_an_image_that_was_mended_without_changing_size_is_taken_again(
    parts: Path, tiny: Backbone, tmp_path: Path, *, skip_broken: bool
) -> None:
    path = parts / "abnormal/009.png"
    good = path.read_bytes()
    path.write_bytes(good[:60] + bytes(len(good) - 60))
    assert features_of(data_of(parts), tiny, tmp_path / "cache", skip_broken=True).skipped
    path.write_bytes(good)
    assert features_of(data_of(parts), tiny, tmp_path / "cache", skip_broken=skip_broken).skipped == {}


def test_what_a_killed_process_left_does_not_count_against_the_limit(
    parts: Path, tiny: Backbone, tmp_path: Path
) -> None:
    cache, data = tmp_path / "cache", data_of(parts)
    read(data, tiny, cache)
    total = sum(path.stat().st_size for path in files_of(cache))
    for path in list(cache.glob("*/*.bin")):
        path.with_suffix(".json").unlink()
        path.rename(path.with_suffix(".partial"))
    read(data, tiny, cache, limit=int(1.2 * total))
    flip(files_of(cache)[-1])
    read(data, tiny, cache, limit=int(1.2 * total))


def test_a_cache_that_cannot_be_made_is_named(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match="BENCH_CACHE"):
        read(data_of(parts), tiny, tmp_path / "cache")


def test_two_datasets_are_read_as_one_in_any_order(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    whole = features_of(data_of(parts), tiny, tmp_path / "cache", spec=SPEC)
    cut = 5
    rows = tuple(
        replace(whole, samples=whole.samples[part], _rows=whole._rows[part]) for part in (slice(cut), slice(cut, None))
    )
    both = JoinedFeatures(rows)
    assert (len(both), both.samples) == (len(whole), whole.samples)
    for order in ([12, 0, 5, 4, 7, 1], [6, 5], [3], [0, 12]):
        found, expected = both.batch(order), whole.batch(order)
        assert_same(found, expected, atol=0)
        assert found.class_names == expected.class_names


def test_features_that_are_kept_are_those_of_the_files(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    whole = features_of(data_of(parts), tiny, tmp_path / "cache", spec=SPEC)
    kept = whole.kept()
    assert kept._kept is not None
    assert whole.size == sum(values.nbytes for values in kept._kept.values())
    for order in ([12, 0, 5, 5], [3]):
        assert_same(kept.batch(order), whole.batch(order), atol=0)


@pytest.mark.parametrize(
    ("processes", "free", "fits"), [(1, 2.0, True), (1, 1.99, False), (2, 4.0, True), (2, 3.9, False)]
)
def test_features_are_kept_on_a_gpu_if_each_process_has_room_for_twice_as_much(
    parts: Path,
    tiny: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
    free: float,
    fits: bool,
) -> None:
    whole = features_of(data_of(parts), tiny, tmp_path / "cache")
    assert JoinedFeatures((whole,)).kept_if_small(processes=1).parts == (whole,)  # on the CPU never
    there = copy.copy(tiny)
    there.device = "cuda:1"
    both = JoinedFeatures((replace(whole, backbone=there), replace(whole, backbone=there)))
    monkeypatch.setattr(batches_module, "free_memory", {"cuda:1": int(free * 2 * whole.size)}.__getitem__)
    monkeypatch.setattr(AuxiliaryFeatures, "kept", lambda self: whole)
    assert (both.kept_if_small(processes=processes).parts == (whole, whole)) == fits


def test_masks_that_no_loss_reads_are_not_read(parts: Path, tiny: Backbone, cache: Path) -> None:
    features = features_of(data_of(parts), tiny, cache, with_masks=False)
    assert "masks" not in features._files
    assert torch.equal(features.batch([0, 12]).masks, torch.zeros(2, SIZE, SIZE))
    (parts / "masks/abnormal/009.png").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"009\.png"):  # whatever is made of it
        features_of(data_of(parts), tiny, cache, with_masks=False)


def test_images_that_change_while_they_are_encoded_are_not_kept(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, original = data_of(parts), Backbone.encode_images

    def changing(self: Backbone, images: Any, spec: VisionSpec) -> Features:
        path = data.test[0].path
        path.write_bytes(path.read_bytes())
        return original(self, images, spec)

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "encode_images", changing)
        with pytest.raises(DatasetError, match="changed while the run was at it"):
            features_of(data, tiny, tmp_path / "cache")
    assert not [path for path in files_of(tmp_path / "cache") if path.suffix != ".lock"]
    features_of(data_of(parts), tiny, tmp_path / "cache")


def test_features_of_other_code_are_not_used(
    parts: Path, tiny: Backbone, tmp_path: Path, encoded: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_of(data_of(parts), tiny, tmp_path / "cache")
    encoded.clear()
    monkeypatch.setattr("benchmark.records.provenance._code_sha256", lambda *parts: "of another commit")
    features_of(data_of(parts), tiny, tmp_path / "cache")
    assert sum(images for images, _ in encoded) == len(data_of(parts).test)


def test_a_replaced_image_of_equal_size_is_encoded_again(
    parts: Path, tiny: Backbone, tmp_path: Path, encoded: Passes
) -> None:
    features_of(data_of(parts), tiny, tmp_path / "cache")
    encoded.clear()
    features_of(data_of(parts), tiny, tmp_path / "cache")
    assert encoded == []
    path = next(sample.path for sample in data_of(parts).test)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    features_of(data_of(parts), tiny, tmp_path / "cache", skip_broken=True)
    assert sum(images for images, _ in encoded) >= len(data_of(parts).test) - 1


def test_an_image_without_permission_is_a_broken_image(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, real = data_of(parts), Path.is_file

    def is_file(self: Path) -> bool:
        if self.name == "003.png":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    assert data.fingerprint
    monkeypatch.setattr(Path, "is_file", is_file)
    with pytest.raises(ImageError, match=r"Permission denied.*003\.png"):
        read(data, tiny, tmp_path / "cache")


def test_deep_images_are_encoded_as_their_dataset_reads_them(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    dark = parts / "normal/000.png"
    Image.fromarray(np.asarray(Image.open(dark)) // 8).save(dark)
    shallow = read(data_of(parts), tiny, tmp_path / "a")
    for path in (*parts.glob("normal/*"), *parts.glob("abnormal/*")):
        tifffile.imwrite(
            path.with_suffix(".tif"), np.asarray(Image.open(path)).astype(np.uint16) * 257, photometric="rgb"
        )
        path.unlink()
    deep = data_of(parts)
    assert deep.ranges
    assert_same(read(deep, tiny, tmp_path / "b"), shallow, atol=0)
