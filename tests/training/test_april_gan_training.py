"""APRIL-GAN is trained on stored features without mosaics and on images with them, and goes on where it was killed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from benchmark.contract import TrainingBatch
from methods.april_gan import AprilGan

Bench = Callable[..., tuple[int, str, str]]
EPOCHS = 3  # of a training on MVTec AD


class _Killed(BaseException):
    """Ends a training as Ctrl-C or a kill does."""


def train(bench: Bench, data: Path, results: Path, mosaic: float) -> tuple[dict[str, Any], str]:
    """Train on the small MVTec AD; returns what the checkpoint says of itself, and the messages."""
    arguments = ["--methods", "april_gan", "--set", f"april_gan.mosaic={mosaic}", "--auxiliary", "mvtec"]
    common = ["--data", data, "--backbone", "tiny:random", "--results", results, "--workers", 0]
    code, out, err = bench("train", *arguments, *common)
    assert code == 0, err
    return json.loads(Path(out.strip()).read_text()), err


def test_a_killed_training_goes_on_and_learns_the_same(
    bench: Bench, small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    original, learned = AprilGan.losses, {}
    for mosaic in (0.0, 0.5):
        encoded.clear()
        expected, _ = train(bench, small_suite, tmp_path / "whole", mosaic)
        images = expected["images"]
        assert sum(encoded) == images * (EPOCHS if mosaic else 1)
        assert len(expected["curve"]) == EPOCHS
        assert set(expected["curve"][0]) == {"total", "focal", "dice_abnormal"}
        steps: list[int] = []

        def dying(
            self: AprilGan, batch: TrainingBatch, *, steps: list[int] = steps, last: int = -(-images // 8) + 2
        ) -> dict[str, Tensor]:
            steps.append(1)
            if len(steps) == last:  # in the second epoch
                raise _Killed
            return original(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(AprilGan, "losses", dying)
            with pytest.raises(_Killed):
                train(bench, small_suite, tmp_path / "killed", mosaic)
        found, said = train(bench, small_suite, tmp_path / "killed", mosaic)
        assert f"at epoch 2 of {EPOCHS}" in said
        assert ("(mosaic=0.0)" in said) is (not mosaic)
        assert (found["sha256"], found["curve"]) == (expected["sha256"], expected["curve"])
        learned[mosaic] = expected
    never, often = learned.values()
    assert never["sha256"] != often["sha256"]
    assert never["curve"][0]["total"] != pytest.approx(often["curve"][0]["total"], rel=1e-3)
