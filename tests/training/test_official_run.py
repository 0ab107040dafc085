"""What AnomalyCLIP's own code learned on a miniature gives, once imported, the results of its own test code."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from support.official import GOLDEN, Bench, Official

from benchmark.records.records import Record
from methods.anomalyclip import AnomalyClip

OFFICIAL = Official("anomalyclip", GOLDEN / "epoch_5.pth", ("deep_depth=4",))


@pytest.fixture(scope="module")
def data(made_once: Callable[..., Path]) -> Path:
    """The test images of the five datasets."""
    return made_once("official_run", OFFICIAL.draw)


def imported(bench: Bench, results: Path, *settings: str) -> str:
    return OFFICIAL.imported(bench, results, *settings)


def run(bench: Bench, data: Path, results: Path, checkpoint: str, *arguments: str) -> dict[str, Record]:
    return OFFICIAL.run(bench, data, results, checkpoint, *arguments)


def test_the_official_checkpoint_gives_the_official_results(bench: Bench, data: Path, tmp_path: Path) -> None:
    checkpoint = imported(bench, tmp_path)
    records = run(bench, data, tmp_path, checkpoint, "--datasets", ",".join(OFFICIAL.datasets()))
    for where, expected, found, outside in OFFICIAL.compared(records):
        if where[-1] == "pixel_aupro_200":  # a step function: with 200 thresholds, the last digits of scores decide
            assert outside <= 1e-9, where
        else:
            assert found == pytest.approx(expected, abs=1e-6 if where[-1] == "pixel_auroc" else 1e-12), where


def test_it_also_runs_with_four_layers(bench: Bench, data: Path, tmp_path: Path) -> None:
    """Its tensors do not tell the layers, so any are allowed; where they are stated, they are required."""
    free = imported(bench, tmp_path / "free")
    last, four = (
        run(bench, data, tmp_path / name, free, "--datasets", "btad", *more)["btad"]
        for name, more in {"last": (), "four": ("--set", "anomalyclip.feature_layers=four")}.items()
    )
    assert last.mean["image_auroc"] == four.mean["image_auroc"]
    assert last.mean["pixel_auroc"] != four.mean["pixel_auroc"]
    stated = imported(bench, tmp_path / "stated", "--set", "anomalyclip.feature_layers=four")
    arguments = ["run", "--methods", "anomalyclip", "--checkpoint", stated, "--data", data, "--datasets", "btad"]
    code, _, err = bench(*arguments, "--set", "anomalyclip.deep_depth=4", "--results", tmp_path / "stated")
    assert code == 2
    assert """--set 'anomalyclip.feature_layers="four"'""" in err


def test_options_that_are_advised_can_be_typed(bench: Bench, data: Path, tmp_path: Path) -> None:
    stated = imported(bench, tmp_path, "--set", "anomalyclip.feature_layers=[2, 4]")
    arguments = ["run", "--methods", "anomalyclip", "--checkpoint", stated, "--data", data, "--datasets", "btad"]
    _, _, err = bench(*arguments, "--results", tmp_path)
    advised = shlex.split(err.partition("to use it say ")[2])
    code, _, err = bench(*arguments, "--results", tmp_path, "--dry-run", *advised)
    assert code == 0, err


def test_a_checkpoint_that_nothing_uses_is_refused(bench: Bench, data: Path, tmp_path: Path) -> None:
    checkpoint = imported(bench, tmp_path)
    arguments = ["run", "--data", data, "--results", tmp_path, "--datasets", "btad", "--checkpoint", checkpoint]
    for more in (["--methods", "clip"], ["--methods", "coop"], ["--methods", "anomalyclip", "--protocol", "visa"]):
        code, _, err = bench(*arguments, *more)
        assert code in (1, 2)
        assert "it is of anomalyclip, trained on mvtec, and nothing here runs that" in err, more


def test_a_checkpoint_of_another_version_is_refused_before_the_run(
    bench: Bench, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = imported(bench, tmp_path)
    monkeypatch.setattr(AnomalyClip, "version", AnomalyClip.version + 1)
    arguments = ["run", "--methods", "anomalyclip", "--data", data, "--results", tmp_path, "--datasets", "btad"]
    code, _, err = bench(*arguments, "--set", "anomalyclip.deep_depth=4", "--checkpoint", checkpoint)
    assert code == 2
    assert "train it again, or import it again" in err


def test_a_checkpoint_of_two_auxiliary_datasets_serves_the_protocol_that_trains_on_them(
    bench: Bench, data: Path, tmp_path: Path
) -> None:
    arguments = ["import-checkpoint", OFFICIAL.checkpoint, "--auxiliary", "mvtec,cvc_colondb"]
    code, out, _ = bench(*arguments, "--backbone", "mini:v2", "--results", tmp_path)
    assert code == 0
    run_it = ["run", "--methods", "anomalyclip", "--data", data, "--results", tmp_path, "--datasets", "btad"]
    run_it += ["--set", "anomalyclip.deep_depth=4", "--checkpoint", out.strip(), "--protocol", "adaclip", "--dry-run"]
    code, out, err = bench(*run_it)
    assert code == 0, err
    assert "1 cell, 1 to do, 0 to train first" in err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("anomalyclip.deep_depth=9", "the tensors of"),
        ("anomalyclip.feature_layer=four", "did you mean feature_layers"),
        ("genclip.epochs=2", "not genclip"),
    ],
)
def test_what_cannot_be_stated_of_it_is_said(bench: Bench, tmp_path: Path, setting: str, said: str) -> None:
    arguments = ["import-checkpoint", OFFICIAL.checkpoint, "--auxiliary", "mvtec", "--backbone", "mini:v2"]
    code, _, err = bench(*arguments, "--results", tmp_path, "--set", setting)
    assert code in (1, 2)
    assert said in err
