"""Published checkpoints of several files: joined in any order, known by any of them, told apart by their names."""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.faults import save_malicious
from support.stages import Staged
from torch import Tensor

from benchmark.api.datasets import select_cards
from benchmark.clip.architectures import BackboneError
from benchmark.clip.backbone import Backbone
from benchmark.common.files import file_sha256
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId
from benchmark.records.checkpoints import Checkpoint, CheckpointError, read_checkpoint
from benchmark.training.published import import_checkpoint
from benchmark.training.runner import build_method
from methods.anomalyclip import AnomalyClip
from methods.faprompt import FaPrompt, FaPromptOptions
from methods.mrad_clip import MradClip
from methods.mrad_ft import MradFt

BACKBONE = BackboneId(name="tiny", architecture="tiny", sha256="0" * 64, dtype="float32", synthetic=True)
TEXT, IMAGE = "text_adapter.0.fc.0.weight", "image_adapter.seg_proj.0.fc.weight"


class Adapted(Staged):
    """Learned in two parts, which published code writes to two files."""

    name = title = "adapted"

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {}, {"text": state[TEXT], "image": state[IMAGE]}


class Remembering(Staged):
    """Learned as two memories, in files that name both alike."""

    name = title = "remembering"

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {}, {"images": state["cache_visa.keys"], "patches": state["cache_patch_visa.keys"]}


Import = Callable[..., Checkpoint]


@pytest.fixture
def importing(tmp_path: Path) -> Import:
    """Imports files, and returns what is known of them."""

    def make(*files: Path, method: type[Staged] = Adapted, auxiliary: str = "visa") -> Checkpoint:
        given = {"backbone": BACKBONE, "protocol": Protocol(), "results": tmp_path / "results"}
        path, _ = import_checkpoint(list(files), method, auxiliaries=select_cards([auxiliary]), **given)  # type: ignore[arg-type]
        return read_checkpoint(path)

    return make


@pytest.fixture
def adapters(tmp_path: Path) -> tuple[Path, Path]:
    """Two files as AA-CLIP's code writes them, with the states of their optimisers."""
    files = []
    for name, key, value in (("text", "0.fc.0.weight", 1.0), ("image", "seg_proj.0.fc.weight", 2.0)):
        optimiser = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
        content = {"epoch": 5, f"{name}_adapter": {key: torch.full((3,), value)}, f"{name}_optimizer": optimiser}
        torch.save(content, tmp_path / f"{name}_adapter.pth")
        files.append(tmp_path / f"{name}_adapter.pth")
    return files[0], files[1]


def tensors(known: Checkpoint, folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "results/checkpoints" / f"{known.training.id}.safetensors")


def test_files_are_joined_whatever_their_order(importing: Import, adapters: tuple[Path, Path], tmp_path: Path) -> None:
    text, image = adapters
    known = importing(text, image)
    assert importing(image, text) == known
    assert known.source == "image_adapter.pth and text_adapter.pth"
    assert tensors(known, tmp_path)["text"].tolist() == [1.0] * 3
    assert tensors(known, tmp_path)["image"].tolist() == [2.0] * 3


def test_each_file_counts_for_what_the_checkpoint_is(importing: Import, adapters: tuple[Path, Path]) -> None:
    known = {importing(*adapters).training.auxiliary.fingerprint}
    for changed in adapters:
        content = torch.load(changed, weights_only=True)
        torch.save({**content, "epoch": 6}, changed)
        known.add(importing(*adapters).training.auxiliary.fingerprint)
    assert len(known) == 3
    assert all(len(each) == 64 for each in known)


def test_one_file_may_hold_all_and_is_known_by_its_own_sha256(importing: Import, tmp_path: Path) -> None:
    parts = {
        "text_adapter": {"0.fc.0.weight": torch.ones(3)},
        "image_adapter": {"seg_proj": {"0.fc.weight": torch.ones(2)}},
    }
    torch.save({"prompt_learner": {"ctx_pos": torch.zeros(1)}, **parts}, tmp_path / "all.pth")
    known = importing(tmp_path / "all.pth")
    assert known.training.auxiliary.fingerprint == file_sha256(tmp_path / "all.pth")
    assert known.source == "all.pth"
    assert tensors(known, tmp_path)["image"].shape == (2,)


