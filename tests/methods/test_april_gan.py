"""APRIL-GAN against golden numbers: towers, text, logits, maps, scores, losses, and three steps of training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.golden import named
from torch import Tensor

from benchmark.api.datasets import select_cards
from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.contract import ClassName, Features, Layer, LayerLogits, Prediction, TrainingBatch
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.checkpoints import CheckpointError
from benchmark.registry import RegistryError, make_options
from benchmark.running.maps import at_evaluation_size
from benchmark.training.published import import_checkpoint
from benchmark.training.runner import build_method
from methods.april_gan import TEMPLATES, AprilGan, AprilGanOptions
from methods.prompts import state_prompts

LAYERS = (2, 3, 4, 6)
CLASSES = tuple(map(ClassName, ("metal_nut", "candle", "metal_nut")))
PLAIN = {"gelu": True, "quickgelu": False}


def reference(backbone: Backbone, arrays: dict[str, Tensor], case: str = "gelu", **options: Any) -> AprilGan:
    """APRIL-GAN as the golden numbers were made: four of 6 blocks, untrained."""
    given = AprilGanOptions(feature_layers=LAYERS, plain_gelu=PLAIN[case], **options)
    method = AprilGan(backbone.variant(AprilGan.backbone_variant(given)), given)
    _, learned = AprilGan.import_state(named(arrays, "init."))
    method.learned.load_state_dict(learned)
    return method


def features_of(method: AprilGan, images: Tensor) -> Features:
    assert isinstance(method.backbone, Backbone)
    return method.backbone.encode_images(images, method.vision())


def predicted(method: AprilGan, features: Features) -> tuple[Prediction, Tensor]:
    """Return the prediction, and the differences of its logits, of shape `(B, L, N)`."""
    with torch.no_grad():
        prediction = method.predict(features, CLASSES)
    assert isinstance(prediction.maps, LayerLogits)
    return prediction, prediction.maps.differences.flatten(2)


def differences(arrays: dict[str, Tensor], case: str) -> Tensor:
    return torch.stack(
        [arrays[f"{case}.logits_l{k}"][..., 1] - arrays[f"{case}.logits_l{k}"][..., 0] for k in LAYERS], 1
    )


def final_map(prediction: Prediction, size: int) -> Tensor:
    _, maps = at_evaluation_size(prediction, image_size=size, smoothing=AprilGan.smoothing)
    return torch.from_numpy(maps)


def a_batch(method: AprilGan, inputs: dict[str, Tensor], places: tuple[int, ...] = (0, 1, 2)) -> TrainingBatch:
    index = torch.tensor(places)
    features = features_of(method, inputs["images_70"][index])
    masks = (inputs["masks"][index, 0] > 0.5).float()
    return TrainingBatch(features, tuple(CLASSES[i] for i in places), inputs["labels"][index].long(), masks)


def check_losses(terms: dict[str, Tensor], expected: dict[str, Any]) -> Tensor:
    assert terms["focal"].item() == pytest.approx(sum(expected["focal"]), rel=1e-5)
    assert terms["dice_abnormal"].item() == pytest.approx(sum(expected["dice"]), rel=1e-5)
    total = torch.stack(list(terms.values())).sum()
    assert total.item() == pytest.approx(expected["total"], rel=1e-5)
    return total


@pytest.mark.parametrize("case", PLAIN)
def test_text_matches_the_reference(golden_backbone: Backbone, arrays: dict[str, Tensor], case: str) -> None:
    method = reference(golden_backbone, arrays, case)
    names = {"metal_nut": "metal_nut", "candle": "candle", "metal nut": "metal~nut"}
    for name, text in zip(names, method.text([ClassName(name) for name in names]), strict=True):
        torch.testing.assert_close(text, arrays[f"{case}.text.{names[name]}"], atol=1e-6, rtol=0)


def test_prompts_have_the_folders_name_unless_the_quirk_is_off(
    golden_backbone: Backbone, arrays: dict[str, Tensor]
) -> None:
    name = ClassName("metal nut", folder="metal_nut")
    for raw, expected in ((True, "metal_nut"), (False, "metal~nut")):
        text = reference(golden_backbone, arrays, raw_class_names=raw).text([name])[0]
        torch.testing.assert_close(text, arrays[f"gelu.text.{expected}"], atol=1e-6, rtol=0)


def test_there_are_as_many_prompts_as_in_the_code() -> None:
    normal, abnormal = state_prompts(TEMPLATES, "metal_nut")
    assert (len(set(TEMPLATES)), len(set(normal)), len(set(abnormal))) == (35, 245, 175)
    assert all(prompt.endswith(".") and "metal_nut" in prompt for prompt in (*normal, *abnormal))


@pytest.mark.parametrize(("case", "layers"), [("gelu", LAYERS), ("quickgelu", (6,))])
def test_tokens_and_positions_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], case: str, layers: tuple[int, ...]
) -> None:
    method = reference(golden_backbone, arrays, case)
    features = features_of(method, inputs["images_70"])
    for block in layers:
        expected = arrays[f"{case}.70.tokens_l{block}"][:, 1:]
        torch.testing.assert_close(features.hidden[Layer(block)], expected, atol=2e-5, rtol=0)
    assert isinstance(method.backbone, Backbone)
    torch.testing.assert_close(method.backbone.positions(7), arrays["98.pos_embed"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("case", "size"), [("gelu", 70), ("gelu", 98), ("quickgelu", 70), ("quickgelu", 98)])
def test_scores_logits_and_maps_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], case: str, size: int
) -> None:
    method = reference(golden_backbone, arrays, case)
    features = features_of(method, inputs[f"images_{size}"])
    torch.testing.assert_close(features.image, arrays[f"{case}.{size}.image_embed"], atol=2e-5, rtol=0)
    prediction, found = predicted(method, features)
    torch.testing.assert_close(prediction.scores, arrays[f"{case}.{size}.image_prob"], atol=2e-5, rtol=0)
    torch.testing.assert_close(found, differences(arrays, f"{case}.{size}"), atol=2e-4, rtol=0)
    if (case, size) != ("quickgelu", 98):
        torch.testing.assert_close(final_map(prediction, size), arrays[f"{case}.{size}.map_sum"], atol=2e-5, rtol=0)


def test_the_map_of_one_layer_matches_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]
) -> None:
    method = reference(golden_backbone, arrays)
    prediction, _ = predicted(method, features_of(method, inputs["images_70"]))
    assert isinstance(prediction.maps, LayerLogits)
    first = LayerLogits(prediction.maps.differences[:, :1], corners_aligned=True, softmax_last=True)
    found = final_map(Prediction(prediction.scores, first), 70)
    torch.testing.assert_close(found, arrays["gelu.70.map_l2"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("case", PLAIN)
def test_three_adam_steps_match_the_reference(
    golden_backbone: Backbone,
    arrays: dict[str, Tensor],
    inputs: dict[str, Tensor],
    numbers: dict[str, Any],
    case: str,
) -> None:
    method = reference(golden_backbone, arrays, case)
    batch, [stage] = a_batch(method, inputs), method.stages(["visa"])
    assert stage.optimiser is not None
    before = {name: value.clone() for name, value in method.learned.state_dict().items()}
    for step, expected in enumerate(numbers[f"train_log_{case}"], start=1):
        total = check_losses(dict(stage.losses(batch)), expected)
        stage.optimiser.zero_grad()
        total.backward()
        stage.optimiser.step()
        for name, parameter in method.learned.named_parameters():
            gradient = arrays.get(f"{case}.train.step{step}.grad.{name.replace('linear', 'fc')}")
            assert parameter.grad is not None
            if gradient is not None:
                torch.testing.assert_close(parameter.grad, gradient, atol=1e-4 * gradient.abs().max().item(), rtol=0)
    for name, parameter in method.learned.named_parameters():
        expected = arrays[f"{case}.train.step3.param.{name.replace('linear', 'fc')}"]
        torch.testing.assert_close(parameter.detach(), expected, atol=1e-5, rtol=0)
        assert (expected - before[name]).abs().max() > 1e-3  # so the tolerance tells a step from none
    if case == "gelu":
        prediction, found = predicted(method, batch.features)
        torch.testing.assert_close(found, differences(arrays, "gelu.70.trained"), atol=1e-3, rtol=0)
        torch.testing.assert_close(final_map(prediction, 70), arrays["gelu.70.trained.map_sum"], atol=2e-5, rtol=0)
    assert isinstance(method.backbone, Backbone)
    assert all(parameter.grad is None for parameter in method.backbone.model.parameters())


def test_one_text_can_serve_the_batch(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    method = reference(golden_backbone, arrays, one_text_per_batch=True)
    batch, optimiser = a_batch(method, inputs), method.optimiser()
    for expected in numbers["train_log_one_class_for_all"]["log"]:
        optimiser.zero_grad()
        check_losses(method.losses(batch), expected).backward()
        optimiser.step()


def test_in_a_batch_of_one_image_the_dice_loss_is_that_of_rows(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    expected = numbers["single_image_batch"]
    method = reference(golden_backbone, arrays)
    check_losses(method.losses(a_batch(method, inputs, (2,))), expected)
    by_image = reference(golden_backbone, arrays, mask_rows=False)
    terms = by_image.losses(a_batch(by_image, inputs, (2,)))
    assert terms["focal"].item() == pytest.approx(sum(expected["focal"]), rel=1e-5)
    assert abs(terms["dice_abnormal"].item() - sum(expected["dice"])) > 0.05


def test_the_readings_of_a_map_are_four(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]
) -> None:
    """With PyTorch as the oracle, where the golden numbers have only one of them."""
    for aligned in (True, False):
        for last in (True, False):
            method = reference(golden_backbone, arrays, corners_aligned=aligned, softmax_after_upsampling=last)
            batch = a_batch(method, inputs)
            prediction, found = predicted(method, batch.features)
            grid = found.reshape(3, 4, 5, 5)

            def larger(maps: Tensor, aligned: bool = aligned) -> Tensor:
                return torch.nn.functional.interpolate(maps, size=70, mode="bilinear", align_corners=aligned)

            maps = larger(grid).sigmoid() if last else larger(grid.sigmoid())
            torch.testing.assert_close(final_map(prediction, 70), maps.sum(dim=1), atol=2e-5, rtol=0)
            true = batch.masks[:, None]
            hit = torch.where(true > 0, maps, 1 - maps) * (1 - 2e-5) + 2e-5
            focal = -((1 - hit) ** 2 * hit.log()).mean() * 4
            assert method.losses(batch)["focal"].item() == pytest.approx(focal.item(), rel=1e-5)


def test_layers_are_those_of_the_quarters_or_named(tiny: Backbone) -> None:
    asked: dict[Any, tuple[int, ...]] = {
        "four": (1, 2, 3, 4),
        "first": (1,),
        "third": (3,),
        "last": (4,),
        (2, 4): (2, 4),
    }
    for chosen, blocks in asked.items():
        method = AprilGan(tiny, AprilGanOptions(feature_layers=chosen))
        assert method.vision().hidden == tuple(map(Layer, blocks))
        assert len(method.learned.linear) == len(blocks)


@pytest.mark.parametrize(("blocks", "expected"), [(1, (1, 1, 1, 1)), (2, (1, 1, 1, 2)), (3, (1, 1, 2, 3))])
def test_the_last_quarter_of_a_short_tower_is_its_last_block(blocks: int, expected: tuple[int, ...]) -> None:
    four = tuple(sorted(set(expected)))
    tower: Any = SimpleNamespace(blocks=blocks, feature_blocks=four, vision_width=4, width=4, device="cpu")
    for chosen, block in zip(("first", "second", "third", "last"), expected, strict=True):
        assert AprilGan(tower, make_options(AprilGan, {"feature_layers": chosen})).layers == (Layer(block),)


@pytest.mark.parametrize(("name", "value"), [("mosaic", "1.5"), ("mosaic", "-0.1"), ("feature_layers", "[]")])
def test_values_out_of_range_are_refused(name: str, value: str) -> None:
    with pytest.raises(RegistryError, match=rf"^option april_gan\.{name}"):
        make_options(AprilGan, {name: value})


def test_epochs_and_mosaics_follow_the_auxiliary_dataset(tiny: Backbone) -> None:
    def stage(auxiliaries: list[str], **options: Any) -> tuple[int, bool]:
        [found] = AprilGan(tiny, AprilGanOptions(**options)).stages(auxiliaries)
        assert found.vision.images is False  # with features that are stored, unless there are mosaics
        return found.epochs, found.augment is not None

    assert stage(["mvtec"]) == (3, True)
    assert stage(["visa"]) == (15, False)
    assert stage(["mvtec", "cvc_colondb"]) == (3, True)
    assert stage(["mvtec"], mosaic=0.0) == (3, False)
    assert stage(["mvtec"], epochs=7) == (7, True)
    assert stage(["visa"], epochs=0) == (0, False)


def test_the_seed_draws_the_layers_as_torch_would(tiny: Backbone) -> None:
    first, again, other = (AprilGan(tiny, AprilGanOptions(), seed=seed).learned.state_dict() for seed in (0, 0, 1))
    bound = tiny.vision_width**-0.5
    for name, values in first.items():
        assert torch.equal(values, again[name])
        assert not torch.equal(values, other[name])
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_each_image_is_scored_by_its_own_class(tiny: Backbone) -> None:
    method = AprilGan(tiny, AprilGanOptions())
    generator = torch.Generator().manual_seed(0)
    features = features_of(method, torch.randn(2, 3, tiny.image_size, tiny.image_size, generator=generator))
    with torch.no_grad():
        mixed, same = (
            method.logits(features, method.text([ClassName(name) for name in names])).differences
            for names in (("carpet", "metal nut"), ("metal nut", "metal nut"))
        )
    torch.testing.assert_close(mixed[1], same[1])
    assert not torch.allclose(mixed[0], same[0])


def test_another_checkpoint_is_told_apart() -> None:
    with pytest.raises(KeyError):
        AprilGan.import_state({"ctx_pos": torch.zeros(1)})


@pytest.mark.parametrize(
    ("layers", "narrower", "message"),
    [
        (5, 0, r"scored: 5 in the file, not 4; say which blocks by --set METHOD\.feature_layers=\[…\] where it is"),
        (1, 0, "scored: 1 in the file, not 4"),
        (4, 1, r"are of shape \(\d+, \d+\), and \(\d+, \d+\) with this backbone; import it with the --backbone"),
    ],
)
def test_a_checkpoint_of_other_layers_says_what_to_do(
    tiny: Backbone, tmp_path: Path, layers: int, narrower: int, message: str
) -> None:
    state = {f"fc.{i}.weight": torch.ones(tiny.width, tiny.vision_width - narrower) for i in range(layers)}
    state |= {f"fc.{i}.bias": torch.ones(tiny.width) for i in range(layers)}
    file = tmp_path / "published.pth"
    torch.save({"trainable_linearlayer": state}, file)
    path, _ = import_checkpoint(
        [file],
        AprilGan,
        auxiliaries=select_cards(["visa"]),
        backbone=backbone_id(parse_backbone(tiny.name), dtype=tiny.dtype),
        protocol=Protocol(),
        results=tmp_path,
    )
    with pytest.raises(CheckpointError, match=f"does not fit APRIL-GAN: .*{message}"):
        build_method(AprilGan, tiny, AprilGanOptions(), seed=0, checkpoint=path)
