"""`bench predict`: the harness's scores, files that cannot be read or clash, checkpoints, and what is written."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from PIL import Image
from support.faults import file_size_limit

from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.weights import parse_backbone
from benchmark.contract import ClassName, Features, LayerLogits, Method, Prediction, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import turn
from benchmark.data.loading import Reading, load, stack
from benchmark.predict.heatmaps import overlay
from benchmark.predict.own_images import PredictError, drawing_names, find_images, natural_key
from benchmark.predict.predictions import Predictions
from benchmark.predict.scorer import banner
from benchmark.predict.scoring import Scored, Unscored, resized, score_images
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.checkpoints import (
    read_checkpoint,
    read_tensors,
    write_checkpoint,
)
from benchmark.registry import load_plugin, source_sha256
from benchmark.running.maps import at_evaluation_size
from benchmark.training.chosen import SHIPPED
from methods.clip import Clip, ClipOptions
from methods.winclip import WinClip, WinClipOptions

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--device", "cpu"]
CLIP = ["--method", "clip", *TINY]


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's cache nor the folder in which the tests were started has a part in them."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def save(path: Path, *, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def written(output: Path, method: str = "clip") -> Predictions:
    return Predictions.model_validate_json((output / method / "predictions.json").read_bytes())


def drawings(output: Path, method: str = "clip") -> list[str]:
    return sorted(path.relative_to(output / method).as_posix() for path in (output / method).rglob("*.png"))


def score_one(path: Path, method: Method, backbone: Backbone, class_name: str) -> Scored:
    (((scored,),)) = list(score_images([path], [method], backbone, class_name=class_name, batch_size=1))
    assert isinstance(scored, Scored)
    return scored


# ---- scores and maps


@pytest.fixture
def smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP with maps that the harness filters, as it does those of AnomalyCLIP."""
    monkeypatch.setattr(Clip, "smoothing", 4.0)


@pytest.mark.usefixtures("smooth")
def test_scores_and_maps_are_those_of_the_harness(bench: Bench, parts: Path, tiny: Backbone) -> None:
    """The other side reads as `bench run` does, and encodes each image by itself."""
    code, out, _ = bench(
        "predict", parts / "normal", parts / "abnormal", *CLIP, "--class", "metal nut", "--output", "o"
    )
    assert code == 0
    found = {Path(each.path): each for each in written(Path("o")).images}
    method = Clip(tiny, ClipOptions())
    samples = read_folder(PlainFolder(directory=parts, class_name="metal nut")).test
    reading = Reading(tiny.image_size, masks=None, batch_size=1, workers=0)
    for (item,) in load(samples, reading):
        assert item.image is not None
        features = tiny.encode_images(stack([item]), method.vision())
        prediction = method.predict(features, [ClassName(item.sample.prompt_name)])
        (score,), maps = at_evaluation_size(prediction, image_size=tiny.image_size, smoothing=method.smoothing)
        assert maps is not None
        mine = found.pop(item.sample.path)
        assert mine.score == pytest.approx(score, abs=1e-6)
        assert (mine.map_minimum, mine.map_maximum) == pytest.approx((maps.min(), maps.max()), abs=1e-6)
    assert not found
    scores = [float(line.split()[0]) for line in out.splitlines()]
    assert len(scores) == 13
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


def test_the_batch_size_changes_nothing(parts: Path, tiny: Backbone) -> None:
    (parts / "normal/003.png").write_bytes(b"")
    paths, method = sorted((parts / "normal").iterdir()), Clip(tiny, ClipOptions())
    one, *others = (
        [scored for (scored,) in score_images(paths, [method], tiny, class_name="nut", batch_size=batch_size)]
        for batch_size in (1, 3, 50)
    )
    assert [isinstance(each, Unscored) for each in one] == [path.name == "003.png" for path in paths]
    for same in others:
        for left, right in zip(one, same, strict=True):
            assert (left.image, type(left)) == (right.image, type(right))
            if isinstance(left, Scored) and isinstance(right, Scored):
                assert left.score == pytest.approx(right.score, abs=1e-5)
                assert np.abs(left.map - right.map).max() <= 1e-5


