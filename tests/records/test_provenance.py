"""What a record says of the machine and the code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.records.provenance import code_key, environment, git_commit


def test_only_changes_of_code_make_a_checkout_dirty(tmp_path: Path) -> None:
    def git(*command: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)

    assert git_commit(tmp_path) is None
    git("init")
    assert git_commit(tmp_path) is None
    for folder in ("benchmark", "methods", "datasets", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("before")
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=b", "commit", "-m", "c")
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "results/file").unlink()
    assert git_commit(tmp_path) == commit
    for folder in ("benchmark", "methods", "datasets"):
        (tmp_path / folder / "new").write_text("after")
        assert git_commit(tmp_path) == commit + "+changes"
        (tmp_path / folder / "new").unlink()
    (tmp_path / "methods/file").unlink()
    assert git_commit(tmp_path) == commit + "+changes"


def test_all_code_is_named_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    known = environment()
    assert len(known["code_sha256"]) == 64
    keys = {code_key("a"), code_key("b"), code_key(None)}
    for change in ({"code_sha256": "another"}, {"packages": {"torch": "another"}}):
        monkeypatch.setattr("benchmark.records.provenance._machine_and_code", lambda change=change: {**known, **change})
        keys.add(code_key("a"))
    assert len(keys) == 5


@pytest.mark.skipif(not (Path(__file__).parents[2] / ".git").exists(), reason="no checkout to ask of")
def test_git_is_asked_once_and_the_clock_each_time(tmp_path: Path) -> None:
    """In a process of its own, with a git that notes each call: asking it takes time, so no record asks again."""
    git, calls = tmp_path / "git", tmp_path / "calls"
    git.write_text(f"#!/bin/sh\necho called >> {calls}\necho abc\n")
    git.chmod(0o755)
    code = (
        "import json, time; from benchmark.records.provenance import environment; first = environment(); "
        "time.sleep(1.1); print(json.dumps([first, environment()]))"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    first, second = json.loads(done.stdout)
    assert calls.read_text().split() == ["called", "called"]  # for the commit and for what differs from it
    assert first["git_commit"] == "abc+changes"
    assert first["created"] < second["created"]
    assert {**first, "created": ""} == {**second, "created": ""}
