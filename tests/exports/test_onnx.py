"""ONNX files: scores and maps of methods against `bench predict`, what is refused, and what a file says of itself."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from benchmark.api.scorers import Found, Scoring, find_scorers
from benchmark.cli.settings import parse_settings
from benchmark.clip.backbone import Backbone
from benchmark.clip.class_names import ClassName
from benchmark.contract import Features, Method, Prediction, TopOfMap, VisionSpec
from benchmark.data.ranges import Ranges
from benchmark.exports import onnx_file
from benchmark.exports.onnx_file import Exported, export_onnx, metadata, write_predictor
from benchmark.exports.onnx_graph import ExportError, FrozenPredictor
from benchmark.predict.scoring import Scored, score_images
from benchmark.registry import all_methods
from benchmark.training.towers import tower_of
from methods.adaclip import AdaClip, AdaClipOptions

Bench = Callable[..., tuple[int, str, str]]
CLASS = "metal nut"
ON_CPU = Scoring(device="cpu")
ONE_BY_ONE = ("adaclip", "faprompt", "genclip", "mrad_clip")
"""Methods whose texts are made of each image."""
SETTINGS = {"aa_clip": ["aa_clip.class_minmax=false"]}
"""What methods are exported with that are refused with their defaults."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five images of the side of the mini CLIP, so that nothing is resized."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(7)
    rows, columns = np.mgrid[:112, :112]
    for place in range(5):
        pixels = rng.integers(0, 60, (112, 112, 3)) + (90 + 20 * np.sin(rows / (3 + place)))[..., None]
        pixels[np.hypot(rows - 20 * place, columns - 60) < 9] += 70
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{place}.png")
    return sorted(folder.iterdir())


def read(paths: Sequence[Path]) -> np.ndarray[Any, Any]:
    return np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])


def find(method: str, scoring: Scoring = ON_CPU, settings: Sequence[str] = ()) -> Found:
    """Find a method for the class, as `bench export onnx` does."""
    return find_scorers([method], parse_settings(settings), scoring).looking_at([], CLASS)


def export(path: Path, method: str, settings: Sequence[str], scoring: Scoring, photos: Sequence[Path]) -> Exported:
    """Export a method, and compare the file with `bench predict` on photos, several at a time where it takes them."""
    known = find(method, scoring, settings)
    (scorer,), backbone = known.scorers, known.load()
    done = export_onnx(path, scorer, backbone)
    ready = scorer.build(backbone)
    wanted = [
        scored
        for (scored,) in score_images(
            photos,
            [ready],
            backbone,
            class_name=CLASS,
            batch_size=2,
            evaluation_size=known.protocol.evaluation_size,
            ranges=Ranges(),
        )
    ]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 2, 5) if done.any_batch else (1,):
        for begin in range(0, len(photos) - count + 1, count):
            scores, maps = session.run(["score", "map"], {"pixels": read(photos[begin : begin + count])})
            assert scores.shape == (count,)
            assert maps.shape == (count, done.map_side, done.map_side)
            for each, score, map_ in zip(wanted[begin : begin + count], scores, maps, strict=True):
                assert isinstance(each, Scored)
                assert score == pytest.approx(each.score, abs=1e-4)
                np.testing.assert_allclose(map_, each.map, rtol=0, atol=1e-4)
    assert len({each.map.mean() for each in wanted if isinstance(each, Scored)}) > 1
    return done


@pytest.mark.long
@pytest.mark.parametrize("method", [name for name in all_methods() if name != "adaclip"])
def test_a_file_gives_what_predict_gives(method: str, photos: list[Path], tmp_path: Path) -> None:
    done = export(tmp_path / "model.onnx", method, SETTINGS.get(method, []), ON_CPU, photos)
    assert done.any_batch == (method not in ONE_BY_ONE)
    assert max(done.score, done.map) <= 1e-4


@pytest.mark.long
def test_reference_images_and_the_size_of_maps_are_part_of_a_file(photos: list[Path], tmp_path: Path) -> None:
    scoring, settings = Scoring(device="cpu", shots=photos[0].parent), ["protocol.evaluation_size=80"]
    done = export(tmp_path / "model.onnx", "winclip", settings, scoring, photos)
    assert done.map_side == 80


@pytest.fixture
def own(tiny: Backbone) -> Callable[..., FrozenPredictor]:
    """A method that is defined in a test, as a predictor. It gets the means of 4 × 4 squares of the images' red."""

    def make(predict: Callable[[torch.Tensor, int], Prediction], *, smoothing: float = 0.0) -> FrozenPredictor:
        class Own(Method):
            name, title, paper = "own", "Own", "Nobody, 2025"

            def vision(self) -> VisionSpec:
                return VisionSpec(self.backbone.image_size, images=True, encoded=False)

            def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
                assert features.images is not None
                return predict(F.adaptive_avg_pool2d(features.images[:, 0], 4), len(class_names))

        Own.smoothing = smoothing
        return FrozenPredictor(Own(tiny, Own.Options()), tiny, ClassName(CLASS))

    return make


