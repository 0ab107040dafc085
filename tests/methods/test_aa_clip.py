"""AA-CLIP against golden numbers: texts, patches, maps, scores, losses, and three steps of both stages of training."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import close, named
from torch import Tensor

from benchmark.api.datasets import select_cards
from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.contract import ClassName, Features, Picture, Prediction, TrainingBatch
from benchmark.data.cards import load_cards
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.checkpoints import CheckpointError
from benchmark.records.learned import load_learned
from benchmark.running.maps import at_evaluation_size
from benchmark.training.published import import_checkpoint
from benchmark.training.runner import build_method
from methods.aa_clip import AaClip
from methods.aa_clip_augmentation import jittered, moved
from methods.aa_clip_descriptions import DESCRIPTIONS, OF_ALL_CLASSES, description, prompts
from methods.aa_clip_options import AaClipOptions
from methods.aa_clip_parts import Adapters, Learned, anchoring_features, blur, read_published, smoothed
from methods.linear_patches import logit_differences

LEVELS = (2, 3, 4, 6)
DOMAINS = ("industrial", "medical")


def named_class(folder: str, domain: str = "industrial") -> ClassName:
    return ClassName(folder, folder=folder, dataset="visa", domain=domain)


CANDLE, PCB3 = named_class("candle"), named_class("pcb3")
BATCH = (CANDLE, PCB3, CANDLE)


def reference(backbone: Backbone, arrays: dict[str, Tensor], tag: str = "init", **options: Any) -> AaClip:
    """AA-CLIP as the golden numbers were made: two vision adapters, four of 6 blocks, V-V from block 3."""
    chosen = {"feature_layers": LEVELS, "image_adapters": 2, "first_block": 3, "jitter": False, "geometry": False}
    options_given = AaClipOptions(**{**chosen, "plain_gelu": not tag.startswith("quickgelu"), **options})
    method = AaClip(backbone.variant(AaClip.backbone_variant(options_given)), options_given)
    state = named(arrays, "init.")
    if tag == "final":
        state = {f"text_adapter.{key}": each for key, each in named(arrays, "text.step3.param.").items()}
        state |= {f"image_adapter.{key}": each for key, each in named(arrays, "image.step3.param.").items()}
    method.learned.load_state_dict(AaClip.import_state(state)[1])
    return method


def of_stage(values: dict[str, Tensor], stage: str) -> dict[str, Tensor]:
    """Values of one of the two published files by the names of our parameters."""
    others = {"text": "image", "image": "text"}
    state = {f"{stage}_adapter.{key}": value for key, value in values.items()}
    state |= dict.fromkeys(("text_adapter.0.fc.0.weight", "image_adapter.det_proj.fc.weight"), torch.zeros(0)) | state
    return {key: value for key, value in read_published(state)[1].items() if not key.startswith(others[stage])}


def features_of(method: AaClip, images: Tensor) -> Features:
    assert isinstance(method.backbone, Backbone)
    return method.backbone.encode_images(images, method.vision())


@torch.no_grad()
def predicted(method: AaClip, images: Tensor, domain: str = "industrial", name: str = "candle") -> Prediction:
    return method.predict(features_of(method, images), [named_class(name, domain)] * len(images))


# --- texts


def test_descriptions_and_prompts_are_those_of_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    import open_clip

    assert prompts("{}") == (numbers["prompts"]["normal"], numbers["prompts"]["abnormal"])
    table = numbers["class_descriptions"]
    for name, theirs in (("mvtec", "MVTec"), ("visa", "VisA"), ("btad", "BTAD"), ("mpdd", "MPDD")):
        assert DESCRIPTIONS[name] == table[theirs]
    assert set(OF_ALL_CLASSES.values()) == {table["Colon_Kvasir"]["Kvasir"]}
    for texts, kind in zip(prompts(description(CANDLE)), ("normal", "abnormal"), strict=True):
        assert torch.equal(open_clip.tokenize(texts).int(), arrays[f"tokens.{kind}"])
        close(golden_backbone.variant(AaClip.backbone_variant(AaClipOptions())).encode_text(texts),
              arrays[f"clip.text_raw.{kind}"], 2e-5)  # fmt: skip


def test_each_class_of_a_card_has_its_description() -> None:
    cards = load_cards()
    for name, known in DESCRIPTIONS.items():
        assert {each.name for each in cards[name].classes} == set(known)
    assert OF_ALL_CLASSES.keys() <= cards.keys()
    assert description(ClassName("colon", folder="Kvasir", dataset="kvasir")) == "colon endoscopy image"
    assert description(ClassName("metal nut", folder="metal_nut", dataset="mvtec")).startswith("metal nut which has")
    assert description(ClassName("brain", folder="brain", dataset="brainmri")) == "brain"
    assert description(ClassName("candle")) == "candle"  # of no dataset


@torch.no_grad()
@pytest.mark.parametrize("tag", ["init", "quickgelu.init", "text.final"])
def test_texts_match_the_reference(golden_backbone: Backbone, arrays: dict[str, Tensor], tag: str) -> None:
    method = reference(golden_backbone, arrays, tag.removeprefix("text."))
    text = method.text([CANDLE, PCB3])
    for found, name in zip(text, ("candle", "pcb3"), strict=True):
        close(found, arrays[f"{tag}.text.{name}"], 1e-5)
    close(text[:1], method.text([CANDLE]), 1e-6)
    if tag == "init":
        for texts, kind in zip(prompts(description(CANDLE)), ("normal", "abnormal"), strict=True):
            ends = method.backbone.encode_prompts(
                [[each] for each in texts], after=method.learned.text_adapters, projected=False
            )
            close(method.learned.project_text(ends), arrays[f"init.text_raw.{kind}"], 2e-5)


@torch.no_grad()
def test_texts_are_encoded_anew_when_the_text_tower_changes(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    method = AaClip(tiny, AaClipOptions())
    before = method.text([CANDLE, PCB3])
    encoded: list[list[str]] = []
    encode = method.learned.encode
    monkeypatch.setattr(
        method.learned, "encode", lambda backbone, words: encoded.append(words) or encode(backbone, words)
    )
    assert torch.equal(method.text([PCB3, CANDLE, PCB3]), before[[1, 0, 1]])
    method.learned.image.mul_(2)
    method.text([CANDLE])
    assert encoded == []
    method.text([CANDLE, named_class("cashew"), CANDLE, named_class("pcb2")])
    assert encoded == [["cashew nut"], ["integrated circuits board"]]  # each by itself
    method.learned.load_state_dict(AaClip(tiny, AaClipOptions(), seed=1).learned.state_dict())
    assert not torch.allclose(method.text([CANDLE]), before[:1])
    with torch.enable_grad():
        assert method.text([CANDLE]).requires_grad


@torch.no_grad()
def test_a_copy_of_a_method_does_not_keep_texts_of_the_original(tiny: Backbone) -> None:
    """Its parameters may have been changed as many times as those of the original."""
    method = AaClip(tiny, AaClipOptions())
    method.learned.load_state_dict(method.learned.state_dict())
    before = method.text([CANDLE])
    other = copy.deepcopy(method)
    for ours, theirs in zip(other.learned.of_text(), method.learned.of_text(), strict=True):
        while ours._version < theirs._version:
            ours.mul_(torch.linspace(-1, 1, len(ours))[:, None])
    assert not torch.allclose(other.text([CANDLE]), before)


# --- patches, maps and scores


@torch.no_grad()
@pytest.mark.parametrize(("tag", "size"), [("init", 70), ("init", 98), ("final", 70), ("quickgelu.init", 70)])
def test_patches_maps_and_scores_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], tag: str, size: int
) -> None:
    expected = named(arrays, f"{tag}.{size}.")
    method, images = reference(golden_backbone, arrays, tag), inputs[f"images_{size}"]
    compared = set()

    def compare(key: str, found: Tensor, within: float) -> None:
        if key in expected:
            compared.add(key)
            close(found, expected[key], within)

    det, patches = method.embeddings(images)
    compare("det", det, 1e-5)
    grids = (logit_differences(patches, method.text([CANDLE] * 3)) + 1) / 2
    for place, level in enumerate(LEVELS):
        compare(f"seg_l{level}", patches[:, place], 1e-5)
        compare(f"grid_l{level}", grids[:, place].flatten(1), 2e-4)
    for domain in DOMAINS:
        names = [named_class("candle", domain)] * 3
        for place, level in enumerate(LEVELS):
            compare(f"grid_smooth_{domain}_l{level}", smoothed(grids[:, place], names, grids.shape[-1]), 2e-4)
        prediction = predicted(method, images, domain)
        compare("image_pred", prediction.scores, 1e-5)
        scores, maps = at_evaluation_size(prediction, image_size=size, smoothing=method.smoothing)
        compare(f"map_{domain}", torch.from_numpy(maps), 2e-4)
        of_class = torch.tensor(scores, dtype=torch.float64)
        low, high = (torch.tensor(each(maps, axis=(1, 2)), dtype=torch.float64) for each in (np.min, np.max))
        compare(f"image_score_{domain}", method.class_scores(of_class, low, high, names[0]).float(), 1e-5)
    assert compared == expected.keys()


def test_positions_match_the_reference(golden_backbone: Backbone, arrays: dict[str, Tensor]) -> None:
    backbone = reference(golden_backbone, arrays).backbone
    assert isinstance(backbone, Backbone)
    close(backbone.positions(7), arrays["98.pos_embed"], 1e-5)


def test_ranges_of_maps_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    for case, (low, high) in numbers["map_range"].items():
        tag, size, domain = case.rsplit(".", 2)
        prediction = predicted(reference(golden_backbone, arrays, tag), inputs[f"images_{size}"], domain)
        assert isinstance(prediction.maps, Tensor)
        assert (prediction.maps.min().item(), prediction.maps.max().item()) == pytest.approx((low, high), abs=2e-4)


# --- training


def batch_of(method: AaClip, inputs: dict[str, Tensor], seed: int = 0) -> TrainingBatch:
    masks = (inputs["masks"][:, 0] > 0.5).float()
    return TrainingBatch(features_of(method, inputs["images_70"]), BATCH, inputs["labels"].long(), masks, seed)


def test_the_features_of_the_first_stage_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]
) -> None:
    backbone, images = reference(golden_backbone, arrays).backbone, inputs["images_70"]
    image, patches = anchoring_features(backbone, images, LEVELS, first=3, across=True)
    close(image, arrays["stage1.image_embed"], 2e-5)
    for place, level in enumerate(LEVELS):
        close(patches[:, place], arrays[f"stage1.patch_l{level}"], 2e-5)
    _, single = anchoring_features(backbone, images[:1], (6,), first=3, across=True)
    close(single[:, 0], arrays["stage1.single.patch_l6"], 2e-5)
    _, tokenwise = anchoring_features(backbone, images, (6,), first=3, across=False)
    close(tokenwise[:, 0], arrays["stage1.tokenwise.patch_l6"], 2e-5)


@pytest.mark.parametrize("first", [1, 2, 6])
def test_the_first_replaced_block_may_be_any(tiny: Backbone, first: int) -> None:
    """The same by two passes: one with CLIP's attention, and one that attends by values alone from that block on."""
    images = torch.randn(2, 3, tiny.image_size, tiny.image_size, generator=torch.Generator().manual_seed(0))
    blocks = tuple(range(1, tiny.blocks + 1))
    first = min(first, tiny.blocks)
    image, patches = anchoring_features(tiny, images, blocks, first=first, across=False)
    tokens = tiny.forward_vision(images, keep=blocks)
    close(image, tiny.embed(tokens.last[:, 0]), 1e-5)

    def attention(block: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*((queries, keys, values) if block < first else (values,) * 3))

    tokens = tiny.forward_vision(images, attention=attention, keep=blocks)
    for place, block in enumerate(blocks):
        close(patches[:, place], tiny.embed(tokens.kept[block][:, 1:]), 1e-5)


