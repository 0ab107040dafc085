"""Tasks as text, so that any process can do them: no object is unpickled, and an order can be read by people.

A worker needs this package, and the data, the results, the cache and plug-ins under the same paths as the driver.
"""

import faulthandler
import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from benchmark.clip import WeightsSource
from benchmark.common import Cache, Settings
from benchmark.contract import Learner
from benchmark.data import SampleSet
from benchmark.errors import BenchError
from benchmark.records import BackboneId, Cell, TrainingId
from benchmark.registry import PLUGINS, find_method, load_plugin, options_from
from benchmark.running.planning import Job
from benchmark.running.tasks import Kind, Lost, Reply, Task
from benchmark.training import Training

if TYPE_CHECKING:
    from benchmark.clip import Backbone


@dataclass(frozen=True)
class Loading:
    """How a backbone is loaded."""

    source: WeightsSource
    dtype: str
    device: str
    """Empty: the best that the worker has."""
    pos_interp: str
    window_chunk: int


@dataclass(frozen=True)
class _Training:
    id: TrainingId
    given: Path | None


@dataclass(frozen=True)
class _Order:
    key: str
    kind: Kind
    title: str
    backbone: BackboneId
    loading: Loading
    settings: Settings
    samples: SampleSet
    """What is scored, or what is trained on."""
    cells: tuple[Cell, ...]
    trainings: tuple[_Training | None, ...]
    """To be done; of a task with cells, that of each."""
    spans: tuple[tuple[int, int], ...]
    plugins: tuple[Path, ...]
    folder: Path
    """From which relative paths count."""
    trace: Path
    """Tells what the worker was at when its time was over."""


_ORDERS = TypeAdapter(_Order)


@dataclass(frozen=True)
class Clerk:
    """Writes orders, and says why a worker that took one is gone."""

    settings: Settings
    loading: Mapping[BackboneId, Loading]

    def write(self, task: Task) -> str:
        """Return a task as text; what was noted of an earlier attempt is forgotten."""
        self.trace(task).unlink(missing_ok=True)
        trainings = [job.training for job in task.jobs] or list(task.trainings)
        samples = task.jobs[0].samples if task.jobs else task.trainings[0].images
        order = _Order(
            key=task.key,
            kind=task.kind,
            title=task.title,
            backbone=task.backbone,
            loading=self.loading[task.backbone],
            settings=self.settings,
            samples=samples,
            cells=tuple(job.cell for job in task.jobs),
            trainings=tuple(_Training(each.id, each.given) if each else None for each in trainings),
            spans=tuple((span.start, span.stop) for span in task.spans),
            plugins=tuple(PLUGINS),
            folder=Path.cwd(),
            trace=self.trace(task),
        )
        return _ORDERS.dump_json(order, by_alias=True).decode()

    def trace(self, task: Task) -> Path:
        """Return where a worker notes what it was at when its time was over."""
        return self.settings.results / ".traces" / f"{task.key}--{len(task.ids)}--{task.ids[0]}.txt"

    def lost(self, task: Task, cause: str) -> Lost:
        """Say why no answer to an order will come: its time was over, or else `cause`."""
        try:
            trace = self.trace(task).read_text(encoding="utf-8", errors="replace")
            self.trace(task).unlink()
        except OSError:
            return Lost(cause)
        if not trace:
            return Lost(cause)
        frames = re.findall(r'File "(.*)", line (\d+) in (.*)', trace.split("Thread")[-1])
        at = f"; it was in {frames[0][2]} ({frames[0][0]}, line {frames[0][1]})" if frames else ""
        limit = self.settings.cell_timeout or 0.0
        return Lost(f"TimeoutError: not done after {limit * len(task.ids):g} s (--cell-timeout {limit:g}){at}", True)


def execute(text: str, *, device: str = "") -> str:
    """Do a task and return the reply as text.

    Args:
        text: from `Clerk.write`.
        device: in place of the one that is asked for.
    """
    order = _ORDERS.validate_json(text)
    os.chdir(order.folder)
    said: list[str] = []
    try:
        for path in order.plugins:
            load_plugin(path)
        task = _task(order)
    except BenchError as error:
        ids = [cell.id for cell in order.cells] or [each.id.id for each in order.trainings if each]
        return Reply(failed=dict.fromkeys(ids, f"{type(error).__name__}: {error}")).model_dump_json()
    from benchmark.running.worker import do

    with _watched(order, len(task.ids)):
        reply = do(task, lambda _: loaded(order.loading, order.settings.cache, device), order.settings, say=said.append)
    return reply.model_copy(update={"said": tuple(said)}).model_dump_json()


def _task(order: _Order) -> Task:
    """Return the task of an order.

    Raises:
        BenchError: a method is not the one that the order was written for.
    """
    spans = tuple(slice(*span) for span in order.spans)
    if not order.cells:
        trainings = tuple(_training(each, order.samples) for each in order.trainings if each)
        return Task(order.key, order.kind, order.title, order.backbone, trainings=trainings, spans=spans)
    by_key = {sample.key: sample for sample in order.samples.train}
    jobs = []
    for cell, training in zip(order.cells, order.trainings, strict=True):
        method = find_method(cell.method, cell.method_version)
        shown = {name: tuple(by_key[key] for key in keys) for name, keys in (cell.references or {}).items()}
        options = options_from(method, cell.options)
        learned = _training(training, None) if training else None
        jobs.append(Job(cell, method, options, order.samples, learned, shown))
    return Task(order.key, order.kind, order.title, order.backbone, tuple(jobs), spans=spans)


def _training(order: _Training, samples: SampleSet | None) -> Training:
    method = find_method(order.id.method, order.id.method_version)
    assert issubclass(method, Learner)  # of that version, so it is the driver's
    return Training(order.id, method, options_from(method, order.id.options), samples, order.given)


@functools.lru_cache(maxsize=2)  # most runs have one, or WinCLIP's beside it
def loaded(loading: Loading, cache: Cache, device: str = "") -> "Backbone":
    """Return a backbone, loaded once in this process; `device` in place of the one that is asked for."""
    from benchmark.clip import load_backbone, pick_device

    return load_backbone(
        loading.source,
        dtype=loading.dtype,
        device=pick_device(device or loading.device),
        pos_interp=loading.pos_interp,
        window_chunk=loading.window_chunk,
        cache=cache,
    )


@contextmanager
def _watched(order: _Order, units: int) -> Iterator[None]:
    """End this process if it takes too long; encoding is no method's own work, and is left to take its time."""
    limit = order.settings.cell_timeout
    if limit is None or order.kind == "encode":
        yield
        return
    order.trace.parent.mkdir(parents=True, exist_ok=True)
    with order.trace.open("w", encoding="utf-8") as file:
        # A thread of C: it works while Python code holds its lock, and no change of the clock moves it.
        faulthandler.dump_traceback_later(limit * units, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    order.trace.unlink(missing_ok=True)
