"""The options that several commands share.

Options that go together are the fields of one dataclass. A command takes the dataclass as a parameter and is decorated
with `with_options`, which shows the command line each field as an option. A new option of all commands that compute is
one new field of `ComputeOptions`.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.api import Learning
from benchmark.cli.messages import fail
from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE
from benchmark.common import (
    BATCH_SIZE,
    CACHE_LIMIT,
    LEAST,
    READERS,
    RESULTS,
    RULE,
    WINDOW_CHUNK,
    WINDOW_CHUNK_GPU,
    WORKERS,
    Dtype,
    OnError,
)
from benchmark.errors import BenchError


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is a dataclass by the dataclass's fields, as typer reads parameters.

    A command that the user interrupts ends with what its error says.

    Raises:
        ValueError: two options of the command have the same field name.
    """
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            groups[parameter.name] = group
            parameters += [
                parameter.replace(name=each.name, annotation=each.type, default=_default(each))
                for each in dataclasses.fields(group)
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def call(**values: Any) -> None:
        made = {
            name: group(**{each.name: values.pop(each.name) for each in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        try:
            command(**values, **made)
        except KeyboardInterrupt as stop:
            if str(stop):  # it says what is kept; typer would not print it
                fail(str(stop), code=130)
            raise

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _default(each: "dataclasses.Field[Any]") -> Any:
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    return inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default


def add_command(app: typer.Typer, name: str, command: Callable[..., None]) -> None:
    """Add a command whose help is the docstring, with paragraphs that fill the width of the terminal."""
    text = inspect.cleandoc(command.__doc__ or "")
    app.command(name, help=re.sub(r"(?<!\n)\n(?!\n)", " ", text))(command)


def split(names: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


def _load_plugins(files: list[Path] | None) -> list[Path] | None:
    """Register the methods of the files; options are read before the command runs and looks names up."""
    for file in files or ():
        from benchmark.registry import load_plugin

        load_plugin(file)
    return files


def in_panel(panel: str) -> Callable[..., Any]:
    """Return `typer.Option` for options that the help shows under a heading."""
    return functools.partial(typer.Option, rich_help_panel=panel)


_methods, _data, _training = in_panel("Methods"), in_panel("Data"), in_panel("Training")
_computing, _results = in_panel("Computing"), in_panel("Results")

Methods = Annotated[str, _methods("--methods", help="Names from `bench methods`, separated by commas; none means all.")]
MethodName = Annotated[str, _methods("--method", help="Name from `bench methods`.")]
Datasets = Annotated[
    str, _data("--datasets", help="Names from `bench data list`, separated by commas; none means those of the papers.")
]
Results = Annotated[
    Path, _results("--results", envvar="BENCH_RESULTS", help="Folder of records, checkpoints and tables.")
]
OneBackbone = Annotated[
    str,
    _results(
        "--backbone",
        help="Only results with this backbone: its name as in the tables, or the beginning of its sha256.",
        show_default="all",
    ),
]
ChosenRecords = Annotated[
    list[str] | None,
    _results(
        "--record",
        metavar="ID",
        help="Where results cannot share a table, take those that go with this record (the name of its file, or the "
        "hash at the end of it); may be repeated.",
    ),
]
DtypeOption = Annotated[
    Dtype,
    _computing(
        "--dtype",
        help="Number type in which CLIP computes; changes numbers. auto is float32, and a run in one process with "
        "a large backbone says how much time bfloat16 would take.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class PluginOptions:
    """Where methods come from that are neither of the benchmark nor installed."""

    plugin: Annotated[
        list[Path],
        _methods(
            "--plugin",
            metavar="FILE.py",
            callback=_load_plugins,
            help="Python file with methods of your own, which this command then knows by their names; may be repeated.",
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class MethodOptions(PluginOptions):
    """The values of the options of methods and of the protocol."""

    settings: Annotated[
        list[str],
        _methods(
            "--set",
            metavar="NAME.OPTION=VALUE",
            help="Value of an option of a method or of the protocol (`bench methods` lists them); may be repeated.",
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """On what methods train, and by which random numbers."""

    protocol: Annotated[
        str,
        _training(
            "--protocol",
            help="What is trained on: anomalyclip (MVTec AD; VisA for MVTec AD), visa (VisA; MVTec AD for VisA), or "
            "adaclip (MVTec AD with CVC-ColonDB; VisA with CVC-ClinicDB for these two).",
        ),
    ] = RULE
    auxiliary: Annotated[
        str,
        _training("--auxiliary", help="Dataset to train on, or several with commas.", show_default="the protocol's"),
    ] = ""
    seeds: Annotated[
        str,
        _training("--seeds", help="Seeds, separated by commas; a method that draws no random numbers runs once."),
    ] = "0"

    def __post_init__(self) -> None:
        self.learning()  # what is wrong in it is told before anything else is done

    def learning(self, *, checkpoints: Sequence[Path] = (), allow_overlap: bool = False) -> Learning:
        """Return what methods are to train on.

        Raises:
            BenchError: An option is wrong, or two contradict each other.
        """
        return Learning(
            protocol=self.protocol,
            auxiliary=self.auxiliaries(),
            seeds=self.seed_numbers(),
            checkpoints=checkpoints,
            allow_overlap=allow_overlap,
        )

    def auxiliaries(self) -> list[str]:
        """Return the datasets of --auxiliary, each once; none for those of the protocol."""
        return list(dict.fromkeys(split(self.auxiliary)))

    def seed_numbers(self) -> list[int]:
        """Return the seeds, each once.

        Raises:
            BenchError: one is no whole number from 0 on, or there is none.
        """
        seeds = split(self.seeds)
        if not seeds or not all(seed.isdecimal() and len(seed) < 19 for seed in seeds):
            raise BenchError(f"--seeds {self.seeds!r}: say whole numbers from 0 on, separated by commas, as in 0,1,2")
        return list(dict.fromkeys(map(int, seeds)))


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """How one process computes with CLIP."""

    device: Annotated[str, _computing("--device", help="cpu, cuda, cuda:1, mps.", show_default="cuda, else cpu")] = ""
    dtype: DtypeOption = "auto"
    batch_size: Annotated[
        int, _computing("--batch-size", min=LEAST["batch_size"], help="Images per forward pass; changes no number.")
    ] = BATCH_SIZE


@dataclass(frozen=True, kw_only=True)
class ComputeOptions(EncodingOptions):
    """How the commands compute that run or train methods on datasets."""

    backbone: Annotated[
        str,
        _computing(
            "--backbone",
            help="CLIP and its weights: NAME:TAG of open_clip, NAME=FILE or NAME=FOLDER (of open_clip, OpenAI or "
            "transformers), hf-hub:ORGANISATION/NAME, or NAME:random[-SEED] as in tiny:random.",
            show_default=f"{DEFAULT_BACKBONE}; for the mini suite {MINI_BACKBONE}",
        ),
    ] = ""
    workers: Annotated[
        int | None,
        _computing(
            "--workers",
            min=LEAST["workers"],
            help="Processes that read images, for each that computes; with 0 it reads them itself. Changes no number.",
            show_default=f"the cores it can spare, at most {READERS}; ray and slurm: {WORKERS}",
        ),
    ] = None
    on_error: Annotated[
        OnError,
        _computing(
            "--on-error",
            help="What an image that cannot be read does: its cell fails, or the cell leaves it out and its record "
            "counts it.",
        ),
    ] = "fail"
    window_chunk: Annotated[
        int | None,
        _computing(
            "--window-chunk",
            min=LEAST["window_chunk"],
            help="Windows encoded at a time (WinCLIP); changes no number.",
            show_default=f"{WINDOW_CHUNK}; on a GPU {WINDOW_CHUNK_GPU}",
        ),
    ] = None
    cache_limit: Annotated[
        float,
        _computing(
            "--cache-limit",
            envvar="BENCH_CACHE_LIMIT",
            min=LEAST["cache_limit"],
            help="GB of training features kept on disk, in the folder that BENCH_CACHE names.",
        ),
    ] = CACHE_LIMIT
    results: Results = RESULTS


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """Which records count."""

    results: Results = RESULTS
    methods: Methods = ""
    datasets: Datasets = ""
    domain: Annotated[str, typer.Option("--domain", help="Only datasets of this domain.", show_default="all")] = ""
    backbone: OneBackbone = ""
    record: ChosenRecords = None


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How maps and masks are compared."""

    evaluation_size: Annotated[
        int | None,
        _methods(
            "--evaluation-size",
            min=16,
            max=4096,
            metavar="PIXELS",
            help="Side at which the maps and masks of all methods are compared.",
            show_default="each method's image size",
        ),
    ] = None

    def settings(self) -> list[str]:
        """Return it as values of `--set`."""
        return [] if self.evaluation_size is None else [f"protocol.evaluation_size={self.evaluation_size}"]
