"""Fixtures of the tests that run cells and cause faults."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.faulty_runs import FAULTY

from benchmark import registry
from benchmark.contract import Method
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.samples import SampleSet


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that numbers are equal to the last digit in whichever process they are computed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    folder = tmp_path / "gate"
    folder.mkdir()
    return folder


@pytest.fixture
def faulty(tmp_path: Path, gate: Path, no_plugins: None) -> dict[str, type[Method]]:
    """Methods of a plug-in, by name."""
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY.format(gate=str(gate)))
    return {method.name: method for method in registry.load_plugin(file)}


@pytest.fixture
def datasets(parts: Path) -> list[SampleSet]:
    data = read_folder(PlainFolder(directory=parts, class_name="metal nut"))
    return [replace(data, card=data.card.model_copy(update={"name": n, "title": n})) for n in ("one", "two")]
