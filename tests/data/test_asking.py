"""What is asked about the folders of a user's own images, and that each name the user gives counts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.api.computing import _tell_of_data as tell_of_data
from benchmark.cli.data_options import FolderOptions
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import DatasetError, SampleSet
from benchmark.errors import BenchError


def make(root: Path, folders: str, images: int = 2) -> Path:
    """Write images into each of several folders; `~` is a blank."""
    for n, name in enumerate(folders.split()):
        folder = root / name.replace("~", " ")
        folder.mkdir(parents=True, exist_ok=True)
        for image in range(images):
            pixels = np.full((8, 8), 10 * n + image + 20, np.uint8)
            if "mask" in name or "spots" in name:
                pixels = np.zeros((8, 8), np.uint8)
                pixels[:2, :2] = 255
            Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


def sides(data: SampleSet) -> dict[str, int]:
    """Return the label of each folder that is tested."""
    return {str(Path(each.key).parent): each.label for each in data.test}


# ---- each name counts


def test_each_name_must_be_that_of_a_folder(tmp_path: Path) -> None:
    top = make(tmp_path, "healthy fine tumor cyst")
    with pytest.raises(DatasetError, match="--normal fien: no folder"):
        read_folder(PlainFolder(directory=top, normal=("healthy", "fien"), abnormal=("tumor",)))
    with pytest.raises(DatasetError, match="--abnormal csyt: no folder"):
        read_folder(PlainFolder(directory=top, normal=("healthy",), abnormal=("tumor", "csyt")))


def test_several_folders_of_masks(tmp_path: Path) -> None:
    make(tmp_path, "good crack dent")
    make(tmp_path / "spots_a", "crack")
    make(tmp_path / "spots_b", "dent")
    folder = PlainFolder(directory=tmp_path, masks=("spots_a", "spots_b"))
    data = read_folder(folder)
    assert Counter(each.mask is not None for each in data.test if each.label) == {True: 4}
    assert data.argument.endswith("--masks spots_a --masks spots_b")
    (read,) = FolderOptions(folder=[str(tmp_path)], masks=["spots_a", "spots_b"]).folders()
    assert read == folder
    with pytest.raises(DatasetError, match="--masks spots_c: no folder"):
        read_folder(PlainFolder(directory=tmp_path, masks=("spots_a", "spots_c")))
    with pytest.raises(DatasetError, match=r"--masks none .* leave one out"):
        read_folder(PlainFolder(directory=tmp_path, masks=("spots_a", "none")))


@pytest.mark.parametrize("text", ["", " ", "nuts=", "nuts= "])
def test_an_empty_folder_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="is empty"):
        FolderOptions(folder=[text])


# ---- which are normal


ADVICE = [
    ("Unhealthy healthy", "--normal healthy --abnormal Unhealthy"),
    ("healthy tumor", "--normal healthy --abnormal tumor"),
    ("Gut Schlechte", "--normal Gut --abnormal Schlechte"),
    ("cat uncat", "--normal uncat --abnormal cat if uncat/ is normal, or --normal cat --abnormal uncat if cat/ is"),
    ("real fake", "--normal fake --abnormal real if fake/ is normal, or --normal real --abnormal fake if real/ is"),
    ("bad_front x", "--normal x --abnormal bad_front if x/ is normal, or"),
    ("part_no_5 part_no_6", "--normal part_no_6 --abnormal part_no_5 if part_no_6/ is"),
    ("a b c", "--normal a --abnormal b --abnormal c if a/ alone is normal"),
    ("test train val", "--normal test --normal train --normal val if all are"),
    ("OK healthy crack", "--normal OK --normal healthy if it is normal"),
    ("good no_scratch scratch", "--normal good --normal no_scratch if it is normal"),
    ("good noncrack crack", "--normal good --normal noncrack if it is normal"),
    ("good crack-free crack", "--normal crack-free --normal good if it is normal"),
    ("nuts/good nuts/bad bolts/bad bolts/fine", "--normal nuts/good --normal bolts/fine if bolts/fine/ holds them"),
    ("Product~A/good product~a/good product~a/bad", "Product A/ and product a/ differ only in upper and lower case"),
]


@pytest.mark.parametrize(("folders", "sentence"), ADVICE)
def test_which_are_normal_is_asked(folders: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as refused:
        read_folder(PlainFolder(directory=make(tmp_path / "d", folders)))
    assert sentence in str(refused.value)


UNDERSTOOD = [
    ("unqualified qualified", "qualified"),
    ("unacceptable acceptable", "acceptable"),
    ("OKs NGs", "OKs"),
    ("Perfect Imperfect", "Perfect"),
    ("正常 异常", "正常"),
    ("良品 不良品", "良品"),
    ("défaut sans~défaut", "sans défaut"),
    ("ohne~Defekt Defekt", "ohne Defekt"),
    ("goodparts badparts", "goodparts"),
    ("OKteile NOKteile", "OKteile"),
    ("inliers outliers", "inliers"),
    ("golden crack no_cap", "golden"),
]


@pytest.mark.parametrize(("folders", "normal"), UNDERSTOOD)
def test_more_words_for_normal_and_anomalous(folders: str, normal: str, tmp_path: Path) -> None:
    data = read_folder(PlainFolder(directory=make(tmp_path / "d", folders)))
    names = [each.replace("~", " ") for each in folders.split()]
    assert sides(data) == {name: int(name != normal) for name in names}


def test_the_known_sides_are_kept_by_the_advice(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "nuts/good nuts/bad bolts/bad bolts/fine")
    data = read_folder(PlainFolder(directory=top, normal=("nuts/good", "bolts/fine")))
    assert sides(data) == {"nuts/good": 0, "nuts/bad": 1, "bolts/bad": 1, "bolts/fine": 0}


@pytest.mark.parametrize("train", ["trainset", "traindata", "train_data", "TrainSet", "training-data"])
@pytest.mark.parametrize("test", ["testset", "testdata", "test_data"])
def test_more_words_for_splits(train: str, test: str, tmp_path: Path) -> None:
    data = read_folder(PlainFolder(directory=make(tmp_path / "d", f"{train}/good {test}/good {test}/bad valset/good")))
    assert sides(data) == {f"{test}/good": 0, f"{test}/bad": 1}
    assert len(data.card.classes) == 1


def test_anomalous_folders_side_by_side_are_kinds(tmp_path: Path) -> None:
    data = read_folder(PlainFolder(directory=make(tmp_path / "d", "good anomaly_1 anomaly_2")))
    assert {each.defect for each in data.test if each.label} == {"anomaly_1", "anomaly_2"}


def test_a_folder_that_is_a_link_to_nothing_is_said(tmp_path: Path) -> None:
    top = make(tmp_path / "d", "good")
    (top / "bad").symlink_to(tmp_path / "gone")
    for follow in (False, True):
        problems = read_folder(PlainFolder(directory=top, follow_links=follow)).problems
        (problem,) = (each for each in problems if each.fatal or "gone" in each.message)
        assert problem.path == "bad"
        assert "gone, which is not there" in problem.message
        assert "--follow-links" not in problem.message


# ---- in the header of a run


def test_names_of_folders_are_printed_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_of_data([read_folder(PlainFolder(directory=make(tmp_path / "d", "good cra\x1b[31mck")))])
    written = "".join(capsys.readouterr())
    assert "cra\\x1b[31mck/ (2)" in written
    assert "\x1b" not in written
