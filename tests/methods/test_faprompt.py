"""FAPrompt against golden numbers: text, prior, maps, scores, losses, and three steps of training; and its parts."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import close, named
from torch import Tensor
from torch.nn.functional import normalize

from benchmark.api.datasets import select_cards
from benchmark.clip.backbone import Backbone
from benchmark.clip.spec import map_features
from benchmark.clip.weights import parse_backbone
from benchmark.contract import Ablation, ClassName, Dpam, Features, FrozenClip, Layer, Prediction, TrainingBatch
from benchmark.errors import BenchError
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.registry import RegistryError, make_options
from benchmark.running.maps import at_evaluation_size
from benchmark.training.published import import_checkpoint
from benchmark.training.runner import build_method
from methods.base import anomaly_probability
from methods.faprompt import ABLATIONS, FaPrompt, FaPromptOptions, _Learned, _Scored, binary_focal

NAMES = (ClassName("metal nut"), ClassName("candle"), ClassName("metal nut"))
WITHIN = {"text": 1e-5, "raw": 2e-5, "maps": 1e-5, "scores": 1e-5, "loss": 1e-5, "gradient": 2e-4, "parameter": 3e-6}
"""The tolerances of the golden numbers: losses relative, gradients of the maximum of their array."""


def reference(backbone: Backbone, arrays: dict[str, Tensor], prefix: str = "init.", **options: Any) -> FaPrompt:
    """FAPrompt as the golden numbers were made: 6 blocks, DPAM number 5, parameters that start with a prefix."""
    found, learned = FaPrompt.import_state(named(arrays, prefix))
    method = FaPrompt(backbone, FaPromptOptions(**{**found, "first_block": 3, **options}))
    method.learned.load_state_dict(learned)
    return method


def features_of(method: FaPrompt, images: Tensor) -> Features:
    assert isinstance(method.backbone, Backbone)
    return method.backbone.encode_images(images, method.vision())


def scored(method: FaPrompt, features: Features) -> _Scored:
    with torch.no_grad():
        return method._scored(features)


def predicted(method: FaPrompt, features: Features) -> Prediction:
    with torch.no_grad():
        return method.predict(features, NAMES)


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


@pytest.fixture
def features(golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]) -> Features:
    return features_of(reference(golden_backbone, arrays), inputs["images_70"])


@pytest.mark.parametrize(
    ("case", "parameters", "options"),
    [
        ("init.70", "init.", {}),
        ("init.98", "init.", {}),
        ("final.70", "train.step3.param.", {}),
        ("topk.init.70", "init.", {"dap_first_patches": False}),
        ("halfcast.final.70", "train.step3.param.", {"deep_prompt_half": True}),
    ],
)
def test_every_array_matches_the_reference(
    golden_backbone: Backbone,
    arrays: dict[str, Tensor],
    inputs: dict[str, Tensor],
    case: str,
    parameters: str,
    options: dict[str, Any],
) -> None:
    size = int(case.rpartition(".")[2])
    method = reference(golden_backbone, arrays, parameters, **options)
    features = features_of(method, inputs[f"images_{size}"])
    found, prediction = scored(method, features), predicted(method, features)
    ours = {
        "patch": (normalize(features.patches[method.layer], dim=-1), "text"),
        "image_embed": (features.image_raw, "raw"),
        "text_shared": (found.texts[0][0], "text"),
        "similarity1": (found.maps[0], "maps"),
        "bias": (found.bias, "raw"),
        "text_image": (found.texts[1], "text"),
        "similarity2": (found.maps[1], "maps"),
        "map_raw": (at_evaluation_size(prediction, image_size=size, smoothing=0.0)[1], "maps"),
        "map_sigma10": (at_evaluation_size(prediction, image_size=size, smoothing=method.smoothing)[1], "maps"),
        "image_score": (prediction.scores, "scores"),
    }
    expected = named(arrays, f"{case}.")
    assert expected.keys() <= ours.keys()
    for name, values in expected.items():
        mine, within = ours[name]
        of_patches = name in ("patch", "similarity1", "similarity2")  # the first token is CLS, which is not read there
        close(torch.as_tensor(mine), values[:, 1:] if of_patches else values, WITHIN[within])


def test_raw_text_and_tokens_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], features: Features
) -> None:
    method = reference(golden_backbone, arrays)
    with torch.no_grad():
        close(method._encoded([], (method.learned.normal, "object.")), arrays["text_raw.pos"], WITHIN["raw"])
    close(scored(method, features).abnormal, arrays["text_raw.neg"], WITHIN["raw"])
    for case, learned, text in (("pos", 5, "object."), ("neg", 7, "damaged object.")):
        tokens = open_clip.tokenize([text])[0][1:]
        assert torch.equal(arrays[f"tokenized_{case}"][0, 1 + learned :].long(), tokens[: 76 - learned])


def test_the_quirks_are_seen(golden_backbone: Backbone, arrays: dict[str, Tensor], features: Features) -> None:
    """The tolerances of the tests tell the numbers with and without them apart."""
    final = "train.step3.param."
    halves = (
        scored(reference(golden_backbone, arrays, final, deep_prompt_half=each), features) for each in (True, False)
    )
    firsts = (scored(reference(golden_backbone, arrays, dap_first_patches=each), features) for each in (True, False))
    (one, other), (first, best) = halves, firsts
    assert (one.texts[1] - other.texts[1]).abs().max() > 3 * WITHIN["text"]
    assert (first.scores - best.scores).abs().max() > 100 * WITHIN["scores"]


def batch_of(features: Features, inputs: dict[str, Tensor]) -> TrainingBatch:
    return TrainingBatch(features, NAMES, inputs["labels"].long(), (inputs["masks"][:, 0] > 0.5).float())


def require_losses(terms: dict[str, Tensor], log: dict[str, Any]) -> Tensor:
    """Compare the terms of a loss with those of the reference, which logs them without their weights."""
    assert len(log["focal"]) * 2 == len(log["dice"]) == 4
    dice = dict(zip(("abnormal", "normal"), (log["dice"][::2], log["dice"][1::2]), strict=True))
    expected = {
        "image": log["image_ce"][0],
        "score": log["binary_focal"][0],
        "prior": sum(log["bias_mse"]),
        "focal": log["focal"][0] + log["focal"][1] / 2,
        **{f"dice_{name}": of_first + of_second / 2 for name, (of_first, of_second) in dice.items()},
    }
    expected["similarity"] = log["total"] - sum(expected.values())
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=WITHIN["loss"]), name
    total = torch.stack(list(terms.values())).sum()
    assert total.item() == pytest.approx(log["total"], rel=WITHIN["loss"])
    return total


def test_three_adam_steps_match_the_reference(
    golden_backbone: Backbone,
    arrays: dict[str, Tensor],
    inputs: dict[str, Tensor],
    numbers: dict[str, Any],
    features: Features,
) -> None:
    method = reference(golden_backbone, arrays)
    parameters, optimiser = dict(method.learned.named_parameters()), method.optimiser()
    start = {name: each.detach().clone() for name, each in parameters.items()}
    for step, log in enumerate(numbers["train_log"], start=1):
        total = require_losses(method.losses(batch_of(features, inputs)), log)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        _, gradients = FaPrompt.import_state(named(arrays, f"train.step{step}.grad."))
        _, stepped = FaPrompt.import_state(named(arrays, f"train.step{step}.param."))
        assert gradients.keys() == stepped.keys() == parameters.keys()
        for name, each in parameters.items():
            close(gradient_of(each), gradients[name], WITHIN["gradient"] * gradients[name].abs().max().item())
            close(each.detach() - start[name], stepped[name] - start[name], WITHIN["parameter"])
            assert (stepped[name] - start[name]).abs().max() > 100 * WITHIN["parameter"]
    assert all(each.grad is None for each in golden_backbone.model.parameters())


def test_a_step_with_the_most_abnormal_patches_matches_the_reference(
    golden_backbone: Backbone,
    arrays: dict[str, Tensor],
    inputs: dict[str, Tensor],
    numbers: dict[str, Any],
    features: Features,
) -> None:
    method = reference(golden_backbone, arrays, dap_first_patches=False)
    require_losses(method.losses(batch_of(features, inputs)), numbers["topk_train_step1"]).backward()
    expected = arrays["topk.train.step1.grad.ctx_neg"].flatten(0, 2)
    close(gradient_of(method.learned.abnormal), expected, WITHIN["gradient"] * expected.abs().max().item())


# --- the published checkpoint


def published(method: FaPrompt) -> dict[str, Tensor]:
    """The learned tensors as the published code names them, with those that it has without effect."""
    learned, chosen, width = method.learned.state_dict(), method.options, method.backbone.text_width
    state = {"ctx_pos": learned["normal"][None, None]}
    state["ctx_neg"] = learned["abnormal"].reshape(1, chosen.prompts, chosen.abnormal_tokens, width)
    for case, count, tokens in (("pos", 1, 5), ("neg", chosen.prompts, 7)):
        state[f"token_prefix_{case}"] = torch.ones(1, count, 1, width)
        state[f"token_suffix_{case}"] = torch.ones(1, count, 76 - tokens, width)
        state[f"tokenized_prompts_{case}"] = torch.ones(1, count, 77, dtype=torch.int32)
    for layer, name in ((0, "linear1"), (2, "linear2")):
        state |= {f"patch_meta_net.{name}.{part}": learned[f"prior.{layer}.{part}"] for part in ("weight", "bias")}
    for i in range(len(method.learned.deep)):
        state[f"compound_prompts_text.{i}"] = learned[f"deep.{i}"]
        state[f"compound_prompt_projections.{i}.weight"] = torch.ones(896, width)
        state[f"compound_prompt_projections.{i}.bias"] = torch.ones(896)
    return state


def test_the_layout_is_that_of_the_published_code(
    golden_backbone: Backbone, arrays: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    state = published(reference(golden_backbone, arrays))
    assert {key: list(each.shape) for key, each in state.items()} == numbers["state_dict"]
    assert len(state) == numbers["checkpoint_entries"]
    without_effect = ("token", "compound_prompt_projections")
    learned = {key for key in named(arrays, "init.") if not key.startswith(("70.", "98."))}
    assert {key for key in state if not key.startswith(without_effect)} == learned
    assert {key for key in state if key.startswith(without_effect[1])} == set(numbers["no_grad"])


def test_a_published_file_is_imported_and_predicts_the_same(tiny: Backbone, tmp_path: Path) -> None:
    options = FaPromptOptions(prompts=3, abnormal_tokens=1, context=4, deep_depth=2, deep_tokens=2)
    method = FaPrompt(tiny, options, seed=1)
    torch.save({"prompt_learner": published(method)}, tmp_path / "epoch_15.pth")
    path, changed = import_checkpoint(
        [tmp_path / "epoch_15.pth"],
        FaPrompt,
        auxiliaries=select_cards(["mvtec"]),
        backbone=backbone_id(parse_backbone(tiny.name), dtype=tiny.dtype),
        protocol=Protocol(),
        results=tmp_path,
    )
    assert changed == {"prompts": 3, "abnormal_tokens": 1, "context": 4, "deep_depth": 2, "deep_tokens": 2}
    built = build_method(FaPrompt, tiny, FaPromptOptions(**changed), seed=0, checkpoint=path)
    assert isinstance(built, FaPrompt)
    features = random_features(method)
    assert torch.equal(predicted(built, features).scores, predicted(method, features).scores)


def test_another_checkpoint_is_told_apart() -> None:
    with pytest.raises(KeyError):  # AnomalyCLIP's
        FaPrompt.import_state({"ctx_pos": torch.zeros(1, 1, 12, 64), "ctx_neg": torch.zeros(1, 1, 12, 64)})


def test_at_full_size_the_parameters_are_those_of_the_published_code() -> None:
    vit_l = cast("FrozenClip", SimpleNamespace(width=768, text_width=768, text_blocks=12))
    learned = _Learned(FaPromptOptions(), vit_l, torch.Generator().manual_seed(0))
    assert {name: tuple(each.shape) for name, each in learned.named_parameters()} == {
        "normal": (5, 768),
        "abnormal": (20, 768),
        **{f"deep.{i}": (4, 768) for i in range(8)},
        **{"prior.0.weight": (480, 7680), "prior.0.bias": (480,), "prior.2.weight": (768, 480), "prior.2.bias": (768,)},
    }


# --- the parts


def test_defaults_are_those_of_the_published_scripts(tiny: Backbone) -> None:
    assert asdict(FaPromptOptions()) == {
        "context": 5,
        "abnormal_tokens": 2,
        "prompts": 10,
        "patches": 10,
        "deep_depth": 9,
        "deep_tokens": 4,
        "first_block": None,
        "dap_first_patches": True,
        "score_as_logit": True,
        "mean_raw_embeddings": True,
        "global_ln_post": False,
        "deep_prompt_half": False,
        "epochs": 15,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "temperature": 0.07,
    }
    (stage,) = FaPrompt(tiny, FaPromptOptions()).stages(["visa"])
    assert (stage.epochs, stage.batch_size, stage.augment) == (15, 8, None)
    assert stage.learning_rate is not None
    assert [stage.learning_rate(step, 100) for step in (0, 1499)] == [None, None]  # that of the optimiser
    assert isinstance(stage.optimiser, torch.optim.Adam)
    expected = {"lr": 1e-3, "betas": (0.5, 0.999), "weight_decay": 0}
    assert expected.items() <= stage.optimiser.defaults.items()
    assert FaPrompt.smoothing == 10


def random_features(method: FaPrompt, images: int = 3) -> Features:
    size = method.vision().image_size
    return features_of(method, torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(0)))


def random_batch(method: FaPrompt) -> TrainingBatch:
    features, size = random_features(method), method.vision().image_size
    masks = torch.zeros(3, size, size)
    masks[-1, size // 2 :] = 1
    return TrainingBatch(features, NAMES, torch.tensor([0, 0, 1]), masks)


def test_it_reads_the_last_block_of_the_path_of_anomalyclip(tiny: Backbone) -> None:
    assert FaPrompt(tiny, FaPromptOptions()).vision().layers == (Layer(4, Dpam(tiny.dpam_first)),)
    assert FaPrompt(tiny, FaPromptOptions(first_block=3)).vision().layers == (Layer(4, Dpam(3)),)


@pytest.mark.parametrize("first", [True, False])
def test_an_image_is_scored_by_itself(golden_backbone: Backbone, features: Features, first: bool) -> None:
    method = FaPrompt(golden_backbone, FaPromptOptions(first_block=3, dap_first_patches=first))
    together = predicted(method, features)
    for place in range(3):
        alone = predicted(method, map_features(features, lambda each, place=place: each[[place]]))  # type: ignore[misc]
        close(alone.scores[0], together.scores[place], 1e-5)
        close(alone.maps[0], together.maps[place], 1e-5)  # type: ignore[index]


def test_the_prior_moves_the_abnormal_prompts_alone(golden_backbone: Backbone, features: Features) -> None:
    (shared, own) = scored(FaPrompt(golden_backbone, FaPromptOptions(first_block=3)), features).texts
    assert torch.equal(shared[:, 0], own[:, 0])
    assert (shared[:, 1] - own[:, 1]).abs().amax(dim=1).min() > 1e-3
    assert torch.equal(shared[0], shared[2])
    assert not torch.allclose(own[0], own[2])


@pytest.mark.parametrize("first", [True, False])
def test_the_prior_is_made_of_the_first_or_of_the_most_abnormal_patches(
    golden_backbone: Backbone, features: Features, first: bool
) -> None:
    method = FaPrompt(golden_backbone, FaPromptOptions(first_block=3, dap_first_patches=first, patches=3))
    patches = features.patches[method.layer]
    abnormality = torch.arange(25.0).expand(3, -1)
    chosen = [0, 1, 2] if first else [24, 23, 22]
    found = method._prior_patches(patches, abnormality)
    torch.testing.assert_close(found, normalize(patches[:, chosen], dim=-1))
    assert not torch.allclose(found, found.flip(1))


def test_without_prior_all_images_have_the_shared_prompts(golden_backbone: Backbone, features: Features) -> None:
    method = FaPrompt(golden_backbone, FaPromptOptions(first_block=3, patches=0))
    found, prediction = scored(method, features), predicted(method, features)
    assert torch.equal(*found.texts)
    assert torch.equal(prediction.maps.flatten(1), found.maps[0])  # type: ignore[union-attr]
    image = anomaly_probability(features.image_raw[:, None], found.texts[0], temperature=0.07)[:, 0]
    torch.testing.assert_close(prediction.scores, (image + found.maps[0].amax(dim=1)) / 2)
    assert not hasattr(method.learned, "prior")
    assert "prior" not in " ".join(method.learned.state_dict())


def test_the_prior_costs_the_normal_images_of_a_batch_in_sum(tiny: Backbone) -> None:
    method = FaPrompt(tiny, FaPromptOptions())
    batch = random_batch(method)
    squares = scored(method, batch.features).bias.square().mean(dim=1)
    for labels in ([0, 0, 1], [1, 1, 1], [1, 0, 0]):
        found = method.losses(TrainingBatch(batch.features, NAMES, torch.tensor(labels), batch.masks))["prior"]
        expected = sum(squares[place].item() for place, label in enumerate(labels) if label == 0)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_mean_of_unit_embeddings_is_another_text(
    golden_backbone: Backbone, arrays: dict[str, Tensor], features: Features
) -> None:
    raw = arrays["text_raw.neg"]
    for option, each in ((True, raw), (False, raw / raw.norm(dim=1, keepdim=True))):
        (shared, _) = scored(reference(golden_backbone, arrays, mean_raw_embeddings=option), features).texts
        expected = each.mean(dim=0)
        close(shared[0, 1], expected / expected.norm(), 1e-5)


def test_with_ln_post_the_image_embedding_is_that_of_clip(golden_backbone: Backbone, features: Features) -> None:
    found = [
        predicted(FaPrompt(golden_backbone, FaPromptOptions(first_block=3, global_ln_post=each)), features)
        for each in (True, False)
    ]
    method = FaPrompt(golden_backbone, FaPromptOptions(first_block=3))
    text = scored(method, features).texts[1]
    image, raw = (
        anomaly_probability(each[:, None], text, temperature=0.07)[:, 0]
        for each in (features.image, features.image_raw)
    )
    torch.testing.assert_close(found[0].scores - found[1].scores, (image - raw) / 2, atol=1e-6, rtol=1e-5)
    assert (image - raw).abs().max() > 1e-3


def test_one_prompt_is_similar_to_no_other(tiny: Backbone) -> None:
    method = FaPrompt(tiny, FaPromptOptions(prompts=1))
    assert method.losses(random_batch(method))["similarity"].item() == 0


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(0, 1)), min_size=1, max_size=6), st.booleans())
def test_the_focal_loss_of_scores_is_that_of_the_formula(pairs: list[tuple[float, int]], of_logits: bool) -> None:
    scores, labels = (torch.tensor(each) for each in zip(*pairs, strict=True))
    probability = torch.sigmoid(scores.double()) if of_logits else scores.double()
    hit = torch.where(labels == 1, probability, 1 - probability)
    expected = -((1 - hit) ** 2 * hit.log()).mean()
    found = binary_focal(scores, labels, of_logits=of_logits)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-4)


def test_a_score_that_is_called_a_logit_costs_something_when_it_is_right() -> None:
    scores, labels = torch.tensor([0.0, 1.0]), torch.tensor([0, 1])
    assert binary_focal(scores, labels, of_logits=False).item() == 0
    assert binary_focal(scores, labels, of_logits=True).item() > 0.02  # its probabilities are 0.5 and 0.73


@pytest.mark.parametrize("as_logit", [True, False])
def test_the_focal_loss_is_of_the_image_score(tiny: Backbone, as_logit: bool) -> None:
    method = FaPrompt(tiny, FaPromptOptions(score_as_logit=as_logit))
    batch = random_batch(method)
    scores = predicted(method, batch.features).scores
    assert method.losses(batch)["score"].item() == pytest.approx(
        binary_focal(scores, batch.labels, of_logits=as_logit).item(), rel=1e-5
    )


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda each: each.name)
def test_every_row_of_an_ablation_trains_all_that_it_learns(tiny: Backbone, ablation: Ablation) -> None:
    for options in ablation.variants.values():
        method = FaPrompt(tiny, FaPromptOptions(**options))
        torch.stack(list(method.losses(random_batch(method)).values())).sum().backward()
        assert all(gradient_of(each).abs().max() > 0 for each in method.learned.parameters())
    assert all(each.grad is None for each in tiny.model.parameters())


def test_class_names_change_nothing(tiny: Backbone) -> None:
    method = FaPrompt(tiny, FaPromptOptions())
    features = random_features(method)
    with torch.no_grad():
        found = method.predict(features, [ClassName("carpet")] * 3)
    assert torch.equal(found.scores, predicted(method, features).scores)


def test_texts_of_the_plot_are_unit_pairs_of_each_image(tiny: Backbone) -> None:
    method = FaPrompt(tiny, FaPromptOptions())
    with torch.no_grad():
        found = method.text_features(random_features(method), NAMES)
    assert list(found) == ["shared", "of the image"]
    for text in found.values():
        assert text.shape == (3, 2, tiny.width)
        torch.testing.assert_close(text.norm(dim=-1), torch.ones(3, 2))


def test_more_patches_than_an_image_has_are_refused(tiny: Backbone) -> None:
    FaPrompt(tiny, FaPromptOptions(patches=64))
    with pytest.raises(BenchError, match=r"^faprompt\.patches=65: an image has 64 patches; choose at most 64$"):
        FaPrompt(tiny, FaPromptOptions(patches=65))


@pytest.mark.parametrize("name", ["context", "abnormal_tokens", "prompts", "deep_depth", "deep_tokens"])
def test_values_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(RegistryError, match=rf"^option faprompt\.{name}: "):
        make_options(FaPrompt, {name: "0"})


def test_prompts_beyond_the_text_tower_are_not_made(tiny: Backbone) -> None:
    assert len(FaPrompt(tiny, FaPromptOptions()).learned.deep) == tiny.text_blocks - 1


def test_the_seed_draws_what_is_learned(tiny: Backbone) -> None:
    options = FaPromptOptions()
    first, again, other = (FaPrompt(tiny, options, seed=seed).learned.state_dict() for seed in (0, 0, 1))
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        assert not torch.equal(tensor, other[name])
