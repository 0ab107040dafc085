"""Plain folders: how people arrange images of their own, and what is read of it, asked about it, or left out."""

import itertools
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.data import words
from benchmark.data.check import check_dataset, render
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.formats import is_image
from benchmark.data.plain.arranged import Arrangement, UnclearError
from benchmark.data.plain.arrangement import arrange
from benchmark.data.plain.places import Meaning, match
from benchmark.data.plain.roles import role_of
from benchmark.data.samples import DatasetError, SampleSet

REAL = Path(__file__).parents[2].parent / "shared" / "data"


def expand(spec: str) -> list[str]:
    """Return the paths of a list with braces, as a shell does: `{good,bad}/{1,2}.png`; `~` is a blank."""
    found: list[str] = []
    for path in spec.split():
        parts = [part.split(",") for part in re.split(r"[{}]", path)]
        choices = [part if n % 2 else [",".join(part)] for n, part in enumerate(parts)]
        found += ["".join(each).replace("~", " ") for each in itertools.product(*choices)]
    return found


def make(root: Path, spec: str) -> Path:
    """Write a tree of small different images; those whose path speaks of masks are black with a white corner."""
    for n, name in enumerate(expand(spec)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_image(name):
            path.write_bytes(b"no image")
            continue
        pixels = np.full((8, 8), n % 200 + 20, np.uint8)
        if re.search(r"mask|gt|label|ground|anno|seg|black", name, re.IGNORECASE):
            pixels = np.zeros((8, 8), np.uint8)
            pixels[:2, :2] = 0 if "black" in name else 255
        Image.fromarray(pixels).save(path, "PNG")  # read by content, whatever the name says
    return root


def understood(spec: str, *, suffix: str = "", **said: Any) -> Arrangement:
    files = expand(spec)
    every = sorted({str(up) for file in files for up in PurePosixPath(file).parents} - {"."})
    named = {
        key: frozenset(each for found in match(names, every).values() for each in found)
        for key, names in said.items()
        if key != "no_masks"
    }
    meaning = Meaning(frozenset(every), frozenset(files), no_masks=bool(said.get("no_masks")), **named)
    return arrange(files, meaning, mask_suffix=suffix)


def counts(found: Arrangement) -> tuple[int, int, int, int]:
    """Return the numbers of normal and anomalous test images, of training images, and of masks of anomalous ones."""
    test = [each for each in found.images if each.split == "test"]
    labels = Counter(each.label for each in test)
    masks = sum(each.mask is not None and each.label == 1 for each in test)
    return labels[0], labels[1], len(found.images) - len(test), masks


NORMAL = "normal Normal NORMAL good Good OK ok pass no_defect non-defective not~defective defect_free GoodParts ok_2"
ABNORMAL = "abnormal Anomaly anomalous bad NG ng ko defect Defects defective damaged fail not_ok NotOK no~good broken"
MASKS = "mask masks Masks MASK gt GT ground_truth GroundTruth groundtruth label labels Annotation segmentations seg"


@pytest.mark.parametrize("name", NORMAL.split())
def test_names_of_normal_images(name: str) -> None:
    assert counts(understood(f"{name}/{{1,2}}.png crack/{{1,2,3}}.png")) == (2, 3, 0, 0)


@pytest.mark.parametrize("name", ABNORMAL.split())
def test_names_of_anomalous_images(name: str) -> None:
    found = understood(f"good/{{1,2}}.png {name}/{{1,2,3}}.png")
    assert counts(found) == (2, 3, 0, 0)
    assert {each.kind for each in found.images} == {""}


@pytest.mark.parametrize("name", MASKS.split())
@pytest.mark.parametrize(
    "spec",
    [
        "good/{1,2}.png bad/{1,2}.png MASK/{1,2}.png",
        "good/{1,2}.png bad/{1,2}.png MASK/bad/{1,2}.png",
        "good/{1,2}.png NG/{1,2}.png MASK/defect/{1,2}.png",
        "good/{1,2}.png crack/{1,2}.png MASK/crack/{1,2}.png",
        "good/{1,2}.png crack/{1,2}.png MASK/{1,2}_mask.png",
        "good/{1,2}.png crack/{1,2}.png crack/MASK/{1,2}.png",
        "good/{1,2}.png bad/crack/{1,2}.png MASK/crack/{1,2}.png",
        "good/{1,2}.png bad/crack/{1,2}.png MASK/bad/crack/{1,2}.bmp",
        "good/{1,2}.png bad/crack/{1,2}.png bad/MASK/{1,2}.png",
        "train/good/{1,2}.png test/good/{1,2}.png test/crack/{1,2}.png MASK/crack/{1,2}_mask.png",
        "test/good/{1,2}.png test/crack/{1,2}.png test/MASK/crack/{1,2}.png",
        "images/good/{1,2}.png images/crack/{1,2}.png MASK/crack/{1,2}.png",
        "data/images/good/{1,2}.JPG data/images/bad/{1,2}.JPG data/MASK/bad/{1,2}.png",
        "good/images/{1,2}.png bad/images/{1,2}.png bad/MASK/{1,2}.png",
        "good/images/{1,2}.png crack/images/{1,2}.png crack/MASK/{1,2}.png good/MASK/{1,2}.png",
        "good/{n1,n2}.png bad/{1,2}.png MASK/{n1,n2,1,2}.png",
        "good/{1,2}.png bad/{1,2}.png MASK/good/{1,2}.png MASK/bad/{1,2}.png",
        "parts/good/{1,2}.png parts/bad/{1,2}.png MASK/{1,2}.png",
        "good/{1,2}.png bad/{1,2}.png MASK/crack/1.png MASK/dent/2.png",
        "good/{1,2}.png bad/{1,2}.png MASK/{1.png,2.png}.png",
        "good/{1,2}.png bad/image_{1,2}.png MASK/mask_{1,2}.png",
        "good/{1,2}.png bad/{1,2}.png MASK/1/a.png MASK/2/a.png",
    ],
)
def test_arrangements_of_masks(spec: str, name: str) -> None:
    found = understood(spec.replace("MASK", name))
    normal, anomalous, _, masks = counts(found)
    assert (normal, anomalous, masks) == (2, 2, 2)
    assert not found.problems
    assert not found.left_out
    for each in found.images:
        if each.label and each.mask:
            assert Path(each.file).stem[-1] in each.mask  # its own


@pytest.mark.parametrize(
    "name", ["crack_mask", "crack-masks", "mask_crack", "GT crack", "crackMask", "label_crack", "crack_gt"]
)
def test_folders_that_name_masks_and_a_kind(name: str) -> None:
    found = understood(f"good/{{1,2}}.png crack/{{1,2}}.png {name.replace(' ', '~')}/{{1,2}}.png")
    assert counts(found) == (2, 2, 0, 2)


@pytest.mark.parametrize(
    "end", ["_mask", "-mask", "~mask", ".mask", "_MASK", "_gt", "_label", "_labels", "_seg", "mask", "_ground_truth"]
)
def test_masks_beside_their_images(end: str) -> None:
    found = understood(f"good/{{1,2}}.png bad/{{1,2}}.png bad/{{1,2}}{end}.png")
    assert counts(found) == (2, 2, 0, 2)
    assert not found.problems
    black = understood(f"good/{{1,2}}.png good/{{1,2}}{end}.png bad/{{1,2}}.jpg bad/{{1,2}}{end}.png")
    assert counts(black) == (2, 2, 0, 2)


@pytest.mark.parametrize("start", ["mask_", "gt-", "label ", "Mask"])
def test_masks_beside_their_images_with_the_word_ahead(start: str) -> None:
    found = understood(f"good/{{1,2}}.png bad/{{1,2}}.png bad/{start.replace(' ', '~')}{{1,2}}.png")
    assert counts(found) == (2, 2, 0, 2)


def test_masks_beside_their_images_with_the_word_within() -> None:
    assert counts(understood("good/{1,2}.png bad/part_{1,2}.png bad/part_mask_{1,2}.png")) == (2, 2, 0, 2)
    assert counts(understood("good/{1,2}.png bad/c_image_{1,2}.png masks/c_mask_{1,2}.png")) == (2, 2, 0, 2)
    assert counts(understood("good/{1,2}.png bad/c_image_{1,2}.png masks/c_{1,2}.png")) == (2, 2, 0, 2)
    assert counts(understood("good/{1,2}.png bad/c_image_{1,2}.png bad/c.png bad/c_mask.png")) == (2, 3, 0, 1)
    found = understood("good/{1,2}.png bad/{1,2}.png bad/{1,2}_mask_{0,1}.png")
    assert counts(found) == (2, 2, 0, 2)
    assert {(each.kind, each.path) for each in found.problems} == {("ambiguous-mask", f"bad/{n}.png") for n in (1, 2)}
    assert counts(understood("good/{1,2}.png bad/{1,2}.png bad/{1,2}_mask0.png")) == (2, 2, 0, 2)


def test_a_lone_name_like_that_of_a_mask_is_an_image() -> None:
    assert counts(understood("good/{1,2}_label.png bad/{1,2}_label.png")) == (2, 2, 0, 0)
    found = understood("good/{1,2}.png bad/{1,2}.png bad/{1,2,3}_mask.png")
    assert [(each.kind, each.path, each.fatal) for each in found.problems] == [("orphan-mask", "bad/3_mask.png", True)]


SHAPES = [
    ("good/{1,2}.png crack/{1,2,3}.png", (2, 3, 0, 0), {"crack"}),
    ("normal/{1,2}.png abnormal/crack/{1,2}.png abnormal/dent/3.png", (2, 3, 0, 0), {"crack", "dent"}),
    ("normal/a/{1,2}.png normal/b/c/3.png abnormal/1.png", (3, 1, 0, 0), {""}),
    ("good/1.png ok/2.png bad/1.png NG/2.png", (2, 2, 0, 0), {"bad", "NG"}),
    ("good/1.png bad/1.png bad/crack/2.png", (1, 2, 0, 0), {"bad", "crack"}),
    ("train/good/{1,2}.png test/good/1.png test/{crack,dent}/{1,2}.png", (1, 4, 2, 0), {"crack", "dent"}),
    ("Train/Good/{1,2}.png Test/Good/1.png Test/Crack/{1,2}.png", (1, 2, 2, 0), {"Crack"}),
    ("good/train/{1,2}.png good/test/1.png bad/test/1.png", (1, 1, 2, 0), {""}),
    ("train_good/{1,2}.png test_good/1.png test_bad/1.png", (1, 1, 2, 0), {""}),
    ("val/{good,bad}/1.png train/{good,bad}/{1,2}.png", (1, 1, 4, 0), {""}),
    ("valid/{good,bad}/1.png train/good/1.png test/{good,bad}/{1,2}.png", (2, 2, 3, 0), {""}),
    ("brain_tumor_dataset/{yes,no}/{1,2}.jpg", (2, 2, 0, 0), {""}),
    ("defect_data/{good,crack}/{1,2}.png", (2, 2, 0, 0), {"crack"}),
    ("a/b/{good,bad}/{1,2}.png", (2, 2, 0, 0), {""}),
    ("{no_tumor,tumor}/{1,2}.png", (2, 2, 0, 0), {"tumor"}),
    ("{good,missing_label,mask_shift}/{1,2}.png", (2, 4, 0, 0), {"missing_label", "mask_shift"}),
    ("good/{1,2}.png", (2, 0, 0, 0), set()),
    ("NG/{1,2}.png", (0, 2, 0, 0), {""}),
    ("images/{1,2}.png images/{1,2}_mask.png", (0, 0, 0, 0), set()),
    ("kos{1,2}/Part{0,1}.jpg kos{1,2}/Part{0,1}_label.bmp", (0, 0, 0, 0), set()),
    ("JPEGImages/{1,2}.jpg SegmentationClass/{1,2}.png", (0, 0, 0, 0), set()),
    ("1_good/{1,2}.jpg 2_bad/{1,2}.jpg", (2, 2, 0, 0), {""}),
    ("good/{1,2}.png {no_cap,not_flat,clean_cut}/{1,2}.png", (2, 6, 0, 0), {"no_cap", "not_flat", "clean_cut"}),
    ("OK-images/{1,2}.png NG-images/{1,2}.png NG-masks/{1,2}.png", (2, 2, 0, 2), {""}),
    ("chest/{train,val,test}/{NORMAL,PNEUMONIA}/{1,2}.jpeg", (2, 2, 8, 0), {"PNEUMONIA"}),
]


@pytest.mark.parametrize(("spec", "expected", "kinds"), SHAPES)
def test_shapes(spec: str, expected: tuple[int, int, int, int], kinds: set[str]) -> None:
    found = understood(spec)
    assert counts(found) == expected
    assert {each.kind for each in found.images if each.label and each.split == "test"} == kinds
    assert not found.left_out


CLASSES = [
    "{bolt,nut}/{good,bad}/{1,2}.png",
    "{bolt,nut}/test/{good,crack}/{1,2}.png {bolt,nut}/train/good/1.png {bolt,nut}/ground_truth/crack/{1,2}_mask.png",
    "test/{bolt,nut}/{good,crack}/{1,2}.png train/{bolt,nut}/good/1.png ground_truth/{bolt,nut}/crack/{1,2}.png",
    "metal/{bolt,nut}/{good,crack}/{1,2}.png",
    "{bolt,nut}/Data/Images/{Normal,Anomaly}/{1,2}.JPG {bolt,nut}/Data/Masks/Anomaly/{1,2}.png",
]


@pytest.mark.parametrize("spec", CLASSES)
def test_a_folder_for_each_class(spec: str, tmp_path: Path) -> None:
    data = read_folder(PlainFolder(directory=make(tmp_path / "d", spec.replace("nut", "metal_nut"))))
    assert [each.name for each in data.card.classes] == ["bolt", "metal_nut"]
    assert [each.prompt_name for each in data.card.classes] == ["bolt", "metal nut"]
    tests = Counter((sample.class_name, sample.label) for sample in data.test)
    assert tests == {(name, label): 2 for name in ("bolt", "metal_nut") for label in (0, 1)}
    assert not [each for each in data.problems if each.fatal]
    with pytest.raises(DatasetError, match=r"--folder-class .* several .*bolt.*leave it out"):
        read_folder(PlainFolder(directory=tmp_path / "d", class_name="part"))


QUESTIONS = [
    ("{healthy,tumor}/{1,2}.png", "found healthy/ (2 images), tumor/ (2 images)", (2, 2)),
    ("{lesion,no_lesion}/{1,2}.png", "--normal no_lesion --abnormal lesion", (2, 2)),
    ("{negative,positive}/{1,2}.png", "--normal negative --abnormal positive", (2, 2)),
    ("{0,1}/{1,2}.png", "--normal 0 --abnormal 1", (2, 2)),
    ("{with_mask,without_mask}/{1,2}.png", "found with_mask/ (2 images), without_mask/", (2, 2)),
    ("{bolt,nut}/{healthy,tumor}/{1,2}.png", "--normal healthy --abnormal tumor", (4, 4)),
    ("train/healthy/3.png test/{healthy,tumor}/{1,2}.png", "--normal healthy --abnormal tumor", (2, 2)),
    ("{a~b,c'd}/{1,2}.png", "--normal 'a b'", (2, 2)),
    ("{a,b,c}/{1,2}.png", "--normal a --abnormal b --abnormal c", (2, 4)),
    ("{def_front,ok_front}/{1,2}.png", "--normal ok_front --abnormal def_front", (2, 2)),
    ("{cracked,uncracked}/{1,2}.png", "--normal uncracked --abnormal cracked", (2, 2)),
    ("{MildDemented,NonDemented}/{1,2}.png", "--normal NonDemented --abnormal MildDemented", (2, 2)),
    ("{bad,good,good~(copy)}/{1,2}.png", "--normal good --normal 'good (copy)' if it is normal", (4, 2)),
    ("pictures/{1,2}.png", "--normal pictures or --abnormal pictures", (2, 0)),
    ("parts/{1,2}.png", "--normal parts or --abnormal parts", (2, 0)),
    ("bad/{1,2}.png healthy/{1,2,3}.png", "--normal healthy if healthy/ holds them, or --abnormal bad", (3, 2)),
    ("{1,2}.png", "2 images lie in no folder", (2, 0)),
    ("{good_1,bad_1}.png", "2 images lie in no folder", (2, 0)),
    ("", "there are no images", None),
    ("good/{1,2}.heic", "convert to PNG", None),
    ("labels.csv {1,2}.png", "labels.csv", (2, 0)),
    ("valid/{1,2}.png invalid/{1,2}.png", "--normal", (2, 2)),
]


@pytest.mark.parametrize(("spec", "sentence", "then"), QUESTIONS)
def test_what_is_asked_is_then_accepted(spec: str, sentence: str, then: tuple[int, int] | None, tmp_path: Path) -> None:
    directory = make(tmp_path / "d", spec)
    directory.mkdir(exist_ok=True)
    with pytest.raises(DatasetError) as refused:
        read_folder(PlainFolder(directory=directory))
    said = str(refused.value)
    assert sentence in said
    assert "(?" not in said
    options = list(follow(said, directory))
    assert bool(options) == (then is not None)
    for n, folder in enumerate(options):
        data = read_folder(folder)
        assert data.test
        if n == 0 and then:
            labels = Counter(sample.label for sample in data.test)
            assert (labels[0], labels[1]) in (then, then[::-1])


def follow(said: str, directory: Path) -> Iterable[PlainFolder]:
    """Yield the folder with the options that a message says, those between two words together."""
    for run in re.findall(r"(?:--(?:ab)?normal (?:'(?:[^']|'\"'\"')*'|[^\s;,]+)\s?)+", said):
        named: dict[str, list[str]] = {"--normal": [], "--abnormal": []}
        parts = shlex.split(run)
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            named[key].append(value)
        yield PlainFolder(directory=directory, normal=tuple(named["--normal"]), abnormal=tuple(named["--abnormal"]))


def test_advice_about_masks_is_accepted(tmp_path: Path) -> None:
    plain = PlainFolder(directory=make(tmp_path / "d", "good/{1,2}.png bad/{1,2}.png masks/{x,y}.png"))
    with pytest.raises(DatasetError, match=r"like bad/1\.png, masks like masks/x\.png.*--masks none"):
        read_folder(plain)
    data = read_folder(replace(plain, masks=("none",)))
    assert not data.has_masks
    assert [each.files for each in data.left_out] == [("masks/x.png", "masks/y.png")]
    some = PlainFolder(directory=make(tmp_path / "e", "good/{1,2}.png bad/{1,2}.png masks/1.png"))
    assert [each.kind for each in read_folder(some).problems if each.fatal] == ["missing-mask"]
    assert not read_folder(replace(some, masks=("none",))).problems
    twins = PlainFolder(directory=make(tmp_path / "f", "good/{1,2}.jpg bad/{1,2}.jpg bad/{1,2}.png"))
    with pytest.raises(DatasetError, match=r"if those in \.png are masks, say --mask-suffix \.png"):
        read_folder(twins)
    assert counts_of(read_folder(replace(twins, mask_suffix=".png"))) == (2, 2, 2)
    beside = PlainFolder(directory=make(tmp_path / "g", "good/{1,2}.png bad/{1,2}.png bad/{1,2}_spot.png"))
    assert counts_of(read_folder(beside)) == (2, 4, 0)
    assert counts_of(read_folder(replace(beside, mask_suffix="_spot"))) == (2, 2, 2)
    with pytest.raises(DatasetError, match=r"--mask-suffix _blob: .* as 1_blob\.png would be"):
        read_folder(replace(beside, mask_suffix="_blob"))
    named = PlainFolder(directory=make(tmp_path / "h", "good/{1,2}.png bad/{1,2}.png spots/{1,2}.png"))
    assert counts_of(read_folder(replace(named, masks=("spots",)))) == (2, 2, 2)
    with pytest.raises(DatasetError, match=r"--masks spot: no folder .*there are bad/, good/, spots/"):
        read_folder(replace(named, masks=("spot",)))


def counts_of(data: SampleSet) -> tuple[int, int, int]:
    labels = Counter(sample.label for sample in data.test)
    return labels[0], labels[1], sum(sample.mask is not None for sample in data.test)


@pytest.mark.parametrize("name", ["healthy", "HEALTHY", "test/healthy", "./test/healthy/", "ABSOLUTE"])
def test_folders_are_named_by_name_or_path(name: str, tmp_path: Path) -> None:
    top = make(tmp_path / "d", "test/{healthy,tumor,notes}/{1,2}.png")
    name = name.replace("ABSOLUTE", str(top / "test/healthy"))
    data = read_folder(PlainFolder(directory=top, normal=(name,)))
    assert counts_of(data) == (2, 4, 0)
    both = read_folder(PlainFolder(directory=top, normal=(name,), abnormal=("tumor",)))
    assert counts_of(both) == (2, 2, 0)
    assert [each.place for each in both.left_out] == ["test/notes/"]
    assert any("test/notes/" in warning for warning in both.warnings)


def test_images_at_the_top_are_named_by_a_dot(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "{1,2}.png crack/{1,2,3}.png")
    for name in (".", "./", str(top)):
        assert counts_of(read_folder(PlainFolder(directory=top, normal=(name,)))) == (2, 3, 0)
    data = read_folder(PlainFolder(directory=top, normal=("crack",), abnormal=(".",)))
    assert counts_of(data) == (3, 2, 0)
    assert data.reason == "normal: crack/ (3); anomalous: ./ (2)"


def test_names_that_are_given_replace_the_usual_words() -> None:
    found = understood("{good,healthy,bad,crack}/{1,2}.png", normal=["healthy"])
    assert [(each.place, "--normal names others" in each.why) for each in found.left_out] == [("good/", True)]
    assert counts(found) == (2, 4, 0, 0)
    found = understood("{good,healthy,bad,crack}/{1,2}.png", abnormal=["crack"])
    assert {each.place for each in found.left_out} == {"bad/", "healthy/"}
    found = understood("good/{1,2}.png bad/{1,2}.png {mask,spots}/{1,2}.png", masks=["spots"])
    assert [each.place for each in found.left_out] == ["mask/"]
    found = understood("good/{1,2}.png {crack,dent}/{1,2}.png mask/{crack,dent}/{1,2}.png", abnormal=["crack"])
    assert {each.place for each in found.left_out} == {"dent/", "mask/dent/"}
    assert counts(found) == (2, 2, 0, 2)
    assert not found.problems


def test_names_are_refused_where_they_are_wrong(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "{good,bad}/{1,2}.png")
    with pytest.raises(DatasetError, match=r"--normal goof: no folder .* there are bad/, good/"):
        read_folder(PlainFolder(directory=top, normal=("goof",)))
    with pytest.raises(DatasetError, match=r"bad/ is named by --normal and by --abnormal"):
        read_folder(PlainFolder(directory=top, normal=("bad",), abnormal=("bad",)))
    # Of several names, those that this folder lacks may be of another one.
    several = PlainFolder(directory=top, normal=("goof", "good"), one_of_several=True)
    data = read_folder(several)
    assert counts_of(data) == (2, 2, 0)
    assert "goof" not in data.argument
    assert any("--normal goof" in warning for warning in data.warnings)


AMBIGUOUS = [
    ("good/{1,2}.png good/bad/1.png", r"good/ and good/bad/: one says normal, the other anomalous"),
    ("{good,bad}/{1,2}.png set/{good,bad}/{1,2}.png", r"set/ has folders .* and so has the directory above"),
    ("train/good/1.png test/{1,2}.png", r"(?s)only images to train on, in train/.*test/ \(2 \.png\): .*in no folder"),
    ("train/{good,bad}/{1,2}.png", r"only images to train on, in train/; .*--folder DIR/train"),
]


@pytest.mark.parametrize(("spec", "sentence"), AMBIGUOUS)
def test_what_could_mean_two_things_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises(UnclearError, match=sentence):
        understood(spec)


LEFT = [
    ("7.png", "7.png", "it lies in no folder that says normal or anomalous"),
    ("train/{8,9}.png", "train/", "it lies in no folder that says normal or anomalous"),
    ("heatmaps/{1,2}.png", "heatmaps/", "its name says that it holds no images to test"),
    ("unsorted/{1,2}.png", "unsorted/", "its name says that it holds no images to test"),
    ("out/{1,2}.png out/predictions.json", "out/", "drawings of bench predict"),
    ("bad/x.heic", "bad/x.heic", "convert to PNG"),
    ("bad/{x,y}.HEIC", "bad/", "convert to PNG"),
    ("bad/x.nii.gz", "bad/x.nii.gz", "convert to PNG"),
    ("bad/x.dcm", "bad/x.dcm", "convert to PNG"),
    ("more.zip", "more.zip", "unpack"),
    ("bad/x.mp4", "bad/x.mp4", "frames"),
    ("bad/.x.png", "bad/.x.png", "hidden"),
    ("labels.csv", "labels.csv", "not used"),
    ("bad/1.xml", "bad/1.xml", "not used"),
    ("bad/x.foo", "bad/x.foo", "not used"),
]


@pytest.mark.parametrize(("spec", "place", "why"), LEFT)
def test_what_is_left_out_is_named(spec: str, place: str, why: str, tmp_path: Path) -> None:
    data = read_folder(PlainFolder(directory=make(tmp_path / "d", f"{{good,bad}}/{{1,2}}.png {spec}")))
    assert counts_of(data) == (2, 2, 0)
    found = next(each for each in data.left_out if each.place == place)
    assert why in found.why
    assert found.text in render(check_dataset(data))
    loud = why != "not used"
    assert any(found.text in warning for warning in data.warnings) == loud


def test_an_image_without_an_extension_is_named(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "{good,bad}/{1,2}.png")
    (top / "bad/1.png").rename(top / "bad/1")
    data = read_folder(PlainFolder(directory=top))
    assert any(each.place == "bad/1" and "the content is an image" in each.why and each.loud for each in data.left_out)


@pytest.mark.parametrize(
    "litter",
    ["@eaDir", "__MACOSX", ".thumbnails", ".@__thumb", "$RECYCLE.BIN", "System~Volume~Information", "lost+found"],
)
def test_leavings_of_systems_are_no_images(litter: str, tmp_path: Path) -> None:
    top = make(tmp_path / "d", f"{{good,bad}}/{{1,2}}.png {litter}/good/1.png bad/{litter}/1.png bad/._1.png Thumbs.db")
    (top / "good/1.png:Zone.Identifier").write_text("x")
    data = read_folder(PlainFolder(directory=top))
    assert counts_of(data) == (2, 2, 0)
    assert not data.left_out


def test_doubtful_kinds_are_said() -> None:
    found = understood("{good,bad,notes}/{1,2}.png")
    assert counts(found) == (2, 4, 0, 0)
    assert [each.message for each in found.problems] == [
        "taken for a kind of defect; if it is none, say --abnormal bad"
    ]
    assert counts(understood("{good,bad,notes}/{1,2}.png", abnormal=["bad"])) == (2, 2, 0, 0)
    found = understood("{good,mask_shift}/{1,2}.png")
    assert [each.message for each in found.problems] == [
        "taken for a kind of defect; if it holds masks, say --masks mask_shift"
    ]


def test_masks_that_are_doubtful() -> None:
    def kinds(spec: str) -> dict[str, tuple[str, bool]]:
        return {each.path: (each.kind, each.fatal) for each in understood(spec).problems}

    assert kinds("good/1.png {crack,dent}/1.png mask/1.png") == {"dent/1.png": ("shared-mask", True)}
    assert kinds("good/1.png bad/{1,2}.png mask/{1,2,3}.png") == {"mask/3.png": ("orphan-mask", True)}
    assert kinds("good/1.png bad/{1,2}.png mask/1.png") == {"bad/2.png": ("missing-mask", True)}
    assert kinds("good/1.png bad/1.png mask/1.png mask/1.bmp") == {"bad/1.png": ("ambiguous-mask", False)}
    assert kinds("good/1.png bad/1.png mask/1/{a,b}.png") == {"bad/1.png": ("ambiguous-mask", True)}
    assert kinds("good/1.png {crack,dent}/{1,2}.png mask/crack/{1,2}.png mask/dent/1.png") == {
        "dent/2.png": ("missing-mask", True)
    }
    # A mask of another kind is not taken because its name is the same.
    assert kinds("good/1.png {crack,dent}/1.png mask/crack/1.png") == {"dent/1.png": ("missing-mask", True)}


def test_masks_decide_where_no_folder_does(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "images/{1,2,3}.png masks/{1,2}.png")
    make(top / "masks", "3_black.png")
    (top / "masks/3_black.png").rename(top / "masks/3.png")
    data = read_folder(PlainFolder(directory=top))
    assert counts_of(data) == (1, 2, 2)
    assert "anomalous if its mask is not black: images/ (3)" in data.reason


def test_one_label_alone_is_read_and_said(tmp_path: Path) -> None:
    normal = read_folder(PlainFolder(directory=make(tmp_path / "d", "good/{1,2}.png")))
    assert "no anomalous test images" in " ".join(each.message for each in normal.problems)
    assert normal.card.levels == ("image",)
    anomalous = read_folder(PlainFolder(directory=make(tmp_path / "e", "bad/{1,2}.png masks/{1,2}.png")))
    assert "no normal test images" in " ".join(each.message for each in anomalous.problems)
    assert anomalous.card.levels == ("pixel",)
    assert anomalous.has_masks


def test_the_reason_says_what_was_taken_for_what(tmp_path: Path) -> None:
    spec = (
        "good/{1,2}.png crack/{1,2}.png scratch/{3,4,5}.png gt/crack/{1,2}.png gt/scratch/{3,4,5}.png train/good/9.png"
    )
    data = read_folder(PlainFolder(directory=make(tmp_path / "d", spec)))
    assert data.reason == (
        "normal: good/ (2); anomalous: crack/ (2), scratch/ (3); not tested: train/good/ (1); "
        "masks: gt/crack/ (2), gt/scratch/ (3)"
    )
    assert (data.card.domain, data.card.levels, data.card.version) == ("custom", ("image", "pixel"), 2)


def test_a_command_that_is_advised_reads_the_folder_as_it_was_read(tmp_path: Path) -> None:
    folder = PlainFolder(
        directory=make(tmp_path / "my parts", "{healthy,tumor}/{1,2}.png spots/{1,2}_s.png"),
        name="scans 1",
        class_name="big brain",
        normal=("healthy",),
        abnormal=("tumor",),
        masks=("spots",),
        mask_suffix="_s",
        follow_links=True,
    )
    data = read_folder(folder)
    assert counts_of(data) == (2, 2, 2)
    given = dict(itertools.pairwise(shlex.split(data.argument)))
    assert given["--folder"] == f"scans 1={tmp_path / 'my parts'}"
    assert (given["--normal"], given["--abnormal"], given["--masks"]) == ("healthy", "tumor", "spots")
    assert (given["--mask-suffix"], given["--folder-class"]) == ("_s", "big brain")
    assert data.argument.endswith(" --follow-links")


def test_doubts_are_warnings_of_a_run_and_long_lists_are_cut(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "{good,bad,notes}/{1,2}.png bad/1.jpg")
    warnings = read_folder(PlainFolder(directory=top)).warnings
    assert any("notes/: taken for a kind of defect" in warning for warning in warnings)
    assert any("bad/1.jpg: bad/1.png has the same name" in warning for warning in warnings)
    make(top, "{a,b,c,d,e,f,g,h,i,j}.heic good/{a,b}/x.heic")
    for n in range(12):
        make(top, f"tmp/{n}/1.png")
    warnings = read_folder(PlainFolder(directory=top)).warnings
    assert warnings[0].startswith("images of one colour all over: ")
    assert len(warnings) == 10
    assert "more such, which `bench data check` names" in warnings[-1]


# ---- a meta.json


def record(path: str, anomaly: object, mask: str = "", kind: str = "", class_name: str = "bolt") -> dict[str, object]:
    return {"img_path": path, "mask_path": mask, "cls_name": class_name, "specie_name": kind, "anomaly": anomaly}


def write_meta(
    top: Path, *test: dict[str, object], phase: str = "test", train: Iterable[dict[str, object]] = ()
) -> None:
    by_class: dict[str, dict[str, list[dict[str, object]]]] = {"train": {}, phase: {}}
    for part, records in ((phase, test), ("train", train)):
        for each in records:
            by_class[part].setdefault(str(each["cls_name"]), []).append(each)
    (top / "meta.json").write_text(json.dumps(by_class), encoding="utf-8")


@pytest.mark.parametrize("phase", ["test", "Test"])
def test_a_meta_json_says_what_folders_do_not(phase: str, tmp_path: Path) -> None:
    top = make(tmp_path / "d", "a/{1,2,3,4,5}.png b/gt_{2,4}.png")
    write_meta(
        top,
        record("a/1.png", 0, kind="good"),
        record("a\\2.png", 1, "b/gt_2.png", "crack"),
        record("/elsewhere/d/a/4.PNG", "1", "/elsewhere/d/b/gt_4.png", "dent", "metal_nut"),
        phase=phase,
        train=[record("a/3.png", False)],
    )
    data = read_folder(PlainFolder(directory=top))
    assert {(s.key, s.class_name, s.prompt_name, s.label, s.defect, s.split) for s in data.samples} == {
        ("a/1.png", "bolt", "bolt", 0, "", "test"),
        ("a/2.png", "bolt", "bolt", 1, "crack", "test"),
        ("a/3.png", "bolt", "bolt", 0, "", "train"),
        ("a/4.png", "metal_nut", "metal nut", 1, "dent", "test"),
    }
    assert {s.mask.name for s in data.samples if s.mask} == {"gt_2.png", "gt_4.png"}
    assert "by meta.json" in data.reason
    assert ("a/5.png", "meta.json does not list it") in [(each.place, each.why) for each in data.left_out]
    assert [(each.path, each.kind) for each in data.problems] == [("metal_nut", "one-sided")]
    with pytest.raises(DatasetError, match=r"a/.*--normal"):  # the user's word goes before the list
        read_folder(PlainFolder(directory=top, normal=("a", "b"), abnormal=("a",)))


def test_what_a_meta_json_has_wrong_is_said(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "a/{1,2,3}.png")
    make(tmp_path, "secret.png")
    write_meta(
        top,
        record("a/1.png", 0),
        record("a/2.png", 2),
        record("a/9.png", 1),
        record("../secret.png", 1),
        record("a/3.png", 1, "../secret.png"),
        record("a/3.png", 0),
    )
    data = read_folder(PlainFolder(directory=top, class_name="big bolt"))
    assert [(sample.key, sample.prompt_name) for sample in data.samples] == [
        ("a/1.png", "big bolt"),
        ("a/3.png", "big bolt"),
    ]
    assert sorted((each.kind, each.path) for each in data.problems) == [
        ("listed-twice", "a/3.png"),
        ("missing-file", "a/9.png"),
        ("no-label", "a/2.png"),
        ("outside-root", "../secret.png"),
        ("outside-root", "../secret.png"),
    ]
    for text in ("[]", "{}", '{"test": {"a": [{}]}}', '{"test": {}}', "{", '{"test": 1}'):
        (top / "meta.json").write_text(text)
        with pytest.raises(DatasetError, match=r"meta\.json (is not of the usual form|lists no test image)"):
            read_folder(PlainFolder(directory=top))


def test_folders_go_before_a_meta_json(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "{good,bad}/{1,2}.png")
    write_meta(top, record("good/1.png", 1))
    data = read_folder(PlainFolder(directory=top))
    assert counts_of(data) == (2, 2, 0)
    assert "its meta.json is not trusted" in data.reason
    assert "meta.json says anomaly = 1, the files say 0" in render(check_dataset(data))


# ---- links


def test_links_are_followed_where_the_user_says_so(tmp_path: Path) -> None:
    blobs = make(tmp_path / "blobs", "{a,b}.png more/bad/{1,2}.png")
    top = tmp_path / "parts"
    (top / "good").mkdir(parents=True)
    for name in ("a", "b"):
        (top / f"good/{name}.png").symlink_to(blobs / f"{name}.png")
    (top / "bad").symlink_to(blobs / "more/bad")
    (top / "more").symlink_to(blobs / "more")
    (blobs / "more/up").symlink_to(blobs / "more")
    with pytest.raises(DatasetError, match=r"2 links that lead out .*blobs.*--follow-links"):
        read_folder(PlainFolder(directory=top))
    data = read_folder(PlainFolder(directory=top, follow_links=True))
    assert counts_of(data) == (2, 2, 0)  # the folder that two links lead to counts once
    assert not data.problems


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    top = make(tmp_path / "parts", "{good,bad}/{1,2}.png")
    (top / "good/3.png").symlink_to(tmp_path / "gone.png")
    (problem,) = read_folder(PlainFolder(directory=top)).problems
    assert "gone.png, which is not there" in problem.message


# ---- real images, where there are some


def real(*parts: str) -> PlainFolder:
    path = REAL.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path.name}")
    return PlainFolder(directory=path)


