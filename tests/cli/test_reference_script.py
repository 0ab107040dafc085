"""`.ci/reference`: what it takes for a difference, and when it replaces the reference."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.reference import REFERENCE

from benchmark.common.files import file_sha256
from benchmark.registry import installed_methods

SCRIPT = Path(__file__).parents[2] / ".ci" / "reference"
BENCH = """#!/bin/sh
[ "$1" != "$FAILS" ] || exit 1
mkdir -p "$BENCH_RESULTS/records" "$BENCH_RESULTS/tables" "$BENCH_RESULTS/checkpoints"
[ "$1" = run ] || touch "$BENCH_RESULTS/checkpoints/adaclip--row.json"
[ "$1" = run ] || exit 0
for method in MAGNIFYING; do
  [ -e "$BENCH_RESULTS/checkpoints/$method--kept.json" ] || [ "$LEARNS" ] || exit 1
  [ ! "$LEARNS" ] || touch "$BENCH_RESULTS/checkpoints/$method--new.json"
done
touch "$BENCH_RESULTS/checkpoints/coop--new.json"
for cell in $CELLS; do touch "$BENCH_RESULTS/records/$cell.json" "$BENCH_RESULTS/records/$cell.npz"; done
"""
"""In place of the command: a run makes the cells that are asked for, and needs what methods learned or learns anew."""

MAGNIFYING = [
    name for name, each in installed_methods().items() if getattr(each, "magnifies", False)
]  # what they learn is kept
BEFORE = {"records/a.json", "records/b.json", "tables/main.md", *(f"checkpoints/{n}--kept.json" for n in MAGNIFYING)}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose reference has the cells a and b."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bench").write_text(BENCH.replace("MAGNIFYING", " ".join(MAGNIFYING)))
    (tmp_path / "bin" / "bench").chmod(0o755)
    for name in BEFORE:
        path = tmp_path / "results" / "reference" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def script(checkout: Path, *arguments: str, cells: str, fails: str = "") -> tuple[int, str, set[str]]:
    """Run it; return the exit code, standard error and the files of the reference."""
    variables = os.environ | {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "CELLS": cells, "FAILS": fails}
    variables["LEARNS"] = "yes" if "--write" in arguments else ""
    done = subprocess.run(
        [checkout / ".ci" / "reference", *arguments], env=variables, capture_output=True, text=True, check=False
    )
    assert [path.name for path in (checkout / "results").iterdir()] == ["reference"]
    root = checkout / "results" / "reference"
    return done.returncode, done.stderr, {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_same_cells_pass(checkout: Path) -> None:
    assert script(checkout, cells="a b") == (0, "", BEFORE)


@pytest.mark.parametrize(("cells", "said"), [("a b c", "+c.json"), ("a", "-b.json")])
def test_a_cell_that_is_on_one_side_alone_fails(checkout: Path, cells: str, said: str) -> None:
    code, err, files = script(checkout, cells=cells)
    assert (code, files) == (1, BEFORE)
    assert f"\n{said}\n" in err
    assert "results/reference is not what this code gives: CONTRIBUTING.md" in err


@pytest.mark.parametrize("fails", ["tables", "run", "ablate", "compare"])
def test_a_command_that_fails_fails_it(checkout: Path, fails: str) -> None:
    assert script(checkout, cells="a b", fails=fails)[0] == 1


@pytest.mark.parametrize("fails", ["run", "ablate", "tables"])
def test_the_reference_stays_where_the_new_one_could_not_be_made(checkout: Path, fails: str) -> None:
    code, _, files = script(checkout, "--write", cells="a c", fails=fails)
    assert (code, files) == (1, BEFORE)


def test_the_new_reference_takes_the_place_of_the_old_one(checkout: Path) -> None:
    new = {"records/a.json", "records/c.json", *(f"checkpoints/{n}--new.json" for n in MAGNIFYING)}
    assert script(checkout, "--write", cells="a c") == (0, "", new), "what was kept is learned anew"


def test_what_another_machine_would_not_learn_is_kept_for_the_main_tables() -> None:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (REFERENCE / "records").glob("*.json")]
    kept = {
        record["training"]["checkpoint"]: record["training"]["sha256"]
        for record in records
        if record["training"] and record["training"]["magnifies"] and record["placement"]["main"]
    }
    assert kept
    for name, sha256 in kept.items():
        assert file_sha256(REFERENCE / "checkpoints" / f"{name}.safetensors") == sha256
