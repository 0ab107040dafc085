"""Where datasets are found, and what to type where they are not: --data and --data-path a level too high or too low."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.api.datasets import no_data, select_datasets
from benchmark.cli.data_options import parse_paths
from benchmark.data.cards import Card, load_cards
from benchmark.data.samples import DatasetError, read_samples
from benchmark.data.search import find_directories, hint, locate, recognise
from benchmark.errors import BenchError

CARDS = load_cards()
EVERY = [card for card in CARDS.values() if card.name != "folder"]


def touch(root: Path, *names: str) -> Path:
    """Write files that are never opened while a dataset is listed."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def bottle(root: Path) -> Path:
    """One class of MVTec AD, with a few images."""
    shape = ("train/good/000", "test/good/000", "test/broken_small/000", "ground_truth/broken_small/000_mask")
    return touch(root, *(f"bottle/{name}.png" for name in shape))


def whole_bottle(root: Path) -> Path:
    """The test images of one class of MVTec AD, as many as are published."""
    [card] = [each for each in CARDS["mvtec"].classes if each.name == "bottle"]
    good = [f"bottle/test/good/{index:03}.png" for index in range(card.normal or 0)]
    bad = [f"{kind}/{index:03}" for kind, count in card.defects.items() for index in range(count)]
    return touch(root, *good, *(f"bottle/test/{each}.png" for each in bad))


@pytest.mark.parametrize("name", ["mvtec_anomaly_detection", "MVTec-AD", "mvtec"])
def test_a_data_root_that_is_a_dataset_by_its_name_is_that_dataset(tmp_path: Path, name: str) -> None:
    root = bottle(tmp_path / name)
    for data in (root, root / "bottle" / ".."):
        assert find_directories(CARDS["mvtec"], data, None) == [data]
        found = locate(CARDS["mvtec"], data, None)
        assert found is not None
        assert "--data names the dataset itself" in found.reason
        assert found.fingerprint == read_samples(CARDS["mvtec"], root).fingerprint
    assert find_directories(CARDS["visa"], root, None) == []
    (tmp_path / "link").symlink_to(root)
    assert find_directories(CARDS["mvtec"], tmp_path / "link", None) == [tmp_path / "link"]
    assert [each.card.name for each in select_datasets([], data=root)[0]] == ["mvtec"]


def test_a_dataset_in_a_folder_within_its_own_is_still_found(tmp_path: Path) -> None:
    touch(tmp_path / "headct/head_ct", *(f"head_ct/{index:03}.png" for index in range(3)))
    (tmp_path / "headct/labels.csv").write_text("id, hemorrhage\n0,1\n1,1\n2,0\n")
    found = locate(CARDS["headct"], tmp_path / "headct", None)
    assert found is not None
    assert (found.directory, len(found.test)) == (tmp_path / "headct", 3)


def test_a_root_of_datasets_that_has_the_name_of_one_is_a_root(tmp_path: Path) -> None:
    root = tmp_path / "visa"
    bottle(root / "mvtec")
    touch(root / "mpdd", "tubes/test/good/000.png")
    found, problems = select_datasets([], data=root)
    assert [each.card.name for each in found] == ["mpdd", "mvtec"]
    assert problems == []


