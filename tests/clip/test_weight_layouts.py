"""Weights as people have them: in containers, under prefixes, in the layout of transformers, in folders, on a hub."""

import json
import re
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.clip.architectures import OWN, BackboneError
from benchmark.clip.backbone import load_backbone
from benchmark.clip.state_dicts import flattened, from_transformers, places_of_entries, state_dicts
from benchmark.clip.weight_files import read_state_dict
from benchmark.clip.weight_folders import _fetch_preprocessing, hub_folder, sizes
from benchmark.clip.weights import WeightsSource, assumptions, parse_backbone, pretraining, weights_sha256
from benchmark.common.files import file_sha256

State = dict[str, Tensor]
SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 28, "layers": 3, "width": 32, "head_width": 16, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller architecture under the name `tiny`, so that files are written fast, and a hub not asked before."""
    monkeypatch.setitem(OWN, "tiny", SMALL)
    _fetch_preprocessing.cache_clear()


@pytest.fixture(scope="module")
def native() -> State:
    """A state dict of the architecture `tiny` as open_clip names it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = open_clip.CLIP(**SMALL)
        return {key: torch.randn_like(value) * 0.1 for key, value in model.state_dict().items()}


def to_transformers(state: State) -> State:
    """Return a state dict of open_clip as `CLIPModel` of transformers has it.

    The two give the same embeddings: a `CLIPModel` of transformers 5.24 of these sizes, with random weights, and the
    backbone that was read from its file differ by at most 2e-6.
    """
    made: State = {}
    ends = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "logit_scale": "logit_scale",
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for key, value in state.items():
        block = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)", key)
        if key in ("visual.proj", "text_projection"):
            made["visual_projection.weight" if key == "visual.proj" else "text_projection.weight"] = (
                value.T.contiguous()
            )
        elif block:
            start = f"{'vision' if block[1] else 'text'}_model.encoder.layers.{block[2]}"
            part = block[3]
            if part.startswith("attn.in_proj_"):
                for name, third in zip("qkv", value.chunk(3), strict=True):
                    made[f"{start}.self_attn.{name}_proj.{part.removeprefix('attn.in_proj_')}"] = third.clone()
                continue
            for ours, theirs in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_", "layer_norm"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                part = part.replace(ours, theirs)
            made[f"{start}.{part}"] = value
        elif key in ends:
            made[ends[key]] = value
        else:
            name, _, kind = key.rpartition(".")
            made[f"{norms[name]}.{kind}"] = value
    made["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    made["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return made


def same(found: State, state: State) -> bool:
    return found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


def test_the_layout_of_transformers_becomes_that_of_open_clip(native: State) -> None:
    theirs = to_transformers(native)
    assert "text_model.encoder.layers.1.self_attn.k_proj.bias" in theirs
    assert not theirs.keys() & native.keys() - {"logit_scale"}
    assert same(from_transformers(theirs), native)


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


WRAPPED: dict[str, Any] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"a": torch.zeros(3)}},
    "model": lambda state: {"model": state},
    "module.": lambda state: under("module.", state),
    "model.": lambda state: under("model.", state),
    "clip.": lambda state: under("clip.", state),
    "clip_model.": lambda state: {**under("clip_model.", state), "head.weight": torch.zeros(3)},
    "compiled": lambda state: under("_orig_mod.", state),
    "lightning": lambda state: {
        "state_dict": under("model.", state),
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"lr": 1e-4},
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "deep": lambda state: {"model_state_dict": under("module.model.clip_model.", state)},
}


@pytest.mark.parametrize("theirs", [False, True])
@pytest.mark.parametrize("how", WRAPPED)
def test_containers_and_prefixes_are_taken_off(tmp_path: Path, native: State, how: str, *, theirs: bool) -> None:
    state = {**native, "token_embedding.weight": torch.zeros(2, 8)}
    path = tmp_path / "w.pt"
    torch.save(WRAPPED[how](to_transformers(state) if theirs else state), path)
    assert same(read_state_dict(path, score=lambda found: len(native.keys() & found.keys())), state)


def test_a_backbone_asks_for_the_keys_of_its_architecture(tmp_path: Path, native: State) -> None:
    path = tmp_path / "w.pt"
    torch.save({"model": {"other": torch.zeros(3)}, "state_dict": under("model.", to_transformers(native))}, path)
    backbone = load_backbone(WeightsSource("tiny", file=path))
    assert same(backbone.model.state_dict(), native)
    assert (backbone.name, backbone.sha256) == ("tiny=w.pt", file_sha256(path))


