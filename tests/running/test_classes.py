"""Classes as the unit on disk: each is kept as it ends, none is scored twice, and each says where it was scored."""

import re
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.faulty_runs import until
from support.running import loadings, run_jobs

from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.settings import Settings
from benchmark.contract import Features, Prediction, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.loading import Loaded
from benchmark.data.samples import SampleSet
from benchmark.metrics.per_image import ClassImages, read_per_image
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.classes import ClassResultError, class_folder, class_path, read_class, write_class
from benchmark.records.provenance import code_key
from benchmark.records.records import Record, Run, combined, path_of, per_image_path
from benchmark.registry import load_plugin, source_sha256
from benchmark.running.accumulator import ClassAccumulator
from benchmark.running.planning import Job, Setting, plan
from benchmark.running.tasks import make_tasks
from benchmark.running.worker import perform
from methods.clip import Clip, ClipAC, ClipOptions


def several_classes(parts: Path) -> SampleSet:
    """The plain folder as three classes, of 6, of 6 images and of one image alone, with kinds of defect."""
    data = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    names = ["a" if index % 2 else "b" for index in range(len(data.samples))]
    names[0] = "c"
    card = data.card.model_copy(
        update={"classes": tuple(data.card.classes[0].model_copy(update={"name": n}) for n in "abc")}
    )
    kinds = ["crack" if index % 3 else "hole" for index in range(len(data.samples))]
    samples = [
        replace(s, class_name=name, defect=kind if s.label else "")
        for s, name, kind in zip(data.samples, names, kinds, strict=True)
    ]
    return replace(data, card=card, samples=tuple(sorted(samples, key=lambda s: (s.class_name, s.key))))


def jobs_of(data: SampleSet) -> list[Job]:
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    return plan([(Clip, ClipOptions()), (ClipAC, ClipOptions())], [data], setting, seeds=[0]).jobs


def go(jobs: Sequence[Job], settings: Settings) -> tuple[list[Record], list[str]]:
    said: list[str] = []
    return run_jobs(jobs, settings, say=said.append), said