def test_datasets_of_like_names_are_told_apart(tmp_path: Path) -> None:
    bottle(tmp_path / "mvtec_ad")
    touch(tmp_path / "mvtec_ad_2", "vial/test_public/good/000_regular.png")
    touch(tmp_path / "BrainMRI", "brain_tumor_dataset/no/1 no.jpeg", "brain_tumor_dataset/yes/Y1.jpg")
    for name in ("BMAD/Brain", "BMAD/Liver", "BMAD/Retina_RESC"):
        touch(tmp_path / name, "test/good/img/00003.png")
    for name in ("KolektorSDD/kos01/Part0.jpg", "KolektorSDD2/test/20000.png"):
        picture = tmp_path / name
        picture.parent.mkdir(parents=True)
        for path in (picture, picture.with_name("Part0_label.bmp"), picture.with_name("20000_GT.png")):
            Image.new("L", (8, 9)).save(path)
    places = {
        card.name: [each.relative_to(tmp_path).as_posix() for each in find_directories(card, tmp_path, None)]
        for card in EVERY
    }
    assert {name: found for name, found in places.items() if found} == {
        "mvtec": ["mvtec_ad"],
        "mvtec_ad_2": ["mvtec_ad_2"],
        "sdd": ["KolektorSDD"],
        "sdd2": ["KolektorSDD2"],
        "brainmri": ["BrainMRI"],
        "bmad_brain": ["BMAD/Brain"],
        "bmad_liver": ["BMAD/Liver"],
        "bmad_resc": ["BMAD/Retina_RESC"],
    }
    for name in ("sdd", "sdd2"):
        found = locate(CARDS[name], tmp_path, None)
        assert found is not None
        assert {sample.class_name for sample in found.samples} == {each.name for each in CARDS[name].classes}
    for name in ("bmad_brain", "bmad_liver"):  # the folder of one of them, and that of all
        directory = tmp_path / "BMAD" / name.removeprefix("bmad_").title()
        assert find_directories(CARDS[name], directory, None) == [directory]
        assert find_directories(CARDS["brainmri"], directory, None) == []
    together = tmp_path / "BMAD"
    assert hint(together, [CARDS["bmad_brain"]]).endswith(f"say --data-path bmad_brain={together}")
    assert read_samples(CARDS["bmad_brain"], together).root == "Brain"


def test_a_folder_of_a_class_called_brain_is_not_that_of_bmad(tmp_path: Path) -> None:
    root = tmp_path / "HeadCT_anomaly_detection"
    touch(root, "brain/test/good/100.png", "brain/test/hemorrhage/000.png")
    assert find_directories(CARDS["headct"], root, None) == [root]
    assert find_directories(CARDS["bmad_brain"], root, None) == []


def test_a_renamed_dataset_is_known_by_its_layout_and_its_counts(tmp_path: Path) -> None:
    root = whole_bottle(tmp_path / "data-2024")
    found = recognise(EVERY, root)
    assert found is not None
    assert (found.card.name, len(found.test)) == ("mvtec", 83)
    assert "taken for MVTec AD by its layout and its numbers of images" in found.reason
    assert [each.card.name for each in select_datasets([], data=root)[0]] == ["mvtec"]
    assert [each.card.name for each in select_datasets(["mvtec"], data=root)[0]] == ["mvtec"]
    found, problems = select_datasets(["visa"], data=root)
    assert not found
    assert "no folder in" in problems[0]
    few = bottle(tmp_path / "few")
    assert recognise(EVERY, few) is None  # its classes are those of MVTec AD, its numbers are not
    assert select_datasets([], data=few) == ([], [])


def test_a_large_folder_of_other_things_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(card: Card, directory: Path) -> None:
        raise AssertionError(directory)

    touch(tmp_path, "Documents/letter.odt", "Downloads/photo.jpg", "notes.txt")
    monkeypatch.setattr("benchmark.data.search.read_samples", never)
    assert recognise(EVERY, tmp_path) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (".", "there are datasets in {root}/datasets; say --data {root}/datasets"),
        ("datasets/mvtec/bottle", "it lies in MVTec AD; say --data-path mvtec={root}/datasets/mvtec"),
        ("datasets/mvtec/bottle/test/good", "it lies in MVTec AD; say --data-path mvtec={root}/datasets/mvtec"),
        ("datasets/other", "there is MVTec AD in the folder above; say --data {root}/datasets"),
        ("parts", "for images of your own say --folder {root}/parts"),
        ("nothing", ""),
    ],
)
def test_what_to_type_is_said_where_no_dataset_is_found(tmp_path: Path, data: str, said: str) -> None:
    root = tmp_path.resolve()
    bottle(root / "datasets/mvtec")
    touch(root, "datasets/other/a.txt", "parts/OK/a.png", "parts/NG/b.png", "nothing/c.txt")
    assert hint(root / data, EVERY) == said.format(root=root)
    assert said.format(root=root) in no_data(root / data)
    found, problems = select_datasets(["mvtec"], data=root / data)
    assert not found
    assert hint(root / data, [CARDS["mvtec"]]) in problems[0]


def refused(name: str, directory: Path) -> str:
    with pytest.raises(DatasetError) as error:
        read_samples(CARDS[name], directory)
    return str(error.value)


