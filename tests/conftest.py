"""Fixtures that several rooms share, and what lets several processes run the tests at once.

Imports that take seconds stay inside the fixtures: the process that hands tests to the workers needs none of them.
"""

import os
import sys

# Each worker of pytest-xdist gets its share of the cores; with a pool of threads as large as the machine in every
# worker they would wait for each other. Libraries read this when they are first imported, other processes inherit it.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from PIL import Image

if TYPE_CHECKING:
    from support.study import Study
    from torch import Tensor

    from benchmark.clip.backbone import Backbone

GOLDEN = Path(__file__).parent / "golden"
SMALL_SUITE = (("mvtec", "screw"), ("mvtec", "grid"))
SLOW = ("ray", "slow", "browser")

# The same examples in every run, however busy the machine is; `FUZZ_SECONDS` of test_fuzz.py looks for new ones.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.load_profile("tests")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument. Pytest 8 names them by their content, and archives hold the time, by which the
    workers of pytest-xdist would differ."""
    return argname if isinstance(val, bytes) else None


# --- what the workers of one run share


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same for all its processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def made_once(shared: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fill a folder below `shared` in one process; the others wait for it. Tests only read it."""

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder = shared / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                new = folder.with_name(f"{folder.name}.new")
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()
                fill(new)
                new.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session", autouse=True)
def cache(shared: Path) -> Iterator[Path]:
    """The cache of commands that tests run, in place of the user's; its mini suite is `small_suite`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(shared / "cache"))
        yield shared / "cache"


@pytest.fixture(scope="session")
def small_suite(cache: Path, made_once: Callable[..., Path]) -> Path:
    """Two classes of the mini suite's MVTec AD, where commands without data look for the whole suite."""
    from support.suites import SUITE_FOLDER, draw_classes

    return made_once(f"{cache.name}/{SUITE_FOLDER}", lambda folder: draw_classes(folder, SMALL_SUITE))


# --- backbones


@pytest.fixture(scope="session")
def golden() -> "Callable[[str], dict[str, Tensor]]":
    """Read the golden arrays of a name, float16 cast to float32."""
    from safetensors.torch import load_file

    return lambda name: {
        key: value.float() if value.is_floating_point() else value
        for key, value in load_file(GOLDEN / f"{name}.safetensors").items()
    }


@pytest.fixture(scope="session")
def golden_config() -> dict[str, Any]:
    """The configuration of the golden CLIP."""
    config: dict[str, Any] = json.loads((GOLDEN / "anomalyclip.json").read_text())["config"]
    return config


@pytest.fixture(scope="session")
def golden_backbone(golden: "Callable[[str], dict[str, Tensor]]", golden_config: dict[str, Any]) -> "Backbone":
    """The golden CLIP behind the project's type."""
    import open_clip

    from benchmark.clip.backbone import Backbone

    model = open_clip.CLIP(**golden_config["open_clip"])
    model.load_state_dict(golden("clip_weights"))
    return Backbone(model, name="golden", architecture="golden", sha256="0" * 64, synthetic=True)


@pytest.fixture(scope="session")
def tiny() -> "Backbone":
    """A small backbone with random weights."""
    from benchmark.clip.backbone import load_backbone
    from benchmark.clip.weights import parse_backbone

    return load_backbone(parse_backbone("tiny:random"))


# --- images and results


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A plain folder of 7 normal and 6 anomalous images of several sizes, with masks."""
    rng = np.random.default_rng(0)
    root = tmp_path / "parts"
    for folder in ("normal", "abnormal", "masks/abnormal"):
        (root / folder).mkdir(parents=True)
    for index in range(13):
        width, height = (int(side) for side in rng.integers(60, 160, size=2))
        pixels = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
        if index < 7:
            Image.fromarray(pixels).save(root / f"normal/{index:03d}.png")
            continue
        mask = np.zeros((height, width), dtype=np.uint8)
        top, left = rng.integers(5, 30, size=2)
        mask[top : top + 20, left : left + 25] = 255
        pixels[mask > 0] //= 3
        Image.fromarray(pixels).save(root / f"abnormal/{index:03d}.png")
        Image.fromarray(mask).save(root / f"masks/abnormal/{index:03d}.png")
    return root


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> "Study":
    """A synthetic study."""
    from support.study import make_study

    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def real_study(tmp_path_factory: pytest.TempPathFactory) -> "Study":
    """The same, called real, and its first dataset BTAD, of which there are published numbers."""
    from support.study import make_study

    made = make_study(tmp_path_factory.mktemp("real"), synthetic=False)
    for path in (made.results / "records").glob("*.json"):
        path.write_text(path.read_text().replace('"name": "parts"', '"name": "btad"'))
    return made


# --- commands and plug-ins


@pytest.fixture
def no_plugins() -> Iterator[None]:
    """No plug-in is registered when the test starts, and none that it registers stays."""
    from benchmark.registry import PLUGINS

    before = dict(PLUGINS)
    PLUGINS.clear()
    yield
    PLUGINS.clear()
    PLUGINS.update(before)


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_suite: Path, no_plugins: None
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; returns exit code, standard output and standard error."""
    from benchmark import cli, registry

    for name in ("BENCH_DATA", "BENCH_RESULTS"):  # what the shell of a user may say
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)  # it computes in this process, on any machine

    def call(*arguments: object) -> tuple[int, str, str]:
        registry.PLUGINS.clear()  # a command starts without any
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


# --- Ray


@pytest.fixture(scope="session")
def started_ray() -> Iterator[Any]:
    """A Ray cluster of a head without CPUs; `ray_cluster` gives it with two nodes that work."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def ray_cluster(started_ray: Any) -> Any:
    """A Ray cluster of a head and two nodes of one CPU, each a process of its own, also after one was removed."""
    while len(started_ray.list_all_nodes()) < 3:
        started_ray.add_node(num_cpus=1)
    started_ray.wait_for_nodes()
    return started_ray


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: a worker gets whole files, and none should start on a long one at the end."""
    slow = {item.path for item in items for name in SLOW if item.get_closest_marker(name)}
    items.sort(key=lambda item: item.path not in slow)