def test_images_are_read_a_batch_at_a_time(tmp_path: Path, tiny: Backbone) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for index in (0, 1):
        save(paths[index], seed=index)
    scored = (
        each for (each,) in score_images(paths, [Clip(tiny, ClipOptions())], tiny, class_name="nut", batch_size=2)
    )
    found = [next(scored)]
    for index in (0, 1):  # has been read
        paths[index].unlink()
    for index in (2, 3, 4):  # has not
        save(paths[index], seed=index)
    found += scored
    assert [each.image for each in found] == paths
    assert all(isinstance(each, Scored) for each in found)


class _Spot(Method):
    """Gives each image a map that is highest in one patch, and its brightness as score."""

    name, title, paper = "spot", "Spot", "a test"
    at = (1, 6)

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        maps = torch.zeros(len(class_names), 8, 8)
        maps[:, *self.at] = 1.0
        return Prediction(scores=torch.ones(len(class_names)), maps=maps)


def test_the_maximum_is_told_in_pixels_of_the_image(tmp_path: Path, tiny: Backbone) -> None:
    path = save(tmp_path / "wide.png", size=(400, 80))
    scored = score_one(path, _Spot(tiny, None), tiny, "nut")
    x, y = scored.maximum_at
    assert abs(x - 6.5 * 400 / 8) <= 400 / 8 / 2
    assert abs(y - 1.5 * 80 / 8) <= 80 / 8 / 2
    assert scored.map.shape == (112, 112)
    assert isinstance(scored.raw, torch.Tensor)
    assert scored.raw.shape == (1, 8, 8)


