"""Trainings of several stages: what each sees, what is drawn, and that an interruption changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.stages import SIZE, Staged, StagedOptions, draw_pictures
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.common.cache import GB, Cache
from benchmark.contract import Learner, Stage, TrainingBatch, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import SampleSet
from benchmark.errors import ContractError
from benchmark.protocol import Protocol
from benchmark.training.batches import JoinedFeatures
from benchmark.training.features import auxiliary_features
from benchmark.training.images import auxiliary_images
from benchmark.training.loop import batches, train
from benchmark.training.resuming import Curve, code_of, place_of, read_state
from benchmark.training.stages import reads_images, reads_once, stages_of

EPOCHS = ["epoch 1 of 1 of memory", *(f"epoch {n} of 2 of {name}" for name in ("mixed", "last") for n in (1, 2))]


class Killed(BaseException):
    """Ends a training as Ctrl-C or a kill does."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """Eight images of two kinds of defects."""
    return read_folder(PlainFolder(directory=draw_pictures(tmp_path_factory.mktemp("nuts"), seed=0)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"), GB)


@pytest.fixture
def prepared(data: SampleSet, cache: Cache, tiny: Backbone) -> Callable[[Learner], list[tuple[Stage, JoinedFeatures]]]:
    """Makes of a method its stages with the images."""

    def prepare(method: Learner) -> list[tuple[Stage, JoinedFeatures]]:
        work = []
        for stage in stages_of(method, []):
            given = (data, tiny, stage.vision, Protocol())
            if reads_images(stage):
                part: Any = auxiliary_images(*given, augment=stage.augment, workers=2, skip_broken=False)
            else:
                part = auxiliary_features(*given, cache, workers=0, skip_broken=False)
            work.append((stage, JoinedFeatures((part,))))
        return work

    return prepare


def learned(method: Learner) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in method.learned.state_dict().items()}


Prepared = Callable[[Learner], list[tuple[Stage, JoinedFeatures]]]


@pytest.fixture
def whole(prepared: Prepared, tiny: Backbone) -> tuple[dict[str, Tensor], Curve]:
    """What a training learns that nothing interrupts."""
    method = Staged(tiny, StagedOptions(), seed=3)
    curve = train(method, prepared(method))
    return learned(method), curve


@pytest.mark.parametrize("last", EPOCHS)
def test_a_training_that_ends_after_an_epoch_goes_on_to_the_end_and_learns_the_same(
    prepared: Prepared, whole: tuple[dict[str, Tensor], Curve], tiny: Backbone, tmp_path: Path, last: str
) -> None:
    def dying(name: str, method: Learner) -> None:
        if name == last:
            raise Killed

    first, again = (Staged(tiny, StagedOptions(), seed=3) for _ in range(2))
    with pytest.raises(Killed):
        train(first, prepared(first), partial=tmp_path / "state", after_epoch=dying)
    told: list[int] = []
    assert train(again, prepared(again), partial=tmp_path / "state", progress=told.append) == whole[1]
    torch.testing.assert_close(learned(again), whole[0], atol=0, rtol=0)
    assert sum(told) == 8 * len(EPOCHS)


def test_a_training_that_ends_after_every_epoch_keeps_the_state_of_the_stage_that_it_is_in(
    prepared: Prepared, whole: tuple[dict[str, Tensor], Curve], tiny: Backbone, tmp_path: Path
) -> None:
    partial, seen = tmp_path / "state", []

    def dying(name: str, method: Learner) -> None:
        seen.append(name)
        raise Killed

    for done in range(len(EPOCHS)):
        said: list[str] = []
        method = Staged(tiny, StagedOptions(), seed=3)
        with pytest.raises(Killed):
            train(method, prepared(method), partial=partial, say=said.append, after_epoch=dying, title="it")
        assert said == [f"resumes it at {EPOCHS[done]}"] * bool(done)
        number, epoch = place_of(stages := method.stages([]), done + 1)
        state, optimiser, rates, curve = read_state(partial, stages, code=code_of(method))
        assert len(curve) == done + 1
        assert len(state["memory"]) == 8
        assert bool(optimiser) == bool(rates) == (epoch > 0)  # of the current stage only
        if epoch:
            assert {tuple(value.shape) for value in optimiser[0].values() if value.dim()} == {
                tuple(method.learned.get_parameter("weight" if number == 1 else "hidden").shape)
            }
    assert seen == EPOCHS
    method = Staged(tiny, StagedOptions(), seed=3)
    curve = train(method, prepared(method), partial=partial)
    assert curve == whole[1]
    torch.testing.assert_close(learned(method), whole[0], atol=0, rtol=0)
    assert not partial.exists()


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_state_of_more_epochs_or_of_other_stages_is_not_used(
    prepared: Prepared, tiny: Backbone, tmp_path: Path, epochs: int
) -> None:
    def dying(name: str, method: Learner) -> None:
        if name == EPOCHS[-1]:
            raise Killed

    first, again, fresh = (Staged(tiny, StagedOptions(last_epochs=n), seed=3) for n in (2, epochs, epochs))
    with pytest.raises(Killed):
        train(first, prepared(first), partial=tmp_path / "state", after_epoch=dying)
    expected = train(fresh, prepared(fresh))
    assert train(again, prepared(again), partial=tmp_path / "state") == expected
    torch.testing.assert_close(learned(again), learned(fresh), atol=0, rtol=0)


def test_each_stage_changes_what_it_optimises_and_names_its_terms(
    prepared: Prepared, whole: tuple[dict[str, Tensor], Curve], tiny: Backbone, data: SampleSet, cache: Cache
) -> None:
    terms = {f"mixed: {term}" for term in ("total", "area", "memory")}, {f"last: {term}" for term in ("total", "label")}
    assert [set(epoch) for epoch in whole[1]] == [set(), terms[0], terms[0], terms[1], terms[1]]
    features = auxiliary_features(data, tiny, VisionSpec(SIZE), Protocol(), cache, workers=0, skip_broken=False)
    in_order = features.batch(range(8)).features.image
    assert torch.equal(whole[0]["memory"], in_order)
    before, half = learned(Staged(tiny, StagedOptions(), seed=3)), Staged(tiny, StagedOptions(last_epochs=0), seed=3)
    train(half, prepared(half))
    assert torch.equal(half.learned.get_parameter("hidden"), before["hidden"])
    assert torch.equal(half.learned.get_parameter("weight"), whole[0]["weight"])
    assert not torch.equal(before["weight"], whole[0]["weight"])
    assert not torch.equal(before["hidden"], whole[0]["hidden"])


def one_stage(losses: Any, **fields: Any) -> type[Learner]:
    """A method of one stage on stored features, with SGD of rate 1."""

    def stages(self: Staged, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        given = {"epochs": 1, "batch_size": 8, "vision": VisionSpec(SIZE), **fields}
        if "optimiser" not in given:
            given["optimiser"] = torch.optim.SGD([self.learned.weight], lr=1.0)
        return [Stage(lambda batch: losses(self, batch), **given)]

    return type("One", (Staged,), {"stages": stages})


def loss(self: Staged, batch: TrainingBatch) -> Mapping[str, Tensor]:
    return {"label": (batch.features.image @ self.learned.weight - batch.labels).square().mean()}


def test_the_rate_is_asked_for_at_every_step_and_set(prepared: Prepared, tiny: Backbone) -> None:
    asked: list[tuple[int, int]] = []
    used: list[float] = []

    def rate(step: int, steps: int) -> float | None:
        asked.append((step, steps))
        return None if step == 4 else 0.1 * step

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            used.append(self.param_groups[0]["lr"])

    stage = {"epochs": 2, "batch_size": 3, "learning_rate": rate}
    method = one_stage(loss, **stage, optimiser=Watched([torch.zeros(1, requires_grad=True)], lr=1.0))(tiny, None)
    train(method, prepared(method))
    assert asked == [(step, 3) for step in range(6)]
    assert used == pytest.approx([0, 0.1, 0.2, 0.3, 0.3, 0.5])


@pytest.mark.parametrize("at_once", [1, 3, 8, 9])
def test_gradients_of_parts_of_a_batch_add_up_to_that_of_the_batch(
    prepared: Prepared, tiny: Backbone, at_once: int
) -> None:
    sizes: list[int] = []

    def losses(self: Staged, batch: TrainingBatch) -> Mapping[str, Tensor]:
        sizes.append(len(batch.labels))
        return loss(self, batch)

    found = []
    for images in (None, at_once):
        method = one_stage(losses, at_once=images)(tiny, None)
        curve = train(method, prepared(method))
        found.append((learned(method)["weight"], curve[0]["total"]))
    assert sizes == [8, *[at_once] * (8 // at_once), *[8 % at_once] * (8 % at_once > 0)]
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-6, rtol=1e-5)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_mixed_precision_multiplies_in_bfloat16_and_learns_in_float32(prepared: Prepared, tiny: Backbone) -> None:
    products: list[torch.dtype] = []

    def losses(self: Staged, batch: TrainingBatch) -> Mapping[str, Tensor]:
        scores = batch.features.image @ self.learned.weight[:, None]
        products.append(scores.dtype)
        return {"label": (scores[:, 0].float() - batch.labels).square().mean()}

    found = []
    for precision in ("float32", "bfloat16"):
        method = one_stage(losses, precision=precision)(tiny, None)
        train(method, prepared(method))
        weight = method.learned.get_parameter("weight")
        assert weight.grad is not None
        assert (weight.dtype, weight.grad.dtype) == (torch.float32, torch.float32)
        found.append(weight.detach())
    assert products == [torch.float32, torch.bfloat16]
    assert not torch.equal(*found)
    torch.testing.assert_close(*found, atol=0.05, rtol=0.05)


def test_a_stage_without_an_optimiser_sees_each_image_once_in_order_and_no_gradient(
    prepared: Prepared, tiny: Backbone, data: SampleSet
) -> None:
    seen: list[int] = []

    def losses(self: Staged, batch: TrainingBatch) -> Mapping[str, Tensor]:
        assert not torch.is_grad_enabled()
        seen.extend(batch.labels.tolist())
        return {"distance": self.learned.weight.square().sum() * len(batch.labels)}

    method = one_stage(losses, optimiser=None, batch_size=3)(tiny, None)
    before = learned(method)
    curve = train(method, prepared(method))
    assert seen == [sample.label for sample in data.test]
    torch.testing.assert_close(learned(method), before, atol=0, rtol=0)
    assert list(curve[0]) == ["total", "distance"]


def test_a_method_without_parameters_can_be_fitted(prepared: Prepared, tiny: Backbone) -> None:
    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.images: Tensor
            self.register_buffer("images", torch.zeros(()))

    def losses(self: Any, batch: TrainingBatch) -> Mapping[str, Tensor]:
        self.learned.images += len(batch.labels)
        return {}

    method = one_stage(losses, optimiser=None, batch_size=3)(tiny, None)
    method.learned = Counts()
    assert train(method, prepared(method)) == [{}]
    assert method.learned.images == 8


def test_seeds_of_steps_differ_and_come_again(prepared: Prepared, tiny: Backbone) -> None:
    seeds: list[int] = []
    for seed in (0, 0, 1):
        method = Staged(tiny, StagedOptions(), seed=seed)
        work = [
            (replace(stage, losses=lambda batch, given=stage.losses: (seeds.append(batch.seed), given(batch))[1]), data)
            for stage, data in prepared(method)
        ]
        train(method, work)
    steps = 3 + 2 * 3 + 2 * 2
    assert seeds[:steps] == seeds[steps : 2 * steps]
    assert len(set(seeds)) == 2 * steps


def test_the_order_of_the_first_stage_is_what_it_was_and_others_have_their_own() -> None:
    """Of torch's generator, whose numbers are the same on every machine."""
    orders = [
        [index for batch in batches(50, 8, seed=seed, epoch=epoch, stage=stage) for index in batch]
        for seed in (0, 1)
        for stage in (0, 1, 2)
        for epoch in (0, 1)
    ]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)
    generator = torch.Generator().manual_seed(1_000_003 + 1)
    assert orders[7] == torch.randperm(50, generator=generator).tolist()


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (None, "stages returns a NoneType, not a Stage"),
        ({"epochs": -1}, "the stage 'training' has epochs=-1, not a whole number of at least 0"),
        ({"epochs": None}, "epochs=None"),
        ({"batch_size": 0}, "batch_size=0, not a whole number of at least 1"),
        ({"vision": None}, "a NoneType as vision, not a VisionSpec"),
        ({"vision": VisionSpec(SIZE, encoded=False)}, "a vision that asks for nothing"),
        ({"vision": VisionSpec(SIZE, windows=(2,))}, "a vision that asks for windows, which cannot be trained on"),
        ({"vision": VisionSpec(SIZE, windows=(2,), images=True)}, "a vision that asks for windows"),
        ({"precision": "float16"}, "precision='float16', neither float32 nor bfloat16"),
        ({"at_once": 0}, "at_once=0, not a whole number of at least 1"),
        ({"at_once": 2, "optimiser": None}, "at_once without an optimiser; say batch_size"),
    ],
)
def test_stages_that_break_the_contract_are_told(tiny: Backbone, stage: Any, said: str) -> None:
    if stage is None:
        method: Learner = type("None_", (Staged,), {"stages": lambda self, auxiliaries: [None]})(tiny, StagedOptions())
    else:
        method = one_stage(loss, **stage)(tiny, None)
    with pytest.raises(ContractError, match=f"Staged: .*{said}"):
        stages_of(method, [])


