"""`bench compare --against`: two folders of results, their differences and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.two_folders import changed, of_ablation, reference_records, write_all

from benchmark.records.records import path_of

Bench = Callable[..., tuple[int, str, str]]
LEARNER, CLIP, COOP = reference_records().values()


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_all(tmp_path / "mine", [LEARNER, CLIP, COOP])


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return write_all(tmp_path / "theirs", [LEARNER, CLIP, COOP])


def test_the_same_results_agree(bench: Bench, mine: Path, theirs: Path) -> None:
    code, out, _ = bench("compare", "--results", mine, "--against", theirs)
    assert code == 0
    assert out.splitlines()[-1].startswith(f"3 of 3 cells agree with {theirs} within 0.0001 points")


def test_a_wrong_number_that_is_planted_is_found_and_named(bench: Bench, mine: Path, theirs: Path) -> None:
    path = path_of(theirs, CLIP.id)
    content = json.loads(path.read_text())
    content["mean"]["pixel_aupro"] += 2e-6
    path.write_text(json.dumps(content))
    code, out, _ = bench("compare", "--results", mine, "--against", theirs)
    assert code == 1
    assert "CLIP on BTAD: mean, pixel AUPRO " in out
    assert bench("compare", "--results", mine, "--against", theirs, "--tolerance", "0.001")[0] == 0
    assert bench("compare", "--results", mine, "--against", theirs, "--methods", "coop,anomalyclip")[0] == 0
    assert bench("compare", "--results", mine, "--against", theirs, "--datasets", "mpdd")[0] == 0


def test_every_cell_of_the_other_folder_must_be_here_and_more_may_be(bench: Bench, mine: Path, theirs: Path) -> None:
    path_of(theirs, COOP.id).unlink()
    code, out, _ = bench("compare", "--results", mine, "--against", theirs)
    assert (code, "Only here: CoOp on BTAD." in out) == (0, True)
    code, out, _ = bench("compare", "--results", theirs, "--against", mine)
    assert (code, f"Only in {mine}: CoOp on BTAD." in out) == (1, True)


def test_a_record_that_cannot_be_read_is_named_and_counts(bench: Bench, mine: Path, theirs: Path) -> None:
    for folder in (mine, theirs):
        path = path_of(folder, COOP.id)
        content = path.read_text()
        path.write_text("{")
        code, _, err = bench("compare", "--results", mine, "--against", theirs, "--methods", "clip")
        assert code == 1
        assert f"cannot be compared: {path}" in err
        assert "1 record could not be read, so not all was compared" in err
        path.write_text(content)
    for record in (LEARNER, CLIP, COOP):
        path_of(theirs, record.id).write_text("{")
    code, out, err = bench("compare", "--results", mine, "--against", theirs)
    assert (code, out) == (1, "")
    assert f"--against {theirs}: none of its records can be read" in err


def test_nothing_to_compare_is_no_agreement(bench: Bench, mine: Path, theirs: Path) -> None:
    write_all(mine, [CLIP])
    write_all(theirs, [of_ablation(COOP)])
    code, out, _ = bench("compare", "--results", mine, "--against", theirs)
    assert (code, out.splitlines()[-1]) == (1, f"{theirs} has none of the cells.")
    write_all(theirs, [COOP])
    assert bench("compare", "--results", mine, "--against", theirs, "--methods", "clip")[0] == 1


def test_ablations_that_were_not_run_here_are_told_and_do_not_count(bench: Bench, mine: Path, theirs: Path) -> None:
    write_all(mine, [CLIP])
    write_all(theirs, [CLIP, of_ablation(COOP)])
    code, out, _ = bench("compare", "--results", mine, "--against", theirs)
    assert (code, "Only in" in out and "of ablations that were not run here: CoOp on BTAD." in out) == (0, True)


def test_a_cell_of_another_version_does_not_agree(bench: Bench, mine: Path, theirs: Path) -> None:
    newer = changed(CLIP, lambda content: content["cell"].update(method_version=9))
    write_all(theirs, [LEARNER, newer.model_copy(update={"id": newer.cell.id}), COOP])
    code, out, _ = bench("compare", "--results", mine, "--against", theirs)
    assert code == 1
    assert "version of the method 1, there 9" in out


def test_it_is_written_as_markdown_or_csv(bench: Bench, mine: Path, theirs: Path, tmp_path: Path) -> None:
    for name, start in (
        ("a.md", "# Two folders of results"),
        ("a.csv", "method,title,dataset,seed,class,defect,metric"),
    ):
        code, _, err = bench("compare", "--results", mine, "--against", theirs, "--output", tmp_path / name)
        assert (code, f"written to {tmp_path / name}" in err) == (0, True)
        assert (tmp_path / name).read_text().startswith(start)


def test_mistakes_are_answered_with_the_way_out(bench: Bench, mine: Path, theirs: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (["--results", mine, "--against", mine], "it is the folder of --results; name another"),
        (["--results", mine, "--against", tmp_path], f"--against {tmp_path}: no records in"),
        (["--results", tmp_path, "--against", mine], f"records in {tmp_path / 'records'}; `bench run` makes them"),
        (["--results", mine, "--against", theirs, "--tolerance", "inf"], "--tolerance inf: say a number of points"),
        (["--tolerance", "inf"], "--tolerance inf: say a number of points"),
        (["--results", mine, "--against", theirs, "--methods", "winclip"], "unknown method with results 'winclip'"),
        (["--results", mine, "--against", theirs, "--datasets", "mvtek"], "unknown dataset with results"),
        (["--results", mine, "--against", theirs, "--methods", "clip", "--datasets", "mpdd"], "no results fit"),
        (["--results", mine, "--against", theirs, "--backbone", "vit"], "unknown backbone with results"),
    ):
        code, out, err = bench("compare", *arguments)
        assert (code, out) == (2, "")
        assert said in err


def test_a_constant_that_was_changed_in_a_method_is_found(
    bench: Bench, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        "from methods.clip import Clip\n\nclass Mine(Clip):\n    name, title = 'mine', 'Mine'\n"
        "    def predict(self, features, class_names):\n        found = super().predict(features, class_names)\n"
        "        found.maps[:, :2] *= 1.0\n        return found\n"
    )
    arguments = ["run", "--backbone", "tiny:random", "--workers", "0", "--device", "cpu", "--folder", parts]
    arguments += ["--methods", "mine", "--plugin", "mine.py"]
    for folder, constant in (("before", "1.0"), ("same", "1.0"), ("after", "0.5")):
        (tmp_path / "mine.py").write_text(source.replace("1.0", constant))
        assert bench(*arguments, "--results", folder)[0] == 0
    assert bench("compare", "--results", "same", "--against", "before")[0] == 0
    code, out, _ = bench("compare", "--results", "after", "--against", "before")
    assert code == 1
    assert (
        "0 of 1 cell agrees with before within 0.0001 points (machine and packages are the same); not: Mine on parts."
        in out
    )
    assert "\nMine on parts: object" in out or "\nMine on parts: mean" in out
    assert "a: files of the method (commit " in out
