"""Runs on plain folders: several with names, parts of them, as auxiliary dataset, with shipped checkpoints."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli.data_options import FolderOptions
from benchmark.records.records import Record, read_records

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--workers", "0", "--device", "cpu"]
MINI = ["--backbone", "mini:v2", "--workers", "0", "--device", "cpu"]


@pytest.fixture
def bolts(parts: Path) -> Path:
    """A second folder, without some of the images of the first."""
    folder = parts.with_name("bolts")
    shutil.copytree(parts, folder)
    for name in ("abnormal/010.png", "masks/abnormal/010.png", "normal/000.png"):
        (folder / name).unlink()
    return folder


def records_of(results: Path) -> dict[tuple[str, str], Record]:
    return {(record.cell.method, record.dataset_title): record for record in read_records(results)[0]}


def test_each_folder_keeps_its_name_in_every_table(bench: Bench, parts: Path, bolts: Path, tmp_path: Path) -> None:
    folders = ["--folder", f"Nuts M4={parts}", "--folder", bolts]
    code, out, err = bench("run", "--methods", "clip", *folders, *TINY, "--limit", "4", "--results", tmp_path / "r")
    assert code == 0, err
    titles = {"Nuts M4 (subset: 4 images)", "bolts (subset: 4 images)"}
    assert all(title in out for title in titles)
    bench("tables", "--results", tmp_path / "r")
    with (tmp_path / "r/tables/results.csv").open(encoding="utf-8") as file:
        assert {row["dataset_title"] for row in csv.DictReader(file)} == titles


def test_learners_run_on_a_folder_from_the_checkpoints_that_ship(bench: Bench, parts: Path, tmp_path: Path) -> None:
    code, out, err = bench(
        "run", "--methods", "coop,clip", "--folder", parts, *MINI, "--limit", "2", "--results", tmp_path
    )
    assert code == 0, err
    assert "checkpoints/coop.json, trained on MVTec AD with seed 0" in err
    assert "CoOp" in out
    training = records_of(tmp_path)["coop", "parts (subset: 2 images)"].training
    assert training is not None
    assert training.synthetic


def test_a_folder_without_a_checkpoint_that_fits_says_how_to_get_one(bench: Bench, parts: Path, tmp_path: Path) -> None:
    code, _, err = bench("run", "--methods", "coop", "--folder", parts, *TINY, "--results", tmp_path)
    assert code == 1
    assert "make one by `bench train --methods coop" in err


def test_methods_train_on_a_folder_and_are_not_tested_on_it(
    bench: Bench, parts: Path, bolts: Path, tmp_path: Path
) -> None:
    """The folders share images here, so only --allow-overlap tests the one after training on the other."""
    options = ["--methods", "coop,clip", "--set", "coop.epochs=1", *TINY, "--results", tmp_path]
    folders = ["--folder", f"nuts={parts}", "--folder", bolts]
    code, _, err = bench("run", *options, *folders, "--auxiliary", "nuts")
    assert code == 0, err
    assert "folder-nuts, which holds the same image" in err
    assert set(records_of(tmp_path)) == {("clip", "bolts")}
    code, out, err = bench("run", *options, *folders, "--auxiliary", "nuts", "--allow-overlap")
    assert code == 0, err
    assert set(records_of(tmp_path)) == {("clip", "bolts"), ("coop", "bolts")}
    assert "trained here: nuts (for bolts)" in out
    code, out, err = bench("train", *options[2:], *folders[:2], "--methods", "coop", "--auxiliary", "nuts")
    assert (code, len(list((tmp_path / "checkpoints").glob("coop--folder-nuts--*.json")))) == (0, 1), err


def test_a_k_shot_method_sees_normal_images_of_the_folder_that_no_method_is_tested_on(
    bench: Bench, parts: Path, tmp_path: Path
) -> None:
    options = ["--methods", "winclip,clip", "--set", "winclip.shots=2", *MINI, "--results", tmp_path]
    code, out, err = bench("run", *options, "--folder", parts)
    assert code == 0, err
    records = records_of(tmp_path)
    (shown,) = (records["winclip", "parts (subset: without 2 normal images)"].cell.references or {}).values()
    assert [name.partition("/")[0] for name in shown] == ["normal", "normal"]
    assert {sum(result.normal for result in record.classes.values()) for record in records.values()} == {5}
    assert "2 normal images are not tested" in out
    code, _, err = bench("run", "--methods", "clip", *MINI, "--results", tmp_path, "--folder", parts)
    assert code == 0, err
    code, out, err = bench("tables", "--results", tmp_path)  # the whole folder is another row, and no older state
    assert "older" not in err
    assert "parts  " in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--folder", "PARTS", "--folder", "PARTS"],
            "two folders are named 'parts'; give one another name, as",
        ),
        (["--folder", "visa=PARTS"], "visa is the name of a dataset; give the folder another, as in --folder my-visa="),
        (["--folder", "PARTS", "--classes", "nut"], "--classes nut: no dataset of this run has that class; there are"),
        (["--folder", "PARTS", "--folder-class", "nut", "--folder-class", "bolt"], "NAME=CLASS for each folder"),
        (["--folder-class", "nut"], "--folder-class says how --folder is read, and there is none; add --folder DIR"),
        (["--datasets", "mvtec", "--masks", "gt"], "--masks says how --folder is read"),
    ],
)
def test_what_folders_cannot_mean_is_refused_with_the_way_out(
    bench: Bench, parts: Path, arguments: list[str], said: str, tmp_path: Path
) -> None:
    given = [text.replace("PARTS", str(parts)) for text in arguments]
    code, _, err = bench("run", "--methods", "clip", *given, *TINY, "--results", tmp_path / "r")
    assert code == 2
    assert said in err


def test_a_folder_that_nothing_is_trained_on_is_refused(bench: Bench, parts: Path, tmp_path: Path) -> None:
    code, _, err = bench("train", "--methods", "coop", "--folder", parts, *TINY, "--results", tmp_path / "r")
    assert code == 2
    assert "nothing is trained on it; add --auxiliary parts" in err


def test_what_is_left_out_is_said_by_the_run_and_its_record(bench: Bench, parts: Path, tmp_path: Path) -> None:
    (parts / "notes.heic").write_text("x")
    shutil.copy(parts / "normal/000.png", parts / "loose.png")
    arguments = ["--methods", "clip", *TINY, "--limit", "2", "--results", tmp_path / "r"]
    code, out, err = bench("run", "--folder", parts, *arguments)
    assert code == 0, err
    (record,) = records_of(tmp_path / "r").values()
    for name in ("notes.heic", "loose.png"):
        assert f"left out: {name}" in err
        assert any(f"left out: {name}" in warning for warning in record.warnings)
        assert f"left out: {name}" in out
    code, _, err = bench("run", "--folder", parts, "--normal", "normla", *arguments)
    assert code == 2
    assert "--normal normla: no folder below it has that name; there are abnormal/, masks/, normal/" in err


def test_a_checkpoint_is_not_tested_on_what_it_was_trained_on_whatever_its_name(
    bench: Bench, parts: Path, bolts: Path, tmp_path: Path
) -> None:
    results = tmp_path / "r"
    options = ["--methods", "coop", "--set", "coop.epochs=1", *TINY, "--results", results]
    folders = ["--folder", f"nuts={parts}", "--folder", bolts]
    code, _, err = bench("run", *options, *folders, "--auxiliary", "nuts", "--allow-overlap")
    assert code == 0, err
    (checkpoint,) = (results / "checkpoints").glob("*.json")
    code, _, err = bench("run", *options, "--folder", f"other={parts}")
    assert code == 1
    assert "trained on these images, of nuts" in err
    code, _, err = bench("run", *options, "--folder", f"other={parts}", "--checkpoint", checkpoint)
    assert code == 2
    assert "nuts, which holds the same image as" in err


def test_a_kept_checkpoint_gives_the_cell_of_its_training(bench: Bench, parts: Path, tmp_path: Path) -> None:
    other = parts.with_name("other")
    for number, name in enumerate(["normal/1.png", "normal/2.png", "abnormal/3.png", "masks/abnormal/3.png"]):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number + 50).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
        mask = np.eye(64, dtype=np.uint8) * 255
        Image.fromarray(mask if "masks" in name else pixels).save(other / name)
    options = ["--methods", "coop", "--set", "coop.epochs=1", *TINY, "--results", tmp_path / "r"]
    code, _, err = bench("run", *options, "--folder", f"nuts={parts}", "--folder", other, "--auxiliary", "nuts")
    assert code == 0, err
    code, _, err = bench("run", *options, "--folder", other)
    assert code == 0, err
    assert "1 cell, 0 to do" in err
    (checkpoint,) = (tmp_path / "r/checkpoints").glob("*.json")
    for suffix in (".json", ".safetensors"):
        shutil.copy(checkpoint.with_suffix(suffix), tmp_path / f"copy{suffix}")
    both = ["--checkpoint", checkpoint, "--checkpoint", tmp_path / "copy.json"]
    code, _, err = bench("run", *options, "--folder", other, *both)
    assert code == 2
    assert "another of coop, trained on folder-nuts, is given too; run the command once for each" in err


def test_no_mean_counts_images_twice(bench: Bench, parts: Path, bolts: Path, tmp_path: Path) -> None:
    options = ["--methods", "clip", *TINY, "--results", tmp_path]
    bench("run", *options, "--folder", parts, "--folder", bolts)
    _, before, _ = bench("tables", "--results", tmp_path)
    bench("run", *options, "--folder", parts, "--limit", "4")
    _, after, _ = bench("tables", "--results", tmp_path)
    means = [[line for line in out.splitlines() if line.startswith("Mean")] for out in (before, after)]
    assert means[0]
    assert [line.split() for line in means[0]] == [line.split() for line in means[1]]
    assert "Not in the mean, since their images are in other rows: parts (subset: 4 images)." in after


def test_each_folder_has_the_class_that_is_said_of_it(parts: Path, bolts: Path) -> None:
    said = FolderOptions(folder=[f"nuts={parts}", str(bolts)], folder_class=["metal nut", "bolts=hex bolt"])
    assert [each.class_name for each in said.folders()] == ["metal nut", "hex bolt"]
    assert [each.class_name for each in FolderOptions(folder=[str(parts)]).folders()] == ["object"]