@pytest.mark.parametrize(
    ("folder", "normal", "anomalous", "masks", "train"),
    [
        ("BrainMRI", 98, 155, 0, 0),
        ("BrainMRI/brain_tumor_dataset", 98, 155, 0, 0),
        ("Kvasir-SEG-sample", 0, 5, 5, 0),
        ("MVTec-bottle-sample", 1, 3, 0, 1),
        ("MVTec-bottle-sample/bottle", 1, 3, 0, 1),
    ],
)
def test_real_images(folder: str, normal: int, anomalous: int, masks: int, train: int) -> None:
    data = read_folder(real(*folder.split("/")))
    assert counts_of(data) == (normal, anomalous, masks)
    assert len(data.train) == train
    assert not data.left_out
    assert not [problem for problem in data.problems if problem.fatal]


def test_real_images_with_a_table_of_labels(tmp_path: Path) -> None:
    head_ct = real("HeadCT")
    with pytest.raises(DatasetError, match=r"labels\.csv .*not used"):
        read_folder(head_ct)
    for image in sorted((head_ct.directory / "head_ct/head_ct").iterdir()):
        side = tmp_path / ("abnormal" if int(image.stem) < 100 else "normal")
        side.mkdir(exist_ok=True)
        (side / image.name).symlink_to(image)
    data = read_folder(PlainFolder(directory=tmp_path, follow_links=True))
    assert counts_of(data) == (100, 100, 0)


