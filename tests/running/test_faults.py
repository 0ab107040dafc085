"""Faults, each really caused: afterwards no record is lost or wrong, the rest is done, and the same again mends it."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.faulty_runs import (
    BENCH,
    PATIENCE,
    SOURCE,
    Bench,
    arguments,
    at_the_gate,
    go,
    jobs_of,
    lives,
    pids,
    settings_of,
    tables,
    undisturbed,
    until,
)
from support.records import disagreements

from benchmark.clip.backbone import Backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.memory import is_out_of_memory
from benchmark.contract import Features, Method, Prediction, VisionSpec
from benchmark.data.samples import SampleSet
from benchmark.errors import BenchError
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import RecordError, path_of, read_record
from benchmark.running.executors.local import LocalProcesses
from benchmark.running.executors.slurm import SlurmJobs
from benchmark.running.planning import Auxiliaries, Setting, plan
from methods.clip import Clip
from methods.coop import CoOp, CoOpOptions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the faults are caused by signals, limits and mounts"),
]

# --- workers and drivers ---


def test_a_worker_killed_in_the_middle_of_a_cell(
    faulty: dict[str, type[Method]], datasets: list[SampleSet], gate: Path, tmp_path: Path
) -> None:
    jobs = jobs_of([Clip, faulty["stops"]], datasets[:1])
    settings = settings_of(tmp_path / "results")
    thread = at_the_gate(gate, lambda: os.kill(pids(gate)[0], signal.SIGKILL))
    records, said = go(jobs, settings, LocalProcesses(1))
    thread.join()
    assert [record.status for record in records] == ["done", "done"]
    assert any(
        "ended by signal 9 (SIGKILL); the system does that when memory runs out; trying again" in s for s in said
    )
    assert tables(records) == undisturbed(jobs, tmp_path)


def test_methods_that_kill_their_process_or_hang_fail_alone(
    faulty: dict[str, type[Method]], datasets: list[SampleSet], tmp_path: Path
) -> None:
    jobs = jobs_of([Clip, faulty["dies"], faulty["hangs"]], datasets[:1])
    settings = settings_of(tmp_path / "results", cell_timeout=4.0)
    (clip, dies, hangs), _ = go(jobs, settings, LocalProcesses(2))
    assert clip.status == "done"
    assert dies.error is not None
    assert dies.error.startswith("WorkerDied: its process was ended by signal 9 (SIGKILL)")
    assert hangs.error is not None
    assert hangs.error.startswith("TimeoutError: not done after 4 s (--cell-timeout 4); it was in ")
    assert "faulty.py, line 2" in hangs.error or "re" in hangs.error
    undisturbed_clip, _ = go(jobs[:1], settings_of(tmp_path / "undisturbed/results"))
    assert disagreements(clip, undisturbed_clip[0], tolerance=1e-6) == []


def test_a_driver_killed_while_a_worker_computes(
    faulty: dict[str, type[Method]], parts: Path, gate: Path, tmp_path: Path, bench: Bench
) -> None:
    more = ["--methods", "clip,stops", "--plugin", str(tmp_path / "faulty.py")]
    command = arguments(parts, tmp_path / "results", *more, "--processes", "2")
    driver = subprocess.Popen([*BENCH, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (worker,) = until(lambda: pids(gate))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    (gate / "open").touch()
    # The worker ends what it is at, writes its records and goes.
    until(lambda: not lives(worker))
    code, out, err = bench(*command)
    assert (code, "2 cells, 0 to do" in err) == (0, True)
    assert out == bench(*arguments(parts, tmp_path / "undisturbed", *more))[1]


def test_two_runs_race_on_one_results_folder(parts: Path, tmp_path: Path, bench: Bench) -> None:
    more = ["--methods", "clip,clip_ac"]
    command = [*BENCH, *arguments(parts, tmp_path / "race", *more)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    ends = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    said = "".join(err for _, err in ends)
    assert len(re.findall(r"^done   ", said, re.MULTILINE)) == 2, said
    assert not list((tmp_path / "race/.classes").glob("*"))
    assert {out for out, _ in ends} == {bench(*arguments(parts, tmp_path / "alone", *more))[1]}


def test_a_slurm_job_that_dies(
    faulty: dict[str, type[Method]], datasets: list[SampleSet], gate: Path, tmp_path: Path
) -> None:
    jobs = jobs_of([faulty["stops"]], datasets[:1])
    settings = settings_of(tmp_path / "results")
    thread = at_the_gate(gate, lambda: os.kill(pids(gate)[0], signal.SIGKILL))
    executor = SlurmJobs(tmp_path / "slurm", at_a_time=1, parameters={})
    records, said = go(jobs, settings, executor)
    thread.join()
    assert [record.status for record in records] == ["done"]
    assert any("ended without an answer" in line for line in said)
    assert list((tmp_path / "slurm").rglob("*.err"))  # logs are kept where something went wrong
    assert tables(records) == undisturbed(jobs, tmp_path)


# --- disks ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if not mount or mount.returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        while True:
            os.write(file, bytes(4096))
    os.close(file)


def test_a_full_disk(small_disk: Path, datasets: list[SampleSet], tmp_path: Path) -> None:
    jobs = jobs_of([Clip], datasets)
    settings = replace(settings_of(small_disk / "results"), cache=Cache(tmp_path / "cache", GB))
    go(jobs[:1], settings)
    before = path_of(settings.results, jobs[0].cell.id).read_bytes()
    fill(small_disk / "filler")
    with pytest.raises(BenchError, match=r"No space left on device"):
        go(jobs, settings)
    assert path_of(settings.results, jobs[0].cell.id).read_bytes() == before
    assert not path_of(settings.results, jobs[1].cell.id).exists()
    assert not list(small_disk.rglob("*.tmp"))
    (small_disk / "filler").unlink()
    records, _ = go(jobs, settings)
    assert tables(records) == undisturbed(jobs, tmp_path)


def test_a_quota_that_is_used_up(parts: Path, tmp_path: Path, bench: Bench) -> None:
    """What a process may write into a file is limited, as by a quota, to less than the results per image need."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # torch 2.6 writes 2355 bytes when it is imported

    command = arguments(parts, tmp_path / "results", "--methods", "clip")
    full = subprocess.run([*BENCH, *command], capture_output=True, text=True, check=False, preexec_fn=limited)
    assert full.returncode != 0
    assert "File too large" in full.stderr
    assert "Traceback" not in full.stderr
    assert not [path for path in (tmp_path / "results").rglob("*") if path.suffix in (".json", ".tmp")]
    assert "done   CLIP" in bench(*command)[2]


