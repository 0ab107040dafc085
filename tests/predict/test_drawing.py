"""What is drawn and written of each image: masks and regions, outlines, maps, several methods side by side."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy import ndimage

from benchmark.clip.backbone import Backbone
from benchmark.contract import Method
from benchmark.predict.calibration import read_calibration
from benchmark.predict.drawing import Panel, map_content, side_by_side
from benchmark.predict.heatmaps import overlay
from benchmark.predict.predictions import COLUMNS, ColourScale, ImagePrediction, Predictions, to_csv
from benchmark.predict.regions import OUTLINE, Region, mask_at, outlined, regions_of
from benchmark.predict.scoring import Scored, score_images
from methods.clip import Clip, ClipOptions
from methods.winclip import WinClip, WinClipOptions

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--device", "cpu"]
CLIP = ["--method", "clip", *TINY]
EXIF_ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is written by default does not go where the tests were started."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def save(path: Path, *, size: tuple[int, int] = (40, 30), seed: int = 0, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def written(method: str = "clip") -> Predictions:
    return Predictions.model_validate_json(Path("predictions", method, "predictions.json").read_bytes())


@pytest.fixture
def calibrated(bench: Bench, parts: Path) -> list[str]:
    """Options that say from which score and value on images and pixels of `parts` are anomalous."""
    assert bench("calibrate", "--folder", parts, *CLIP)[0] == 0
    return ["--threshold", "calibration-clip.json"]


# ---- masks, regions, outlines


def test_a_mask_has_the_size_of_the_image_and_is_true_where_the_map_is_high() -> None:
    anomaly_map = np.zeros((8, 8), dtype=np.float32)
    anomaly_map[2, 6] = 1.0
    mask = mask_at(anomaly_map, 0.5, (160, 80))
    assert mask.shape == (80, 160)
    rows, columns = np.nonzero(mask)
    assert abs(rows.mean() - 2.5 * 10) <= 1
    assert abs(columns.mean() - 6.5 * 20) <= 1
    assert not mask_at(anomaly_map, 1.5, (160, 80)).any()
    assert mask_at(anomaly_map, 0.0, (160, 80)).all()


def test_a_value_equal_to_the_threshold_is_anomalous_and_the_one_below_is_not() -> None:
    first = np.float32(0.3)
    for value in (first, np.nextafter(first, np.float32(1))):
        below = np.nextafter(value, np.float32(0))
        anomaly_map = np.array([[value, below]], dtype=np.float32)
        between = (float(value) + float(below)) / 2  # which float32 rounds to one of them, up for one value, else down
        for threshold in (float(value), between):
            assert mask_at(anomaly_map, threshold, (2, 1)).tolist() == [[True, False]]


@given(st.integers(0, 2**32 - 1))
def test_regions_are_those_of_another_library(seed: int) -> None:
    mask = np.random.default_rng(seed).random((12, 17)) < 0.3
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    expected = [
        Region(int((labels == index + 1).sum()), (columns.start, rows.start, columns.stop, rows.stop))
        for index, (rows, columns) in enumerate(ndimage.find_objects(labels))
    ]
    found = regions_of(mask)
    assert sorted(found) == sorted(expected)
    assert len(found) == count
    assert [region.area for region in found] == sorted((region.area for region in found), reverse=True)


def test_an_outline_goes_around_its_region_and_leaves_the_rest_of_the_photo() -> None:
    photo, mask = Image.new("RGB", (60, 40), (9, 9, 9)), np.zeros((40, 60), dtype=bool)
    mask[10:20, 15:40] = True
    drawn = np.asarray(outlined(photo, mask))
    painted = (drawn == OUTLINE).all(axis=2)
    assert np.array_equal(painted | mask, ndimage.binary_dilation(mask))
    assert not painted[12:18, 17:38].any()
    assert (drawn[~painted] == 9).all()


def test_a_region_of_one_pixel_is_outlined_in_a_smaller_photo_too() -> None:
    mask = np.zeros((4000, 3000), dtype=bool)
    mask[1234, 2345] = True
    drawn = np.asarray(outlined(Image.new("RGB", (300, 400)), mask))
    rows, columns = np.nonzero((drawn == OUTLINE).all(axis=2))
    assert abs(rows.mean() - 123) <= 1
    assert abs(columns.mean() - 234) <= 1


def test_masks_and_outlines_are_written_on_request(bench: Bench, parts: Path, calibrated: list[str]) -> None:
    assert bench("predict", parts / "abnormal", *CLIP, *calibrated)[0] == 0
    assert not Path("predictions/clip/masks").exists()
    assert all(each.regions is None for each in written().images)
    code, _, err = bench("predict", parts / "abnormal", *CLIP, *calibrated, "--save-masks", "--save-maps", "npy")
    assert code == 0
    assert "predictions/clip: the results of 6 images" in err
    pixel = read_calibration(Path("calibration-clip.json")).pixel
    assert pixel is not None
    for each in written().images:
        with Image.open(each.path) as photo, Image.open(Path("predictions/clip") / str(each.mask)) as drawn:
            mask = np.asarray(drawn)
            assert (drawn.mode, drawn.size) == ("L", photo.size)
        assert set(np.unique(mask)) <= {0, 255}
        assert each.regions is not None
        assert sum(region.area for region in each.regions) == (mask > 0).sum()
        anomaly_map = np.load(Path("predictions/clip") / str(each.map), allow_pickle=False)
        assert np.array_equal(mask > 0, mask_at(anomaly_map, pixel.value, each.size or (0, 0)))
        assert Path("predictions/clip", str(each.outline)).is_file()
    assert bench("predict", parts / "abnormal/007.png", *CLIP)[0] == 0  # of another call, so with other thresholds
    kept = {"masks": ".png", "outlines": ".png", "maps": ".npy"}
    for kind, suffix in kept.items():
        names = sorted(path.name for path in Path("predictions/clip", kind).iterdir())
        assert names == [f"{index:03d}{suffix}" for index in range(8, 13)]


# ---- maps


def test_maps_are_those_of_the_method_as_float32_at_the_evaluation_size(
    bench: Bench, tmp_path: Path, tiny: Backbone
) -> None:
    image = save(tmp_path / "1.png")
    method = Clip(tiny, ClipOptions())
    for kind, size in (("npy", 112), ("tiff", 64)):
        more = ["--save-maps", kind, "--set", f"protocol.evaluation_size={size}"]
        assert bench("predict", image, *CLIP, *more)[0] == 0
        ((expected,),) = score_images([image], [method], tiny, class_name="object", batch_size=1, evaluation_size=size)
        assert isinstance(expected, Scored)
        path = Path("predictions/clip", str(written().images[0].map))
        found = np.load(path, allow_pickle=False) if kind == "npy" else tifffile.imread(path)
        assert (found.dtype, found.shape, path.suffix) == (np.float32, (size, size), f".{kind}")
        assert np.abs(found - expected.map).max() <= 1e-6
        assert written().map_size == size
        assert written().images[0].map_maximum == pytest.approx(float(found.max()), abs=1e-6)


def test_a_map_comes_back_exactly() -> None:
    anomaly_map = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    assert np.array_equal(np.load(io.BytesIO(map_content(anomaly_map, "npy"))), anomaly_map)
    assert np.array_equal(tifffile.imread(io.BytesIO(map_content(anomaly_map, "tiff"))), anomaly_map)


# ---- upright


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_drawn_as_people_see_it(
    bench: Bench, tmp_path: Path, tiny: Backbone, orientation: int
) -> None:
    image = save(tmp_path / "i/1.png", size=(50, 30), orientation=orientation)
    code, _, _ = bench("predict", image, *CLIP, "--save-maps", "npy")
    assert code == 0
    (found,) = written().images
    with Image.open(image) as stored:
        upright = ImageOps.exif_transpose(stored)
    assert (found.size, found.orientation) == (upright.size, orientation)
    anomaly_map = np.load("predictions/clip/maps/1.npy")
    expected = overlay(upright, anomaly_map, low=float(anomaly_map.min()), high=float(anomaly_map.max()))
    with Image.open("predictions/clip/heatmaps/1.png") as drawn:
        assert drawn.size == upright.size
        assert np.abs(np.asarray(drawn).astype(int) - np.asarray(expected).astype(int)).max() <= 3
    ((plain,),) = score_images([save(tmp_path / "p/1.png", size=(50, 30))], [Clip(tiny, ClipOptions())], tiny,
                               class_name="object", batch_size=1)  # fmt: skip
    assert isinstance(plain, Scored)
    assert found.score == pytest.approx(plain.score, abs=1e-6)  # the method sees the stored pixels
    tagged = Image.fromarray(plain.map)
    tagged.getexif()[EXIF_ORIENTATION] = orientation
    assert np.abs(np.asarray(ImageOps.exif_transpose(tagged)) - anomaly_map).max() <= 1e-5
    row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
    x, y = found.maximum_at or (0, 0)
    assert abs(x - (column + 0.5) * upright.width / 112) <= 1
    assert abs(y - (row + 0.5) * upright.height / 112) <= 1


# ---- several methods


def test_several_methods_are_scored_as_each_alone_and_drawn_side_by_side(
    bench: Bench, parts: Path, tiny: Backbone
) -> None:
    paths = sorted((parts / "abnormal").iterdir())[:3]
    code, out, _ = bench("predict", *paths, *CLIP, "--method", "clip,winclip", "--class", "nut")
    assert code == 0
    methods: dict[str, Method] = {"clip": Clip(tiny, ClipOptions()), "winclip": WinClip(tiny, WinClipOptions())}
    for name, method in methods.items():
        content = written(name)
        alone = [each for (each,) in score_images(paths, [method], tiny, class_name="nut", batch_size=2)]
        assert [Path(each.path) for each in content.images] == paths
        for mine, theirs in zip(content.images, alone, strict=True):
            assert isinstance(theirs, Scored)
            assert mine.score == pytest.approx(theirs.score, abs=1e-5)
            assert Path("predictions", name, str(mine.overlay)).is_file()
    header, *lines = out.splitlines()
    assert header.split() == ["clip", "winclip", "image"]
    assert len(lines) == 3
    first, second, path = lines[0].split()
    index = paths.index(Path(path))
    assert float(first) == pytest.approx(written("clip").images[index].score, abs=1e-6)
    assert float(second) == pytest.approx(written("winclip").images[index].score, abs=1e-6)
    assert sorted(path.name for path in Path("predictions").iterdir()) == ["clip", "clip+winclip", "winclip"]
    together = sorted(Path("predictions/clip+winclip").iterdir())
    assert [path.name for path in together] == [path.name for path in paths]
    with Image.open(together[0]) as drawn:
        assert drawn.width > 2 * drawn.height  # three panels


@pytest.mark.parametrize(("low", "high", "size"), [(0.0, 1.0, (60, 40)), (0.5, 0.5, (10, 900)), (-2e5, 1e6, (900, 10))])
def test_every_panel_has_its_heatmap_its_decision_and_a_colour_bar(
    low: float, high: float, size: tuple[int, int]
) -> None:
    photo, heatmap = Image.new("RGB", size, (1, 2, 3)), Image.new("RGB", size, (4, 5, 6))
    prediction = ImagePrediction(path="1.png", score=0.5, decision="anomalous")
    panel = Panel("A method with a long title and options=1, x=2", prediction, heatmap, ColourScale(low=low, high=high))
    one, two = (np.asarray(side_by_side(photo, [panel] * count)) for count in (1, 2))
    assert two.shape[1] - one.shape[1] == one.shape[1] // 2
    colours = {tuple(colour) for colour in one.reshape(-1, 3).tolist()}
    assert {(1, 2, 3), (4, 5, 6)} <= colours
    assert len(colours) > 100  # those of the bar


def test_a_second_call_with_another_method_overwrites_nothing(bench: Bench, parts: Path) -> None:
    assert bench("predict", parts / "normal/000.png", *CLIP)[0] == 0
    before = {path: path.read_bytes() for path in Path("predictions").rglob("*") if path.is_file()}
    assert bench("predict", parts / "normal/000.png", *CLIP, "--method", "clip_ac,winclip")[0] == 0
    assert before == {path: path.read_bytes() for path in before}
    assert len(before) == 1 + 2


def test_an_image_that_cannot_be_read_is_told_once_for_all_methods(bench: Bench, parts: Path) -> None:
    (parts / "normal/003.png").write_bytes(b"")
    code, out, err = bench("predict", parts / "normal", *CLIP, "--method", "clip,clip_ac")
    assert code == 1
    assert err.count("FAILED") == 1
    assert len(out.splitlines()) == 1 + 6
    assert len(list(Path("predictions/clip+clip_ac").iterdir())) == 6


def test_a_folder_with_good_and_bad_images_is_images_alone(bench: Bench, tmp_path: Path) -> None:
    for index, name in enumerate(("good/1.png", "good/2.png", "NG/1.png")):
        save(tmp_path / "parts" / name, seed=index)
    assert bench("predict", tmp_path / "parts", *CLIP)[0] == 0
    assert {each.overlay for each in written().images} == {
        "heatmaps/good/1.png", "heatmaps/good/2.png", "heatmaps/NG/1.png"
    }  # fmt: skip


# ---- predictions.csv


def test_the_csv_says_what_the_json_says(bench: Bench, parts: Path, calibrated: list[str]) -> None:
    (parts / "abnormal/009.png").write_bytes(b"")
    more = [*calibrated, "--save-masks", "--save-maps", "tiff"]
    assert bench("predict", parts / "abnormal", *CLIP, *more)[0] == 1
    rows = list(csv.DictReader(Path("predictions/clip/predictions.csv").read_text(encoding="utf-8").splitlines()))
    content = json.loads(Path("predictions/clip/predictions.json").read_text(encoding="utf-8"))
    assert len(rows) == len(content["images"]) == 6
    for row, image in zip(rows, content["images"], strict=True):
        assert list(row) == list(COLUMNS)
        for key in ("path", "decision", "overlay", "mask", "outline", "map", "error"):
            assert row[key] == (image[key] or "")
        for key in ("score", "map_minimum", "map_maximum", "orientation"):
            assert row[key] == ("" if image[key] is None else repr(image[key]))
        if image["score"] is not None:
            assert [int(row["width"]), int(row["height"])] == image["size"]
            assert [int(row["maximum_x"]), int(row["maximum_y"])] == image["maximum_at"]
            assert int(row["regions"]) == len(image["regions"])
            assert int(row["anomalous_pixels"]) == sum(area for area, _ in image["regions"])


def test_no_cell_of_the_csv_is_a_formula() -> None:
    text = to_csv([ImagePrediction(path="=1+1.png", error="@bad"), ImagePrediction(path="-1,2.png", score=-0.5)])
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["path"] for row in rows] == ["'=1+1.png", "'-1,2.png"]
    assert rows[0]["error"] == "'@bad"
    assert rows[1]["score"] == "-0.5"
    assert rows[0]["score"] == ""