class _Layers(_Spot):
    """Hands over logits of two layers, from a forward pass of its own, and looks at all that it is told of a class."""

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, images=True, encoded=False)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert {(name, name.folder, name.dataset, name.domain) for name in class_names} == {
            ("nut", "nut", "", "custom")
        }
        assert features.images is not None
        image = self.backbone.embed(self.backbone.forward_vision(features.images).last[:, 0])
        logits = LayerLogits(image[:, :24].reshape(-1, 2, 3, 4), corners_aligned=True, softmax_last=True)
        return Prediction(scores=image[:, 0], maps=logits)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_maps_of_layers_are_kept_as_they_are_drawn(tmp_path: Path, tiny: Backbone, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(save(tmp_path / "plain.png")) as stored:
        stored.save(tmp_path / "turned.png", exif=exif)
    method = _Layers(tiny, None)
    plain, found = (score_one(tmp_path / f"{name}.png", method, tiny, "nut") for name in ("plain", "turned"))
    assert isinstance(found.raw, LayerLogits)
    assert sorted(found.raw.differences.shape) == [1, 2, 3, 4]
    assert found.score == plain.score
    assert np.array_equal(found.map, turn(plain.map, orientation))
    _, (drawn,) = resized(Prediction(torch.zeros(1), found.raw), method, None)
    np.testing.assert_allclose(drawn, found.map, atol=1e-6, rtol=0)


class _Half(Clip):
    """CLIP at half of the image size, so that it shares no forward pass with CLIP."""

    def vision(self) -> VisionSpec:
        return VisionSpec(56, layers=super().vision().layers)


def test_methods_of_several_image_sizes_are_scored_as_each_alone(parts: Path, tiny: Backbone) -> None:
    methods = [Clip(tiny, ClipOptions()), _Half(tiny, ClipOptions()), WinClip(tiny, WinClipOptions())]
    paths = sorted((parts / "normal").iterdir())[:3]
    together = list(score_images(paths, methods, tiny, class_name="nut", batch_size=2))
    for index, method in enumerate(methods):
        for path, found in zip(paths, together, strict=True):
            mine, alone = found[index], score_one(path, method, tiny, "nut")
            assert isinstance(mine, Scored)
            assert mine.score == pytest.approx(alone.score, abs=1e-5)
            assert mine.map.shape == alone.map.shape
            assert np.abs(mine.map - alone.map).max() <= 1e-5


class _NotFinite(_Spot):
    """Gives the second of three images a score that is NaN, and the third a map with an infinite value."""

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        maps = torch.zeros(3, 8, 8)
        maps[2, 0, 0] = torch.inf
        return Prediction(scores=torch.tensor([1.0, torch.nan, 1.0]), maps=maps)


def test_what_is_no_finite_number_is_no_score(tmp_path: Path, tiny: Backbone) -> None:
    paths = [save(tmp_path / f"{index}.png") for index in range(3)]
    good, *bad = (
        each for (each,) in score_images(paths, [_NotFinite(tiny, None)], tiny, class_name="nut", batch_size=3)
    )
    assert isinstance(good, Scored)
    assert all(isinstance(each, Unscored) and "finite" in each.error for each in bad)


# ---- drawings


@pytest.mark.usefixtures("smooth")
def test_all_drawings_of_a_call_share_one_scale(bench: Bench, parts: Path, tiny: Backbone) -> None:
    assert bench("predict", parts / "normal", *CLIP, "--output", "all")[0] == 0
    content = written(Path("all"))
    assert content.scale is not None
    assert content.scale.low == min(each.map_minimum or 0.0 for each in content.images)
    assert content.scale.high == max(each.map_maximum or 0.0 for each in content.images)
    for each in content.images:
        scored = score_one(Path(each.path), Clip(tiny, ClipOptions()), tiny, "object")
        with Image.open(each.path) as image, Image.open(Path("all/clip") / str(each.overlay)) as drawn:
            expected = overlay(image, scored.map, low=content.scale.low, high=content.scale.high)
            assert (drawn.format, drawn.size) == ("PNG", image.size)
            assert np.abs(np.asarray(drawn).astype(int) - np.asarray(expected).astype(int)).max() <= 3
    assert bench("predict", parts / "normal/000.png", *CLIP, "--output", "one")[0] == 0
    assert Path("one/clip/heatmaps/000.png").read_bytes() != Path("all/clip/heatmaps/000.png").read_bytes()


def test_a_large_image_is_drawn_smaller_in_its_proportions(bench: Bench, tmp_path: Path) -> None:
    save(tmp_path / "large.jpg", size=(600, 2400))
    code, _, _ = bench("predict", tmp_path / "large.jpg", *CLIP)
    assert code == 0
    with Image.open("predictions/clip/heatmaps/large.png") as drawn:
        assert drawn.size == (256, 1024)
    assert written(Path("predictions")).images[0].size == (600, 2400)


def plugin(file: Path, *body: str) -> list[str]:
    """Write CLIP as a plug-in named `mine`, with more lines in its class; return the options that choose it."""
    head = [
        "from pathlib import Path",
        "from benchmark.contract import BackboneVariant, Layer, VisionSpec",
        "from methods.clip import Clip",
    ]
    lines = ["class Mine(Clip):", "    name, title = 'mine', 'Mine'", *(f"    {line}" for line in body)]
    file.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    return ["--plugin", str(file), "--method", "mine", *TINY]


WHOLE = (
    "@dataclass(frozen=True)",
    "class Options(ClipOptions):",
    "    whole: bool = True",
    "@classmethod",
    "def scores_whole_class(cls, options):",
    "    return options.whole",
)


@pytest.mark.parametrize("command", ["predict", "calibrate"])
@pytest.mark.parametrize("switch", [True, False])
def test_scores_of_a_whole_class_are_refused_with_the_way_out(
    bench: Bench, tmp_path: Path, parts: Path, command: str, switch: bool
) -> None:
    file = tmp_path / "whole.py"
    chosen = plugin(file, *WHOLE[: None if switch else -1], *([] if switch else ["    return True"]))
    file.write_text("from dataclasses import dataclass\nfrom methods.clip import ClipOptions\n" + file.read_text())
    given = [parts / "normal"] if command == "predict" else ["--folder", parts]
    code, _, err = bench(command, *given, *chosen)
    assert code == 2
    assert "Mine: its image scores depend on all test images of a class" in err
    assert ("say --set mine.whole=false" in err) == switch
    assert ("choose another method" in err) != switch
    if switch:
        assert bench(command, *given, *chosen, "--set", "mine.whole=false")[0] == 0


def test_an_image_that_vanishes_before_it_is_drawn_keeps_its_score(bench: Bench, tmp_path: Path) -> None:
    gone, kept = save(tmp_path / "i/gone.png"), save(tmp_path / "i/kept.png", seed=1)
    deletes = plugin(
        tmp_path / "deletes.py",
        "def predict(self, features, class_names):",
        f"    Path({str(gone)!r}).unlink()",
        "    return super().predict(features, class_names)",
    )
    code, out, err = bench("predict", gone, kept, *deletes)
    assert code == 1
    first, second = written(Path("predictions"), "mine").images
    assert first.score is not None
    assert first.overlay is None
    assert "not drawn" in str(first.error)
    assert second.overlay == "heatmaps/kept.png"
    assert len(out.splitlines()) == 2
    assert "FAILED" in err


def test_scores_survive_when_a_drawing_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    image = save(tmp_path / "1.png", size=(400, 300))
    with file_size_limit(20_000):  # enough for the scores, too little for the drawing
        code, _, err = bench("predict", image, *CLIP)
    assert code == 2
    assert "1.png: File too large" in err
    (image,) = written(Path("predictions")).images
    assert image.score is not None
    assert image.overlay is None


# ---- which images, under which names


def test_folders_are_searched_and_their_structure_is_kept(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "my parts"
    for index, name in enumerate(("10.png", "2.png", "good/ö ñ 部品.JPG", "good/deep/1.tif", ".hidden/1.png")):
        save(root / name, seed=index)
    (root / "notes.txt").write_text("no image")
    code, out, _ = bench("predict", root, *CLIP)
    assert code == 0
    images = written(Path("predictions")).images
    names = ["2.png", "10.png", "good/deep/1.tif", "good/ö ñ 部品.JPG"]
    assert [each.path for each in images] == [str(root / name) for name in names]
    assert [each.overlay for each in images] == [
        f"heatmaps/{name}" for name in ("2.png", "10.png", "good/deep/1.png", "good/ö ñ 部品.png")
    ]
    assert drawings(Path("predictions")) == sorted(str(each.overlay) for each in images)
    assert sorted(line.split("  ", 1)[1] for line in out.splitlines()) == sorted(str(root / name) for name in names)


def test_a_second_call_does_not_score_the_drawings_of_the_first(bench: Bench, tmp_path: Path) -> None:
    save(tmp_path / "here/1.png")
    for _ in range(2):
        assert bench("predict", ".", *CLIP)[0] == 0
        assert [each.path for each in written(Path("predictions")).images] == ["1.png"]


def test_the_same_name_in_two_folders_gives_two_drawings(bench: Bench, tmp_path: Path) -> None:
    first, second = save(tmp_path / "a/1.png"), save(tmp_path / "b/1.png", seed=1)
    for given in ([tmp_path / "a", tmp_path / "b"], [first, second], [tmp_path / "a", first, second]):
        found, *_ = find_images(given, output=Path("o"))
        assert [(each.path, each.drawing) for each in found] == [(first, "a/1.png"), (second, "b/1.png")]
    assert bench("predict", tmp_path / "a", tmp_path / "b", *CLIP)[0] == 0
    drawn = [Path("predictions/clip/heatmaps", name, "1.png").read_bytes() for name in "ab"]
    assert drawn[0] != drawn[1]


def names_of(*paths: str) -> list[str]:
    return drawing_names([PurePosixPath(path) for path in paths])


def test_names_of_drawings_never_clash_whatever_the_case() -> None:
    assert names_of("1.png", "1.jpg", "1.JPG") == ["1.png", "1.jpg.png", "1.JPG-2.png"]
    assert names_of("A.png", "a.png", "é.png", "e\u0301.png") == [
        "A.png",
        "a.png.png",
        "é.png",
        "e\u0301.png.png",
    ]
    assert names_of("1.jpg", "1.png") == ["1.jpg.png", "1.png"]
    assert names_of("d/1.png", "D/1.png") == ["d/1.png", "D/1.png.png"]
    long = names_of(*(f"{'ä' * 150}{index}.png" for index in range(4)))
    assert len(set(long)) == 4
    assert all(len(name.encode()) <= 255 for name in long)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ('a:b/c*?"<>|.png', "a_b/c______.png"),
        ("con/nul.jpg", "_con/_nul.png"),
        ("COM1.x.png", "_COM1.x.png"),
        ("end. /x .png", "end/x.png"),
        ("line\nbreak.png", "line_break.png"),
        ("back\\..\\slash.png", "back_.._slash.png"),
        ("...", "_.png"),
        ("no suffix", "no suffix.png"),
    ],
)
def test_names_of_drawings_are_safe_on_windows(path: str, expected: str) -> None:
    assert names_of(path) == [expected]