def test_the_names_of_dicts_come_before_those_of_their_tensors() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    optimiser = {"state": {0: {"exp_avg": one}}, "param_groups": [{"lr": 0.1}]}
    loaded: Any = {"epoch": 3, "adapter": {"0.fc.weight": one, "deep": {"x": two}}, "optimizer": optimiser, "y": two}
    loaded["itself"] = loaded
    loaded["adapter"]["itself"] = loaded
    found = flattened(loaded)
    assert list(found) == ["adapter.0.fc.weight", "adapter.deep.x", "y"]
    assert found["adapter.deep.x"] is two
    assert flattened([one]) == flattened({}) == {}
    deep: Any = {"a": one}
    for _ in range(50):
        deep = {"b": deep}
    assert flattened(deep) == {}


def test_the_stem_of_a_file_tells_entries_of_one_name_apart() -> None:
    tensor = torch.zeros(1)
    memory, other, rest = Path("x/memory.pt"), Path("y/other.tar.pt"), Path("z/rest.pt")
    found = places_of_entries({memory: {"keys": tensor, "a": tensor}, other: {"keys": tensor}, rest: {"b": tensor}})
    assert found == {
        "memory.keys": [(memory, "keys")],
        "a": [(memory, "a")],
        "other.tar.keys": [(other, "keys")],
        "b": [(rest, "b")],
    }
    same = Path("w/memory.pt")
    assert places_of_entries({memory: {"keys": tensor}, same: {"keys": tensor}}) == {
        "memory.keys": [(memory, "keys"), (same, "keys")]
    }


def test_the_names_of_a_dict_are_searched_to_a_depth() -> None:
    inner: Any = {"a": torch.zeros(1)}
    for _ in range(50):
        inner = {"model": inner}
    assert list(state_dicts(inner)) == []
    assert [list(each) for each in state_dicts({"model": {"model": {"module.a": torch.zeros(1)}}})] == [
        ["module.a"],
        ["a"],
    ]


@pytest.mark.parametrize(("suffix", "inner"), [(".pt", "safetensors"), (".safetensors", "torch"), (".bin", "torch")])
def test_the_content_decides_and_not_the_extension(tmp_path: Path, native: State, suffix: str, inner: str) -> None:
    path = tmp_path / f"w{suffix}"
    if inner == "torch":
        torch.save(native, path)
    else:
        save_file(native, path)
    assert same(load_backbone(WeightsSource("tiny", file=path)).model.state_dict(), native)


def test_a_refusal_names_the_keys_that_are_there_and_those_that_are_not(tmp_path: Path, native: State) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state_dict": {f"encoder.{i}.weight": torch.zeros(2) for i in range(9)}}, path)
    with pytest.raises(
        BackboneError, match=r"lack .*positional_embedding.*the file has encoder.0.weight, .* and 4 more"
    ):
        load_backbone(WeightsSource("tiny", file=path))
    torch.save({key: value for key, value in native.items() if key != "ln_final.bias"}, path)
    with pytest.raises(
        BackboneError, match=r"w.pt: the weights do not fit tiny: they lack ln_final.bias; the file has"
    ):
        load_backbone(WeightsSource("tiny", file=path))
    torch.save({**native, "adapter.weight": torch.zeros(2)}, path)
    with pytest.raises(BackboneError, match=r"do not fit tiny, which does not have adapter.weight"):
        load_backbone(WeightsSource("tiny", file=path))
    save_file(to_transformers(native), tmp_path / "hf.safetensors")
    for architecture in ("ViT-B-32", "mini"):
        with pytest.raises(BackboneError, match=r"hf.safetensors: .* do not fit .*; the sizes are those of tiny$"):
            load_backbone(WeightsSource(architecture, file=tmp_path / "hf.safetensors"))
    torch.save({"epoch": 3, "args": {"lr": 1}}, path)
    with pytest.raises(BackboneError, match=r"no state dict of tensors; it holds epoch, args"):
        load_backbone(WeightsSource("tiny", file=path))


# ---- folders


