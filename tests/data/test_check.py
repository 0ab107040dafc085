"""`check_dataset` finds everything that is wrong with a directory, and says so in readable text."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from benchmark.data.cards import Card, load_cards
from benchmark.data.check import CheckReport, check_dataset, render
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import read_samples
from benchmark.data.search import locate

DATA = Path(__file__).parents[2].parent / "shared" / "data"
RULES = [
    {"pattern": r"(?P<class>[^/]+)/train/good/[^/]+", "label": "normal", "split": "train"},
    {"pattern": r"(?P<class>[^/]+)/test/good/[^/]+", "label": "normal"},
    {
        "pattern": r"(?P<class>[^/]+)/test/(?P<defect>[^/]+)/(?P<stem>[^/]+)",
        "label": "anomalous",
        "mask": ["{class}/ground_truth/{defect}/{stem}_mask"],
    },
]
CLASSES = [
    {"name": "nut", "train": 1, "normal": 2, "anomalous": 3, "defects": {"cut": 2, "hole": 1}},
    {"name": "bolt", "normal": 1, "anomalous": 1},
]


def make_card(**layout: Any) -> Card:
    return Card.model_validate(
        {
            "name": "demo",
            "title": "Demo",
            "version": 1,
            "domain": "industrial",
            "levels": ["image", "pixel"],
            "licence": "none",
            "reference": "nobody",
            "folders": [],
            "classes": CLASSES,
            "layouts": [{"name": "original", "rules": RULES, **layout}],
        }
    )


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A whole dataset in small; no two images alike."""
    root = tmp_path / "demo"
    images = ["nut/train/good/0", "nut/test/good/0", "nut/test/good/1", "nut/test/cut/0", "nut/test/cut/1"]
    images += ["nut/test/hole/0", "bolt/test/good/0", "bolt/test/cut/0"]
    for seed, image in enumerate(images):
        draw(root / f"{image}.png", seed)
        if "good" not in image:
            mask = root / f"{image.replace('test', 'ground_truth')}_mask.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            ImageOps.expand(Image.new("L", (16, 16), 255), 4).save(mask)
    return root


def run(root: Path, **layout: Any) -> CheckReport:
    return check_dataset(read_samples(make_card(**layout), root))


def found(report: CheckReport) -> set[tuple[str, str, bool]]:
    return {(p.kind, p.path, p.fatal) for p in report.problems}


def write_meta(root: Path, phase: str = "test", **changes: dict[str, Any]) -> None:
    """A meta.json that agrees with the tree but for changes, by image."""
    classes: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(p.relative_to(root).as_posix() for p in root.glob("*/test/*/*.png")):
        name, _, defect, file = path.split("/")
        bad = defect != "good"
        mask = f"{name}/ground_truth/{defect}/{file[:-4]}_mask.png" if bad else ""
        record = {"img_path": path, "mask_path": mask, "cls_name": name, "specie_name": defect, "anomaly": int(bad)}
        classes.setdefault(name, []).append(record | changes.get(path, {}))
    (root / "meta.json").write_text(json.dumps({"train": {}, phase: classes}))


def test_a_whole_dataset_is_ok_and_counted(root: Path) -> None:
    calls: list[int] = []
    report = check_dataset(read_samples(make_card(), root), progress=calls.append)
    assert not report.broken
    assert not report.problems
    assert not report.identical
    assert calls == [1] * 8
    rows = [
        (r.class_name, r.defect, r.train, r.normal, r.anomalous, r.masks, r.expected_anomalous) for r in report.rows
    ]
    assert rows == [
        ("nut", None, 1, 2, 3, 3, 3),
        ("nut", "cut", 0, 0, 2, 2, 2),
        ("nut", "hole", 0, 0, 1, 1, 1),
        ("bolt", None, 0, 1, 1, 1, 1),
        ("bolt", "cut", 0, 0, 1, 1, None),
    ]
    text = render(report)
    assert str(root) in text
    assert "layout 'original'" in text
    assert "2 / 2" in text
    assert "!" not in text
    assert text.endswith("OK, 0 warnings, 8 image files read")


