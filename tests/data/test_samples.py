"""Reading directories by cards: what is a sample, and what happens to everything that is not as it should be."""

import hashlib
import json
import os
import random
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from benchmark.data.cards import Card, load_cards
from benchmark.data.samples import MINI_MARKER, DatasetError, SampleSet, read_samples
from benchmark.data.search import find_directories, locate
from benchmark.data.tree import walk

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CLASSES = [{"name": "nut", "normal": 2, "anomalous": 2}, {"name": "bolt", "prompt": "steel bolt"}]
GOOD = {"pattern": r"(?P<class>[^/]+)/test/good/[^/]+", "label": "normal"}
BAD = {
    "pattern": r"(?P<class>[^/]+)/test/(?P<defect>[^/]+)/(?P<stem>[^/]+)",
    "label": "anomalous",
    "mask": ["{class}/ground_truth/{defect}/{stem}_mask"],
}
TRAIN = {"pattern": r"(?P<class>[^/]+)/train/good/[^/]+", "label": "normal", "split": "train"}
LAYOUT: dict[str, Any] = {"name": "original", "rules": [TRAIN, GOOD, BAD]}


def make_card(*layouts: dict[str, Any], **fields: Any) -> Card:
    card = {
        "name": "demo",
        "title": "Demo",
        "version": 1,
        "domain": "industrial",
        "levels": ["image", "pixel"],
        "licence": "none",
        "reference": "nobody",
        "folders": ["Demo Data"],
        "classes": CLASSES,
        "layouts": layouts or [LAYOUT],
    }
    return Card.model_validate(card | fields)


def draw(root: Path, *paths: str, value: int = 99, size: tuple[int, int] = (4, 4)) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, value).save(root / path)


def mvtec(root: Path) -> Path:
    """Two normal and two anomalous images of each of two classes, with masks, and a train image."""
    for name in ("nut", "bolt"):
        draw(root, *(f"{name}/{d}/00{i}.png" for d in ("test/good", "test/cut") for i in (0, 1)))
        draw(root, *(f"{name}/ground_truth/cut/00{i}_mask.png" for i in (0, 1)), value=255)
        draw(root, f"{name}/train/good/000.png")
    return root


def kinds(found: SampleSet) -> Counter[str]:
    return Counter(p.kind for p in found.problems)


def test_classes_labels_defects_splits_and_masks_come_from_the_tree(tmp_path: Path) -> None:
    found = read_samples(make_card(), mvtec(tmp_path))
    assert not found.problems
    assert [(s.key, s.class_name, s.label, s.defect, s.split) for s in found.samples[:5]] == [
        ("nut/test/cut/000.png", "nut", 1, "cut", "test"),
        ("nut/test/cut/001.png", "nut", 1, "cut", "test"),
        ("nut/test/good/000.png", "nut", 0, "", "test"),
        ("nut/test/good/001.png", "nut", 0, "", "test"),
        ("nut/train/good/000.png", "nut", 0, "", "train"),
    ]
    assert found.samples[0].mask == tmp_path / "nut/ground_truth/cut/000_mask.png"
    assert found.samples[0].path == tmp_path / "nut/test/cut/000.png"
    assert {s.prompt_name for s in found.samples} == {"nut", "steel bolt"}
    assert [s.class_name for s in found.samples] == ["nut"] * 5 + ["bolt"] * 5  # the card's order
    assert (len(found.test), len(found.train)) == (8, 2)
    assert all(s.mask is None for s in found.samples if s.label == 0)


def test_pairing_is_by_name_and_survives_stray_files(tmp_path: Path) -> None:
    mvtec(tmp_path)
    for name in ("Thumbs.db", ".DS_Store", "._000.png", ".hidden.png", "desktop.ini", "0.txt", "thumbs.DB"):
        for folder in ("test/cut", "ground_truth/cut", "test/good"):
            (tmp_path / "nut" / folder / name).write_bytes(b"x")
    draw(
        tmp_path,
        "__MACOSX/nut/test/good/000.png",
        "nut/test/__MACOSX/000.png",
        ".cache/nut/test/good/000.png",
        "nut/test/.old/0.png",
    )
    found = read_samples(make_card(), tmp_path)
    assert not found.problems
    assert len(found.samples) == 10
    assert [s.mask and s.mask.name for s in found.samples[:2]] == ["000_mask.png", "001_mask.png"]


def test_a_missing_mask_does_not_shift_the_others(tmp_path: Path) -> None:
    (mvtec(tmp_path) / "nut/ground_truth/cut/000_mask.png").unlink()
    found = read_samples(make_card(), tmp_path)
    assert [s.mask and s.mask.name for s in found.samples[:2]] == [None, "001_mask.png"]
    (problem,) = found.problems
    assert (problem.path, problem.kind, problem.fatal) == ("nut/test/cut/000.png", "missing-mask", True)
    assert "nut/ground_truth/cut/000_mask" in problem.message
    assert not read_samples(make_card(levels=["image"]), tmp_path).problems


