"""The same numbers wherever cells are computed: in this process, in several, on Ray, by Slurm, in batches and parts."""

import multiprocessing
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
from support.records import disagreements
from support.running import loading_of, loadings, run_jobs
from support.suites import draw_classes

from benchmark.api.datasets import select_datasets
from benchmark.api.requests import Computation
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.files import user_cache
from benchmark.common.settings import Settings
from benchmark.contract import Method
from benchmark.errors import BenchError
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record, is_done, path_of
from benchmark.running import worker
from benchmark.running.executors import Executor, InThisProcess
from benchmark.running.executors.local import LocalProcesses
from benchmark.running.executors.ray_cluster import RayCluster
from benchmark.running.executors.slurm import SlurmJobs
from benchmark.running.planning import Auxiliaries, Job, Setting, data_id, plan
from benchmark.running.tasks import Task, class_places, make_tasks
from benchmark.running.worker import job_of, perform, training_of
from benchmark.tables.render import table_files
from benchmark.tables.tables import Table, make_tables
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.clip import Clip, ClipOptions
from methods.coop import CoOp, CoOpOptions

pytestmark = pytest.mark.slow

CHOSEN: list[tuple[type[Method], Any]] = [
    (Clip, ClipOptions()),
    (CoOp, CoOpOptions(epochs=1)),
    (AnomalyClip, AnomalyClipOptions(epochs=1)),
]
SOURCE = parse_backbone("mini:v2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class of the mini suite's MVTec AD, and two of its BTAD."""
    return draw_classes(tmp_path_factory.mktemp("suite"), {("mvtec", "grid"), ("btad", "01"), ("btad", "02")})


@pytest.fixture(scope="module")
def jobs(data: Path) -> list[Job]:
    (mvtec, btad), _ = select_datasets(["mvtec", "btad"], data=data)
    setting = Setting(backbone_id(SOURCE, dtype="float32"), Protocol(), Auxiliaries({"mvtec": mvtec}))
    return plan(CHOSEN, [btad], setting, seeds=[0]).jobs


def settings_of(root: Path, **more: Any) -> Settings:
    return Settings(root / "results", workers=0, cache=Cache(root / "cache", GB), **more)


def go(jobs: Sequence[Job], settings: Settings, executor: Executor | None = None) -> list[Record]:
    said: list[str] = []
    records = run_jobs(jobs, settings, executor, say=said.append)
    assert sum(line.startswith("done") for line in said) <= len(jobs)
    return records


@pytest.fixture(scope="module")
def expected(jobs: list[Job], tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    settings = settings_of(tmp_path_factory.mktemp("expected"))
    return go(jobs, settings)


def titles(table: Table) -> list[str]:
    return [row.title for row in table.rows]


def assert_same(found: Sequence[Record], expected: Sequence[Record], *, within: float = 1e-6) -> None:
    assert [record.error for record in found] == [None] * len(expected)
    for one, other in zip(found, expected, strict=True):
        assert disagreements(one, other, tolerance=within) == []
        assert one.cell == other.cell
    assert table_files(make_tables(found), found).keys() == table_files(make_tables(expected), expected).keys()
    assert [titles(table) for table in make_tables(found)] == [titles(table) for table in make_tables(expected)]


@pytest.mark.parametrize(("batch_size", "task_images"), [(3, 1000), (8, 1)])
def test_in_this_process(
    jobs: list[Job], expected: list[Record], tmp_path: Path, batch_size: int, task_images: int
) -> None:
    settings = settings_of(tmp_path, batch_size=batch_size, task_images=task_images)
    # Another batch size rounds otherwise, which moves pixel AP on these few images by more than 1e-6.
    assert_same(go(jobs, settings), expected, within=1e-5 if batch_size != 8 else 1e-6)


@pytest.mark.parametrize(("processes", "task_images"), [(1, 1000), (2, 1)])
def test_in_processes(
    jobs: list[Job], expected: list[Record], tmp_path: Path, processes: int, task_images: int
) -> None:
    settings = settings_of(tmp_path, task_images=task_images)
    assert_same(go(jobs, settings, LocalProcesses(processes)), expected)
    assert not list((settings.results / ".classes").glob("*"))


@pytest.mark.ray
def test_on_ray(jobs: list[Job], expected: list[Record], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, task_images=1)
    assert_same(go(jobs, settings, RayCluster(address=None, processes=2)), expected)


def test_by_slurm(jobs: list[Job], expected: list[Record], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    executor = SlurmJobs(tmp_path / "slurm", at_a_time=2, parameters={"partition": "gpu"})
    assert executor.simulated
    assert_same(go(jobs[:2], settings, executor), expected[:2])
    assert not (tmp_path / "slurm").exists()


# --- tasks and orders ---


class Counting(InThisProcess):
    """An executor that keeps what it was asked to do."""

    def __init__(self) -> None:
        super().__init__(say=print)
        self.kinds: list[str] = []

    def submit(self, tasks: Sequence[Task]) -> None:
        self.kinds += [task.kind for task in tasks]
        super().submit(tasks)


def test_what_is_done_is_never_queued_again(jobs: list[Job], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    first = Counting()
    go(jobs[:2], settings, first)
    assert first.kinds == ["encode", "train", "score"]
    second = Counting()
    go(jobs[:2], settings, second)
    assert second.kinds == []
    path_of(settings.results, jobs[1].cell.id).unlink()
    third = Counting()
    go(jobs, settings, third)
    assert third.kinds == ["encode", "train", "score"]  # AnomalyCLIP's training; CoOp's is there


def test_a_task_survives_the_way_to_another_process(jobs: list[Job], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, task_images=1)
    trainings = [job.training for job in jobs if job.training]
    tasks = make_tasks(jobs, trainings, settings, loadings(jobs))
    assert [task.kind for task in tasks] == ["encode", "train", "train", "score", "score"]
    for task in tasks:
        again = pickle.loads(pickle.dumps(task))
        assert again == task
        assert again.samples.fingerprint == task.samples.fingerprint
        for ref, job in zip(again.cells, jobs, strict=False):
            found = job_of(ref, again)
            assert found.cell == job.cell
            assert found.options == job.options
            assert found.method is job.method
            assert found.samples == task.samples
            assert list(found.samples.test) == [each for each in job.samples.test if each.class_name in task.classes]
        for ref in again.trainings:
            (planned,) = (training for training in trainings if training.id == ref.id)
            found = training_of(ref, again)
            assert (found.options, found.samples) == (planned.options, planned.samples)


def test_a_task_for_another_version_of_a_method_is_refused(jobs: list[Job], tmp_path: Path) -> None:
    (task,) = make_tasks(jobs[:1], [], settings_of(tmp_path), loadings(jobs))
    (ref,) = task.cells
    other = replace(ref, cell=ref.cell.model_copy(update={"method_version": 99}))
    failed = perform(replace(task, cells=(other,))).failed
    assert list(failed.values()) == [f"method 'clip' is of version {Clip.version} here, not 99; install the same code"]


def test_the_backbone_is_loaded_only_to_compute(
    monkeypatch: pytest.MonkeyPatch, jobs: list[Job], tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    (task,) = make_tasks(jobs[:1], [], settings, loadings(jobs))
    with monkeypatch.context() as patch:
        patch.setattr(worker, "write_if_whole", lambda *_: None)  # as if it were killed before
        assert perform(task).failed == {}
    monkeypatch.setattr(worker, "loaded", None)
    assert perform(task).failed == {}
    assert is_done(settings.results, jobs[0].cell.id)
    (other,) = make_tasks(jobs[:1], [], settings_of(tmp_path / "empty"), loadings(jobs))
    assert "TypeError" in perform(other).failed[jobs[0].cell.id]


def test_the_largest_dataset_is_scored_first(jobs: list[Job], tmp_path: Path) -> None:
    small = jobs[0]
    data = replace(small.samples, samples=(*small.samples.samples, *small.samples.test))
    large = replace(small, samples=data, cell=small.cell.model_copy(update={"dataset": data_id(data)}))
    for order in ((small, large), (large, small)):
        tasks = make_tasks(order, [], settings_of(tmp_path), loadings(jobs))
        assert [len(task.samples.test) for task in tasks] == [len(data.test), len(small.samples.test)]


def test_a_process_that_has_worked_is_taken_before_a_new_one(jobs: list[Job], tmp_path: Path) -> None:
    tasks = make_tasks(jobs[:1], [], settings_of(tmp_path), loadings(jobs))
    executor = LocalProcesses(2)
    before = len(multiprocessing.active_children())
    try:
        for _ in range(2):
            executor.submit(tasks)
            assert executor.wait() is not None
        assert len(multiprocessing.active_children()) == before + 1
    finally:
        executor.close()


def test_a_process_has_the_environment_of_its_driver(
    monkeypatch: pytest.MonkeyPatch, jobs: list[Job], tmp_path: Path
) -> None:
    """And not that which the driver had when the first process was started."""
    for folder in (tmp_path / "one", tmp_path / "two"):
        monkeypatch.setenv("BENCH_CACHE", str(folder))
        executor = LocalProcesses(1)
        try:
            found = executor._idle[0].pool.submit(user_cache).result()
        finally:
            executor.close()
        assert found == folder


def test_tasks_bundle_whole_classes(jobs: list[Job], tmp_path: Path) -> None:
    (first, _), images = class_places(jobs[0].samples), len(jobs[0].samples.test)
    of_first = sum(sample.class_name == first for sample in jobs[0].samples.test)
    for most, bundles in ((images, 1), (images - 1, 2), (of_first, 2), (1, 2)):
        tasks = make_tasks(jobs[:1], [], settings_of(tmp_path, task_images=most), loadings(jobs))
        assert [name for task in tasks for name in task.classes] == list(class_places(jobs[0].samples))
        assert len(tasks) == bundles
        assert len({task.key for task in tasks}) == bundles


def test_there_is_a_process_for_each_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: list[Job]) -> None:
    loading = {jobs[0].cell.backbone: loading_of("mini:v2")}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, processes, expected in (
        ("", None, ["cuda:0", "cuda:1"]),
        ("", 3, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cpu", 2, ["", ""]),
    ):
        computation = Computation(device=device, results=tmp_path, processes=processes)
        with computation.opened(loading, jobs) as (executor, _):
            assert isinstance(executor, LocalProcesses)
            assert list(executor.devices) == expected


def test_a_small_backbone_computes_in_as_many_processes_as_there_are_cores_and_tasks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: list[Job]
) -> None:
    loading = {jobs[0].cell.backbone: loading_of("mini:v2")}
    computation = Computation(device="cpu", results=tmp_path)
    for cores, todo, expected, workers in (
        (1, jobs, InThisProcess, 0),
        (2, jobs, LocalProcesses, 0),
        (2, jobs[:1], InThisProcess, 1),
    ):
        monkeypatch.setattr(joblib, "cpu_count", lambda cores=cores: cores)
        with computation.opened(loading, todo) as (executor, settings):
            assert isinstance(executor, expected)
            assert settings.workers == workers


def test_parameters_that_sbatch_does_not_have_are_refused(jobs: list[Job], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--slurm"):
        SlurmJobs(tmp_path, at_a_time=1, parameters={"partitoin": "gpu"})


def test_the_command_says_which_options_belong_to_which_executor(bench: Any) -> None:
    assert "--ray-address is for --executor ray" in bench("run", "--all", "--ray-address", "auto")[2]
    assert "--slurm is for --executor slurm" in bench("run", "--all", "--slurm", "partition=gpu")[2]
    assert "say NAME=VALUE" in bench("run", "--all", "--executor", "slurm", "--slurm", "partition")[2]
