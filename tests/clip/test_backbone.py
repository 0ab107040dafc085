"""The backbone against the reference implementations, and the ways its weights come in."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from benchmark.clip import devices
from benchmark.clip.architectures import TINY, BackboneError
from benchmark.clip.backbone import Backbone
from benchmark.clip.devices import bfloat16_share, windows_at_a_time
from benchmark.clip.vision import embed, first_tokens, run_blocks
from benchmark.contract import Dpam, Layer, VisionSpec, merge_specs
from benchmark.data.preprocess import Preprocess

Golden = Callable[[str], dict[str, Tensor]]


BLOCKS = (2, 3, 4, 6)


@pytest.mark.parametrize("size", [70, 98])
def test_vision_tower_matches_the_reference(golden: Golden, golden_backbone: Backbone, size: int) -> None:
    images = golden("anomalyclip_inputs")[f"images_{size}"]
    expected = golden("anomalyclip_vision")
    spec = VisionSpec(size, layers=tuple(Layer(block) for block in BLOCKS), cls=BLOCKS)
    features = golden_backbone.encode_images(images, spec)
    torch.testing.assert_close(features.image, expected[f"{size}.clip.image_embed"], atol=2e-5, rtol=0)
    torch.testing.assert_close(features.image_raw, expected[f"{size}.plain.image_embed"], atol=2e-5, rtol=0)
    for block in BLOCKS:
        tokens = expected[f"{size}.plain.patch_l{block}"]
        torch.testing.assert_close(features.patches[Layer(block)], tokens[:, 1:], atol=2e-5, rtol=0)
        torch.testing.assert_close(features.cls[block], tokens[:, 0], atol=2e-5, rtol=0)
    assert features.grid == size // 14


DPAM_CASES = [
    (70, "dpam_ffn0", Dpam(3)),
    (98, "dpam_ffn0", Dpam(3)),
    (70, "dpam_ffn1", Dpam(3, ffn=True)),
    (98, "dpam_ffn1", Dpam(3, ffn=True)),
    (70, "dpamalt_ffn0", Dpam(2)),
]


@pytest.mark.parametrize(("size", "case", "path"), DPAM_CASES)
def test_the_dpam_path_matches_the_reference(
    golden: Golden, golden_backbone: Backbone, size: int, case: str, path: Dpam
) -> None:
    """The reference's DPAM_layer D replaces the last D - 1 of 6 blocks: 5 starts at block 3, 6 at block 2."""
    images, expected = golden("anomalyclip_inputs")[f"images_{size}"], golden("anomalyclip_vision")
    visual = golden_backbone.model.visual
    layers = [Layer(block, path) for block in BLOCKS]
    first = first_tokens(visual, images, golden_backbone.positions(size // 14))
    tokens = run_blocks(visual, first, layers=layers)
    for layer, kept in tokens.layers.items():
        reference = expected[f"{size}.{case}.patch_l{layer.block}"]
        torch.testing.assert_close(embed(visual, kept), reference, atol=2e-5, rtol=0)
    torch.testing.assert_close(
        embed(visual, tokens.last[:, 0]), expected[f"{size}.clip.image_embed"], atol=2e-5, rtol=0
    )


def test_one_pass_gives_all_paths_as_passes_of_their_own_do(golden: Golden, golden_backbone: Backbone) -> None:
    images = golden("anomalyclip_inputs")["images_70"]
    paths = [None, Dpam(3), Dpam(2), Dpam(3, "qq"), Dpam(3, "kk"), Dpam(3, ffn=True)]
    layers = tuple(Layer(block, path) for path in paths for block in (4, 6))
    together = golden_backbone.encode_images(images, VisionSpec(70, layers)).patches
    for layer in layers:
        alone = golden_backbone.encode_images(images, VisionSpec(70, (layer,))).patches[layer]
        assert torch.equal(together[layer], alone)
    assert len({together[layer].sum().item() for layer in layers}) == len(layers)


@pytest.mark.parametrize(("attention", "rows"), [("qq", 0), ("kk", 1), ("vv", 2)])
def test_self_self_attention_is_that_of_multihead_attention_with_one_projection(
    golden: Golden, golden_backbone: Backbone, attention: Any, rows: int
) -> None:
    """Oracle: torch's own attention with query, key and value projected by the same third of the weights."""
    visual, size = golden_backbone.model.visual, 70
    images = golden("anomalyclip_inputs")["images_70"]
    first = first_tokens(visual, images, golden_backbone.positions(size // 14))
    before = run_blocks(visual, first, layers=[Layer(5)]).layers[Layer(5)]
    last = Layer(6, Dpam(6, attention))
    block = visual.transformer.resblocks[5]
    own = nn.MultiheadAttention(block.attn.embed_dim, block.attn.num_heads, batch_first=True)
    state = block.attn.state_dict()
    own.load_state_dict(
        state | {key: state[key].chunk(3)[rows].repeat(3, *[1] * (state[key].dim() - 1)) for key in QKV}
    )
    x = block.ln_1(before)
    with torch.no_grad():
        expected = before + own(x, x, x, need_weights=False)[0]
    ours = run_blocks(visual, first, layers=[last]).layers[last]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


QKV = ("in_proj_weight", "in_proj_bias")


def test_a_dpam_path_costs_one_linear_layer_per_block(golden_backbone: Backbone) -> None:
    """That of the output: its queries, keys and values are projections that CLIP's own path has computed already."""
    visual, size = golden_backbone.model.visual, 70
    tokens = first_tokens(visual, torch.rand(2, 3, size, size), golden_backbone.positions(size // 14))

    def multiplications(layer: Layer) -> int:
        with FlopCounterMode(display=False) as counter:
            run_blocks(visual, tokens, layers=[layer])
        return counter.get_flop_counts()["Global"][torch.ops.aten.addmm] // 2

    added = multiplications(Layer(6, Dpam(3))) - multiplications(Layer(6))
    assert added == len([3, 4, 5, 6]) * tokens.numel() * tokens.shape[-1]


@pytest.mark.parametrize("size", [70, 98])
def test_positions_match_the_reference_in_any_order_of_sizes(
    golden: Golden, golden_backbone: Backbone, size: int
) -> None:
    expected = golden("anomalyclip_vision")[f"{size}.pos_embed"]
    golden_backbone.positions(140 // 14)  # the reference would go on from here; ours starts from the trained grid
    torch.testing.assert_close(golden_backbone.positions(size // 14), expected, atol=1e-6, rtol=0)


def test_bicubic_positions_are_those_of_open_clip(golden: Golden, golden_config: dict[str, Any]) -> None:
    model = open_clip.CLIP(**golden_config["open_clip"])
    model.load_state_dict(golden("clip_weights"))
    state = {"visual.positional_embedding": model.visual.positional_embedding.detach().clone()}
    larger = json.loads(json.dumps(golden_config["open_clip"]))
    larger["vision_cfg"]["image_size"] = 98
    open_clip.model.resize_pos_embed(state, open_clip.CLIP(**larger))
    ours = Backbone(model, name="", architecture="", sha256="", synthetic=True, pos_interp="bicubic").positions(7)
    torch.testing.assert_close(ours, state["visual.positional_embedding"], atol=1e-6, rtol=0)


def test_encode_text_matches_the_reference(golden: Golden, golden_backbone: Backbone) -> None:
    """245 prompts go through in several batches; the tokens of the reference are turned back into their text."""
    arrays = golden("clip_prompt_ensemble")
    tokenizer = open_clip.SimpleTokenizer()
    prompts = []
    for tokens in arrays["metal_nut.tokens_normal"].tolist():
        end = tokens.index(49407)
        prompts.append(tokenizer.decode(tokens[1:end]))
    assert torch.equal(tokenizer(prompts), arrays["metal_nut.tokens_normal"].long())
    features = golden_backbone.encode_text(prompts)
    torch.testing.assert_close(features, arrays["metal_nut.prompt_features_normal"], atol=2e-5, rtol=0)


def test_a_block_that_does_not_exist_is_refused(golden_backbone: Backbone) -> None:
    for wrong in (VisionSpec(70, (Layer(7),)), VisionSpec(70, cls=(7,)), VisionSpec(70, (Layer(6, Dpam(0)),))):
        with pytest.raises(BackboneError, match="blocks 1 to 6"):
            golden_backbone.encode_images(torch.zeros(1, 3, 70, 70), wrong)


def test_nothing_requires_grad(tiny: Backbone) -> None:
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())


OPENAI = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


@pytest.mark.parametrize(("mean", "std"), [OPENAI, ((0.5,) * 3, (0.5,) * 3)])
def test_images_are_made_square_and_normalised_as_torchvision_does(
    tiny: Backbone, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    """Pixels go to the device as bytes; the numbers are those of the usual transform, to the last bit."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (130, 90, 3), dtype=np.uint8))
    usual = v2.Compose(
        [
            v2.Resize((112, 112), interpolation=v2.InterpolationMode.BICUBIC),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(mean), list(std)),
        ]
    )
    backbone = Backbone(tiny.model, name="", architecture="", sha256="", synthetic=True, mean=mean, std=std)
    pixels = Preprocess(112)(image)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 112, 112))
    spec = VisionSpec(112, (Layer(2),))
    ours, expected = (backbone.encode_images(x[None], spec) for x in (torch.from_numpy(pixels), usual(image)))
    assert torch.equal(ours.image, expected.image)
    assert torch.equal(ours.patches[Layer(2)], expected.patches[Layer(2)])


def layer_scaled() -> tuple[open_clip.CLIP, open_clip.CLIP]:
    """Return a CLIP with LayerScale, and the plain CLIP that results if the scales are multiplied into the weights."""
    config: dict[str, Any] = json.loads(json.dumps(TINY))
    plain = open_clip.CLIP(**config)
    config["vision_cfg"]["ls_init_value"] = 0.1
    scaled = open_clip.CLIP(**config)
    generator = torch.Generator().manual_seed(0)
    state = scaled.state_dict()
    for name, scale in [each for each in state.items() if each[0].endswith(".gamma")]:
        state[name] = torch.rand(scale.shape, generator=generator) + 0.5
    scaled.load_state_dict(state)
    for name, scale in [each for each in state.items() if each[0].endswith(".gamma")]:
        block, layer = name.removesuffix(".gamma").rsplit(".", 1)
        last = f"{block}.attn.out_proj" if layer == "ls_1" else f"{block}.mlp.c_proj"
        state[f"{last}.weight"] = state[f"{last}.weight"] * scale[:, None]
        state[f"{last}.bias"] = state[f"{last}.bias"] * scale
        del state[name]
    plain.load_state_dict(state)
    return scaled.eval(), plain.eval()


def test_layer_scale_counts_on_every_path() -> None:
    """Oracle: open_clip's own forward pass, and the same network without LayerScale."""
    torch.manual_seed(5)
    models = layer_scaled()
    images = torch.randn(2, 3, 112, 112)
    paths = [None, Dpam(1), Dpam(2, "qq", ffn=True)]
    spec = VisionSpec(112, tuple(Layer(4, path) for path in paths), cls=(2,), windows=(3, 8))
    scaled, plain = (
        Backbone(model, name="", architecture="", sha256="", synthetic=True).encode_images(images, spec)
        for model in models
    )
    with torch.no_grad():
        expected = models[0].encode_image(images)
    torch.testing.assert_close(scaled.image, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(scaled.windows[8][:, 0], expected, atol=2e-5, rtol=0)  # a window of the whole image
    torch.testing.assert_close(scaled.windows[3], plain.windows[3], atol=2e-5, rtol=0)
    for layer in spec.layers:
        torch.testing.assert_close(scaled.patches[layer], plain.patches[layer], atol=2e-5, rtol=0)


def test_a_gpu_gets_more_windows_at_a_time() -> None:
    assert windows_at_a_time("cuda:1") == windows_at_a_time("cuda") > windows_at_a_time("cpu")


def test_the_gain_of_bfloat16_is_measured_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 100, 100, 108, 108, 112, 200, 300, 300, 303, 303, 304])  # starts and ends of six products
    monkeypatch.setattr(devices, "now", lambda device: float(next(clock)))
    assert bfloat16_share(8, "cpu", rows=4, times=2) == 1 / 4


def test_specs_merge_into_one_pass_per_image_size() -> None:
    last, vv = Layer(24), Layer(24, Dpam(6))
    merged = merge_specs([VisionSpec(518, (last,)), VisionSpec(240, (Layer(12),)), VisionSpec(518, (vv, last), (6,))])
    assert merged == [VisionSpec(518, (last, vv), (6,)), VisionSpec(240, (Layer(12),))]