def test_no_drawing_leaves_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x/1.png")
    save(tmp_path / "y/z/2.png")
    monkeypatch.chdir(tmp_path / "y")
    found, *_ = find_images([Path("../x"), Path("z/../../y/z/2.png")], output=Path("o"))
    assert [each.drawing for each in found] == ["x/1.png", "y/z/2.png"]


def test_numbers_in_names_count_as_numbers() -> None:
    assert sorted(["b10.png", "b9.png", "B1.png", "10/a", "9/a"], key=natural_key) == [
        "9/a",
        "10/a",
        "B1.png",
        "b9.png",
        "b10.png",
    ]


def test_a_name_that_is_no_unicode_is_scored_and_written(bench: Bench, tmp_path: Path) -> None:
    image = save(tmp_path / "i/1.png")
    odd = image.with_name(os.fsdecode(b"caf\xe9.png"))
    try:
        image.rename(odd)
    except OSError:
        pytest.skip("this file system has Unicode names only")
    (tmp_path / "i" / os.fsdecode(b"broken\xe9.png")).write_bytes(b"x")
    code, out, _ = bench("predict", tmp_path / "i", *CLIP)
    assert code == 1
    assert "caf\ufffd.png" in out
    broken, good = written(Path("predictions")).images
    assert "broken\ufffd.png" in str(broken.error)
    assert good.overlay == "heatmaps/caf_.png"
    assert drawings(Path("predictions")) == [good.overlay]