def test_three_steps_of_the_first_stage_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    method = reference(golden_backbone, arrays)
    stage, batch = method.stages(["visa"])[0], batch_of(method, inputs)
    assert (stage.epochs, stage.batch_size) == (5, 16)
    optimiser = stage.optimiser
    assert optimiser is not None
    before = of_stage(named(arrays, "init.text_adapter."), "text")
    parameters = {name: each for name, each in method.learned.named_parameters() if name.startswith("text")}
    assert before.keys() == parameters.keys()
    for log in numbers["train_text"]:
        step, level = log["step"], log["levels"][-1]
        terms = stage.losses(batch)
        for name, value in level.items():
            assert terms[name].item() == pytest.approx(value, rel=1e-5)
        total = torch.stack(list(terms.values())).sum()
        assert total.item() == pytest.approx(log["total"], rel=1e-5)
        every = reference(golden_backbone, arrays, text_loss_last_layer=False)
        every.learned.load_state_dict(method.learned.state_dict())
        for name, term in every.text_losses(batch).items():
            if name != "separation":
                assert term.item() == pytest.approx(sum(each[name] for each in log["levels"]), rel=1e-5)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        gradients, stepped = (of_stage(named(arrays, f"text.step{step}.{what}."), "text") for what in ("grad", "param"))
        assert gradients.keys() == stepped.keys() == parameters.keys()
        for name, expected in gradients.items():
            close(parameters[name].grad, expected, 2e-4 * expected.abs().max().item())
        for name, expected in stepped.items():
            close(parameters[name].detach() - before[name], expected - before[name], 3e-7)
            assert (expected - before[name]).abs().max() > 5e-6  # it is seen that something moves
    assert all(each.grad is None for each in golden_backbone.model.parameters())
    for name, each in method.learned.named_parameters():
        assert (each.grad is None) == name.startswith(("image", "patches"))


