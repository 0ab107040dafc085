"""Options that several commands share, and how commands speak."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE


def _load_plugins(files: list[Path] | None) -> list[Path] | None:
    """Register the methods of the files; options are read before the command runs and looks names up."""
    for file in files or ():
        from benchmark.registry import load_plugin

        load_plugin(file)
    return files


DataRoot = Annotated[
    Path | None, typer.Option("--data", envvar="BENCH_DATA", help="Folder in which the datasets lie, each in its own.")
]
DataPaths = Annotated[
    list[str] | None,
    typer.Option("--data-path", metavar="NAME=DIR", help="Where one dataset lies; may be repeated."),
]
FolderPath = Annotated[
    Path | None,
    typer.Option("--folder", help="Images of your own: folders normal, abnormal and, if you have them, masks."),
]
FolderClass = Annotated[str, typer.Option("--folder-class", help="What the images of --folder show, in plain English.")]
Methods = Annotated[str, typer.Option("--methods", help="Names from `bench methods`, with commas; default all.")]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        callback=_load_plugins,
        help="Python file with methods of your own, known to this command by their names; may be repeated.",
    ),
]
Results = Annotated[Path, typer.Option("--results", help="Folder of records, checkpoints and tables.")]
OneBackbone = Annotated[str, typer.Option("--backbone", help="Only results with this backbone, as the tables name it.")]
Seeds = Annotated[str, typer.Option("--seeds", help="Seeds, with commas; a method without chance runs once.")]
Backbone = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="NAME:TAG of open_clip, NAME=FILE, or NAME:random[-SEED] as in tiny:random.",
        show_default=f"{DEFAULT_BACKBONE}; for the mini suite {MINI_BACKBONE}",
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps; default cuda where there is one.")]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option("--dtype", help="In which the towers compute; changes numbers."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per forward pass; changes no number.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read images; changes no number.")]
OnErrorOption = Annotated[
    Literal["fail", "skip"],
    typer.Option(
        "--on-error", help="An image that cannot be read fails its cell, or is left out and counted in the record."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.OPTION=VALUE", help="Option of a method or of protocol; may be repeated."),
]
AuxiliaryName = Annotated[
    str,
    typer.Option(
        "--auxiliary", help="Dataset to train on.", show_default="the protocol's: mvtec, and visa for mvtec itself"
    ),
]
Checkpoints = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE.json",
        help="Use this checkpoint instead of training, for its method and auxiliary dataset; may be repeated.",
    ),
]
CacheLimit = Annotated[
    float,
    typer.Option(
        "--cache-limit", envvar="BENCH_CACHE_LIMIT", min=0, help="GB of training features kept on disk (BENCH_CACHE)."
    ),
]
WindowChunk = Annotated[
    int,
    typer.Option("--window-chunk", min=1, help="Windows encoded at a time (WinCLIP); changes no number."),
]
ExecutorName = Annotated[
    Literal["local", "ray", "slurm"],
    typer.Option("--executor", help="Where cells are computed; changes no number. ray and slurm are extras."),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        help="Cells, trainings and parts computed at a time.",
        show_default="local: one per GPU, else 1; ray and slurm: what the cluster has",
    ),
]
RayAddress = Annotated[
    str, typer.Option("--ray-address", help="Ray cluster to join.", show_default="one is started on this machine")
]
SlurmParameters = Annotated[
    list[str] | None,
    typer.Option("--slurm", metavar="NAME=VALUE", help="What sbatch is told, as in partition=gpu; may be repeated."),
]
CellTimeout = Annotated[
    float | None,
    typer.Option(
        "--cell-timeout",
        min=0.1,
        metavar="SECONDS",
        help="Give up a cell or a training that takes longer; a task has this long for each cell in it.",
        show_default="never",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Redo cells that are done.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the cells and what is missing; run none.")]


def fail(message: str, *, code: int = 2) -> NoReturn:
    """End the command with a message."""
    say(f"bench: {message}")
    sys.exit(code)


def say(line: str) -> None:
    """Print a line of progress on standard error, so that standard output holds the result alone."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave out the search for cyclic garbage: there is next to none, and over 10,000 records it takes a third."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
