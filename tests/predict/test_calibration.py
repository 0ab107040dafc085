"""`bench calibrate`: what is kept with a threshold, for which scores it is used, and what is said of few images."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.masks import MaskRule, read_mask, resize_mask
from benchmark.data.ranges import Ranges
from benchmark.data.samples import SampleSet
from benchmark.metrics.pixel import PixelMetrics
from benchmark.predict.calibration import Calibration, read_calibration, report, threshold_of, write_calibration
from benchmark.predict.choosing import PIXEL_RATE, RATE, Scores, calibrate, score_samples
from benchmark.predict.own_images import PredictError
from benchmark.predict.predictions import Predictions, ThresholdUsed
from benchmark.predict.scorer import ReferencesUsed, Scorer, scorer_of
from benchmark.predict.scoring import Scored, score_images
from benchmark.predict.thresholds import outcome
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from methods.clip import Clip, ClipOptions

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--device", "cpu"]
CLIP = ["--method", "clip", *TINY]
METAL = ["--folder-class", "metal nut"]


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is written by default does not go where the tests were started."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def scorer(**different: Any) -> Scorer:
    made = scorer_of(
        Clip,
        ClipOptions(),
        protocol=Protocol(),
        backbone=backbone_id(parse_backbone("tiny:random"), dtype="float32"),
        learned=None,
        references=None,
    ).of("metal nut", Ranges())
    return Scorer(made.id.model_copy(update=different), Clip, ClipOptions())


@pytest.fixture
def samples(parts: Path) -> SampleSet:
    return read_folder(PlainFolder(directory=parts, class_name="metal nut"))


def scores(normal: list[float], anomalous: list[float]) -> Scores:
    return Scores([*normal, *anomalous], [0] * len(normal) + [1] * len(anomalous))


def kept(samples: SampleSet, found: Scores, *, rate: float | None = None, of: Scorer | None = None) -> Calibration:
    return calibrate(found, (of or scorer()).id, samples, rate=rate, run={"created": "now"})


# ---- choosing


def test_the_outcome_and_what_it_hangs_on_are_kept(samples: SampleSet) -> None:
    found = kept(samples, scores([0.1, 0.2, 0.6], [0.4, 0.7, 0.8]))
    assert found.image.value == pytest.approx(0.3)
    assert found.image.outcome.model_dump() == {
        "true_positives": 3, "false_positives": 1, "true_negatives": 2, "false_negatives": 0
    }  # fmt: skip
    assert (found.image.rule, found.image.rate) == ("f1-max", None)
    assert found.data.fingerprint == samples.fingerprint
    assert (found.data.name, found.data.normal, found.data.anomalous) == ("parts", 3, 3)
    assert found.class_name == "metal nut"
    assert any("optimistic" in warning for warning in found.warnings)
    lines = "\n".join(report(found))
    assert "precision 75.0%, recall 100.0%, F1 85.7%, false-alarm rate 33.3%" in lines
    assert "n = 6" in lines


def test_from_normal_images_alone_a_quantile_is_chosen_and_it_is_said_which(samples: SampleSet) -> None:
    found = kept(samples, scores(np.arange(40.0).tolist(), []))
    assert (found.image.value, found.image.rule, found.image.rate) == (37.5, "false-alarms", RATE)
    assert "false-alarms, at most 0.05" in report(found)[0]
    asked = kept(samples, scores(np.arange(40.0).tolist(), []), rate=0.25)
    assert asked.image.value == 29.5


@pytest.mark.parametrize(
    ("found", "rate", "said"),
    [
        (scores([1.0, 2.0, 3.0], [4.0]), 0.01, "0.01 takes at least 100 normal images, and there are 3"),
        (scores([1.0, 2.0, 3.0], []), None, "no anomalous images: the threshold is that of --false-alarms 0.05"),
        (scores([1.0, 2.0, 3.0], []), None, "0.05 takes at least 20 normal images, and there are 3"),
        (scores([2.0, 3.0, 4.0], [1.0, 0.5]), None, "every image is said to be anomalous"),
        (scores([2.0, 3.0, 4.0], [1.0, 0.5]), 0.0, "no anomalous image is found"),
    ],
)
def test_what_a_threshold_cannot_do_is_said(samples: SampleSet, found: Scores, rate: float | None, said: str) -> None:
    made = kept(samples, found, rate=rate)
    assert any(said in warning for warning in made.warnings)
    if rate is not None:
        assert (made.image.outcome.false_alarm_rate or 0.0) <= rate


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (scores([0.5, 0.5], [0.5]), "all 3 images have the same score, 0.5"),
        (scores([], [0.5, 0.6]), "no normal image"),
        (scores([], []), "no normal image"),
    ],
)
def test_where_nothing_divides_the_images_there_is_no_threshold(samples: SampleSet, found: Scores, said: str) -> None:
    with pytest.raises(PredictError, match=said):
        kept(samples, found)


def test_images_are_scored_as_predict_scores_them_and_pixels_counted_as_in_a_run(
    samples: SampleSet, tiny: Backbone
) -> None:
    method, identity = Clip(tiny, ClipOptions()), scorer().id
    found = score_samples(samples, method, tiny, identity, batch_size=4)
    theirs = PixelMetrics()
    paths = [sample.path for sample in samples.test]
    for index, (each,) in enumerate(score_images(paths, [method], tiny, class_name="metal nut", batch_size=1)):
        assert isinstance(each, Scored)
        assert found.scores[index] == pytest.approx(each.score, abs=1e-6)
        sample, mask = samples.test[index], np.zeros((112, 112), dtype=bool)
        if sample.mask is not None:
            mask = resize_mask(read_mask(sample.mask, MaskRule(samples.layout.mask_threshold)), 112)
        theirs.update(each.map, mask)
    assert found.labels == [sample.label for sample in samples.test]
    assert found.pixels.compute()["pixel_f1max"] == pytest.approx(theirs.compute()["pixel_f1max"], abs=1e-4)
    pixel = kept(samples, found).pixel
    assert pixel is not None
    assert (pixel.rule, pixel.images) == ("f1-max", 13)


def test_photos_and_masks_that_are_stored_turned_change_nothing(
    samples: SampleSet, parts: Path, tiny: Backbone
) -> None:
    """Both carry the same EXIF orientation; the method sees the stored pixels."""
    method, identity = Clip(tiny, ClipOptions()), scorer().id
    before = score_samples(samples, method, tiny, identity, batch_size=8)
    for path in parts.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    after = score_samples(read_folder(PlainFolder(directory=parts)), method, tiny, identity, batch_size=8)
    assert after.scores == pytest.approx(before.scores, abs=1e-6)
    assert after.pixels.compute() == pytest.approx(before.pixels.compute(), abs=1e-4)
    assert after.masked == 13


def test_without_masks_the_pixels_of_normal_images_say_from_which_value_on_one_is_anomalous(
    parts: Path, tiny: Backbone
) -> None:
    for path in (parts / "masks").rglob("*.png"):
        path.unlink()
    samples = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    method = Clip(tiny, ClipOptions())
    found = score_samples(samples, method, tiny, scorer().id, batch_size=8)
    pixel = kept(samples, found).pixel
    assert pixel is not None
    assert (pixel.rule, pixel.rate, pixel.images) == ("false-alarms", PIXEL_RATE, 7)
    normal = [sample.path for sample in samples.test if not sample.label]
    maps = [each.map for (each,) in score_images(normal, [method], tiny, class_name="metal nut", batch_size=8)]  # type: ignore[union-attr]
    assert pixel.value == pytest.approx(np.quantile(np.stack(maps), 1 - PIXEL_RATE), rel=1e-3)
    assert (np.stack(maps) >= pixel.value).mean() <= PIXEL_RATE


# ---- the file, and for what it is used


def test_a_calibration_is_read_as_it_was_written(samples: SampleSet, tmp_path: Path) -> None:
    path, found = tmp_path / "c.json", kept(samples, scores([0.1, 0.2], [0.3]))
    assert write_calibration(path, found) == ""
    assert read_calibration(path) == found
    assert threshold_of(found, path, scorer().id).image == found.image.value


def test_another_calibration_is_never_overwritten_and_the_same_with_a_word(samples: SampleSet, tmp_path: Path) -> None:
    path, found = tmp_path / "c.json", kept(samples, scores([0.1, 0.2], [0.3]))
    write_calibration(path, found)
    again = kept(samples, scores([0.5, 0.6], [0.7]))
    assert "threshold 0.25, chosen on parts" in write_calibration(path, again)
    other = kept(samples, scores([0.1, 0.2], [0.3]), of=scorer(class_name="screw"))
    before = path.read_bytes()
    with pytest.raises(PredictError, match='class "metal nut", not "screw"'):
        write_calibration(path, other)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(PredictError, match="not a calibration"):
        write_calibration(tmp_path / "notes.json", other)
    assert path.read_bytes() == before


IDENTITY = scorer().id
BACKBONE = IDENTITY.backbone


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"method": "clip_ac"}, "method clip, not clip_ac"),
        ({"method_version": 9}, f"version of the method {Clip.version}, not 9"),
        ({"options": {"temperature": 0.5}}, "clip.temperature 0.07, not 0.5"),
        ({"class_name": "screw"}, 'class "metal nut", not "screw"'),
        ({"protocol": Protocol(evaluation_size=64)}, "protocol.evaluation_size null, not 64"),
        ({"protocol": Protocol(pos_interp="bicubic")}, 'protocol.pos_interp "bilinear", not "bicubic"'),
        ({"backbone": BACKBONE.model_copy(update={"sha256": "0" * 64})}, f"weights {BACKBONE.sha256}, not {'0' * 64}"),
        ({"backbone": BACKBONE.model_copy(update={"dtype": "bfloat16"})}, "dtype float32, not bfloat16"),
        ({"references": ReferencesUsed(folder="d", files={"1.png": "a"})}, "reference images None, not "),
    ],
)
def test_a_calibration_of_other_scores_is_refused_with_both_values(
    samples: SampleSet, tmp_path: Path, different: dict[str, Any], said: str
) -> None:
    path, found = tmp_path / "c.json", kept(samples, scores([0.1, 0.2], [0.3]))
    write_calibration(path, found)
    with pytest.raises(PredictError) as refused:
        threshold_of(read_calibration(path), path, scorer(**different).id)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "same",
    [
        {"backbone": BACKBONE.model_copy(update={"name": "tiny=elsewhere.pt"})},
        {"title": "another title"},
        {"source_sha256": "edited"},
    ],
)
def test_names_are_no_reason_to_refuse_a_calibration(samples: SampleSet, tmp_path: Path, same: dict[str, Any]) -> None:
    path, found = tmp_path / "c.json", kept(samples, scores([0.1, 0.2], [0.3]))
    write_calibration(path, found)
    assert threshold_of(found, path, scorer(**same).id).image == found.image.value


# ---- the commands


def test_calibrate_then_predict_says_what_each_image_is(bench: Bench, parts: Path) -> None:
    code, out, err = bench("calibrate", "--folder", parts, *METAL, *CLIP)
    assert code == 0
    assert "optimistic" in err
    known = read_calibration(Path("calibration-clip.json"))
    assert f"{known.image.value:.6g}" in out
    code, out, err = bench(
        "predict", parts, *CLIP, "--class", "metal nut", "--threshold", "calibration-clip.json", "--save-masks"
    )
    assert code == 0
    content = Predictions.model_validate_json(Path("predictions/clip/predictions.json").read_bytes())
    images = [each for each in content.images if "masks" not in each.path]
    said = {Path(each.path).name: each.decision for each in images}
    result = known.image.outcome
    assert list(said.values()).count("anomalous") == result.true_positives + result.false_positives
    for line in out.splitlines():
        score, decision, _ = line.split()
        assert decision == ("anomalous" if float(score) >= known.image.value else "normal")
    assert content.threshold is not None
    assert content.threshold.calibration == "calibration-clip.json"
    assert content.threshold.data == "parts"
    assert all(each.regions is not None and each.mask for each in images)


def test_another_class_and_another_method_are_refused_before_anything_is_scored(bench: Bench, parts: Path) -> None:
    assert bench("calibrate", "--folder", parts, *METAL, *CLIP)[0] == 0
    known = ["--threshold", "calibration-clip.json"]
    Path("copy.json").write_bytes(Path("calibration-clip.json").read_bytes())
    for more, said in (
        (["--class", "screw"], 'class "metal nut", not "screw"'),
        (["--class", "metal nut", "--method", "clip_ac"], "it is of clip, and this command runs clip_ac"),
        (["--class", "metal nut", "--set", "clip.temperature=0.2"], "clip.temperature 0.07, not 0.2"),
        (["--class", "metal nut", "--threshold", "copy.json"], "another threshold for clip"),
    ):
        code, _, err = bench("predict", parts / "normal", *CLIP, *known, *more)
        assert code == 2
        assert said in err
        assert not Path("predictions").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--folder DIR, once"),
        (["--false-alarms", "1"], "below 1"),
        (["--false-alarms", "-0.1"], "at least 0"),
        (["--folder", "no-such"], "no-such"),
        (["--folder-class", " "], "--folder-class"),
        (["--folder-class", "nut " * 120], "--folder-class"),
        (["--set", "protocol.mask_gt0=true"], "has no effect here"),
        (["--output", "file/c.json"], "--output file/c.json"),
        (["--method", "clip,winclip"], "unknown method 'clip,winclip'"),
        (["--set", "winclip.shots=2", "--method", "winclip"], "--shots DIR"),
    ],
)
def test_mistakes_are_answered_with_the_way_out(bench: Bench, parts: Path, arguments: list[str], said: str) -> None:
    Path("file").write_text("")
    folder = [] if not arguments or "--folder" in arguments else ["--folder", str(parts)]
    code, _, err = bench("calibrate", *folder, *CLIP, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_a_folder_of_several_classes_is_refused(bench: Bench, parts: Path, tmp_path: Path) -> None:
    for name in ("nut", "bolt"):
        shutil.copytree(parts, tmp_path / "both" / name)
    code, _, err = bench("calibrate", "--folder", tmp_path / "both", *CLIP)
    assert code == 2
    assert "a threshold is for one" in err


@pytest.mark.parametrize("text", ["no-such.json", "0,5", "notes.json"])
def test_what_is_no_threshold_is_answered_with_the_way_out(bench: Bench, parts: Path, text: str) -> None:
    Path("notes.json").write_text("{}")
    code, _, err = bench("predict", parts / "normal", *CLIP, "--threshold", text)
    assert code == 2
    assert f"--threshold {text}" in err
    assert "by `bench calibrate --folder DIR`, or say a number" in err


def test_a_method_that_was_edited_since_is_told(bench: Bench, parts: Path) -> None:
    assert bench("calibrate", "--folder", parts, *CLIP)[0] == 0
    path = Path("calibration-clip.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source_sha256": "0"}))
    code, _, err = bench("predict", parts / "normal/000.png", *CLIP, "--threshold", path)
    assert code == 0
    assert "the files of clip were edited since" in err


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_threshold_is_a_finite_number(bench: Bench, parts: Path, number: str) -> None:
    code, _, err = bench("predict", parts / "normal", *CLIP, f"--threshold={number}")
    assert code == 2
    assert "a finite number" in err


def test_a_number_divides_too_and_masks_need_more(bench: Bench, parts: Path) -> None:
    code, out, err = bench("predict", parts / "normal", *CLIP, "--threshold", "0.5")
    assert code == 0
    decisions = [line.split()[1] for line in out.splitlines()]
    assert decisions == ["anomalous" if float(line.split()[0]) >= 0.5 else "normal" for line in out.splitlines()]
    content = json.loads(Path("predictions/clip/predictions.json").read_text())
    assert content["threshold"]["rule"] == "given"
    code, _, err = bench("predict", parts / "normal", *CLIP, "--threshold", "0.5", "--save-masks")
    assert code == 2
    assert "`bench calibrate` finds it" in err


def test_an_image_that_cannot_be_read_is_left_out_and_told(bench: Bench, parts: Path) -> None:
    (parts / "normal/003.png").write_bytes(b"")
    (parts / "masks/abnormal/008.png").write_bytes(b"")
    code, _, err = bench("calibrate", "--folder", parts, *METAL, *CLIP)
    assert code == 1
    assert "003.png: the file is empty" in err
    known = read_calibration(Path("calibration-clip.json"))
    assert (known.data.normal, known.data.anomalous, known.data.left_out) == (6, 6, 1)
    assert known.pixel is not None
    assert known.pixel.images == 11


def test_other_weights_are_refused(bench: Bench, parts: Path) -> None:
    assert bench("calibrate", "--folder", parts, *CLIP)[0] == 0
    other = ["--backbone", "tiny:random-1", "--threshold", "calibration-clip.json"]
    code, _, err = bench("predict", parts / "normal", *CLIP, *other)
    assert code == 2
    assert "weights " in err


def test_calibrate_does_not_write_over_another_file(bench: Bench, parts: Path) -> None:
    Path("mine.json").write_text("[]")
    code, _, err = bench("calibrate", "--folder", parts, *CLIP, "--output", "mine.json")
    assert code == 2
    assert "mine.json is there already" in err
    assert Path("mine.json").read_text() == "[]"


def test_a_score_equal_to_the_threshold_is_anomalous() -> None:
    threshold = ThresholdUsed(image=0.5, rule="given")
    assert [threshold.decide(score) for score in (np.nextafter(0.5, 0), 0.5)] == ["normal", "anomalous"]
    assert outcome([np.nextafter(0.5, 0), 0.5], [0, 1], 0.5).f1 == 1.0
