"""The training loop where memory is short, and what its steps are made of."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.clip.backbone import Backbone
from benchmark.common.cache import GB, Cache
from benchmark.contract import Learner, Stage, TrainingBatch
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import SampleSet
from benchmark.protocol import Protocol
from benchmark.registry import all_methods
from benchmark.training import loop
from benchmark.training.batches import Auxiliary, JoinedFeatures, read_ahead
from benchmark.training.features import auxiliary_features
from benchmark.training.images import auxiliary_images
from benchmark.training.loop import TrainingError, batches, train
from benchmark.training.resuming import Curve, code_of, read_state
from benchmark.training.runner import build_method
from benchmark.training.stages import reads_images
from methods.anomalyclip import AnomalyClip
from methods.mrad import MradTf

LEARNERS = [method for method in all_methods().values() if issubclass(method, Learner)]
WITH_GRADIENTS = [method for method in LEARNERS if method is not MradTf]


SAID: list[str] = []
Change = Callable[[Learner, Stage], Stage]


def one_step(
    method: type[Learner], data: SampleSet, backbone: Backbone, *changes: Change
) -> tuple[list[Tensor], Curve]:
    """Take one step in each stage, on all images; return the change of the parameters and the loss curve."""
    made = build_method(method, backbone, method.Options(), seed=0, checkpoint=None)
    assert isinstance(made, Learner)
    before = [parameter.detach().clone() for parameter in made.learned.parameters()]
    curve = train(made, work_of(made, data, in_one_batch, *changes), say=SAID.append)
    return [old - new.detach() for old, new in zip(before, made.learned.parameters(), strict=True)], curve


def work_of(method: Learner, data: SampleSet, *changes: Change) -> list[tuple[Stage, JoinedFeatures]]:
    """The stages of a method, changed, each with all images."""
    work = []
    for stage in method.stages([data.card.name]):
        for change in changes:
            stage = change(method, stage)  # noqa: PLW2901
        work.append((stage, JoinedFeatures((images_of(data, cast(Backbone, method.backbone), stage),))))
    return work


def images_of(data: SampleSet, backbone: Backbone, stage: Stage) -> Auxiliary:
    given = (data, backbone, stage.vision, Protocol())
    if reads_images(stage):
        return auxiliary_images(*given, workers=0, skip_broken=False)
    return auxiliary_features(*given, Cache(data.directory.parent / "cache", GB), workers=0, skip_broken=False)


def in_one_batch(method: Learner, stage: Stage) -> Stage:
    return replace(stage, epochs=1, batch_size=5, at_once=None, augment=None)


def simple(method: Learner, stage: Stage) -> Stage:
    """The stage with a step that shows the gradient."""
    if stage.optimiser is None:
        return stage
    trained = [each for group in stage.optimiser.param_groups for each in group["params"]]
    return replace(stage, optimiser=torch.optim.SGD(trained, lr=1.0), learning_rate=None)


def greedy(method: Learner, stage: Stage) -> Stage:
    """The stage where memory runs out with more than two images, in the midst of the backward pass."""
    if stage.optimiser is None:
        return stage
    trained = stage.optimiser.param_groups[0]["params"][0]
    hooks = [torch.zeros(1, requires_grad=True).register_hook(print)]

    def losses(batch: TrainingBatch) -> Mapping[str, Tensor]:
        def run_out(gradient: Tensor) -> None:
            if len(batch.labels) > 2:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

        hooks.pop().remove()
        hooks.append(trained.register_hook(run_out))
        return stage.losses(batch)

    return replace(stage, losses=losses)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """Five images."""
    root = tmp_path_factory.mktemp("loop") / "images"
    for kind, size in (("normal", 3), ("abnormal", 2)):
        (root / kind).mkdir(parents=True)
        for index in range(size):
            pixels = np.random.default_rng(index).integers(0, 256, size=(60, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{index}.png")
    (root / "masks/abnormal").mkdir(parents=True)
    for index in range(2):
        mask = np.zeros((60, 70), np.uint8)
        mask[: 30 + index] = 255  # whole patches, too
        Image.fromarray(mask).save(root / f"masks/abnormal/{index}.png")
    return read_folder(PlainFolder(directory=root, class_name="metal nut"))


@pytest.fixture(scope="module")
def features(data: SampleSet, tiny: Backbone) -> Auxiliary:
    """Stored features of the images."""
    method = AnomalyClip(tiny, AnomalyClip.Options())
    return images_of(data, tiny, next(iter(method.stages([]))))


@pytest.mark.parametrize("method", [method for method in WITH_GRADIENTS if method.divisible])
def test_a_batch_that_is_divided_gives_the_gradient_of_the_whole(
    method: type[Learner], data: SampleSet, tiny: Backbone
) -> None:
    """Parts of two, two and one image: they count by their numbers of images."""
    SAID.clear()
    expected, whole = one_step(method, data, tiny, simple)
    assert SAID == []
    found, curve = one_step(method, data, tiny, simple, greedy)
    assert set(SAID) == {
        "out of memory with 5 images at a time; going on with 2 (the gradients are added up, so it learns the same)"
    }
    largest = max(float(each.abs().max()) for each in expected)
    assert largest > 1e-4
    torch.testing.assert_close(found, expected, atol=1e-5 * largest, rtol=0)
    assert [pytest.approx(epoch, abs=1e-6) for epoch in whole] == curve


def test_a_batch_that_counts_as_a_whole_is_never_divided(data: SampleSet, tiny: Backbone) -> None:
    with pytest.raises(RuntimeError, match="CUBLAS_STATUS_ALLOC_FAILED"):
        one_step(type("Whole", (AnomalyClip,), {"divisible": False}), data, tiny, greedy)


@pytest.mark.parametrize("then", ["goes on", "fails"])
def test_a_loss_that_is_not_finite_is_told_with_its_epoch_and_images_and_not_kept(
    data: SampleSet, tiny: Backbone, tmp_path: Path, then: str
) -> None:
    """In the second of three batches of the second epoch; a method may fail at the parameters that follow."""
    steps: list[int] = []

    def losses(self: Any, batch: TrainingBatch) -> dict[str, Tensor]:
        steps.append(len(batch.labels))
        if len(steps) > 5 and then == "fails":
            raise ValueError("no number")
        terms = AnomalyClip.losses(self, batch)
        return {name: term * (float("nan") if len(steps) == 5 else 1) for name, term in terms.items()}

    kind = type("Failing", (AnomalyClip,), {"losses": losses})
    made = kind(tiny, replace(kind.Options(), epochs=3, batch_size=2), seed=0)
    partial = tmp_path / "state"
    with pytest.raises(TrainingError, match=r"the loss is nan \(.* nan\) in epoch 2 of 3 on the images") as error:
        train(made, work_of(made, data), partial=partial)
    order = list(batches(5, 2, seed=0, epoch=1))
    named = [place for place, sample in enumerate(data.test) if str(sample.path) in str(error.value)]
    assert named == sorted(order[1])
    *_, curve = read_state(partial, made.stages([]), code=code_of(made))
    assert len(curve) == 1


def test_a_thread_reads_one_batch_ahead_and_changes_nothing(features: Auxiliary) -> None:
    events: list[str] = []

    class Watched:
        threads = 1

        def read(self, indices: Sequence[int]) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            events.append(f"read {indices[0]}")
            return features.read(indices)

    order = [[0, 1], [2, 4], [3]]
    for indices, batch in read_ahead(cast(Any, Watched()), order, device="cpu"):
        events.append(f"use {indices[0]}")
        expected = features.batch(indices)
        assert torch.equal(batch.features.image, expected.features.image)
        assert torch.equal(batch.masks, expected.masks)
        assert batch.class_names == expected.class_names
    assert sorted(events) == ["read 0", "read 2", "read 3", "use 0", "use 2", "use 3"]
    assert [each for each in events if each.startswith("use")] == ["use 0", "use 2", "use 3"]


def test_what_cannot_be_read_fails_where_it_is_needed(features: Auxiliary) -> None:
    seen = []
    with pytest.raises(IndexError):
        for indices, _ in read_ahead(features, [[0], [99]], device="cpu"):
            seen.append(indices)
    assert seen == [[0]]


class Operations(TorchDispatchMode):
    """Collect the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", WITH_GRADIENTS)
def test_training_has_no_operation_whose_gradient_is_random_on_cuda(
    method: type[Learner], data: SampleSet, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named in the documentation of `torch.use_deterministic_algorithms`, or in its fused attention kernels."""
    exact, operations = loop.exact_attention, Operations()

    @contextmanager
    def watched(device: str) -> Iterator[None]:
        with exact("cuda"), operations:
            yield

    monkeypatch.setattr(loop, "exact_attention", watched)
    one_step(method, data, tiny)
    assert any("softmax" in name for name in operations.names)
    random = r"(upsample|grid_sampler|adaptive_avg_pool)\w*_backward|(flash|efficient)_attention|scatter_add"
    assert [name for name in operations.names if re.search(random, name)] == []
