"""What a cell costs besides its computing, and what 10,000 finished cells cost.

Run with `pytest tests/benchmarks/test_overhead.py`. Nothing here asserts a time: figures are printed and kept in the
`extra_info` of pytest-benchmark.
"""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.reference import REFERENCE

from benchmark import registry
from benchmark.api.datasets import Targets, mini_suite, select_datasets
from benchmark.api.requests import Learning, Places
from benchmark.api.selection import select_auxiliaries, select_methods
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.common.settings import Settings
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import read_records
from benchmark.running.driver import run
from benchmark.running.executors import InThisProcess
from benchmark.running.executors.local import LocalProcesses
from benchmark.running.planning import Setting, plan
from benchmark.running.tasks import Loading

CELLS, SEEDS = 200, 195
SOURCE = parse_backbone("tiny:random")
LOADING = Loading(SOURCE, "float32", "cpu", "bilinear", 512)
NOTHING = """
import torch
from benchmark.contract import Method, Prediction, VisionSpec

class Nothing(Method):
    name, title, paper = "nothing", "Nothing", "none"
    def vision(self):
        return VisionSpec(28)
    def predict(self, features, class_names):
        return Prediction(torch.arange(len(class_names)).float(), torch.zeros(len(class_names), 2, 2))
"""


@pytest.mark.parametrize("processes", [0, 1])
def test_overhead_per_cell(benchmark, capsys, tmp_path, no_plugins, processes):
    """Cells of two small images and a method that does nothing, a task each: their time, less that of their passes."""
    (tmp_path / "nothing.py").write_text(NOTHING)
    (method,) = registry.load_plugin(tmp_path / "nothing.py")
    for index, folder in enumerate(("normal", "abnormal")):
        (tmp_path / "parts" / folder).mkdir(parents=True)
        Image.new("RGB", (28, 28), (index * 200,) * 3).save(tmp_path / "parts" / folder / f"{index}.png")
    data = read_folder(PlainFolder(directory=tmp_path / "parts", class_name="part"))
    sets = [replace(data, card=data.card.model_copy(update={"name": f"d{i}", "title": f"d{i}"})) for i in range(CELLS)]
    settings = Settings(tmp_path / "results", workers=0, cache=Cache(tmp_path / "cache", GB))
    identity = backbone_id(SOURCE, dtype="float32")
    executor = LocalProcesses(processes) if processes else InThisProcess(say=str)

    def everything(sets):
        run(
            plan([(method, method.Options())], sets, Setting(identity, Protocol()), seeds=[0]).jobs,
            settings,
            executor,
            loading={identity: LOADING},
            say=str,
        )

    everything(sets[:1])  # so that the process and its backbone are there
    benchmark.pedantic(everything, args=(sets,), rounds=1)
    executor.close()
    passes = np.mean([record.run.seconds["total"] for record in read_records(settings.results)[0]])
    overhead = 1000 * (benchmark.stats.stats.total / CELLS - passes)
    benchmark.extra_info["overhead_ms"] = overhead
    with capsys.disabled():
        print(f"\n{'another' if processes else 'this'} process: {overhead:.1f} ms of overhead per cell")


@pytest.mark.parametrize("command", ["run", "tables"])
def test_ten_thousand_finished_cells(benchmark, capsys, tmp_path, command):
    """Six methods on the papers' 17 datasets in miniature under 195 seeds, by records made for it without computing."""
    data = mini_suite()
    found, _ = select_datasets([], data=data, beyond=False)
    chosen, protocol = select_methods([])
    identity = backbone_id(parse_backbone("mini:v2"), dtype="float32")
    setting = Setting(identity, protocol, select_auxiliaries(chosen, Targets(Places(data=data), found, []), Learning()))
    records, problems = read_records(REFERENCE)
    assert not problems
    known = {(r.cell.method, r.cell.dataset.name): r for r in records if not r.cell.changed}
    (tmp_path / "records").mkdir()
    jobs = plan(chosen, found, setting, seeds=range(SEEDS)).jobs
    for job in jobs:
        content = known[job.cell.method, job.cell.dataset.name].model_dump(mode="json")
        content |= {"cell": job.cell.model_dump(mode="json"), "id": job.cell.id, "images_sha256": None}
        (tmp_path / f"records/{job.cell.id}.json").write_text(json.dumps(content))
    seeds = ["--all", "--seeds", ",".join(map(str, range(SEEDS)))] if command == "run" else []
    code = f"import sys; sys.argv = {['bench', command, *seeds, '--results', str(tmp_path)]!r}\n"
    code += "from benchmark.cli import main; main()"

    def finished():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    done = benchmark.pedantic(finished, rounds=1)
    assert command == "tables" or f"{len(jobs)} cells, 0 to do" in done.stderr
    benchmark.extra_info["command_s"] = benchmark.stats.stats.total
    with capsys.disabled():
        print(f"\nbench {command} with {len(jobs)} finished cells: {benchmark.stats.stats.total:.1f} s")
