"""The training loop where memory is short, and what its steps are made of."""

import re
import threading
from collections.abc import Sequence
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
from benchmark.protocol import Protocol
from benchmark.registry import all_methods
from benchmark.training import loop
from benchmark.training.batches import AuxiliaryFeatures, JoinedFeatures, read_ahead
from benchmark.training.features import auxiliary_features
from benchmark.training.loop import TrainingError, batches, train
from benchmark.training.resuming import Curve, code_of, read_state

LEARNERS = [method for method in all_methods().values() if issubclass(method, Learner)]


def one_step(method: type[Learner], data: AuxiliaryFeatures, backbone: Backbone) -> tuple[list[Tensor], Curve]:
    """Take one step of gradient descent on all images; return the change of the parameters and the loss curve."""
    made = method(backbone, replace(method.Options(), epochs=1, batch_size=len(data)), seed=0)
    before = [parameter.detach().clone() for parameter in made.learned.parameters()]
    curve = train(made, work_of(made, data), say=SAID.append)
    return [old - new.detach() for old, new in zip(before, made.learned.parameters(), strict=True)], curve


def work_of(method: Learner, data: AuxiliaryFeatures) -> list[tuple[Stage, JoinedFeatures]]:
    """The stages of a method, each on all images."""
    return [(stage, JoinedFeatures((data,))) for stage in method.stages([])]


SAID: list[str] = []


def simple(method: type[Learner], **attributes: Any) -> type[Learner]:
    """The method with a step that shows the gradient."""

    def optimiser(self: Learner) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.learned.parameters(), lr=1.0)

    def learning_rate(self: Learner, epoch: int) -> float:
        return 1.0

    return type("Simple", (method,), {"optimiser": optimiser, "learning_rate": learning_rate, **attributes})


def greedy(method: type[Learner], **attributes: Any) -> type[Learner]:
    """The same, where memory runs out with more than two images, in the midst of the backward pass."""

    def losses(self: Any, batch: TrainingBatch) -> dict[str, Tensor]:
        def run_out(gradient: Tensor) -> None:
            if len(batch.labels) > 2:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

        self.__dict__.get("hook", torch.zeros(1, requires_grad=True).register_hook(print)).remove()
        self.hook = next(iter(self.learned.parameters())).register_hook(run_out)
        return method.losses(self, batch)

    return simple(method, losses=losses, **attributes)


