"""The checks find methods that break the contract in what they ask of the tower, do to it, and make of its features."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.sound_methods import Sound, SoundTower, failures, under_test
from torch import Tensor

from benchmark.authoring import checks_of_declaration, checks_of_predictions
from benchmark.authoring.method_under_test import MethodUnderTest, join_predictions
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.weights import parse_backbone
from benchmark.contract import (
    BackboneVariant,
    ClassName,
    Dpam,
    Features,
    Layer,
    LayerLogits,
    Method,
    Prediction,
    TopOfMap,
    TrainingBatch,
    VisionSpec,
)
from benchmark.errors import ContractError


def said(check: Callable[[MethodUnderTest], str], method: type[Method], backbone: Backbone) -> str:
    """Return what a check says of a method that breaks the contract."""
    with pytest.raises(ContractError) as caught:
        check(under_test(method, backbone))
    return str(caught.value)


# --- what is asked of the tower

LAST = Layer(4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tokens": (Layer(5),)}, "vision asks for block 5; the backbone has 1 to 4"),
        ({"hidden": (Layer(0),)}, "vision asks for block 0; the backbone has 1 to 4"),
        ({"hidden": (Layer(4, Dpam(7)),)}, "vision asks for block 7; the backbone has 1 to 4"),
        ({"tokens": True}, "tokens = True of vision is no tuple of Layer"),
        ({"hidden": (4,)}, "hidden = (4,) of vision is no tuple of Layer"),
        ({"encoded": False}, "vision leaves out CLIP's own pass by encoded=False, so it can ask for images alone"),
        ({"encoded": False, "images": True, "hidden": (LAST,)}, "so it can ask for images alone"),
    ],
)
def test_what_cannot_be_asked_of_the_tower_is_said(asked: dict[str, Any], message: str, tiny: Backbone) -> None:
    class Asks(Sound):
        def vision(self) -> VisionSpec:
            return VisionSpec(self.backbone.image_size, **asked)

    assert message in said(checks_of_declaration.vision, Asks, tiny)


def test_what_is_asked_of_the_tower_is_shown(tiny: Backbone) -> None:
    class Asks(Sound):
        def vision(self) -> VisionSpec:
            hidden = (Layer(2), Layer(4, Dpam(3, "qq")))
            return VisionSpec(112, (self.layer,), tokens=(LAST,), hidden=hidden, images=True)

        @classmethod
        def backbone_variant(cls, options: Any) -> BackboneVariant:
            return BackboneVariant(pos_interp="bicubic")

    assert checks_of_declaration.vision(under_test(Asks, tiny)) == (
        "112 px; patches of block 4 (vv); tokens of block 4; hidden tokens of block 2, 4 (qq); images; "
        "backbone with pos_interp=bicubic"
    )


@pytest.mark.parametrize("kind", ["tokens", "hidden"])
def test_features_that_were_not_asked_for_are_not_there(kind: str, tiny: Backbone) -> None:
    class Reads(Sound):
        def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            getattr(features, kind)[LAST]
            return super().predict(features, class_names)

    assert list(failures(Reads, tiny)) == ["shapes"]
    assert "Layer(block=4, dpam=None) is not among the features" in failures(Reads, tiny)["shapes"]


@pytest.mark.parametrize(("returned", "message"), [((None, None), "a NoneType"), ((False, True), "another variant")])
def test_a_variant_of_the_backbone_that_is_none_is_said(
    returned: tuple[object, object], message: str, tiny: Backbone
) -> None:
    left = list(returned)

    class Fickle(Sound):
        @classmethod
        def backbone_variant(cls, options: Any) -> BackboneVariant:
            plain = left.pop()
            return None if plain is None else BackboneVariant(plain_gelu=bool(plain))  # type: ignore[return-value]

    assert message in said(checks_of_declaration.vision, Fickle, tiny)


def test_a_method_is_built_with_its_variant_of_the_backbone(tiny: Backbone) -> None:
    class Bicubic(Sound):
        @classmethod
        def backbone_variant(cls, options: Any) -> BackboneVariant:
            return BackboneVariant(pos_interp="bicubic")

    built = under_test(Bicubic, tiny).build()
    assert built.backbone is tiny.variant(BackboneVariant(pos_interp="bicubic"))
    assert built.backbone is not tiny


# --- a forward pass of its own


def test_a_method_that_changes_the_tower_and_learns_by_it_passes(tiny: Backbone) -> None:
    assert failures(SoundTower, tiny) == {}


class AddsTheEmbedding(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        found = super().predict(features, class_names)
        return Prediction(found.scores + features.image.sum(dim=1), found.maps)


class NeedsTheEmbedding(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        found = super().predict(features, class_names)
        return Prediction(found.scores + features.image_raw[:, 0], found.maps)


class AveragesTheEmbedding(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        found = super().predict(features, class_names)
        return Prediction(found.scores + features.image.mean(dim=1), found.maps)


class LearnsByTheEmbedding(SoundTower):
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return super().losses(batch) | {"length": batch.features.image.square().sum(dim=1).mean()}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (AddsTheEmbedding, "predict reads features.image, but vision() says encoded=False"),
        (NeedsTheEmbedding, "predict reads features.image, but vision() says encoded=False"),
        (AveragesTheEmbedding, "predict reads features.image, but vision() says encoded=False"),
        (LearnsByTheEmbedding, "losses of training read features.image, but its vision says encoded=False"),
    ],
)
def test_embeddings_that_are_read_but_not_asked_for_are_said(
    method: type[Method], message: str, tiny: Backbone
) -> None:
    assert failures(method, tiny) == {"CLIP's pass": message}


def test_a_method_that_fails_whatever_it_is_given_reads_no_embedding(tiny: Backbone) -> None:
    class Fails(SoundTower):
        def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            raise ValueError

    assert list(failures(Fails, tiny)) == ["shapes"]


class ChangesImages(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert features.images is not None
        features.images.mul_(0.5)
        return super().predict(features, class_names)


class LeavesAHook(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        block = self.backbone.model.visual.transformer.resblocks[1]  # type: ignore[attr-defined]
        if not block._forward_hooks:
            block.register_forward_hook(lambda module, given, made: None)
        return super().predict(features, class_names)


class ReplacesForward(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        block = self.backbone.model.visual.transformer.resblocks[1]  # type: ignore[attr-defined]
        block.forward = block.forward
        return super().predict(features, class_names)


class WrapsABlock(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        blocks = self.backbone.model.visual.transformer.resblocks  # type: ignore[attr-defined]
        blocks[1].adapter = torch.nn.Identity()
        return super().predict(features, class_names)


class UnfreezesABlock(SoundTower):
    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        self.backbone.model.visual.transformer.resblocks[1].ln_1.requires_grad_(True)  # type: ignore[attr-defined]
        return super().predict(features, class_names)


class ChangesAValue(SoundTower):
    """Of a token that no prompt of the checks has."""

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        self.backbone.model.token_embedding.weight[123] += 1e-3  # type: ignore[attr-defined]
        return super().predict(features, class_names)


def test_images_that_predict_changes_are_said(tiny: Backbone) -> None:
    assert "changes the features that it is given" in said(checks_of_predictions.inputs, ChangesImages, tiny)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (LeavesAHook, "resblocks.1 of the backbone is not as before: ResidualAttentionBlock with 0 hooks then, Re"),
        (ReplacesForward, "ResidualAttentionBlock with 0 hooks and another forward now"),
        (WrapsABlock, "resblocks.1.adapter of the backbone is not as before: nothing then, Identity with 0 hooks"),
        (UnfreezesABlock, "resblocks.1.ln_1.weight of the backbone trains"),
        (ChangesAValue, "token_embedding.weight of the backbone has other values than before"),
    ],
)
def test_what_a_pass_of_its_own_leaves_changed_is_said(method: type[Method], message: str) -> None:
    tested = under_test(method, load_backbone(parse_backbone("tiny:random")))
    checks_of_predictions.gradients(tested)
    with pytest.raises(ContractError) as caught:
        checks_of_predictions.backbone(tested)
    assert message in str(caught.value)


# --- class names


class ByFolder(Sound):
    """Its prompts name the folder, and are kept by what `key` returns."""

    def key(self, name: ClassName) -> tuple[str, ...]:
        return str(name), name.folder

    def text(self, class_names: Sequence[ClassName]) -> Tensor:  # type: ignore[override]
        kept = self._texts
        for name in class_names:
            if repr(self.key(name)) not in kept:
                kept[repr(self.key(name))] = super().text([self.said(name)])[0]
        return torch.stack([kept[repr(self.key(name))] for name in class_names])

    def said(self, name: ClassName) -> str:
        return name.folder.replace("_", " ")


class KeptByText(ByFolder):
    def key(self, name: ClassName) -> tuple[str, ...]:
        return (str(name),)


class DatasetKeptByFolder(ByFolder):
    def said(self, name: ClassName) -> str:
        return f"{name} of {name.dataset}"


class DomainKeptByFolder(ByFolder):
    def said(self, name: ClassName) -> str:
        return f"{name.domain} {name}"


class KnownDomains(ByFolder):
    def key(self, name: ClassName) -> tuple[str, ...]:
        return str(name), name.domain

    def said(self, name: ClassName) -> str:
        return f"{({'industrial': 'part', 'medical': 'scan'})[name.domain]} {name}"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (KeptByText, "the images of 'metal nut' (folder 'metal_nut_2', dataset 'mvtec', industrial) among others, and"),
        (DatasetKeptByFolder, "'metal nut' (folder 'metal_nut', dataset 'another', industrial) among others"),
        (DomainKeptByFolder, "'metal nut' (folder 'metal_nut', dataset 'mvtec', medical) among others"),
        (KnownDomains, "class name 'metal nut' (folder 'Metal Nut (2)', dataset '', custom): KeyError: 'custom'"),
    ],
)
def test_classes_that_are_mixed_up_are_said(method: type[Method], message: str, tiny: Backbone) -> None:
    assert message in said(checks_of_predictions.class_names, method, tiny)


def test_a_method_that_reads_the_folder_passes(tiny: Backbone) -> None:
    assert "mixed as alone" in checks_of_predictions.class_names(under_test(ByFolder, tiny))


# --- maps


class ByLayer(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert isinstance(found.maps, Tensor)
        return Prediction(found.scores, LayerLogits(torch.stack([found.maps, 2 * found.maps], dim=1)))


class FullSize(Sound):
    side = 112

    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(found.scores, found.scores[:, None, None].expand(-1, self.side, self.side))


class TooLarge(FullSize):
    side = 113


class InfiniteLogits(ByLayer):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        made = super().change(found, features, class_names).maps
        assert isinstance(made, LayerLogits)
        return Prediction(found.scores, replace(made, differences=made.differences / 0))


class NoLayer(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert isinstance(found.maps, Tensor)
        return Prediction(found.scores, LayerLogits(found.maps))


class LogitsOfTheBatch(ByLayer):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        made = super().change(found, features, class_names).maps
        assert isinstance(made, LayerLogits)
        return Prediction(found.scores, replace(made, differences=made.differences - made.differences.mean()))


class FlagsOfTheBatch(ByLayer):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        made = super().change(found, features, class_names).maps
        assert isinstance(made, LayerLogits)
        return Prediction(found.scores, replace(made, softmax_last=len(class_names) > 3))


class TopOfTheBatch(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return replace(found, top=TopOfMap(float(len(class_names)), 0.01))


class TopOfTheFirstName(Sound):
    def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return replace(found, top=TopOfMap(0.3, 1 / len(class_names[0])))


@pytest.mark.parametrize("method", [ByLayer, FullSize])
def test_logits_of_layers_and_maps_at_full_size_pass(method: type[Method], tiny: Backbone) -> None:
    assert failures(method, tiny) == {}


@pytest.mark.parametrize(
    ("method", "check", "message"),
    [
        (
            TooLarge,
            checks_of_predictions.shapes,
            "of the shape (6, 113, 113) are larger than the images of 112 px",
        ),
        (NoLayer, checks_of_predictions.shapes, "maps of 6 images have the shape (6, 8, 8), not (6, L, h, w)"),
        (InfiniteLogits, checks_of_predictions.shapes, "768 of 768 maps are NaN or infinite"),
        (LogitsOfTheBatch, checks_of_predictions.batches, "batches of 6 and of 1: they differ by"),
        (
            FlagsOfTheBatch,
            checks_of_predictions.batches,
            "the maps are LayerLogits with corners_aligned=False, ",
        ),
        (
            TopOfTheBatch,
            checks_of_predictions.batches,
            "batches of 6 and of 1: top, which is added to the scores, is TopOfMap(weight=6.0, share=0.01) and ",
        ),
        (
            TopOfTheFirstName,
            checks_of_predictions.class_names,
            "among others, and alone: top, which is added to the scores, is",
        ),
    ],
)
def test_maps_that_break_the_contract_are_said(
    method: type[Method], check: Callable[[MethodUnderTest], str], message: str, tiny: Backbone
) -> None:
    assert message in said(check, method, tiny)


def test_predictions_with_another_top_are_not_joined(tiny: Backbone) -> None:
    tested = under_test(Sound, tiny)
    found = tested.predict(tested.build(), tested.one_class)
    parts = [replace(found, top=TopOfMap(0.3, share)) for share in (0.01, 0.01, 0.02)]
    assert join_predictions(parts[:2]).top == TopOfMap(0.3, 0.01)
    with pytest.raises(ContractError, match=r"batches of a class: top.*share=0\.01.* and .*share=0\.02"):
        join_predictions(parts)


def test_what_is_added_to_the_scores_is_said(tiny: Backbone) -> None:
    class Tops(Sound):
        def change(self, found: Prediction, features: Features, class_names: Sequence[ClassName]) -> Prediction:
            return replace(found, top=TopOfMap(0.3, 0.01))

    assert failures(Tops, tiny) == {}
    assert " plus 0.3 × the highest 1 % of the map, maps (" in checks_of_predictions.shapes(under_test(Tops, tiny))
    assert " plus " not in checks_of_predictions.shapes(under_test(Sound, tiny))


# --- a last step over a class


class Ranked(Sound):
    """Adds the place of the image's largest value among those of the class."""

    @classmethod
    def scores_whole_class(cls, options: Any) -> bool:
        return True

    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return scores + (highest[:, None] > highest).double().mean(dim=1)


