"""AnomalyCLIP against golden numbers: text, maps, probabilities, losses, and three steps of training."""

from typing import Any

import pytest
import torch
from support.golden import Golden
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.contract import Dpam, Features, Layer, TrainingBatch
from benchmark.records.checkpoints import tensors_to_bytes
from benchmark.running.maps import at_evaluation_size
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.base import anomaly_probability

LAYERS = (2, 3, 4, 6)


def reference(backbone: Backbone, state: dict[str, Tensor], **options: Any) -> AnomalyClip:
    """AnomalyCLIP as the golden numbers were made: 6 blocks, DPAM_layer 5, depth 3, four layers."""
    given = AnomalyClipOptions(**{"deep_depth": 3, "first_block": 3, "feature_layers": LAYERS, **options})
    method = AnomalyClip(backbone, given)
    _, learned = AnomalyClip.import_state(state)
    method.learned.load_state_dict({key: learned[key] for key in method.learned.state_dict()})
    return method


@pytest.fixture
def log(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = numbers["train_log"]
    return steps


@pytest.mark.parametrize(
    ("options", "case"),
    [({}, ""), ({"deep_prompt_half": True}, "_halfcast"), ({"deep_depth": 1}, "_depth1")],
)
def test_text_features_match_the_reference(
    golden: Golden, golden_backbone: Backbone, options: dict[str, Any], case: str
) -> None:
    arrays = golden("anomalyclip_prompt")
    text = reference(golden_backbone, arrays, **options).text(["object"])
    torch.testing.assert_close(text, arrays[f"text_features{case}"], atol=1e-5, rtol=0)


def test_the_half_quirk_is_seen(golden: Golden, golden_backbone: Backbone) -> None:
    arrays = golden("anomalyclip_prompt")
    difference = (arrays["text_features"] - arrays["text_features_halfcast"]).abs().max()
    assert difference > 5e-5  # so the tolerance of the test above tells the two apart


@pytest.mark.parametrize("size", [70, 98])
@pytest.mark.parametrize(
    ("case", "options"),
    [("dpam_ffn0", {}), ("dpam_ffn1", {"ffn": True}), ("plain", {"attention": "original"})],
)
def test_probabilities_and_maps_match_the_reference(
    golden: Golden, golden_backbone: Backbone, size: int, case: str, options: dict[str, Any]
) -> None:
    arrays, images = golden("anomalyclip_maps"), golden("anomalyclip_inputs")[f"images_{size}"]
    method = reference(golden_backbone, golden("anomalyclip_prompt"), **options)
    features = golden_backbone.encode_images(images, method.vision())
    with torch.no_grad():
        prediction = method.predict(features, ["metal nut"] * 3)
    torch.testing.assert_close(prediction.scores, arrays[f"{size}.{case}.image_prob"], atol=1e-5, rtol=0)
    text = golden("anomalyclip_prompt")["text_features"].expand(3, 2, -1)
    compared = 0
    for layer in method.layers:
        expected = arrays.get(f"{size}.{case}.similarity_l{layer.block}")
        if expected is not None:
            ours = anomaly_probability(features.patches[layer], text, temperature=0.07)
            torch.testing.assert_close(ours, expected[:, 1:, 1], atol=1e-5, rtol=0)
            compared += 1
    for smoothing, suffix in ((0.0, "raw"), (method.smoothing, "sigma4")):
        expected = arrays.get(f"{size}.{case}.anomaly_map_{suffix}")
        if expected is not None:
            _, maps = at_evaluation_size(prediction, image_size=size, smoothing=smoothing)
            assert maps is not None
            torch.testing.assert_close(torch.from_numpy(maps), expected, atol=2e-5, rtol=0)
            compared += 1
    assert compared


def test_with_ln_post_the_image_embedding_is_that_of_clip(golden: Golden, golden_backbone: Backbone) -> None:
    images, expected = golden("anomalyclip_inputs")["images_70"], golden("anomalyclip_vision")
    method = reference(golden_backbone, golden("anomalyclip_prompt"), global_ln_post=True)
    features = golden_backbone.encode_images(images, method.vision())
    text = golden("anomalyclip_prompt")["text_features"].expand(3, 2, -1)
    scores = anomaly_probability(expected["70.clip.image_embed"][:, None], text, temperature=0.07)[:, 0]
    torch.testing.assert_close(method.predict(features, ["x"] * 3).scores.detach(), scores, atol=1e-5, rtol=0)
    default = reference(golden_backbone, golden("anomalyclip_prompt")).predict(features, ["x"] * 3).scores
    assert not torch.allclose(default.detach(), scores, atol=1e-3)


def test_three_adam_steps_match_the_reference(
    golden: Golden, golden_backbone: Backbone, log: list[dict[str, Any]]
) -> None:
    arrays, inputs = golden("anomalyclip_train"), golden("anomalyclip_inputs")
    method = reference(golden_backbone, golden("anomalyclip_prompt"))
    features = golden_backbone.encode_images(inputs["images_70"], method.vision())
    batch = TrainingBatch(features, ("a", "b", "c"), inputs["labels"].long(), arrays["gt_binary"].float())
    optimiser = method.optimiser()
    names = {"normal": "ctx_pos", "abnormal": "ctx_neg", "deep.0": "compound_prompts_text.0"}
    names["deep.1"] = "compound_prompts_text.1"
    for step, expected in enumerate(log, start=1):
        terms = method.losses(batch)
        assert terms["image"].item() == pytest.approx(expected["image_loss"], abs=1e-4)
        for name in ("focal", "dice_abnormal", "dice_normal"):
            assert terms[name].item() == pytest.approx(4 * sum(expected[name]), abs=1e-4)
        total = sum(terms.values(), start=torch.zeros(()))
        assert total.item() == pytest.approx(expected["total"], abs=1e-4)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        for ours, theirs in names.items():
            parameter = dict(method.learned.named_parameters())[ours]
            assert parameter.grad is not None
            gradient = arrays[f"step{step}.grad.{theirs}"].reshape(parameter.shape)
            torch.testing.assert_close(parameter.grad, gradient, atol=2e-4 * gradient.abs().max().item(), rtol=0)
            stepped = arrays[f"step{step}.param.{theirs}"].reshape(parameter.shape)
            torch.testing.assert_close(parameter.detach(), stepped, atol=3e-6, rtol=0)
    with torch.no_grad():
        text = method.text(["object"])
    torch.testing.assert_close(text.squeeze(), arrays["final.text_features"].squeeze(), atol=1e-5, rtol=0)
    assert all(parameter.grad is None for parameter in golden_backbone.model.parameters())


def test_the_masks_of_the_reference_are_those_of_the_inputs(golden: Golden) -> None:
    """What the loader does with grey masks, so that the training above starts from the same."""
    masks = golden("anomalyclip_inputs")["masks"][:, 0]
    assert torch.equal((masks > 0.5).float(), golden("anomalyclip_train")["gt_binary"].float())


def test_prompts_beyond_the_text_tower_are_not_made(tiny: Backbone) -> None:
    assert len(AnomalyClip(tiny, AnomalyClipOptions()).learned.deep) == tiny.text_blocks - 1


def features_of(backbone: Backbone, method: AnomalyClip, images: int = 2) -> Features:
    generator = torch.Generator().manual_seed(0)
    size = method.vision().image_size
    return backbone.encode_images(torch.randn(images, 3, size, size, generator=generator), method.vision())


def test_object_agnostic_prompts_do_not_see_the_class_and_others_do(tiny: Backbone) -> None:
    for word, same in (("object", True), ("", False)):
        method = AnomalyClip(tiny, AnomalyClipOptions(word=word))
        with torch.no_grad():
            one, other = (method.predict(features_of(tiny, method), [name] * 2) for name in ("carpet", "metal nut"))
        assert torch.equal(one.maps, other.maps) is same


def test_each_image_is_scored_by_its_own_class_where_prompts_name_it(tiny: Backbone) -> None:
    method = AnomalyClip(tiny, AnomalyClipOptions(word=""))
    with torch.no_grad():
        features = features_of(tiny, method)
        mixed = method.predict(features, ["metal nut", "carpet"])
        torch.testing.assert_close(mixed.maps[1], method.predict(features, ["carpet", "carpet"]).maps[1])


def test_layers_follow_the_quirk_and_the_attention(tiny: Backbone) -> None:
    path = Dpam(1)
    assert AnomalyClip(tiny, AnomalyClipOptions()).layers == (Layer(4, path),)
    four = AnomalyClip(tiny, AnomalyClipOptions(feature_layers="four"))
    assert four.layers == tuple(Layer(block, path) for block in (1, 2, 3, 4))
    plain = AnomalyClip(tiny, AnomalyClipOptions(feature_layers=(2, 4), attention="original"))
    assert plain.layers == (Layer(2), Layer(4))
    assert AnomalyClip(tiny, AnomalyClipOptions(image_scale=0.75)).vision().image_size == 84


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({"local_loss": False}, {"image"}),
        ({"global_loss": False}, {"focal", "dice_abnormal", "dice_normal"}),
        ({"local_terms": "focal"}, {"image", "focal"}),
        ({"local_terms": "dice"}, {"image", "dice_abnormal", "dice_normal"}),
    ],
)
def test_losses_can_be_switched_off(tiny: Backbone, options: dict[str, Any], terms: set[str]) -> None:
    method = AnomalyClip(tiny, AnomalyClipOptions(**options))
    batch = TrainingBatch(features_of(tiny, method), ("a", "b"), torch.tensor([0, 1]), torch.zeros(2, 112, 112))
    assert set(method.losses(batch)) == terms