def test_masks_that_no_image_claims_are_reported(tmp_path: Path) -> None:
    mvtec(tmp_path)
    (tmp_path / "nut/test/cut/001.png").unlink()
    draw(tmp_path, "nut/ground_truth/cut/note.png", "nut/ground_truth/gone/000_mask.png")
    found = read_samples(make_card(), tmp_path)
    assert {p.path for p in found.problems if p.kind == "orphan-mask" and p.fatal} == {
        "nut/ground_truth/cut/001_mask.png",
        "nut/ground_truth/cut/note.png",
        "nut/ground_truth/gone/000_mask.png",  # of a defect that has no images at all
    }
    assert kinds(found) == {"orphan-mask": 3}


def test_only_the_case_of_an_extension_is_ignored(tmp_path: Path) -> None:
    mvtec(tmp_path)
    (tmp_path / "nut/test/cut/000.png").rename(tmp_path / "nut/test/cut/000.PNG")
    (tmp_path / "nut/ground_truth/cut/000_mask.png").rename(tmp_path / "nut/ground_truth/cut/000_mask.Bmp")
    (tmp_path / "nut/ground_truth/cut/001_mask.png").rename(tmp_path / "nut/ground_truth/cut/001_MASK.png")
    found = read_samples(make_card(), tmp_path)
    assert [s.mask and s.mask.name for s in found.samples[:2]] == ["000_mask.Bmp", None]
    assert kinds(found) == {"missing-mask": 1, "orphan-mask": 1}


def test_two_masks_of_one_image_and_two_images_of_one_mask_are_reported(tmp_path: Path) -> None:
    draw(mvtec(tmp_path), "nut/ground_truth/cut/000_mask.bmp", "nut/test/cut/001.jpg")
    found = read_samples(make_card(), tmp_path)
    assert {p.kind: (p.path, p.fatal) for p in found.problems} == {
        "ambiguous-mask": ("nut/ground_truth/cut/000_mask.bmp", False),
        "shared-mask": ("nut/test/cut/001.png", True),
    }
    assert next(s.mask and s.mask.name for s in found.samples) == "000_mask.bmp"


def test_a_folder_of_no_class_is_one_harmless_problem(tmp_path: Path) -> None:
    draw(mvtec(tmp_path), "screw/test/good/0.png", "screw/test/cut/0.png", "screw/ground_truth/cut/0_mask.png")
    (problem,) = read_samples(make_card(), tmp_path).problems
    assert (problem.path, problem.kind, problem.fatal) == ("screw", "unknown-class", False)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_with_accents_are_paired_in_either_normal_form(tmp_path: Path, form: str) -> None:
    draw(tmp_path, unicodedata.normalize(form, "nut/test/Löcher/ä ß 猫.png"))
    draw(tmp_path, "nut/ground_truth/Löcher/ä ß 猫_mask.png")
    found = read_samples(make_card(), tmp_path)
    (sample,) = found.samples
    assert sample.key == "nut/test/Löcher/ä ß 猫.png"
    assert sample.mask is not None
    assert sample.mask.is_file()
    assert sample.path.is_file()
    assert not found.problems


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    mvtec(tmp_path)
    os.rename(tmp_path / "nut/test/good/000.png", os.fsencode(tmp_path) + b"/nut/test/good/\xff.png")  # noqa: PTH104
    found = read_samples(make_card(), tmp_path)
    assert len(found.samples) == 10
    assert len(found.fingerprint) == 64


