"""Lists of samples in JSON files: what they may say, what is refused, and which images show one physical sample."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmark.data.cards import Card
from benchmark.data.check import check_dataset, render
from benchmark.data.samples import DatasetError, SampleSet, read_samples
from benchmark.data.subset import subsets

PARTS: dict[str, Any] = {
    "name": "parts",
    "title": "Parts",
    "version": 1,
    "domain": "industrial",
    "levels": ["sample", "image", "pixel"],
    "licence": "none",
    "reference": "none",
    "folders": [],
    "classes": [{"name": "nut"}, {"name": "bolt", "folders": ["screw"]}],
    "layouts": [
        {
            "name": "original",
            "views": r".*/(?P<sample>\w+)_C\d",
            "index": {
                "files": ["lists/{class}.json"],
                "images": ["large", "small"],
                "label_key": "kind",
                "image_key": "image",
                "mask_key": "mask",
                "normal": "OK",
            },
        }
    ],
}
CARD = Card.model_validate(PARTS)
GREY = 128


def entry(image: str, *, kind: str = "OK", mask: str | None = None) -> dict[str, str | None]:
    return {"kind": kind, "image": image, "mask": mask}


NUTS = [entry("a_C1.jpg"), entry("a_C2.jpg"), entry("b_C1.jpg", kind="crack", mask="b_C1.png"), entry("b_C2.jpg")]


def write(root: Path, name: str, test: Any, *, meta: Any = None, train: Any = ()) -> Path:
    path = root / "lists" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"meta": meta or {"prefix": f"{name}/"}, "test": test, "train": list(train)}))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("nut", "screw"):
        write(tmp_path, name, NUTS, train=[entry("t_C1.jpg")])
        (tmp_path / "small" / name).mkdir(parents=True)
        for file in ("a_C1.jpg", "a_C2.jpg", "b_C1.jpg", "b_C1.png", "b_C2.jpg", "t_C1.jpg"):
            Image.new("L", (8, 8), GREY).save(tmp_path / "small" / name / file)
    return tmp_path


def problems(samples: SampleSet) -> dict[str, str]:
    return {each.kind: f"{each.path}: {each.message}" for each in samples.problems if each.fatal}


def test_a_view_without_mask_is_normal_whatever_its_kind(root: Path) -> None:
    write(root, "nut", [*NUTS[:3], entry("b_C2.jpg", kind="crack")])
    samples = read_samples(CARD, root)
    assert not samples.problems
    found = {s.key: (s.label, s.defect, s.view_of) for s in samples.test if s.class_name == "nut"}
    assert found == {
        "small/nut/a_C1.jpg": (0, "", "a"),
        "small/nut/a_C2.jpg": (0, "", "a"),
        "small/nut/b_C1.jpg": (1, "crack", "b"),
        "small/nut/b_C2.jpg": (0, "", "b"),
    }
    assert [(s.key, s.label) for s in samples.train] == [("small/screw/t_C1.jpg", 0)]
    assert {s.class_name for s in samples.samples} == {"nut", "bolt"}
    assert samples.has_views
    assert "BROKEN" not in render(check_dataset(samples))


def test_a_sample_is_whole_or_there_is_no_sample_level(root: Path) -> None:
    samples = read_samples(CARD, root)
    (few,) = subsets([samples], limit=3)
    assert len(few.test) == 6
    assert not few.has_views
    (nuts,) = subsets([samples], classes=["nut"])
    assert nuts.has_views


def test_an_image_whose_name_says_no_sample_is_a_problem(root: Path) -> None:
    (root / "small/nut/a_C2.jpg").rename(root / "small/nut/odd.jpg")
    write(root, "nut", [NUTS[0], entry("odd.jpg"), *NUTS[2:]])
    samples = read_samples(CARD, root)
    assert problems(samples) == {
        "no-sample": "small/nut/odd.jpg: its name does not say which sample it is a view of; name it as the others"
    }
    assert not samples.has_views


@pytest.mark.parametrize(
    ("test", "kind", "told"),
    [
        ([*NUTS, entry("c_C1.jpg")], "missing-file", "small/nut/c_C1.jpg: listed in entry 5 of 'test'"),
        ([*NUTS, entry("../../../etc/passwd")], "outside-root", "leads out of the dataset and is not read"),
        ([*NUTS, entry("/etc/passwd")], "outside-root", "leads out of the dataset and is not read"),
        ([*NUTS[:2], entry("b_C1.jpg", kind="crack", mask="../../../b.png")], "outside-root", "correct the list"),
        ([*NUTS, entry("")], "missing-file", "names no image; get the whole list"),
        ([*NUTS, NUTS[0] | {"kind": "crack", "mask": "b_C1.png"}], "listed-twice", "differently; the first counts"),
        ([*NUTS[:3], entry("b_C2.jpg", mask="b_C1.png")], "contradiction", "entry 4 of 'test' is 'OK' and has a mask"),
    ],
)
def test_what_a_list_says_wrongly_is_a_problem(root: Path, test: Any, kind: str, told: str) -> None:
    write(root, "nut", test)
    found = problems(read_samples(CARD, root))
    assert told in found[kind]


def test_a_class_without_list_is_told_and_without_any_list_the_layout_is_another(root: Path) -> None:
    assert not read_samples(CARD, root).warnings
    (root / "lists/nut.json").unlink()
    samples = read_samples(CARD, root)
    assert {s.class_name for s in samples.test} == {"bolt"}
    assert samples.warnings == ("without test images: nut",)
    assert "warning counts (1)\n  nut: no test images; the class is not tested" in render(check_dataset(samples))
    (root / "lists/screw.json").unlink()
    with pytest.raises(DatasetError, match=r"original: lists/<class>\.json, below the directory itself"):
        read_samples(CARD, root)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ('{"test": 9' + "9" * 5000 + "}", "cannot be read as JSON"),
        ("[]", "has no list 'train' or 'test'"),
        ('{"test": [], "test": []}', "an object has 'test' twice"),
        ('{"test": [{"kind": "OK", "kind": "crack", "image": "x", "mask": null}]}', "an object has 'kind' twice"),
        ('{"meta": {"normal_class": "GOOD"}, "test": []}', "calls normal images 'GOOD', its card 'OK'"),
        ('{"test": [{"kind": "OK", "image": "x", "category": "screw"}]}', "is of 'screw', the list of 'nut'"),
        ('{"test": {}}', "has no list 'train' or 'test'"),
        ('{"test": [1]}', "entry 1 of 'test' is not as expected: it is no object"),
        ('{"test": [{"kind": "OK", "image": ["x"], "mask": null}]}', "image is no text"),
        ('{"test": [{"kind": "OK", "mask": null}]}', "entry 1 of 'test' has no 'image'"),
        ('{"meta": [], "test": [{"kind": "OK", "image": "x", "mask": null}]}', "meta is not as expected"),
    ],
)
def test_a_list_of_another_form_is_refused_with_its_name(root: Path, text: str, told: str) -> None:
    (root / "lists/nut.json").write_text(text)
    with pytest.raises(DatasetError, match=r"lists/nut\.json") as error:
        read_samples(CARD, root)
    assert told in str(error.value)


def test_a_list_beyond_the_limit_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.data.indices.TABLE_LIMIT", 100)
    with pytest.raises(DatasetError, match="more than the limit of 100"):
        read_samples(CARD, root)


def test_characters_that_no_file_can_hold_are_told_and_no_crash(root: Path) -> None:
    write(root, "nut", [*NUTS, entry("\udcff\n.jpg")])
    samples = read_samples(CARD, root)
    assert "missing-file" in problems(samples)
    render(check_dataset(samples)).encode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"index": {"files": ["../{class}.json"]}}, "stays inside the dataset"),
        ({"index": {"files": ["all.json"]}}, "is not the list of one class"),
        ({"views": r"(?P<view>\d)"}, "needs a group named sample"),
        ({"views": "("}, "bad regex"),
        ({"views": None}, "the level 'sample' and a layout with views go together"),
    ],
)
def test_a_card_of_another_form_is_refused(change: dict[str, Any], told: str) -> None:
    layout = PARTS["layouts"][0]
    index = layout["index"] | change.get("index", {})
    with pytest.raises(ValueError, match="validation error") as error:
        Card.model_validate(PARTS | {"layouts": [layout | change | {"index": index}]})
    assert told in str(error.value)