# ---- every file is something


OTHERS = ["images", "crack", "Dent", "crack_mask", "parts", "healthy", "NG", "GoodParts", "@eaDir", "mask_crack", "1"]
WORDS = (words.NORMAL, words.ANOMALOUS, words.MASKS, words.NO_KIND, words.TRAIN, words.TEST, words.VALIDATION)
FOLDERS = st.sampled_from(OTHERS) | st.sampled_from(sorted(itertools.chain(*WORDS)))
NAMES = st.sampled_from([f"{n}{end}" for n in ("1", "a b", "img_2") for end in ("", "_mask", "-gt", "_label", " (1)")])
ENDS = st.sampled_from(
    [".png", ".JPG", ".jpeg", ".jfif", ".pgm", ".jp2", ".tif", ".heic", ".csv", ".dcm", ".zip", "", ".x"]
)
PATHS = st.builds(
    lambda folders, name, end: "/".join([*folders, name + end]), st.lists(FOLDERS, max_size=4), NAMES, ENDS
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sets(PATHS, min_size=1, max_size=14), st.sampled_from(["", "_mask", ".png"]), st.booleans())
@example({"good/1.png", "bad/1.png", "bad/1_mask.png", "bad/2_mask.png", "7.png", "x/y/1.png"}, "", False)
def test_each_image_is_a_sample_a_mask_or_named(files: set[str], suffix: str, no_masks: bool) -> None:
    """Nothing is passed over in silence: each image file is in one of these places, or the folder is refused."""
    try:
        found = understood(" ".join(file.replace(" ", "~") for file in sorted(files)), suffix=suffix, no_masks=no_masks)
    except UnclearError:
        return
    images = {each.file for each in found.images}
    masks = {each.mask for each in found.images if each.mask}
    named = {file for each in found.left_out for file in each.files}
    # Of several masks of an image those that are not taken are in its problem.
    told = {file for file in files for each in found.problems if file == each.path or file in each.message}
    pictures = {file for file in files if is_image(file)}
    assert pictures <= images | masks | named | told
    assert not images & masks
    assert not images & named
    assert not masks & named
    assert all(each.label is not None or each.mask for each in found.images)