def test_two_spellings_of_one_name_are_reported(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        draw(tmp_path, unicodedata.normalize(form, "nut/test/good/ä.png"))
    found = read_samples(make_card(), tmp_path)
    assert len(found.samples) == 1
    assert kinds(found) == {"same-name": 1}


# ---- links


def test_links_out_of_the_directory_are_reported_and_not_followed(tmp_path: Path) -> None:
    root, outside = mvtec(tmp_path / "demo"), tmp_path / "demo-other"
    draw(outside, "000.png", "note.txt.png")
    (outside / "note.txt").touch()
    (root / "nut/test/good/007.png").symlink_to(outside / "000.png")
    (root / "nut/test/good/note.txt").symlink_to(outside / "note.txt")
    (root / "nut/test/holes").symlink_to(outside)
    found = read_samples(make_card(), root)
    assert {(p.path, p.fatal) for p in found.problems if p.kind == "outside-root"} == {
        ("nut/test/good/007.png", True),
        ("nut/test/good/note.txt", False),
        ("nut/test/holes", True),
    }
    assert len(found.samples) == 10


def test_links_inside_are_followed_without_end_less_loops(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "demo")
    (root / "store/of").mkdir(parents=True)
    (root / "nut/test/good/000.png").rename(root / "store/a")
    (root / "nut/test/good/000.png").symlink_to(root / "store/a")
    (root / "bolt/test").rename(root / "store/of/test")
    (root / "bolt/test").symlink_to("../store/of/test")
    (root / "nut/test/up").symlink_to(root)
    (root / "store/bolt").symlink_to(root / "bolt")
    (root / "bolt/store").symlink_to(root / "store")
    found = read_samples(make_card(), root)
    assert len(found.samples) == 10
    assert not found.problems
    assert len(walk(root).files) < 50  # 15 files, some of them under a second name


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    mvtec(tmp_path / "real")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(tmp_path / "real")
    found = locate(make_card(), tmp_path / "data", None)
    assert found is not None
    assert len(found.samples) == 10
    assert not found.problems


# ---- labels


def test_a_mask_that_is_there_makes_an_image_anomalous(tmp_path: Path) -> None:
    rule = {
        "pattern": r"(?P<class>nut)/Test/(?P<stem>\d+)",
        "label": "mask_exists",
        "mask": ["{class}/Test/Label/{stem}_label"],
    }
    draw(tmp_path, "nut/Test/1.PNG", "nut/Test/2.PNG", "nut/Test/Label/2_label.PNG", "nut/Test/Label/3_label.PNG")
    found = read_samples(make_card({"name": "original", "rules": [rule]}), tmp_path)
    assert [(s.key, s.label, s.mask is not None) for s in found.samples] == [
        ("nut/Test/1.PNG", 0, False),
        ("nut/Test/2.PNG", 1, True),
    ]
    assert [(p.path, p.kind) for p in found.problems] == [("nut/Test/Label/3_label.PNG", "orphan-mask")]


TABLE = {
    "name": "original",
    "rules": [{"pattern": r"scans/(?P<stem>\d+)", "label": "table"}],
    "labels": {
        "file": ["labels.csv", "scans/labels.csv"],
        "key": "id",
        "column": "bleeding",
        "anomalous": ["1"],
        "key_width": 3,
    },
}
ONE_CLASS = {"classes": [{"name": "nut"}], "levels": ["image"]}


@pytest.mark.parametrize("file", ["labels.csv", "scans/labels.csv"])
@pytest.mark.parametrize("header", ["id,bleeding", "id, bleeding", "\ufeffid , bleeding"])
def test_labels_come_from_a_table(tmp_path: Path, header: str, file: str) -> None:
    draw(tmp_path, *(f"scans/00{i}.png" for i in range(4)))
    (tmp_path / file).write_text(f"{header}\n0, 1\n1,0\n\n2,1\n2,1\n4,0\n", encoding="utf-8")
    found = read_samples(make_card(TABLE, **ONE_CLASS), tmp_path)
    assert [(s.key[-7:], s.label) for s in found.samples] == [("000.png", 1), ("001.png", 0), ("002.png", 1)]
    assert {(p.path, p.kind, p.fatal) for p in found.problems} == {
        (file, "listed-twice", False),
        ("scans/003.png", "no-label", True),
        ("004", "missing-file", True),
    }


def test_a_table_that_contradicts_itself_is_fatal(tmp_path: Path) -> None:
    draw(tmp_path, "scans/001.png")
    (tmp_path / "labels.csv").write_text("id,bleeding\n1,0\n1,1\n")
    (problem,) = read_samples(make_card(TABLE, **ONE_CLASS), tmp_path).problems
    assert problem.kind == "listed-twice"
    assert problem.fatal


def test_labels_are_understood_as_people_write_them(tmp_path: Path) -> None:
    said = ["1.0", "0.0", "yes", "No", "NG", "ok", "TRUE", "Normal", "Defect"]
    draw(tmp_path, *(f"scans/00{i}.png" for i in range(9)))
    keys = ["0.0", "1", "002", "3.png", "scans/004.PNG", "D:\\data\\5.jpg", "6", "7", "8"]
    rows = [f"{key},{word}" for key, word in zip(keys, said, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(("id,bleeding", *rows)))
    found = read_samples(make_card(TABLE, **ONE_CLASS), tmp_path)
    assert [s.label for s in found.samples] == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert not found.problems
    assert not found.left_out


@pytest.mark.parametrize("word", ["maybe", "", "2", "-1", "nan"])
def test_a_label_that_says_nothing_is_an_error_with_its_line(tmp_path: Path, word: str) -> None:
    draw(tmp_path, "scans/001.png", "scans/002.png", "nut/0.png")
    (tmp_path / "labels.csv").write_text(f"id,bleeding\n1,0\n\n2,{word}\n")
    said = rf"(?s)labels\.csv: .*line 4: bleeding is '{word}', neither normal nor.*Correct labels\.csv, or give [^\n]*$"
    with pytest.raises(DatasetError, match=said):
        read_samples(make_card(TABLE, **ONE_CLASS), tmp_path)
    with pytest.raises(DatasetError, match=rf"1\.csv: .*line 2: label is '{word}', neither normal nor"):
        listed(tmp_path, f"nut,test,{word},nut/0.png,")


def test_a_card_may_have_words_of_its_own(tmp_path: Path) -> None:
    draw(tmp_path, "scans/001.png", "scans/002.png", "nut/0.png", "nut/1.png")
    (tmp_path / "labels.csv").write_text("id,bleeding\n1,COVID\n2,normal\n")
    table = {**TABLE, "labels": {**TABLE["labels"], "anomalous": ["COVID"]}}
    assert [s.label for s in read_samples(make_card(table, **ONE_CLASS), tmp_path).samples] == [1, 0]


@pytest.mark.parametrize("content", [b"id|bleeding\n1|0\n", b"", b"\xff\xfe\x00", b"id,bleeding\n1," + b"1" * 200_000])
def test_a_bad_table_is_named_with_its_columns(tmp_path: Path, content: bytes) -> None:
    draw(tmp_path, "scans/001.png")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=r"(?s)demo: .*labels\.csv: .*(columns.*'bleeding'|cannot be read as CSV)"):
        read_samples(make_card(TABLE, **ONE_CLASS), tmp_path)


# ---- lists of samples

COLUMNS = {f"{c}_column": c for c in ("split", "label", "image", "mask")}
INDEX = {"name": "original", "index": {"file": "split/1.csv", "class_column": "object", **COLUMNS}}


def listed(root: Path, *rows: str, header: str = "object,split,label,image,mask") -> SampleSet:
    (root / "split").mkdir(exist_ok=True)
    (root / "split/1.csv").write_text("\n".join((header, *rows)), encoding="utf-8")
    return read_samples(make_card(INDEX), root)


def test_a_list_says_split_label_and_mask(tmp_path: Path) -> None:
    draw(tmp_path, "nut/a/0.JPG", "nut/a/1.JPG", "nut/a/2.jpg", "nut/a/not listed.jpg", "nut/m/2.png", "nut/m/3.png")
    found = listed(
        tmp_path,
        "nut,train,normal,nut/a/0.JPG,",
        "nut,test,normal,nut/a/1.JPG,",
        "nut,Test,Anomaly,nut/a/2.JPG,nut/m/2.png",  # the extension's case differs, as those of the words
    )
    assert [(s.key, s.split, s.label, s.mask and s.mask.name) for s in found.samples] == [
        ("nut/a/0.JPG", "train", 0, None),
        ("nut/a/1.JPG", "test", 0, None),
        ("nut/a/2.jpg", "test", 1, "2.png"),
    ]
    assert [(p.path, p.kind) for p in found.problems] == [("nut/m/3.png", "orphan-mask")]


def test_what_is_wrong_with_a_list_is_reported_row_by_row(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    draw(root, *(f"nut/{i}.png" for i in range(6)), "nut/m/1.png")
    draw(tmp_path, "secret.png")
    (root / "nut/link.png").symlink_to(tmp_path / "secret.png")
    found = listed(
        root,
        "nut,test,normal,nut/0.png,",
        "nut,test,normal,nut/0.png,",  # twice
        "nut,test,anomaly,nut/1.png,nut/m/1.png",
        "nut,test,normal,nut/1.png,",  # twice, differently
        "nut,test,anomaly,nut/2.png,nut/m/2.png",  # no such mask
        "nut,test,anomaly,nut/3.png,",  # no mask given
        "nut,test,normal,nut/gone.png,",
        "nut,test,normal,../secret.png,",
        f"nut,test,normal,{tmp_path}/secret.png,",
        "nut,test,normal,nut/link.png,",
        "nut,test,normal,nut\\4.png,",
        "nut,val,normal,nut/5.png,",
        "screw,test,normal,nut/4.png,",
        "nut,test",  # an incomplete row
    )
    assert [s.key for s in found.samples] == [f"nut/{i}.png" for i in range(5)]
    assert {(p.path, p.kind, p.fatal) for p in found.problems} == {
        ("split/1.csv", "respelled-path", False),
        ("nut/0.png", "listed-twice", False),
        ("nut/1.png", "listed-twice", True),
        ("nut/m/2.png", "missing-file", True),
        ("nut/2.png", "missing-mask", True),
        ("nut/3.png", "missing-mask", True),
        ("nut/gone.png", "missing-file", True),
        ("../secret.png", "outside-root", True),
        (f"{tmp_path}/secret.png", "outside-root", True),
        ("nut/link.png", "outside-root", True),
        ("nut/link.png", "missing-file", True),
        ("nut/5.png", "bad-split", True),
        ("split/1.csv", "unknown-class", False),
        ("split/1.csv", "missing-file", True),
    }
    assert all(s.path.is_relative_to(root) for s in found.samples)


@pytest.mark.parametrize(
    "start",
    [
        "/data/Demo/",
        "D:\\Data\\demo\\",
        "d:/",
        "\\\\server\\share\\",
        "C:",
        ".\\",
        "demo/",
        "Demo\\",
        "Demo_2022/",
        "old/Demo_2022/",
        "file:///data/demo/",
        "~/demo/",
        "/" * 3 + "a/" * 90,
    ],
)
def test_a_list_of_another_machine_is_read_by_the_ends_of_its_paths(tmp_path: Path, start: str) -> None:
    root = tmp_path / "demo"
    draw(root, "nut/0.png", "nut/1.png", "nut/m/1.png")
    sign = "\\" if "\\" in start else "/"
    found = listed(
        root,
        f"nut,test,normal,{start}{sign.join(('nut', '0.png'))},",
        f"nut,Test,anomaly,{start}{sign.join(('nut', '1.png'))},{start}{sign.join(('nut', 'm', '1.png'))}",
    )
    assert [(s.key, s.label, s.mask and s.mask.relative_to(root).as_posix()) for s in found.samples] == [
        ("nut/0.png", 0, None),
        ("nut/1.png", 1, "nut/m/1.png"),
    ]
    [problem] = found.problems
    assert (problem.kind, problem.fatal) == ("respelled-path", False)
    assert "line 2 of split/1.csv has" in problem.message
    assert "(and 2 more)" in problem.message


@pytest.mark.parametrize("path", ["/x/../nut/1.png", r"..\nut\1.png", r"D:\..\nut\1.png", "nut/../nut/1.png"])
def test_a_path_that_goes_up_is_not_read_by_its_end(tmp_path: Path, path: str) -> None:
    draw(tmp_path, "nut/0.png", "nut/1.png")
    found = listed(tmp_path, "nut,test,normal,nut/0.png,", f"nut,test,normal,{path},")
    assert [s.key for s in found.samples] == ["nut/0.png"]
    assert [(problem.kind, problem.fatal) for problem in found.problems] == [("outside-root", True)]


def test_a_file_is_taken_as_it_is_written_where_it_is_there(tmp_path: Path) -> None:
    draw(tmp_path, "nut/0.png", "nut\\0.png", "deeper/nut/1.png", "nut/1.png")
    found = listed(tmp_path, r"nut,test,normal,nut\0.png,", "nut,test,normal,deeper/nut/1.png,")
    assert {s.key for s in found.samples} == {r"nut\0.png", "deeper/nut/1.png"}
    assert not found.problems


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: b"\xef\xbb\xbf" + text.replace("object,split,", "Object,SPLIT,").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: f"\ufeff{text}".encode("utf-16-be"),
    ],
    ids=["semicolons", "tabs", "capitals", "windows", "utf-16"],
)
def test_a_list_of_another_spreadsheet_is_read(tmp_path: Path, write: Callable[[str], bytes]) -> None:
    draw(tmp_path, "nut/0.png", "nut/1.png", "nut/m/1.png")
    (tmp_path / "split").mkdir()
    rows = ("object,split,label,image,mask", "nut,test,normal,nut/0.png,", "nut,test,anomaly,nut/1.png,nut/m/1.png")
    (tmp_path / "split/1.csv").write_bytes(write("\n".join(rows)))
    found = read_samples(make_card(INDEX), tmp_path)
    assert [(s.key, s.label) for s in found.samples] == [("nut/0.png", 0), ("nut/1.png", 1)]
    assert not found.problems


