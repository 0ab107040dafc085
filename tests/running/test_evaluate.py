"""A pass of several methods: what is done once for all of them, and what goes on while metrics are computed."""

import functools
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from benchmark.clip.backbone import Backbone
from benchmark.common import regions
from benchmark.common.memory import AdaptiveBatch
from benchmark.common.settings import Settings
from benchmark.contract import BackboneVariant, ClassName, Features, Method, Prediction, VisionSpec
from benchmark.data import loading
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.loading import Loaded
from benchmark.data.samples import SampleSet
from benchmark.errors import ContractError
from benchmark.protocol import Protocol
from benchmark.records.records import ClassResult
from benchmark.running import evaluate, maps
from benchmark.running.accumulator import ClassAccumulator
from benchmark.running.class_run import ClassRun, ClassScores, Participant, Scored, Tower
from benchmark.running.evaluate import ClassOutcomes
from benchmark.running.lanes import Lanes
from methods.clip import Clip, ClipOptions

PATIENCE = 10.0


class Smaller(Clip):
    name, title = "smaller", "Smaller"

    def vision(self) -> VisionSpec:
        return replace(super().vision(), image_size=56)


class Bicubic(Clip):
    name, title = "bicubic", "Bicubic"

    @classmethod
    def backbone_variant(cls, options: ClipOptions) -> BackboneVariant:
        return BackboneVariant(pos_interp="bicubic")


class SmallerBicubic(Bicubic, Smaller):
    name, title = "smaller_bicubic", "Smaller, bicubic"


class Smooth(Clip):
    name, title, smoothing = "smooth", "Smooth", 4.0


class Infinite(Clip):
    """Gives a map that no metric accepts for the second image of a batch."""

    name, title = "infinite", "Infinite"
    asked: list[int]

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        self.asked.append(len(class_names))
        found = super().predict(features, class_names)
        found.maps[1:2] = torch.inf
        return found


class Reuses(Smooth):
    """Writes the maps and text embeddings of every batch into the same memory."""

    name, title = "reuses", "Reuses"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.maps, self.texts = torch.empty(0), torch.empty(0)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        self.maps.fill_(torch.nan)
        self.texts.fill_(torch.nan)
        found = super().predict(features, class_names)
        self.maps = self.maps.resize_(found.maps.shape).copy_(found.maps)
        return Prediction(found.scores, self.maps)

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, torch.Tensor]:
        self.texts = self.texts.resize_(len(class_names), 2, 3).fill_(len(class_names))
        return {"series": self.texts}


class Misshapen(Clip):
    """Returns what is no map for each image."""

    name, title = "misshapen", "Misshapen"
    shape: tuple[int, ...] = ()

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        return Prediction(torch.zeros(len(class_names)), torch.zeros(self.shape))


@pytest.fixture
def data(parts: Path) -> SampleSet:
    """Three classes, of 6, 6 and 1 images."""
    data = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    names = ["c", *("a" if index % 2 else "b" for index in range(1, len(data.samples)))]
    card = data.card.model_copy(
        update={"classes": tuple(data.card.classes[0].model_copy(update={"name": n}) for n in "abc")}
    )
    samples = [replace(s, class_name=name) for s, name in zip(data.samples, names, strict=True)]
    return replace(data, card=card, samples=tuple(sorted(samples, key=lambda s: (s.class_name, s.key))))