@settings(max_examples=300)
@given(st.text(max_size=12) | FOLDERS)
def test_no_name_says_two_things(name: str) -> None:
    role = role_of(name, {"crack"})
    if role is not None and role.label is not None and not role.mask:
        negated = role_of(f"not {name}", {"crack"})
        assert negated is None or negated.label in (None, 1 - role.label)


# ---- masks, drawings and companions under unusual names


RARER = "Masken masque annot ann lbl msk segm targets 掩码 ground_truht grund_truth ground_thruth bad_binary Masken_bad"


@pytest.mark.parametrize("name", RARER.split())
def test_folders_of_masks_under_rarer_names(name: str) -> None:
    assert counts(understood(f"good/{{1,2}}.png bad/{{1,2}}.png {name}/{{1,2}}.png")) == (2, 2, 0, 2)


@pytest.mark.parametrize(
    "name", ["anomaly_map", "AnomalyMaps", "normal_map", "bad_overlay", "heat~map", "crack_heat_map"]
)
def test_drawings_are_no_photos(name: str) -> None:
    found = understood(f"good/{{1,2}}.png crack/{{1,2}}.png {name}/{{1,2}}.png")
    assert counts(found) == (2, 2, 0, 0)
    assert [each.place for each in found.left_out] == [f"{name.replace('~', ' ')}/"]


