"""GenCLIP: which tokens stand in which prompt, what an image's own text depends on, the two branches, and filtering."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.contract import Dpam, Features, Layer, TrainingBatch, training_options
from methods.genclip import ADACLIP_RECIPE, GenClip, GenClipOptions
from methods.losses import map_losses

NAMES = ("carpet", "metal nut", "carpet")


def made(backbone: Backbone, seed: int = 0, **options: Any) -> GenClip:
    return GenClip(backbone, GenClipOptions(**options), seed=seed)


@pytest.fixture(scope="module")
def features(tiny: Backbone) -> Features:
    """Of three images, with the layers and CLS embeddings of all four quarters."""
    images = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    return tiny.encode_images(images, made(tiny).vision())


@pytest.fixture
def objects(tiny: Backbone, features: Features) -> Features:
    """The same, but each image embedding says that the image is an object rather than a carpet or a metal nut."""
    return replace(features, image=tiny.encode_text(["a photo of an object."]).expand(3, -1) * 3)


def only(features: Features, index: int) -> Features:
    def one(tensors: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
        return {key: tensor[[index]] for key, tensor in tensors.items()}

    image, raw = features.image[[index]], features.image_raw[[index]]
    return replace(features, image=image, image_raw=raw, patches=one(features.patches), cls=one(features.cls))


def differs(one: Tensor, other: Tensor) -> Tensor:
    """Whether two text embeddings differ, for each along all axes but the last."""
    return (one - other).abs().amax(dim=-1) > 1e-5


@torch.no_grad()
def texts(method: GenClip, features: Features) -> tuple[Tensor, Tensor]:
    return method.vision_text(features, NAMES), method.query_text()


@pytest.mark.parametrize(
    ("learned", "prompts"), [("normal", [True, False]), ("abnormal", [False, True]), ("query", [True, True])]
)
def test_own_tokens_stand_in_one_prompt_and_shared_ones_in_both_of_both_branches(
    tiny: Backbone, features: Features, learned: str, prompts: list[bool]
) -> None:
    changed = made(tiny)
    with torch.no_grad():
        getattr(changed.learned, learned).neg_()
    for before, after in zip(texts(made(tiny), features), texts(changed, features), strict=True):
        assert (differs(before, after) == torch.tensor(prompts)).all()
    method = made(tiny)
    parameter = getattr(method.learned, learned)
    for text in (method.vision_text(features, NAMES), method.query_text()):
        for index, reached in enumerate(prompts):
            (gradient,) = torch.autograd.grad(text[..., index, 0].sum(), parameter, retain_graph=True)
            assert (gradient.abs().sum(dim=1) > 0).all() if reached else (gradient == 0).all()


def test_prompts_are_own_shared_and_vision_tokens_and_words(tiny: Backbone, features: Features) -> None:
    method = made(tiny, vision_tokens=2)
    learned = method.learned
    vision, query = texts(method, features)
    assert vision.shape == (4, 3, 2, tiny.width)
    for index, layer in enumerate(method.layers):
        for image, name in enumerate(NAMES):
            unit = features.cls[layer.block][image] / features.cls[layer.block][image].norm()
            tokens = (learned.project[index] @ unit).reshape(2, tiny.text_width)
            pair = [[learned.normal, learned.query, tokens, f"{name}."]]
            pair.append([learned.abnormal, learned.query, tokens, f"damaged {name}."])
            expected = F.normalize(tiny.encode_prompts(pair), dim=-1)
            torch.testing.assert_close(vision[index, image], expected.detach(), atol=1e-5, rtol=0)
    pair = [[learned.normal, learned.query, "object."], [learned.abnormal, learned.query, "damaged object."]]
    torch.testing.assert_close(query, F.normalize(tiny.encode_prompts(pair), dim=-1).detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("source", ["cls", "patches"])
def test_each_image_and_layer_has_a_text_of_its_own(tiny: Backbone, features: Features, source: str) -> None:
    method = made(tiny, vision_source=source)
    before, _ = texts(method, features)
    patches, cls = dict(features.patches), dict(features.cls)
    if source == "cls":
        cls[3] = cls[3].clone()
        cls[3][1] = cls[3][2]
    else:
        layer = method.layers[2]
        patches[layer] = patches[layer].clone()
        patches[layer][1] = patches[layer][2]
    after, _ = texts(method, replace(features, patches=patches, cls=cls))
    expected = torch.zeros(4, 3, 2, dtype=torch.bool)
    expected[2, 1] = True
    assert torch.equal(differs(before, after), expected)


def test_the_length_of_an_image_embedding_changes_no_text(tiny: Backbone, features: Features) -> None:
    method, longer = made(tiny), replace(features, cls={block: 3 * each for block, each in features.cls.items()})
    assert not differs(texts(method, features)[0], texts(method, longer)[0]).any()


def test_without_vision_tokens_all_images_of_a_class_have_the_same_text(tiny: Backbone, features: Features) -> None:
    method = made(tiny, vision_tokens=0)
    text, _ = texts(method, features)
    assert not differs(text[:, 0], text[:, 2]).any()
    assert differs(text[:, 0], text[:, 1]).all()
    assert set(dict(method.learned.named_parameters())) == {"normal", "abnormal", "query"}


def test_class_names_are_dropped_where_the_image_is_closer_to_object(tiny: Backbone) -> None:
    method = made(tiny)
    said = ["a photo of an object.", "a photo of a carpet.", "a photo of a metal nut.", "a photo of an object."]
    names = ["carpet", "carpet", "metal nut", "metal nut"]
    image = 3 * tiny.encode_text(said)
    assert method.filtered(image, names).tolist() == [True, False, False, True]
    for index, name in enumerate(names):
        assert method.filtered(image[[index]], [name]) == method.filtered(image, names)[index]


@torch.no_grad()
def test_names_are_filtered_in_the_vision_enhanced_branch_alone(tiny: Backbone, objects: Features) -> None:
    filtered, kept = (made(tiny, branch="vision", cnf=cnf) for cnf in (True, False))
    named, general = kept.predict(objects, NAMES), kept.predict(objects, ["object"] * 3)
    assert not torch.allclose(named.maps, general.maps, atol=1e-4)
    torch.testing.assert_close(filtered.predict(objects, NAMES).maps, general.maps, atol=1e-6, rtol=0)
    said = ["a photo of an object.", "a photo of a metal nut.", "a photo of an object."]
    some = filtered.predict(replace(objects, image=tiny.encode_text(said)), NAMES).maps
    torch.testing.assert_close(some, torch.stack([general.maps[0], named.maps[1], general.maps[2]]), atol=1e-6, rtol=0)
    maps = [
        made(tiny, branch="query", cnf=cnf).predict(objects, names).maps
        for cnf in (True, False)
        for names in (NAMES, ["object"] * 3)
    ]
    assert all(torch.equal(each, maps[0]) for each in maps)


def test_training_keeps_the_class_name_and_pairs_each_layer_with_its_text(tiny: Backbone, objects: Features) -> None:
    method = made(tiny)
    masks = (torch.rand(3, 112, 112, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    terms = method.losses(TrainingBatch(objects, NAMES, torch.ones(3).long(), masks))
    text, _ = texts(method, objects)
    pairs = [(objects.patches[layer], text[index]) for index, layer in enumerate(method.layers)]
    expected = map_losses(pairs, masks, temperature=0.07)
    assert set(terms) == set(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])
    other = method.losses(TrainingBatch(objects, ("object",) * 3, torch.ones(3).long(), masks))
    assert not torch.allclose(other["focal"], terms["focal"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_maps_are_means_over_layers_and_branches(tiny: Backbone, features: Features) -> None:
    branches = {name: made(tiny, branch=name).predict(features, NAMES).maps for name in ("both", "vision", "query")}
    torch.testing.assert_close(branches["both"], (branches["vision"] + branches["query"]) / 2, atol=1e-6, rtol=0)
    assert not torch.allclose(branches["vision"], branches["query"], atol=1e-3)
    method = made(tiny, cnf=False)
    vision, query = texts(method, features)
    expected = {"vision": torch.zeros(3, 8, 8), "query": torch.zeros(3, 8, 8)}
    for index, layer in enumerate(method.layers):
        patches = F.normalize(features.patches[layer], dim=-1)
        for name, text in (("vision", vision[index]), ("query", query.expand(3, -1, -1))):
            cosines = torch.einsum("bnd,bkd->bnk", patches, text) / 0.07
            expected[name] += cosines.softmax(dim=-1)[..., 1].reshape(3, 8, 8) / 4
    unfiltered = made(tiny, branch="vision", cnf=False).predict(features, NAMES).maps
    torch.testing.assert_close(unfiltered, expected["vision"], atol=1e-5, rtol=0)
    torch.testing.assert_close(branches["query"], expected["query"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_image_scores_are_of_the_query_text_of_the_map_or_of_both(tiny: Backbone, features: Features) -> None:
    scored = {each: made(tiny, image_score=each).predict(features, NAMES) for each in ("text", "map", "both")}
    cosines = F.normalize(features.image, dim=-1) @ made(tiny).query_text().T
    torch.testing.assert_close(scored["text"].scores, (cosines / 0.07).softmax(dim=1)[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(scored["map"].scores, scored["map"].maps.amax(dim=(1, 2)))
    mean = (scored["text"].scores + scored["map"].scores) / 2
    torch.testing.assert_close(scored["both"].scores, mean)
    assert torch.equal(scored["text"].maps, scored["map"].maps)
    vision, _ = texts(made(tiny), features)
    cosines = torch.einsum("bd,lbkd->lbk", F.normalize(features.image, dim=-1), vision)
    alone = made(tiny, branch="vision", cnf=False, image_score="text").predict(features, NAMES)
    torch.testing.assert_close(alone.scores, (cosines / 0.07).softmax(dim=2)[..., 1].mean(dim=0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options", [{}, {"vision_source": "patches", "vision_tokens": 2}, {"query_tokens": 0}, {"vision_tokens": 0}]
)
def test_gradients_reach_every_learned_parameter_and_nothing_else(
    tiny: Backbone, features: Features, options: dict[str, Any]
) -> None:
    method = made(tiny, **options)
    optimiser = method.optimiser()
    assert {id(each) for group in optimiser.param_groups for each in group["params"]} == {
        id(each) for each in method.learned.parameters()
    }
    masks = torch.zeros(3, 112, 112)
    masks[1:, 20:60, 30:80] = 1
    sum(method.losses(TrainingBatch(features, NAMES, torch.tensor([0, 1, 1]), masks)).values()).backward()
    for name, parameter in method.learned.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.abs().sum(dim=1) > 0).all(), name
    assert all(parameter.grad is None for parameter in tiny.model.parameters())
    before = {name: each.clone() for name, each in method.learned.state_dict().items()}
    optimiser.step()
    for name, each in method.learned.state_dict().items():
        assert not each.numel() or not torch.equal(each, before[name]), name


@pytest.mark.parametrize(("options", "rates"), [({}, (1e-3, 1e-3 / 64)), (ADACLIP_RECIPE, (0.01, 0.01))])
def test_a_step_of_adam_moves_tokens_and_projections_by_their_learning_rates(
    tiny: Backbone, features: Features, options: dict[str, Any], rates: tuple[float, float]
) -> None:
    method = made(tiny, **options)
    assert tiny.width == 64
    before = {name: each.clone() for name, each in method.learned.state_dict().items()}
    optimiser = method.optimiser()
    masks = torch.zeros(3, 112, 112)
    masks[1:, 20:60, 30:80] = 1
    sum(method.losses(TrainingBatch(features, NAMES, torch.tensor([0, 1, 1]), masks)).values()).backward()
    optimiser.step()
    for name, each in method.learned.state_dict().items():
        rate = rates[name.startswith("project")]
        decayed = before[name] * (1 - rate * method.options.weight_decay)
        assert (each - decayed).abs().median().item() == pytest.approx(rate, rel=0.01)


@torch.no_grad()
def test_a_batch_of_three_is_three_batches_of_one(tiny: Backbone, features: Features) -> None:
    together = made(tiny).predict(features, NAMES)
    for index, name in enumerate(NAMES):
        alone = made(tiny).predict(only(features, index), [name])
        torch.testing.assert_close(together.scores[[index]], alone.scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(together.maps[[index]], alone.maps, atol=1e-5, rtol=0)


def test_inference_options_do_not_change_what_is_learned(tiny: Backbone, features: Features) -> None:
    changed = GenClipOptions(cnf=False, branch="query", image_score="map")
    assert training_options(changed) == training_options(GenClipOptions())
    assert not {"cnf", "branch", "image_score"} & set(training_options(changed))
    assert {"query_tokens", "vision_source", "quarters", "temperature"} <= set(training_options(changed))
    batch = TrainingBatch(features, NAMES, torch.tensor([0, 1, 1]), torch.zeros(3, 112, 112))
    ours, default = (GenClip(tiny, options).losses(batch) for options in (changed, GenClipOptions()))
    assert {name: term.item() for name, term in ours.items()} == {name: term.item() for name, term in default.items()}


@pytest.mark.parametrize("ablation", GenClip.ablations, ids=lambda ablation: ablation.name)
@torch.no_grad()
def test_every_variant_of_an_ablation_predicts(tiny: Backbone, features: Features, ablation: Any) -> None:
    maps = []
    for changes in ablation.variants.values():
        prediction = made(tiny, **changes).predict(only(features, 0), ["carpet"])
        assert prediction.scores.shape == (1,)
        assert prediction.maps.shape == (1, 8, 8)
        maps.append(prediction.maps)
    assert len(maps) > 1
    # Filtering leaves the map alone where it drops no name, and a recipe is for training.
    if ablation.name not in ("modules", "recipe"):
        assert all(not torch.equal(maps[0], other) for other in maps[1:])


def test_layers_follow_the_quarters_and_the_source(tiny: Backbone, golden_backbone: Backbone) -> None:
    assert made(tiny, quarters=(2, 4)).layers == (Layer(2, Dpam(1)), Layer(4, Dpam(1)))
    assert made(tiny, quarters=(2, 4)).vision().cls == (2, 4)
    assert made(tiny, vision_source="patches").vision().cls == ()
    assert [layer.block for layer in made(golden_backbone).layers] == [1, 3, 4, 6]
    assert len(made(tiny, quarters=(2, 4)).learned.project) == 2


def test_the_seed_draws_the_prompts(tiny: Backbone) -> None:
    first, again, other = (made(tiny, seed=seed).learned.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert not torch.equal(first["normal"], first["abnormal"])


def test_a_class_called_object_changes_no_other_decision(tiny: Backbone) -> None:
    fresh, after = made(tiny), made(tiny)
    ends = F.normalize(tiny.encode_text(["a photo of a carpet.", "a photo of an object."]), dim=-1)
    between = torch.linspace(0, 1, 200)[:, None]
    images = (1 - between) * ends[0] + between * ends[1]
    after.filtered(images[:1], ["object"])
    assert torch.equal(after.filtered(images, ["carpet"] * 200), fresh.filtered(images, ["carpet"] * 200))