@pytest.fixture(scope="module")
def data(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> AuxiliaryFeatures:
    """Features of five images for every learner."""
    root = tmp_path_factory.mktemp("loop")
    specs = [method(tiny, method.Options()).vision() for method in LEARNERS]
    layers = tuple(dict.fromkeys(layer for spec in specs for layer in spec.layers))
    spec = replace(specs[0], layers=layers, cls=tuple({block for each in specs for block in each.cls}))
    for kind, size in (("normal", 3), ("abnormal", 2)):
        (root / kind).mkdir()
        for index in range(size):
            pixels = np.random.default_rng(index).integers(0, 256, size=(60, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{index}.png")
    (root / "masks/abnormal").mkdir(parents=True)
    for index in range(2):
        Image.fromarray(np.eye(60, 70, index, dtype=np.uint8) * 255).save(root / f"masks/abnormal/{index}.png")
    return auxiliary_features(
        read_folder(PlainFolder(directory=root, class_name="metal nut")),
        tiny,
        spec,
        Protocol(),
        Cache(root / "cache", GB),
        workers=0,
        skip_broken=False,
    )


@pytest.mark.parametrize("method", LEARNERS)
def test_a_batch_that_is_divided_gives_the_gradient_of_the_whole(
    method: type[Learner], data: AuxiliaryFeatures, tiny: Backbone
) -> None:
    """Parts of two, two and one image: they count by their numbers of images."""
    SAID.clear()
    expected, whole = one_step(simple(method), data, tiny)
    assert SAID == []
    found, curve = one_step(greedy(method), data, tiny)
    assert SAID == [
        "out of memory with 5 images at a time; going on with 2 (the gradients are added up, so it learns the same)"
    ]
    largest = max(float(each.abs().max()) for each in expected)
    assert largest > 1e-4
    torch.testing.assert_close(found, expected, atol=1e-5 * largest, rtol=0)
    assert [pytest.approx(epoch, abs=1e-6) for epoch in whole] == curve


def test_a_batch_that_counts_as_a_whole_is_never_divided(data: AuxiliaryFeatures, tiny: Backbone) -> None:
    with pytest.raises(RuntimeError, match="CUBLAS_STATUS_ALLOC_FAILED"):
        one_step(greedy(LEARNERS[0], divisible=False), data, tiny)


@pytest.mark.parametrize("then", ["goes on", "fails"])
def test_a_loss_that_is_not_finite_is_told_with_its_epoch_and_images_and_not_kept(
    data: AuxiliaryFeatures, tiny: Backbone, tmp_path: Path, then: str
) -> None:
    """In the second of three batches of the second epoch; a method may fail at the parameters that follow."""
    steps: list[int] = []

    def losses(self: Any, batch: TrainingBatch) -> dict[str, Tensor]:
        steps.append(len(batch.labels))
        if len(steps) > 5 and then == "fails":
            raise ValueError("no number")
        terms = LEARNERS[0].losses(self, batch)
        return {name: term * (float("nan") if len(steps) == 5 else 1) for name, term in terms.items()}

    kind = simple(LEARNERS[0], losses=losses)
    made = kind(tiny, replace(kind.Options(), epochs=3, batch_size=2), seed=0)
    partial = tmp_path / "state"
    with pytest.raises(TrainingError, match=r"the loss is nan \(.* nan\) in epoch 2 of 3 on the images") as error:
        train(made, work_of(made, data), partial=partial)
    order = list(batches(len(data), 2, seed=0, epoch=1))
    named = [place for place, sample in enumerate(data.samples) if str(sample.path) in str(error.value)]
    assert named == sorted(order[1])
    *_, curve = read_state(partial, made.stages([]), code=code_of(made))
    assert len(curve) == 1


def test_a_thread_reads_one_batch_ahead_and_changes_nothing(data: AuxiliaryFeatures) -> None:
    events: list[str] = []

    class Watched:
        threads = 1

        def read(self, indices: Sequence[int]) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            events.append(f"read {indices[0]}")
            return data.read(indices)

    order = [[0, 1], [2, 4], [3]]
    for indices, batch in read_ahead(cast(Any, Watched()), order, device="cpu"):
        events.append(f"use {indices[0]}")
        expected = data.batch(indices)
        assert torch.equal(batch.features.image, expected.features.image)
        assert torch.equal(batch.masks, expected.masks)
        assert batch.class_names == expected.class_names
    assert sorted(events) == ["read 0", "read 2", "read 3", "use 0", "use 2", "use 3"]
    assert [each for each in events if each.startswith("use")] == ["use 0", "use 2", "use 3"]


def test_what_cannot_be_read_fails_where_it_is_needed(data: AuxiliaryFeatures) -> None:
    seen = []
    with pytest.raises(IndexError):
        for indices, _ in read_ahead(data, [[0], [99]], device="cpu"):
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


@pytest.mark.parametrize("method", LEARNERS)
def test_training_has_no_operation_whose_gradient_is_random_on_cuda(
    method: type[Learner], data: AuxiliaryFeatures, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named in the documentation of `torch.use_deterministic_algorithms`, or in its fused attention kernels."""
    monkeypatch.setattr(loop, "exact_attention", lambda device, exact=loop.exact_attention: exact("cuda"))
    with Operations() as operations:
        one_step(method, data, tiny)
    assert any("softmax" in name for name in operations.names)
    random = r"(upsample|grid_sampler|adaptive_avg_pool)\w*_backward|(flash|efficient)_attention|scatter_add"
    assert [name for name in operations.names if re.search(random, name)] == []
