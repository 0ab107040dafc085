"""CoOp: prompts with a learned context against golden numbers, and the method made of them."""

from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from support.golden import Golden
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.clip.text import token_table
from benchmark.contract import Features, TrainingBatch
from methods.coop import CoOp, CoOpOptions

NAMES = ("normal metal nut", "anomalous metal nut", "damaged metal nut")
LABELS = torch.tensor([0, 1, 1])
CASES = ("ctx12", "ctx16", "ctx12_csc")


def prompts(context: Tensor) -> list[list[str | Tensor]]:
    """The prompts of the golden classes, with one context for all or one for each."""
    return [[each, f"{name}."] for each, name in zip(context.expand(3, *context.shape[-2:]), NAMES, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_prompts_match_the_reference(golden: Golden, golden_backbone: Backbone, case: str) -> None:
    arrays, tokenizer = golden("coop"), open_clip.SimpleTokenizer()
    given = prompts(arrays[f"{case}.ctx"])
    table, rows = token_table(golden_backbone.model, tokenizer, tokenizer.encode, given)
    lengths = (arrays[f"{case}.tokenized_prompts"].argmax(dim=1) + 1).tolist()
    assert [len(each) for each in rows] == lengths
    for ours, theirs in zip(rows, arrays[f"{case}.prompts"], strict=True):
        torch.testing.assert_close(table[list(ours)], theirs[: len(ours)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_text_logits_loss_and_gradient_match_the_reference(
    golden: Golden, golden_backbone: Backbone, numbers: dict[str, Any], case: str
) -> None:
    arrays = golden("coop")
    scalars = numbers["cases"][case]
    context = arrays[f"{case}.ctx"].requires_grad_()
    raw = golden_backbone.encode_prompts(prompts(context))
    torch.testing.assert_close(raw, arrays[f"{case}.text_features_raw"], atol=2e-5, rtol=0)
    text = F.normalize(raw, dim=-1)
    torch.testing.assert_close(text, arrays[f"{case}.text_features"], atol=1e-5, rtol=0)
    logits = F.normalize(arrays["image_embed"], dim=-1) @ text.T / 0.07
    torch.testing.assert_close(logits, arrays[f"{case}.logits"], atol=5e-5, rtol=0)
    loss = F.cross_entropy(logits, LABELS)
    assert loss.item() == pytest.approx(scalars["loss"], rel=1e-5)
    loss.backward()
    gradient = arrays[f"{case}.grad_ctx"]
    torch.testing.assert_close(context.grad, gradient, atol=2e-4 * gradient.abs().max().item(), rtol=0)


def test_a_context_made_of_words_is_plain_text(golden: Golden, golden_backbone: Backbone) -> None:
    arrays = golden("coop")
    learned = golden_backbone.encode_prompts(prompts(arrays["init_words.ctx"]))
    torch.testing.assert_close(learned, arrays["init_words.text_features_raw"], atol=2e-5, rtol=0)
    plain = golden_backbone.encode_text([f"a photo of a {name}." for name in NAMES])
    torch.testing.assert_close(learned, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["ctx12", "ctx16"])
def test_the_method_scores_and_trains_on_the_normal_and_the_anomalous_prompt(
    golden: Golden, golden_backbone: Backbone, case: str
) -> None:
    arrays = golden("coop")
    context = arrays[f"{case}.ctx"]
    method = CoOp(golden_backbone, CoOpOptions(context=len(context), temperature=0.07))  # the reference's
    method.learned.load_state_dict({"context": context})
    features = golden_backbone.encode_images(golden("anomalyclip_inputs")["images_70"], method.vision())
    pair = arrays[f"{case}.logits"][:, :2]
    with torch.no_grad():
        scores = method.predict(features, ["metal nut"] * 3).scores
    torch.testing.assert_close(scores, pair.softmax(dim=1)[:, 1], atol=1e-5, rtol=0)
    terms = method.losses(TrainingBatch(features, ("metal nut",) * 3, LABELS, torch.zeros(3, 70, 70)))
    assert list(terms) == ["image"]
    assert terms["image"].item() == pytest.approx(F.cross_entropy(pair, LABELS).item(), rel=1e-5)


@pytest.mark.parametrize(("temperature", "expected"), [(None, 0.01), (0.07, 0.07)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_temperature_is_that_of_the_backbone_unless_one_is_given(
    golden: Golden, golden_config: dict[str, Any], temperature: float | None, expected: float, dtype: str
) -> None:
    model = open_clip.CLIP(**golden_config["open_clip"])
    model.load_state_dict(golden("clip_weights") | {"logit_scale": torch.tensor(100.0).log()})
    backbone = Backbone(model, name="hot", architecture="hot", sha256="0" * 64, synthetic=True, dtype=dtype)
    method = CoOp(backbone, CoOpOptions(temperature=temperature))
    features = backbone.encode_images(golden("anomalyclip_inputs")["images_70"], method.vision())
    names = ["metal nut"] * 3
    with torch.no_grad():
        found = method.predict(features, names)
        loss = method.losses(TrainingBatch(features, tuple(names), LABELS, torch.zeros(3, 70, 70)))["image"]
        text = method.text(names)[0]
    logits = F.normalize(features.image, dim=-1) @ text.T / expected
    torch.testing.assert_close(found.scores, logits.softmax(dim=1)[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(loss, F.cross_entropy(logits, LABELS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_the_rate_warms_up_and_then_follows_torchs_cosine(tiny: Backbone, epochs: int) -> None:
    method = CoOp(tiny, CoOpOptions(epochs=epochs))
    optimiser = method.optimiser()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs)
    assert method.learning_rate(0) == 1e-5
    for epoch in range(1, epochs):
        assert method.learning_rate(epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        schedule.step()
    assert method.learning_rate(1) == 0.002


def features_of(backbone: Backbone, method: CoOp, images: int = 3, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return backbone.encode_images(torch.randn(images, 3, 112, 112, generator=generator), method.vision())


def test_the_loss_depends_on_labels_and_the_global_embedding_alone(tiny: Backbone) -> None:
    method = CoOp(tiny, CoOpOptions())
    features, other = (features_of(tiny, method, seed=seed) for seed in (0, 1))
    batch = TrainingBatch(features, ("carpet", "metal nut", "carpet"), LABELS, torch.zeros(3, 112, 112))
    expected = method.losses(batch)["image"]
    same = replace(batch, features=replace(other, image=features.image), masks=torch.ones(3, 112, 112))
    assert torch.equal(method.losses(same)["image"], expected)
    for changed in (
        replace(batch, features=replace(features, image=other.image)),
        replace(batch, labels=1 - LABELS),
        replace(batch, class_names=("metal nut", "metal nut", "carpet")),
    ):
        assert not torch.allclose(method.losses(changed)["image"], expected, atol=1e-4)


def test_only_the_context_trains(tiny: Backbone) -> None:
    method = CoOp(tiny, CoOpOptions(context=7, momentum=0.5, weight_decay=0.1))
    assert [(name, tuple(each.shape)) for name, each in method.learned.named_parameters()] == [
        ("context", (7, tiny.text_width))
    ]
    (group,) = method.optimiser().param_groups
    assert [id(each) for each in group["params"]] == [id(method.learned.context)]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.002, 0.5, 0.1)
    batch = TrainingBatch(features_of(tiny, method), ("carpet",) * 3, LABELS, torch.zeros(3, 112, 112))
    method.losses(batch)["image"].backward()
    assert method.learned.context.grad is not None
    assert (method.learned.context.grad.abs().sum(dim=1) > 0).all()
    assert all(parameter.grad is None for parameter in tiny.model.parameters())


def test_a_loaded_state_gives_the_same_prediction_and_the_seed_another(tiny: Backbone) -> None:
    first, loaded, other = (CoOp(tiny, CoOpOptions(), seed=seed) for seed in (0, 1, 1))
    loaded.learned.load_state_dict(first.learned.state_dict())
    features = features_of(tiny, first)
    with torch.no_grad():
        expected, same, different = (each.predict(features, ["carpet"] * 3) for each in (first, loaded, other))
    assert torch.equal(same.scores, expected.scores)
    assert torch.equal(same.maps, expected.maps)
    assert not torch.allclose(different.maps, expected.maps, atol=1e-4)


def test_each_image_is_scored_and_trains_by_its_own_class(tiny: Backbone) -> None:
    method, mixed_names = CoOp(tiny, CoOpOptions()), ["carpet", "metal nut", "carpet"]
    features = features_of(tiny, method)
    with torch.no_grad():
        mixed = method.predict(features, mixed_names)
        carpet, nut = (CoOp(tiny, CoOpOptions()).predict(features, [name] * 3) for name in ("carpet", "metal nut"))
    torch.testing.assert_close(mixed.scores[[0, 2]], carpet.scores[[0, 2]])
    torch.testing.assert_close(mixed.maps[1], nut.maps[1])
    assert not torch.allclose(carpet.maps[1], nut.maps[1], atol=1e-4)
    text = torch.stack(
        [
            F.normalize(
                tiny.encode_prompts(
                    [[method.learned.context, f"{state} {name}."] for state in ("normal", "anomalous")]
                ),
                dim=-1,
            )
            for name in mixed_names
        ]
    )
    logits = torch.einsum("bd,bkd->bk", F.normalize(features.image, dim=-1), text) / 0.07
    loss = method.losses(TrainingBatch(features, tuple(mixed_names), LABELS, torch.zeros(3, 112, 112)))["image"]
    torch.testing.assert_close(loss, F.cross_entropy(logits, LABELS), atol=1e-5, rtol=0)