def _stage(epochs: int, *, fits: bool = True, **changes: Any) -> Stage:
    optimiser = None if fits else torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    return Stage(lambda batch: {}, optimiser, epochs, 1, **{"vision": VisionSpec(SIZE), **changes})


@pytest.mark.parametrize(
    ("stages", "once"),
    [
        ([_stage(1)], [True]),
        ([_stage(2)], [False]),
        ([_stage(1, fits=False)], [False]),  # in an order that is drawn
        ([_stage(1), _stage(1)], [False, False]),
        ([_stage(1), _stage(5, fits=False)], [False, False]),
        ([_stage(1), _stage(0, fits=False)], [True, True]),  # which reads nothing
        ([_stage(1), _stage(1, vision=VisionSpec(2 * SIZE))], [True, True]),
        ([_stage(1), _stage(5, vision=VisionSpec(SIZE, images=True))], [True, False]),
        ([_stage(1), _stage(5, augment=lambda picture, others, drawn: picture)], [True, False]),
    ],
)
def test_features_are_read_once_where_all_stages_of_a_size_fit_in_one_epoch(
    stages: list[Stage], once: list[bool]
) -> None:
    assert [reads_once(stage, stages) for stage in stages] == once


def test_parts_of_a_batch_no_stage_and_stages_of_one_name_are_refused(tiny: Backbone) -> None:
    method = one_stage(loss, at_once=2)(tiny, None)
    method.divisible = False  # type: ignore[misc]
    with pytest.raises(ContractError, match="at_once, but the method does not say `divisible = True`"):
        stages_of(method, [])
    none = type("None_", (Staged,), {"stages": lambda self, auxiliaries: []})
    with pytest.raises(ContractError, match="Staged: stages returns no stage"):
        stages_of(none(tiny, StagedOptions()), [])
    twice = type("Twice", (Staged,), {"stages": lambda self, auxiliaries: Staged.stages(self, [])[:1] * 2})
    with pytest.raises(ContractError, match="two stages have the same name"):
        stages_of(twice(tiny, StagedOptions()), [])
