"""Options that have no effect are refused: what is typed does something, or is a mistake that is said."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmark.api.datasets import check_paths_used
from benchmark.api.selection import check_training_used, select_methods
from benchmark.cli import app
from benchmark.cli.data_options import parse_paths
from benchmark.cli.settings import parse_settings
from benchmark.errors import BenchError
from methods.clip import Clip, ClipOptions
from methods.coop import CoOp, CoOpOptions

Bench = Callable[..., tuple[int, str, str]]

# What may be typed without effect: it changes no number, or permits something, or is a choice among what there is.
ALWAYS = {
    *("--results", "--output", "--backbone", "--device", "--dtype", "--batch-size", "--workers", "--on-error"),
    *("--window-chunk", "--cache-limit", "--executor", "--processes", "--cell-timeout", "--force", "--dry-run"),
    *("--allow-overlap", "--check", "--tolerance", "--against", "--limit", "--evaluation-size", "--follow-links"),
    *("--plugin", "--method", "--methods", "--datasets", "--domain", "--metric", "--record", "--only", "--learns"),
    *("--class", "--save-masks", "--save-maps", "--threshold", "--false-alarms", "--show", "--held-out", "--folder"),
    # BENCH_DATA stands in a profile of the shell; a method that draws no random numbers runs once, as --help says.
    *("--data", "--seeds"),
}
# Refused where they have no effect, by the command line below, or by the tests of the rooms that own them.
PARTS = "PARTS"
REFUSED: dict[str, list[tuple[list[str], str]]] = {
    "--all": [(["run", "--all", "--methods", "clip"], "leave it out")],
    "--folder-class": [
        (["run", "--methods", "clip", "--datasets", "headct", "--folder-class", "screw"], "add --folder DIR"),
        (["data", "check", "--folder-class", "screw"], "add --folder DIR"),
    ],
    "--normal": [(["run", "--all", "--normal", "pass"], "--normal says how --folder is read")],
    "--abnormal": [(["ablate", "genclip", "--abnormal", "fail"], "--abnormal says how --folder is read")],
    "--masks": [(["train", "--masks", "m"], "--masks says how --folder is read")],
    "--mask-suffix": [(["data", "check", "--mask-suffix", "_m"], "--mask-suffix says how --folder is read")],
    "--set": [
        (["run", "--methods", "clip", "--set", "coop.epochs=1"], "this command runs clip, not coop"),
        (["predict", __file__, "--method", "clip", "--set", "coop.epochs=1"], "this command runs clip, not coop"),
        (["ablate", "genclip", "--set", "coop.epochs=1"], "this command runs genclip, not coop"),
        (
            ["run", "--methods", "clip", "--evaluation-size", "64", "--set", "protocol.evaluation_size=32"],
            "protocol.evaluation_size: said twice, as 32 and as 64",
        ),
    ],
    "--data-path": [
        (
            ["run", "--methods", "clip", "--folder", PARTS, "--data-path", f"visa={PARTS}", "--backbone", "mini:v2"],
            "visa takes no part here, only the folders of --folder",
        ),
        (["data", "check", "mpdd", "--data-path", f"visa={PARTS}"], "visa takes no part here, only mpdd"),
        (["data", "check", "--folder", PARTS, "--data-path", f"visa={PARTS}"], "only the folders of --folder"),
        (["data", "list", "--data-path", "visa=a", "--data-path", "visa=b"], "visa: said twice, as a and as b"),
    ],
    "--auxiliary": [
        (
            ["run", "--methods", "clip,winclip", "--folder", PARTS, "--auxiliary", "visa"],
            "--auxiliary visa: says what methods learn from, and CLIP, WinCLIP learns nothing",
        ),
    ],
    "--protocol": [
        (
            ["run", "--methods", "clip", "--folder", PARTS, "--protocol", "visa"],
            "--protocol visa: says what methods learn from, and CLIP learns nothing; leave it out",
        ),
        (["run", "--methods", "coop", "--auxiliary", "visa", "--protocol", "visa"], "leave one out"),
    ],
    "--checkpoint": [
        (["predict", __file__, "--method", "clip", "--checkpoint", "c.json"], "--checkpoint"),
    ],
    "--mini": [(["reproduce", "--mini"], "say which recipe")],
    "--checkpoints": [
        (["reproduce", "winclip-table1", "--dry-run", "--checkpoints", PARTS], "no published checkpoint can be taken"),
        (["reproduce", "april-gan", "--mini", "--checkpoints", PARTS], "leave out --data"),
    ],
    "--get": [],  # tests/downloads, for it and the next two
    "--accept": [],
    "--archive": [],
    "--classes": [
        (["compare", "--against", PARTS, "--classes"], "with --against all classes are compared, so leave it out")
    ],
    "--shots": [],  # tests/predict
    "--ray-address": [(["run", "--methods", "clip", "--all", "--ray-address", "auto"], "is for --executor ray")],
    "--slurm": [(["run", "--methods", "clip", "--slurm", "partition=gpu"], "is for --executor slurm")],
}


def options() -> Iterator[str]:
    def of(command: Any) -> Iterator[str]:
        if groups := getattr(command, "commands", None):
            for each in groups.values():
                yield from of(each)
        else:
            yield from (name for each in command.params for name in each.opts if name.startswith("--"))

    yield from of(typer.main.get_command(app))


def test_of_every_option_it_is_decided_whether_it_can_be_without_effect() -> None:
    assert set(options()) == ALWAYS | REFUSED.keys()
    assert not ALWAYS & REFUSED.keys()


@pytest.mark.parametrize(("arguments", "said"), [case for cases in REFUSED.values() for case in cases])
def test_an_option_without_effect_is_refused(
    bench: Bench, parts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(*(each.replace(PARTS, str(parts)) for each in arguments))
    assert code == 2
    assert said in err
    assert not out


def test_a_path_of_a_dataset_that_takes_part_is_taken() -> None:
    check_paths_used(["visa", "mvtec"], ["mvtec", "visa", "btad"])
    with pytest.raises(BenchError, match=r"--data-path visa: visa takes no part here, only mvtec"):
        check_paths_used(["visa"], ["mvtec"])
    assert parse_paths(["visa=/a", "visa=/a"]) == {"visa": Path("/a")}
    assert parse_paths(["visa=~/a"]) == {"visa": Path.home() / "a"}  # no shell expands it after an equals sign


def test_what_is_learned_from_may_be_said_where_one_method_learns() -> None:
    check_training_used([(Clip, ClipOptions()), (CoOp, CoOpOptions())], "visa", [])
    check_training_used([(CoOp, CoOpOptions())], "anomalyclip", ["mvtec"])
    check_training_used([(Clip, ClipOptions())], "anomalyclip", [])
    with pytest.raises(BenchError, match="--protocol visa"):
        check_training_used([(Clip, ClipOptions())], "visa", [])


def test_an_option_that_is_said_twice_alike_is_taken() -> None:
    [(_, options)], _ = select_methods(["clip"], parse_settings(["clip.temperature=0.01", "clip.temperature=0.01"]))
    assert options == ClipOptions(temperature=0.01)
    with pytest.raises(BenchError, match=r"clip.temperature: said twice, as 0.01 and as 0.07; leave one out"):
        parse_settings(["clip.temperature=0.01", "clip.temperature=0.07"])