@pytest.fixture(params=[0, 1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of threads that compute metrics."""
    monkeypatch.setattr(evaluate, "_threads", lambda device, methods: request.param)
    count: int = request.param
    return count


def scored(methods: Sequence[type[Method]], data: SampleSet, tiny: Backbone, tmp_path: Path) -> list[ClassOutcomes]:
    classes = frozenset(sample.class_name for sample in data.test)
    taking_part = [Participant(method(tiny, ClipOptions()), classes) for method in methods]
    settings = Settings(tmp_path / "results", batch_size=2, workers=0)
    return list(evaluate.evaluate(taking_part, tiny, data, protocol=Protocol(), settings=settings))


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[str]:
    """Note each call of a function."""
    calls: list[str] = []
    original = getattr(module, name)

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_an_image_is_read_once_and_its_mask_labelled_once_for_all_methods(
    data: SampleSet, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = counted(monkeypatch, loading, "read_image"), counted(monkeypatch, loading, "read_mask")
    labelled = counted(monkeypatch, regions.ndimage, "label")
    scored([Clip, Smooth, Smooth], data, tiny, tmp_path)
    masks = sum(sample.label for sample in data.test)
    assert [len(calls) for calls in (*read, labelled)] == [len(data.test), masks, masks]
    scored([Clip, Smaller], data, tiny, tmp_path)
    assert [len(calls) for calls in (*read, labelled)] == [2 * len(data.test), 2 * masks, 3 * masks]


def test_views_of_samples_give_metrics_of_samples(data: SampleSet, tiny: Backbone, tmp_path: Path) -> None:
    plain, *_ = scored([Clip], data, tiny, tmp_path)
    seen = tuple(replace(s, view_of=f"s{place // 3}") for place, s in enumerate(data.samples))
    views, *_ = scored([Clip], replace(data, samples=seen, whole=seen), tiny, tmp_path)
    without, found = plain.outcomes[0], views.outcomes[0]
    assert isinstance(without, ClassScores)
    assert isinstance(found, ClassScores)
    assert found.images is not None
    assert found.images.samples is not None
    maxima = [found.images.scores[found.images.samples == sample].max() for sample in (0, 1)]
    labels = [found.images.labels[found.images.samples == sample].max() for sample in (0, 1)]
    wanted = None if len(set(labels)) < 2 else float((maxima[0] > maxima[1]) == (labels[0] > labels[1]))
    own = {key: value for key, value in found.result.metrics.items() if key.startswith("sample")}
    assert own.keys() == {"sample_auroc", "sample_ap", "sample_f1max"}
    assert own["sample_auroc"] == wanted
    assert found.result.model_copy(update={"metrics": without.result.metrics}) == without.result
    assert found.result.metrics == without.result.metrics | own


def test_methods_of_two_image_sizes_share_a_pass_and_keep_their_numbers(
    data: SampleSet, tiny: Backbone, tmp_path: Path, threads: int
) -> None:
    together = scored([Clip, Smaller, Smooth], data, tiny, tmp_path)
    alone = [scored([method], data, tiny, tmp_path) for method in (Clip, Smaller, Smooth)]
    assert [done.class_name for done in together] == ["a", "b", "c"]
    for place, classes in enumerate(alone):
        for one, other in zip(together, classes, strict=True):
            mine, its = one.outcomes[place], other.outcomes[0]
            assert isinstance(mine, ClassScores)
            assert isinstance(its, ClassScores)
            assert mine.image_size == its.image_size == (56 if place == 1 else tiny.image_size)
            assert mine.result == its.result
            assert mine.images is not None
            assert its.images is not None
            assert np.array_equal(mine.images.maps, its.images.maps)
            assert mine.seconds.keys() == {"images", "vision", "method", "metrics", "total"}


def test_methods_whose_towers_differ_share_the_reading_alone(
    data: SampleSet, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions are resized at 56 pixels, and not at the size of the weights."""
    alone = [scored([method], data, tiny, tmp_path)[0].outcomes[0] for method in (Clip, Smaller, SmallerBicubic)]
    read = counted(monkeypatch, loading, "read_image")
    encoded = counted(monkeypatch, Backbone, "encode_images")
    load = Mock(wraps=evaluate.load_at_sizes)
    monkeypatch.setattr(evaluate, "load_at_sizes", load)
    first, *_ = scored([Clip, Bicubic, Smaller, SmallerBicubic], data, tiny, tmp_path)
    assert len(read) == len(data.test)
    assert load.call_args.args[2] == [tiny.image_size, 56]
    assert len(encoded) == 3 * 7  # 7 batches
    found = [first.outcomes[place] for place in range(4)]
    assert all(isinstance(each, ClassScores) for each in found)
    results = [each.result for each in found if isinstance(each, ClassScores)]
    wanted = [each.result for each in alone if isinstance(each, ClassScores)]
    assert results == [wanted[0], wanted[0], wanted[1], wanted[2]]
    assert wanted[1] != wanted[2]


def test_the_tower_goes_on_while_metrics_are_computed(
    data: SampleSet, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics of a batch wait here until the next batch is in the tower, and those of a class for the next class."""
    monkeypatch.setattr(evaluate, "_threads", lambda device, methods: 1)
    news, encoded, last = threading.Condition(), 0, 7  # 3 batches of class a, 3 of b, one of c
    encode, add, result = Backbone.encode_images, ClassAccumulator.add, ClassAccumulator.result
    after: list[int] = []

    def encode_images(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        nonlocal encoded
        with news:
            encoded += 1
            news.notify_all()
        return encode(self, images, spec)

    def wait_for(batches: int) -> None:
        with news:
            assert news.wait_for(lambda: encoded >= min(batches, last), PATIENCE)
            after.append(batches)

    def waiting_add(self: ClassAccumulator, item: Loaded, *args: Any) -> None:
        batch = {"a": 0, "b": 3, "c": 6}[item.sample.class_name] + len(self.images.keys) // 2
        wait_for(batch + 2)
        add(self, item, *args)

    def waiting_result(self: ClassAccumulator, **how: bool) -> ClassResult:
        wait_for(4 if not ended else 7)
        ended.append(1)
        return result(self, **how)

    ended: list[int] = []
    monkeypatch.setattr(Backbone, "encode_images", encode_images)
    monkeypatch.setattr(ClassAccumulator, "add", waiting_add)
    monkeypatch.setattr(ClassAccumulator, "result", waiting_result)
    classes = scored([Clip], data, tiny, tmp_path)
    assert [type(done.outcomes[0]) for done in classes] == [ClassScores] * 3
    assert after == [2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 7, 7, 8, 7]


def test_a_method_whose_metrics_fail_ends_alone_and_is_not_asked_about_later_classes(
    data: SampleSet, tiny: Backbone, tmp_path: Path, threads: int
) -> None:
    Infinite.asked = []
    first, second, third = scored([Infinite, Clip], data, tiny, tmp_path)
    assert isinstance(first.outcomes[0], ValueError)
    assert "NaN or infinite" in str(first.outcomes[0])
    assert [list(done.outcomes) for done in (second, third)] == [[1], [1]]
    assert all(isinstance(done.outcomes[1], ClassScores) for done in (first, second, third))
    assert sum(Infinite.asked) <= 6 + 2  # of another class at most the batch that the tower was at


def test_an_error_of_the_tower_ends_the_methods_of_its_image_size(
    data: SampleSet, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    encode = Backbone.encode_images

    def encode_images(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        if spec.image_size == 56:
            raise MemoryError
        return encode(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", encode_images)
    classes = scored([Smaller, Clip], data, tiny, tmp_path)
    assert isinstance(classes[0].outcomes[0], MemoryError)
    assert [list(done.outcomes) for done in classes] == [[0, 1], [1], [1]]


def test_a_method_may_use_the_memory_of_its_results_again(data: SampleSet, tiny: Backbone) -> None:
    method = Reuses(tiny, ClipOptions())
    tower = Tower(tiny, method.vision(), (0,), Protocol(), data.card, True, False, "fail", AdaptiveBatch(2, print))
    run = ClassRun(Participant(method, frozenset("a")), tower, Lanes(0).lane())
    images = torch.randn(3, 3, tiny.image_size, tiny.image_size, generator=torch.Generator().manual_seed(0))
    features = [tiny.encode_images(part, method.vision()) for part in (images[:2], images[2:])]
    expected = Clip(tiny, ClipOptions()).predict(features[0], [ClassName("nut")] * 2).maps
    first = run.predict(features[0], [ClassName("nut")] * 2)
    assert isinstance(run.predict(features[1], [ClassName("nut")]), Scored)
    assert isinstance(first, Scored)
    assert isinstance(first.maps, torch.Tensor)
    assert torch.equal(first.maps, expected)
    assert np.array_equal(first.raw, expected.numpy())
    assert (first.texts["series"] == 2).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8), (2, 8, 8, 1), (2, 0, 8), ()])
def test_maps_of_a_wrong_shape_are_an_error_that_names_it(
    data: SampleSet, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(Misshapen, "shape", shape)
    error = scored([Misshapen], data, tiny, tmp_path)[0].outcomes[0]
    assert isinstance(error, ContractError)
    assert str(error) == f"maps of 2 images have the shape {shape}, not (2, h, w)"


def test_on_a_gpu_maps_are_resized_in_a_stream_beside_that_of_the_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, int]] = []

    def stream(device: torch.device, *, priority: int) -> int:
        made.append((device, priority))
        return len(made)

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(maps, "_second_stream", functools.cache(maps._second_stream.__wrapped__))
    first, second = torch.device("cuda:0"), torch.device("cuda:1")
    used = [maps.beside(device).__enter__() for device in (first, second, first)]
    assert used == [1, 2, 1]
    assert made == [(first, -1), (second, -1)]
    assert maps.beside(torch.device("cpu")).__enter__() is None


def test_values_of_a_gpu_are_waited_for_without_keeping_a_core_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    order, there = Mock(), torch.zeros(2)
    values = Mock(shape=(2,), dtype=torch.float32, device=torch.device("cuda:0"))
    monkeypatch.setattr(maps, "torch", order)
    order.empty.return_value.copy_ = lambda given, non_blocking: order.copied(given is values, non_blocking)
    assert maps._on_host(values) is order.empty.return_value
    assert [name for name, *_ in order.mock_calls][-3:] == [
        "cuda.current_stream",
        "cuda.Event().record",
        "cuda.Event().synchronize",
    ]
    order.copied.assert_called_once_with(True, True)
    order.empty.assert_called_once_with((2,), dtype=torch.float32, pin_memory=True)
    order.cuda.Event.assert_called_once_with(blocking=True)
    monkeypatch.undo()
    assert maps._on_host(there) is there
