"""The command line: what it says, its exit codes, and that it starts without heavy imports."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import cli, selection, weights
from benchmark.mini import suite
from benchmark.records import read_records

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--workers", "0", "--device", "cpu"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run a command in this process; returns exit code, standard output and standard error."""
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def test_help_teaches_and_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['bench', '--help']\nfrom benchmark.cli import main\ntry: main()\n"
    code += "except SystemExit: print([m for m in ('torch', 'open_clip', 'pandas', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bench run --all --data DIR" in " ".join(done.stdout.replace("│", " ").split())
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "say what to run"),
        (["run", "--all", "--methods", "clip"], "leave it out"),
        (["run", "--all", "--data", "/no/such/place"], "is not a directory"),
        (["run", "--methods", "clop", "--datasets", "mvtec"], "did you mean clip"),
        (["run", "--datasets", "mvtek"], "did you mean mvtec"),
        (["run", "--datasets", "mvtec", "--seeds", "one"], "--seeds"),
        (["run", "--all", "--data-path", "mvtec"], "NAME=DIR"),
        (["run", "--all", "--set", "clip"], "NAME.OPTION=VALUE"),
        (["run", "--all", "--set", "clip.temperatur=1"], "did you mean temperature"),
        (["run", "--all", "--set", "clip.temperature=warm"], "clip.temperature"),
        (["run", "--all", "--set", "protocol.mask_gt1=true"], "mask_gt1"),
        (["tables", "--results", "no-such-results"], "no records"),
        (["data", "check"], "--data DIR"),
    ],
)
def test_mistakes_are_answered_with_the_way_out(bench: Bench, arguments: list[str], said: str) -> None:
    code, _, err = bench(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_without_data_a_miniature_of_all_datasets_is_run_and_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two classes of the suite stand for all of it."""
    some = [
        shot for shot in suite.shots() if (shot.dataset, shot.class_name) in (("mvtec", "screw"), ("headct", "brain"))
    ]
    labels = {name: text for name, text in suite.texts().items() if name.endswith("labels.csv")}
    monkeypatch.setattr(suite, "shots", lambda: some)
    monkeypatch.setattr(suite, "texts", lambda: labels)
    monkeypatch.setattr(selection, "user_cache", lambda: tmp_path / "cache")
    arguments = ["run", "--all", "--results", tmp_path / "r", "--workers", "0", "--device", "cpu"]
    code, out, err = bench(*arguments)
    assert code == 0
    assert "no data given: running on the mini suite" in err
    assert out.startswith("SYNTHETIC MINIATURE: not comparable with published numbers")
    assert "mini:v1" in out
    assert all(name in out for name in ("MVTec AD", "HeadCT", "CLIP-AC"))
    assert "differ from the expected" not in out  # published counts say nothing about miniatures
    records, _ = read_records(tmp_path / "r")
    assert {record.synthetic for record in records} == {("data", "weights")}
    code, again, err = bench(*arguments)
    assert (code, again) == (0, out)
    assert "0 to do" in err
    assert "making the mini suite" not in err
    code, same, err = bench(*arguments, "--data", tmp_path / "cache" / f"mini-suite-{suite.SUITE_VERSION}")
    assert (code, same) == (0, out)


def test_real_data_never_falls_back_to_the_miniature_weights(
    bench: Bench, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find_file", _no_weights)
    code, _, err = bench("run", "--all", "--folder", parts, "--results", tmp_path / "r")
    assert code == 2
    assert "no weights of ViT-L-14-336-quickgelu:openai" in err


def _no_weights(source: weights.WeightsSource) -> Path:
    raise weights.BackboneError(f"no weights of {source.name}")


def test_data_mini_writes_a_suite_and_leaves_other_things_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "shots", lambda: [])
    assert bench("data", "mini", tmp_path / "new")[0] == 0
    assert suite.is_suite(tmp_path / "new")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.png").write_bytes(b"x")
    code, _, err = bench("data", "mini", tmp_path / "mine")
    assert code == 2
    assert "left alone" in err


def test_nothing_found_says_how_to_get_data(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("run", "--all", "--data", tmp_path)
    assert code == 2
    assert "no dataset was found" in err
    assert "bench data list" in err


def test_a_named_dataset_that_is_not_there_says_what_was_looked_for(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("run", "--datasets", "headct", "--data", tmp_path, *TINY)
    assert code == 1
    assert "headct" in err
    assert "HeadCT_anomaly_detection" in err


def test_a_folder_run_from_images_to_tables(bench: Bench, parts: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ["run", "--folder", parts, "--folder-class", "metal nut", "--results", results, *TINY]
    code, out, _ = bench(*arguments, "--dry-run")
    assert code == 0
    assert out.count("to do  clip") == 2
    assert not results.exists()
    code, out, err = bench(*arguments)
    assert code == 0
    assert "SYNTHETIC WEIGHTS" in out
    assert "(AUROC, AUPRO)" in out
    assert "13 images (7 normal, 6 anomalous)" in err
    code, again, err = bench(*arguments)
    assert (code, again) == (0, out)
    assert "2 cells, 0 to do" in err
    code, tables, _ = bench("tables", "--results", results)
    assert (code, tables) == (0, out)
    assert (results / "tables/main_pixel.tex").is_file()
    code, only, _ = bench("tables", "--results", results, "--methods", "clip", "--output", tmp_path / "only")
    assert code == 0
    assert "CLIP-AC" not in only
    assert bench("tables", "--results", results, "--backbone", "other")[0] == 2


def test_options_and_quirks_are_recorded_and_shown(bench: Bench, parts: Path, tmp_path: Path) -> None:
    arguments = ["run", "--methods", "clip", "--folder", parts, "--results", tmp_path / "r", *TINY]
    code, out, _ = bench(*arguments, "--set", "clip.temperature=0.01", "--set", "protocol.mask_gt0=true")
    assert code == 0
    assert "CLIP (temperature=0.01)" in out
    assert "Protocol quirks: mask_gt0 = True." in out
    (record,), _ = read_records(tmp_path / "r")
    assert record.cell.options == {"temperature": 0.01}


def test_a_failed_cell_gives_exit_code_1_and_its_cause(bench: Bench, parts: Path, tmp_path: Path) -> None:
    (parts / "normal/001.png").write_bytes(b"")
    code, out, err = bench("run", "--folder", parts, "--results", tmp_path / "r", *TINY)
    assert code == 1
    assert "001.png" in err
    assert "2 of 2 cells failed" in err
    code, out, _ = bench("run", "--folder", parts, "--results", tmp_path / "r", *TINY, "--on-error", "skip")
    assert code == 0
    assert "left out" in out


def test_methods_lists_options_papers_and_quirks(bench: Bench) -> None:
    _, out, _ = bench("methods")
    for part in ("clip_ac", "clip.temperature = 0.07", "Zhou et al.", "protocol.mask_gt0 = False", "on nothing"):
        assert part in out


def test_data_list_shows_all_cards_and_where_they_are(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "brain MRI").mkdir()
    code, out, _ = bench("data", "list", "--data", tmp_path)
    assert code == 0
    assert out.count("licence:") == 17
    assert f"found:   {tmp_path / 'brain MRI'}" in out
    assert out.count("not found; looked for") == 16


def test_data_check_reports_a_broken_folder(bench: Bench, parts: Path) -> None:
    assert bench("data", "check", "--folder", parts)[0] == 0
    (parts / "masks/abnormal/008.png").unlink()
    code, out, _ = bench("data", "check", "--folder", parts)
    assert code == 1
    assert "008.png" in out


def test_records_are_plain_json(bench: Bench, parts: Path, tmp_path: Path) -> None:
    bench("run", "--methods", "clip", "--folder", parts, "--results", tmp_path / "r", *TINY)
    (path,) = (tmp_path / "r/records").glob("*.json")
    assert path.stem == json.loads(path.read_text(encoding="utf-8"))["id"]
