"""How commands that compute end: who did what, in what time, and whether it agrees with the reference."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.two_folders import changed, reference_records, write_all

from benchmark.api import ending
from benchmark.api.ending import Tally, compare_with_reference, duration
from benchmark.common.defaults import RESULTS
from benchmark.records.records import path_of
from benchmark.running.driver import Outcome

Bench = Callable[..., tuple[int, str, str]]
LEARNER, CLIP, COOP = reference_records().values()
TINY = ["--backbone", "tiny:random", "--workers", "0", "--device", "cpu"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (104, "1 min 44 s"), (3599.7, "1 h 0 min"), (7380, "2 h 3 min")],
)
def test_times_are_told_in_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("made", "failed", "there", "said"),
    [
        ("abc", "", 0, "3 cells: 3 here, 0 failed, 1 min 44 s"),
        ("a", "", 0, "3 cells: 1 here, 2 by another run, 0 failed, 1 min 44 s"),
        ("a", "b", 3, "6 cells: 1 here, 1 by another run, 3 were there, 1 failed, 1 min 44 s"),
        ("ab", "bc", 1, "4 cells: 1 here, 1 was there, 2 failed, 1 min 44 s"),  # b has its results of before
    ],
)
def test_the_cells_add_up(made: str, failed: str, there: int, said: str) -> None:
    outcome = Outcome(dict.fromkeys(failed, "error"), frozenset(made))
    assert Tally.of("abc", outcome, there=there).told("cell", since=time.monotonic() - 104) == said


def test_nothing_to_do_is_told_too() -> None:
    told = Tally.of([], Outcome(), there=1).told("training", since=time.monotonic() - 2)
    assert told == "1 training: 1 was there, 0 failed, 2 s"


def test_the_time_of_a_command_starts_before_what_takes_long_to_import() -> None:
    code = "import sys, benchmark.cli.ending; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reference of two cells."""
    folder = write_all(tmp_path / "reference", [LEARNER, CLIP])
    monkeypatch.setattr(ending, "reference_results", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_cells_with_a_counterpart_are_compared_with_the_reference(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_with_reference([LEARNER, CLIP, COOP], Path("mine"))
    (line,) = capsys.readouterr().err.splitlines()
    learns = "as much as the stability test of methods that learn allows"
    assert line == (
        f"2 of 2 cells agree with reference within 0.1 points ({learns}); largest difference 0 points; 1 has no "
        "counterpart there"
    )
    compare_with_reference([COOP], Path("mine"))
    compare_with_reference([CLIP], reference)  # made anew
    assert capsys.readouterr() == ("", "")


def test_without_a_checkout_nothing_is_compared(
    reference: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ending, "reference_results", lambda: None)
    compare_with_reference([CLIP], Path("mine"))
    assert capsys.readouterr() == ("", "")


def test_a_cell_that_does_not_agree_is_told_before(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = changed(CLIP, lambda content: content["mean"].update(image_auroc=0.25))
    compare_with_reference([other, LEARNER], Path("mine"))
    told, line = capsys.readouterr().err.splitlines()
    assert told.startswith("differs: CLIP on BTAD: mean, image AUROC 25.0000, there ")
    assert line.startswith("1 of 2 cells agree with reference within 0.1 points")
    assert line.endswith("; not: CLIP on BTAD")


def test_of_many_cells_that_do_not_agree_the_command_that_lists_them_is_told(
    reference: Path,
    bench: Bench,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "MOST", 1)
    others = [changed(each, lambda content: content["mean"].update(image_auroc=0.25)) for each in (LEARNER, CLIP)]
    compare_with_reference(others, Path("mine"))
    _, more, _ = capsys.readouterr().err.splitlines()
    assert more == "and 1 more cell differs; `bench compare --results mine --against reference` lists all"
    write_all(tmp_path / "mine", others)
    code, out, _ = bench(*shlex.split(more.split("`")[1])[1:])
    assert code == 1
    assert "0 of 2 cells agree with reference" in out
    compare_with_reference(others, RESULTS)
    assert "; `bench compare --against reference` lists all" in capsys.readouterr().err


def test_a_record_of_the_reference_that_cannot_be_read_is_named(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_of(reference, CLIP.id)
    path.write_text("{")
    compare_with_reference([LEARNER, CLIP], Path("mine"))
    problem, line = capsys.readouterr().err.splitlines()
    assert problem.startswith(f"cannot be compared: {path}")
    assert line.startswith("1 of 1 cell agrees with reference")
    assert line.endswith("; 1 has no counterpart there")
    compare_with_reference([CLIP], Path("mine"))
    assert capsys.readouterr().err.startswith(f"cannot be compared: {path}")


def test_a_run_into_the_reference_says_so(reference: Path, bench: Bench, parts: Path) -> None:
    for folder, told in ((reference, True), ("mine", False)):
        _, _, err = bench("run", *TINY, "--folder", parts, "--methods", "clip", "--results", folder)
        assert ("note: results go into the reference itself, " in err) == told


def test_an_interrupted_run_says_what_there_is_and_goes_on(
    bench: Bench, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from methods.clip import Clip\n\nclass Mine(Clip):\n    name, title = 'mine', 'Mine'\n"
        "    def predict(self, features, class_names):\n        raise KeyboardInterrupt\n"
    )
    arguments = ["run", *TINY, "--folder", parts, "--plugin", "mine.py", "--results", "r"]
    assert bench(*arguments, "--methods", "clip")[0] == 0
    code, out, err = bench(*arguments, "--methods", "clip,mine")
    assert (code, out) == (130, "")
    assert f"bench: interrupted: 1 of 2 cells have results, in {tmp_path / 'r'}; " in err
    (tmp_path / "mine.py").write_text(
        "from methods.clip import Clip\n\nclass Mine(Clip):\n    name, title = 'mine', 'Mine'\n"
    )
    code, out, err = bench(*arguments, "--methods", "clip,mine")
    assert code == 0
    assert "2 cells: 1 here, 1 was there, 0 failed, " in err