def test_a_directory_a_level_too_high_or_too_low_is_answered_with_the_right_one(tmp_path: Path) -> None:
    root = bottle(tmp_path.resolve() / "down/loads/renamed")
    for high in (root.parent, root.parents[1]):
        assert refused("mvtec", high).endswith(f"seems to lie deeper; say --data-path mvtec={root}")
    assert refused("mvtec", root / "bottle").endswith(f"one class of the dataset; say --data-path mvtec={root}")
    touch(tmp_path / "v/copy/split_csv", "1cls.csv")
    assert refused("visa", tmp_path / "v").endswith(f"deeper; say --data-path visa={tmp_path / 'v/copy'}")
    bottle(tmp_path / "down/loads/again")
    assert "seems to lie deeper" not in refused("mvtec", tmp_path / "down")  # which of the two?


@pytest.mark.parametrize("name", [card.name for card in EVERY])
def test_no_regular_expression_is_shown_to_a_person(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "somewhere/else.png")
    said = refused(name, tmp_path)
    assert not any(sign in said for sign in ("(?", "[^", "\\d", ".+", "|"))
    assert all(layout.name in said for layout in CARDS[name].layouts)
    assert f"--data-path {name}=DIR" in said


def test_the_reasons_of_layouts_that_nearly_fit_are_listed_shortest_first(tmp_path: Path) -> None:
    touch(tmp_path, "candle/train/good/000.png", "widget/test/good/000.png")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/1cls.csv").write_text("object,split,label,image,mask\ncandle,test,normal,candle/gone.JPG,\n")
    said = refused("visa", tmp_path)
    near = said[said.index("Nearly right:") : said.index("Looked for")].splitlines()[1:]
    assert [line.strip() for line in near] == sorted((line.strip() for line in near), key=len)
    assert any("layout prepared" in line and "no class of the card" in line for line in near)
    assert any("listed in line 2 of split_csv/1cls.csv but not there" in line for line in near)
    assert "<class>/test/good/<name>, <class>/test/bad/<name>" in said
    touch(tmp_path / "t", "bottle/train/good/0.png", "bottle/train/good/1.png")
    assert "layout original: 2 training images, but no test image" in refused("mvtec", tmp_path / "t")


def test_what_is_still_packed_or_a_pointer_is_said(tmp_path: Path) -> None:
    assert "Unpack mvtec.tar.xz, or" in refused("mvtec", touch(tmp_path / "a", "mvtec.tar.xz"))
    touch(tmp_path / "b", "somewhere/else.png")
    (tmp_path / "b/somewhere/else.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "somewhere/else.png: a pointer of Git LFS" in refused("mvtec", tmp_path / "b")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "b/somewhere/else.png")
    assert "somewhere/else.png: " not in refused("mvtec", tmp_path / "b")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("copy", "bottle/, cable/ in {root}/copy are classes of MVTec AD; say --data-path mvtec={root}/copy"),
        (".", "bottle/, cable/ in {root}/copy are classes of MVTec AD; say --data-path mvtec={root}/copy"),
        ("copy/bottle", "bottle/, cable/ in {root}/copy are classes of MVTec AD; say --data-path mvtec={root}/copy"),
        ("one/x", "bottle/ in {root}/one/x is a class of MVTec AD; say --data-path mvtec={root}/one/x"),
        ("packed", "unpack {root}/packed/mvtec_anomaly_detection.tar.xz"),
    ],
)
def test_a_dataset_under_another_name_is_known_by_its_classes(tmp_path: Path, data: str, said: str) -> None:
    root = tmp_path.resolve()
    touch(root, "copy/bottle/a.txt", "copy/cable/a.txt", "packed/mvtec_anomaly_detection.tar.xz")
    bottle(root / "one/x")
    assert said.format(root=root) in no_data(root / data)
    found, problems = select_datasets(["mvtec"], data=root / data)
    assert not found
    assert said.format(root=root) in problems[0]


def test_a_path_without_a_name_or_with_the_name_in_capitals_is_answered() -> None:
    with pytest.raises(BenchError, match="say NAME=DIR, as in --data-path mvtec=/data/x"):
        parse_paths(["/data/x"])
    with pytest.raises(BenchError, match=r"'MVTec'; did you mean mvtec\?"):
        parse_paths(["MVTec=/data/x"])
    with pytest.raises(BenchError, match=r"'VisA'; did you mean visa"):
        select_datasets(["VisA"], data=None)
