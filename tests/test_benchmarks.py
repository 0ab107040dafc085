"""What `tox -e benchmarks` prints and writes at its end, of benchmarks that take no time."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BENCHMARKS = """
import pytest

def test_speed(benchmark):
    benchmark.pedantic(str, rounds=1)
    benchmark.extra_info |= {"against": "a loop", "ours_s": 0.5, "theirs_s": 4.0, "ratio": 8.0, "parts": {"a": 1.0}}

@pytest.mark.parametrize("size", [1, 2])
def test_types(benchmark, size):
    benchmark.pedantic(str, rounds=1)
    for dtype in ("float32", "bfloat16"):
        benchmark.extra_info[dtype] = {"against": "another", "ratio": 2.5 * size}
    benchmark.extra_info["peak_MB"] = 1234.0

@pytest.mark.skip(reason="nothing to compare with")
def test_skipped(benchmark):
    benchmark.pedantic(str, rounds=1)
"""


def test_all_ratios_stand_in_a_table_and_in_json(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/benchmarks/conftest.py", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # with its options for pytest
    (tmp_path / "test_some.py").write_text(BENCHMARKS)
    command = [sys.executable, "-m", "pytest", tmp_path, "--benchmark-only", "--benchmark-quiet"]
    command += ["-s", f"--benchmark-json={tmp_path / 'found.json'}"]
    # Not a part of this run.
    apart = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=tmp_path, env=apart, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["test_some.py::test_speed", "a", "loop", "0.5", "4", "8"] in lines
    assert ["test_some.py::test_types[2],", "bfloat16", "another", "–", "–", "5"] in lines
    assert ["test_some.py::test_types[1]", "peak_MB", "1234"] in lines
    assert "SKIPPED" in done.stdout
    assert "nothing to compare with" in done.stdout
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    assert [(row["benchmark"], row["ratio"]) for row in found["comparisons"]] == [
        ("test_some.py::test_speed", 8.0),
        ("test_some.py::test_types[1], float32", 2.5),
        ("test_some.py::test_types[1], bfloat16", 2.5),
        ("test_some.py::test_types[2], float32", 5.0),
        ("test_some.py::test_types[2], bfloat16", 5.0),
    ]
    assert found["comparisons"][0]["against"] == "a loop"
    assert [row["value"] for row in found["figures"]] == [1234.0, 1234.0]


def test_the_benchmarks_that_the_documentation_names_exist() -> None:
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    names = re.findall(r"`(test_\w+)(?:\.py::(test_\w+))?`", text)
    assert len(names) > 5
    for file, function in names:
        content = (ROOT / f"tests/benchmarks/{file}.py").read_text(encoding="utf-8")
        assert not function or f"def {function}(" in content, (file, function)
