"""`--shots`: the images that k-shot methods are shown; black and white of images of more than 8 bits."""

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.clip.backbone import Backbone
from benchmark.data.images import read_image
from benchmark.data.preprocess import Preprocess
from benchmark.predict.calibration import read_calibration
from benchmark.predict.own_images import PredictError
from benchmark.predict.predictions import Predictions
from benchmark.predict.references import draw_references, normal_images, with_shots
from methods.clip import Clip, ClipOptions
from methods.winclip import WinClip, WinClipOptions

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--device", "cpu"]
WINCLIP = ["--method", "winclip", *TINY]


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is written by default does not go where the tests were started."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def save(path: Path, *, seed: int = 0, white: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype = np.uint8 if white < 256 else np.uint16
    pixels = np.random.default_rng(seed).integers(0, white + 1, size=(30, 40), dtype=dtype)
    pixels[0, 0] = white
    Image.fromarray(pixels).save(path)
    return path


def written(method: str) -> Predictions:
    return Predictions.model_validate_json(Path("predictions", method, "predictions.json").read_bytes())


# ---- which images


def test_the_images_of_the_folder_itself_are_the_normal_ones(tmp_path: Path) -> None:
    for index, name in enumerate(("10.png", "2.png", "NG/1.png")):
        save(tmp_path / name, seed=index)
    assert list(normal_images(tmp_path)[0]) == ["2.png", "10.png"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train/good/1.png", "test/good/2.png", "test/broken/3.png"), ["train/good/1.png"]),
        (("normal/1.png", "abnormal/2.png"), ["normal/1.png"]),
    ],
)
def test_of_a_folder_with_bad_images_too_the_normal_ones_are_shown(
    tmp_path: Path, names: tuple[str, ...], expected: list[str]
) -> None:
    for index, name in enumerate(names):
        save(tmp_path / name, seed=index)
    assert list(normal_images(tmp_path)[0]) == expected


def test_a_folder_without_normal_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictError, match="there is no such folder"):
        normal_images(tmp_path / "none")
    save(tmp_path / "one/things/1.png")
    with pytest.raises(PredictError, match=r"--shots .*name the folder that holds normal images"):
        normal_images(tmp_path / "one")


def test_links_are_followed_on_demand_and_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links/1.png").symlink_to(save(tmp_path / "elsewhere/1.png"))
    with pytest.raises(PredictError, match="--follow-links"):
        normal_images(tmp_path / "links")
    assert list(normal_images(tmp_path / "links", follow_links=True)[0]) == ["1.png"]
    save(tmp_path / "links/2.png")
    paths, problems = normal_images(tmp_path / "links")
    assert list(paths) == ["2.png"]
    assert "--follow-links" in problems[0]


def test_the_number_is_that_of_the_option_else_that_of_the_images(tmp_path: Path) -> None:
    assert with_shots(WinClip, WinClipOptions(), 5, tmp_path) == WinClipOptions(shots=5)
    assert with_shots(WinClip, WinClipOptions(shots=2), 5, tmp_path) == WinClipOptions(shots=2)
    assert with_shots(Clip, ClipOptions(), 5, tmp_path) == ClipOptions()
    with pytest.raises(PredictError, match="shown 6 images, and 5 are there"):
        with_shots(WinClip, WinClipOptions(shots=6), 5, tmp_path)


def test_a_draw_of_more_images_holds_that_of_fewer_and_says_what_was_drawn(tmp_path: Path) -> None:
    images = {f"{index}.png": save(tmp_path / f"{index}.png", seed=index) for index in range(8)}
    draws = [draw_references(images, shots, tmp_path) for shots in range(1, 9)]
    for (fewer, _), (more, _) in pairwise(draws):
        assert fewer.files.items() < more.files.items()
        assert fewer.sha256 != more.sha256
    used, paths = draws[3]
    assert used.files == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    renamed = {f"x{key}": path for key, path in images.items()}
    assert draw_references(renamed, 8, tmp_path)[0].sha256 == draws[-1][0].sha256  # by content


def test_a_reference_image_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "1.png"
    broken.write_bytes(b"")
    with pytest.raises(PredictError, match=r"--shots .*1.png: the file is empty"):
        draw_references({"1.png": broken}, 1, tmp_path)


# ---- the commands