def test_other_counts_than_expected_are_fatal(root: Path) -> None:
    (root / "nut/test/good/1.png").unlink()
    shutil.rmtree(root / "bolt")
    report = run(root)
    assert report.broken
    assert found(report) == {("counts", "nut", True), ("counts", "bolt", True)}
    text = render(report)
    assert "nut: 1 normal and 3 anomalous test images, expected 2 and 3" in text
    assert "1 / 2 !" in text
    assert "BROKEN: 2 errors" in text
    assert not run(root, counts={"nut": (1, 3)}).broken
    assert run(root, counts={"nut": (1, 3), "bolt": (1, 1)}).broken


def test_other_counts_of_defects_and_train_images_are_warnings(root: Path) -> None:
    for part, suffix in (("test", ""), ("ground_truth", "_mask")):
        (root / f"nut/{part}/cut/1{suffix}.png").rename(root / f"nut/{part}/hole/1{suffix}.png")
    draw(root / "nut/train/good/1.png", 90)
    report = run(root)
    assert not report.broken
    assert found(report) == {
        ("defect-counts", "nut/cut", False),
        ("defect-counts", "nut/hole", False),
        ("train-counts", "nut", False),
    }


def test_published_defects_say_nothing_about_a_copy_that_names_all_alike(root: Path) -> None:
    for part, suffix in (("test", ""), ("ground_truth", "_mask")):
        (root / f"nut/{part}/cut").rename(root / f"nut/{part}/bad")
        (root / f"nut/{part}/hole/0{suffix}.png").rename(root / f"nut/{part}/bad/2{suffix}.png")
    assert not run(root).problems


def test_a_layout_with_its_own_counts_has_no_published_train_and_defect_counts(root: Path) -> None:
    for part, suffix in (("test", ""), ("ground_truth", "_mask")):
        (root / f"nut/{part}/cut/1{suffix}.png").unlink()
    draw(root / "nut/train/good/1.png", 90)
    report = run(root, counts={"nut": (2, 2)})
    assert not report.problems
    assert {(r.expected_train, r.defect and r.expected_anomalous) for r in report.rows} == {(None, None)}


def test_unreadable_images_and_masks_are_fatal(root: Path) -> None:
    image, mask = root / "nut/test/good/0.png", root / "nut/ground_truth/cut/0_mask.png"
    image.write_bytes(image.read_bytes()[:200])
    (root / "nut/test/good/1.png").write_bytes(b"")
    (root / "nut/train/good/0.png").write_text("no image")
    mask.write_bytes(b"")
    Image.new("L", (24, 25), 255).save(root / "nut/ground_truth/cut/1_mask.png")
    report = run(root)
    assert found(report) == {
        ("unreadable-image", "nut/test/good/0.png", True),
        ("unreadable-image", "nut/test/good/1.png", True),
        ("unreadable-image", "nut/train/good/0.png", True),
        ("unreadable-mask", "nut/ground_truth/cut/0_mask.png", True),
        ("mask-size", "nut/ground_truth/cut/1_mask.png", True),
    }
    text = render(report)
    assert "ERROR unreadable-image (3)" in text
    assert "nut/test/good/1.png: the file is empty (zero bytes)" in text
    assert "24x25 px, its image 24x24 px" in text


def test_a_mask_of_an_unreadable_image_is_read_still(root: Path) -> None:
    (root / "nut/test/cut/0.png").write_bytes(b"")
    (root / "nut/ground_truth/cut/0_mask.png").write_bytes(b"")
    assert {kind for kind, _, _ in found(run(root))} == {"unreadable-image", "unreadable-mask"}


def save_mask(root: Path, name: str, mask: Image.Image) -> None:
    mask.save(root / f"nut/ground_truth/{name}_mask.png")


BOX = ImageOps.expand(Image.new("L", (16, 16), 255), 4)


def test_a_mask_that_marks_everything_is_a_warning(root: Path) -> None:
    save_mask(root, "cut/0", Image.new("L", (24, 24), 255))
    report = run(root)
    assert not report.broken
    assert found(report) == {("whole-mask", "nut/ground_truth/cut/0_mask.png", False)}
    assert "100% of it is anomalous; is it inverted?" in render(report)