@pytest.mark.parametrize(
    "spec",
    [
        "good/{1,2}.png crack/{1,2}.png ROI/{1,2}.png",
        "good/{1,2}.png crack/{1,2}.png ROI/crack/{001,002}.png",
        "good/{1,2}.png crack/{a,b}/{1,2}.png crack/ROI/{a,b}/{1,2}.png",
        "good/{1,2}.jpg bad/{1,2}.heic bad/ROI_{1,2}.png",
    ],
)
def test_masks_in_folders_of_other_names_are_known_by_their_content(spec: str, tmp_path: Path) -> None:
    top = make(tmp_path / "d", spec)
    masks = [path for path in top.rglob("*") if "ROI" in str(path.relative_to(top)) and path.is_file()]
    for path in masks:
        pixels = np.zeros((40, 40), np.uint8)
        pixels[:9, :9] = 255
        pixels[9, :9] = np.arange(9) * 20  # a smooth edge
        Image.fromarray(pixels).save(path, "PNG")
    data = read_folder(PlainFolder(directory=top))
    folders = {f"{path.parent.relative_to(top)}/" for path in masks}
    assert {(each.path, each.fatal) for each in data.problems if each.kind == "doubtful-kind"} == {
        (folder, True) for folder in folders
    }
    named = [each.rstrip("/") for each in sorted(folders)]
    text = " ".join(each.message for each in data.problems)
    assert f"--masks {named[0]}" in text
    said = [name for folder in follow(text, top) for name in folder.abnormal]
    data = read_folder(PlainFolder(directory=top, abnormal=tuple(said)))
    assert not [each for each in data.problems if each.kind == "doubtful-kind"]
    for path in (top / "good").iterdir():  # where normal images look so too, these are the images
        Image.fromarray(pixels).save(path, "PNG")
    assert not [each for each in read_folder(PlainFolder(directory=top)).problems if each.kind == "doubtful-kind"]