# ---- what goes wrong


def test_a_broken_image_does_not_stop_the_others(bench: Bench, tmp_path: Path) -> None:
    good = save(tmp_path / "i/1.png")
    (tmp_path / "i/2.png").write_bytes(good.read_bytes()[:100])
    (tmp_path / "i/3.png").write_bytes(b"")
    save(tmp_path / "i/4.png", seed=4)
    (tmp_path / "i/notes.txt").write_text("no image")
    code, out, err = bench("predict", tmp_path / "i", tmp_path / "i/notes.txt", *CLIP)
    assert code == 1
    assert len(out.splitlines()) == 2
    for name in ("2.png: broken or truncated", "3.png: the file is empty", "notes.txt: not an image"):
        assert f"FAILED {tmp_path / 'i'}{os.sep}{name}" in err
    images = written(Path("predictions")).images
    assert [each.score is None for each in images] == [False, True, True, False, True]
    assert [each.error is None for each in images] == [True, False, False, True, False]
    assert drawings(Path("predictions")) == ["heatmaps/1.png", "heatmaps/4.png"]


def test_where_no_image_can_be_read_there_is_no_scale(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    code, out, _ = bench("predict", tmp_path / "1.png", *CLIP)
    assert (code, out) == (1, "")
    assert written(Path("predictions")).scale is None


def test_a_link_out_of_the_folder_is_told(bench: Bench, tmp_path: Path) -> None:
    save(tmp_path / "i/1.png")
    (tmp_path / "i/2.png").symlink_to(save(tmp_path / "elsewhere.png"))
    code, out, err = bench("predict", tmp_path / "i", *CLIP)
    assert code == 1
    assert len(out.splitlines()) == 1
    assert f"FAILED {tmp_path / 'i/2.png'}: a link" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such.png"], "no-such.png: there is no such file"),
        (["1.png", "empty"], None),
        (["empty"], "no images in empty"),
        (["1.png", "--method", "clop"], "did you mean coop or clip"),
        (["1.png", "--method", "clip,clop"], "unknown method 'clop'"),
        (["1.png", "--method", ","], "--method: say a name"),
        (["1.png", "--set", "clip.temperatur=1"], "did you mean temperature"),
        (["1.png", "--set", "winclip.shots=2"], "this command runs clip, not winclip"),
        (["1.png", "--method", "winclip", "--set", "winclip.shots=2"], "name their folder by --shots DIR"),
        (["1.png", "--class", " "], "--class"),
        (["1.png", "--backbone", "tiny"], "--backbone 'tiny'"),
        (["1.png", "--checkpoint", "c.json"], "learns nothing"),
        (["1.png", "--method", "coop", "--checkpoint", "no-such.json"], "no-such.json"),
        (["1.png", "--output", "1.png"], "lies in --output"),
        (["1.png", "--output", "file"], "--output file"),
        (["1.png", "--output", "file/below"], "--output file/below"),
        (["1.png", "--output", "."], "choose another folder for the output"),
        (["1.png", "--output", "theirs"], "theirs/clip holds files that are not from an earlier call"),
        (["1.png", "--set", "protocol.mask_gt0=true"], "protocol.mask_gt0: has no effect"),
        (["1.png", "--set", "protocol.raw_class_names=true"], "protocol.raw_class_names: has no effect"),
        (["1.png", "--plugin", "no-such.py"], "no such file"),
    ],
)
def test_mistakes_are_answered_with_the_way_out(bench: Bench, arguments: list[str], said: str | None) -> None:
    save(Path("1.png"))
    Path("empty").mkdir()
    Path("links").mkdir()
    Path("links/a.png").symlink_to(Path("1.png").absolute())
    Path("file").write_text("")
    mine = save(Path("theirs/clip/1.png"), seed=7)
    before = mine.read_bytes()
    code, _, err = bench("predict", *CLIP, *arguments)
    assert code == (2 if said else 0)
    assert (said or "") in err
    assert "Traceback" not in err
    assert mine.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_cannot_be_written_is_refused_at_once(bench: Bench) -> None:
    save(Path("1.png"))
    Path("locked").mkdir(mode=0o500)
    code, _, err = bench("predict", "1.png", *CLIP, "--output", "locked")
    assert code == 2
    assert "--output locked: Permission denied" in err