def test_masks_drawn_black_on_white_are_one_warning(root: Path) -> None:
    for name in ("cut/0", "cut/1", "hole/0"):
        save_mask(root, name, ImageOps.invert(ImageOps.expand(Image.new("L", (6, 6), 255), 9)))
    report = run(root)
    assert found(report) == {("inverted-masks", "nut/ground_truth/cut/0_mask.png", False)}
    assert "3 of 4 masks are anomalous all around and black inside" in render(report)
    save_mask(root, "cut/1", BOX)
    assert not run(root).problems  # half of the masks may be of defects that are as large


def test_dozens_of_specks_are_one_warning_with_their_numbers(root: Path) -> None:
    specks = np.zeros((24, 24), np.uint8)
    specks[::4, ::4] = 255
    save_mask(root, "cut/1", Image.fromarray(specks))
    (problem,) = run(root).problems
    assert (problem.kind, problem.path) == ("specks", "nut/ground_truth/cut/1_mask.png")
    assert "has 36 separate regions; 1 of 4 masks have 24 or more (median of all 1)" in problem.message


def test_a_photograph_or_a_map_in_place_of_a_mask_is_a_warning(root: Path) -> None:
    for name, image, odd in (
        ("photo", Image.open(root / "nut/test/cut/1.png").convert("L"), True),
        ("map", BOX.filter(ImageFilter.GaussianBlur(3)), True),
        ("smooth", BOX.resize((384, 384)).resize((24, 24)).rotate(9, Image.Resampling.BICUBIC), False),
    ):
        save_mask(root, "cut/1", image)
        kinds = {p.kind for p in run(root).problems}
        assert ("grey-mask" in kinds) == odd, name


def test_the_mask_of_a_normal_image_is_black_or_an_error(root: Path) -> None:
    data = read_samples(make_card(), root)
    masks = []
    for name, mask in (("0", Image.new("L", (24, 24))), ("1", BOX)):
        (root / "nut/ground_truth/good").mkdir(exist_ok=True)
        save_mask(root, f"good/{name}", mask)
        masks.append((f"nut/test/good/{name}.png", root / f"nut/ground_truth/good/{name}_mask.png"))
    report = check_dataset(replace(data, normal_masks=tuple(masks)))
    (problem,) = report.problems
    assert (problem.kind, problem.path, problem.fatal) == ("mask-of-normal", "nut/ground_truth/good/1_mask.png", True)
    assert "44.4% of it is anomalous, but its image nut/test/good/1.png counts as normal" in problem.message
    assert report.rows[0].masks == 3


def test_images_that_show_nothing_are_warnings(root: Path) -> None:
    Image.new("RGB", (24, 24), (0, 90, 0)).save(root / "nut/test/good/0.png")
    Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) // 40).save(root / "nut/test/good/1.png")
    report = run(root)
    assert found(report) == {
        ("blank-image", "nut/test/good/0.png", False),
        ("dark-image", "nut/test/good/1.png", False),
    }
    assert "no value is above 14 of 255" in render(report)


