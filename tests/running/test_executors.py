"""The same numbers wherever cells are computed: in this process, in several, on Ray, by Slurm, in batches and parts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.computing import Computation
from benchmark.cli.options import ComputeOptions, ExecutorOptions
from benchmark.cli.selection import select_datasets
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.settings import Settings
from benchmark.contract import Method
from benchmark.data.samples import MINI_MARKER
from benchmark.errors import BenchError
from benchmark.mini import suite
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record, path_of, read_record
from benchmark.running import orders as orders_module
from benchmark.running.driver import run
from benchmark.running.executors import Executor, InThisProcess
from benchmark.running.executors.local import LocalProcesses
from benchmark.running.executors.ray_cluster import RayCluster
from benchmark.running.executors.slurm import SlurmJobs
from benchmark.running.orders import Clerk, Loading, execute
from benchmark.running.planning import Auxiliaries, Job, Setting, plan
from benchmark.running.tasks import Ended, Reply, Task, make_tasks
from benchmark.running.worker import do
from benchmark.tables.tables import make_tables, table_files
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.clip import Clip, ClipOptions
from methods.coop import CoOp, CoOpOptions

CHOSEN: list[tuple[type[Method], Any]] = [
    (Clip, ClipOptions()),
    (CoOp, CoOpOptions(epochs=1)),
    (AnomalyClip, AnomalyClipOptions(epochs=1)),
]
SOURCE = parse_backbone("mini:v2")
LOADING = Loading(SOURCE, "float32", "cpu", "bilinear", 512)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class of the mini suite's MVTec AD, and two of its BTAD."""
    root = tmp_path_factory.mktemp("suite")
    classes = {("mvtec", "grid"), ("btad", "01"), ("btad", "02")}
    suite.write_shots(root, [shot for shot in suite.shots() if (shot.dataset, shot.class_name) in classes])
    (root / MINI_MARKER).write_text("{}")
    return root


@pytest.fixture(scope="module")
def jobs(data: Path) -> list[Job]:
    (mvtec, btad), _ = select_datasets(["mvtec", "btad"], data=data)
    setting = Setting(backbone_id(SOURCE, dtype="float32"), Protocol(), Auxiliaries({"mvtec": mvtec}))
    return plan(CHOSEN, [btad], setting, seeds=[0]).jobs


def settings_of(root: Path, **more: Any) -> Settings:
    return Settings(root / "results", workers=0, cache=Cache(root / "cache", GB), **more)


def clerk(settings: Settings, jobs: Sequence[Job]) -> Clerk:
    return Clerk(settings, {job.cell.backbone: LOADING for job in jobs})


def here(settings: Settings, say: Any = lambda line: None) -> InThisProcess:
    return InThisProcess(
        lambda task: do(task, lambda _: orders_module.loaded(LOADING, settings.cache), settings, say=say)
    )


def go(jobs: Sequence[Job], settings: Settings, executor: Executor) -> list[Record]:
    said: list[str] = []
    try:
        run(jobs, settings, executor, say=said.append)
    finally:
        executor.close()
    assert sum(line.startswith("done") for line in said) <= len(jobs)
    return [read_record(path_of(settings.results, job.cell.id)) for job in jobs]