def config_of_tiny(**changes: Any) -> dict[str, Any]:
    text = {"hidden_size": 8, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    return {
        "model_type": "clip",
        "projection_dim": 16,
        "text_config": {**text, "hidden_act": "gelu"},
        "vision_config": {**vision, "hidden_act": "gelu"},
        **changes,
    }


def write_folder(folder: Path, state: State, *, parts: int = 1, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of_tiny(**changes)))
    if parts == 1:
        save_file(state, folder / "model.safetensors")
        return folder
    names = {key: f"model-{index % parts + 1:05}-of-{parts:05}.safetensors" for index, key in enumerate(state)}
    for name in set(names.values()):
        save_file({key: state[key] for key in state if names[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder


@pytest.mark.parametrize("parts", [1, 3])
def test_a_folder_of_transformers_is_read(tmp_path: Path, native: State, parts: int) -> None:
    folder = write_folder(tmp_path / "clip-tiny", to_transformers(native), parts=parts)
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    for text in (f"tiny={folder}", str(folder), f"tiny={next(folder.glob('model*'))}"):
        source = parse_backbone(text)
        assert source == WeightsSource("tiny", file=folder)
        backbone = load_backbone(source)
        assert same(backbone.model.state_dict(), native)
        assert (backbone.name, backbone.mean, backbone.std) == ("tiny=clip-tiny/", (0.5,) * 3, (0.25,) * 3)
    whole = weights_sha256(source)
    files = sorted(folder.glob("model*.safetensors"))
    assert (whole == file_sha256(files[0])) == (parts == 1)
    changed = load_file(files[-1])
    save_file({key: value + 1 for key, value in changed.items()}, files[-1])
    assert weights_sha256(source) != whole


def test_a_folder_of_open_clip_is_read(tmp_path: Path, native: State) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    said = {"model_cfg": SMALL, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    torch.save(native, folder / "open_clip_pytorch_model.bin")
    backbone = load_backbone(parse_backbone(str(folder)))
    assert same(backbone.model.state_dict(), native)
    assert (backbone.architecture, backbone.mean) == ("tiny", (0.5, 0.4, 0.3))


def test_the_sizes_of_transformers_and_of_open_clip_are_the_same_numbers(tmp_path: Path) -> None:
    """Oracle: the configuration of OpenAI's ViT-L/14 at 336 px, as its folder on the hub has it."""
    folder = tmp_path / "clip-vit-large-patch14-336"
    folder.mkdir()
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768}
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
    vision |= {"image_size": 336, "patch_size": 14, "projection_dim": 768}
    config = {"model_type": "clip", "projection_dim": 768, "text_config_dict": text, "vision_config_dict": vision}
    (folder / "config.json").write_text(json.dumps(config))
    assert parse_backbone(str(folder)).architecture == "ViT-L-14-336-quickgelu"
    assert len({json.dumps(sizes(each)) for each in OWN.values()}) == len(OWN)


def test_an_activation_or_a_size_that_differs_is_refused(tmp_path: Path, native: State) -> None:
    theirs, quick = to_transformers(native), {"hidden_act": "quick_gelu"}
    towers = {name: {**config_of_tiny()[name], **quick} for name in ("text_config", "vision_config")}
    folder = write_folder(tmp_path / "quick", theirs, **towers)
    with pytest.raises(BackboneError, match=r"with QuickGELU, but tiny builds plain GELU"):
        load_backbone(parse_backbone(f"tiny={folder}"))
    with pytest.raises(BackboneError, match=r"no architecture that is supported has QuickGELU and these sizes"):
        parse_backbone(str(folder))
    heads = {**config_of_tiny()["text_config"], "num_attention_heads": 4}  # the tensors have the same shapes
    folder = write_folder(tmp_path / "heads", theirs, text_config=heads)
    with pytest.raises(BackboneError, match=r"config.json: not of tiny: text heads 4 \(of tiny: 2\)"):
        load_backbone(parse_backbone(f"tiny={folder}"))
    folder = write_folder(tmp_path / "tiny", theirs)
    with pytest.raises(BackboneError, match=r"not of mini: .*; use tiny$"):
        load_backbone(parse_backbone(f"mini={folder}"))


def test_a_folder_that_is_not_whole_says_what_is_missing(tmp_path: Path, native: State) -> None:
    folder = write_folder(tmp_path / "parts", to_transformers(native), parts=2)
    part = next(folder.glob("model-00002*"))
    part.unlink()
    with pytest.raises(BackboneError, match=rf"names '{part.name}', which is not in the folder; download"):
        load_backbone(parse_backbone(f"tiny={folder}"))
    for name, content, said in [
        ("model.safetensors.index.json", "version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("model.safetensors.index.json", json.dumps({"weight_map": {"a": "../w.safetensors"}}), "not in the folder"),
        ("config.json", "<html>", "web page"),
        ("config.json", json.dumps({"model_type": "siglip"}), "model_type is 'siglip', not clip"),
        ("config.json", json.dumps({"model_type": "clip", "vision_config": [1]}), "not the configuration of a CLIP"),
    ]:
        (folder / name).write_text(content)
        with pytest.raises(BackboneError, match=said):
            load_backbone(WeightsSource("tiny", file=folder))
        write_folder(folder := tmp_path / f"{len(list(tmp_path.iterdir()))}", native, parts=2)
    (folder / "config.json").unlink()
    with pytest.raises(BackboneError, match=r"a folder without open_clip_config.json or config.json; add it, or name"):
        load_backbone(WeightsSource("tiny", file=folder))
    with pytest.raises(BackboneError, match=r"a folder without weights; looked for .*; it has no file"):
        (tmp_path / "bare").mkdir()
        weights_sha256(WeightsSource("tiny", file=tmp_path / "bare"))


def test_a_file_without_a_configuration_beside_it_is_a_file(tmp_path: Path, native: State) -> None:
    path = tmp_path / "model.safetensors"
    save_file(to_transformers(native), path)
    source = parse_backbone(f"tiny={path}")
    assert source.file == path
    assert same(load_backbone(source).model.state_dict(), native)
    assert len(assumptions("ViT-B-16=model.safetensors", "ViT-B-16", "1" * 64)) == 1
    for name in ("ViT-B-16=clip-vit-base-patch16/", "ViT-B-16=hf-hub:openai/clip-vit-base-patch16"):
        assert assumptions(name, "ViT-B-16", "1" * 64) == ()  # their configuration says it


# ---- a hub


class Hub:
    """Stands in for Hugging Face's hub: repositories are folders, and some are in the cache of this machine."""

    def __init__(self, root: Path, *, online: bool = True) -> None:
        self.root, self.online = root, online
        self.downloads: list[str] = []

    def __call__(self, repository: str, name: str, *, local_files_only: bool = False) -> str:
        cached, there = self.root / "cache" / repository / name, self.root / repository / name
        if cached.is_file():
            return str(cached)
        if local_files_only or not self.online:
            raise LocalEntryNotFoundError("not in the cache")
        if not there.is_file():
            raise EntryNotFoundError(f"404: {name}")
        self.downloads.append(name)
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(there.read_bytes())
        return str(cached)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_repository_of_the_hub_is_downloaded_once(
    tmp_path: Path, native: State, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    (tmp_path / "org").mkdir()
    folder = write_folder(tmp_path / "org/clip", to_transformers(native), parts=parts)
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    hub = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    source = parse_backbone("hf-hub:org/clip")
    asked = ["config.json", "preprocessor_config.json"]
    assert hub.downloads == asked
    assert source == parse_backbone("tiny=hf-hub:org/clip")
    assert (pretraining(source).quick_gelu, pretraining(source).mean) == (False, (0.5, 0.5, 0.5))
    assert hub.downloads == asked
    backbone = load_backbone(source)
    assert backbone.name == "tiny=hf-hub:org/clip"
    assert same(backbone.model.state_dict(), native)
    assert len(hub.downloads) == (3 if parts == 1 else 5)
    hub.online = False
    assert load_backbone(source).sha256 == backbone.sha256
    assert hub_folder("org/clip", weights=True) == tmp_path / "cache/org/clip"


def test_a_repository_that_names_a_file_elsewhere_downloads_nothing_of_it(
    tmp_path: Path, native: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org").mkdir()
    folder = write_folder(tmp_path / "org/clip", to_transformers(native), parts=2)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../other/w.safetensors"}}))
    hub = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    with pytest.raises(BackboneError, match=r"names '../other/w.safetensors', which is not in the folder"):
        load_backbone(parse_backbone("hf-hub:org/clip"))
    assert hub.downloads == ["config.json", "model.safetensors.index.json"]


def test_a_repository_that_cannot_be_had_says_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", Hub(tmp_path, online=False))
    for text in ("hf-hub:clip", "tiny=hf-hub:a/b/c", "hf-hub:a/b?x"):
        with pytest.raises(BackboneError, match="say hf-hub:ORGANISATION/NAME, as in"):
            parse_backbone(text)
    with pytest.raises(BackboneError, match=r"hf-hub:org/clip: .*could not be downloaded.*--backbone NAME=DIR"):
        parse_backbone("hf-hub:org/clip")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", Hub(tmp_path))
    with pytest.raises(BackboneError, match=r"hf-hub:org/clip: has no open_clip_config.json or config.json"):
        parse_backbone("tiny=hf-hub:org/clip") and weights_sha256(parse_backbone("tiny=hf-hub:org/clip"))


def test_values_that_are_not_finite_are_refused_with_their_key(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3), "b": torch.tensor([0.0, float("nan")])}, tmp_path / "w.pt")
    with pytest.raises(BackboneError, match=r"w\.pt: b holds values that are no finite numbers"):
        read_state_dict(tmp_path / "w.pt")
