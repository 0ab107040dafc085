"""Options that are declared once: fields of dataclasses as options of commands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from benchmark.api.requests import Computation
from benchmark.cli import app
from benchmark.cli.computing_options import ExecutorOptions
from benchmark.cli.options import ComputeOptions, TrainingOptions, with_options
from benchmark.clip.weights import WeightsSource
from benchmark.errors import BenchError
from benchmark.running.tasks import Loading

Bench = Callable[..., tuple[int, str, str]]
COMPUTING = {
    "--data",
    "--data-path",
    "--plugin",
    "--protocol",
    "--set",
    "--auxiliary",
    "--seeds",
    "--backbone",
    "--device",
    "--dtype",
    "--batch-size",
    "--workers",
    "--on-error",
    "--window-chunk",
    "--cache-limit",
    "--executor",
    "--processes",
    "--ray-address",
    "--slurm",
    "--cell-timeout",
    "--results",
}


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option("--width", min=1, envvar="TEST_WIDTH")] = 3
    marks: Annotated[list[str], typer.Option("--mark")] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LargeSize(Size):
    depth: Annotated[int, typer.Option("--depth")]


def command() -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @with_options
    def show(name: Annotated[str, typer.Argument()], *, size: LargeSize, loud: bool = False) -> None:
        """Show."""
        print(name, size, loud)

    return made


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["a", "--depth", "1"], "a LargeSize(width=3, marks=[], depth=1) False"),
        (["a", "--depth", "1", "--mark", "x", "--mark", "y", "--width", "5", "--loud"], "width=5, marks=['x', 'y']"),
    ],
)
def test_the_fields_of_a_dataclass_are_options(arguments: list[str], shown: str) -> None:
    result = CliRunner().invoke(command(), arguments)
    assert result.exit_code == 0
    assert shown in result.stdout


def test_limits_defaults_and_environment_of_fields_hold() -> None:
    assert CliRunner().invoke(command(), ["a"]).exit_code == 2  # --depth has no default
    assert CliRunner().invoke(command(), ["a", "--depth", "1", "--width", "0"]).exit_code == 2
    assert "width=7" in CliRunner().invoke(command(), ["a", "--depth", "1"], env={"TEST_WIDTH": "7"}).stdout


def test_two_fields_of_one_name_are_refused() -> None:
    def clash(*, one: Size, other: LargeSize) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name"):
        with_options(clash)


FOLDERS = {"--folder", "--folder-class", "--normal", "--abnormal", "--masks", "--mask-suffix", "--follow-links"}


def options_of(name: str) -> dict[str, str | list[str] | None]:
    group = typer.main.get_command(app)
    found = group.commands[name].params  # type: ignore[attr-defined]
    return {option: each.envvar for each in found for option in each.opts if option.startswith("--")}


def test_the_commands_that_compute_share_their_options() -> None:
    own = {*COMPUTING, *FOLDERS}
    assert set(options_of("train")) == {*own, "--methods", "--held-out"}
    cells = {*own, "--datasets", "--classes", "--limit", "--force", "--dry-run", "--allow-overlap", "--evaluation-size"}
    assert set(options_of("ablate")) == {*cells, "--only"}
    assert set(options_of("run")) == {*cells, "--methods", "--all", "--checkpoint", "--get", "--accept"}
    computed = own - FOLDERS - {"--plugin", "--set", "--protocol", "--auxiliary", "--seeds"}
    recipe = {"--checkpoints", "--mini", "--dry-run", "--output", "--get", "--accept", "--force", "--methods"}
    assert set(options_of("reproduce")) == computed | recipe
    scoring = {"--method", "--plugin", "--set", "--backbone", "--checkpoint", "--shots", "--device", "--dtype"}
    scoring |= {"--batch-size", "--results", "--output"}
    assert set(options_of("predict")) == scoring | {
        "--class",
        "--threshold",
        "--save-masks",
        "--save-maps",
        "--follow-links",
    }
    assert set(options_of("calibrate")) == scoring | FOLDERS | {"--false-alarms"}
    assert options_of("run")["--data"] == "BENCH_DATA"
    assert options_of("run")["--cache-limit"] == "BENCH_CACHE_LIMIT"


def test_results_lie_in_a_folder_of_their_own_unless_said_otherwise() -> None:
    """Those that the checkout holds are never taken for results of a run."""

    def parameters(command: Any) -> Iterator[Any]:
        yield from command.params
        for each in getattr(command, "commands", {}).values():
            yield from parameters(each)

    found = [each for each in parameters(typer.main.get_command(app)) if each.name == "results"]
    recipes = (Path("results/reproduce"), None)  # a folder for each recipe, whatever BENCH_RESULTS says
    assert len(found) == 13
    assert {(each.default, each.envvar) for each in found} == {(Path("results/local"), "BENCH_RESULTS"), recipes}


def test_the_help_shows_options_in_groups(bench: Bench) -> None:
    code, out, _ = bench("run", "--help")
    assert code == 0
    assert all(f" {panel} ─" in out for panel in ("Methods", "Data", "Training", "Computing", "Executor", "Results"))


def test_options_are_checked_before_the_command_starts() -> None:
    with pytest.raises(BenchError, match="--seeds"):
        TrainingOptions(seeds="one")
    with pytest.raises(BenchError, match="--ray-address is for --executor ray"):
        ExecutorOptions(ray_address="auto")
    assert TrainingOptions(seeds="1, 0,1").seed_numbers() == [1, 0]
    options = ExecutorOptions(executor="slurm", slurm=["gpus-per-node=1", "partition=gpu"])
    assert options.slurm_parameters() == {"gpus_per_node": 1, "partition": "gpu"}
    assert ComputeOptions().results == Path("results/local")


def test_float32_is_meant_unless_another_number_type_is_named() -> None:
    assert [Computation(dtype=each).number_type for each in ("auto", "float32", "bfloat16")] == [
        "float32",
        "float32",
        "bfloat16",
    ]
    assert ComputeOptions().dtype == "auto"


@pytest.mark.parametrize(("part", "said"), [(0.4, "bfloat16 matrix products take 40% of the time here"), (0.9, "")])
def test_a_run_with_a_large_backbone_says_what_bfloat16_would_save(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, part: float, said: str
) -> None:
    measured: list[tuple[int, str]] = []
    monkeypatch.setattr("benchmark.clip.bfloat16_share", lambda *given: measured.append(given) or part)
    monkeypatch.setattr("benchmark.running.loaded", lambda *_: None)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    for architecture, dtype in (("ViT-B-32-quickgelu", "auto"), ("ViT-B-32-quickgelu", "float32"), ("mini", "auto")):
        source = WeightsSource(architecture, seed=0)
        loading = {"any": Loading(source, "float32", "cpu", "bilinear", None)}
        computation = Computation(device="cpu", dtype=dtype, results=tmp_path, processes=1)
        with computation.opened(loading, []):
            pass
    assert measured == [(768, "cpu")]
    assert said in (err := capsys.readouterr().err)
    assert bool(err) == bool(said)


@pytest.mark.parametrize(
    ("command", "several"), [(["predict"], True), (["calibrate"], False), (["export", "onnx"], False)], ids=str
)
def test_only_a_command_of_several_methods_asks_for_several_checkpoints(command: list[str], several: bool) -> None:
    found: Any = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]
    (option,) = [each for each in found.params if each.name == "checkpoint"]
    assert ("one for each method" in option.help) == several
