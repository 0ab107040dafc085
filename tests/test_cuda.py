"""What a GPU that only pretends cannot show: results on a real one. Skipped where there is none."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.suites import draw_classes

from benchmark.api.predictors import PredictedImage, load_method
from benchmark.authoring.check_images import random_images
from benchmark.authoring.conformance import check_method
from benchmark.authoring.findings import render
from benchmark.authoring.method_under_test import MethodUnderTest, difference, map_values
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.spec import VisionSpec
from benchmark.clip.weights import parse_backbone
from benchmark.common.files import write_whole
from benchmark.common.memory import AdaptiveBatch, is_out_of_memory
from benchmark.contract import Learner, Method, Prediction
from benchmark.records.records import Record, read_records
from benchmark.registry import all_methods
from benchmark.training import batches, loop
from methods.adaclip import AdaClip, AdaClipOptions
from methods.winclip import WinClip, WinClipOptions

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

Bench = Callable[..., tuple[int, str, str]]
DEVICE = "cuda"
SUBJECTS = [pytest.param(method, method.Options(), id=name) for name, method in all_methods().items()]
SUBJECTS.append(pytest.param(WinClip, WinClipOptions(shots=2), id="winclip-2-shot"))
SUBJECTS.append(pytest.param(AdaClip, AdaClipOptions(image_score="cls"), id="adaclip-without-fusion"))
LEARNERS = [name for name, method in all_methods().items() if issubclass(method, Learner)]
SHORT = {  # options of the shortest training of a method
    "aa_clip": ("text_epochs=1", "image_epochs=1"),
    "adaclip": ("epochs=1",),
    "anomalyclip": ("epochs=1",),
    "april_gan": ("epochs=1",),
    "coop": ("epochs=1",),
    "faprompt": ("epochs=1",),
    "genclip": ("epochs=1",),
    "mrad_clip": ("epochs=1",),
    "mrad_ft": ("epochs=1",),
}


@pytest.fixture(scope="module")
def on_gpu() -> Backbone:
    """The small backbone of the other tests, on the GPU."""
    return load_backbone(parse_backbone("tiny:random"), device=DEVICE)


@pytest.mark.parametrize(("method", "options"), SUBJECTS)
def test_it_keeps_the_contract(method: type[Method], options: Any, on_gpu: Backbone) -> None:
    findings = check_method(method, options, on_gpu, random_images)
    assert all(finding.passed for finding in findings), render(findings)


def on_cpu(prediction: Prediction) -> Prediction:
    return Prediction(prediction.scores.float().cpu(), map_values(prediction).float().cpu())


def predicted(method: type[Method], options: Any, backbone: Backbone, learned: Mapping[str, Any]) -> Prediction:
    tested = MethodUnderTest(method, options, backbone, random_images)
    built = tested.build()
    if isinstance(built, Learner):
        built.learned.load_state_dict(learned)
    return on_cpu(tested.predict(built, tested.given.class_names))


def learned_on_the_cpu(method: type[Method], options: Any, tiny: Backbone) -> Mapping[str, Any]:
    built = MethodUnderTest(method, options, tiny, random_images).build()
    return built.learned.state_dict() if isinstance(built, Learner) else {}


@pytest.mark.parametrize(("method", "options"), SUBJECTS)
def test_it_scores_as_on_the_cpu(method: type[Method], options: Any, tiny: Backbone, on_gpu: Backbone) -> None:
    learned = learned_on_the_cpu(method, options, tiny)
    there, here = (predicted(method, options, each, learned) for each in (on_gpu, tiny))
    assert difference(here, there, "on the GPU and on the CPU") < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("method", "options"), SUBJECTS)
def test_a_shorter_number_type_gives_finite_scores(
    method: type[Method], options: Any, dtype: str, tiny: Backbone
) -> None:
    backbone = load_backbone(parse_backbone("tiny:random"), device=DEVICE, dtype=dtype)
    predicted(method, options, backbone, learned_on_the_cpu(method, options, tiny))  # refuses what is not finite


@pytest.mark.parametrize("name", ["anomalyclip", "winclip"])
def test_images_of_ones_own_are_scored_as_on_the_cpu(name: str, parts: Path) -> None:
    images = sorted((parts / "abnormal").iterdir())
    there, here = (load_method(name, "metal nut", device=device).predict(images) for device in (DEVICE, "cpu"))
    np.testing.assert_allclose(there.scores, here.scores, atol=1e-5)
    for one, other in zip(there, here, strict=True):
        assert isinstance(one, PredictedImage)
        assert isinstance(other, PredictedImage)
        np.testing.assert_allclose(one.map, other.map, atol=1e-4)


# --- whole runs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class of the mini suite's MVTec AD, and two of its BTAD."""
    return draw_classes(tmp_path_factory.mktemp("suite"), {("mvtec", "grid"), ("btad", "01"), ("btad", "02")})


