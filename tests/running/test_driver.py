"""Runs: what is done once, what survives, and that nothing but the cell changes a number."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from support.records import disagreements
from support.running import known, loadings, run_jobs

from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.settings import Settings
from benchmark.contract import Features, Method, NoOptions, Prediction, VisionSpec
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import read_image
from benchmark.data.preprocess import Preprocess
from benchmark.data.samples import SampleSet
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId, backbone_id
from benchmark.records.records import Record, RecordError, is_done, path_of, read_record, read_records
from benchmark.running import driver as runner
from benchmark.running.done_cells import missing
from benchmark.running.executors import InThisProcess
from benchmark.running.planning import Auxiliaries, Job, Plan, Setting, plan, plan_trainings
from benchmark.running.tasks import Ended, Lost, Task
from benchmark.running.worker import perform
from benchmark.tables.render import render
from benchmark.tables.tables import make_tables
from methods.clip import Clip, ClipAC, ClipOptions
from methods.mrad import MradTf
from methods.mrad_ft import MradFt


def jobs_of(
    parts: Path, backbone: Backbone, methods: dict[type[Method], Any] | None = None, **protocol: Any
) -> list[Job]:
    chosen = list((methods or {Clip: ClipOptions(), ClipAC: ClipOptions()}).items())
    data = [read_folder(PlainFolder(directory=parts, class_name="metal nut"))]
    return plan(chosen, data, Setting(identity(backbone), Protocol(**protocol)), seeds=[0]).jobs


def identity(backbone: Backbone) -> BackboneId:
    return backbone_id(parse_backbone(backbone.name), dtype=backbone.dtype)


def run(jobs: list[Job], settings: Settings, *, say: Callable[[str], None]) -> list[Record]:
    """Run the jobs and read all their records."""
    return run_jobs(jobs, settings, say=say)


def quiet(line: str) -> None:
    """Say nothing."""


def numbers(record: Record) -> dict[str, float]:
    return {k: v for result in record.classes.values() for k, v in result.metrics.items() if v is not None}


class Fails(Method):
    name, title, paper = "fails", "Fails", "none"

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        raise RuntimeError("out of luck")


class NaN(Fails):
    name, title = "nan", "NaN"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        scores = torch.full((len(class_names),), float("nan"))
        return Prediction(scores, scores[:, None, None])


def test_a_run_writes_a_record_per_cell_with_all_that_made_it(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    jobs = jobs_of(parts, tiny)
    done = run(jobs, Settings(tmp_path, workers=0), say=quiet)
    assert [record.id for record in done] == [job.cell.id for job in jobs]
    record = json.loads(path_of(tmp_path, jobs[0].cell.id).read_text(encoding="utf-8"))
    assert record["status"] == "done"
    assert record["synthetic"] == ["weights"]
    assert record["cell"]["backbone"]["sha256"] == tiny.sha256
    assert record["cell"]["dataset"]["fingerprint"] == jobs[0].samples.fingerprint
    counts = {"normal": 7, "anomalous": 6, "skipped": []}
    numbers: dict[str, Any] = {"metrics": {}, "ranges": {}, "intervals": {}}
    known = counts | numbers | {"defects": {}, "run": record["run"]}
    assert record["classes"]["object"] | numbers == known
    assert set(record["mean"]) == {
        f"{level}_{metric}" for level in ("image", "pixel") for metric in ("auroc", "ap", "f1max")
    } | {
        "pixel_aupro",
        "pixel_aupro_200",
    }
    assert record["run"]["packages"]["torch"] == torch.__version__.split("+")[0]
    assert record["run"]["seconds"]["total"] > 0
    assert record["run"]["device"] == "cpu"


def test_every_image_is_encoded_once_for_all_methods_and_never_again(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = Backbone.encode_images

    def counting(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        encoded.append(len(images))
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", counting)
    jobs = jobs_of(parts, tiny)
    settings = Settings(tmp_path, workers=0)
    first = run(jobs, settings, say=quiet)
    assert sum(encoded) == 13
    assert missing(jobs, tmp_path) == []
    assert run(jobs, settings, say=quiet) == first
    assert sum(encoded) == 13
    run(jobs, Settings(tmp_path, workers=0, force=True), say=quiet)
    assert sum(encoded) == 26


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2), (16, 2)])
def test_batch_size_and_workers_change_no_number(
    parts: Path, tiny: Backbone, tmp_path: Path, batch_size: int, workers: int
) -> None:
    jobs = jobs_of(parts, tiny)
    expected = run(jobs, Settings(tmp_path / "a", batch_size=8, workers=0), say=quiet)
    found = run(jobs, Settings(tmp_path / "b", batch_size=batch_size, workers=workers), say=quiet)
    for one, other in zip(expected, found, strict=True):
        assert disagreements(one, other, tolerance=1e-5) == []


def test_a_method_that_fails_fails_alone(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    methods: dict[type[Method], Any] = {Fails: NoOptions(), Clip: ClipOptions(), NaN: NoOptions()}
    jobs = jobs_of(parts, tiny, methods)
    said: list[str] = []
    fails, clip, nan = run(jobs, Settings(tmp_path, workers=0), say=said.append)
    assert (fails.status, fails.error) == ("failed", "RuntimeError: out of luck")
    assert fails.mean == {}
    assert clip.status == "done"
    assert nan.status == "failed"
    assert "abnormal/007.png" in str(nan.error)
    assert sum(line.startswith("FAILED") for line in said) == 2
    assert [job.method for job in missing(jobs, tmp_path)] == [Fails, NaN]  # failed cells are tried again


def test_a_pass_that_breaks_down_fails_its_cells_and_not_the_run(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "encode_images", out_of_memory)
        failed = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0), say=quiet)
    assert [record.error for record in failed] == ["RuntimeError: out of memory"] * 2
    again = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0), say=quiet)
    assert {record.status for record in again} == {"done"}


@pytest.mark.parametrize("broken", ["abnormal/009.png", "masks/abnormal/009.png"])
def test_an_unreadable_file_fails_the_cells_or_is_skipped(
    parts: Path, tiny: Backbone, tmp_path: Path, broken: str
) -> None:
    (parts / broken).write_bytes((parts / broken).read_bytes()[:60])
    failed = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0), say=quiet)
    assert {record.status for record in failed} == {"failed"}
    assert str(failed[0].error).startswith(str(parts / broken))  # and not with the name of a class
    assert "--on-error skip" in str(failed[0].error)
    skipping = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0, on_error="skip"), say=quiet)
    result = skipping[0].classes["object"]
    assert (result.normal, result.anomalous) == (7, 5)
    assert [skipped.key for skipped in result.skipped] == ["abnormal/009.png"]
    assert "images left out, as they or their masks cannot be used: 1" in render(make_tables(skipping)[0], "md")


def test_an_image_that_vanishes_after_planning_is_named(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    jobs = jobs_of(parts, tiny)
    (parts / "normal/003.png").unlink()
    record = run(jobs, Settings(tmp_path, workers=2), say=quiet)[0]
    assert record.status == "failed"
    assert "003.png" in str(record.error)


def test_without_masks_pixel_metrics_are_null(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    for mask in (parts / "masks/abnormal").iterdir():
        mask.unlink()
    record = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0), say=quiet)[0]
    assert record.mean["image_auroc"] is not None
    assert {name for name, value in record.mean.items() if value is None} == {
        name for name in record.mean if name.startswith("pixel")
    }


def test_without_normal_images_image_metrics_are_null(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    for image in (parts / "normal").iterdir():
        image.unlink()
    record = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0), say=quiet)[0]
    assert {name for name, value in record.mean.items() if value is None} == {
        name for name in record.mean if name.startswith("image")
    }


def test_the_cell_id_changes_with_what_changes_numbers_and_with_nothing_else(parts: Path, tiny: Backbone) -> None:
    base = jobs_of(parts, tiny)[0].cell
    assert jobs_of(parts, tiny)[0].cell.id == base.id
    renamed = base.backbone.model_copy(update={"name": "tiny=other-name.pt"})
    assert base.model_copy(update={"backbone": renamed}).id == base.id
    others = [
        jobs_of(parts, tiny, {Clip: ClipOptions(temperature=0.01)})[0].cell,
        jobs_of(parts, tiny, mask_gt0=True)[0].cell,
        base.model_copy(update={"seed": 1}),
        base.model_copy(update={"method_version": 2}),
        base.model_copy(update={"metrics_version": 99}),
        base.model_copy(update={"auxiliary": base.dataset}),
        base.model_copy(update={"checkpoint": "1" * 64}),
        base.model_copy(update={"backbone": base.backbone.model_copy(update={"dtype": "bfloat16"})}),
        base.model_copy(update={"backbone": base.backbone.model_copy(update={"sha256": "1" * 64})}),
        base.model_copy(update={"backbone": base.backbone.model_copy(update={"architecture": "other"})}),
    ]
    Image.new("RGB", (9, 9)).save(parts / "normal/new.png")
    others.append(jobs_of(parts, tiny)[0].cell)
    assert len({base.id, *(cell.id for cell in others)}) == len(others) + 1


def test_the_class_name_changes_the_cell(parts: Path, tiny: Backbone) -> None:
    cells = [
        plan(
            [(Clip, ClipOptions())],
            [read_folder(PlainFolder(directory=parts, class_name=name))],
            Setting(identity(tiny), Protocol()),
            seeds=[0],
        )
        .jobs[0]
        .cell
        for name in ("metal nut", "bottle")
    ]
    assert cells[0].id != cells[1].id


def test_methods_without_chance_run_once_whatever_the_seeds(parts: Path, tiny: Backbone) -> None:
    class Chance(Clip):
        name, stochastic = "chance", True

    data = [read_folder(PlainFolder(directory=parts, class_name="x"))]
    methods: list[tuple[type[Method], Any]] = [(Clip, ClipOptions()), (Chance, ClipOptions())]
    jobs = plan(methods, data, Setting(identity(tiny), Protocol()), seeds=[3, 4]).jobs
    assert [(job.method.name, job.cell.seed) for job in jobs] == [("clip", 0), ("chance", 3), ("chance", 4)]


def test_learners_without_chance_are_trained_and_run_once_whatever_the_seeds(parts: Path, tiny: Backbone) -> None:
    data = [read_folder(PlainFolder(directory=parts, class_name="x"))]
    other = replace(data[0], card=data[0].card.model_copy(update={"name": "mvtec"}))
    target = replace(data[0], directory=parts / "elsewhere")
    setting = Setting(identity(tiny), Protocol(), Auxiliaries({"mvtec": other}, allow_overlap=True))
    for method, seeds in ((MradTf, [0]), (MradFt, [3, 4])):
        jobs = plan([(method, method.Options())], [target], setting, seeds=[3, 4]).jobs
        assert [(job.cell.seed, job.training.id.seed) for job in jobs if job.training] == [(s, s) for s in seeds]
        trainings = plan_trainings(method, method.Options(), ["mvtec"], setting, seeds=[3, 4])
        assert [each.id.seed for each in trainings if each] == seeds
        assert [each.several_seeds for each in trainings if each] == [len(seeds) > 1] * len(seeds)


def test_raw_class_names_reach_the_prompts(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    seen: list[Sequence[str]] = []

    class Spy(Clip):
        name = "spy"

        def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
            seen.append(class_names)
            return super().predict(features, class_names)

    for raw in (False, True):
        run(jobs_of(parts, tiny, {Spy: ClipOptions()}, raw_class_names=raw), Settings(tmp_path, 16, 0), say=quiet)
    assert [set(names) for names in seen] == [{"metal nut"}, {"object"}]


# --- k-shot: references from the training images ---


class KShot(Clip):
    """Keeps what it is shown."""

    name, title = "kshot", "KShot"

    @dataclass(frozen=True)
    class Options(ClipOptions):
        shots: int = 2

    seen: ClassVar[list[Features]] = []

    @classmethod
    def shots(cls, options: Any) -> int:
        return int(options.shots)

    def see_references(self, references: Features) -> None:
        self.seen.append(references)


def with_training_images(parts: Path) -> SampleSet:
    """The plain folder, three of whose normal images are for training."""
    data = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    train = {"normal/000.png", "normal/003.png", "normal/005.png"}
    return replace(data, samples=tuple(replace(s, split="train") if s.key in train else s for s in data.samples))


def kshot(data: SampleSet, backbone: Backbone, seeds: Sequence[int], shots: int = 2) -> Plan:
    options = KShot.Options(shots=shots)
    return plan([(KShot, options)], [data], Setting(identity(backbone), Protocol()), seeds=seeds)


def test_references_are_shown_and_recorded(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    KShot.seen.clear()
    data = with_training_images(parts)
    made = kshot(data, tiny, [0])
    (record,) = run(made.jobs, Settings(tmp_path, workers=0), say=quiet)
    assert record.status == "done"
    assert record.cell.references is not None
    keys = record.cell.references["object"]
    (features,) = KShot.seen
    preprocess = Preprocess(112)
    images = torch.from_numpy(np.stack([preprocess(read_image(parts / key)) for key in keys]))
    expected = tiny.encode_images(images, VisionSpec(112)).image
    torch.testing.assert_close(features.image, expected, atol=1e-5, rtol=0)
    assert (record.classes["object"].normal, len(keys)) == (4, 2)


def test_references_follow_the_seed_and_grow_with_the_shots(parts: Path, tiny: Backbone) -> None:
    data = with_training_images(parts)
    drawn = {job.cell.seed: job.cell.references for job in kshot(data, tiny, list(range(8))).jobs}
    assert drawn == {job.cell.seed: job.cell.references for job in kshot(data, tiny, list(range(8))).jobs}
    assert len({str(each) for each in drawn.values()}) > 1
    for seed, both in drawn.items():
        (job,) = kshot(data, tiny, [seed], shots=1).jobs
        assert both is not None
        assert job.cell.references == {"object": both["object"][:1]}
        assert set(both["object"]) <= {s.key for s in data.train}


def test_without_enough_training_images_a_k_shot_method_is_left_out(parts: Path, tiny: Backbone) -> None:
    made = kshot(read_folder(PlainFolder(directory=parts, class_name="x")), tiny, [0])
    assert made.jobs == []
    assert made.refused == ["KShot on parts: 2 normal images are needed besides one to test, and object has fewer"]


def test_a_broken_reference_fails_its_method_alone(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    data = with_training_images(parts)
    setting = Setting(identity(tiny), Protocol())
    made = plan([(KShot, KShot.Options(shots=3)), (Clip, ClipOptions())], [data], setting, seeds=[0])
    (parts / "normal/003.png").write_bytes(b"")
    settings = Settings(tmp_path, workers=0, on_error="skip")
    failed, done = run(made.jobs, settings, say=quiet)
    assert (failed.status, done.status) == ("failed", "done")
    assert "003.png" in str(failed.error)


# --- what becomes of tasks whose workers are gone ---


class Losing(InThisProcess):
    """An executor that loses the tasks it is told to, and does the others in this process."""

    def __init__(self, loses: Callable[[Task], Lost | None]) -> None:
        super().__init__(say=quiet)
        self.loses, self.seen, self.tasks = loses, list[tuple[str, ...]](), deque[Task]()

    def submit(self, tasks: Sequence[Task]) -> None:
        self.tasks.extend(tasks)

    def wait(self, seconds: float | None = None) -> Ended:
        task = self.tasks.popleft()
        self.seen.append(tuple(ref.cell.method for ref in task.cells))
        if lost := self.loses(task):
            return task, lost
        super().submit([task])
        return super().wait(seconds)


def losing(
    jobs: list[Job], settings: Settings, loses: Callable[[Task], Lost | None]
) -> tuple[list[Record], list[tuple[str, ...]]]:
    executor = Losing(loses)
    return run_jobs(jobs, settings, executor, say=quiet), executor.seen


def holds(task: Task, name: str) -> bool:
    return name in [ref.cell.method for ref in task.cells]


def test_a_lost_task_is_tried_again_and_divided_before_it_is_given_up(
    parts: Path, tiny: Backbone, tmp_path: Path
) -> None:
    cause = Lost("WorkerDied: struck by lightning")
    (clip, clip_ac), seen = losing(
        jobs_of(parts, tiny), Settings(tmp_path, workers=0), lambda task: cause if holds(task, "clip") else None
    )
    assert seen == [("clip", "clip_ac"), ("clip", "clip_ac"), ("clip",), ("clip_ac",)]
    assert (clip.status, clip.error, clip_ac.status) == ("failed", cause.cause, "done")


def test_a_task_that_took_too_long_is_divided_at_once(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    cause = Lost("TimeoutError: too long", final=True)
    (clip, clip_ac), seen = losing(
        jobs_of(parts, tiny), Settings(tmp_path, workers=0), lambda task: cause if holds(task, "clip") else None
    )
    assert seen == [("clip", "clip_ac"), ("clip",), ("clip_ac",)]
    assert (clip.error, clip_ac.status) == (cause.cause, "done")


def test_a_loss_that_passes_costs_nothing(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    losses = iter([Lost("WorkerDied: once"), None])
    records, seen = losing(jobs_of(parts, tiny), Settings(tmp_path, workers=0), lambda task: next(losses))
    assert seen == [("clip", "clip_ac")] * 2
    assert {record.status for record in records} == {"done"}


def test_a_failure_never_overwrites_what_another_process_has_done(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    jobs = jobs_of(parts, tiny, {Clip: ClipOptions()})
    settings = Settings(tmp_path, workers=0)

    def done_elsewhere(task: Task) -> Lost:
        perform(task, say=quiet)
        return Lost("TimeoutError: no answer", final=True)

    ((record,), _) = losing(jobs, settings, done_elsewhere)
    assert record.status == "done"


def test_a_cell_that_another_process_holds_is_waited_for(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL", 0.01)
    jobs = jobs_of(parts, tiny)
    settings = Settings(tmp_path, workers=0)
    said: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with settings.lock(f"{jobs[0].cell.id}--0"):  # its first class
            held.set()
            time.sleep(0.5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    run(jobs, settings, say=said.append)
    holder.join()
    name = f"{jobs[0].title} on {jobs[0].samples.title}"
    assert [line.split()[0] for line in said] == ["done", "waiting", "takes", "done"]
    assert said[1] == f"waiting for another process that is at {name}"
    assert said[2] == f"takes over {name} from another process"


# --- who did what ---


def test_a_run_knows_what_it_did_and_what_failed(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    jobs = jobs_of(parts, tiny, {Clip: ClipOptions(), Fails: NoOptions()})
    settings = Settings(tmp_path, workers=0)
    with known([Fails]):
        first = runner.run(jobs, settings, InThisProcess(say=quiet), loading=loadings(jobs), say=quiet)
        again = runner.run(jobs[:1], settings, InThisProcess(say=quiet), loading=loadings(jobs), say=quiet)
    assert first.made == {jobs[0].cell.id}
    assert first.failed.keys() == {jobs[1].cell.id}
    assert again == runner.Outcome()


def test_what_another_process_did_meanwhile_is_not_counted(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "POLL", 0.01)
    jobs, settings = jobs_of(parts, tiny), Settings(tmp_path, workers=0)
    said: list[str] = []
    other = Settings(tmp_path / "other", workers=0)
    run(jobs[:1], other, say=quiet)

    def tell(line: str) -> None:
        said.append(line)
        if line.startswith("waiting"):  # the other process ends now
            shutil.copytree(other.results / "records", settings.results / "records", dirs_exist_ok=True)
            lock.release()

    lock = settings.lock(f"{jobs[0].cell.id}--0")
    lock.acquire()
    outcome = runner.run(jobs, settings, InThisProcess(say=quiet), loading=loadings(jobs), say=tell)
    assert outcome.made == {jobs[1].cell.id}
    name = f"{jobs[0].title} on {jobs[0].samples.title}"
    assert said[-2:] == [f"waiting for another process that is at {name}", f"done by another process: {name}"]


def test_what_a_worker_wrote_before_it_was_lost_counts_as_done_here(
    parts: Path, tiny: Backbone, tmp_path: Path
) -> None:
    jobs, lost = jobs_of(parts, tiny), iter([True])

    def written_before(task: Task) -> Lost | None:
        if not next(lost, False):
            return None
        perform(task.only([jobs[0].cell.id]), say=quiet)
        return Lost("WorkerDied: afterwards")

    outcome = runner.run(jobs, Settings(tmp_path, workers=0), Losing(written_before), loading=loadings(jobs), say=quiet)
    assert outcome.made == {job.cell.id for job in jobs}


# --- text embeddings on disk ---


def test_text_embeddings_are_kept_between_runs_and_never_trusted_blindly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = Backbone.encode_prompts

    def counting(self: Backbone, prompts: Sequence[Any], **more: Any) -> torch.Tensor:
        encoded.append(len(prompts))
        return original(self, prompts, **more)

    monkeypatch.setattr(Backbone, "encode_prompts", counting)
    prompts = [f"a photo of thing {index}." for index in range(100)]
    source = parse_backbone("tiny:random")
    expected = load_backbone(source).encode_text(prompts)
    cache = Cache(tmp_path / "cache", GB)
    for _ in range(2):
        assert torch.equal(load_backbone(source, cache=cache).encode_text(prompts), expected)
    assert sum(encoded) == 200  # once without a cache, once with
    load_backbone(source, cache=cache).encode_text(prompts[:3])
    load_backbone(source, cache=cache, dtype="bfloat16").encode_text(prompts)
    load_backbone(parse_backbone("tiny:random-1"), cache=cache).encode_text(prompts)
    with monkeypatch.context() as patch:  # another device rounds otherwise, and a training may magnify that
        patch.setattr("benchmark.clip.backbone.device_name", lambda device: "Some GPU")
        load_backbone(source, cache=cache).encode_text(prompts)
    assert sum(encoded) == 503
    for path in (tmp_path / "cache").glob("text-tiny-*/*.bin"):
        content = bytearray(path.read_bytes())
        content[7] ^= 64
        path.write_bytes(content)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    assert torch.equal(load_backbone(source, cache=cache).encode_text(prompts), expected)


# --- faults ---


def test_a_full_disk_stops_the_run_and_loses_no_record(
    parts: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(parts, tiny)
    settings = Settings(tmp_path, workers=0)
    run(jobs[:1], settings, say=quiet)
    before = path_of(tmp_path, jobs[0].cell.id).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.common.files.os.fsync", full)
        with pytest.raises(RecordError, match=r"No space left on device; records already written are safe"):
            run(jobs, settings, say=quiet)
    assert path_of(tmp_path, jobs[0].cell.id).read_bytes() == before
    assert sorted(path.suffix for path in (tmp_path / "records").iterdir()) == [".json", ".npz"]
    assert {record.status for record in run(jobs, settings, say=quiet)} == {"done"}


@pytest.mark.parametrize("content", [b"", b'{"schema_version": 1', b'{"schema_version": 9}', b"\xff\xfe"])
def test_a_damaged_record_is_reported_and_its_cell_done_again(
    parts: Path, tiny: Backbone, tmp_path: Path, content: bytes
) -> None:
    jobs = jobs_of(parts, tiny)
    settings = Settings(tmp_path, workers=0)
    expected = run(jobs, settings, say=quiet)
    path = path_of(tmp_path, jobs[0].cell.id)
    path.write_bytes(content)
    readable, problems = read_records(tmp_path)
    assert [record.id for record in readable] == [jobs[1].cell.id]
    assert path.name in problems[0]
    assert not is_done(tmp_path, jobs[0].cell.id)
    again = run(jobs, settings, say=quiet)
    assert [numbers(record) for record in again] == [numbers(record) for record in expected]


ARGUMENTS = ["run", "--methods", "clip,clip_ac", "--backbone", "tiny:random", "--batch-size", "4", "--processes", "1"]
BENCH = "from benchmark.cli import main; main()"
STUCK_IN_THE_SECOND_DATASET = """
import pathlib, sys, time
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.data.preprocess import Preprocess
from benchmark.common.cache import GB, Cache
from benchmark.records.cells import BackboneId, backbone_id
original = Backbone.encode_images
def encode_images(self, images, spec):
    if list(pathlib.Path(sys.argv[-1]).glob("records/*--br35h--*.json")):
        time.sleep(600)
    return original(self, images, spec)
