"""`load_method(…).predict(…)` beside `bench predict`: the same numbers from files, images of Pillow and arrays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import benchmark as zb
from benchmark.api.predictors import MOST_SHOWN, PredictedImage, PredictedImages, Predictor, UnscoredImage
from benchmark.data.in_memory import image_in_memory
from benchmark.errors import BenchError
from methods.clip import Clip

Bench = Callable[..., tuple[int, str, str]]
TINY: dict[str, Any] = {"backbone": "tiny:random", "device": "cpu"}
ON_TINY = ["--backbone", "tiny:random", "--device", "cpu"]


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module")
def clip() -> Predictor:
    return zb.load_method("clip", **TINY)


def one(found: PredictedImage | PredictedImages) -> PredictedImage:
    assert isinstance(found, PredictedImage)
    return found


def several(found: PredictedImage | PredictedImages) -> PredictedImages:
    assert isinstance(found, PredictedImages)
    return found


def photo(path: Path, *, exif: int = 1, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    tags = Image.Exif()
    tags[0x0112] = exif
    Image.fromarray(pixels).save(path, exif=tags)
    return path


@pytest.mark.parametrize("method", ["clip", "anomalyclip"])
def test_scores_maps_and_drawings_are_those_of_the_command(bench: Bench, parts: Path, method: str) -> None:
    backbone = {} if method == "anomalyclip" else TINY  # whose checkpoint ships along
    code, _, _ = bench(
        "predict", parts / "normal", "--method", method, "--class", "metal nut", "--set",
        "protocol.evaluation_size=48", "--save-maps", "npy", "--output", "o", *(ON_TINY if backbone else []),
    )  # fmt: skip
    assert code == 0
    folder = Path("o") / method
    written = json.loads((folder / "predictions.json").read_text())["images"]
    predictor = zb.load_method(method, options={"protocol": {"evaluation_size": 48}}, **backbone)
    found = several(predictor.predict(parts / "normal", "metal nut"))
    assert [each.name for each in found] == [each["path"] for each in written]
    for mine, theirs in zip(found, written, strict=True):
        assert isinstance(mine, PredictedImage)
        assert mine.score == theirs["score"]
        assert np.array_equal(mine.map, np.load(folder / theirs["map"]))
        with Image.open(folder / theirs["overlay"]) as drawn:
            assert np.array_equal(np.asarray(mine.heatmap), np.asarray(drawn))


@pytest.mark.parametrize("exif", [1, 6, 8])
def test_an_image_in_memory_gives_what_its_file_gives(clip: Predictor, tmp_path: Path, exif: int) -> None:
    path = photo(tmp_path / "1.png", exif=exif)
    of_file = one(clip.predict(path, "metal nut"))
    with Image.open(path) as opened:
        of_pillow = one(clip.predict(opened, "metal nut"))
    assert of_pillow.score == of_file.score
    assert np.array_equal(of_pillow.map, of_file.map)
    assert np.array_equal(np.asarray(of_pillow.image), np.asarray(of_file.image))
    of_array = one(clip.predict(np.asarray(Image.open(path)), "metal nut"))
    assert of_array.score == of_file.score
    assert of_file.image.size == ((40, 30) if exif == 1 else (30, 40))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "LA"])
def test_images_of_all_modes_are_read_as_files_are(clip: Predictor, tmp_path: Path, mode: str) -> None:
    image = Image.open(photo(tmp_path / "1.png")).convert(mode)
    image.save(path := tmp_path / ("2.tiff" if mode == "CMYK" else "2.png"))
    assert one(clip.predict(image)).score == one(clip.predict(str(path))).score


@pytest.mark.parametrize(("dtype", "high"), [("uint16", 4000), ("uint16", 300), ("float32", 1.0), ("float32", 40.0)])
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_deep_arrays_are_read_by_one_range_as_files_are(
    clip: Predictor, tmp_path: Path, dtype: str, high: float, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    arrays = [(rng.random(shape) * high * part).astype(dtype) for part in (1.0, 0.4)]
    for index, array in enumerate(arrays):
        tifffile.imwrite(tmp_path / f"{index}.tiff", array, photometric="rgb" if array.ndim == 3 else "minisblack")
    of_files = several(clip.predict([tmp_path / "0.tiff", tmp_path / "1.tiff"]))
    of_arrays = several(clip.predict(arrays))
    assert list(of_arrays.scores) == list(of_files.scores)
    assert of_arrays.scores[0] != of_arrays.scores[1]


def test_one_image_gives_one_and_several_give_several(clip: Predictor, tmp_path: Path) -> None:
    path = photo(tmp_path / "1.png")
    pixels = np.asarray(Image.open(path))
    assert isinstance(clip.predict(path), PredictedImage)
    for given in ([path], (pixels,), pixels[None], iter([path])):
        found = several(clip.predict(given))
        assert len(found) == 1
    mixed = several(clip.predict([path, pixels, Image.fromarray(pixels), str(path)]))
    assert len(set(mixed.scores)) == 1
    assert [each.name for each in mixed] == [str(path), "image 1", "image 2", str(path)]
    assert isinstance(mixed[1:], PredictedImages)
    assert len(mixed[1:]) == 3


def test_the_class_is_that_of_the_call_else_of_the_method(tmp_path: Path) -> None:
    path = photo(tmp_path / "1.png")
    nuts = zb.load_method("clip", "metal nut", **TINY)
    assert one(nuts.predict(path)).class_name == "metal nut"
    assert one(nuts.predict(path, "screw")).class_name == "screw"
    assert one(nuts.predict(path)).score != one(nuts.predict(path, "screw")).score
    with pytest.raises(BenchError, match="class_name"):
        nuts.predict(path, " ")


def test_a_method_is_built_once_and_shown_its_references(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    path = photo(tmp_path / "1.png")
    with pytest.raises(BenchError, match="name their folder by --shots"):
        zb.load_method("winclip", options={"winclip": {"shots": 2}}, **TINY)
    predictor = zb.load_method("winclip", shots=parts / "normal", options={"winclip": {"shots": 2}}, **TINY)
    (scorer,) = predictor._found.scorers
    built: list[object] = []
    make = type(scorer).build
    monkeypatch.setattr(type(scorer), "build", lambda self, backbone: built.append(self) or make(self, backbone))
    first, second = one(predictor.predict(path)), one(predictor.predict(path))
    assert len(built) == 1
    assert first.score == second.score
    code, out, _ = bench(
        "predict", path, "--method", "winclip", "--shots", parts / "normal", "--set", "winclip.shots=2", *ON_TINY
    )
    assert code == 0
    assert float(out.split()[0]) == pytest.approx(first.score, abs=1e-6)
    assert "shown 2 normal images" in repr(predictor)


def test_what_cannot_score_single_images_is_refused() -> None:
    with pytest.raises(BenchError, match="cannot score images of no dataset"):
        zb.load_method("aa_clip", options={"aa_clip": {"class_minmax": True}}, **TINY)


def test_a_class_is_taken_for_its_method(tmp_path: Path, clip: Predictor) -> None:
    path = photo(tmp_path / "1.png")
    assert one(zb.load_method(Clip, **TINY).predict(path)).score == one(clip.predict(path)).score


def test_an_image_that_cannot_be_read_is_told(
    clip: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, broken = photo(tmp_path / "1.png"), tmp_path / "<b>2.png"
    broken.write_bytes(b"no image")
    with pytest.raises(BenchError, match=r"2\.png"):
        clip.predict(broken)
    found = several(clip.predict([broken, path]))
    assert isinstance(found[0], UnscoredImage)
    assert found.failed == (found[0],)
    assert np.isnan(found.scores).tolist() == [True, False]
    assert "FAILED" in capsys.readouterr().err
    assert "<b>" not in found._repr_html_()
    with pytest.raises(BenchError, match="no such file"):
        clip.predict(tmp_path / "none.png")


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((2, 3, 4, 5, 6)),
        np.zeros((3, 20, 20)),
        np.array(["a"]),
        np.zeros((0, 4)),
        np.full((4, 4), np.nan),
        np.zeros((4, 4), complex),
    ],
)
def test_what_is_no_image_is_refused(given: Any) -> None:
    with pytest.raises(BenchError, match="image 0"):
        image_in_memory(given, "image 0")


@pytest.mark.parametrize("given", [3, None, {"a.png": 1}, b"a.png", object()])
def test_what_is_no_image_at_all_is_refused(clip: Predictor, given: Any) -> None:
    with pytest.raises(BenchError, match="is no image; give a path"):
        clip.predict(given)


@pytest.mark.parametrize("size", [-1, 0, 1.5, "2", True])
def test_a_batch_size_is_a_whole_number_from_1_on(clip: Predictor, size: Any) -> None:
    with pytest.raises(BenchError, match=r"batch_size=.*say a whole number from 1 on"):
        clip.predict(np.zeros((4, 4, 3), np.uint8), batch_size=size)


def test_a_tensor_is_the_array_that_it_holds_and_nested_lists_are_refused(clip: Predictor, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(photo(tmp_path / "1.png")))
    assert one(clip.predict(torch.from_numpy(pixels.copy()))).score == one(clip.predict(pixels)).score
    with pytest.raises(BenchError, match="image 0: a list is no image; give a path"):
        clip.predict(pixels.tolist())


def test_the_home_folder_and_the_working_folder_are_those_of_the_call(
    clip: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "1.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for given in ("~/1.png", "1.png"):
        found = one(clip.predict(given))
        with monkeypatch.context() as moved:
            moved.chdir(tmp_path.parent)
            assert found.image.size == (40, 30)
    for given in ("", " "):
        with pytest.raises(BenchError, match="is no path"):
            clip.predict(given)


def test_links_are_followed_where_the_method_is_told_so(tmp_path: Path) -> None:
    for name in ("mine", "away"):
        (tmp_path / name).mkdir()
        photo(tmp_path / f"{name}/1.png")
    (tmp_path / "mine/linked").symlink_to(tmp_path / "away")
    assert len(several(zb.load_method("clip", **TINY).predict(tmp_path / "mine"))) == 1
    assert len(several(zb.load_method("clip", follow_links=True, **TINY).predict(tmp_path / "mine"))) == 2


def test_a_prediction_is_shown_after_its_file_is_gone(clip: Predictor, tmp_path: Path) -> None:
    path = photo(tmp_path / "1.png")
    found = one(clip.predict(path))
    path.unlink()
    assert f"{found.score:.4g}" in found._repr_html_()
    assert "no such file" in found._repr_html_()


def test_no_images_are_refused(clip: Predictor, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no images to score"):
        clip.predict([])
    with pytest.raises(BenchError, match="no images to score"):
        clip.predict(tmp_path / "here")


def test_a_notebook_shows_photo_and_heatmap_and_nothing_of_names_as_html(tmp_path: Path, clip: Predictor) -> None:
    path = photo(tmp_path / '"><img src=x onerror=alert(1)>.png')
    found = several(clip.predict([path] * (MOST_SHOWN + 2), '<i>"nut"</i>'))
    for text in (found._repr_html_(), one(clip.predict(path, '<i>"nut"</i>'))._repr_html_()):
        assert "SYNTHETIC" in text
        assert "onerror" in text
        assert "<img src=x" not in text
        assert "<i>" not in text
    assert found._repr_html_().count('<img alt="heatmap" src="data:image/png;base64,') == MOST_SHOWN
    assert "and 2 more" in found._repr_html_()
    assert "SYNTHETIC" in repr(found[0])
