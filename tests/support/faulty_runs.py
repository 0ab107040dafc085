"""Causing faults in tests: methods that stop, die or hang, and runs that are watched meanwhile."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.running import run_jobs

from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.settings import Settings
from benchmark.contract import Method
from benchmark.data.samples import SampleSet
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import Record
from benchmark.running.executors import Executor
from benchmark.running.planning import Job, Setting, plan
from benchmark.tables.render import table_files
from benchmark.tables.tables import make_tables
from methods.clip import ClipOptions

SOURCE = parse_backbone("tiny:random")
PATIENCE = 120.0
FAULTY = """
import os, re, signal, time
from pathlib import Path
from methods.clip import Clip

GATE = Path({gate!r})

class Stops(Clip):
    name, title = "stops", "Stops"
    def predict(self, features, class_names):
        while not (GATE / "open").exists():  # its process can be killed meanwhile, in the middle of a cell
            (GATE / f"pid-{{os.getpid()}}").touch()
            time.sleep(0.05)
        return super().predict(features, class_names)

class Dies(Clip):
    name, title = "dies", "Dies"
    def predict(self, features, class_names):
        os.kill(os.getpid(), signal.SIGKILL)

class Hangs(Clip):
    name, title = "hangs", "Hangs"
    def predict(self, features, class_names):
        re.match(r"(a+)+$", "a" * 64 + "b")  # in C, without ever giving other threads a turn
"""


def settings_of(results: Path, **more: Any) -> Settings:
    return Settings(results, workers=0, batch_size=4, cache=Cache(results.parent / "cache", GB), **more)


def jobs_of(methods: Sequence[type[Method]], datasets: Sequence[SampleSet]) -> list[Job]:
    setting = Setting(backbone_id(SOURCE, dtype="float32"), Protocol())
    return plan([(method, ClipOptions()) for method in methods], datasets, setting, seeds=[0]).jobs


def go(jobs: Sequence[Job], settings: Settings, executor: Executor | None = None) -> tuple[list[Record], list[str]]:
    said: list[str] = []
    return run_jobs(jobs, settings, executor, say=said.append), said


def tables(records: Sequence[Record]) -> dict[str, str]:
    return table_files(make_tables(records), records)


def undisturbed(jobs: Sequence[Job], tmp_path: Path) -> dict[str, str]:
    """The tables of a run in which nothing happens, in this process; the gate must be open."""
    return tables(go(jobs, settings_of(tmp_path / "undisturbed/results"))[0])


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def pids(gate: Path) -> list[int]:
    return [int(path.name.removeprefix("pid-")) for path in gate.glob("pid-*")]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def at_the_gate(gate: Path, then: Callable[[], None], count: int = 1) -> threading.Thread:
    """Do something when `count` processes are in the middle of a cell, and let them go on afterwards."""

    def watch() -> None:
        until(lambda: len(pids(gate)) >= count)
        then()
        (gate / "open").touch()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


BENCH = [sys.executable, "-c", "from benchmark.cli import main; main()"]
Bench = Callable[..., tuple[int, str, str]]


def arguments(parts: Path, results: Path, *more: str) -> list[str]:
    """What is typed after `bench`."""
    folder = ["--folder", str(parts), "--folder-class", "nut", "--results", str(results)]
    return ["run", "--backbone", "tiny:random", "--workers", "0", "--batch-size", "2", *folder, *more]