# ---- what is written down


def test_the_json_says_with_what_the_scores_were_made(bench: Bench, tmp_path: Path) -> None:
    settings = ["--set", "clip.temperature=0.01", "--set", "protocol.pos_interp=bicubic"]
    assert bench("predict", save(tmp_path / "1.png"), *CLIP, "--class", "metal nut", *settings)[0] == 0
    content = json.loads(Path("predictions/clip/predictions.json").read_text(encoding="utf-8"))
    identity = backbone_id(parse_backbone("tiny:random"), dtype="float32")
    run = content.pop("run")
    assert {"created", "packages", "git_commit", "device", "python", "machine"} <= run.keys()
    (image,) = content.pop("images")
    assert list(image) == [
        "path", "score", "decision", "map_minimum", "map_maximum", "maximum_at", "size", "orientation", "regions",
        "overlay", "mask", "outline", "map", "error",
    ]  # fmt: skip
    assert image["size"] == [40, 30]
    assert content == {
        "schema_version": 2,
        "method": "clip",
        "method_version": Clip.version,
        "title": "CLIP (temperature=0.01)",
        "options": {"temperature": 0.01},
        "class_name": "metal nut",
        "protocol": Protocol(pos_interp="bicubic").model_dump(),
        "backbone": identity.model_dump(mode="json"),
        "source_sha256": source_sha256(Clip),
        "checkpoint": None,
        "references": None,
        "synthetic": ["backbone"],
        "ranges": {"integers": None, "floats": None},
        "image_size": 112,
        "map_size": 112,
        "threshold": None,
        "scale": {"colours": "viridis", "low": image["map_minimum"], "high": image["map_maximum"]},
    }


