"""The checks find methods that break the contract in how they learn: stages, losses, memories, augmentations."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.sound_methods import SoundLearner, SoundMemory, SoundTower, failures, under_test
from torch import Tensor, nn

from benchmark.authoring import checks_of_augmentation, checks_of_declaration, checks_of_training
from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.authoring.stability import sensitivity
from benchmark.clip.backbone import Backbone
from benchmark.contract import FrozenClip, Learner, Method, Others, Picture, Stage, TrainingBatch, VisionSpec
from benchmark.errors import ContractError


def said(check: Callable[[MethodUnderTest], str], method: type[Method], backbone: Backbone) -> str:
    """Return what a check says of a method that breaks the contract."""
    with pytest.raises(ContractError) as caught:
        check(under_test(method, backbone))
    return str(caught.value)


class TwoStages(SoundLearner):
    """It learns one context after the other, at a rate that falls with every step."""

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        return [self.stage("first", self.learned.normal), self.stage("second", self.learned.abnormal)]

    def stage(self, called: str, *parameters: nn.Parameter, **changes: Any) -> Stage:
        optimiser = torch.optim.SGD(parameters, lr=0.1)
        rate = changes.pop("learning_rate", lambda step, steps: 0.1 / (step + 1))
        given = Stage(self.losses, optimiser, 2, 4, self.vision(), name=called, learning_rate=rate)
        return replace(given, **changes)


def with_stage(**changes: Any) -> type[Learner]:
    """Return a method whose second stage is changed."""

    class Changed(TwoStages):
        def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
            return [self.stage("first", self.learned.normal), self.stage("second", self.learned.abnormal, **changes)]

    return Changed


# --- stages


def test_stages_pass_and_are_described(tiny: Backbone) -> None:
    assert failures(TwoStages, tiny) == {}
    rounded = under_test(with_stage(precision="bfloat16", at_once=2), tiny)
    assert checks_of_training.stages(rounded) == (
        "first: 112 px; patches of block 4 (vv); then second: 112 px; patches of block 4 (vv); bfloat16"
    )
    assert checks_of_training.losses(rounded).startswith("first: focal ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "first"}, "two stages have the same name: first, first"),
        ({"epochs": -1}, "epochs = -1 of the stage second is not an integer of at least 0"),
        ({"batch_size": 0}, "batch_size = 0 of the stage second is not an integer of at least 1"),
        ({"at_once": 1.5}, "at_once = 1.5 of the stage second is not an integer of at least 1"),
        ({"at_once": 2, "optimiser": None}, "the stage second divides batches by at_once, but it has no optimiser"),
        ({"precision": "float16"}, "precision = 'float16' of the stage second is neither float32 nor bfloat16"),
        ({"vision": VisionSpec(112, (), (9,))}, "the stage second asks for block 9; the backbone has 1 to 4"),
        ({"vision": VisionSpec(112, windows=(2,))}, "the stage second asks for windows, which cannot be trained on"),
        ({"learning_rate": lambda step, steps: -0.1}, "learning_rate of the stage second is -0.1 at step 0"),
        (
            {"learning_rate": lambda step, steps: 0.1 if step < steps else float("nan")},
            "learning_rate of the stage second is nan at step 3",
        ),
    ],
)
def test_a_stage_that_breaks_the_contract_is_said(changes: dict[str, Any], message: str, tiny: Backbone) -> None:
    assert message in said(checks_of_training.stages, with_stage(**changes), tiny)


class NoStages(TwoStages):
    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        return []


class NotDivisible(TwoStages):
    divisible = False

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        return [self.stage("all", self.learned.normal, self.learned.abnormal, at_once=2)]


class OtherStages(TwoStages):
    made = 0

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        OtherStages.made += 1
        return [self.stage("all", self.learned.normal, self.learned.abnormal, epochs=OtherStages.made)]


class OtherRates(TwoStages):
    made = 0

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        OtherRates.made += 1
        rate = 1 / OtherRates.made
        return [self.stage("all", self.learned.normal, self.learned.abnormal, learning_rate=lambda step, steps: rate)]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (NoStages, "stages returns [], not one or more of Stage"),
        (NotDivisible, "the method does not say divisible = True"),
        (OtherStages, "stages returns other stages the second time"),
        (OtherRates, "stages returns other stages the second time"),
    ],
)
def test_stages_that_break_the_contract_are_said(method: type[Method], message: str, tiny: Backbone) -> None:
    assert message in said(checks_of_training.stages, method, tiny)


def test_stages_for_known_datasets_alone_are_said(tiny: Backbone) -> None:
    class KnownDatasets(TwoStages):
        def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
            epochs = {("mvtec",): 3, ("visa",): 15}[tuple(auxiliaries)]
            return [self.stage("all", self.learned.normal, self.learned.abnormal, epochs=epochs)]

    found = failures(KnownDatasets, tiny)
    assert list(found) == ["training"]
    assert "KeyError: ('a dataset that no card describes',)" in found["training"]


def test_a_learner_that_says_neither_stages_nor_a_loss_is_said() -> None:
    class Lacks(Learner):
        name, title, paper = "lacks", "Lacks", "none"
        vision, predict = SoundMemory.vision, SoundMemory.predict  # type: ignore[assignment]

    found = checks_of_declaration.metadata
    with pytest.raises(ContractError, match="it learns, but does not define optimiser and losses, and no stages"):
        found(Lacks)


# --- losses


class LeavesOneOut(TwoStages):
    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        return [self.stage("first", self.learned.normal), self.stage("second", self.learned.normal)]


class TrainsAnother(TwoStages):
    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        other = nn.Parameter(torch.zeros(3))
        return [self.stage("all", self.learned.normal, self.learned.abnormal, other)]


class ForgetsAGradient(TwoStages):
    """The loss of the second stage does not depend on what it trains."""

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        def losses(batch: TrainingBatch) -> dict[str, Tensor]:
            return {"length": self.learned.normal.norm()}

        second = self.stage("second", self.learned.abnormal, losses=losses)
        return [self.stage("first", self.learned.normal), second]


class DropsOut(SoundLearner):
    divisible = False

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        dropped = nn.functional.dropout(self.learned.normal, 0.5)
        return super().losses(batch) | {"size": dropped.square().mean()}


class DropsOutBySeed(DropsOut):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        kept = torch.rand(self.learned.normal.shape, generator=torch.Generator().manual_seed(batch.seed)) < 0.5
        return super(DropsOut, self).losses(batch) | {"size": (self.learned.normal * kept).square().mean()}


class DetachesTheTower(SoundTower):
    def after(self, block: int, tokens: Tensor) -> Tensor:
        return super().after(block, tokens).detach()


class SumsInTheTower(SoundTower):
    divisible = True

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return {name: len(batch.labels) * term for name, term in super().losses(batch).items()}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (LeavesOneOut, "the optimisers of all stages together do not hold exactly the parameters of learned"),
        (TrainsAnother, "the optimiser does not hold exactly the parameters of learned"),
        (ForgetsAGradient, "abnormal of learned gets no gradient"),
        (DropsOut, "draw from torch.Generator().manual_seed(batch.seed)"),
        (DetachesTheTower, "tokens of learned gets no gradient"),
        (SumsInTheTower, "is not a mean over the images"),
    ],
)
def test_losses_that_break_the_contract_are_said(method: type[Method], message: str, tiny: Backbone) -> None:
    assert message in said(checks_of_training.losses, method, tiny)


def test_losses_that_draw_by_the_seed_of_the_batch_pass(tiny: Backbone) -> None:
    assert "size" in checks_of_training.losses(under_test(DropsOutBySeed, tiny))


def test_losses_on_images_in_bfloat16_pass(tiny: Backbone) -> None:
    class Rounded(SoundTower):
        def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
            return [replace(stage, precision="bfloat16") for stage in super().stages(auxiliaries)]

    assert "3 parameters train" in checks_of_training.losses(under_test(Rounded, tiny))


# --- learning without an optimiser


class LastOnly(SoundMemory):
    """It keeps the embeddings of the last batch."""

    def keep(self, batch: TrainingBatch) -> dict[str, Tensor]:
        self.learned.rows = batch.features.image
        return {}


def test_a_memory_passes_and_whether_the_order_of_images_matters_is_said(tiny: Backbone) -> None:
    assert failures(SoundMemory, tiny) == {}
    seen = checks_of_training.losses(under_test(SoundMemory, tiny))
    assert seen == "no parameter trains; learned without an optimiser, whatever the order of the images"
    seen = checks_of_training.losses(under_test(LastOnly, tiny))
    assert "; another order of the images changes predictions by " in seen


def test_a_memory_that_is_not_saved_is_said(tiny: Backbone) -> None:
    class KeptBeside(SoundMemory):
        def keep(self, batch: TrainingBatch) -> dict[str, Tensor]:
            self.bias = float(batch.features.image.mean())
            return super().keep(batch)

        def predict(self, features: Any, class_names: Any) -> Any:
            found = super().predict(features, class_names)
            return replace(found, scores=found.scores + getattr(self, "bias", 0.0))

    assert "before saving, and after loading: they differ by" in said(checks_of_training.state_dict, KeptBeside, tiny)


class Recalls(TwoStages):
    """The second stage reads what the first one kept beside what is saved."""

    kept: Tensor | None = None

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        self.kept = self.learned.normal.detach().clone() if self.kept is None else self.kept
        return {name: term * (1 + self.kept.norm()) for name, term in super().losses(batch).items()}


class RecallsInAMemory(SoundMemory):
    """Of two stages without an optimiser, the second one keeps what the first one has counted."""

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        self.images = 0
        given = Stage(self.count, None, epochs=1, batch_size=4, vision=self.vision(), name="count")
        return [given, replace(given, losses=self.keep, name="keep")]

    def count(self, batch: TrainingBatch) -> dict[str, Tensor]:
        self.images += len(batch.labels)
        return {}

    def keep(self, batch: TrainingBatch) -> dict[str, Tensor]:
        image = batch.features.image * (1 + self.images)
        return super().keep(replace(batch, features=replace(batch.features, image=image)))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Recalls, "of the stage second is another if training is"),
        (RecallsInAMemory, "rows of learned of the stage keep"),
    ],
)
def test_what_a_stage_keeps_for_the_next_and_is_not_saved_is_said(
    method: type[Method], message: str, tiny: Backbone
) -> None:
    found = failures(method, tiny)
    assert list(found) == ["resuming"]
    assert message in found["resuming"]


# --- augmentation


class NoRowsYet(SoundMemory):
    def __init__(self, backbone: FrozenClip, options: object, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned.rows = None

    def keep(self, batch: TrainingBatch) -> dict[str, Tensor]:
        before = [] if self.learned.rows is None else [self.learned.rows]
        self.learned.rows = torch.cat([*before, batch.features.image])
        return {}


def test_what_a_new_instance_does_not_hold_is_said(tiny: Backbone) -> None:
    assert "rows of learned is not in a new instance" in said(checks_of_training.state_dict, NoRowsYet, tiny)


def test_an_optimiser_that_needs_a_closure_is_said(tiny: Backbone) -> None:
    class Lbfgs(SoundLearner):
        def optimiser(self) -> torch.optim.Optimizer:
            return torch.optim.LBFGS(self.learned.parameters())

    assert "the step of LBFGS needs a closure" in said(checks_of_training.losses, Lbfgs, tiny)


class Flips(SoundTower):
    """Half of the images are flipped."""

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        (stage,) = super().stages(auxiliaries)
        return [replace(stage, augment=self.augment)]

    def augment(self, picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
        return self.flipped(picture) if generator.random() < 0.5 else picture

    def flipped(self, picture: Picture) -> Picture:
        return replace(picture, image=picture.image[:, ::-1], mask=picture.mask[:, ::-1])


def augmenting(augment: Callable[[Picture, Others, np.random.Generator], Any]) -> type[Learner]:
    """Return a method with this augmentation."""

    class Augments(Flips):
        def augment(self, picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
            made: Picture = augment(picture, others, generator)
            return made

    return Augments


def mosaic(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
    kind = list(others.kinds)[generator.integers(len(others.kinds))]
    other = others.read(int(generator.choice(others.kinds[kind])))
    height = min(len(picture.image), len(other.image))
    image = np.concatenate([picture.image[:height], other.image[:height]], axis=1)
    mask = np.concatenate([picture.mask[:height], other.mask[:height]], axis=1)
    return replace(picture, image=image, mask=mask, label=int(mask.any()))


def in_place(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
    picture.image[:] = 255 - picture.image
    return picture


def needs_another(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
    places = [place for kind in others.kinds.values() for place in kind]
    return others.read(places[1])


def noise(picture: Picture, drawn: float) -> Picture:
    return replace(picture, image=(picture.image * drawn).astype(np.uint8))


CALLS: list[int] = []


def counting(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
    CALLS.append(0)
    return noise(picture, 1 / len(CALLS))


def test_augmentations_pass_and_how_much_they_change_is_shown(tiny: Backbone) -> None:
    assert failures(Flips, tiny) == {}
    for method in (Flips, augmenting(mosaic)):
        seen = checks_of_augmentation.augmentation(under_test(method, tiny))
        assert seen.endswith(" of 48 pictures, the same with the same seed, in several threads")
        assert seen.split()[1] != "0"


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda p, o, g: p.image, "augment returns a ndarray, not a Picture"),
        (lambda p, o, g: replace(p, image=p.image / 255), "an image of float64, not an array of uint8"),
        (lambda p, o, g: replace(p, mask=p.mask * 1.0), "a mask of float64, not an array of bool"),
        (lambda p, o, g: replace(p, image=p.image[..., 0]), "an image of shape (24, 36), not (H, W, 3)"),
        (lambda p, o, g: replace(p, image=p.image[:9]), "a mask of shape (24, 36) for an image of shape (9, 36, 3)"),
        (lambda p, o, g: replace(p, label=2), "augment returns the label 2, not 0 or 1"),
        (lambda p, o, g: replace(p, class_name="nut"), "augment returns the class name as str, not ClassName"),
        (lambda p, o, g: noise(p, random.random()), "draws from the global generator of random"),
        (lambda p, o, g: noise(p, np.random.random()), "draws from the global generator of numpy"),  # noqa: NPY002
        (lambda p, o, g: noise(p, float(torch.rand(1))), "draws from the global generator of torch"),
        (lambda p, o, g: noise(p, np.random.default_rng().random()), "two pictures of one picture with the same seed"),
        (counting, "two pictures of one picture with the same seed, in several threads"),
        (in_place, "augment changes the picture that it is given"),
    ],
)
def test_an_augmentation_that_breaks_the_contract_is_said(augment: Any, message: str, tiny: Backbone) -> None:
    with torch.random.fork_rng(devices=[]):
        assert message in said(checks_of_augmentation.augmentation, augmenting(augment), tiny)


def test_an_augmentation_that_needs_a_second_image_of_the_class_is_said(tiny: Backbone) -> None:
    found = failures(augmenting(needs_another), tiny)
    assert list(found) == ["augmentation"]
    assert "IndexError: list index out of range (test_checks_of_training.py, line" in found["augmentation"]


def test_an_augmentation_that_exits_is_said(tiny: Backbone) -> None:
    def leave(picture: Picture, others: Others, generator: np.random.Generator) -> Picture:
        raise SystemExit(0)

    assert failures(augmenting(leave), tiny)["augmentation"].startswith("SystemExit: 0 (test_checks_of_training.py")


# --- stability


@pytest.mark.parametrize("method", [TwoStages, Flips, SoundMemory])
def test_sensitivity_follows_stages_images_and_memories(method: type[Learner], tiny: Backbone) -> None:
    assert 0 < sensitivity(under_test(method, tiny)) < 1e-4