def test_three_steps_of_the_second_stage_match_the_reference(
    golden_backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    method = reference(golden_backbone, arrays, "final")
    initial = reference(golden_backbone, arrays)
    first = initial.learned.state_dict()
    trained = {name: each for name, each in method.learned.state_dict().items() if name.startswith("text")}
    method.learned.load_state_dict({**first, **trained})
    stage, batch = method.stages(["visa"])[1], batch_of(method, inputs)
    assert (stage.epochs, stage.batch_size) == (15, 2)
    optimiser = stage.optimiser
    assert optimiser is not None
    before = of_stage(named(arrays, "init.image_adapter."), "image")
    parameters = {name: each for name, each in method.learned.named_parameters() if not name.startswith("text")}
    assert before.keys() == parameters.keys()
    for log in numbers["train_image"]:
        terms = stage.losses(batch)
        for name in ("focal", "dice_normal", "dice_abnormal"):
            assert terms[name].item() == pytest.approx(sum(each[name] for each in log["levels"]), rel=1e-5)
        assert terms["image"].item() == pytest.approx(log["image_loss"], rel=1e-5)
        total = torch.stack(list(terms.values())).sum()
        assert total.item() == pytest.approx(log["total"], rel=1e-5)
        optimiser.zero_grad()
        total.backward()
        if log["step"] == 1:
            with torch.no_grad():
                image, _ = method.embeddings(inputs["images_70"])
                close((method.text(BATCH) @ image[..., None])[..., 0], arrays["image.step1.cls_preds"], 1e-5)
            gradients = of_stage(named(arrays, "image.step1.grad."), "image")
            assert gradients.keys() == parameters.keys()
            for name, expected in gradients.items():
                close(parameters[name].grad, expected, 2e-4 * expected.abs().max().item())
        optimiser.step()
    stepped = of_stage(named(arrays, "image.step3.param."), "image")
    assert stepped.keys() == parameters.keys()
    for name, expected in stepped.items():
        close(parameters[name].detach() - before[name], expected - before[name], 6e-5)
        assert (expected - before[name]).abs().max() > 1e-3
    assert all(each.grad is None for name, each in method.learned.named_parameters() if name.startswith("text"))


# --- what the reference's numbers do not show


def images_of(backbone: Backbone, count: int, *, seed: int = 0) -> Tensor:
    size = backbone.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def batch_for(method: AaClip, images: int, *, seed: int = 0) -> TrainingBatch:
    assert isinstance(method.backbone, Backbone)
    size = method.backbone.image_size
    masks = torch.zeros(images, size, size)
    masks[1::2, size // 4 : size // 2, size // 3 :] = 1
    names = tuple(BATCH[i % 3] for i in range(images))
    features = features_of(method, images_of(method.backbone, images))
    return TrainingBatch(features, names, torch.arange(images) % 2, masks, seed)


def built(backbone: Backbone, **options: Any) -> AaClip:
    chosen = AaClipOptions(**options)
    return AaClip(backbone.variant(AaClip.backbone_variant(chosen)), chosen)


def test_defaults_are_those_of_the_published_scripts(tiny: Backbone) -> None:
    method = built(tiny)
    text, image = method.stages(["visa"])
    for stage, rate in ((text, 1e-5), (image, 5e-4)):
        assert isinstance(stage.optimiser, torch.optim.Adam)
        assert stage.optimiser.defaults["betas"] == (0.5, 0.999)
        assert stage.optimiser.defaults["weight_decay"] == 0
        assert stage.optimiser.defaults["lr"] == rate
    assert (text.batch_size, text.epochs, image.batch_size, image.epochs) == (16, 5, 2, 15)
    assert text.augment is None
    assert text.learning_rate is None
    assert image.learning_rate is not None
    rates = [image.learning_rate(step, 1081) for step in (0, 15999, 16000, 31999, 32000, 50000)]
    assert rates == [5e-4, 5e-4, 2.5e-4, 2.5e-4, 1.25e-4, 1.25e-4]
    parameters = [each for stage in (text, image) for group in stage.optimiser.param_groups for each in group["params"]]
    assert {id(each) for each in parameters} == {id(each) for each in method.learned.parameters()}
    assert len(parameters) == len(list(method.learned.parameters()))
    assert method.options.image_adapters > tiny.blocks == len(method.learned.image_adapters.matrices)
    assert len(method.learned.text_adapters.matrices) == min(3, tiny.text_blocks)
    assert built(tiny, jitter=False).stages(["visa"])[1].augment is None


@settings(max_examples=30)
@given(
    weight=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_an_adapter_mixes_a_token_with_one_of_the_same_length(weight: float, seed: int, shape: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    adapters = Adapters(2, 6, weight, generator)
    tokens = torch.randn(*shape, 6, generator=generator)
    assert adapters(0, tokens) is tokens
    assert adapters(3, tokens) is tokens
    found = adapters(2, tokens)
    adapted = F.leaky_relu(tokens @ adapters.matrices[1].T, 0.01)
    expected = F.normalize(adapted, dim=-1) * tokens.norm(dim=-1, keepdim=True)
    close(found.detach(), (weight * expected + (1 - weight) * tokens).detach(), 1e-4)
    close(adapters(2, 3 * tokens).detach(), 3 * found.detach(), 1e-4)


@torch.no_grad()
def test_a_batch_gives_what_single_images_give(tiny: Backbone) -> None:
    method = built(tiny, class_minmax=False)
    images, names = images_of(tiny, 3), (CANDLE, named_class("pcb3", "medical"), ClassName("nut"))
    together = method.predict(features_of(method, images), names)
    for place, name in enumerate(names):
        alone = method.predict(features_of(method, images[place : place + 1]), [name])
        close(alone.scores, together.scores[place : place + 1], 1e-5)
        assert isinstance(alone.maps, Tensor)
        assert isinstance(together.maps, Tensor)
        close(alone.maps, together.maps[place : place + 1], 1e-4)


@pytest.mark.parametrize("grid", [1, 2, 3, 5, 8, 37])
@pytest.mark.parametrize(("size", "sigma"), [(7, 1.0), (9, 1.5)])
def test_the_filter_is_that_of_scipy(grid: int, size: int, sigma: float) -> None:
    from scipy.ndimage import gaussian_filter

    values = np.random.default_rng(grid).normal(size=(grid, grid))
    matrix = np.array(blur(grid, size, sigma))
    expected = gaussian_filter(values, sigma, mode="mirror", radius=size // 2)
    np.testing.assert_allclose(matrix @ values @ matrix.T, expected, atol=1e-12)


@torch.no_grad()
def test_maps_are_resized_with_aligned_corners_after_the_filter_of_the_domain() -> None:
    grids = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    names = [named_class("candle"), named_class("candle", "medical"), ClassName("nut")]
    for grid, name, found in zip(grids, names, smoothed(grids, names, 40), strict=True):
        matrix = torch.tensor(blur(6, *((9, 1.5) if name.domain == "medical" else (7, 1.0))))
        filtered = (matrix @ grid @ matrix.T)[None, None]
        expected = F.interpolate(filtered, size=40, mode="bilinear", align_corners=True)[0, 0]
        close(found, expected, 1e-5)


values = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=6)


@given(highest=values, seed=st.integers(0, 2**31), domain=st.sampled_from([*DOMAINS, "custom"]))
def test_class_scores_are_scaled_over_the_class(highest: list[float], seed: int, domain: str) -> None:
    high = torch.tensor(highest, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    low = high - torch.rand(len(high), generator=generator, dtype=torch.float64)
    given_scores = torch.rand(len(high), generator=generator, dtype=torch.float64)
    method = object.__new__(AaClip)
    found = method.class_scores(given_scores, low, high, named_class("candle", domain))
    maxima = high if high.max() == 1 else (high - low.min()) / (high.max() - low.min() if high.max() > low.min() else 1)
    width = given_scores.max() - given_scores.min()
    scores = (given_scores - given_scores.min()) / (width if width > 0 else 1)
    expected = maxima if domain == "medical" else maxima / 2 + scores / 2
    torch.testing.assert_close(found, expected)
    order = torch.randperm(len(high), generator=generator)
    again = method.class_scores(given_scores[order], low[order], high[order], named_class("candle", domain))
    torch.testing.assert_close(again, found[order])


def test_a_highest_value_of_exactly_1_leaves_values_as_they_are() -> None:
    method = object.__new__(AaClip)
    scores, low, high = (torch.tensor(each, dtype=torch.float64) for each in ((0.2, 1.0), (-3.0, -2.0), (0.5, 1.0)))
    assert method.class_scores(scores, low, high, CANDLE).tolist() == pytest.approx([0.35, 1.0])
    assert method.class_scores(scores, low, high, named_class("candle", "medical")).tolist() == [0.5, 1.0]


@torch.no_grad()
def test_without_the_scaling_single_images_are_scored_by_the_same_formula(tiny: Backbone) -> None:
    method, alone = built(tiny), built(tiny, class_minmax=False)
    alone.learned.load_state_dict(method.learned.state_dict())
    assert AaClip.scores_whole_class(method.options)
    assert not AaClip.scores_whole_class(alone.options)
    features = features_of(method, images_of(tiny, 2))
    names = (CANDLE, named_class("candle", "medical"))
    scaled, found = method.predict(features, names), alone.predict(features, names)
    assert isinstance(found.maps, Tensor)
    assert torch.equal(found.maps, scaled.maps)  # type: ignore[arg-type]
    highest = found.maps.flatten(1).amax(dim=1)
    close(found.scores, torch.stack([(highest[0] + scaled.scores[0]) / 2, highest[1]]), 1e-6)


def test_each_quirk_changes_what_it_says(tiny: Backbone) -> None:
    """In the losses of the first or the second stage, or in the maps; without a change of images."""
    fixed: dict[str, Any] = {"geometry": False, "jitter": False, "class_minmax": False}
    quirks = {
        "class_descriptions": {"text", "image", "maps"},
        "vv_across_batch": {"text"},
        "text_loss_last_layer": {"text"},
        "no_text_cls_loss": {"text"},
        "cls_no_temperature": {"image"},
        "levels_apart": {"image", "maps"},
        "raw_cosine_map": {"maps"},
    }

    def results(**options: Any) -> dict[str, Any]:
        method = built(tiny, **fixed, **options)
        batch = batch_for(method, 4)
        maps = predicted(method, images_of(tiny, 4), name="cashew").maps
        terms = {name: losses(batch) for name, losses in (("text", method.text_losses), ("image", method.image_losses))}
        return {**{name: sum(each.values()).item() for name, each in terms.items()}, "maps": maps, "terms": terms}

    usual = results()
    for quirk, changed in quirks.items():
        found = results(**{quirk: False})
        for what in ("text", "image"):
            assert (found[what] != pytest.approx(usual[what], rel=1e-6)) == (what in changed), (quirk, what)
        assert torch.equal(found["maps"], usual["maps"]) == ("maps" not in changed), quirk
    maps = results(raw_cosine_map=False)["maps"]
    assert 0 <= maps.min() <= maps.max() <= len(tiny.feature_blocks) + 1e-5
    terms = results(cls_no_temperature=False)["terms"]["image"]
    assert terms.keys() == usual["terms"]["image"].keys()
    assert results(no_text_cls_loss=False)["terms"]["text"].keys() == usual["terms"]["text"].keys() | {"image"}


@torch.no_grad()
def test_quirks_that_have_a_formula_follow_it(tiny: Backbone) -> None:
    method = built(tiny, geometry=False, no_text_cls_loss=False, cls_no_temperature=False, levels_apart=False)
    batch = batch_for(method, 4)
    images = batch.features.images
    assert images is not None
    text = method.text(batch.class_names)
    image = F.normalize(method.backbone.embed(method.backbone.forward_vision(images).last[:, 0]), dim=-1)
    logits = 100 * torch.einsum("bd,bkd->bk", image, text)
    close(method.text_losses(batch)["image"], F.cross_entropy(logits, batch.labels), 1e-4)
    found, patches = method.embeddings(images)
    logits = 100 * torch.einsum("bd,bkd->bk", found, text)
    close(method.image_losses(batch)["image"], F.cross_entropy(logits, batch.labels), 1e-4)
    tokens = method.backbone.forward_vision(images, after=method.learned.image_adapters, keep=tiny.feature_blocks).kept
    levels = [
        method.backbone.embed(tokens[block][:, 1:], projected=False) @ matrix.T
        for block, matrix in zip(tiny.feature_blocks, method.learned.patches, strict=True)
    ]
    assert patches.shape[1] == 1
    close(patches[:, 0], F.normalize(torch.stack(levels).sum(dim=0), dim=-1), 1e-5)


# --- augmentation


def picture(pixels: Any) -> Picture:
    return Picture(pixels, np.zeros(pixels.shape[:2], dtype=bool), 0, CANDLE, "")


def test_pictures_are_changed_as_torchvision_changes_them() -> None:
    from PIL import Image
    from torchvision.transforms.v2 import functional

    pixels = np.random.default_rng(0).integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
    adjust = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    changes = [0, 0, 0]
    for seed in range(200):
        generator = np.random.default_rng(seed)
        expected = Image.fromarray(pixels)
        for place, change in enumerate(adjust):
            if generator.random() < 0.7:
                expected = change(expected, generator.uniform(0.5, 1.5))
                changes[place] += 1
        found = jittered(picture(pixels), None, np.random.default_rng(seed))  # type: ignore[arg-type]
        assert np.array_equal(found.image, np.asarray(expected))
    assert all(120 < each < 160 for each in changes)


def test_images_move_with_their_masks() -> None:
    size, count = 40, 64
    masks = torch.zeros(count, size, size)
    masks[:, 5:20, 8:30] = 1
    images = (2 * masks - 1)[:, None].expand(-1, 3, -1, -1).clone()
    found, moved_masks = moved(images, masks, seed=3)
    assert torch.equal((found[:, 0] == 1).float(), moved_masks)
    assert set(found.unique().tolist()) == {-1.0, 0.0, 1.0}  # nothing is interpolated; 0 where nothing was
    assert all(torch.equal(found[:, 0], found[:, channel]) for channel in (1, 2))
    again, _ = moved(images, masks, seed=3)
    other, _ = moved(images, masks, seed=4)
    assert torch.equal(found, again)
    assert not torch.equal(found, other)
    assert images[0, 0, 0, 0] == -1  # what was given is as it was
    # Of 64 images 4 are expected to be neither rotated nor shifted nor flipped.
    same = sum(torch.equal(*pair) for pair in zip(found, images, strict=True))
    assert 0 < same < 12
    lost = (found == 0).any(dim=1).flatten(1).any(dim=1)
    assert 0.5 < lost.float().mean() < 0.95  # three of four are rotated or shifted


@given(seed=st.integers(0, 2**31))
def test_shifts_and_rotations_stay_within_their_limits(seed: int) -> None:
    size = 60
    image = torch.zeros(1, 3, size, size)
    image[..., 27:33, 27:33] = 1
    _, masks = moved(image, image[:, 0], seed=seed)
    assert masks.sum() > 15  # the middle stays in the image
    rows, columns = (masks[0].nonzero().float() - (size - 1) / 2).T
    assert rows.mean().abs() <= 0.15 * size + 1
    assert columns.mean().abs() <= 0.15 * size + 1


def test_rotations_and_shifts_reach_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 30° and 15 % of a side, each of every second image."""
    from torchvision.transforms.v2 import functional

    angles: list[float] = []
    shifts: list[list[float]] = []

    def recorded(image: Tensor, angle: float, translate: list[float], **_: Any) -> Tensor:
        (shifts.append(translate) if angle == 0 else angles.append(angle))
        return image

    monkeypatch.setattr(functional, "affine", recorded)
    moved(torch.zeros(400, 3, 100, 100), torch.zeros(400, 100, 100), seed=0)
    for limit, drawn in ((30, [angles]), (15, list(zip(*shifts, strict=True)))):
        for each in drawn:
            assert 150 < len(each) < 250
            assert 0.95 * limit < max(each) <= limit
            assert -limit <= min(each) < -0.95 * limit


def test_the_seed_of_the_batch_decides_how_images_move(tiny: Backbone) -> None:
    method = built(tiny)
    for losses in (method.text_losses, method.image_losses):
        one, again, other = (losses(batch_for(method, 4, seed=seed))["focal"].item() for seed in (1, 1, 2))
        assert one == again
        assert one != other
    still = built(tiny, geometry=False)
    one, other = (still.image_losses(batch_for(still, 4, seed=seed))["focal"].item() for seed in (1, 2))
    assert one == other


# --- checkpoints and other towers


def test_published_checkpoints_are_read(golden_backbone: Backbone, arrays: dict[str, Tensor]) -> None:
    options, learned = AaClip.import_state(named(arrays, "init."))
    assert options == {"text_adapters": 3, "image_adapters": 2}
    method = built(golden_backbone, feature_layers=LEVELS, **options)
    load_learned(method.learned, learned)
    with pytest.raises(RuntimeError, match=r"4 in the file, not 2; .*\.feature_layers"):
        load_learned(built(golden_backbone, feature_layers=(3, 6), **options).learned, learned)
    for key in ("text_adapter.0.fc.0.weight", "image_adapter.det_proj.fc.weight"):
        missing = {name: each for name, each in named(arrays, "init.").items() if name != key}
        with pytest.raises(KeyError, match=key):
            AaClip.import_state(missing)


def test_files_of_the_published_code_are_imported(tiny: Backbone, tmp_path: Path) -> None:
    method = AaClip(tiny.variant(AaClip.backbone_variant(AaClipOptions())), AaClipOptions(class_minmax=False), seed=3)
    learned, files = method.learned, [tmp_path / "text_adapter.pth", tmp_path / "image_adapter.pth"]
    text = [*learned.text_adapters.matrices, learned.text_projection]
    parts = {
        "text": {f"{i}.fc.0.weight": each for i, each in enumerate(text)},
        "image": {
            **{f"layer_adapters.{i}.fc.0.weight": each for i, each in enumerate(learned.image_adapters.matrices)},
            **{f"seg_proj.{i}.fc.weight": each for i, each in enumerate(learned.patches)},
            "det_proj.fc.weight": learned.image,
        },
    }
    for stage, name, file in zip(method.stages(["visa"]), parts, files, strict=True):
        assert stage.optimiser is not None
        stage.optimiser.zero_grad()
        stage.losses(batch_for(method, 2))["focal"].backward()  # type: ignore[no-untyped-call]
        stage.optimiser.step()
        state = {key: value.detach() for key, value in parts[name].items()}
        torch.save({"epoch": 5, f"{name}_adapter": state, f"{name}_optimizer": stage.optimiser.state_dict()}, file)
    given: dict[str, Any] = {
        "auxiliaries": select_cards(["visa"]),
        "backbone": backbone_id(parse_backbone(tiny.name), dtype=tiny.dtype),
        "protocol": Protocol(),
        "results": tmp_path,
    }
    path, changed = import_checkpoint(files, AaClip, **given)
    options = AaClipOptions(**{**changed, "class_minmax": False})
    found = build_method(AaClip, method.backbone, options, seed=0, checkpoint=path)  # type: ignore[arg-type]
    assert isinstance(found, AaClip)
    images = images_of(tiny, 2)
    assert torch.equal(predicted(found, images).scores, predicted(method, images).scores)
    for file, other in ((files[0], "image_adapter.det_proj"), (files[1], "text_adapter.0")):
        with pytest.raises(CheckpointError, match=rf"no entry '{other}.*its code gives them"):
            import_checkpoint([file], AaClip, **given)


def test_the_parameters_of_the_paper() -> None:
    """2.4 M of text and 10.2 M of images, in the shapes of the published keys, for the widths of ViT-L/14@336."""
    tower = SimpleNamespace(width=768, text_width=768, vision_width=1024, blocks=24, text_blocks=12)
    generator = torch.Generator().manual_seed(0)
    learned = Learned(tower, levels=4, text=3, image=6, weight=0.1, generator=generator)  # type: ignore[arg-type]
    assert [tuple(each.shape) for each in learned.of_text()] == [(768, 768)] * 4
    assert [tuple(each.shape) for each in learned.of_images()] == [(1024, 1024)] * 6 + [(768, 1024)] * 5
    counts = [sum(each.numel() for each in part) for part in (learned.of_text(), learned.of_images())]
    assert counts == [pytest.approx(2.4e6, rel=0.02), pytest.approx(10.2e6, rel=0.02)]
    for each in learned.parameters():  # Xavier-uniform
        bound = (6 / sum(each.shape)) ** 0.5
        assert 0.99 * bound < each.abs().max() <= bound