def test_a_list_of_which_nothing_is_there_says_the_line(tmp_path: Path) -> None:
    draw(tmp_path, "nut/0.png")
    with pytest.raises(DatasetError) as error:
        listed(tmp_path, "nut,test,normal,bolt/7.png,", "nut,test,normal,bolt/8.png,", "nut,test,normal,../9.png,")
    said = (
        "bolt/7.png: layout original: listed in line 2 of split/1.csv but not there; complete the download (and 1 more)"
    )
    assert said in str(error.value)


def test_a_list_in_nfc_finds_files_in_nfd(tmp_path: Path) -> None:
    draw(tmp_path, unicodedata.normalize("NFD", "nut/ä.png"))
    assert [s.key for s in listed(tmp_path, "nut,test,normal,nut/ä.png,").samples] == ["nut/ä.png"]


def test_a_list_without_its_columns_is_named(tmp_path: Path) -> None:
    draw(tmp_path, "nut/0.png")
    with pytest.raises(
        DatasetError, match=r"split/1\.csv: layout original: has the columns \['object', 'image'\].*'split'"
    ):
        listed(tmp_path, "nut,nut/0.png", header="object,image")


# ---- pieces and held-out samples

THIRDS = {
    "name": "original",
    "pieces": 3,
    "hold_out": {"fraction": 0.25, "seed": 42},
    "counts": {"nut": [5, 2]},
    "rules": [
        {"pattern": r"(?P<part>kos\d+)/(?P<stem>P\d+)", "label": "mask_nonzero", "mask": ["{part}/{stem}_label"]}
    ],
}


