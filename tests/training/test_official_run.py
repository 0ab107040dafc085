"""What AnomalyCLIP's own code learned on a miniature gives, once imported, the results of its own test code."""

import csv
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.mini.plan import shots
from benchmark.mini.suite import make_suite
from benchmark.records.agreement import range_over_classes
from benchmark.records.records import Record, read_records
from methods.anomalyclip import AnomalyClip

OFFICIAL = Path(__file__).parents[1] / "golden/official_run"
MASKS = ["--set", "protocol.mask_gt0=true"]
"""Its loader calls every pixel above zero anomalous."""

Bench = Callable[..., tuple[int, str, str]]


def published() -> list[tuple[str, str, str, float]]:
    with (OFFICIAL / "results.csv").open(encoding="utf-8") as file:
        return [
            (row["dataset"], row["class"], row["metric"], float(row["percent"]) / 100) for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def data(made_once: Callable[..., Path]) -> Path:
    """The test images of the five datasets."""
    names = {dataset for dataset, *_ in published()}
    which = [shot for shot in shots() if shot.dataset in names and shot.split == "test"]
    return made_once("official_run", lambda folder: make_suite(folder, which=which))


def imported(bench: Bench, results: Path, *settings: str) -> str:
    arguments = ["import-checkpoint", OFFICIAL / "epoch_5.pth", "--auxiliary", "mvtec", "--backbone", "mini:v2"]
    code, out, err = bench(*arguments, "--results", results, *settings)
    assert code == 0, err
    assert "--set anomalyclip.deep_depth=4" in err
    return out.strip()


def run(bench: Bench, data: Path, results: Path, checkpoint: str, *arguments: str) -> dict[str, Record]:
    common = ["--methods", "anomalyclip", "--checkpoint", checkpoint, "--data", data, "--results", results]
    code, _, err = bench("run", *common, *MASKS, "--set", "anomalyclip.deep_depth=4", "--workers", 0, *arguments)
    assert code == 0, err
    records, _ = read_records(results)
    return {record.cell.dataset.name: record for record in records}


def test_the_official_checkpoint_gives_the_official_results(bench: Bench, data: Path, tmp_path: Path) -> None:
    expected = published()
    names = ",".join(dict.fromkeys(dataset for dataset, *_ in expected))
    records = run(bench, data, tmp_path, imported(bench, tmp_path), "--datasets", names)
    for dataset, class_name, metric, value in expected:
        record = records[dataset]
        classes = {**record.classes, "MEAN": None}
        result = classes[class_name]
        values = record.mean if result is None else result.metrics
        ranges = range_over_classes(record.classes.values()) if result is None else result.ranges
        where = (dataset, class_name, metric)
        if metric == "pixel_aupro":  # a step function: with 200 thresholds, the last digits of scores decide
            low, high = ranges["pixel_aupro_200"]
            assert low - 1e-9 <= value <= high + 1e-9, where
        else:
            assert values[metric] == pytest.approx(value, abs=1e-6 if metric == "pixel_auroc" else 1e-12), where


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
    arguments = ["import-checkpoint", OFFICIAL / "epoch_5.pth", "--auxiliary", "mvtec,cvc_colondb"]
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
    arguments = ["import-checkpoint", OFFICIAL / "epoch_5.pth", "--auxiliary", "mvtec", "--backbone", "mini:v2"]
    code, _, err = bench(*arguments, "--results", tmp_path, "--set", setting)
    assert code in (1, 2)
    assert said in err