def test_a_k_shot_method_sees_the_images_that_are_given(bench: Bench, parts: Path, tiny: Backbone) -> None:
    shots = sorted((parts / "normal").iterdir())[:3]
    for path in shots:
        save(Path("shots") / path.name).write_bytes(path.read_bytes())
    code, _, err = bench("predict", parts / "abnormal", *WINCLIP, "--shots", "shots")
    assert code == 0
    assert "shown 3 normal images" in err
    content = written("winclip")
    assert content.options["shots"] == 3
    assert content.references is not None
    assert list(content.references.files) == [path.name for path in shots]
    method = WinClip(tiny, WinClipOptions(shots=3))
    preprocess = Preprocess(tiny.image_size)
    images = [preprocess(read_image(path)) for path in (*shots, Path(content.images[0].path))]
    features = [
        tiny.encode_images(torch.from_numpy(np.stack(part)), method.vision()) for part in (images[:3], images[3:])
    ]
    method.see_references(features[0])
    expected = method.predict(features[1], ["object"]).scores
    assert content.images[0].score == pytest.approx(float(expected[0]), abs=1e-5)


def test_shots_without_a_method_that_looks_at_them_have_no_effect_and_are_refused(bench: Bench, parts: Path) -> None:
    code, _, err = bench("predict", parts / "abnormal", "--method", "clip", *TINY, "--shots", parts / "normal")
    assert code == 2
    assert "CLIP looks at no normal images" in err


def test_an_image_that_is_scored_and_shown_is_told_and_never_calibrated_on(bench: Bench, parts: Path) -> None:
    code, _, err = bench("predict", parts / "normal", *WINCLIP, "--shots", parts / "normal", "--set", "winclip.shots=1")
    assert code == 0
    assert "a reference image of --shots, which makes its own score too low" in err
    copied = save(Path("shots/another name.png"))
    copied.write_bytes((parts / "normal/002.png").read_bytes())
    code, _, err = bench("calibrate", "--folder", parts, *WINCLIP, "--shots", "shots")
    assert code == 2
    assert "choose the threshold on other images" in err


def test_a_calibration_with_other_shots_is_refused(bench: Bench, parts: Path) -> None:
    for index in range(2):
        save(Path(f"shots/{index}.png"), seed=index)
        save(Path(f"others/{index}.png"), seed=index + 10)
    assert bench("calibrate", "--folder", parts, *WINCLIP, "--shots", "shots")[0] == 0
    more = ["--threshold", "calibration-winclip.json"]
    assert bench("predict", parts / "normal", *WINCLIP, "--shots", "shots", *more)[0] == 0
    code, _, err = bench("predict", parts / "normal", *WINCLIP, "--shots", "others", *more)
    assert code == 2
    assert "reference images " in err


# ---- images of more than 8 bits


def test_images_of_more_than_8_bits_are_read_by_one_range_that_of_the_calibration(bench: Bench, tmp_path: Path) -> None:
    """A dark picture alone is not made bright: its score is the one that it had among the others."""
    clip = ["--method", "clip", *TINY]
    for index in range(3):
        save(tmp_path / f"deep/normal/{index}.png", seed=index, white=4095)
        save(tmp_path / f"deep/abnormal/{index}.png", seed=index + 3, white=900)
    code, _, err = bench("calibrate", "--folder", tmp_path / "deep", *clip)
    assert code == 0
    assert "integers from 0 (black) to 4095 (white)" in err
    assert bench("predict", tmp_path / "deep/normal", tmp_path / "deep/abnormal", *clip)[0] == 0
    among = {each.path: each.score for each in written("clip").images}
    dark = tmp_path / "deep/abnormal/0.png"
    assert bench("predict", dark, *clip)[0] == 0
    assert written("clip").images[0].score != pytest.approx(among[str(dark)], abs=1e-6)
    code, _, err = bench("predict", dark, *clip, "--threshold", "calibration-clip.json")
    assert code == 0
    content = written("clip")
    assert content.images[0].score == pytest.approx(among[str(dark)], abs=1e-6)
    assert content.ranges == read_calibration(Path("calibration-clip.json")).ranges
    brighter = save(tmp_path / "more/1.png", white=60000)
    code, _, err = bench("predict", brighter, *clip, "--threshold", "calibration-clip.json")
    assert code == 0
    assert "some images need white at 65535; what is above 4095 is cut off" in err