def tall(root: Path, numbers: list[int]) -> Path:
    """Images of 10 rows; those of part 3 and 5 have one mask pixel in the band of rows 3 to 5, 5 in the last too."""
    for n in numbers:
        draw(root, f"kos{n:02}/P1.jpg", size=(4, 10))
        mask = np.zeros((10, 4), np.uint8)
        mask[5, 0] = n in (3, 5)
        mask[6, 0] = n == 5
        Image.fromarray(mask).save(root / f"kos{n:02}/P1_label.bmp")
    return root


def test_pieces_are_labelled_by_their_own_band_of_the_mask(tmp_path: Path) -> None:
    found = read_samples(make_card(THIRDS, classes=[{"name": "nut"}]), tall(tmp_path, [1, 2, 3, 4, 5, 6, 7, 8]))
    assert [s.key for s in found.samples if s.label] == ["kos03/P1.jpg#1", "kos05/P1.jpg#1", "kos05/P1.jpg#2"]
    assert all((s.mask is not None) == bool(s.label) for s in found.samples)
    assert {s.piece for s in found.samples} == {(0, 3), (1, 3), (2, 3)}
    assert len({s.key for s in found.samples}) == 24
    assert not found.problems  # the labels of normal images are no orphans


def test_held_out_are_all_anomalous_and_a_seeded_part_of_the_normal_pieces(tmp_path: Path) -> None:
    card = make_card(THIRDS, classes=[{"name": "nut"}])
    first = read_samples(card, tall(tmp_path / "a", [1, 2, 3, 4, 5, 6, 7, 8]))
    assert sum(s.label == 0 for s in first.test) == 6  # a quarter of 21, rounded up
    assert sum(s.label == 1 for s in first.test) == 3
    assert all(s.label == 0 for s in first.train)
    train, _ = train_test_split(sorted(s.key for s in first.samples if not s.label), test_size=0.25, random_state=42)
    assert {s.key for s in first.train} == set(train)
    other = read_samples(card, tall(tmp_path / "b", [8, 3, 1, 7, 5, 2, 6, 4]))
    assert [(s.key, s.split) for s in first.samples] == [(s.key, s.split) for s in other.samples]
    assert first.fingerprint == other.fingerprint
    changed = {**THIRDS, "hold_out": {"fraction": 0.25, "seed": 43}}
    reseeded = read_samples(make_card(changed, classes=[{"name": "nut"}]), tmp_path / "a")
    assert [s.key for s in first.test] != [s.key for s in reseeded.test]


