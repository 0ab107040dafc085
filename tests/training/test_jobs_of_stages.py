"""Trainings of several stages as part of a run: what is encoded, kept, told, resumed, watched and refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.running import run_jobs
from support.stages import SIZE, Staged, StagedOptions, draw_pictures
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.settings import Settings
from benchmark.contract import ClassName, Layer, Learner, Stage, TrainingBatch, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import SampleSet
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record
from benchmark.report.charts.training import training_charts
from benchmark.running.held_out import results
from benchmark.running.planning import Auxiliaries, Job, Setting, plan
from benchmark.training.batches import Auxiliary
from benchmark.training.features import auxiliary_features
from benchmark.training.runner import encode_auxiliary, train_method


def named(root: Path, name: str, *, seed: int) -> SampleSet:
    """Draw a folder and read it as if it were the dataset of that name."""
    samples = read_folder(PlainFolder(directory=draw_pictures(root / name, seed=seed)))
    return replace(samples, card=samples.card.model_copy(update={"name": name, "title": name.upper()}))


@pytest.fixture
def mvtec(tmp_path: Path) -> SampleSet:
    return named(tmp_path, "mvtec", seed=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "results", workers=0, cache=Cache(tmp_path / "cache", GB))


@pytest.fixture
def job(mvtec: SampleSet, tmp_path: Path, tiny: Backbone) -> Callable[..., Job]:
    """Plans a cell of a method that is trained on `mvtec`, or on what is given."""
    target = named(tmp_path, "btad", seed=2)

    def make(method: type[Learner] = Staged, auxiliary: SampleSet = mvtec) -> Job:
        known = backbone_id(parse_backbone(tiny.name), dtype="float32").model_copy(update={"synthetic": True})
        setting = Setting(known, Protocol(), Auxiliaries({"mvtec": auxiliary}))
        [made] = plan([(method, method.Options())], [target], setting, seeds=[0]).jobs
        return made

    return make


def go(job: Job, settings: Settings) -> tuple[Record, list[str]]:
    said: list[str] = []
    [record] = run_jobs([job], settings, say=said.append)
    return record, said


def test_a_run_trains_all_stages_and_scores_with_what_they_kept(
    job: Callable[..., Job], settings: Settings, encoded: list[int]
) -> None:
    record, said = go(job(), settings)
    assert record.status == "done", record.error
    assert sum(encoded) == 8 + 2 * 8 + 8  # once for two stages, in each epoch of the other one, and of the target
    assert record.training is not None
    assert (record.training.images, len(record.training.curve)) == (8, 5)
    [told] = [line for line in said if line.startswith("trained")]
    first, last = (f"{record.training.curve[epoch]['mixed: total']:.3f}" for epoch in (1, 2))
    assert told.startswith(f"trained Staged on mvtec: 8 images, mixed: loss {first} → {last}, last: loss ")
    tensors = load_file(job().training.checkpoint(settings.results).with_suffix(".safetensors"))
    assert tensors["memory"].shape == (8, 64)
    [chart] = training_charts([record])
    lines = {line["name"]: line for line in chart.figure["data"]}
    assert list(lines) == ["last: total", "mixed: total", "last: label", "mixed: area", "mixed: memory"]
    assert [line["line"]["width"] for line in lines.values()] == [6, 6, 1.5, 1.5, 1.5]
    assert [value is None for value in lines["mixed: total"]["y"]] == [True, False, False, True, True]


class _Killed(BaseException):
    """Ends a training as Ctrl-C or a kill does."""


@pytest.mark.parametrize("step", [2, 5, 8, 11])  # in the memory, in both epochs on images, on stored features
def test_a_run_that_is_killed_within_an_epoch_goes_on_and_learns_the_same(
    job: Callable[..., Job], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    expected, _ = go(job(), replace(settings, results=tmp_path / "whole"))
    steps: list[int] = []

    def dying(self: Staged, auxiliaries: Sequence[str], original: Any = Staged.stages) -> list[Stage]:
        def once(stage: Stage) -> Callable[[TrainingBatch], Mapping[str, Tensor]]:
            def losses(batch: TrainingBatch) -> Mapping[str, Tensor]:
                steps.append(1)
                if len(steps) == step:
                    raise _Killed
                return stage.losses(batch)

            return losses

        return [replace(stage, losses=once(stage)) for stage in original(self, auxiliaries)]

    with monkeypatch.context() as patch:
        patch.setattr(Staged, "stages", dying)
        with pytest.raises(_Killed):
            go(job(), settings)
    record, said = go(job(), settings)
    assert record.training is not None
    assert expected.training is not None
    assert (record.training.sha256, record.training.curve) == (expected.training.sha256, expected.training.curve)
    places = {5: "epoch 1 of 2 of mixed", 8: "epoch 2 of 2 of mixed", 11: "epoch 1 of 2 of last"}
    assert [line for line in said if line.startswith("resumes")] == (
        [f"resumes Staged on mvtec at {places[step]}"] if step in places else []
    )


class Ranked(Staged):
    """Scores images by the rank of the highest value of their maps in the class."""

    name = title = "ranked"

    @classmethod
    def scores_whole_class(cls, options: StagedOptions) -> bool:
        return True

    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        return highest.argsort().argsort().double()


@pytest.mark.parametrize("method", [Staged, Ranked])
def test_results_on_held_out_images_are_those_of_a_run(
    job: Callable[..., Job], tiny: Backbone, settings: Settings, method: type[Learner]
) -> None:
    planned = job(method)
    told: list[tuple[str, dict[str, float | None]]] = []

    def watch(images: Auxiliary) -> Callable[[str, Learner], None]:
        return lambda epoch, learner: told.append((epoch, results(learner, images)))

    assert planned.training is not None
    train_method(planned.training, tiny, settings, say=print, held_out=(planned.samples, watch))
    assert [epoch for epoch, _ in told] == [
        "epoch 1 of 1 of memory",
        *(f"epoch {epoch} of 2 of {name}" for name in ("mixed", "last") for epoch in (1, 2)),
    ]
    record, said = go(planned, settings)
    assert not any(line.startswith("trained") for line in said)
    for key, value in told[-1][1].items():
        assert value == pytest.approx(record.mean[key], abs=1e-6)


def test_nothing_is_encoded_before_a_training_on_images_alone(
    job: Callable[..., Job], mvtec: SampleSet, tiny: Backbone, settings: Settings, encoded: list[int]
) -> None:
    names: list[Sequence[str]] = []

    class OnImages(Staged):
        name = title = "on_images"

        def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
            names.append(auxiliaries)
            return [replace(stage, optimiser=None) for stage in super().stages(auxiliaries) if stage.augment]

    training = job(OnImages).training
    assert training is not None
    assert encode_auxiliary(mvtec, [training], tiny, settings, say=print) == {}
    assert (encoded, names) == ([], [["mvtec"]])
    bare = replace(mvtec, card=mvtec.card.model_copy(update={"levels": ("image",)}))
    without = replace(training, samples=(bare,))
    [error] = encode_auxiliary(bare, [without], tiny, settings, say=print).values()
    assert "needs masks to train, and MVTEC has none; choose another --auxiliary" in str(error)


class Remembers(Staged):
    """Fits its memory alone, in one epoch."""

    name = title = "remembers"

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        return list(super().stages(auxiliaries)[:1])


def test_features_that_are_read_once_are_not_stored(
    job: Callable[..., Job],
    mvtec: SampleSet,
    tiny: Backbone,
    settings: Settings,
    encoded: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    planned = job(Remembers)
    record, said = go(planned, settings)
    assert record.status == "done", record.error
    assert sum(encoded) == 8 + 8  # each auxiliary image once, and the target
    assert not settings.cache.directory.exists()
    assert "features of MVTEC are read once, and not stored\n" in capsys.readouterr().err
    [told] = [line for line in said if line.startswith("trained")]
    assert told.startswith("trained remembers on mvtec: 8 images, 192 parameters, a memory of memory 8 rows, 2.8 kB, ")
    spec = VisionSpec(SIZE, layers=(Layer(4),))
    features = auxiliary_features(mvtec, tiny, spec, Protocol(), settings.cache, workers=0, skip_broken=False)
    assert planned.training is not None
    tensors = load_file(planned.training.checkpoint(settings.results).with_suffix(".safetensors"))
    assert torch.equal(tensors["memory"], features.batch(range(8)).features.image)
    encoded.clear()
    again, _ = go(planned, replace(settings, force=True))  # now they are stored, with more
    assert again.training is not None
    assert record.training is not None
    assert (again.training.sha256, sum(encoded)) == (record.training.sha256, 8)
    assert "not stored" not in capsys.readouterr().err


def test_features_that_are_read_once_go_on_after_a_kill(
    job: Callable[..., Job], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def dying(self: Staged, batch: TrainingBatch, original: Any = Staged.remember) -> Mapping[str, Tensor]:
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Staged, "remember", dying)
        with pytest.raises(KeyboardInterrupt):
            go(job(Remembers), settings)
    record, _ = go(job(Remembers), settings)
    assert record.status == "done", record.error
    assert not settings.cache.directory.exists()


def test_a_broken_image_of_features_that_are_read_once_is_named_or_left_out(
    job: Callable[..., Job], mvtec: SampleSet, settings: Settings
) -> None:
    broken = mvtec.test[5].path
    broken.write_bytes(broken.read_bytes()[:50])
    again = read_folder(PlainFolder(directory=mvtec.directory))
    planned = job(Remembers, replace(again, card=mvtec.card))
    record, _ = go(planned, settings)
    assert str(broken) in str(record.error)
    assert "(--on-error skip leaves such images out)" in str(record.error)
    record, _ = go(planned, replace(settings, on_error="skip"))
    assert record.training is not None
    assert (record.training.images, record.training.skipped) == (7, (mvtec.test[5].key,))


def test_a_file_that_is_changed_while_features_are_read_once_ends_it(
    job: Callable[..., Job], mvtec: SampleSet, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remember(self: Staged, batch: TrainingBatch, original: Any = Staged.remember) -> Mapping[str, Tensor]:
        path = mvtec.test[0].path
        path.write_bytes(path.read_bytes())
        return original(self, batch)

    monkeypatch.setattr(Staged, "remember", remember)
    record, _ = go(job(Remembers), settings)
    assert f"{mvtec.test[0].path}: the file was changed while the run was at it" in str(record.error)


@pytest.mark.parametrize("where", ["stages", "__init__", "backbone_variant"])
def test_a_method_that_exits_before_it_is_trained_fails_alone(
    job: Callable[..., Job], mvtec: SampleSet, tiny: Backbone, settings: Settings, where: str
) -> None:
    def leave(*_: Any, **named: Any) -> None:
        raise SystemExit(3)

    exits, other = (job(type(name, (Staged,), {"name": name})).training for name in ("exits", "other"))
    assert exits is not None
    assert other is not None
    setattr(exits.method, where, leave)
    failed = encode_auxiliary(mvtec, [exits, other], tiny, settings, say=print)
    assert list(failed) == [exits.id.id]
    assert "SystemExit" in str(failed[exits.id.id])


def test_a_broken_image_of_a_stage_on_images_is_named_or_left_out(
    job: Callable[..., Job], mvtec: SampleSet, settings: Settings
) -> None:
    class OnImages(Staged):
        name = title = "on_images"

        def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
            memory, *rest = super().stages(auxiliaries)
            return [replace(memory, vision=replace(memory.vision, images=True)), *rest[:1]]

    broken = mvtec.test[5].path
    broken.write_bytes(broken.read_bytes()[:50])
    again = read_folder(PlainFolder(directory=mvtec.directory))
    planned = job(OnImages, replace(again, card=mvtec.card))
    record, _ = go(planned, settings)
    assert record.status == "failed"
    assert str(broken) in str(record.error)
    assert "(--on-error skip leaves such images out)" in str(record.error)
    record, _ = go(planned, replace(settings, on_error="skip"))
    assert record.training is not None
    assert (record.training.images, record.training.skipped) == (7, (mvtec.test[5].key,))


def test_a_file_that_is_changed_during_a_training_ends_it(
    job: Callable[..., Job], mvtec: SampleSet, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Staged.separate

    def separate(self: Staged, batch: TrainingBatch) -> Mapping[str, Tensor]:
        path = mvtec.test[0].path
        path.write_bytes(path.read_bytes())
        return original(self, batch)

    monkeypatch.setattr(Staged, "separate", separate)
    record, _ = go(job(), settings)
    assert f"{mvtec.test[0].path}: the file was changed while the run was at it" in str(record.error)
