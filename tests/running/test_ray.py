"""Ray: drivers that go and come, nodes that are lost."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.faulty_runs import (
    BENCH,
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

from benchmark.contract import Method
from benchmark.data.samples import SampleSet
from benchmark.running.executors.ray_cluster import RayCluster
from methods.clip import Clip

pytestmark = [pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="the faults are caused by signals")]


def test_a_driver_that_goes_and_one_that_comes_back(
    ray_cluster: Any, faulty: dict[str, type[Method]], parts: Path, gate: Path, tmp_path: Path, bench: Bench
) -> None:
    more = ["--methods", "clip,stops", "--plugin", str(tmp_path / "faulty.py")]
    on_ray = arguments(parts, tmp_path / "results", *more, "--executor", "ray", "--ray-address", ray_cluster.address)
    driver = subprocess.Popen([*BENCH, *on_ray], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: pids(gate))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    (gate / "open").touch()
    code, out, _ = bench(*on_ray)
    assert code == 0
    assert out == bench(*arguments(parts, tmp_path / "undisturbed", *more))[1]


def test_a_node_that_is_lost(
    ray_cluster: Any, faulty: dict[str, type[Method]], datasets: list[SampleSet], gate: Path, tmp_path: Path
) -> None:
    import ray

    jobs = jobs_of([Clip, faulty["stops"]], datasets)
    settings = settings_of(tmp_path / "results")
    executor = RayCluster(address=ray_cluster.address, processes=None)
    # Ray attaches a driver to any node of its machine. That node must stay, for its end would be the driver's, and so
    # must the head. Both nodes that work are in the middle of a cell when one of them goes.
    kept = {ray_cluster.head_node.node_id, ray.get_runtime_context().get_node_id()}
    lost = next(node for node in ray_cluster.list_all_nodes() if node.node_id not in kept)

    def lose() -> None:
        ray_cluster.remove_node(lost, allow_graceful=False)
        until(lambda: not all(map(lives, pids(gate))))

    thread = at_the_gate(gate, lose, count=2)
    records, said = go(jobs, settings, executor)
    thread.join()
    assert [record.status for record in records] == ["done"] * 4
    assert sum("trying again" in line for line in said) == 1, said
    assert tables(records) == undisturbed(jobs, tmp_path)