def options_of(names: Sequence[str]) -> list[str]:
    return [part for name in names for option in SHORT.get(name, ()) for part in ("--set", f"{name}.{option}")]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_training_repeats_bit_by_bit(name: str, data: Path, bench: Bench, tmp_path: Path) -> None:
    states = []
    for place in ("one", "other"):
        asked = ("--methods", name, "--auxiliary", "btad", "--data", data, "--backbone", "mini:v2")
        asked += ("--device", DEVICE, "--results", tmp_path / place, *options_of([name]))
        code, _, err = bench("train", *asked)
        assert code == 0, err
        (file,) = (tmp_path / place / "checkpoints").glob("*.safetensors")
        states.append(load_file(file))
    first, second = states
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def write_and_stop(path: Path, content: bytes) -> None:
    write_whole(path, content)
    raise OSError("interrupted")


@pytest.mark.parametrize("name", ["anomalyclip", "adaclip"])
def test_a_training_that_was_interrupted_learns_the_same(
    name: str, data: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--methods", name, "--auxiliary", "btad", "--data", data, "--backbone", "mini:v2", "--device", DEVICE)
    asked += ("--set", f"{name}.epochs=2")
    assert bench("train", *asked, "--results", tmp_path / "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_whole", write_and_stop)
        assert bench("train", *asked, "--results", tmp_path / "parts")[0] == 1
    code, _, err = bench("train", *asked, "--results", tmp_path / "parts")
    assert code == 0, err
    assert "at epoch 2 of 2" in err
    whole, parts = (load_file(*(tmp_path / each / "checkpoints").glob("*.safetensors")) for each in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert [key for key in whole if not torch.equal(whole[key], parts[key])] == []


@pytest.mark.parametrize("name", ["anomalyclip", "mrad_clip"])
def test_features_that_are_kept_on_the_gpu_teach_what_those_of_files_do(
    name: str, data: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    for share in (0.5, 0.0):
        monkeypatch.setattr(batches, "SHARE", share)
        asked = ("--methods", name, "--auxiliary", "btad", "--data", data, "--backbone", "mini:v2")
        asked += ("--device", DEVICE, "--results", tmp_path / str(share), *options_of([name]))
        code, _, err = bench("train", *asked)
        assert code == 0, err
        states.append(load_file(*(tmp_path / str(share) / "checkpoints").glob("*.safetensors")))
    kept, read = states
    assert [key for key in kept if not torch.equal(kept[key], read[key])] == []


CHOSEN = ("clip", "winclip", "coop", "anomalyclip", "genclip", "mrad_tf", "mrad_clip")
"""Methods with towers of both kinds and trainings that magnify no last digits."""


def computed_on(device: str, data: Path, bench: Bench, folder: Path, *more: str) -> list[Record]:
    asked = ("--methods", ",".join(CHOSEN), "--datasets", "btad", "--data", data, "--backbone", "mini:v2")
    code, _, err = bench("run", *asked, *options_of(CHOSEN), "--device", device, "--results", folder, *more)
    assert code == 0, err
    records, _ = read_records(folder)
    assert [record.error for record in records] == [None] * len(CHOSEN)
    return records


def test_a_run_agrees_with_one_on_the_cpu(data: Path, bench: Bench, tmp_path: Path) -> None:
    computed_on("cpu", data, bench, tmp_path / "cpu")
    records = computed_on(DEVICE, data, bench, tmp_path / "gpu")
    assert {record.run.device for record in records} == {torch.cuda.get_device_name()}
    assert all(record.run.peak_memory for record in records)
    code, out, _ = bench("compare", "--results", tmp_path / "gpu", "--against", tmp_path / "cpu")
    assert code == 0, out


def test_several_processes_share_a_gpu(data: Path, bench: Bench, tmp_path: Path) -> None:
    one = computed_on(DEVICE, data, bench, tmp_path / "one")
    several = computed_on(DEVICE, data, bench, tmp_path / "several", "--processes", "2")
    assert {record.id for record in one} == {record.id for record in several}
    code, out, _ = bench("compare", "--results", tmp_path / "several", "--against", tmp_path / "one")
    assert code == 0, out


# --- memory


def test_a_batch_that_does_not_fit_is_halved(on_gpu: Backbone) -> None:
    said: list[str] = []
    torch.cuda.empty_cache()
    side, whole = 28 * 14, torch.cuda.get_device_properties(0).total_memory
    images, spec = torch.zeros(64, 3, side, side), VisionSpec(image_size=side)

    def work(chunk: Sequence[int]) -> int:
        return on_gpu.encode_images(images[list(chunk)], spec).image.shape[0]

    torch.cuda.reset_peak_memory_stats()
    work(range(64))
    room = (torch.cuda.memory_allocated() + torch.cuda.max_memory_allocated()) / 2
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room / whole)
    try:
        with pytest.raises(torch.OutOfMemoryError) as error:
            work(range(64))
        assert is_out_of_memory(error.value)
        del error
        torch.cuda.empty_cache()
        done = list(AdaptiveBatch(64, said.append).chunks(range(64), work))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert sum(found for _, found in done) == 64
    assert said
    assert said[0].startswith("out of memory with 64 images at a time; going on with 32")
