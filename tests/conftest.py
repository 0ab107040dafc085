"""Fixtures that several rooms share."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from PIL import Image
from safetensors.torch import load_file
from support.study import real_study, study  # noqa: F401  (fixtures)
from torch import Tensor

from benchmark import cli, registry
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.weights import parse_backbone
from benchmark.data.samples import MINI_MARKER
from benchmark.mini import suite

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Tensor]]:
    """Read the golden arrays of a name, float16 cast to float32."""
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
def golden_backbone(golden: Callable[[str], dict[str, Tensor]], golden_config: dict[str, Any]) -> Backbone:
    """The golden CLIP behind the project's type."""
    model = open_clip.CLIP(**golden_config["open_clip"])
    model.load_state_dict(golden("clip_weights"))
    return Backbone(model, name="golden", architecture="golden", sha256="0" * 64, synthetic=True)


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A small backbone with random weights."""
    return load_backbone(parse_backbone("tiny:random"))


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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; returns exit code, standard output and standard error."""
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(registry, "PLUGINS", {})  # a command starts without any
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


@pytest.fixture(scope="session")
def small_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of the mini suite's MVTec AD."""
    root = tmp_path_factory.mktemp("suite")
    classes = {("mvtec", "screw"), ("mvtec", "grid")}
    suite.write_shots(root, [shot for shot in suite.shots() if (shot.dataset, shot.class_name) in classes])
    (root / MINI_MARKER).write_text("{}")
    return root
