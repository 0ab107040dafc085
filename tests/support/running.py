"""Running cells in tests: the executor of this process, methods that are known by name, and their records."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from benchmark import registry
from benchmark.clip.weights import parse_backbone
from benchmark.common.settings import Settings
from benchmark.contract import Method
from benchmark.records.cells import BackboneId
from benchmark.records.records import Record, path_of, read_record
from benchmark.running.driver import run
from benchmark.running.executors import Executor, InThisProcess
from benchmark.running.planning import Job
from benchmark.running.tasks import Loading


def loading_of(name: str) -> Loading:
    """How a backbone is loaded here: on the CPU, in float32."""
    return Loading(parse_backbone(name), "float32", "cpu", "bilinear", 512)


def loadings(jobs: Sequence[Job]) -> dict[BackboneId, Loading]:
    return {job.cell.backbone.weights: loading_of(job.cell.backbone.name) for job in jobs}


@contextmanager
def known(methods: Sequence[type[Method]]) -> Iterator[None]:
    """Register methods that a test defines, as if a plug-in did: a task names its methods, it does not carry them."""
    installed = registry.all_methods()
    new = tuple(method for method in dict.fromkeys(methods) if method.name not in installed)
    with patch.dict(registry.PLUGINS, {Path(__file__).resolve(): new} if new else {}):
        yield


def run_jobs(
    jobs: Sequence[Job],
    settings: Settings,
    executor: Executor | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> list[Record]:
    """Run the jobs, in this process unless told otherwise, and read their records."""
    executor = executor or InThisProcess(say=say)
    try:
        with known([job.method for job in jobs]):
            run(jobs, settings, executor, loading=loadings(jobs), say=say)
    finally:
        executor.close()
    return [read_record(path_of(settings.results, job.cell.id)) for job in jobs]
