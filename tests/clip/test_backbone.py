"""The backbone against the reference implementations, and the ways its weights come in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.faults import save_malicious
from torch import Tensor, nn

from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.vision import embed, first_tokens, run_blocks
from benchmark.clip.weights import (
    DEFAULT_BACKBONE,
    KNOWN_FILES,
    BackboneError,
    WeightsSource,
    architecture_config,
    parse_backbone,
)
from benchmark.common.files import file_sha256
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


def test_preprocess_is_bicubic_to_a_square_and_clip_normalised() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    resized = np.asarray(image.resize((21, 21), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    expected = (resized - open_clip.OPENAI_DATASET_MEAN) / open_clip.OPENAI_DATASET_STD
    np.testing.assert_allclose(Preprocess(21)(image).permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_specs_merge_into_one_pass_per_image_size() -> None:
    last, vv = Layer(24), Layer(24, Dpam(6))
    merged = merge_specs([VisionSpec(518, (last,)), VisionSpec(240, (Layer(12),)), VisionSpec(518, (vv, last), (6,))])
    assert merged == [VisionSpec(518, (last, vv), (6,)), VisionSpec(240, (Layer(12),))]


# --- where weights come from ---


def test_random_weights_depend_on_the_seed_alone(tiny: Backbone) -> None:
    torch.manual_seed(1)
    again = load_backbone(parse_backbone("tiny:random"))
    other = load_backbone(parse_backbone("tiny:random-1"))
    assert tiny.sha256 == again.sha256 != other.sha256
    assert torch.equal(tiny.model.visual.proj, again.model.visual.proj)
    assert not torch.equal(tiny.model.visual.proj, other.model.visual.proj)
    assert tiny.synthetic
    assert (tiny.name, other.name) == ("tiny:random-0", "tiny:random-1")


@pytest.mark.parametrize(
    ("text", "synthetic"),
    [
        ("ViT-B-16:openai", False),
        ("ViT-B-16=w.pt", False),
        ("ViT-B-16:random", True),
        ("mini:v2", True),
        ("mini=w", True),
    ],
)
def test_random_and_miniature_weights_are_synthetic(text: str, *, synthetic: bool) -> None:
    assert parse_backbone(text).synthetic is synthetic


@pytest.mark.parametrize("text", ["ViT-L-14", "", ":openai", "ViT-L-14:", "=file", "tiny:random-x"])
def test_a_backbone_that_cannot_be_parsed_says_the_forms(text: str) -> None:
    with pytest.raises(BackboneError, match="--backbone"):
        parse_backbone(text)


def test_an_unknown_architecture_names_the_near_ones() -> None:
    with pytest.raises(BackboneError, match="ViT-L-14-336-quickgelu"):
        load_backbone(parse_backbone("ViT-L-14-336-quickgel:openai"))


def test_only_plain_clip_with_a_vit_is_taken() -> None:
    with pytest.raises(BackboneError, match="no plain CLIP"):
        load_backbone(parse_backbone("RN50:random"))


@pytest.fixture
def tiny_architecture() -> dict[str, Any]:
    return architecture_config("tiny")


def make_state(config: dict[str, Any]) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {key: value.detach().clone() for key, value in open_clip.CLIP(**config).state_dict().items()}


class _Archive(nn.Module):
    """Holds tensors under dotted names, as OpenAI's TorchScript archives do."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        children: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            head, dot, rest = key.partition(".")
            if dot:
                children.setdefault(head, {})[rest] = value
            else:
                self.register_buffer(head, value)
        for head, child in children.items():
            self.add_module(head, _Archive(child))

    def forward(self, x: Tensor) -> Tensor:
        return x