Backbone.encode_images = encode_images
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_kill_minus_9_in_the_middle_and_again_gives_the_undisturbed_table(
    parts: Path, tmp_path: Path, bench: Callable[..., tuple[int, str, str]]
) -> None:
    data = tmp_path / "data"
    for name in ("br35h", "brainmri"):
        for kind, folder in (("normal", "no"), ("abnormal", "yes")):
            (data / name / folder).mkdir(parents=True)
            for index, image in enumerate(sorted((parts / kind).iterdir())):
                stem = f"{'y' if folder == 'yes' else 'no'}{index}"
                (data / name / folder / f"{stem}.png").write_bytes(image.read_bytes())

    def arguments(results: str) -> list[str]:
        return [*ARGUMENTS, "--data", str(data), "--results", str(tmp_path / results)]

    _, undisturbed, _ = bench(*arguments("a"))
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK_IN_THE_SECOND_DATASET + BENCH, *arguments("b")], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "b/records").glob("*--br35h--*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "b/records").glob("*--brainmri--*.json"))
    code, again, said = bench(*arguments("b"))
    assert (code, "4 cells, 2 to do" in said) == (0, True)
    assert again == undisturbed
    assert undisturbed.count("Br35H") >= 1


def test_reading_a_record_back_gives_the_same(parts: Path, tiny: Backbone, tmp_path: Path) -> None:
    record = run(jobs_of(parts, tiny), Settings(tmp_path, workers=0), say=quiet)[0]
    assert read_record(path_of(tmp_path, record.id)) == record