def test_images_that_are_displayed_turned_are_one_warning(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("nut/test/good/0.png", "nut/test/cut/0.png"):
        Image.open(root / name).save(root / name, exif=exif)
    (problem,) = run(root).problems
    assert (problem.kind, problem.path, problem.fatal) == ("turned-images", "nut/test/cut/0.png", False)
    assert "2 of 8 images are displayed turned, by an EXIF tag" in problem.message


def test_files_of_several_pages_are_one_warning(root: Path) -> None:
    pages = [Image.open(root / f"nut/test/good/{i}.png") for i in (0, 1)]
    for name, more in (("stack", pages[1:]), ("single", [])):
        pages[0].save(root / f"nut/test/hole/{name}.tif", save_all=True, append_images=more)
        save_mask(root, f"hole/{name}", BOX)
    problems = [p for p in run(root).problems if p.kind == "several-frames"]
    assert [(p.path, p.fatal) for p in problems] == [("nut/test/hole/stack.tif", False)]
    assert "1 of 10 images hold several pages or frames" in problems[0].message


def test_odd_images_of_a_users_own_are_in_the_record(tmp_path: Path) -> None:
    for folder in ("normal", "abnormal"):
        for number in range(3):
            draw(tmp_path / folder / f"{number}.png", number + 10 * len(folder))
    data = read_folder(PlainFolder(directory=tmp_path))
    assert data.warnings == ()
    shutil.copy(tmp_path / "normal/1.png", tmp_path / "abnormal/2.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "normal/0.png").save(tmp_path / "normal/0.png", exif=exif)
    for number, level in enumerate((255, 0)):
        Image.new("RGB", (24, 24), (level,) * 3).save(tmp_path / "abnormal" / f"{number}.png")
    black = np.random.default_rng(0).integers(0, 15, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(black).save(tmp_path / "normal/2.png")
    assert replace(data).warnings == (
        "identical images are normal and anomalous: normal/1.png and abnormal/2.png",
        "images that EXIF turns for display are read as they are stored, on their side or head: normal/0.png",
        "images of one colour all over: abnormal/0.png, abnormal/1.png",
        "images that are nearly black: normal/2.png",
    )


def test_a_mask_of_several_pages_says_so(root: Path) -> None:
    path = root / "nut/ground_truth/cut/0_mask.png"
    path.unlink()
    Image.new("L", (24, 24)).save(path.with_suffix(".tif"), save_all=True, append_images=[BOX.copy()])
    warnings = {p.kind: p for p in run(root).problems if p.path.endswith("0_mask.tif")}
    assert set(warnings) == {"empty-mask", "mask-frames"}
    assert not any(p.fatal for p in warnings.values())
    assert "the first alone is read" in warnings["mask-frames"].message


@pytest.mark.parametrize(("marked", "expected"), [(False, ("mask-size", False)), (True, ("mask-of-normal", True))])
def test_a_mask_of_a_normal_image_that_does_not_fit_breaks_nothing(
    tmp_path: Path, marked: bool, expected: tuple[str, bool]
) -> None:
    for folder in ("normal", "abnormal"):
        for number in range(2):
            draw(tmp_path / folder / f"{number}.png", number + 10 * len(folder))
            draw(tmp_path / folder / f"{number}_mask.png", 0)
            mask = BOX if folder == "abnormal" else Image.new("L", (16, 30), 255 * marked)
            mask.save(tmp_path / folder / f"{number}_mask.png")
    report = check_dataset(read_folder(PlainFolder(directory=tmp_path)))
    assert expected in {(p.kind, p.fatal) for p in report.problems}
    assert report.broken == marked


def test_masks_of_a_users_own_that_look_wrong_are_in_the_record(tmp_path: Path) -> None:
    for folder, mask in (("normal", BOX), ("abnormal", ImageOps.invert(ImageOps.expand(Image.new("L", (6, 6)), 9)))):
        for number in range(3):
            draw(tmp_path / folder / f"{folder}{number}.png", number + 10 * len(folder))
            if folder == "abnormal":
                (tmp_path / "masks").mkdir(exist_ok=True)
                mask.save(tmp_path / "masks" / f"{folder}{number}.png")
    Image.new("L", (24, 24)).save(tmp_path / "masks/abnormal0.png")
    data = read_folder(PlainFolder(directory=tmp_path))
    data = replace(data, normal_masks=(("normal/normal0.png", tmp_path / "masks/abnormal1.png"),))
    assert data.warnings == (
        "masks look wrong: empty-mask 1, mask-of-normal 1, whole-mask 2; `bench data check` says more",
    )
    assert Counter(p.kind for p in check_dataset(data).problems) == {
        "empty-mask": 1, "mask-of-normal": 1, "whole-mask": 2
    }  # fmt: skip


def test_the_range_of_deep_images_is_said(root: Path) -> None:
    assert "more than 8 bits" not in render(run(root))
    values = np.random.default_rng(0).integers(0, 4000, (24, 24), dtype=np.uint16)
    Image.fromarray(values).save(root / "nut/test/good/0.png")
    assert "by one range for all: integers from 0 (black) to 4095 (white)" in render(run(root))


def test_an_empty_mask_is_a_warning_that_depends_on_the_threshold(root: Path) -> None:
    ImageOps.expand(Image.new("L", (16, 16), 9), 4).save(root / "nut/ground_truth/cut/0_mask.png")
    assert not run(root).problems
    report = run(root, mask_threshold=127)
    assert found(report) == {("empty-mask", "nut/ground_truth/cut/0_mask.png", False)}
    assert "warning empty-mask (1)" in render(report)
    assert not report.broken


def test_problems_of_the_tree_are_in_the_report(root: Path) -> None:
    (root / "nut/ground_truth/cut/0_mask.png").rename(root / "nut/ground_truth/cut/5_mask.png")
    report = run(root)
    assert found(report) == {
        ("missing-mask", "nut/test/cut/0.png", True),
        ("orphan-mask", "nut/ground_truth/cut/5_mask.png", True),
    }
    assert report.broken


def test_identical_images_are_grouped_by_content(root: Path) -> None:
    shutil.copy(root / "nut/test/good/0.png", root / "nut/test/good/1.png")
    shutil.copy(root / "nut/test/cut/0.png", root / "bolt/test/good/0.png")
    shutil.copy(root / "nut/test/hole/0.png", root / "nut/train/good/0.png")
    report = run(root)
    groups = {g.paths: (g.crosses_labels, g.crosses_classes, g.crosses_splits) for g in report.identical}
    assert groups == {
        ("nut/test/good/0.png", "nut/test/good/1.png"): (False, False, False),
        ("bolt/test/good/0.png", "nut/test/cut/0.png"): (True, True, False),
        ("nut/test/hole/0.png", "nut/train/good/0.png"): (True, False, True),
    }
    assert not report.broken
    text = render(report)
    assert "3 groups of identical images, 3 redundant" in text
    assert found(report) == {("both-labels", f"{name}.png", False) for name in ("bolt/test/good/0", "nut/test/hole/0")}
    assert "bolt/test/good/0.png = nut/test/cut/0.png  (across NORMAL AND ANOMALOUS, several classes)" in text


def test_files_of_equal_size_are_not_taken_for_identical(root: Path) -> None:
    for i in (0, 1):
        Image.new("L", (8, 8), i).save(root / f"nut/test/good/{i}.bmp")
        (root / f"nut/test/good/{i}.png").unlink()
    sizes = {(root / f"nut/test/good/{i}.bmp").stat().st_size for i in (0, 1)}
    assert len(sizes) == 1
    assert not run(root).identical


def test_pieces_of_one_image_are_read_once(tmp_path: Path) -> None:
    for i in range(2):
        draw(tmp_path / f"kos/{i}.png", i)
        mask = Image.new("L", (24, 24 + i))
        mask.putpixel((3, 20), 1)
        mask.save(tmp_path / f"kos/{i}_label.bmp")
    rules = [{"pattern": r"kos/(?P<stem>\d)", "label": "mask_nonzero", "mask": ["kos/{stem}_label"], "class": "nut"}]
    calls: list[int] = []
    card = make_card(rules=rules, pieces=3, counts={"nut": (4, 2)})
    report = check_dataset(read_samples(card, tmp_path), progress=calls.append)
    assert calls == [3, 3]
    assert report.files == 2
    assert report.rows[0].anomalous == 2
    assert found(report) == {("mask-size", "kos/1_label.bmp", True)}


# ---- meta.json


@pytest.mark.parametrize("phase", ["test", "Test"])
def test_a_meta_file_that_agrees_is_silent(root: Path, phase: str) -> None:
    write_meta(root, phase)
    report = run(root)
    assert not report.problems
    assert "meta.json is not trusted" in render(report)


def test_disagreements_of_a_meta_file_are_warnings(root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "secret.png", 99)
    write_meta(
        root,
        **{
            "nut/test/good/0.png": {"anomaly": 1},
            "nut/test/good/1.png": {"img_path": "nut/test/good/9.png"},
            "nut/test/cut/0.png": {"mask_path": "nut/ground_truth/cut/1_mask.png"},
            "nut/test/cut/1.png": {"img_path": "nut/train/good/0.png", "anomaly": [0]},
            "nut/test/hole/0.png": {"img_path": "../secret.png"},
            "bolt/test/good/0.png": {"img_path": f"{tmp_path}/secret.png"},
            "bolt/test/cut/0.png": {"img_path": "x" * 5000 + "\0\ud800"},
        },
    )
    report = run(root)
    assert not report.broken
    assert {p.kind for p in report.problems} == {"meta.json"}
    messages = {p.path: p.message for p in report.problems}
    expected = {
        "nut/test/good/0.png": "says anomaly = 1, the files say 0",
        "nut/test/good/9.png": "not there",
        "nut/test/good/1.png": "does not list",
        "nut/test/cut/0.png": "1_mask.png, by name it is nut/ground_truth/cut/0_mask.png",
        "nut/train/good/0.png": "no test image",
        "nut/test/cut/1.png": "does not list",
        "meta.json": "compared by their ends; 2 of them end like no test image here",
        "nut/test/hole/0.png": "does not list",
        "bolt/test/good/0.png": "does not list",
        "bolt/test/cut/0.png": "does not list",
        "x" * 5000 + "\0\ud800": "not there",
    }
    assert messages.keys() == expected.keys()
    assert all(part in messages[path] for path, part in expected.items())
    render(report).encode()  # nothing that a terminal could not show


@pytest.mark.parametrize("start", ["/home/someone/data/demo", "D:\\data\\demo", "../demo"])
def test_absolute_paths_of_a_meta_file_are_compared_by_their_ends_and_said_once(root: Path, start: str) -> None:
    write_meta(root)
    meta = json.loads((root / "meta.json").read_text())
    for records in meta["test"].values():
        for record in records:
            for key in ("img_path", "mask_path"):
                record[key] = record[key] and f"{start}/{record[key]}"
    (root / "meta.json").write_text(json.dumps(meta))
    (problem,) = run(root).problems
    assert (problem.path, problem.fatal) == ("meta.json", False)
    assert problem.message.endswith("they were compared by their ends")
    meta["test"]["nut"][0]["anomaly"] = 1 - meta["test"]["nut"][0]["anomaly"]
    (root / "meta.json").write_text(json.dumps(meta))
    assert any("the files say" in problem.message for problem in run(root).problems)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"{}",
        b'{"test": 3}',
        b'{"test": {"nut": 3}}',
        b'{"test": {"nut": ["a"]}}',
        b'{"test": {"nut": [{"img_path": 3}]}}',
        b"[" * 100_000,
    ],
)
def test_a_malformed_meta_file_is_one_warning(root: Path, content: bytes) -> None:
    (root / "meta.json").write_bytes(content)
    assert found(run(root)) == {("meta.json", "meta.json", False)}


def test_a_huge_or_foreign_meta_file_is_not_read(root: Path, tmp_path: Path) -> None:
    write_meta(root)
    size = (root / "meta.json").stat().st_size
    os.truncate(root / "meta.json", 64 * 2**20 + 1)  # zeros that take no room on the disk
    (problem,) = run(root).problems
    assert "not read" in problem.message
    os.truncate(root / "meta.json", size)
    (root / "meta.json").rename(tmp_path / "meta.json")
    (root / "meta.json").symlink_to(tmp_path / "meta.json")
    assert any(p.kind == "meta.json" and "out of the dataset; not read" in p.message for p in run(root).problems)


# ---- text


def test_at_most_twenty_paths_of_a_kind_are_shown(root: Path) -> None:
    for i in range(30):
        Image.new("L", (24, 24), 255).save(root / f"nut/ground_truth/cut/x{i:02}_mask.png")
    text = render(run(root))
    assert "ERROR orphan-mask (30)" in text
    assert text.count("x1") == 10
    assert "x20" not in text
    assert "… and 10 more" in text


def test_control_characters_in_names_do_not_reach_the_terminal(root: Path) -> None:
    (root / "nut/test/good/\x1b[31m.png").write_bytes(b"")
    text = render(run(root))
    assert "\x1b" not in text
    assert r"\x1b[31m.png" in text


@pytest.mark.parametrize(("name", "files", "groups", "redundant"), [("brainmri", 253, 22, 25), ("headct", 200, 0, 0)])
def test_real_datasets_are_whole(name: str, files: int, groups: int, redundant: int) -> None:
    if not DATA.is_dir():
        pytest.skip("the real sample files are not here")
    samples = locate(load_cards()[name], DATA, None)
    assert samples is not None
    report = check_dataset(samples)
    assert not report.broken
    assert Counter(p.kind for p in report.problems) == {}
    assert report.files == files
    assert len(report.identical) == groups
    assert sum(len(g.paths) - 1 for g in report.identical) == redundant
    assert not any(g.crosses_labels for g in report.identical)
