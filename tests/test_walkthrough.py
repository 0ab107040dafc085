"""What docs/ says of adding a method and a dataset is followed to the letter, outside of the checkout."""

import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity
from support.sound_methods import Sound
from torch import Tensor

from benchmark import contract
from benchmark.api import datasets
from benchmark.authoring.check_images import random_images
from benchmark.authoring.conformance import check_method
from benchmark.authoring.findings import render
from benchmark.authoring.method_under_test import MethodUnderTest, fit, halves
from benchmark.clip.backbone import Backbone
from benchmark.data.cards import Card, load_card, load_cards
from benchmark.data.check import check_dataset
from benchmark.data.samples import read_samples
from benchmark.errors import BenchError
from benchmark.records.records import read_records
from benchmark.registry import load_plugin

Bench = Callable[..., tuple[int, str, str]]
DOCS = Path(__file__).parents[1] / "docs"
METHOD = (DOCS / "adding-a-method.md").read_text(encoding="utf-8")
DATASET = (DOCS / "adding-a-dataset.md").read_text(encoding="utf-8")


def block(page: str, language: str, containing: str) -> str:
    """Return the one fenced block of a page that is in this language and holds these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
    (found,) = [each for each in blocks if containing in each]
    return str(found)


def typed(console: str) -> list[list[str]]:
    """Return the arguments of the commands of a console block."""
    return [line.removeprefix("$ bench ").split() for line in console.splitlines() if line.startswith("$ bench ")]


# --- add a method


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_plugins: None) -> Path:
    """The folder of an author, with the method's file in it."""
    folder = tmp_path / "author"
    folder.mkdir()
    (folder / "odd_patch.py").write_text(block(METHOD, "python", "class OddPatch"), encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def test_the_method_is_listed(bench: Bench, author: Path) -> None:
    code, out, _ = bench("methods", "--plugin", "odd_patch.py")
    assert code == 0
    assert "odd_patch  (OddPatch, version 1)" in out
    assert "odd_patch.nearest = 0.3" in out


def test_the_method_keeps_the_contract_and_the_checks_are_those_shown(bench: Bench, author: Path) -> None:
    console = block(METHOD, "console", "check-method")
    (arguments,) = typed(console)
    code, out, err = bench(*arguments)
    assert code == 0, out + err

    def without_numbers(text: str) -> list[str]:
        return re.sub(r"\d[\d.e-]*", "…", text).splitlines()

    assert without_numbers(out) == without_numbers(console)[1:]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_method_gets_a_column_beside_clip(
    bench: Bench, author: Path, parts: Path, tmp_path: Path, workers: int
) -> None:
    (arguments,) = typed(block(METHOD, "console", "--methods clip,odd_patch"))
    datasets = arguments.index("--datasets")
    del arguments[datasets : datasets + 2]
    arguments += ["--folder", str(parts), "--backbone", "tiny:random", "--workers", str(workers), "--device", "cpu"]
    code, out, err = bench(*arguments, "--results", tmp_path / "r")
    assert code == 0, err
    assert re.search(r"^ +CLIP +OddPatch$", out, flags=re.MULTILINE)
    assert {record.cell.method for record in read_records(tmp_path / "r")[0]} == {"clip", "odd_patch"}
    (setting,) = re.findall(r"`(--set odd_patch\.\S+)`", METHOD)
    code, out, err = bench(*arguments, *setting.split(), "--results", tmp_path / "r")
    assert code == 0, err
    assert "OddPatch (nearest=0.1)" in out


def test_results_from_before_an_edit_are_said_to_be_so(
    bench: Bench, author: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run", "--methods", "odd_patch", "--plugin", "odd_patch.py", "--folder", parts, "--results", tmp_path]
    arguments += ["--backbone", "tiny:random", "--workers", "0", "--device", "cpu"]
    for _ in range(2):
        code, _, err = bench(*arguments)
        assert code == 0
        assert "edited" not in err
    with (author / "odd_patch.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    _, _, err = bench(*arguments)
    assert "1 cell, 0 to do" in err
    assert "kept: results of odd_patch from before its files were edited" in err
    _, _, err = bench(*arguments, "--force")
    assert "edited" not in err


def test_the_new_method_command_is_the_one_shown(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`bench new-method odd_patch`" in METHOD
    code, out, _ = bench("new-method", "odd_patch")
    assert code == 0
    shown = [typed(block(METHOD, "console", each))[0] for each in ("check-method", "--methods clip,odd_patch")]
    assert [line.split()[1:] for line in out.splitlines() if line.startswith("bench ")] == shown


def test_an_ablation_of_its_own_becomes_a_table(bench: Bench, author: Path, small_suite: Path, tmp_path: Path) -> None:
    path = author / "odd_patch.py"
    source = path.read_text(encoding="utf-8").replace("import Dpam,", "import Ablation, Dpam,")
    after = "    options: OddPatchOptions\n"
    assert after in source
    path.write_text(source.replace(after, after + block(METHOD, "python", "ablations = (")), encoding="utf-8")
    code, out, _ = bench("methods", "--plugin", "odd_patch.py")
    assert code == 0
    assert "ablate: nearest" in out
    (arguments,) = typed(block(METHOD, "console", "bench ablate"))
    arguments += ["--data", str(small_suite), "--backbone", "tiny:random", "--workers", "0", "--device", "cpu"]
    code, out, err = bench(*arguments, "--results", tmp_path / "r")
    assert code == 0, err
    for row in ("10 %", "30 %", "100 %"):
        assert re.search(rf"^{row} ", out, flags=re.MULTILINE)
    assert re.search(r"^30 % .*default", out, flags=re.MULTILINE)
    assert (tmp_path / "r/tables/ablations/odd_patch_nearest.md").is_file()


# --- add a method that changes the tower


@pytest.fixture
def tuned(author: Path) -> Path:
    """The file of the second method, in the folder of the author."""
    path = author / "tuned_tower.py"
    path.write_text(block(METHOD, "python", "class TunedTower"), encoding="utf-8")
    return path


def test_the_method_that_changes_the_tower_is_short_and_keeps_the_contract(tuned: Path, tiny: Backbone) -> None:
    assert len(tuned.read_text(encoding="utf-8").splitlines()) < 120
    (method,) = load_plugin(tuned)
    findings = check_method(method, method.Options(), tiny, random_images)
    assert all(finding.passed for finding in findings), render(findings)
    seen = {finding.check: finding.seen for finding in findings}
    assert seen["training"] == "112 px; images alone; augmented"
    assert "2 parameters train" in seen["losses"]
    assert seen["augmentation"].startswith("changes ")


def test_the_method_that_changes_the_tower_is_trained_on_images_and_gets_a_column(
    bench: Bench, tuned: Path, parts: Path, small_suite: Path, tmp_path: Path
) -> None:
    (arguments,) = typed(block(METHOD, "console", "--methods clip,tuned_tower"))
    datasets = arguments.index("--datasets")
    arguments[datasets : datasets + 2] = ["--folder", f"nuts={parts}", "--auxiliary", "mvtec", "--data", small_suite]
    arguments += ["--backbone", "tiny:random", "--workers", "0", "--device", "cpu", "--set", "tuned_tower.epochs=1"]
    code, out, err = bench(*arguments, "--results", tmp_path / "r")
    assert code == 0, err
    assert re.search(r"^ +CLIP +TunedTower", out, flags=re.MULTILINE)
    (record,) = [each for each in read_records(tmp_path / "r")[0] if each.cell.method == "tuned_tower"]
    assert record.training is not None


# --- add a method that learns without an optimiser


@pytest.fixture
def nearest(author: Path) -> Path:
    """The file of the third method, in the folder of the author."""
    path = author / "nearest_normal.py"
    path.write_text(block(METHOD, "python", "class NearestNormal"), encoding="utf-8")
    return path


def test_the_method_with_a_memory_is_short_and_keeps_the_contract(nearest: Path, tiny: Backbone) -> None:
    assert len(nearest.read_text(encoding="utf-8").split("class NearestNormal")[1].splitlines()) < 40
    (method,) = load_plugin(nearest)
    findings = check_method(method, method.Options(), tiny, random_images)
    assert all(finding.passed for finding in findings), render(findings)
    seen = {finding.check: finding.seen for finding in findings}
    assert seen["training"] == "112 px; without an optimiser"
    assert "whatever the order of the images" in seen["losses"]


def test_a_memory_without_rows_is_said_with_the_way_out(nearest: Path, tiny: Backbone) -> None:
    (method,) = load_plugin(nearest)
    built = MethodUnderTest(method, method.Options(), tiny, random_images)
    message = "^NearestNormal has seen no normal image in the auxiliary dataset; choose another by --auxiliary$"
    with pytest.raises(BenchError, match=message):
        built.predict(built.new(), built.one_class)


def test_the_method_with_a_memory_scores_by_the_cosine_to_the_nearest_normal_image(
    nearest: Path, tiny: Backbone
) -> None:
    (method,) = load_plugin(nearest)
    tested = MethodUnderTest(method, method.Options(), tiny, random_images)
    built = tested.build_learner()
    (stage,) = built.stages(tested.auxiliaries)
    batch = tested.training_batch(stage.vision)
    fit(stage, halves(batch))
    found, normal = tested.predict(built, tested.one_class), batch.features.image[batch.labels == 0]
    similarities = cosine_similarity(tested.features.image.numpy(), normal.numpy())
    np.testing.assert_allclose(found.scores.numpy(), 1 - similarities.max(axis=1), atol=1e-6)


# --- the pieces of the page


def test_the_pieces_keep_the_contract(tiny: Backbone) -> None:
    pieces = [block(METHOD, "python", f"def {name}(") for name in ("backbone_variant", "class_scores")]
    names = {**vars(contract), "Any": Any, "Sequence": Sequence, "Tensor": Tensor, "Base": Sound}
    exec("class Made(Base):\n" + textwrap.indent("\n".join(pieces), "    "), names)
    findings = check_method(names["Made"], Sound.Options(), tiny, random_images)
    assert all(finding.passed for finding in findings), render(findings)
    seen = {finding.check: finding.seen for finding in findings}
    assert "plain_gelu=True, pos_interp=bicubic" in seen["vision"]
    assert seen["class scores"].startswith("of the whole class")


# --- add a dataset


@pytest.fixture
def card(tmp_path: Path) -> Card:
    path = tmp_path / "bolts.toml"
    path.write_text(block(DATASET, "toml", 'name = "bolts"'), encoding="utf-8")
    return load_card(path)


@pytest.fixture
def bolts(tmp_path: Path) -> Path:
    """The files as they are drawn in the section, and as many more as the card says."""
    rng, root = np.random.default_rng(0), tmp_path / "Bolts_v2"
    shown = set(block(DATASET, "text", "Bolts_v2").split())
    for folder, goods, defects in (("hex_bolt", 3, ["thread", "head"]), ("wingnut", 2, ["wing"])):
        for kind in ("good", "broken", "masks"):
            (root / "images" / folder / kind).mkdir(parents=True)
        for index in range(goods):
            _draw(rng, root / f"images/{folder}/good/{index:03d}.png")
        for defect in defects:
            _draw(rng, root / f"images/{folder}/broken/{defect}_0.png")
            mask = np.zeros((64, 64), dtype=np.uint8)
            mask[10:30, 20:40] = 255
            Image.fromarray(mask).save(root / f"images/{folder}/masks/{defect}_0.png")
    assert shown <= {path.relative_to(tmp_path).as_posix() for path in root.rglob("*.png")}
    return root


def _draw(rng: np.random.Generator, path: Path) -> None:
    Image.fromarray(rng.integers(0, 256, size=(64, 64, 3), dtype=np.uint8)).save(path)


def test_the_card_reads_the_files_as_they_lie(card: Card, bolts: Path) -> None:
    samples = read_samples(card, bolts)
    assert samples.has_masks
    assert samples.differences == {}
    assert {s.prompt_name for s in samples.test} == {"hex bolt", "butterfly nut"}
    assert {(s.defect, s.label) for s in samples.test if s.label} == {("thread", 1), ("head", 1), ("wing", 1)}
    assert all(s.mask and s.mask.is_file() for s in samples.test if s.label)
    assert not check_dataset(samples).broken


def test_the_check_prints_what_is_shown_and_the_run_makes_a_table(
    bench: Bench, card: Card, bolts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = {**load_cards(), "bolts": card}
    monkeypatch.setattr(datasets, "load_cards", lambda: cards)
    monkeypatch.chdir(bolts.parent)
    console = block(DATASET, "console", "bench data check")
    check, run = typed(console)
    code, out, _ = bench(*check)
    assert code == 0
    assert out.splitlines() == console.splitlines()[1:-1]
    (bolts / "images/wingnut/masks/wing_0.png").unlink()
    assert bench(*check)[0] == 1
    shutil.copy(bolts / "images/hex_bolt/masks/head_0.png", bolts / "images/wingnut/masks/wing_0.png")
    code, out, err = bench(*run, "--backbone", "tiny:random", "--workers", "0", "--results", tmp_path / "r")
    assert code == 0, err
    assert re.search(r"^Bolts +\(", out, flags=re.MULTILINE)


def test_the_list_finds_it_by_its_other_name(
    bench: Bench, card: Card, bolts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_cards", lambda: {"bolts": card})
    code, out, _ = bench("data", "list", "--data", bolts.parent)
    assert code == 0
    assert f"found:   {bolts}" in out