def test_the_quirks_of_the_protocol_reach_the_backbone(bench: Bench, tmp_path: Path) -> None:
    """The miniatures run at the size they were made for, where positions are not interpolated; here at another."""
    image = save(tmp_path / "1.png")
    half = plugin(
        tmp_path / "half.py", "def vision(self):", "    return VisionSpec(56, layers=(Layer(self.backbone.blocks),))"
    )
    for mode in ("bilinear", "bicubic"):
        assert bench("predict", image, *half, "--set", f"protocol.pos_interp={mode}", "--output", mode)[0] == 0
    found, other = (written(Path(mode), "mine").images[0].score for mode in ("bicubic", "bilinear"))
    (method,) = load_plugin(tmp_path / "half.py")
    bicubic = load_backbone(parse_backbone("tiny:random"), pos_interp="bicubic")
    expected = score_one(image, method(bicubic, ClipOptions()), bicubic, "object")
    assert found == pytest.approx(expected.score, abs=1e-6)
    assert found != pytest.approx(other, abs=1e-6)
    own = plugin(
        tmp_path / "own.py",
        "def vision(self):",
        "    return VisionSpec(56, layers=(Layer(self.backbone.blocks),))",
        "@classmethod",
        "def backbone_variant(cls, options):",
        "    return BackboneVariant(pos_interp='bicubic')",
    )
    assert bench("predict", image, *own, "--output", "own")[0] == 0
    told = written(Path("own"), "mine")
    assert (told.images[0].score, told.backbone.pos_interp) == (found, "bicubic"), "a method may say it, too"


def test_a_method_without_a_valid_variant_is_refused_in_a_line(bench: Bench, tmp_path: Path) -> None:
    image = save(tmp_path / "1.png")
    mine = plugin(tmp_path / "mine.py", "@classmethod", "def backbone_variant(cls, options):", "    return {}")
    code, _, said = bench("predict", image, *mine)
    assert code == 2
    assert said.endswith("bench: Mine: backbone_variant returns a dict, not a BackboneVariant\n")


def test_the_class_and_the_options_change_the_score(bench: Bench, tmp_path: Path) -> None:
    image = save(tmp_path / "1.png")
    lines = {bench("predict", image, *CLIP, *more)[1] for more in ([], ["--class", "screw"], ["--method", "clip_ac"])}
    assert len(lines) == 3


def test_synthetic_weights_are_said_wherever_there_are_any() -> None:
    assert banner(()) == ""
    both = banner(("backbone", "checkpoint"))
    assert both.startswith("SYNTHETIC: backbone and checkpoint")
    assert "not for real decisions; name real weights with --backbone" in both
    assert banner(("checkpoint",)).endswith("name one learned from real images with --checkpoint")


