"""Each check of the contract catches a method that breaks it, names what it saw, and lets a sound method pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from support.sound_methods import Sound, SoundLearner, failures
from torch import Tensor, nn

from benchmark.api.datasets import select_datasets
from benchmark.authoring.check_images import dataset_images, random_images
from benchmark.authoring.conformance import check_method
from benchmark.authoring.fake_gpu import fake_gpu
from benchmark.authoring.findings import render
from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.authoring.starters import frozen
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.spec import map_features
from benchmark.clip.weights import parse_backbone
from benchmark.contract import (
    Ablation,
    BackboneVariant,
    ClassName,
    Features,
    Layer,
    Method,
    NoOptions,
    Prediction,
    TrainingBatch,
    VisionSpec,
)
from benchmark.data.samples import SampleSet
from benchmark.errors import BenchError
from methods.base import anomaly_probability, to_grid

Bench = Callable[..., tuple[int, str, str]]
BROKEN: list[tuple[str, type[Method]]] = []


def breaks(check: str) -> Callable[[type[Method]], type[Method]]:
    """Declare that a method breaks the contract in one way, which this check and no other sees."""

    def keep(method: type[Method]) -> type[Method]:
        BROKEN.append((check, method))
        return method

    return keep


# --- metadata


@breaks("metadata")
class UntidyName(Sound):
    name = "Untidy Name"


@breaks("metadata")
class NamedProtocol(Sound):
    name = "protocol"


@breaks("metadata")
class NoTitle(Sound):
    title = ""


@breaks("metadata")
class NoVersion(Sound):
    version = 0


@breaks("metadata")
class NoPredict(Method):
    name, title, paper = "no_predict", "NoPredict", "none"

    def vision(self) -> VisionSpec:
        raise NotImplementedError


@breaks("metadata")
class Thawed(Sound):
    @dataclass
    class Options:
        temperature: float = 0.07


@breaks("metadata")
class NoDefault(Sound):
    @dataclass(frozen=True)
    class Options:
        temperature: float


@breaks("metadata")
class NoJson(Sound):
    @dataclass(frozen=True)
    class Options:
        temperature: float = 0.07
        where: Path = field(default=Path("x"))


@breaks("metadata")
class BadType(Sound):
    @dataclass(frozen=True)
    class Options:
        temperature: "NoSuchType" = 0.07  # type: ignore[name-defined]  # noqa: F821


@breaks("metadata")
class NoEpochs(SoundLearner):
    Options = frozen.StarterOptions  # type: ignore[assignment]


@breaks("metadata")
class WrongAblation(Sound):
    ablations = (Ablation("heat", "Heat", {"hot": {"temprature": 1.0}}),)


@breaks("metadata")
class NegativeShots(Sound):
    @classmethod
    def shots(cls, options: Any) -> int:
        return -1


# --- vision


@breaks("vision")
class NoSuchBlock(Sound):
    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, (Layer(24),))


@breaks("vision")
class OddSize(Sound):
    def vision(self) -> VisionSpec:
        return VisionSpec(100, (self.layer,))


@breaks("vision")
class WideWindows(Sound):
    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, (self.layer,), windows=(9,))


@breaks("vision")
class Fickle(Sound):
    calls = 0

    def vision(self) -> VisionSpec:
        Fickle.calls += 1
        return VisionSpec(self.backbone.image_size, (Layer(1 + Fickle.calls % 2),))


@breaks("training")
class LearnsOnWindows(SoundLearner):
    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, (self.layer,), windows=(2,))


@breaks("training")
class LearnsFromABlockThatIsNotThere(SoundLearner):
    def training_vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, (Layer(99),))


@breaks("training")
class LearnsFromNothing(SoundLearner):
    def training_vision(self) -> VisionSpec:
        return None  # type: ignore[return-value]


@breaks("vision")
class FailsToBuild(Sound):
    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        raise OSError("no such folder")


# --- references


class SoundShots(Sound):
    kept: Tensor | None = None

    @classmethod
    def shots(cls, options: Any) -> int:
        return 2

    def see_references(self, references: Features) -> None:
        self.kept = references.patches[self.layer].flatten(0, 1)

    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert self.kept is not None
        far = 1 - (F.normalize(features.image, dim=-1) @ F.normalize(self.kept, dim=-1).T).amax(dim=1)
        return Prediction(found.scores + far, found.maps)


@breaks("references")
class SeesNothing(Sound):
    @classmethod
    def shots(cls, options: Any) -> int:
        return 1


@breaks("references")
class RemembersOtherClasses(SoundShots):
    def see_references(self, references: Features) -> None:
        new = references.patches[self.layer].flatten(0, 1)
        self.kept = new if self.kept is None else torch.cat([self.kept, new])


@breaks("references")
class ChangesReferences(SoundShots):
    def see_references(self, references: Features) -> None:
        references.patches[self.layer].mul_(2)
        super().see_references(references)


# --- shapes


@breaks("shapes")
class ColumnOfScores(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores[:, None], found.maps)


@breaks("shapes")
class FlatMaps(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores, found.maps.flatten(1))


@breaks("shapes")
class WholeNumbers(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction((found.scores * 100).long(), found.maps)


@breaks("shapes")
class InfiniteMaps(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores, found.maps / (found.maps - found.maps))


@breaks("shapes")
class NoPrediction(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Any:
        return found.scores, found.maps


@breaks("shapes")
class LongTexts(Sound):
    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return {"text": 2 * self.text(class_names)}


@breaks("shapes")
class TextsOfOneImage(Sound):
    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)[0]}


# --- determinism


@breaks("determinism")
class Seeded(Sound):
    """Not declared stochastic."""

    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores + self.seed, found.maps)


# --- one image by itself


@breaks("class names")
class FirstName(Sound):
    def text(self, class_names: Sequence[ClassName]) -> Tensor:
        return super().text([class_names[0]] * len(class_names))


@breaks("class names")
class OldFormat(Sound):
    def text(self, class_names: Sequence[ClassName]) -> Tensor:
        for name in class_names:
            f"a photo of a {name}, {{}}.".format("damaged")
        return super().text(class_names)


@breaks("class names")
class KnownNamesOnly(Sound):
    def text(self, class_names: Sequence[ClassName]) -> Tensor:
        return super().text([{"metal nut": "nut", "carpet": "rug"}[name] for name in class_names])


# --- what it is given


@breaks("inputs")
class NormalisesInPlace(Sound):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        patches = features.patches[self.layer]
        patches /= patches.norm(dim=-1, keepdim=True)
        return super().predict(features, class_names)


@breaks("inputs")
class ChangesNames(Sound):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        found = super().predict(features, class_names)
        assert isinstance(class_names, list)
        class_names[:] = ["object"] * len(class_names)
        return found


@breaks("gradients")
class KeepsTheGraph(SoundLearner):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        with torch.enable_grad():
            return super().predict(features, class_names)


# --- losses


@breaks("losses")
class SumOverTheImages(SoundLearner):
    divisible = True

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return {name: term * len(batch.labels) for name, term in super().losses(batch).items()}


@breaks("losses")
class NaNOfNormalImages(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return {"share": super().losses(batch)["focal"] / batch.masks.mean()}


@breaks("losses")
class UnusedParameter(SoundLearner):
    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned.unused = nn.Parameter(torch.zeros(3, device=backbone.device))


@breaks("losses")
class TrainsHalf(SoundLearner):
    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([self.learned.normal])


@breaks("losses")
class StandsStill(SoundLearner):
    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.learned.parameters(), lr=0.0)


@breaks("losses")
class HoldsFrozenParts(SoundLearner):
    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned.table = nn.Parameter(torch.zeros(3, device=backbone.device), requires_grad=False)


@breaks("losses")
class NoReduction(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return {"all": self.text(batch.class_names)}


@breaks("losses")
class NoTerms(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return {}


@breaks("losses")
class InfiniteGradient(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        zero = sum((each * 0).sum() for each in self.learned.parameters())
        return super().losses(batch) | {"root": torch.as_tensor(zero).sqrt()}


@breaks("losses")
class KeepsTexts(SoundLearner):
    """Its second step goes through the graph of the first."""

    kept: Tensor | None = None

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        if self.kept is None:
            self.kept = self.text(["object"])
        return {"all": self.kept.sum()}


@breaks("state dict")
class DrawnOutside(SoundLearner):
    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.bias = torch.rand(1, generator=torch.Generator().manual_seed(seed)).to(backbone.device)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        found = super().predict(features, class_names)
        return Prediction(found.scores + self.bias, found.maps)


@breaks("state dict")
class SharesMemory(SoundLearner):
    """The file format refuses tensors that share memory."""

    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned.register_buffer("same", self.learned.normal.data)


# --- backbone


WEIGHTS = torch.linspace(0.5, 1.0, 64)


@breaks("GPU")
class MakesATensorOnTheCpu(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores + torch.zeros(len(class_names)), found.maps)


@breaks("GPU")
class HoldsAConstantOfItsModule(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores, found.maps * WEIGHTS.reshape(8, 8))


@breaks("GPU")
class ScoresOnTheCpu(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(torch.stack([each.amax() for each in found.maps]).to("cpu"), found.maps)


@breaks("GPU")
class LearnsOnTheCpu(SoundLearner):
    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned = self.learned.cpu()


@breaks("GPU")
class WeighsTheLossOnTheCpu(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        weights = torch.ones(len(batch.class_names), 1, 1)
        return super().losses(replace(batch, masks=batch.masks * weights))


@breaks("GPU")
class KeepsReferencesOnTheCpu(SoundShots):
    def see_references(self, references: Features) -> None:
        super().see_references(map_features(references, Tensor.cpu))


@breaks("backbone")
class TrainsTheBackbone(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        self.backbone.model.text_projection.requires_grad_(True)
        return super().losses(batch)


@breaks("backbone")
class ChangesWeights(Sound):
    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        with torch.no_grad():
            backbone.model.visual.proj.clamp_(-0.01, 0.01)


@breaks("backbone")
class Hooks(Sound):
    hooked: list[object] = []  # noqa: RUF012

    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        if not any(each is backbone for each in self.hooked):
            self.hooked.append(backbone)
            backbone.model.ln_final.register_forward_hook(lambda module, given, made: made * 2)


@pytest.mark.parametrize(("check", "method"), [pytest.param(*each, id=each[1].__name__) for each in BROKEN])
def test_a_broken_method_is_caught_by_its_check_alone(check: str, method: type[Method], tiny: Backbone) -> None:
    backbone = load_backbone(parse_backbone("tiny:random")) if check == "backbone" else tiny
    assert list(failures(method, backbone)) == [check]


# --- breaches that several checks see


class ReadsMoreThanItAsksFor(SoundLearner):
    def training_vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)


def test_losses_that_read_more_than_training_stores_are_caught(tiny: Backbone) -> None:
    found = [
        each
        for each in check_method(ReadsMoreThanItAsksFor, ReadsMoreThanItAsksFor.Options(), tiny, random_images)
        if not each.passed
    ]
    assert [each.check for each in found] == ["GPU", "losses"]
    for each in found:
        assert "Layer(" in each.seen
        assert "is not among the features" in each.seen
        assert "learner.py, line" in each.seen
        assert "training_vision() for what losses read" in each.fix


class Noisy(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores + torch.rand_like(found.scores), found.maps)


class DrawnInTheConstructor(Sound):
    stochastic = True

    def __init__(self, backbone: Backbone, options: Any, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.noise = torch.rand(1).to(backbone.device)

    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores + self.noise, found.maps)


class Squeezes(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores, found.maps.squeeze())


class NormalisesOverTheBatch(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(
            (found.scores - found.scores.min()) / (found.scores.max() - found.scores.min() + 1), found.maps
        )


class CountsImages(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores + torch.arange(len(class_names)).to(found.scores), found.maps)


class Adapts(SoundLearner):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        self.learned.normal.mul_(1.5)
        return super().predict(features, class_names)


@pytest.mark.parametrize(
    ("method", "seen_by"),
    [
        (Noisy, ["determinism", "batches", "order", "class names", "shared pass"]),
        (DrawnInTheConstructor, ["determinism", "batches", "order", "class names", "shared pass"]),
        (Squeezes, ["batches", "class names"]),
        (NormalisesOverTheBatch, ["batches", "class names"]),
        (CountsImages, ["batches", "order", "class names"]),
        (Adapts, ["determinism", "batches", "inputs"]),
    ],
)
def test_a_method_with_memory_or_chance_is_caught(method: type[Method], seen_by: list[str], tiny: Backbone) -> None:
    assert list(failures(method, tiny)) == seen_by


class AllLayers(Sound):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        text = self.text(class_names)
        maps = [anomaly_probability(each, text, temperature=0.07) for each in features.patches.values()]
        grid = to_grid(torch.stack(maps).mean(dim=0))
        return Prediction(grid.flatten(1).amax(dim=1), grid)


def test_all_features_are_those_that_were_asked_for(tiny: Backbone) -> None:
    assert not failures(AllLayers, tiny)


class ReadsValues(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores.new_tensor(found.scores.tolist()), found.maps)


class ReadsArrays(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(torch.from_numpy(found.scores.cpu().numpy() * 1.0).to(found.scores), found.maps)


@pytest.mark.parametrize("method", [ReadsValues, ReadsArrays])
def test_a_method_that_reads_values_is_followed_on_the_gpu_up_to_there(method: type[Method], tiny: Backbone) -> None:
    (gpu,) = (each for each in check_method(method, method.Options(), tiny, random_images) if each.check == "GPU")
    assert gpu.passed
    assert gpu.seen.startswith("not checked to the end")


def test_a_batch_of_the_checks_lies_where_the_backbone_is(tiny: Backbone) -> None:
    given = random_images(28, 0)
    with fake_gpu(tiny, "float32") as there:
        tested = MethodUnderTest(SoundLearner, SoundLearner.Options(), there, lambda size, shots: given)
        batch = tested.training_batch(VisionSpec(image_size=28))
    assert {each.device.type for each in (batch.features.image, batch.labels, batch.masks)} == {"cuda"}


@pytest.mark.parametrize("method", [Sound, SoundLearner, SoundShots])
def test_a_sound_method_passes(method: type[Method], tiny: Backbone) -> None:
    assert failures(method, tiny) == {}


def test_a_failure_shows_what_was_seen_and_where_to_look(tiny: Backbone) -> None:
    class Typo(Sound):
        def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            return Prediction(features.imagge, features.image)  # type: ignore[attr-defined]

    (shapes,) = failures(Typo, tiny).items()
    assert shapes[0] == "shapes"
    assert "AttributeError: 'Features' object has no attribute 'imagge'" in shapes[1]
    assert f"({Path(__file__).name}, line " in shapes[1]
    text = render(check_method(Typo, Typo.Options(), tiny, random_images))
    assert "FAILED  shapes" in text
    assert "fix:         predict returns Prediction(scores (B,)" in text
    assert "scores of 1 images have the shape ()" in render(
        check_method(_squeezing(), frozen.StarterOptions(), tiny, random_images)
    )


def _squeezing() -> type[Method]:
    class Scalar(Sound):
        def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            return Prediction(found.scores.squeeze(), found.maps)

    return Scalar


class ExitsInShots(Sound):
    @classmethod
    def shots(cls, options: Any) -> int:
        raise SystemExit(0)


class ExitsInVision(Sound):
    def vision(self) -> VisionSpec:
        raise SystemExit(0)


class ExitsInLosses(SoundLearner):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        raise SystemExit("no such file")


class RaisesInScoresWholeClass(Sound):
    @classmethod
    def scores_whole_class(cls, options: Any) -> bool:
        raise ValueError


class RaisesInVariant(Sound):
    @classmethod
    def backbone_variant(cls, options: Any) -> BackboneVariant:
        raise ValueError


class RaisesInTrainingVision(SoundLearner):
    def training_vision(self) -> VisionSpec:
        raise ValueError


@pytest.mark.parametrize(
    ("method", "check", "seen"),
    [
        (ExitsInShots, "metadata", "SystemExit: 0 (test_conformance.py"),
        (ExitsInVision, "vision", "SystemExit: 0 (test_conformance.py"),
        (ExitsInLosses, "losses", "SystemExit: no such file (test_conformance.py"),
        (RaisesInScoresWholeClass, "class scores", "ValueError (test_conformance.py"),
        (RaisesInVariant, "vision", "ValueError (test_conformance.py"),
        (RaisesInTrainingVision, "training", "ValueError (test_conformance.py"),
    ],
)
def test_whatever_a_method_raises_is_a_finding(method: type[Method], check: str, seen: str, tiny: Backbone) -> None:
    assert failures(method, tiny)[check].startswith(seen)


def test_checks_leave_the_callers_chance_alone(tiny: Backbone) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    check_method(Sound, frozen.StarterOptions(), tiny, random_images)
    assert torch.equal(torch.rand(1), expected)


def test_a_method_without_options_passes(tiny: Backbone) -> None:
    class Plain(Sound):
        Options = NoOptions  # type: ignore[assignment]

        def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            maps = to_grid(anomaly_probability(features.patches[self.layer], self.text(class_names), temperature=1.0))
            return Prediction(maps.flatten(1).amax(dim=1), maps)

    findings = check_method(Plain, NoOptions(), tiny, random_images)
    assert all(finding.passed for finding in findings)
    assert findings[0].seen.endswith("options: none, no year in paper")


# --- the images of a dataset


@pytest.fixture
def two_classes(small_suite: Path) -> SampleSet:
    ([data], _) = select_datasets(["mvtec"], data=small_suite)
    return data


def test_the_images_of_a_dataset_have_both_classes_labels_and_masks(two_classes: SampleSet) -> None:
    found = dataset_images(two_classes, 112, 2)
    assert found.images.shape == (8, 3, 112, 112)
    assert {(name, name.folder, name.dataset, name.domain) for name in found.class_names} == {
        ("screw", "screw", "mvtec", "industrial"),
        ("grid", "grid", "mvtec", "industrial"),
    }
    for picture, mask, name in zip(found.pictures, found.masks, found.class_names, strict=True):
        assert picture.image.shape == (*picture.mask.shape, 3)
        assert picture.class_name == name
        assert abs(picture.mask.mean() - mask.mean().item()) < 0.01
        assert bool(picture.kind) == bool(picture.label)
    assert len(set(found.class_names)) == 2
    assert found.labels.tolist() == [0, 0, 1, 1] * 2
    assert (found.masks.flatten(1).amax(dim=1) == found.labels).all()
    assert [each.shape for each in found.references] == [(2, 3, 112, 112)] * 2
    assert not torch.equal(*found.references)
    assert dataset_images(two_classes, 112, 0).references == ()
    with pytest.raises(BenchError, match=r"too few images .* 1000 shots"):
        dataset_images(two_classes, 112, 1000)


def test_a_few_shot_method_passes_on_real_files(two_classes: SampleSet, tiny: Backbone) -> None:
    findings = check_method(SoundShots, SoundShots.Options(), tiny, partial(dataset_images, two_classes))
    assert all(finding.passed for finding in findings), render(findings)
    assert "references" in [finding.check for finding in findings]


# --- the command


def test_check_method_prints_a_line_per_check_and_fails_with_the_method(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench("check-method", "clip", "--set", "clip.temperature=0.02")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 12
    plugin = tmp_path / "first.py"
    source = Path(frozen.__file__).read_text(encoding="utf-8").replace('"starter"', '"first"')
    plugin.write_text(source.replace("[self._texts[name] for", "[self._texts[class_names[0]] for"))
    code, out, _ = bench("check-method", "first", "--plugin", plugin)
    assert code == 1
    assert (
        "FAILED  class names  the images of 'screw' (folder 'screw', dataset 'mvtec', industrial) among others, and"
        in out
    )
    assert "fix:         class_names[i] is that of image i" in out


def test_check_method_says_what_is_wrong_with_a_method_that_cannot_be_built(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "thawed.py"
    source = Path(frozen.__file__).read_text(encoding="utf-8").replace('"starter"', '"thawed"')
    plugin.write_text(source.replace("frozen=True, ", ""))
    code, out, _ = bench("check-method", "thawed", "--plugin", plugin)
    assert code == 1
    assert out.startswith("FAILED  metadata     StarterOptions is no frozen dataclass")
    assert bench("check-method", "clop")[0] == 2
    assert bench("check-method", "winclip", "--set", "winclip.shots=few")[0] == 2