@pytest.mark.parametrize(
    ("spec", "masks", "left"),
    [
        ("bad/{1,2}_mask_binary.png", 2, 0),
        ("bad/{1,2}~(mask).png", 2, 0),
        ("bad/{1,2}_mask~(1).png", 2, 0),
        ("bad/{1,2}_binary_mask_v2.png", 2, 0),
        ("bad/{1,2}_overlay.png", 0, 2),
        ("bad/{1,2}_mask.png bad/{1,2}_mask_overlay.png", 2, 2),
        ("bad/{1,2}_thumb.png bad/{1,2}-viz.png", 0, 4),
        ("xyz/{1,2}_mask.png", 2, 0),
        ("xyz/dent/mask_{1,2}.png", 2, 0),
    ],
)
def test_companions_of_images(spec: str, masks: int, left: int) -> None:
    found = understood(f"good/{{1,2}}.png bad/{{1,2}}.png {spec}")
    assert counts(found) == (2, 2, 0, masks)
    assert sum(len(each.files) for each in found.left_out) == left
    assert not found.problems


@pytest.mark.parametrize("end", ["_m", "_t", "_roi", "~-~Kopie", ".spot"])
def test_companions_that_may_be_masks_are_said(end: str, tmp_path: Path) -> None:
    spec = f"good/{{1,2}}.png bad/{{1,2,3}}.png bad/{{1,2}}{end}.png"
    end = end.replace("~", " ")
    (problem,) = understood(spec).problems
    assert f"--mask-suffix {shlex.quote(end)}" in problem.message
    assert (problem.kind, problem.fatal) == ("doubtful-kind", False)
    top = make(tmp_path / "d", spec)
    for path in top.glob(f"bad/*{end}.png"):
        Image.fromarray(np.eye(8, dtype=np.uint8) * np.uint8(255)).save(path)
    data = read_folder(PlainFolder(directory=top))
    assert [(each.path, each.kind) for each in data.problems if each.fatal] == [(f"bad/*{end}", "doubtful-kind")]
    assert counts_of(read_folder(PlainFolder(directory=top, mask_suffix=end))) == (2, 3, 2)