def test_a_dict_of_a_file_is_offered_by_itself_as_before(importing: Import, tmp_path: Path) -> None:
    """Though the file as a whole has entries of these names, too."""
    inner = {TEXT: torch.ones(1), IMAGE: torch.ones(1)}
    content = {"state_dict": inner, "text_adapter": {"0.fc.0.weight": torch.zeros(1)}}
    torch.save({**content, "image_adapter": {"seg_proj.0.fc.weight": torch.zeros(1)}}, tmp_path / "c.pth")
    assert tensors(importing(tmp_path / "c.pth"), tmp_path)["text"].tolist() == [1.0]


def test_entries_of_one_name_are_told_apart_by_their_files(importing: Import, tmp_path: Path) -> None:
    found = []
    for name, value in (("cache_visa", 1.0), ("cache_patch_visa", 2.0)):
        torch.save({"keys": torch.full((2, 2), value), "count": 2}, tmp_path / f"{name}.pt")
        found.append(tmp_path / f"{name}.pt")
    save_file({"other": torch.zeros(1)}, tmp_path / "rest.safetensors")
    for files in permutations([*found, tmp_path / "rest.safetensors"]):
        learned = tensors(importing(*files, method=Remembering), tmp_path)
        assert (learned["images"][0, 0], learned["patches"][0, 0]) == (1.0, 2.0)
    (tmp_path / "b").mkdir()
    twin = (tmp_path / "b/cache_visa.pt").resolve()
    torch.save({"keys": torch.zeros(1)}, twin)
    with pytest.raises(
        BackboneError, match=r"cache_visa\.pt and .*cache_visa\.pt: both have an entry cache_visa\.keys; rena"
    ):
        importing(found[0], twin, method=Remembering)
    with pytest.raises(CheckpointError, match=r"cache_visa\.pt: named twice"):
        importing(found[0], tmp_path / "b/../cache_visa.pt", method=Remembering)


def test_a_part_that_is_missing_is_named_with_the_way_out(
    importing: Import, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    for place, missing in ((0, IMAGE), (1, TEXT)):
        said = rf"{adapters[place].name}: no checkpoint of adapted: it has no entry '{missing}', but "
        with pytest.raises(CheckpointError, match=rf"{said}.*name all files of one checkpoint, with the names"):
            importing(adapters[place])
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=rf"other\.pth and .*text_adapter\.pth: no checkpoint .* '{IMAGE}'"):
        importing(adapters[0], tmp_path / "other.pth")
    # Where nothing that a file may hold has all entries, the message speaks of the file as a whole.
    torch.save(
        {"prompt_learner": {"a": torch.zeros(1)}, "text_adapter": {"0.fc.0.weight": torch.zeros(1)}}, tmp_path / "c"
    )
    with pytest.raises(CheckpointError, match=rf"it has no entry '{IMAGE}', but prompt_learner\.a, {TEXT};"):
        importing(tmp_path / "c")