@pytest.fixture(scope="module")
def expected(jobs: list[Job], tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    settings = settings_of(tmp_path_factory.mktemp("expected"))
    return go(jobs, settings, here(settings))


def assert_same(found: Sequence[Record], expected: Sequence[Record]) -> None:
    assert [record.error for record in found] == [None] * len(expected)
    for one, other in zip(found, expected, strict=True):
        for name, result in other.classes.items():
            assert one.classes[name].metrics == pytest.approx(result.metrics, abs=1e-6)
        assert one.mean == pytest.approx(other.mean, abs=1e-6)
        assert one.cell == other.cell
    assert table_files(make_tables(found), found).keys() == table_files(make_tables(expected), expected).keys()
    assert [table.rows.keys() for table in make_tables(found)] == [table.rows.keys() for table in make_tables(expected)]


@pytest.mark.parametrize(("batch_size", "shard_size"), [(3, 1000), (8, 20)])
def test_in_this_process(
    jobs: list[Job], expected: list[Record], tmp_path: Path, batch_size: int, shard_size: int
) -> None:
    settings = settings_of(tmp_path, batch_size=batch_size, shard_size=shard_size)
    assert_same(go(jobs, settings, here(settings)), expected)


@pytest.mark.parametrize(("processes", "shard_size"), [(1, 1000), (2, 10)])
def test_in_processes(jobs: list[Job], expected: list[Record], tmp_path: Path, processes: int, shard_size: int) -> None:
    settings = settings_of(tmp_path, shard_size=shard_size)
    assert_same(go(jobs, settings, LocalProcesses(clerk(settings, jobs), processes)), expected)
    assert not list((settings.results / ".parts").glob("*"))


def test_on_ray(jobs: list[Job], expected: list[Record], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, shard_size=20)
    assert_same(go(jobs, settings, RayCluster(clerk(settings, jobs), address=None, processes=2)), expected)


def test_by_slurm(jobs: list[Job], expected: list[Record], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    executor = SlurmJobs(clerk(settings, jobs), tmp_path / "slurm", at_a_time=2, parameters={"partition": "gpu"})
    assert executor.simulated
    assert_same(go(jobs[:2], settings, executor), expected[:2])
    assert not (tmp_path / "slurm").exists()


# --- tasks and orders ---


class Counting:
    """An executor that keeps what it was asked to do."""

    def __init__(self, inner: InThisProcess) -> None:
        self.inner, self.kinds = inner, list[str]()

    def submit(self, tasks: Sequence[Task]) -> None:
        self.kinds += [task.kind for task in tasks]
        self.inner.submit(tasks)

    def wait(self, seconds: float | None = None) -> Ended:
        return self.inner.wait(seconds)

    def close(self) -> None:
        self.inner.close()


def test_what_is_done_is_never_queued_again(jobs: list[Job], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    first = Counting(here(settings))
    run(jobs[:2], settings, first, say=print)
    assert first.kinds == ["encode", "train", "score"]
    second = Counting(here(settings))
    run(jobs[:2], settings, second, say=print)
    assert second.kinds == []
    path_of(settings.results, jobs[1].cell.id).unlink()
    third = Counting(here(settings))
    run(jobs, settings, third, say=print)
    assert third.kinds == ["encode", "train", "score"]  # AnomalyCLIP's training; CoOp's is there


def test_an_order_is_text_that_gives_the_same_task(jobs: list[Job], tmp_path: Path) -> None:
    settings = settings_of(tmp_path, shard_size=20)
    trainings = [job.training for job in jobs if job.training]
    for task in make_tasks(jobs, trainings, settings):
        order = json.loads(clerk(settings, jobs).write(task))
        assert order["kind"] == task.kind
        again = orders_module._task(orders_module._ORDERS.validate_python(order))
        assert again.ids == task.ids
        assert again.spans == task.spans
        for mine, theirs in zip(again.jobs, task.jobs, strict=True):
            assert mine.cell == theirs.cell
            assert mine.options == theirs.options
            assert mine.method is theirs.method
            assert mine.samples == theirs.samples
            assert mine.samples.fingerprint == theirs.samples.fingerprint
        for one, other in zip(again.trainings, task.trainings, strict=True):
            assert (one.id, one.options, one.samples) == (other.id, other.options, other.samples)


def test_an_order_for_another_version_of_a_method_is_refused(jobs: list[Job], tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    (task,) = make_tasks(jobs[:1], [], settings)
    text = clerk(settings, jobs).write(task).replace('"method_version":1', '"method_version":99')
    failed = Reply.model_validate_json(execute(text)).failed
    assert list(failed.values()) == [
        f"RegistryError: method 'clip' is of version {Clip.version} here, not 99; install the same code"
    ]


def test_there_is_a_process_for_each_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: list[Job]) -> None:
    loading = {jobs[0].cell.backbone: LOADING}
    monkeypatch.setattr("benchmark.clip.backbone.gpu_count", lambda: 2)
    for device, processes, expected in (
        ("", None, ["cuda:0", "cuda:1"]),
        ("", 3, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cpu", 2, ["", ""]),
    ):
        compute = ComputeOptions(device=device, results=tmp_path)
        with Computation(compute, ExecutorOptions(processes=processes)).opened(loading) as executor:
            assert isinstance(executor, LocalProcesses)
            assert list(executor._devices) == expected
    compute = ComputeOptions(device="cpu", results=tmp_path)
    with Computation(compute, ExecutorOptions()).opened(loading) as executor:
        assert isinstance(executor, InThisProcess)


def test_parameters_that_sbatch_does_not_have_are_refused(jobs: list[Job], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--slurm"):
        SlurmJobs(clerk(settings_of(tmp_path), jobs), tmp_path, at_a_time=1, parameters={"partitoin": "gpu"})


def test_the_command_says_which_options_belong_to_which_executor(bench: Any) -> None:
    assert "--ray-address is for --executor ray" in bench("run", "--all", "--ray-address", "auto")[2]
    assert "--slurm is for --executor slurm" in bench("run", "--all", "--slurm", "partition=gpu")[2]
    assert "say NAME=VALUE" in bench("run", "--all", "--executor", "slurm", "--slurm", "partition")[2]