def test_a_results_folder_that_cannot_be_written(
    small_disk: Path, datasets: list[SampleSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        raise AssertionError("computed what cannot be kept")

    monkeypatch.setattr(Backbone, "encode_images", never)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(BenchError, match=r"--results .*cannot be written \(Read-only file system\); nothing was comp"):
        go(jobs_of([Clip], datasets), settings_of(small_disk / "results"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_without_the_right_to_write(datasets: list[SampleSet], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o555)
    with pytest.raises(BenchError, match=r"cannot be written \(Permission denied\)"):
        go(jobs_of([Clip], datasets), settings_of(tmp_path / "results"))


# --- files ---


def test_a_truncated_feature_cache(datasets: list[SampleSet], tmp_path: Path) -> None:
    data = datasets[0]
    auxiliary = replace(data, card=data.card.model_copy(update={"name": "mvtec"}))
    target = replace(data, directory=data.directory / "elsewhere", samples=data.samples[1:])
    setting = Setting(backbone_id(SOURCE, dtype="float32"), Protocol(), Auxiliaries({"mvtec": auxiliary}))
    options = CoOpOptions(epochs=1)
    settings = settings_of(tmp_path / "results")
    jobs = plan([(CoOp, options)], [target], replace(setting, auxiliaries=_lenient(auxiliary)), seeds=[0]).jobs
    (before,), _ = go(jobs, settings)
    for path in (tmp_path / "cache").rglob("*.bin"):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    again = settings_of(tmp_path / "again")
    (after,), _ = go(jobs, again)
    assert before.training is not None
    assert after.training is not None
    assert after.training.sha256 == before.training.sha256
    assert after.mean == before.mean


def _lenient(auxiliary: SampleSet) -> Auxiliaries:
    """Let a test train on images that it is tested on: nothing is concluded from the numbers."""

    class Lenient(Auxiliaries):
        def overlap(self, target: SampleSet, names: Sequence[str]) -> str | None:
            return None

    return Lenient({"mvtec": auxiliary})


def test_an_image_that_disappears_after_planning(datasets: list[SampleSet], tmp_path: Path) -> None:
    jobs = jobs_of([Clip], datasets)
    image = datasets[0].samples[3].path
    content = image.read_bytes()
    image.unlink()
    (one, two), _ = go(jobs, settings_of(tmp_path / "results"))
    assert (one.status, two.status) == ("failed", "failed")  # both are of the same images
    assert str(image) in str(one.error)
    assert "no such file" in str(one.error)
    image.write_bytes(content)
    records, _ = go(jobs, settings_of(tmp_path / "results"))
    assert tables(records) == undisturbed(jobs, tmp_path)


def test_a_half_written_record(datasets: list[SampleSet], tmp_path: Path) -> None:
    jobs = jobs_of([Clip], datasets)
    settings = settings_of(tmp_path / "results")
    expected = tables(go(jobs, settings)[0])
    path = path_of(settings.results, jobs[0].cell.id)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(RecordError, match="not a readable record"):
        read_record(path)
    records, said = go(jobs, settings)
    assert sum(line.startswith("done") for line in said) == 1
    assert tables(records) == expected


# --- memory, numbers, clocks ---


class Greedy(Clip):
    """Asks for more memory than any machine has if it gets more than two images."""

    name, title = "greedy", "Greedy"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        torch.empty(10**14 if len(class_names) > 2 else 1)
        return super().predict(features, class_names)


class Insatiable(Clip):
    name, title = "insatiable", "Insatiable"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        torch.empty(10**14)
        return super().predict(features, class_names)


def test_out_of_memory_halves_the_batch_and_says_so(datasets: list[SampleSet], tmp_path: Path) -> None:
    (clip, greedy, insatiable), said = go(
        jobs_of([Clip, Greedy, Insatiable], datasets[:1]), settings_of(tmp_path / "results")
    )
    assert "out of memory with 4 images at a time; going on with 2 (--batch-size 2 spares the attempt)" in said
    assert disagreements(greedy, clip, tolerance=1e-9) == []
    assert insatiable.status == "failed"
    assert "can't allocate memory" in str(insatiable.error)
    expected, _ = go(jobs_of([Clip], datasets[:1]), settings_of(tmp_path / "undisturbed/results"))
    assert disagreements(clip, expected[0], tolerance=1e-6) == []


def test_the_errors_of_every_allocator_are_known() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."))
    for words in (
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "MPS backend out of memory (MPS allocated: 9.00 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    ):
        assert is_out_of_memory(RuntimeError(words)), words
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(RuntimeError("out of luck"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def test_out_of_memory_in_the_vision_tower(
    datasets: list[SampleSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Backbone.encode_images

    def encode_images(self: Backbone, images: torch.Tensor, spec: VisionSpec) -> Features:
        torch.empty(10**14 if len(images) > 1 else 1)
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", encode_images)
    (record,), said = go(jobs_of([Clip], datasets[:1]), settings_of(tmp_path / "results"))
    assert record.status == "done"
    assert [line.split(";")[0] for line in said if "out of memory" in line] == [
        "out of memory with 4 images at a time",
        "out of memory with 2 images at a time",
    ]


class NaN(Clip):
    name, title = "nan", "NaN"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        found = super().predict(features, class_names)
        return Prediction(found.scores * float("nan"), found.maps)


class Raises(Clip):
    name, title = "raises", "Raises"

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        raise ZeroDivisionError("out of luck")


def test_nan_scores_and_methods_that_raise_fail_alone(datasets: list[SampleSet], tmp_path: Path) -> None:
    (nan, clip, raises), said = go(jobs_of([NaN, Clip, Raises], datasets[:1]), settings_of(tmp_path / "results"))
    assert (nan.status, clip.status, raises.status) == ("failed", "done", "failed")
    assert "a score must be finite" in str(nan.error)
    assert datasets[0].test[0].key in str(nan.error).replace(os.sep, "/")
    assert raises.error == "ZeroDivisionError: out of luck"
    assert sum(line.startswith("FAILED") for line in said) == 2


def test_clocks_that_jump(datasets: list[SampleSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day jumps by years between any two looks at it, and files are of the future and of long ago."""
    jobs = jobs_of([Clip], datasets)
    expected = tables(go(jobs, settings_of(tmp_path / "undisturbed/results"))[0])
    real, jumps = time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 10**8)
    settings = settings_of(tmp_path / "results")
    (first, _), _ = go(jobs, settings)
    stamps = iter([0, 4 * 10**9, 10**9] * 100)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            os.utime(path, times=((stamp := next(stamps)), stamp))
    path_of(settings.results, jobs[1].cell.id).unlink()
    records, said = go(jobs_of([Clip], [replace(data) for data in datasets]), settings)  # looked at anew
    assert sum(line.startswith("done") for line in said) == 1
    assert records[0] == first
    assert tables(records) == expected
