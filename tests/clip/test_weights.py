"""Where the weights of the backbone come from, and what must be known of them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from support.faults import save_malicious
from torch import Tensor, nn

from benchmark.clip import weight_files
from benchmark.clip.architectures import BackboneError, architecture_config
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.weight_files import read_state_dict
from benchmark.clip.weights import (
    DEFAULT_BACKBONE,
    KNOWN_FILES,
    OPENAI_MEAN,
    OPENAI_STD,
    WeightsSource,
    parse_backbone,
    pretraining,
    published_files,
    weights_sha256,
)
from benchmark.common.files import file_sha256
from benchmark.records.cells import backbone_id
from benchmark.records.records import read_records


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


def test_a_download_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong(*args: object, **kwargs: object) -> str:
        raise ValueError("SHA256 hash of downloaded file does not match the known hash:\nexpected …")

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("pooch.retrieve", "open_clip.download_pretrained"):
        monkeypatch.setattr(name, wrong)
    for backbone in (DEFAULT_BACKBONE, "ViT-B-32:laion2b_s34b_b79k"):
        with pytest.raises(BackboneError, match=r"\(ValueError: SHA256 hash of downloaded file does not match"):
            load_backbone(parse_backbone(backbone))


def test_an_unknown_architecture_names_the_near_ones() -> None:
    with pytest.raises(BackboneError, match="ViT-L-14-336-quickgelu"):
        load_backbone(parse_backbone("ViT-L-14-336-quickgel:openai"))


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


@pytest.fixture
def small(tmp_path: Path, tiny_architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small architectures among those of open_clip, `small` and `small-quickgelu`."""
    known = dict(open_clip.factory._MODEL_CONFIGS)
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", known)
    known["small"] = tiny_architecture
    known["small-quickgelu"] = {**tiny_architecture, "quick_gelu": True}


OPENAI_ENTRIES = {key: torch.tensor(77) for key in ("input_resolution", "context_length", "vocab_size")}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.usefixtures("small")
def test_an_openai_archive_is_refused_where_plain_gelu_would_be_built(
    tmp_path: Path, tiny_architecture: dict[str, Any]
) -> None:
    path = save({**make_state(tiny_architecture), **OPENAI_ENTRIES}, tmp_path / "clip.pt", "torchscript")
    with pytest.raises(BackboneError, match=r"with QuickGELU, but small builds plain GELU.*use small-quickgelu"):
        load_backbone(WeightsSource("small", file=path))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.usefixtures("small")