def test_images_are_no_companions_where_few_are_named_so() -> None:
    assert not understood("good/{1,2,3}.png bad/{1,2,3,4,5}.png bad/1_left.png bad/{1_2,2_2}.png").problems
    found = understood("good/{1,2}.png bad/{1,2}.png bad/{1,2}_overlay.png", suffix="_overlay")
    assert counts(found) == (2, 2, 0, 2)


@pytest.mark.parametrize("names", ["img.png label.png label_viz.png", "image.png mask.png", "a.jpg GT.png"])
def test_a_folder_for_each_image_with_its_mask(names: str) -> None:
    spec = " ".join(f"bad/{{1,2}}/{name}" for name in names.split())
    assert counts(understood(f"good/{{1,2}}.png {spec}")) == (2, 2, 0, 2)


UNREAD = [
    "bad/{1,2}.heic bad/{1,2}_mask.png",
    "bad/{1,2}.CR2 mask/{1,2}.png",
    "crack/{1,2}.heic gt/crack/{1,2}.png",
    "crack/{1,2}.heic gt/{1,2}_mask.png",
]


@pytest.mark.parametrize("spec", UNREAD)
def test_masks_of_images_that_are_not_read_stay_theirs(spec: str) -> None:
    found = understood(f"good/{{1,2}}.png {spec}")
    assert counts(found) == (2, 0, 0, 0)
    assert not [each for each in found.images if each.mask]
    assert [each.why for each in found.left_out] == ["a mask of an image that is left out"]