class NoLastStep(Ranked):
    class_scores = Sound.class_scores


class DividesByTheRange(Ranked):
    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return (scores - scores.min()) / (scores.max() - scores.min())


class SumsUp(Ranked):
    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return scores.cumsum(dim=0)


class ScoresTheClass(Ranked):
    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return scores.mean()


class ScoresInPlace(Ranked):
    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return scores.add_(highest)


class WeighsOnTheGpu(Ranked):
    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return scores * torch.ones(1, device=self.backbone.device)


class Raises(Sound):
    """It does not say that scores depend on the class."""

    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("method", [Ranked, Raises])
def test_a_last_step_over_a_class_passes_and_is_not_taken_unless_declared(method: type[Method], tiny: Backbone) -> None:
    assert failures(method, tiny) == {}


def test_a_last_step_that_fails_is_not_told_twice(tiny: Backbone) -> None:
    assert list(failures(NoLastStep, tiny)) == ["class scores"]


def test_a_last_step_that_takes_its_scores_for_those_of_a_gpu_is_said(tiny: Backbone) -> None:
    assert list(failures(WeighsOnTheGpu, tiny)) == ["GPU"]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (NoLastStep, "scores_whole_class says True, but the method does not define class_scores"),
        (DividesByTheRange, "class_scores of 1 images are NaN or infinite"),
        (SumsUp, "class_scores of the same images in another order differ by"),
        (ScoresTheClass, "class_scores of 6 images returns (), not floating point of shape (6,)"),
        (ScoresInPlace, "class_scores changes the scores or values of maps that it is given"),
    ],
)
def test_a_last_step_that_breaks_the_contract_is_said(method: type[Method], message: str, tiny: Backbone) -> None:
    assert message in said(checks_of_predictions.class_scores, method, tiny)
