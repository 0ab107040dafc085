"""The command line: what it says, its exit codes, and that it starts without heavy imports."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.clip import weights
from benchmark.common.cache import Entry
from benchmark.common.settings import feature_cache
from benchmark.data.cards import load_cards
from benchmark.mini import suite
from benchmark.records.records import path_key, path_of, read_records, write_record

Bench = Callable[..., tuple[int, str, str]]
TINY = ["--backbone", "tiny:random", "--workers", "0", "--device", "cpu"]
FROZEN = ["--methods", "clip,clip_ac"]


def test_help_teaches_and_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['bench', '--help']\nfrom benchmark.cli import main\ntry: main()\n"
    code += "except SystemExit: print([m for m in ('torch', 'open_clip', 'pandas', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bench run --all --data DIR" in " ".join(done.stdout.replace("│", " ").split())
    assert done.stdout.strip().endswith("[]")


def test_a_run_with_nothing_to_do_loads_no_clip(parts: Path, tmp_path: Path, bench: Bench) -> None:
    arguments = ["run", *FROZEN, *TINY, "--folder", str(parts), "--results", str(tmp_path)]
    assert bench(*arguments)[0] == 0
    code = f"import sys; sys.argv = {['bench', *arguments]}\nfrom benchmark.cli import main\ntry: main()\n"
    code += "except SystemExit: print('open_clip' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "2 cells, 0 to do" in done.stderr
    assert done.stdout.endswith("False\n")


def test_a_driver_of_other_processes_loads_no_clip() -> None:
    code = "import sys, benchmark.api.executing, benchmark.clip.architectures\n"
    code += "from benchmark.running import LocalProcesses, run, share, side_by_side\nprint('open_clip' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "say what to run"),
        (["run", "--all", "--methods", "clip"], "leave it out"),
        (["run", "--all", "--data", "/no/such/place"], "is not a directory"),
        (["run", "--methods", "clop", "--datasets", "mvtec"], "did you mean coop or clip"),
        (["run", "--datasets", "mvtek"], "did you mean mvtec"),
        (["run", "--datasets", "mvtec", "--seeds", "one"], "--seeds"),
        (["run", "--all", "--data-path", "mvtec"], "NAME=DIR"),
        (["run", "--all", "--set", "clip"], "NAME.OPTION=VALUE"),
        (["run", "--all", "--set", "clip.temperatur=1"], "did you mean temperature"),
        (["run", "--all", "--set", "clip.temperature=warm"], "clip.temperature"),
        (["run", "--all", "--set", "protocol.mask_gt1=true"], "mask_gt1"),
        (["run", "--all", "--auxiliary", "mvtek"], "did you mean mvtec"),
        (["run", "--methods", "coop", "--checkpoint", "no-such.json"], "no-such.json"),
        (["train", "--methods", "clip"], "nothing to train"),
        (["ablate", "clip"], "clip declares no ablations"),
        (["ablate", "anomalyclip", "--only", "module"], "did you mean modules"),
        (["import-checkpoint", "no-such.pth", "--auxiliary", "mvtec", "--backbone", "tiny:random"], "no-such.pth"),
        (["tables", "--results", "no-such-results"], "no records"),
        (["data", "check"], "--data DIR"),
        (["run", "--methods", "clip", "--folder", "no-such"], "--folder no-such: is not a folder"),
        (["run", "--methods", "clip", "--folder", "benchmark"], "put normal ones into a folder normal"),
        (["run", "--methods", "clip", "--folder", ".", "--folder-class", " "], "--folder-class: say what"),
        (["run", "--methods", "clip", "--seeds", ","], "--seeds"),
        (["run", "--methods", "clip", "--seeds", "-1"], "as in 0,1,2"),
        (["run", "--methods", "clip", "--seeds", "9" * 30], "--seeds"),
        (["run", "--methods", "clip", "--set", "coop.epochs=1"], "this command runs clip, not coop"),
        (["run", "--methods", "clip", "--set", "clop.epochs=1"], "did you mean"),
        (["run", "--methods", "clip", "--set", "clip.temperature=NaN"], "must be a finite number, not nan"),
        (["run", "--methods", "winclip", "--set", "winclip.shots=-1"], "must be 0 or more, not -1"),
        (["run", "--methods", "clip", "--backbone", "nope"], "say NAME:TAG"),
        (["run", "--methods", "clip", "--executor", "moon"], "moon"),
        (["train", "--methods", "coop", "--auxiliary", "nope"], "unknown dataset 'nope'"),
        (["ablate"], "METHOD"),
        (["ablate", "nope"], "unknown method 'nope'"),
        (["ablate", "anomalyclip", "genclip"], "genclip"),
        (["ablate", "anomalyclip", "--only", "nope"], "known: modules, modules_code, losses"),
        (["ablate", "anomalyclip", "--datasets", "mvtek"], "did you mean mvtec"),
        (["ablate", "anomalyclip", "--set", "anomalyclip.nope=1"], "unknown option of anomalyclip 'nope'"),
        (["ablate", "anomalyclip", "--set", "anomalyclip.epochs=many"], "option anomalyclip.epochs: "),
        (["ablate", "anomalyclip", "--set", "anomalyclip.epochs=2.5"], "option anomalyclip.epochs: "),
        (["ablate", "anomalyclip", "--set", "anomalyclip.epochs=-1"], "must be 0 or more, not -1"),
        (["ablate", "anomalyclip", "--set", "anomalyclip.batch_size=0"], "must be 1 or more, not 0"),
        (["ablate", "anomalyclip", "--set", "anomalyclip=1"], "NAME.OPTION=VALUE"),
        (["ablate", "genclip", "--set", "genclip.branch=nope"], "'both', 'vision' or 'query'"),
        (
            ["import-checkpoint", ".", "--auxiliary", "mvtec", "--backbone", "tiny:random"],
            "name the weight file itself",
        ),
        (["import-checkpoint", "no-such.pth", "--auxiliary", "mvtek"], "did you mean mvtec"),
        (["compare", "--methods", "nope"], "unknown method with published numbers 'nope'"),
        (["compare", "--output", "table.txt"], "ends in .md or .csv"),
        (["report", "--results", "no-such-results"], "no results"),
        (["methods", "--plugin", "no-such.py"], "no such file"),
        (["new-method", "My Method"], "my_method would do"),
        (["check-method", "clop"], "did you mean"),
        (["data", "list", "--data-path", "mvtec=no-such"], "is not a directory"),
        (["data", "check", "mvtek"], "did you mean mvtec"),
        (["data", "check", "--folder", "no-such"], "--folder no-such: is not a folder"),
        (["data", "mini", "/proc/no-such"], "/proc/no-such: cannot be written"),
        (["predict", "no-such.png"], "no-such.png"),
        (["predict", __file__, "--method", "clop"], "did you mean"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_mistakes_are_answered_with_the_way_out(bench: Bench, arguments: list[str], said: str) -> None:
    code, _, err = bench(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_tables_that_cannot_be_written_are_an_error_with_the_folder(bench: Bench, parts: Path, tmp_path: Path) -> None:
    arguments = ["run", "--methods", "clip", *TINY, "--folder", parts, "--results", tmp_path / "r"]
    assert bench(*arguments)[0] == 0
    code, _, err = bench("tables", "--results", tmp_path / "r", "--output", "/proc/no-such")
    assert code == 2
    assert "bench: /proc/no-such: cannot be written" in err


def test_a_cache_that_cannot_be_written_is_an_error_with_the_way_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", "/proc/no-such")
    code, _, err = bench("run", "--methods", "clip")
    assert code == 2
    assert "name another folder by BENCH_CACHE" in err


def test_without_data_a_miniature_of_all_datasets_is_run_and_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three classes of the suite stand for all of it."""
    kept = (("mvtec", "screw"), ("visa", "candle"), ("headct", "brain"))
    some = [shot for shot in suite.shots() if (shot.dataset, shot.class_name) in kept]
    monkeypatch.setattr(suite, "shots", lambda: some)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    arguments = ["run", "--all", "--results", tmp_path / "r", "--workers", "0", "--device", "cpu"]
    for name in ("coop", "anomalyclip", "genclip", "april_gan", "adaclip", "faprompt", "mrad_ft", "mrad_clip"):
        arguments += ["--set", f"{name}.epochs=1"]
    for changed in ("mrad_clip.prompt_epochs", "aa_clip.text_epochs", "aa_clip.image_epochs"):
        arguments += ["--set", f"{changed}=1"]
    code, out, err = bench(*arguments)
    assert code == 0
    assert err.count("\ntrained") == 20  # ten methods on two auxiliary datasets
    assert "\n20 trainings first, then 13 methods on 3 datasets; results go to " in err
    assert "no data given: running on the mini suite" in err
    assert out.startswith("SYNTHETIC MINIATURE: not comparable with published numbers")
    assert weights.MINI_BACKBONE in out
    assert all(name in out for name in ("MVTec AD", "HeadCT", "CLIP-AC", "AA-CLIP", "FAPrompt", "MRAD-CLIP"))
    assert "differ from the expected" not in out  # published counts say nothing about miniatures
    records, _ = read_records(tmp_path / "r")
    assert {record.synthetic for record in records} == {("data", "weights")}
    code, again, err = bench(*arguments)
    assert (code, again) == (0, out)
    assert "0 to do" in err
    assert "drawing the mini suite" not in err
    code, same, err = bench(*arguments, "--data", tmp_path / "cache" / f"mini-suite-{suite.SUITE_VERSION}")
    assert (code, same) == (0, out)