def save(state: dict[str, Tensor], path: Path, kind: str) -> Path:
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "torchscript":
        torch.jit.script(_Archive(state)).save(str(path))
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("kind", "name"),
    [("safetensors", "w.safetensors"), ("state", "w.pt"), ("checkpoint", "w.pth"), ("torchscript", "w.pt")],
)
def test_local_files_of_every_kind_load(
    tmp_path: Path, tiny_architecture: dict[str, Any], kind: str, name: str
) -> None:
    state = make_state(tiny_architecture)
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    path = save(half, tmp_path / name, kind)
    backbone = load_backbone(WeightsSource("tiny", file=path))
    assert backbone.sha256 == file_sha256(path)
    assert backbone.name == f"tiny={name}"
    torch.testing.assert_close(backbone.model.state_dict()["visual.proj"], half["visual.proj"].float())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_openai_archive_is_refused_where_plain_gelu_would_be_built(
    tmp_path: Path, tiny_architecture: dict[str, Any]
) -> None:
    extra = {key: torch.tensor(77) for key in ("input_resolution", "context_length", "vocab_size")}
    path = save({**make_state(tiny_architecture), **extra}, tmp_path / "clip.pt", "torchscript")
    with pytest.raises(BackboneError, match=r"trained with QuickGELU, but tiny builds plain GELU.*use tiny-quickgelu"):
        load_backbone(WeightsSource("tiny", file=path))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_openai_archive_loads_where_quickgelu_is_built(tmp_path: Path, tiny_architecture: dict[str, Any]) -> None:
    config = {**tiny_architecture, "quick_gelu": True}
    (tmp_path / "small-quickgelu.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "small-quickgelu.json")
    extra = {key: torch.tensor(77) for key in ("input_resolution", "context_length", "vocab_size")}
    path = save({**make_state(config), **extra}, tmp_path / "clip.pt", "torchscript")
    backbone = load_backbone(WeightsSource("small-quickgelu", file=path))
    assert isinstance(backbone.model.visual.transformer.resblocks[0].mlp.gelu, open_clip.transformer.QuickGELU)


def test_the_tag_openai_is_refused_without_quickgelu(
    tmp_path: Path, tiny_architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(make_state(tiny_architecture), tmp_path / "w.safetensors", "safetensors")
    monkeypatch.setattr("open_clip.download_pretrained", lambda config, cache_dir: str(path))
    with pytest.raises(BackboneError, match="use ViT-L-14-336-quickgelu"):
        load_backbone(parse_backbone("ViT-L-14-336:openai"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, *, zipped: bool) -> None:
    path, witness = tmp_path / "evil.pt", tmp_path / "witness"
    save_malicious(path, "visual.proj", witness, zipped=zipped)
    with pytest.raises(BackboneError, match="without unpickling"):
        load_backbone(WeightsSource("tiny", file=path))
    assert not witness.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_truncated_file_is_named(tmp_path: Path, tiny_architecture: dict[str, Any], name: str) -> None:
    path = save(make_state(tiny_architecture), tmp_path / name, "safetensors" if name[-1] == "s" else "state")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match=name):
        load_backbone(WeightsSource("tiny", file=path))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "w.safetensors", "safetensors")
    with pytest.raises(BackboneError, match="do not fit tiny"):
        load_backbone(WeightsSource("tiny", file=path))


def test_without_network_and_file_the_error_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", offline)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BackboneError) as caught:
        load_backbone(parse_backbone(DEFAULT_BACKBONE))
    message = str(caught.value)
    known = KNOWN_FILES[DEFAULT_BACKBONE]
    for part in (known.url, "934,088,680 bytes", known.sha256, str(tmp_path / "cache/weights/ViT-L-14-336px.pt")):
        assert part in message


def test_a_cached_file_with_another_sha256_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/ViT-L-14-336px.pt").write_bytes(b"half a download")
    with pytest.raises(BackboneError, match=r"ViT-L-14-336px.pt: sha256 is .*, not 3035c92b.*delete the file"):
        load_backbone(parse_backbone(DEFAULT_BACKBONE))


def test_an_unknown_tag_lists_those_there_are() -> None:
    with pytest.raises(BackboneError, match=r"its tags: .*openai"):
        load_backbone(parse_backbone("ViT-B-16:opeani"))