def test_an_openai_archive_loads_where_quickgelu_is_built(tmp_path: Path, tiny_architecture: dict[str, Any]) -> None:
    config = {**tiny_architecture, "quick_gelu": True}
    path = save({**make_state(config), **OPENAI_ENTRIES}, tmp_path / "clip.pt", "torchscript")
    backbone = load_backbone(WeightsSource("small-quickgelu", file=path))
    assert isinstance(backbone.model.visual.transformer.resblocks[0].mlp.gelu, open_clip.transformer.QuickGELU)


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded, nor looked for on this machine."""

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download")

    for name in ("open_clip.download_pretrained", "pooch.retrieve"):
        monkeypatch.setattr(name, never)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("ViT-L-14-336:openai", "trained with QuickGELU, but .* plain GELU.*use ViT-L-14-336-quickgelu$"),
        ("ViT-L-14-336px:openai", r"unknown architecture.*did you mean ViT-L-14-336-quickgelu\?$"),
        ("ViT-L/14@336px:openai", r"unknown architecture.*did you mean ViT-L-14-336-quickgelu\?$"),
        ("ViT-B-16:opeani", "tags of ViT-B-16: laion.*tags of ViT-B-16-quickgelu: openai"),
        ("ViT-L-14-CLIPA:datacomp1b", "no plain CLIP.*no_ln_pre"),
        ("xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k", "no plain CLIP.*hf_model_name"),
        ("RN50:random", "no plain CLIP"),
    ],
)
def test_weights_that_do_not_suit_are_refused_before_a_download(backbone: str, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        backbone_id(parse_backbone(backbone), dtype="float32")


def supported() -> Iterator[str]:
    for name in open_clip.list_models():
        try:
            architecture_config(name)
        except BackboneError:
            continue
        yield name


def test_every_supported_architecture_has_the_tokenizer_of_clip() -> None:
    """Oracle: the tokenizer that open_clip itself chooses."""
    names = list(supported())
    assert {"ViT-B-16-plus-240", "ViT-L-14-336-quickgelu", "ViT-M-16-alt", "ViT-bigG-14"} <= set(names)
    for name in names:
        assert type(open_clip.get_tokenizer(name)) is open_clip.SimpleTokenizer, name


def test_a_text_tower_of_another_vocabulary_or_pooling_is_refused(
    tiny_architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tiny_architecture["text_cfg"]
    for other in (
        {"hf_tokenizer_name": "google/mt5-base"},
        {"vocab_size": 250100},
        {"pool_type": "eos"},
        {"no_causal_mask": True},
        {"unheard_of": 1},
    ):
        config = {**tiny_architecture, "text_cfg": {**text, **other}}
        monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", {"other": config})
        with pytest.raises(BackboneError, match=f"no plain CLIP.*text_cfg.{next(iter(other))}"):
            architecture_config("other")


def test_whatever_is_advised_for_a_tag_is_taken() -> None:
    refused = 0
    for name in supported():
        for tag in open_clip.list_pretrained_tags_by_model(name):
            try:
                pretraining(WeightsSource(name, tag=tag))
            except BackboneError as error:
                refused += 1
                pretraining(WeightsSource(str(error).rpartition("use ")[2], tag=tag))
    assert refused > 5


def test_mean_and_standard_deviation_are_those_of_the_weights(
    tmp_path: Path, tiny_architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (OPENAI_MEAN, OPENAI_STD) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    source = parse_backbone("ViT-L-14:laion2b_s32b_b82k")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-L-14", tiny_architecture)
    path = save(make_state(tiny_architecture), tmp_path / "w.safetensors", "safetensors")
    monkeypatch.setattr("open_clip.download_pretrained", lambda config, cache_dir: str(path))
    backbone, identity = load_backbone(source), backbone_id(source, dtype="float32")
    half = (0.5, 0.5, 0.5)
    assert (backbone.mean, backbone.std, identity.mean, identity.std) == (half, half, half, half)
    plain = backbone_id(parse_backbone("tiny:random"), dtype="float32")
    assert (plain.mean, plain.std) == (OPENAI_MEAN, OPENAI_STD)


@pytest.mark.parametrize("name", KNOWN_FILES)
def test_the_default_weights_are_known_without_open_clip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = open_clip.get_pretrained_cfg(*name.split(":"))
    builds = architecture_config(name.split(":", maxsplit=1)[0]).get("quick_gelu", False)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    known = pretraining(parse_backbone(name))
    assert (known.mean, known.std, known.quick_gelu) == (said["mean"], said["std"], said.get("quick_gelu", False))
    assert known.quick_gelu == builds


@pytest.mark.usefixtures("small")
def test_what_a_file_does_not_say_is_said_once_and_recorded(
    tmp_path: Path, tiny_architecture: dict[str, Any], parts: Path, bench: Callable[..., tuple[int, str, str]]
) -> None:
    path = save(make_state(tiny_architecture), tmp_path / "mine.safetensors", "safetensors")
    results = tmp_path / "r"
    options = ("run", "--methods", "clip,clip_ac", "--folder", parts, "--results", results, "--workers", 0)
    code, _, said = bench(*options, "--backbone", f"small={path}")
    assert code == 0
    line = "small=mine.safetensors: open_clip gives no sha256 of this file; it is assumed to have been trained with"
    assert said.count(line) == 1
    records, _ = read_records(results)
    assert [any(line in warning for warning in record.warnings) for record in records] == [True, True]
    _, _, said = bench(*options, "--backbone", "tiny:random")
    assert "assumed" not in said


def test_a_file_is_recognised_by_its_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Normalisation and GELU of files whose sha256 open_clip gives are known, whatever the files are called here."""
    path = tmp_path / "renamed.bin"
    path.write_bytes(b"")
    hashes = {
        KNOWN_FILES[DEFAULT_BACKBONE].sha256: "ViT-L-14-336",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f": "ViT-B-16",  # OpenAI's
    }
    for sha256, plain in hashes.items():
        monkeypatch.setattr("benchmark.clip.weights.file_sha256", lambda path, found=sha256: found)
        assert pretraining(WeightsSource(f"{plain}-quickgelu", file=path)).quick_gelu
        with pytest.raises(BackboneError, match=f"renamed.bin: .*use {plain}-quickgelu$"):
            pretraining(WeightsSource(plain, file=path))
    release = "af8dbd0c" + "0" * 56  # open_clip's address holds the first eight digits
    monkeypatch.setattr("benchmark.clip.weights.file_sha256", lambda path: release)
    assert pretraining(WeightsSource("ViT-B-32", file=path)).quick_gelu is False


def test_weights_of_the_same_file_name_are_told_apart(tmp_path: Path, tiny_architecture: dict[str, Any]) -> None:
    state = make_state(tiny_architecture)
    identities = []
    for folder, more in (("a", 0.0), ("b", 0.001)):
        (tmp_path / folder).mkdir()
        changed = {**state, "visual.proj": state["visual.proj"] + more}
        path = save(changed, tmp_path / folder / "epoch_latest.pt", "checkpoint")
        identities.append(backbone_id(WeightsSource("tiny", file=path), dtype="float32"))
        assert identities[-1].sha256 == file_sha256(path) == weights_sha256(WeightsSource("tiny", file=path))
    assert [each.name for each in identities] == ["tiny=epoch_latest.pt"] * 2
    assert identities[0].sha256 != identities[1].sha256


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_archive_that_is_published_needs_no_search_for_code(
    tmp_path: Path, tiny_architecture: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is a heuristic that could refuse a harmless file; its sha256 says that it is the published one."""

    def refuse(path: Path) -> None:
        raise BackboneError(f"{path}: refused")

    path = save(make_state(tiny_architecture), tmp_path / "clip.pt", "torchscript")
    monkeypatch.setattr(weight_files, "_refuse_code", refuse)
    with pytest.raises(BackboneError, match="refused"):
        read_state_dict(path)
    start, whole = file_sha256(path)[:8], file_sha256(path)
    monkeypatch.setattr(weight_files, "published_files", lambda: {start: {}})  # too little to rely on
    with pytest.raises(BackboneError, match="refused"):
        read_state_dict(path)
    monkeypatch.setattr(weight_files, "published_files", lambda: {whole: {}})
    assert "visual.proj" in read_state_dict(path)
    assert KNOWN_FILES[DEFAULT_BACKBONE].sha256 in published_files()


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
