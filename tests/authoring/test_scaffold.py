"""`bench new-method`: what it writes works at once, in a checkout and elsewhere, and nothing is overwritten."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import methods
from benchmark.authoring.check_images import random_images
from benchmark.authoring.conformance import check_method
from benchmark.authoring.findings import render
from benchmark.authoring.scaffold import MAX_LENGTH, ScaffoldError, class_name, next_steps, write_method
from benchmark.authoring.starters import frozen, learner
from benchmark.clip.backbone import Backbone
from benchmark.contract import Learner, Method
from benchmark.registry import load_plugin

Bench = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("no_plugins")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as far as methods go."""
    root = tmp_path / "checkout"
    shutil.copytree(Path(methods.__file__).parent, root / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests/methods").mkdir(parents=True)
    return root


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, whose packages come first."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_both_kinds_work_in_a_checkout_by_lying_there(checkout: Path) -> None:
    for name, learns in (("patch_best", False), ("patch_learner", True)):
        path, test = write_method(name, checkout, learns=learns)
        assert (path, test) == (checkout / f"methods/{name}.py", checkout / f"tests/methods/test_{name}.py")
    done = python(checkout, "-m", "pytest", "-q", "tests")
    assert "4 passed" in done.stdout, done.stdout
    done = python(checkout, "-c", "import sys; sys.argv[1:] = ['methods']; from benchmark.cli import main; main()")
    assert "patch_best  (PatchBest, version 1)" in done.stdout, done.stderr
    assert "patch_learner  (PatchLearner, version 1)" in done.stdout


@pytest.mark.slow
def test_elsewhere_both_kinds_work_as_plugins(tmp_path: Path) -> None:
    for name, learns in (("patch_best", False), ("patch_learner", True)):
        assert write_method(name, tmp_path, learns=learns) == (tmp_path / f"{name}.py", tmp_path / f"test_{name}.py")
        (method,) = load_plugin(tmp_path / f"{name}.py")
        assert (method.name, method.title, issubclass(method, Learner)) == (name, class_name(name), learns)
        assert "tarter" not in (tmp_path / f"{name}.py").read_text() + (tmp_path / f"test_{name}.py").read_text()
    done = python(tmp_path, "-m", "pytest", "-q")
    assert "4 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("starter", [frozen.Starter, learner.Starter])
def test_the_starters_keep_the_contract(starter: type[Method], tiny: Backbone) -> None:
    findings = check_method(starter, starter.Options(), tiny, random_images)
    assert all(finding.passed for finding in findings), render(findings)


@pytest.mark.parametrize("name", ["a", "patch_best", "x" * MAX_LENGTH])
def test_what_is_written_passes_the_linters(checkout: Path, name: str) -> None:
    pytest.importorskip("ruff")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    for path in (ROOT / "benchmark").rglob("*.py"):  # so that the imports are known as the project's own
        copy = checkout / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for learns in (False, True):
        written = write_method(name, checkout, learns=learns)
        for command in (["check"], ["format", "--check"]):
            done = python(checkout, "-m", "ruff", *command, "--no-cache", *map(str, written))
            assert done.returncode == 0, done.stdout
        for each in written:
            each.unlink()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PatchBest", "lower case.*; patch_best would do"),
        ("patch-best", "lower case.*; patch_best would do"),
        ("3patches", "a letter first.*; method_3patches would do"),
        ("../patches", "lower case.*; patches would do"),
        ("", "lower case.*; method_2 would do"),
        ("x" * (MAX_LENGTH + 1), f"longer than {MAX_LENGTH} characters; x+ would do"),
        ("class", "a word of Python; class_2 would do"),
        ("match", "a word of Python; match_2 would do"),
        ("clip", "method that `bench methods` shows; clip_2 would do"),
        ("clip_ac", "method that `bench methods` shows; clip_ac_2 would do"),
        ("prompts", "Python module.*; prompts_2 would do"),
        ("torch", "Python module.*; torch_2 would do"),
        ("layer", "in the contract.*; layer_2 would do"),
        ("protocol", "command line.*; protocol_2 would do"),
    ],
)
def test_a_name_that_will_not_do_is_answered_with_one_that_does(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ScaffoldError, match=said) as caught:
        write_method(name, tmp_path, learns=False)
    assert list(tmp_path.iterdir()) == []
    suggested = str(caught.value).split("; ")[-1].split()[0]
    path, _ = write_method(suggested, tmp_path, learns=False)
    assert load_plugin(path)[0].name == suggested


@pytest.mark.parametrize("there", ["patch_best.py", "test_patch_best.py"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ScaffoldError, match=rf"{there}, which is left alone; patch_best_2 would do"):
        write_method("patch_best", tmp_path, learns=True)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_the_command_says_what_comes_next_and_that_works(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bench("new-method", "patch_best")
    assert code == 0
    assert err.startswith("written: patch_best.py\nwritten: test_patch_best.py\n")
    check, test, run = out.splitlines()
    assert check == "bench check-method patch_best --plugin patch_best.py"
    assert test == "python -m pytest test_patch_best.py"
    assert run == "bench run --methods clip,patch_best --plugin patch_best.py --datasets mvtec,visa"
    code, _, err = bench("new-method", "patch_best")
    assert code == 2
    assert "left alone" in err
    code, out, err = bench(*check.split()[1:])
    assert code == 0, out + err
    assert out.count("ok ") == 12
    code, out, err = bench(*run.split()[1:], "--results", tmp_path / "r", "--dry-run")
    assert code == 1  # there is no VisA in the small suite
    assert "to do  patch_best--mvtec" in out


def test_in_a_checkout_the_next_commands_need_no_plugin(checkout: Path) -> None:
    assert next_steps("patch_best", checkout).splitlines() == [
        "bench check-method patch_best",
        f"python -m pytest {Path('tests/methods/test_patch_best.py')}",
        "bench run --methods clip,patch_best --datasets mvtec,visa",
    ]