def test_an_unreadable_label_mask_skips_its_image(tmp_path: Path) -> None:
    tall(tmp_path, [1, 2, 3, 4])
    (tmp_path / "kos02/P1_label.bmp").write_bytes(b"")
    (tmp_path / "kos04/P1_label.bmp").unlink()
    found = read_samples(make_card(THIRDS, classes=[{"name": "nut"}]), tmp_path)
    assert {s.path.parent.name for s in found.samples} == {"kos01", "kos03"}
    assert {(p.path, p.kind, p.fatal) for p in found.problems} == {
        ("kos02/P1_label.bmp", "unreadable-mask", True),
        ("kos04/P1.jpg", "missing-mask", True),
    }


@pytest.mark.parametrize("seed", range(3))
def test_nothing_depends_on_the_order_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    card = make_card(THIRDS, classes=[{"name": "nut"}])
    draw(tall(tmp_path, [1, 2, 3, 4, 5]), "kos03/P2.jpg", "kos03/P1_label.png")
    usual = read_samples(card, tmp_path)
    walk, rng = os.walk, random.Random(seed)

    def shuffled(*args: Any, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for folder, subfolders, names in walk(*args, **options):
            rng.shuffle(subfolders)
            rng.shuffle(names)
            yield folder, subfolders, names

    monkeypatch.setattr(os, "walk", shuffled)
    found = read_samples(card, tmp_path)
    assert rng.getstate() != random.Random(seed).getstate()
    assert found.samples == usual.samples
    assert found.problems == usual.problems


# ---- which layout, which directory


def test_the_layout_nearest_to_its_counts_is_taken_and_said(tmp_path: Path) -> None:
    mvtec(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    flat = {"name": "flat", "rules": [{"pattern": r"(?P<class>[^/]+)/test/good/[^/]+", "label": "normal"}]}
    found = read_samples(make_card(flat, LAYOUT), tmp_path)
    assert found.layout.name == "original"
    assert "flat (2), original (0)" in found.reason
    assert "meta.json is not trusted" in found.reason
    assert "\n" not in found.reason
    assert read_samples(make_card({**flat, "counts": {"nut": [2, 0]}}, LAYOUT), tmp_path).layout.name == "flat"


def test_a_layout_that_needs_a_folder_does_not_fit_without(tmp_path: Path) -> None:
    needy = {**LAYOUT, "name": "needy", "needs": ["nut/ground_truth", "bolt/ground_truth"]}
    plain = {"name": "plain", "rules": LAYOUT["rules"]}
    assert read_samples(make_card(needy, plain), mvtec(tmp_path)).layout.name == "needy"
    shutil.rmtree(tmp_path / "nut/ground_truth")
    assert read_samples(make_card(needy, plain), tmp_path).layout.name == "needy"
    shutil.rmtree(tmp_path / "bolt/ground_truth")
    assert read_samples(make_card(needy, plain), tmp_path).layout.name == "plain"


def test_the_first_root_with_test_samples_is_taken(tmp_path: Path) -> None:
    mvtec(tmp_path / "inner")
    draw(tmp_path, "empty/nut/train/good/0.png", *(f"inner/nut/test/good/01{i}.png" for i in range(3)))
    mvtec(tmp_path / "later")  # nearer to the counts, but later in the list
    found = read_samples(make_card({**LAYOUT, "roots": ["", "empty", "inner", "later"]}), tmp_path)
    assert found.root == "inner"
    assert found.samples[0].key == "inner/nut/test/cut/000.png"
    assert "inner" in found.reason
    assert not found.problems


def test_if_nothing_fits_the_error_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    draw(tmp_path, "somewhere/else.png", "a.png")
    with pytest.raises(DatasetError) as error:
        read_samples(make_card(), tmp_path)
    for part in ("demo", str(tmp_path), "original", "test/good", "somewhere/ (1 files)", "a.png", "--data-path demo="):
        assert part in str(error.value)


def test_directories_are_found_by_name_without_case_blanks_and_dashes(tmp_path: Path) -> None:
    for name in ("DEMO", "demo-data", "Demo_Data", "Outer Box/inner_demo", "demolition", ".demo"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "DemoData").touch()
    (tmp_path / "demo").symlink_to(tmp_path / "DEMO")
    card = make_card(folders=["Demo Data", "outer-box/Inner Demo"])
    found = [p.relative_to(tmp_path).as_posix() for p in find_directories(card, tmp_path, None)]
    assert found == ["DEMO", "Demo_Data", "Outer Box/inner_demo", "demo-data"]
    assert find_directories(card, None, None) == []
    assert find_directories(card, tmp_path, tmp_path / "demolition") == [tmp_path / "demolition"]


def test_a_given_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone is not a directory; correct --data-path demo=DIR"):
        find_directories(make_card(), tmp_path, tmp_path / "gone")
    with pytest.raises(DatasetError, match=r"gone is not a directory; correct --data or BENCH_DATA"):
        find_directories(make_card(), tmp_path / "gone", None)


def test_of_several_directories_the_best_is_taken_and_said(tmp_path: Path) -> None:
    assert locate(make_card(), tmp_path, None) is None
    draw(tmp_path, "demo/nut/test/good/000.png")
    mvtec(tmp_path / "demo-data")
    (tmp_path / "Demo Data").mkdir()
    found = locate(make_card(), tmp_path, None)
    assert found is not None
    assert found.directory == tmp_path / "demo-data"
    assert "demo-data was taken" in found.reason
    assert str(tmp_path / "Demo Data") in found.reason
    shutil.rmtree(tmp_path / "demo-data")
    shutil.rmtree(tmp_path / "demo")
    with pytest.raises(DatasetError, match="no layout"):
        locate(make_card(), tmp_path, None)


# ---- what identifies and describes the samples


def test_the_fingerprint_is_that_of_the_test_samples_wherever_they_lie(tmp_path: Path) -> None:
    card = make_card({**LAYOUT, "roots": ["", "inner"]})
    prints = [read_samples(card, mvtec(tmp_path / "a"))]
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "inner")
    draw(tmp_path / "b" / "inner", "nut/train/good/001.png", "nut/other/001.png")
    prints.append(read_samples(card, tmp_path / "b"))
    assert prints[0].fingerprint == prints[1].fingerprint


@pytest.mark.parametrize("change", ["image", "mask", "pixels", "mended mask", "name", "label", "one less", "no mask"])
def test_the_fingerprint_changes_with_what_is_evaluated(tmp_path: Path, change: str) -> None:
    before = read_samples(make_card(), mvtec(tmp_path)).fingerprint
    good, cut = tmp_path / "nut/test/good", tmp_path / "nut/test/cut"
    if change == "image":
        draw(good, "000.png", size=(50, 50))
    elif change == "mask":
        draw(tmp_path, "nut/ground_truth/cut/000_mask.png", size=(50, 50))
    elif change == "pixels":  # of an image of equal name and size in bytes
        content = bytearray((good / "000.png").read_bytes())
        content[-20] ^= 1
        (good / "000.png").write_bytes(content)
    elif change == "mended mask":
        path = tmp_path / "nut/ground_truth/cut/000_mask.png"
        size = path.stat().st_size
        draw(tmp_path, "nut/ground_truth/cut/000_mask.png", value=254)
        assert path.stat().st_size == size
    elif change == "name":
        (good / "000.png").rename(good / "002.png")
    elif change == "label":
        (good / "000.png").rename(cut / "002.png")
    elif change == "one less":
        (good / "000.png").unlink()
    else:
        (tmp_path / "nut/ground_truth/cut/000_mask.png").unlink()
    assert read_samples(make_card(), tmp_path).fingerprint != before


def test_a_generated_image_counts_by_its_content_only_where_it_was_changed(tmp_path: Path) -> None:
    """What a library writes differs by its version; what the suite's marker says it wrote is the same picture."""
    suites = [mvtec(tmp_path / name / "demo") for name in "ab"]
    draw(suites[1], "nut/test/good/000.png", value=98)  # stands for the same pixels, compressed otherwise
    for suite in suites:
        files = {
            path.relative_to(suite.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in suite.rglob("*.png")
        }
        (suite.parent / MINI_MARKER).write_text(json.dumps({"files": files}))
    one, other = (read_samples(make_card(), suite) for suite in suites)
    assert one.synthetic
    assert one.fingerprint == other.fingerprint
    draw(suites[1], "nut/ground_truth/cut/000_mask.png", value=254)
    assert read_samples(make_card(), suites[1]).fingerprint != one.fingerprint


def test_warnings_say_how_the_counts_differ(tmp_path: Path) -> None:
    mvtec(tmp_path)
    assert read_samples(make_card(), tmp_path).warnings == ()
    (tmp_path / "nut/test/cut/000.png").unlink()
    found = read_samples(make_card(), tmp_path)
    assert found.warnings == (
        "normal/anomalous test images differ from the expected: nut 2/1 instead of 2/2",
        "files with problems: orphan-mask 1",
    )
    assert found.distance == 1


@pytest.mark.parametrize(("name", "normal", "anomalous"), [("brainmri", 98, 155), ("headct", 100, 100)])
def test_real_datasets_have_their_published_counts(name: str, normal: int, anomalous: int) -> None:
    if not DATA.is_dir():
        pytest.skip("the real sample files are not here")
    found = locate(load_cards()[name], DATA, None)
    assert found is not None
    assert Counter(s.label for s in found.test) == {0: normal, 1: anomalous}
    assert found.problems == ()
    assert found.warnings == ()


# ---- names in another case


def test_folders_of_a_layout_are_known_in_any_case(tmp_path: Path) -> None:
    mvtec(tmp_path)
    before = read_samples(make_card(), tmp_path)
    for old, new in (("test/good", "test/Good"), ("train/good", "train/GOOD"), ("ground_truth", "GroundTruth")):
        (tmp_path / "nut" / old).rename(tmp_path / "nut" / new)
    (tmp_path / "nut").rename(tmp_path / "NUT")
    found = read_samples(make_card(), tmp_path)
    said = [[(s.class_name, s.label, s.split, s.mask is None) for s in each.samples] for each in (before, found)]
    assert sorted(said[0]) == sorted(said[1])
    assert not found.problems


def test_a_word_for_normal_is_no_defect(tmp_path: Path) -> None:
    mvtec(tmp_path)
    (tmp_path / "nut/test/good").rename(tmp_path / "nut/test/OK")
    found = read_samples(make_card(), tmp_path)
    assert {s.label for s in found.test if s.class_name == "nut"} == {1}
    assert [(p.path, p.kind, p.fatal) for p in found.problems] == [("nut/test/OK", "doubtful-label", True)]


@pytest.mark.parametrize("name", ["Split/1.csv", "split/1.CSV"])
def test_a_list_and_its_words_are_known_in_any_case(tmp_path: Path, name: str) -> None:
    draw(tmp_path, "Nut/A/0.JPG", "Nut/A/1.JPG", "Nut/M/1.png")
    (tmp_path / name).parent.mkdir()
    rows = ("object,split,label,image,mask", "Nut,test,normal,nut/a/0.jpg,", "NUT,test,bad,nut/a/1.jpg,nut/m/1.png")
    (tmp_path / name).write_text("\n".join(rows))
    found = read_samples(make_card(INDEX), tmp_path)
    assert [(s.key, s.label, s.mask is None) for s in found.samples] == [
        ("Nut/A/0.JPG", 0, True),
        ("Nut/A/1.JPG", 1, False),
    ]
    assert not found.problems
    assert not found.left_out
    (tmp_path / "Nut/a").mkdir()
    draw(tmp_path, "Nut/a/0.jpg")  # now two files could be meant
    assert [p.kind for p in read_samples(make_card(INDEX), tmp_path).problems] == ["missing-file"]


def test_quotes_and_missing_extensions_of_a_list_are_understood(tmp_path: Path) -> None:
    draw(tmp_path, "nut/a/0.JPG", "nut/a/1.JPG", "nut/m/1.png")
    found = listed(tmp_path, "nut,test,normal,'nut/a/0.JPG',", "nut,test,bad,nut/a/1,nut/m/1")
    assert [(s.key, s.label, s.mask is None) for s in found.samples] == [
        ("nut/a/0.JPG", 0, True),
        ("nut/a/1.JPG", 1, False),
    ]
    assert kinds(found) == {"respelled-path": 1}


@pytest.mark.parametrize(
    "row", ["nut,val,normal,nut/0.png,", "nut,,normal,nut/0.png,", "nut,test,normal,../nut/0.png,", "x,test,ok,0.png,"]
)
def test_what_only_the_list_can_mend_is_said_last(tmp_path: Path, row: str) -> None:
    draw(tmp_path, "nut/0.png")
    with pytest.raises(DatasetError) as error:
        listed(tmp_path, row)
    assert str(error.value).splitlines()[-1].startswith("Correct split/1.csv")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1.csv", "1.csv: layout original: is looked for as split/1.csv; move it to split/1.csv"),
        ("split/1.xlsx", "split/1.xlsx: layout original: is looked for as split/1.csv; save it as CSV, as split/1.csv"),
        ("split/1.csv", "split/1.csv: layout original: has a header and no rows; get the whole file"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(tmp_path: Path, name: str, said: str) -> None:
    draw(tmp_path, "nut/0.png")
    (tmp_path / "split").mkdir()
    (tmp_path / name).write_text("object,split,label,image,mask\n")
    with pytest.raises(DatasetError) as error:
        read_samples(make_card(INDEX), tmp_path)
    assert said in str(error.value)
    assert str(error.value).splitlines()[-1].startswith(f"Correct {name}")


@pytest.mark.parametrize("name", ["a.parquet", "a.h5", "a.tfrecord", "a.lmdb", "a.zst", "a.zip.001", "a.z01", "a.flv"])
def test_what_may_hold_images_is_said_loudly(tmp_path: Path, name: str) -> None:
    (mvtec(tmp_path) / name).write_text("x")
    assert [(each.place, each.loud) for each in read_samples(make_card(), tmp_path).left_out] == [(name, True)]
