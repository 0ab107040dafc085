"""A dry run downloads no weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.suites import draw_classes

from benchmark.clip.beforehand import sha256_beforehand
from benchmark.clip.weights import DEFAULT_BACKBONE, KNOWN_FILES, MINI_BACKBONE, parse_backbone, weights_sha256

Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no weights, and on which a download fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    for name in ("pooch.retrieve", "open_clip.download_pretrained", "huggingface_hub.hf_hub_download"):
        monkeypatch.setattr(name, refuse)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr("benchmark.clip.weights.cache_directory", lambda: tmp_path / "weights")
    monkeypatch.setattr("benchmark.clip.beforehand.cache_directory", lambda: tmp_path / "weights")


@pytest.fixture
def data(made_once: Callable[..., Path]) -> Path:
    """BTAD and MVTec AD with a class each."""
    return made_once("dry/data", lambda folder: draw_classes(folder, [("btad", "01"), ("mvtec", "grid")]))


def test_cells_have_the_ids_that_the_published_sha256_gives(bench: Bench, data: Path, tmp_path: Path) -> None:
    run = ("run", "--datasets", "btad", "--data", data, "--results", tmp_path / "r", "--dry-run")
    code, out, err = bench(*run, "--methods", "clip,coop", "--auxiliary", "mvtec")
    assert code == 0, err
    lines = out.splitlines()
    assert [line.rpartition("--")[0] for line in lines] == [
        "train  coop--mvtec--s0",
        "to do  clip--btad--s0",
        "to do  coop--btad--s0",
    ]
    assert all(len(line.rpartition("--")[2]) >= 8 for line in lines)


def test_cells_of_weights_without_a_published_sha256_have_no_id(bench: Bench, data: Path, tmp_path: Path) -> None:
    run = ("run", "--methods", "clip", "--datasets", "btad", "--data", data, "--results", tmp_path / "r", "--dry-run")
    code, out, err = bench(*run, "--backbone", "ViT-B-16:laion2b_s34b_b88k")
    assert code == 0, err
    assert out == "to do  clip--btad--s0\n"
    assert "are listed without ids" in err


def test_the_sha256_beforehand_is_that_of_the_file() -> None:
    assert sha256_beforehand(parse_backbone(DEFAULT_BACKBONE)) == KNOWN_FILES[DEFAULT_BACKBONE].sha256
    for backbone in (MINI_BACKBONE, "tiny:random-3"):
        source = parse_backbone(backbone)
        assert sha256_beforehand(source) == weights_sha256(source)