def test_a_shared_context_is_trained_by_both_prompts(tiny: Backbone) -> None:
    method = AnomalyClip(tiny, AnomalyClipOptions(shared_context=True, abnormal_word="", deep_depth=1))
    text = method.text(["carpet"])
    assert torch.equal(text[0, 0], text[0, 1])  # the same words after the same context
    assert [name for name, _ in method.learned.named_parameters()] == ["normal"]
    assert len(tensors_to_bytes(method.learned.state_dict())) > 0


def test_by_the_code_base_and_t1_have_equal_image_scores_and_other_maps(tiny: Backbone) -> None:
    """As Table 4 prints them: without training, the attention path alone makes a difference, and only to maps."""
    [rows] = [each.variants for each in AnomalyClip.ablations if each.name == "modules_code"]
    found = []
    for row in ("base", "+T1"):
        options = AnomalyClipOptions(**rows[row])
        assert options.epochs == 0
        method = AnomalyClip(tiny, options)
        with torch.no_grad():
            found.append(method.predict(features_of(tiny, method), ["carpet", "metal nut"]))
    assert torch.equal(found[0].scores, found[1].scores)
    assert not torch.allclose(found[0].maps, found[1].maps)


def test_the_seed_draws_the_prompts(tiny: Backbone) -> None:
    first, again, other = (AnomalyClip(tiny, AnomalyClipOptions(), seed=seed).learned.normal for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_file_of_faprompt_is_not_read() -> None:
    state = {"ctx_pos": torch.zeros(1, 1, 5, 64), "ctx_neg": torch.zeros(1, 10, 2, 64)}
    with pytest.raises(ValueError, match=r"ctx_neg has the shape \(1, 10, 2, 64\), so it is of several"):
        AnomalyClip.import_state(state)