def test_a_kind_with_the_names_of_another_is_doubtful() -> None:
    found = understood("good/{1,2}.png crack/IMG_{71,72,73}.png xyz/IMG_{71,72}.png")
    assert [(each.path, each.kind, "--masks xyz" in each.message) for each in found.problems] == [
        ("xyz/", "doubtful-kind", True)
    ]
    assert not understood("good/{1,2}.png {crack,dent}/part_{001,002}.png spot/IMG_{71,72}.png").problems


@pytest.mark.parametrize("name", ["meta.json", "Meta.json"])
@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16"])
def test_a_meta_json_goes_before_masks_alone_and_is_read_as_people_write_it(
    name: str, code: str, tmp_path: Path
) -> None:
    top = make(tmp_path / "d", "images/{1,2}.png masks/2.png")
    records = [record("d/images/1.PNG", 0), record("old/images/2.PNG", 1, "old/masks/2.PNG")]
    (top / name).write_text(json.dumps({"TEST": {"bolt": records}}), encoding=code)
    data = read_folder(PlainFolder(directory=top))
    assert counts_of(data) == (1, 1, 1)
    assert not [each for each in data.left_out if "meta" in each.place.lower()]
    assert "meta.json" not in {each.kind for each in check_dataset(data).problems}


def test_why_a_meta_json_lists_nothing_is_said(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "a/{1,2}.png")
    write_meta(top, record("a/1.png", None))
    with pytest.raises(DatasetError, match=r"(?s)lists no test image that can be used.*says anomaly = None"):
        read_folder(PlainFolder(directory=top))
    (top / "meta.json").write_text('{"test": [{"img_path": "a/1.png"}]}')
    with pytest.raises(DatasetError, match="does not give a list of records for each class"):
        read_folder(PlainFolder(directory=top))