def images_of(record: Record, results: Path) -> dict[str, ClassImages]:
    assert record.images_sha256 is not None
    return read_per_image(per_image_path(results, record.id), record.images_sha256)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images that go through the vision tower."""
    counts: list[int] = []
    original = Backbone.encode_images

    def counting(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        counts.append(len(images))
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", counting)
    return counts


def test_results_per_image_know_the_pieces_of_a_photograph(parts: Path) -> None:
    sample = read_folder(PlainFolder(directory=parts, class_name="metal nut")).test[0]
    accumulator = ClassAccumulator()
    for index in range(2):
        piece = replace(sample, key=f"{sample.key}#{index}", piece=(index, 2))
        accumulator.add(Loaded(piece), 0.5, np.zeros((2, 2), np.float32), None)
    images = accumulator.per_image()
    assert images is not None
    assert images.photographs is not None
    assert images.photographs.tolist() == [0, 0]


@pytest.mark.parametrize("task_images", [1, 6, 12])
@pytest.mark.parametrize("batch_size", [1, 3, 5, 8])
def test_how_classes_are_bundled_changes_no_number(
    parts: Path, tmp_path: Path, encoded: list[int], task_images: int, batch_size: int
) -> None:
    data = several_classes(parts)
    (parts / "abnormal/009.png").write_bytes(b"")
    jobs = jobs_of(data)
    settings = Settings(tmp_path / "whole", batch_size=batch_size, workers=0, on_error="skip")
    whole, _ = go(jobs, settings)
    encoded.clear()
    divided, said = go(jobs, replace(settings, results=tmp_path / "divided", task_images=task_images))
    assert sum(encoded) == len(data.test) - 1
    assert sum(len(result.skipped) for result in divided[0].classes.values()) == 1
    assert sum(line.startswith("done") for line in said) == len(jobs)
    for one, other in zip(whole, divided, strict=True):
        assert list(one.classes) == list(other.classes)
        assert [list(result.defects) for result in one.classes.values()] == [["crack", "hole"], ["crack"], ["hole"]]
        for name, result in one.classes.items():
            where = {"run": None}
            assert result.model_copy(update=where) == other.classes[name].model_copy(update=where)
        assert one.image_size == other.image_size
        assert one.mean == other.mean
        assert one.images_sha256 == other.images_sha256
        mine, theirs = images_of(one, tmp_path / "whole"), images_of(other, tmp_path / "divided")
        assert list(mine) == list(theirs)
        for name, images in mine.items():
            assert np.array_equal(images.scores, theirs[name].scores)
            assert np.array_equal(images.maps, theirs[name].maps)
    assert not list((tmp_path / "divided/.classes").iterdir())


@pytest.mark.parametrize(("force", "left"), [(False, 13 - 6), (True, 13)])
def test_a_run_that_was_cut_off_goes_on_after_its_last_class(
    parts: Path, tmp_path: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch, force: bool, left: int
) -> None:
    data = several_classes(parts)
    jobs = jobs_of(data)
    settings = Settings(tmp_path, batch_size=2, workers=0)
    counting = Backbone.encode_images

    def cut_off(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        if sum(encoded) >= 8:
            raise KeyboardInterrupt
        return counting(self, images, spec)

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "encode_images", cut_off)
        with pytest.raises(KeyboardInterrupt):
            go(jobs, settings)
    assert not path_of(tmp_path, jobs[0].cell.id).exists()
    assert len(list(class_folder(tmp_path, jobs[0].cell.id).glob("*.json"))) == 1
    encoded.clear()
    again, said = go(jobs, replace(settings, force=force))
    assert sum(encoded) == left
    resumed = [line for line in said if line.startswith("resumes")]
    assert resumed == ([] if force else [f"resumes {job.name}: 1 of 3 classes are there" for job in jobs])
    whole, _ = go(jobs, Settings(tmp_path / "whole", batch_size=2, workers=0))
    assert [record.mean for record in again] == [record.mean for record in whole]
    assert not list((tmp_path / ".classes").iterdir())


def test_a_record_is_put_together_where_a_run_was_killed_before_that(
    parts: Path, tmp_path: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(several_classes(parts))
    settings = Settings(tmp_path, workers=0)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.running.recording.write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            go(jobs, settings)
    encoded.clear()
    records, said = go(jobs, settings)
    assert {record.status for record in records} == {"done"}
    assert encoded == []
    assert sum(line.startswith("done") for line in said) == len(jobs)


def test_a_damaged_class_is_scored_again(parts: Path, tmp_path: Path) -> None:
    jobs = jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1]
    path = class_path(tmp_path, jobs[0].cell.id, 0, code_key(source_sha256(Clip)))
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"class_name": "half of')
    with pytest.raises(ClassResultError, match=re.escape(str(path))):
        read_class(path)
    (record,), _ = go(jobs, Settings(tmp_path, batch_size=2, workers=0))
    assert record.status == "done"


def test_a_class_of_an_edited_method_is_scored_again(parts: Path, tmp_path: Path, encoded: list[int]) -> None:
    jobs = jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1]
    settings = Settings(tmp_path, workers=0)
    path = class_path(tmp_path, jobs[0].cell.id, 0, code_key("0" * 64))
    assert path != class_path(tmp_path, jobs[0].cell.id, 0, code_key(source_sha256(Clip)))
    path.parent.mkdir(parents=True)
    path.write_text("of another source")
    go(jobs, settings)
    assert sum(encoded) == 13


def test_a_method_that_fails_in_one_class_fails_alone_and_keeps_the_others(
    parts: Path, tmp_path: Path, encoded: list[int]
) -> None:
    class FailsLate(Clip):
        name, title = "fails_late", "Fails late"
        broken = True
        seen = 0

        def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
            type(self).seen += len(class_names)
            if type(self).broken and type(self).seen > 6:
                raise RuntimeError("out of luck")
            return super().predict(features, class_names)

    data = several_classes(parts)
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    jobs = plan([(FailsLate, ClipOptions()), (Clip, ClipOptions())], [data], setting, seeds=[0]).jobs
    settings = Settings(tmp_path, batch_size=2, workers=0, task_images=1)
    (failed, done), said = go(jobs, settings)
    assert (failed.status, failed.error) == ("failed", "RuntimeError: out of luck")
    assert done.status == "done"
    assert sum(line.startswith("FAILED") for line in said) == 1
    encoded.clear()
    FailsLate.broken = False
    (mended, _), _ = go(jobs, settings)
    assert mended.status == "done"
    assert sum(encoded) == 13 - 6  # the first class was kept


def test_force_scores_every_class_anew(parts: Path, tmp_path: Path, encoded: list[int]) -> None:
    jobs = jobs_of(several_classes(parts))
    settings = Settings(tmp_path, batch_size=2, workers=0, task_images=1)
    go(jobs, settings)
    go(jobs, replace(settings, force=True))
    assert sum(encoded) == 26


def test_a_class_with_skipped_images_counts_only_where_images_may_be_skipped(parts: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path, batch_size=2, workers=0, on_error="skip")
    content = (parts / "abnormal/009.png").read_bytes()
    (parts / "abnormal/009.png").write_bytes(b"")
    jobs = jobs_of(several_classes(parts))[:1]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.running.recording.write_record", stop)
        with pytest.raises(KeyboardInterrupt):
            go(jobs, settings)
    (failed,), _ = go(jobs, replace(settings, on_error="fail"))
    assert failed.status == "failed"
    assert "009.png" in str(failed.error)
    (parts / "abnormal/009.png").write_bytes(content)
    (whole,), _ = go(jobs_of(several_classes(parts))[:1], replace(settings, on_error="fail"))
    assert whole.status == "done"
    assert not any(result.skipped for result in whole.classes.values())


def test_force_uses_what_another_process_has_just_scored(parts: Path, tmp_path: Path, encoded: list[int]) -> None:
    jobs = jobs_of(several_classes(parts))[:1]
    settings = Settings(tmp_path, workers=0, task_images=1)
    (record,), _ = go(jobs, settings)
    (name, result), *_ = record.classes.items()
    path = class_path(tmp_path, jobs[0].cell.id, 0, code_key(source_sha256(Clip)))
    encoded.clear()
    before = path_of(tmp_path, record.id).stat().st_mtime_ns
    known = record.parameters
    assert known is not None
    with settings.lock(f"{jobs[0].cell.id}--0"):  # as the other process does while it is at this class
        write_class(path, name, result, images_of(record, tmp_path)[name], image_size=112, parameters=known)
        thread = threading.Thread(target=lambda: go(jobs, replace(settings, force=True)))
        thread.start()
        until(lambda: not path.exists())  # it is part of the new record
    thread.join()
    assert path_of(tmp_path, record.id).stat().st_mtime_ns > before
    assert sum(encoded) == 13 - (result.normal + result.anomalous)


def hooked(monkeypatch: pytest.MonkeyPatch, after: int, then: Callable[[], None]) -> None:
    """Call something once, in the pass that has encoded so many images."""
    counting, seen, called = Backbone.encode_images, list[int](), list[bool]()

    def encode_images(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        if sum(seen) >= after and not called:
            called.append(True)
            then()
        seen.append(len(images))
        return counting(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", encode_images)


def test_a_cell_whose_classes_are_removed_meanwhile_fails_and_says_so(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(several_classes(parts))[:1]
    hooked(monkeypatch, 8, lambda: shutil.rmtree(class_folder(tmp_path, jobs[0].cell.id)))
    (record,), said = go(jobs, Settings(tmp_path, batch_size=2, workers=0))
    assert (record.status, len(said)) == ("failed", 1)
    assert "removed by another run" in str(record.error)
    (again,), _ = go(jobs, Settings(tmp_path, batch_size=2, workers=0))
    assert again.status == "done"


def test_two_forced_runs_give_a_new_record(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(several_classes(parts))[:1]
    settings = Settings(tmp_path, batch_size=2, workers=0)
    go(jobs, settings)
    before = path_of(tmp_path, jobs[0].cell.id).stat().st_mtime_ns
    forced, said = replace(settings, force=True), list[str]()
    second = threading.Thread(target=lambda: run_jobs(jobs, forced, say=said.append))

    def start() -> None:
        second.start()
        until(lambda: said)  # it waits for this process

    hooked(monkeypatch, 8, start)
    (record,), _ = go(jobs, forced)
    second.join()
    assert said[0].startswith("waiting for another process")
    assert record.status == "done"
    assert path_of(tmp_path, record.id).stat().st_mtime_ns > before
    assert not list((tmp_path / ".classes").iterdir())


def test_a_method_that_was_edited_while_it_ran_is_the_one_that_was_loaded(
    parts: Path, tmp_path: Path, no_plugins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from methods.clip import Clip\n\nclass Mine(Clip):\n    name, title = 'mine', 'Mine'\n")
    (method,) = load_plugin(file)
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    jobs = plan([(method, ClipOptions())], [several_classes(parts)], setting, seeds=[0]).jobs
    loaded = source_sha256(method)
    hooked(monkeypatch, 8, lambda: file.write_text(file.read_text() + "# edited\n"))
    (record,), _ = go(jobs, Settings(tmp_path, batch_size=2, workers=0))
    assert record.status == "done"
    assert record.run.source_sha256 == loaded


def test_what_is_done_is_not_scored_again_by_a_task_that_comes_late(
    parts: Path, tmp_path: Path, encoded: list[int]
) -> None:
    jobs = jobs_of(several_classes(parts))
    settings = Settings(tmp_path, workers=0)
    for task in make_tasks(jobs, [], settings, loadings(jobs)) * 2:
        assert perform(task, say=print).failed == {}
    assert sum(encoded) == 13


def test_a_damaged_file_of_results_per_image_is_made_again(parts: Path, tmp_path: Path, encoded: list[int]) -> None:
    jobs = jobs_of(several_classes(parts))[:1]
    settings = Settings(tmp_path, workers=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.running.worker.write_if_whole", lambda job, settings: None)
        go(jobs, settings)  # every class is there, and no record
    for path in class_folder(tmp_path, jobs[0].cell.id).glob("0-*.npz"):
        path.write_bytes(path.read_bytes()[:-9])
    encoded.clear()
    (record,), _ = go(jobs, settings)
    assert record.status == "done"
    first = next(iter(record.classes.values()))
    assert sum(encoded) == first.normal + first.anomalous


# --- methods that misbehave ---


class Exits(Clip):
    name, title = "exits", "Exits"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        sys.exit(0)


class Mutters(Clip):
    name, title = "mutters", "Mutters"
    calls = 0

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        type(self).calls += 1
        raise ValueError("bytes that are no text: \udc80")


class Unreadable(Clip):
    name, title = "unreadable", "Unreadable"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        class OddError(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        raise OddError


def test_methods_that_misbehave_fail_alone(parts: Path, tmp_path: Path) -> None:
    chosen = [(method, ClipOptions()) for method in (Exits, Mutters, Clip, Unreadable)]
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    jobs = plan(chosen, [several_classes(parts)], setting, seeds=[0]).jobs
    (exits, mutters, clip, unreadable), _ = go(jobs, Settings(tmp_path, workers=0))
    assert exits.error == "RuntimeError: it called for the end of the process: SystemExit(0)"
    assert mutters.error == "ValueError: bytes that are no text: \N{REPLACEMENT CHARACTER}"
    assert Mutters.calls == 1  # it is not asked again for the other classes
    assert unreadable.error == "OddError: no readable message"
    assert clip.status == "done"


def test_a_dataset_of_which_no_image_can_be_read_is_no_result(parts: Path, tmp_path: Path) -> None:
    kept = {path: path.read_bytes() for path in parts.rglob("*.png") if "masks" not in path.parts}
    for path in kept:
        path.write_bytes(b"no image")
    jobs = jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1]
    settings = Settings(tmp_path, workers=0, on_error="skip")
    (record,), _ = go(jobs, settings)
    assert record.status == "failed"
    assert f"none of {len(kept)} images could be read; the first: {parts}" in str(record.error)
    assert not (tmp_path / ".classes" / jobs[0].cell.id).exists()  # they are read again by the next run
    for path, content in kept.items():
        path.write_bytes(content)
    (record,), _ = go(jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1], settings)
    assert (record.status, record.classes["object"].skipped) == ("done", ())


def test_images_that_change_while_they_are_scored_are_no_result(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parts / "normal/000.png"
    content = path.read_bytes()

    def swap_and_put_back() -> None:
        path.write_bytes((parts / "normal/001.png").read_bytes())
        path.write_bytes(content)

    jobs = jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1]
    with monkeypatch.context() as patch:
        hooked(patch, 8, swap_and_put_back)
        (record,), _ = go(jobs, Settings(tmp_path, batch_size=2, workers=0))
    assert record.status == "failed"
    assert f"{path}: the file was changed while the run was at it" in str(record.error)
    (record,), _ = go(
        jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1],
        Settings(tmp_path, batch_size=2, workers=0),
    )
    assert record.status == "done"


def test_a_forced_run_that_fails_keeps_the_results(parts: Path, tmp_path: Path) -> None:
    jobs = jobs_of(read_folder(PlainFolder(directory=parts, class_name="metal nut")))[:1]
    (before,), _ = go(jobs, Settings(tmp_path, workers=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Clip, "predict", lambda self, features, names: 1 / 0)
        (after,), said = go(jobs, Settings(tmp_path, workers=0, force=True))
    assert after == before
    assert any("ZeroDivisionError" in line and line.endswith("its results of before are kept") for line in said)


# --- provenance ---


def test_classes_that_were_scored_on_different_devices_are_said_to_be_so(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = jobs_of(several_classes(parts))[:1]
    devices = iter(["cpu", *["NVIDIA H100"] * 20])
    monkeypatch.setattr("benchmark.running.recording.device_name", lambda device: next(devices))
    (record,), _ = go([job], Settings(tmp_path, workers=0))
    assert "its classes were scored on different devices: cpu, NVIDIA H100" in record.warnings
    assert record.run.device == "cpu, NVIDIA H100"


def test_each_class_says_where_it_was_scored(parts: Path, tmp_path: Path) -> None:
    (record, _), _ = go(jobs_of(several_classes(parts)), Settings(tmp_path, workers=0))
    runs = [result.run for result in record.classes.values() if result.run]
    assert len(runs) == 3
    assert {run.device for run in runs} == {"cpu"}
    assert {run.source_sha256 for run in runs} == {source_sha256(Clip)}
    assert record.run.packages == runs[0].packages
    for name in ("total", "images", "vision", "method", "metrics"):
        assert record.run.seconds[name] == pytest.approx(sum(run.seconds[name] for run in runs), abs=1e-9)
    assert record.run.seconds["total"] > 0


def test_a_record_of_several_machines_names_them_all() -> None:
    here = Run(
        created="2026-01-01T00:00:00+00:00",
        seconds={"total": 1.0},
        batch_size=8,
        workers=2,
        peak_memory=5,
        device="cpu",
        machine="Linux, 2 cores",
        python="3.11.7",
        packages={"torch": "2.9.1", "numpy": "2.4"},
        git_commit="a" * 40,
    )
    there = here.model_copy(
        update={
            "created": "2026-01-02T00:00:00+00:00",
            "device": "NVIDIA H100",
            "machine": "Linux, 16 cores",
            "packages": {"torch": "2.10.0", "numpy": "2.4"},
            "git_commit": None,
            "peak_memory": None,
            "seconds": {"total": 2.0},
        }
    )
    both = combined([here, there, here])
    assert both.device == "cpu, NVIDIA H100"
    assert both.machine == "Linux, 2 cores, Linux, 16 cores"
    assert both.packages == {"torch": "2.9.1, 2.10.0", "numpy": "2.4"}
    assert (both.git_commit, both.peak_memory, both.seconds) == ("a" * 40, 5, {"total": 4.0})
    assert both.created == "2026-01-02T00:00:00+00:00"
    assert combined([here]) == here