def test_any_file_may_say_what_the_checkpoint_was_trained_on(
    importing: Import, adapters: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, image = adapters
    for known in adapters:
        monkeypatch.setattr(Adapted, "published", {file_sha256(known): ("mvtec",)})
        with pytest.raises(CheckpointError, match=rf"{known.name}: by its sha256 .* other data; say --auxiliary mvtec"):
            importing(*adapters, auxiliary="visa")
        assert importing(*adapters, auxiliary="mvtec").training.auxiliary.name == "mvtec"
    monkeypatch.setattr(Adapted, "published", {file_sha256(text): ("mvtec",), file_sha256(image): ("visa",)})
    said = r"image_adapter\.pth and .*text_adapter\.pth: by their sha256 .* on different data, visa and mvtec; name the"
    with pytest.raises(CheckpointError, match=said):
        importing(*adapters)


def test_no_file_of_several_is_unpickled_or_broken_in_silence(
    importing: Import, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    save_malicious(tmp_path / "evil.pth", "prompt_learner", tmp_path / "witness", zipped=True)
    with pytest.raises(BackboneError, match=r"evil\.pth: .*without unpickling"):
        importing(*adapters, tmp_path / "evil.pth")
    assert not (tmp_path / "witness").exists()
    with pytest.raises(BackboneError, match=r"missing\.pth: no such file"):
        importing(*adapters, tmp_path / "missing.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(BackboneError, match=r"empty\.pth: holds no state dict of tensors; it holds epoch"):
        importing(*adapters, tmp_path / "empty.pth")
    torch.save({"image_adapter": {"seg_proj.0.fc.weight": torch.tensor([float("nan")])}}, adapters[1])
    with pytest.raises(BackboneError, match=rf"image_adapter\.pth: {IMAGE} holds values that are no finite numbers"):
        importing(*adapters)


def test_the_command_takes_several_files(bench: Callable[..., Any], tmp_path: Path) -> None:
    """Of a method that needs but one: what it does not read does not matter."""
    prompts = {"ctx_pos": torch.zeros(1, 1, 6, 64), "ctx_neg": torch.zeros(1, 1, 6, 64)}
    torch.save(prompts, tmp_path / "a.pth")
    torch.save({"other": torch.zeros(1)}, tmp_path / "b.pth")
    common: Sequence[Any] = ["--auxiliary", "visa", "--backbone", "tiny:random", "--results", tmp_path / "r"]
    code, out, err = bench("import-checkpoint", tmp_path / "b.pth", tmp_path / "a.pth", *common)
    assert code == 0, err
    known = read_checkpoint(Path(out.strip()))
    assert (known.training.method, known.source) == (AnomalyClip.name, "a.pth and b.pth")


def test_a_file_of_another_method_is_refused_with_the_method_that_reads_it(
    bench: Callable[..., Any], tmp_path: Path
) -> None:
    learned = {"ctx_pos": torch.zeros(1, 1, 5, 64), "ctx_neg": torch.zeros(1, 10, 2, 64)}
    for layer in ("linear1", "linear2"):
        learned |= {f"patch_meta_net.{layer}.{part}": torch.zeros(64) for part in ("weight", "bias")}
    common: Sequence[Any] = ["--auxiliary", "visa", "--backbone", "tiny:random", "--results", tmp_path / "r"]
    advice = "--method faprompt can read it"
    for entries, method, why in (
        (learned, "anomalyclip", "ctx_neg has the shape (1, 10, 2, 64), so it is of several abnormal prompts"),
        ({"prompt_learner": learned}, "april_gan", "it has no entry 'fc.0.weight', but prompt_learner.ctx_pos, "),
    ):
        torch.save(entries, tmp_path / "c.pth")
        code, _, err = bench("import-checkpoint", tmp_path / "c.pth", "--method", method, *common)
        assert code == 2
        assert why in err
        assert err.endswith(f"; {advice}\n")
        code, out, err = bench("import-checkpoint", tmp_path / "c.pth", "--method", "faprompt", *common)
        assert code == 0, err
        assert read_checkpoint(Path(out.strip())).training.method == "faprompt"


def test_no_other_method_is_named_where_none_reads_the_whole_file(
    importing: Import, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    """AnomalyCLIP could read the prompts of MRAD-CLIP, of which the files of the memory are missing here."""
    prompts = {"ctx_pos": torch.zeros(1, 1, 5, 64), "ctx_neg": torch.zeros(1, 1, 5, 64)}
    torch.save({"prompt_learner": prompts, "image_proj": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "part.pth")
    for file in (adapters[0], tmp_path / "part.pth"):
        with pytest.raises(CheckpointError, match=r"its code gives them$"):
            importing(file)


def test_a_file_that_is_known_as_another_methods_is_refused(
    bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AnomalyCLIP could read the prompts of it."""
    prompts = {"ctx_pos": torch.zeros(1, 1, 5, 64), "ctx_neg": torch.zeros(1, 1, 5, 64)}
    layers = {"fc.0.weight": torch.zeros(2, 2)}
    torch.save({"prompt_learner": prompts, "patch_proj": layers}, file := tmp_path / "test_on_visa.pth")
    monkeypatch.setattr(MradFt, "published", {file_sha256(file): ("mvtec",)})
    assert MradClip.published is MradFt.published  # MRAD-FT is a part of it
    common: Sequence[Any] = ["--auxiliary", "mvtec", "--backbone", "tiny:random", "--results", tmp_path / "r"]
    code, _, err = bench("import-checkpoint", file, "--method", "anomalyclip", *common)
    assert code == 2
    assert err.endswith(
        "test_on_visa.pth: by its sha256 a checkpoint of MRAD-CLIP or MRAD-FT; say --method mrad_clip or mrad_ft\n"
    )
    for method in ("mrad_ft", "mrad_clip"):
        code, _, err = bench("import-checkpoint", file, "--method", method, *common[2:], "--auxiliary", "visa")
        assert code == 2
        assert err.endswith("trained it on other data; say --auxiliary mvtec\n")
        code, _, err = bench("import-checkpoint", file, "--method", method, *common)
        assert code == 2
        assert "it has no entry" in err
        assert err.endswith("its code gives them\n")


def test_a_memory_of_two_sets_is_refused(bench: Callable[..., Any], tmp_path: Path) -> None:
    for stem, width in (("cache_model", 64), ("cache_patch_model", 128)):
        for data in ("visa", "mvtec"):
            content = {"keys": torch.ones(2, width), "values": torch.eye(2, dtype=torch.int64)}
            torch.save(content, tmp_path / f"{stem}_{data}.pt")
    common: Sequence[Any] = ["--auxiliary", "visa", "--backbone", "tiny:random", "--results", tmp_path / "r"]
    for names, code in (
        (["cache_model_visa", "cache_patch_model_visa"], 0),
        (["cache_model_visa", "cache_patch_model_mvtec"], 2),
        (["cache_model_visa", "cache_patch_model_visa", "cache_model_mvtec", "cache_patch_model_mvtec"], 2),
    ):
        files = [tmp_path / f"{name}.pt" for name in names]
        found, _, err = bench("import-checkpoint", *files, "--method", "mrad_tf", *common)
        assert found == code, err
        if code:
            assert f"MRAD-TF: {', '.join(sorted(names))} are of several memories; name one" in err


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (torch.eye(3).to_sparse(), "no dense tensor"),
        (torch.empty(3, device="meta"), "no dense tensor"),
        (torch.eye(3, dtype=torch.complex64), "complex numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_tensors_of_other_kinds_are_refused_by_name(
    importing: Import, adapters: tuple[Path, Path], wrong: Tensor, why: str
) -> None:
    torch.save({"image_adapter": {"seg_proj.0.fc.weight": wrong}}, adapters[1])
    with pytest.raises(
        BackboneError, match=rf"image_adapter\.pth: {IMAGE} holds {why}.*; save real numbers in a dense"
    ):
        importing(*adapters)


def test_learned_integers_are_refused_and_others_do_not_matter(bench: Callable[..., Any], tmp_path: Path) -> None:
    prompts = {"ctx_pos": torch.zeros(1, 1, 6, 64), "ctx_neg": torch.zeros(1, 1, 6, 64)}
    common: Sequence[Any] = ["--auxiliary", "visa", "--backbone", "tiny:random", "--results", tmp_path / "r"]
    torch.save({**prompts, "token_ids": torch.zeros(3, dtype=torch.int64)}, tmp_path / "a.pth")
    code, _, err = bench("import-checkpoint", tmp_path / "a.pth", *common)
    assert code == 0, err
    torch.save({**prompts, "ctx_neg": prompts["ctx_neg"].long()}, tmp_path / "a.pth")
    code, _, err = bench("import-checkpoint", tmp_path / "a.pth", *common)
    assert code == 2
    assert "a.pth: no checkpoint of AnomalyCLIP: what would be abnormal holds int64 values" in err


def test_a_checkpoint_of_other_sizes_says_how_to_use_it(tiny: Backbone, tmp_path: Path) -> None:
    width = 5 * tiny.width  # of 5 patches, and not of 10
    state = {"ctx_pos": torch.zeros(1, 1, 5, 64), "ctx_neg": torch.zeros(1, 10, 2, 64)}
    for layer, sizes in (("linear1", (20, width)), ("linear2", (64, 20))):
        state |= {
            f"patch_meta_net.{layer}.weight": torch.zeros(sizes),
            f"patch_meta_net.{layer}.bias": torch.zeros(sizes[0]),
        }
    torch.save(state, tmp_path / "epoch_15.pth")
    given = {"backbone": BACKBONE, "protocol": Protocol(), "results": tmp_path}
    path, told = import_checkpoint([tmp_path / "epoch_15.pth"], FaPrompt, auxiliaries=select_cards(["mvtec"]), **given)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"does not fit FAPrompt: .*prior.*; say by --set .* or import it again"):
        build_method(FaPrompt, tiny, FaPromptOptions(**told), seed=0, checkpoint=path)
    build_method(FaPrompt, tiny, FaPromptOptions(**told, patches=5), seed=0, checkpoint=path)