def test_methods_of_a_plugin_can_be_named(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("predict", save(tmp_path / "1.png"), *plugin(tmp_path / "mine.py"))
    assert code == 0
    assert "Mine, backbone tiny:random-0" in err


def test_output_may_hold_other_things_that_are_not_in_the_way(bench: Bench, tmp_path: Path) -> None:
    Path("predictions").mkdir()
    Path("predictions/notes.txt").write_text("mine")
    for seed in range(2):
        assert bench("predict", save(tmp_path / "1.png", seed=seed), *CLIP)[0] == 0
    assert Path("predictions/notes.txt").read_text() == "mine"


def test_find_images_names_what_lies_in_the_output(tmp_path: Path) -> None:
    save(tmp_path / "o/1.png")
    with pytest.raises(PredictError, match="lies in --output"):
        find_images([tmp_path], output=tmp_path / "o")
    ((found,), problems, _) = find_images([tmp_path], output=tmp_path / "p")
    assert (found.path, found.drawing, problems) == (tmp_path / "o/1.png", "o/1.png", [])


# ---- checkpoints


def test_the_shipped_checkpoint_and_backbone_work_at_once(bench: Bench, tmp_path: Path) -> None:
    code, out, err = bench("predict", save(tmp_path / "1.png"), "--device", "cpu")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "SYNTHETIC" not in out
    assert "SYNTHETIC: backbone and checkpoint" in err
    content = written(Path("predictions"), "anomalyclip")
    assert content.title == "AnomalyCLIP"
    assert content.checkpoint is not None
    assert content.checkpoint.sha256 == read_checkpoint(SHIPPED / "anomalyclip.json").sha256
    assert content.synthetic == ("backbone", "checkpoint")


def test_what_was_learned_is_used(bench: Bench, tmp_path: Path) -> None:
    image, shipped, other = save(tmp_path / "1.png"), SHIPPED / "anomalyclip.json", tmp_path / "other.json"
    tensors = {name: 2 * tensor for name, tensor in read_tensors(shipped).items()}
    write_checkpoint(other, tensors, training=read_checkpoint(shipped).training, origin="trained", source="a test")
    lines = {bench("predict", image, "--device", "cpu", *more)[1] for more in ([], ["--checkpoint", other])}
    assert len(lines) == 2


def test_a_learner_without_a_checkpoint_says_how_to_get_one(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("predict", save(tmp_path / "1.png"), "--method", "coop", *TINY)
    assert code == 2
    assert "bench train --methods coop --backbone tiny:random-0" in err
    assert "made with the backbone mini:v2, not tiny:random-0" in err
    assert not Path("predictions").exists()


def test_find_images_names_what_is_not_read_and_follows_links_on_demand(tmp_path: Path) -> None:
    there, kept = tmp_path / "there", tmp_path / "kept"
    for folder in (there, kept):
        folder.mkdir()
    save(kept / "b.png")
    (there / "b.png").symlink_to(kept / "b.png")
    (there / "c.heic").write_text("x")
    with pytest.raises(PredictError, match=r"(?s)no images in .*link.*--follow-links.*c\.heic .*convert to PNG"):
        find_images([there], output=tmp_path / "o")
    save(there / "a.png")
    found, problems, _ = find_images([there], output=tmp_path / "o")
    assert [each.path.name for each in found] == ["a.png"]
    assert len(problems) == 2
    found, problems, _ = find_images([there], output=tmp_path / "o", follow_links=True)
    assert [each.path.name for each in found] == ["a.png", "b.png"]
    assert len(problems) == 1


def test_masks_and_drawings_below_a_folder_are_not_scored_but_named(tmp_path: Path) -> None:
    top = tmp_path / "bottle"
    names = [
        "test/cut/1.png",
        "ground_truth/cut/1_mask.png",
        "beside/2.png",
        "beside/2_mask.png",
        "p/clip/heatmaps/1.png",
    ]
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        save(top / name)
    (top / "p/clip/predictions.json").write_text("{}")
    found, problems, notes = find_images([top], output=tmp_path / "o")
    assert [each.path.relative_to(top).as_posix() for each in found] == ["beside/2.png", "test/cut/1.png"]
    assert not problems
    assert len(notes) == 3
    assert any("ground_truth/cut/1_mask.png (1 .png): taken for masks; give these files" in note for note in notes)
    masks = [top / "ground_truth/cut/1_mask.png", top / "beside/2_mask.png"]
    assert [each.path for each in find_images(masks, output=tmp_path / "o")[0]] == masks  # as the note advises