def test_real_data_never_falls_back_to_the_miniature_weights(
    bench: Bench, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find_file", _no_weights)
    code, _, err = bench("run", "--all", "--folder", parts, "--results", tmp_path / "r")
    assert code == 1
    assert "no weights of ViT-L-14-336-quickgelu:openai" in err
    code, _, err = bench("run", *FROZEN, "--folder", parts, "--results", tmp_path / "r")
    assert code == 2


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


def test_data_check_cache_reads_everything_and_removes_what_is_damaged(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    code, out, _ = bench("data", "check-cache")
    assert (code, f"there is no cache at {tmp_path}/features" in out) == (0, True)
    feature_cache().directory.mkdir()
    assert bench("data", "check-cache")[:2] == (
        0,
        f"{tmp_path}/features: 0 arrays, 0.0 kB, are whole; 0 were damaged\n",
    )
    entry = Entry(feature_cache(), "key")
    for name in ("good", "bad"):
        entry.write(name, np.arange(4.0))
    content, changed = entry.path("bad").read_bytes(), entry.path("bad").stat().st_mtime_ns
    entry.path("bad").write_bytes(content[:-1] + b"x")
    os.utime(entry.path("bad"), ns=(0, changed))  # as a disk does it
    assert entry.is_whole("bad")
    code, out, _ = bench("data", "check-cache")
    assert code == 1
    assert f"{entry.folder}: damaged and removed: bad\n" in out
    assert re.search(r"1 arrays, \d\.\d kB, are whole; 1 were damaged", out)
    assert (entry.names(), bench("data", "check-cache")[0]) == (["good"], 0)


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
    arguments = ["run", *FROZEN, "--folder", parts, "--folder-class", "metal nut", "--results", results, *TINY]
    code, out, _ = bench(*arguments, "--dry-run")
    assert code == 0
    assert out.count("to do  clip") == 2
    assert not results.exists()
    code, out, err = bench(*arguments)
    assert code == 0
    assert "SYNTHETIC WEIGHTS" in out
    assert "(AUROC, AUPRO)" in out
    assert "13 images (7 normal, 6 anomalous)" in err
    assert f"\n2 methods on 1 dataset; results go to {results} and stay if it is stopped\n" in err
    assert "\n2 cells: 2 here, 0 failed, " in err
    assert f"tables are written to {results / 'tables'}" in err
    assert "reference" not in err  # which has no such cells
    code, again, err = bench(*arguments)
    assert (code, again) == (0, out)
    assert "2 cells, 0 to do" in err
    assert "results go to" not in err
    assert "\n2 cells: 2 were there, 0 failed, " in err
    written = {path: path.read_bytes() for path in (results / "tables").rglob("*") if path.is_file()}
    assert results / "tables/main_pixel.tex" in written
    code, tables, _ = bench("tables", "--results", results)
    assert (code, tables) == (0, out)
    assert {path: path.read_bytes() for path in (results / "tables").rglob("*") if path.is_file()} == written
    code, shown, _ = bench("tables", "--results", results, "--check")
    assert code == 0
    assert "all as the records give them" in shown
    (results / "tables/main_pixel.csv").write_text("edited\n")
    code, shown, err = bench("tables", "--results", results, "--check")
    assert code == 1
    assert "-edited" in shown
    assert "`bench tables` writes them" in err
    assert (results / "tables/main_pixel.csv").read_text() == "edited\n"
    code, only, _ = bench("tables", "--results", results, "--methods", "clip", "--output", tmp_path / "only")
    assert code == 0
    assert "CLIP-AC" not in only
    assert bench("tables", "--results", results, "--backbone", "other")[0] == 2


def test_images_that_are_put_back_are_the_current_ones(bench: Bench, parts: Path, tmp_path: Path) -> None:
    results = tmp_path / "r"
    arguments = ["run", "--methods", "clip", "--folder", parts, "--results", results, *TINY]
    assert bench(*arguments)[0] == 0
    [first] = read_records(results)[0]
    assert first.location == path_key(parts)
    moved = next((parts / "normal").iterdir())
    moved.rename(tmp_path / moved.name)
    assert bench(*arguments)[0] == 0
    (tmp_path / moved.name).rename(moved)
    files = {path: path.read_bytes() for path in (results / "records").glob("*.json")}
    assert len(files) == 2
    assert bench(*arguments)[0] == 0
    changed = [path.stem for path, content in files.items() if path.read_bytes() != content]
    assert changed in ([first.id], [])  # nothing is to be said where the first came last by the clock of records
    assert bench("results", "prune", "--results", results)[0] == 0
    assert [each.id for each in read_records(results)[0]] == [first.id]
    settled = path_of(results, first.id).read_bytes()
    assert bench(*arguments)[0] == 0
    assert path_of(results, first.id).read_bytes() == settled


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
    code, out, err = bench("run", *FROZEN, "--folder", parts, "--results", tmp_path / "r", *TINY)
    assert code == 1
    assert "001.png" in err
    assert "\n2 cells: 0 here, 2 failed, " in err
    assert "2 of 2 cells failed" in err
    code, out, _ = bench("run", *FROZEN, "--folder", parts, "--results", tmp_path / "r", *TINY, "--on-error", "skip")
    assert code == 0
    assert "left out" in out


def test_methods_lists_options_papers_and_quirks(bench: Bench) -> None:
    _, out, _ = bench("methods")
    for part in (
        "clip_ac",
        "clip.temperature = 0.07",
        "Zhou et al.",
        "protocol.mask_gt0 = False",
        "on nothing",
        "on the auxiliary",
    ):
        assert part in out


def test_data_list_shows_all_cards_and_where_they_are(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "brain MRI").mkdir()
    code, out, _ = bench("data", "list", "--data", tmp_path)
    assert code == 0
    assert out.count("licence:") == len(load_cards())
    assert out.count(", beyond the papers)") == len(load_cards()) - 17
    assert f"found:   {tmp_path / 'brain MRI'}" in out
    assert out.count("not found; looked for") == len(load_cards()) - 1


def test_data_check_draws_a_folder_and_reports_a_broken_one(bench: Bench, parts: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    code, out, err = bench("data", "check", "--folder", parts, "--show", sheet)
    assert code == 0
    assert "What was taken for what:" in out
    assert f"drawn to {sheet}" in err
    assert Image.open(sheet).format == "PNG"
    (parts / "masks/abnormal/008.png").unlink()
    code, out, _ = bench("data", "check", "--folder", parts)
    assert code == 1
    assert "008.png" in out


def test_records_are_plain_json(bench: Bench, parts: Path, tmp_path: Path) -> None:
    bench("run", "--methods", "clip", "--folder", parts, "--results", tmp_path / "r", *TINY)
    (path,) = (tmp_path / "r/records").glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path.stem == content["id"]
    assert (content["run"]["processes"], {each["run"]["processes"] for each in content["classes"].values()}) == (1, {1})


@pytest.fixture
def two_datasets(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BTAD with one product, and MVTec AD with one class to train on."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    images = [path.read_bytes() for path in sorted((parts / "normal").iterdir())]
    broken = [path.read_bytes() for path in sorted((parts / "abnormal").iterdir())]
    masks = [path.read_bytes() for path in sorted((parts / "masks/abnormal").iterdir())]
    root = tmp_path / "data"
    places = {
        "mvtec/screw/test/good/{}.png": images[:3],
        "mvtec/screw/test/bent/{}.png": broken[:3],
        "mvtec/screw/ground_truth/bent/{}_mask.png": masks[:3],
        "btad/01/test/ok/{}.png": images[3:],
        "btad/01/test/ko/{}.png": broken[3:],
        "btad/01/ground_truth/ko/{}.png": masks[3:],
    }
    for pattern, contents in places.items():
        for index, content in enumerate(contents):
            path = root / pattern.format(f"{index:03d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def test_train_alone_makes_what_a_run_then_uses(bench: Bench, two_datasets: Path, tmp_path: Path) -> None:
    common = ["--data", two_datasets, "--results", tmp_path / "r", *TINY, "--set", "anomalyclip.epochs=1"]
    code, out, err = bench("train", "--methods", "anomalyclip", *common)
    assert code == 0
    assert Path(out.strip()).is_file()
    assert "trained AnomalyCLIP (epochs=1) on mvtec: 6 images" in err
    assert "\n1 training: 1 here, 0 failed, " in err
    code, out, err = bench("run", "--methods", "anomalyclip", "--datasets", "btad", *common, "--dry-run")
    assert "1 cell, 1 to do, 0 to train first" in err
    code, out, err = bench("run", "--methods", "anomalyclip", "--datasets", "btad", *common)
    assert code == 0
    assert "Auxiliary dataset of AnomalyCLIP (epochs=1), trained here: mvtec (for BTAD)" in out
    assert "\ntrained" not in err


def test_a_training_is_watched_on_held_out_images(bench: Bench, two_datasets: Path, tmp_path: Path) -> None:
    """The last line is what a run with the last epoch's parameters gives."""
    common = ["--data", two_datasets, "--results", tmp_path / "r", *TINY, "--set", "anomalyclip.epochs=2"]
    train = ["train", "--methods", "anomalyclip", *common, "--held-out", "btad"]
    for _ in range(2):  # also where it is trained already
        code, _, err = bench(*train)
        assert code == 0
        told = [line for line in err.splitlines() if ", epoch " in line]
        assert [line.split(": ")[0] for line in told] == [f"AnomalyCLIP, epoch {n} of 2, on BTAD" for n in (1, 2)]
    code, _, err = bench("run", "--methods", "anomalyclip", "--datasets", "btad", *common)
    ((record,), _) = read_records(tmp_path / "r")
    expected = {key: record.mean[key] for key in ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro")}
    assert re.findall(r"[\d.]+(?=,|$)", told[-1].split(": ")[1]) == [
        f"{100 * float(value or 0):.1f}" for value in expected.values()
    ]
    code, _, err = bench("train", "--methods", "anomalyclip", *common, "--held-out", "mvtec")
    assert (code, "it is what is trained on" in err) == (2, True)


def test_an_edited_learner_is_marked_until_it_is_trained_again(
    bench: Bench, two_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench("new-method", "mine", "--learns")[0] == 0
    file = tmp_path / "mine.py"
    arguments = ["run", "--methods", "mine", "--plugin", file, "--datasets", "btad", "--data", two_datasets, *TINY]
    arguments += ["--results", tmp_path / "r", "--set", "mine.epochs=1"]

    def numbers() -> tuple[Any, Any]:
        ((record,), _) = read_records(tmp_path / "r")
        assert record.training is not None
        return record.training.sha256, record.training.made and record.training.made.source_sha256

    assert bench(*arguments)[0] == 0
    before = numbers()
    file.write_text(file.read_text().replace("batch.masks", "1 - batch.masks"))
    code, out, err = bench(*arguments)
    assert (code, numbers()) == (0, before)
    assert "kept: results of mine from before its files were edited" in err
    assert "Mine (epochs=1) on BTAD: made before the method's files were edited" in out
    bench("tables", "--results", tmp_path / "r")
    assert "before the method's files were edited" in (tmp_path / "r/tables/main_image.md").read_text()
    code, out, err = bench(*arguments, "--force")
    assert "1 cell, 1 to do, 1 to train first" in err
    after = numbers()
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert "were edited" not in out + err


def test_a_run_leaves_out_what_it_would_train_on_and_names_what_is_lacking(
    bench: Bench, two_datasets: Path, tmp_path: Path
) -> None:
    common = ["--data", two_datasets, "--results", tmp_path / "r", *TINY]
    fast = ["--set", "coop.epochs=1", "--methods", "clip,coop"]
    code, _, err = bench("run", *fast, "--datasets", "btad,mvtec", "--auxiliary", "mvtec", *common)
    assert code == 0
    assert "left out: CoOp on MVTec AD: to be trained on that dataset itself" in err
    assert len(read_records(tmp_path / "r")[0]) == 3
    code, _, err = bench("run", *fast, "--datasets", "btad,mvtec", *common)
    assert code == 1
    assert "FAILED CoOp on MVTec AD: to be trained on visa, which was not found" in err


def test_ablate_runs_each_variant_once_and_prints_the_change(bench: Bench, two_datasets: Path, tmp_path: Path) -> None:
    arguments = ["ablate", "anomalyclip", "--only", "losses,attention", "--datasets", "btad", "--data", two_datasets]
    arguments += ["--results", tmp_path / "r", *TINY, "--set", "anomalyclip.epochs=1"]
    code, out, err = bench(*arguments)
    assert code == 0
    assert "10 cells, 10 to do, 10 to train first" in err  # 6 + 5 rows share their default
    assert "AnomalyCLIP (epochs=1): Global and local optimisation, pixel level (AUROC, AUPRO), %" in out
    assert out.count("default") == 4  # two ablations at two levels
    code, again, err = bench(*arguments)
    assert (code, again) == (0, out)
    assert "10 cells, 0 to do" in err
    written = {path.name for path in (tmp_path / "r/tables/ablations").iterdir()}
    stems = {name.rpartition(".")[0] for name in written}
    assert sorted(stem.partition("--epochs")[0] for stem in stems) == ["anomalyclip_attention", "anomalyclip_losses"]
    assert written == {f"{stem}.{kind}" for stem in stems for kind in ("md", "tex", "csv")}
    row = next(each for each in read_records(tmp_path / "r")[0] if not each.placement.ablations[0].default)
    cell = row.cell.model_copy(update={"options": {**row.cell.options, "epochs": 7}, "changed": {"epochs": 7}})
    run = row.run.model_copy(update={"created": datetime.now(UTC).isoformat(timespec="seconds")})
    redefined = row.model_copy(update={"id": cell.id, "cell": cell, "run": run, "images_sha256": None})
    write_record(tmp_path / "r", redefined)  # as a run with another definition of the row left it
    assert bench(*arguments)[:2] == (0, again)
    assert bench("results", "prune", "--results", tmp_path / "r")[1].split() == [redefined.id]
    for earlier in read_records(tmp_path / "r")[0]:  # as an earlier run on another dataset left them
        data = earlier.cell.dataset.model_copy(update={"name": "mpdd"})
        cell = earlier.cell.model_copy(update={"dataset": data})
        fields = {"id": cell.id, "cell": cell, "dataset_title": "MPDD", "images_sha256": None}
        write_record(tmp_path / "r", earlier.model_copy(update=fields))
    code, both, _ = bench(*arguments)
    assert (code, "MPDD" in both, "MPDD" in again) == (0, True, False)
    text = (tmp_path / f"r/tables/ablations/{min(stems)}.md").read_text(encoding="utf-8")
    assert re.search(r"\| +BTAD +\| change +\| MPDD +\| change", text)


def test_a_cell_of_an_ablation_is_in_the_main_tables_only_if_a_run_asks_for_it(
    bench: Bench, two_datasets: Path, tmp_path: Path
) -> None:
    common = ["--datasets", "btad", "--data", two_datasets, "--results", tmp_path / "r", *TINY]
    common += ["--set", "anomalyclip.epochs=1"]
    ablate = ["ablate", "anomalyclip", "--only", "losses", *common]
    titles = ["AnomalyCLIP (global_loss=False, epochs=1)", "AnomalyCLIP (epochs=1)"]
    assert bench("run", "--methods", "clip,anomalyclip", *common)[0] == 0
    assert bench(*ablate)[0] == 0
    assert bench("tables", "--results", tmp_path / "r")[0] == 0
    main = tmp_path / "r/tables/main_image.md"
    assert titles[0] not in main.read_text()
    assert titles[1] in main.read_text()
    assert bench("tables", "--results", tmp_path / "r", "--check")[0] == 0
    variant = [*common, "--set", "anomalyclip.global_loss=false"]
    code, _, err = bench("run", "--methods", "anomalyclip", *variant)
    assert code == 0
    assert "1 cell, 0 to do" in err
    assert bench("tables", "--results", tmp_path / "r")[0] == 0
    assert titles[0] in main.read_text()
    table = next((tmp_path / "r/tables/ablations").glob("anomalyclip_losses*.csv"))
    before = table.read_bytes()
    assert bench("run", "--methods", "anomalyclip", *variant, "--force")[0] == 0
    assert bench("tables", "--results", tmp_path / "r")[0] == 0
    assert len(before.splitlines()) == len(table.read_bytes().splitlines())


def test_a_run_beside_results_of_another_training_ends_well_and_says_how_to_choose(
    bench: Bench, two_datasets: Path, parts: Path, tmp_path: Path
) -> None:
    """As after a merge of the results of two machines: the new result is written, and no table mixes the two."""
    common = ["--data", two_datasets, "--results", tmp_path / "r", *TINY, "--methods", "coop", "--set", "coop.epochs=1"]
    assert bench("run", *common, "--datasets", "btad")[0] == 0
    (path,) = (tmp_path / "r/records").glob("coop--btad*.json")
    record = json.loads(path.read_text())
    record["training"]["sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    code, out, err = bench("run", *common, "--datasets", "btad", "--folder", parts, "--allow-overlap")
    assert (code, out) == (0, "")
    (advice,) = re.findall(
        r"no tables are written: .*different trainings on mvtec with seed 0.* with (--record \S+)$", err, re.MULTILINE
    )
    code, out, _ = bench("tables", "--results", tmp_path / "r", *advice.split())
    assert code == 0
    assert "parts" in out
    assert "BTAD" not in out


def test_one_evaluation_size_for_all_methods(bench: Bench, parts: Path, tmp_path: Path) -> None:
    arguments = ["run", "--methods", "clip_ac,clip", "--folder", parts, "--results", tmp_path, *TINY]
    code, out, _ = bench(*arguments, "--evaluation-size", "64")
    assert code == 0
    assert "Maps and masks are compared at 64 px." in out
    assert "Protocol quirks: evaluation_size = 64." in out
    assert re.search(r"^ +CLIP-AC +CLIP$", out, flags=re.MULTILINE)
    assert bench(*arguments, "--evaluation-size", "8")[0] == 2


def test_import_checkpoint_prints_where_it_lies(bench: Bench, tmp_path: Path) -> None:
    state = {"ctx_pos": torch.zeros(1, 1, 6, 64), "ctx_neg": torch.zeros(1, 1, 6, 64)}
    torch.save({"prompt_learner": state}, tmp_path / "c.pth")
    arguments = ["import-checkpoint", tmp_path / "c.pth", "--auxiliary", "visa", "--backbone", "tiny:random"]
    code, out, err = bench(*arguments, "--results", tmp_path / "r")
    assert code == 0
    assert Path(out.strip()).is_file()
    assert "--set anomalyclip.context=6 --set anomalyclip.deep_depth=1" in err


def test_a_method_runs_with_the_clip_it_was_published_with_unless_another_is_named(
    bench: Bench, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def file(source: weights.WeightsSource) -> Path:
        if source.architecture == "ViT-B-16-plus-240":
            raise weights.BackboneError(f"no weights of {source.name}")
        return weights.MINI_FILE

    monkeypatch.setattr(weights, "find_file", file)
    arguments = ["run", "--methods", "clip,winclip", "--folder", parts, "--results", tmp_path / "r", "--workers", "0"]
    code, out, err = bench(*arguments)
    assert code == 2  # the other backbone's file is not one of that architecture
    assert "FAILED WinCLIP: no weights of ViT-B-16-plus-240:laion400m_e32" in err
    assert "1 cell, 1 to do, 0 to train first, backbone ViT-L-14-336-quickgelu:openai" in err
    monkeypatch.setattr(weights, "find_file", lambda source: weights.MINI_FILE)
    code, out, err = bench(*arguments, "--dry-run")
    assert code == 0
    assert "backbone ViT-B-16-plus-240:laion400m_e32" in err
    assert out.count("to do") == 2
    code, out, err = bench(*arguments, "--backbone", "tiny:random", "--window-chunk", "5")
    assert code == 0
    assert "WinCLIP" in out


@pytest.mark.parametrize(("asked", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_without_work_sleep_unless_asked_otherwise(
    bench: Any, monkeypatch: pytest.MonkeyPatch, asked: str | None, expected: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", asked or "")
    if asked is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    bench("--help")
    assert os.environ["OMP_WAIT_POLICY"] == expected