def test_what_is_added_of_the_top_of_smoothed_maps_is_in_the_graph(
    own: Callable[..., FrozenPredictor], tmp_path: Path
) -> None:
    predictor = own(lambda seen, _: Prediction(seen[:, 0, 0], seen, TopOfMap(0.3, 0.05)), smoothing=3.0)
    done = write_predictor(tmp_path / "model.onnx", predictor, {})
    assert done.any_batch
    assert done.score < 1e-5


@pytest.mark.long
def test_texts_of_a_class_are_constants_and_no_tower_for_text_is_in_the_file(tmp_path: Path) -> None:
    """CoOp encodes its learned prompts whenever it predicts."""
    known = find("coop")
    backbone = known.load()
    export_onnx(tmp_path / "model.onnx", known.scorers[0], backbone)
    vision = sum(each.numel() * 4 for each in backbone.model.visual.parameters())
    assert (tmp_path / "model.onnx").stat().st_size < 1.1 * vision


@pytest.mark.slow
def test_the_command_writes_what_bench_predict_gives(bench: Bench, tiny: Backbone, tmp_path: Path) -> None:
    path, size, options = tmp_path / "nut.onnx", tiny.image_size, ("--method", "clip", "--class", CLASS)
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    for place, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"photos/{place}.png")
    options = (*options, "--backbone", "tiny:random")
    assert bench("predict", tmp_path / "photos", *options, "--save-maps", "npy", "--output", tmp_path / "o")[0] == 0
    wanted = json.loads((tmp_path / "o/clip/predictions.json").read_text())["images"]

    code, out, err = bench("export", "onnx", path, *options)
    assert code == 0, err
    assert "largest difference from torch on 4 images" in out
    assert "SYNTHETIC" in err
    assert not list(tmp_path.glob(".onnx*"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores, maps = session.run(["score", "map"], {"pixels": pixels.transpose(0, 3, 1, 2)})
    assert scores == pytest.approx([each["score"] for each in wanted], abs=1e-4)
    for found, each in zip(maps, wanted, strict=True):
        np.testing.assert_allclose(found, np.load(tmp_path / "o/clip" / each["map"]), rtol=0, atol=1e-4)

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    told = {each.key: each.value for each in model.metadata_props}
    assert (told["method"], told["class_name"], told["checkpoint"]) == ("clip", CLASS, "null")
    assert json.loads(told["backbone"])["sha256"] == tiny.sha256
    assert json.loads(told["synthetic"]) == ["backbone"]
    assert "not for real decisions" in told["notice"]
    assert json.loads(told["options"]) == {"temperature": 0.07}
    assert {"protocol", "preprocess", "image_size", "batch", "producer"} <= told.keys()


def test_a_file_tells_no_path_and_no_name_of_reference_images(
    own: Callable[..., FrozenPredictor], photos: list[Path], tmp_path: Path
) -> None:
    """A method is shown images; what is written is a smaller graph with what the file would say of that method."""
    folder = tmp_path / "secret"
    shutil.copytree(photos[0].parent, folder / "shots")
    for each in (folder / "shots").iterdir():
        each.rename(each.with_name(f"secret-{each.name}"))
    (scorer,) = find("winclip", Scoring(device="cpu", backbone="tiny:random", shots=folder / "shots")).scorers
    predictor = own(lambda seen, _: Prediction(seen[:, 0, 0], seen))
    write_predictor(folder / "model.onnx", predictor, metadata(scorer.id, predictor))

    content = (folder / "model.onnx").read_bytes().lower()
    code = Path(onnx_file.__file__).parents[2]
    for private in ("secret", tmp_path, code, Path(torch.__file__).parent):
        assert str(private).lower().encode() not in content, private
    told = {each.key: each.value for each in onnx.load(folder / "model.onnx").metadata_props}
    digests = sorted(hashlib.sha256(each.read_bytes()).hexdigest() for each in photos)
    sha256 = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    assert json.loads(told["references"]) == {"images": len(photos), "sha256": sha256}


def test_a_file_that_differs_from_torch_is_not_left(
    own: Callable[..., FrozenPredictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = onnx_file.by_torch
    monkeypatch.setattr(onnx_file, "by_torch", lambda *given: tuple(each + 2e-4 for each in truth(*given)))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an earlier one")
    with pytest.raises(ExportError, match=r"differs from torch by 0\.0002 in scores"):
        write_predictor(path, own(lambda seen, _: Prediction(seen[:, 0, 0], seen)), {})
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"an earlier one"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(
    own: Callable[..., FrozenPredictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    truth = onnx_file.by_torch
    monkeypatch.setattr(onnx_file, "by_torch", lambda *given: (truth(*given)[0] + np.float32(value), truth(*given)[1]))
    predictor = own(lambda seen, _: Prediction(seen[:, 0, 0], seen))
    with pytest.raises(ExportError, match=str(value)):
        write_predictor(tmp_path / "model.onnx", predictor, {})
    assert not list(tmp_path.iterdir())


def test_a_text_of_the_first_image_does_not_serve_the_batch(
    own: Callable[..., FrozenPredictor], tmp_path: Path
) -> None:
    """A method that makes a text of the image for each class name gets one name for a batch."""

    def predict(seen: torch.Tensor, names: int) -> Prediction:
        text = torch.stack([seen[place] for place in range(names)])
        return Prediction((seen * text).sum(dim=(1, 2)), seen)

    assert not write_predictor(tmp_path / "model.onnx", own(predict), {}).any_batch


def test_a_method_that_leaves_torch_is_refused(own: Callable[..., FrozenPredictor], tmp_path: Path) -> None:
    predictor = own(lambda seen, _: Prediction(torch.from_numpy(seen.numpy()[:, 0, 0]), seen))
    with pytest.raises(ExportError, match="Own cannot be exported: torch cannot follow"):
        write_predictor(tmp_path / "model.onnx", predictor, {})
    assert not list(tmp_path.iterdir())


def test_a_method_that_fails_is_told_in_one_line(own: Callable[..., FrozenPredictor], tmp_path: Path) -> None:
    predictor = own(lambda seen, names: Prediction(seen[:, 0, 0], seen[names // 0]))
    with pytest.raises(ExportError, match="Own cannot be exported: its `predict` fails on an image: ZeroDivisionError"):
        write_predictor(tmp_path / "model.onnx", predictor, {})


def test_a_method_that_branches_on_values_is_told_without_a_dump_of_its_graph(
    own: Callable[..., FrozenPredictor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = own(lambda seen, _: Prediction(seen[:, 0, 0], seen * (2 if seen.mean() > 0 else 1)))
    with pytest.raises(ExportError, match="Own cannot be exported: torch cannot follow what it computes"):
        write_predictor(tmp_path / "model.onnx", predictor, {})
    assert "def forward" not in capsys.readouterr().err


@pytest.mark.parametrize("share", [5e-5, 2e-4])
def test_large_scores_may_differ_by_a_share_of_the_largest(
    own: Callable[..., FrozenPredictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Scores of a million have no digits that are worth 1e-4."""
    truth = onnx_file.by_torch
    monkeypatch.setattr(onnx_file, "by_torch", lambda *given: tuple(each * (1 + share) for each in truth(*given)))
    predictor = own(lambda seen, _: Prediction(1e6 * seen[:, 0, 0], 1e6 * seen))
    if share > onnx_file.TOLERANCE:
        with pytest.raises(ExportError, match="the exported graph differs from torch"):
            write_predictor(tmp_path / "model.onnx", predictor, {})
    else:
        assert write_predictor(tmp_path / "model.onnx", predictor, {}).any_batch


def test_adaclip_is_refused_for_its_clusters(tiny: Backbone, tmp_path: Path) -> None:
    tower = tower_of(AdaClip, tiny, AdaClipOptions())
    predictor = FrozenPredictor(AdaClip(tower, AdaClipOptions()), tower, ClassName(CLASS))
    with pytest.raises(ExportError, match="AdaCLIP cannot be exported: its image score clusters patches by K-means"):
        write_predictor(tmp_path / "model.onnx", predictor, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_adaclip_is_exported_without_clusters(tmp_path: Path) -> None:
    known = find("adaclip")
    (scorer,) = known.scorers
    scorer = dataclasses.replace(scorer, options=dataclasses.replace(scorer.options, image_score="cls"))
    assert not export_onnx(tmp_path / "model.onnx", scorer, known.load()).any_batch


def test_scores_of_a_whole_class_are_refused(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("export", "onnx", tmp_path / "model.onnx", "--method", "aa_clip")
    assert code == 2
    assert "say --set aa_clip.class_minmax=false" in err


def test_the_name_of_a_file_and_missing_packages_are_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = bench("export", "onnx", tmp_path / "model.pt", "--method", "clip")
    assert (code, ".onnx" in err) == (2, True)
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "not_there"))
    code, _, err = bench("export", "onnx", tmp_path / "model.onnx", "--method", "clip")
    assert (code, "extra `onnx`, of which not_there is not installed" in err) == (2, True)
