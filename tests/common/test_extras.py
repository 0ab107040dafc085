"""What only some commands need is an extra: each names its own where a package of it is missing."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.common.extras import require_extra
from benchmark.errors import BenchError
from benchmark.exports.onnx_file import export_onnx
from benchmark.exports.tidy import to_parquet
from benchmark.running.executors.ray_cluster import RayCluster
from benchmark.running.executors.slurm import SlurmJobs

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
USERS: dict[str, tuple[str, Callable[[], object]]] = {
    "ray": ("ray", lambda: RayCluster(address=None, processes=1)),
    "slurm": ("submitit", lambda: SlurmJobs(Path("jobs"), at_a_time=None, parameters={})),
    "parquet": ("pyarrow", lambda: to_parquet(None)),  # type: ignore[arg-type]
    "onnx": ("onnxscript", lambda: export_onnx(Path("model.onnx"), None, None)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("extra", USERS)
def test_a_missing_package_is_told_with_the_extra_that_brings_it(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, use = USERS[extra]
    assert extra in EXTRAS
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BenchError, match=rf"needs the extra `{extra}`, of which {module} is not.* -e '\.\[{extra}\]'"):
        use()


def test_what_is_there_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("parquet", ["json", "tomllib"], user="A test")
    monkeypatch.setitem(sys.modules, "json", None)
    with pytest.raises(BenchError, match="of which json is not"):
        require_extra("parquet", ["json", "tomllib"], user="A test")
