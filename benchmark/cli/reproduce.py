"""The command `bench reproduce`."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.computing_options import ExecutorOptions, computation
from benchmark.cli.data_options import DataOptions, GettingOptions
from benchmark.cli.ending import BEGAN, end
from benchmark.cli.messages import fail, writing
from benchmark.cli.options import ComputeOptions, split, with_options
from benchmark.common import counted, tell, write_whole

if TYPE_CHECKING:
    from benchmark.reproduction import Reproduction

FOLDER = Path("results/reproduce")


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(ComputeOptions):
    """How a recipe is computed: its results have a folder of their own."""

    results: Annotated[
        Path,
        typer.Option(
            "--results",
            help="Folder of records, checkpoints and tables. Recipes that name the same folder share trainings.",
            show_default="results/reproduce/NAME; with --mini results/reproduce/NAME-mini",
            rich_help_panel="Results",
        ),
    ] = FOLDER


@with_options
def reproduce_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe.", show_default="list all")] = "",
    *,
    places: DataOptions,
    getting: GettingOptions,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with checkpoints that the methods' authors have published. Those of the recipe are taken in "
            "place of trainings; --dry-run says which.",
            rich_help_panel="Training",
        ),
    ] = None,
    mini: Annotated[
        bool,
        typer.Option(
            "--mini",
            help="Run a part of the recipe on the mini suite, in about a minute; the table says what was cut.",
            rich_help_panel="Data",
        ),
    ] = False,
    methods: Annotated[
        str,
        typer.Option(
            help="Only these methods of the recipe, separated by commas, by their names in `bench methods`.",
            show_default="all",
            rich_help_panel="Methods",
        ),
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Redo cells that are done, and the trainings that they need.",
            rich_help_panel="Results",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what the recipe needs, what is missing and what it costs; run nothing.",
            rich_help_panel="Results",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write the table to this file: .md, or .csv with every row.",
            show_default="RESULTS/NAME.md and RESULTS/NAME.csv",
            rich_help_panel="Results",
        ),
    ] = None,
    compute: RecipeOptions,
    executor: ExecutorOptions,
) -> None:
    """Reproduce a table of a paper: run its methods on its datasets, and print it with our results beside.

    A recipe is a table of a paper with its datasets, methods, protocol, seed, and the checkpoints that its authors have
    published. Without NAME all recipes are listed. Each published number is shown with ours, the difference, a verdict,
    and why the two may differ, as by `bench compare`. It runs on the datasets that are in --data; the rows of others
    say "not run". The same command, run again, does only what is missing. Exit code 0: all of it was run; 1: something
    is missing or failed; 2: the command could not start.

    Examples:

    bench reproduce anomalyclip-table1 --dry-run

    bench reproduce anomalyclip-table1 --data /datasets --checkpoints AnomalyCLIP/checkpoints --device cuda

    bench reproduce winclip-table1 --data /datasets --get --accept

    bench reproduce anomalyclip-table1 --methods anomalyclip --data /datasets

    bench reproduce anomalyclip-table1 --mini
    """
    if output is not None and output.suffix not in (".md", ".csv"):
        fail(f"--output {output}: say a file that ends in .md or .csv")
    from benchmark.reproduction import Reproduction, choose_recipe, load_recipes, render_needs, render_table, table_csv

    if not name:
        if mini or dry_run or getting.get or checkpoints or output or methods or force:
            fail("say which recipe; `bench reproduce` alone lists them")
        _list(list(load_recipes()))
        return
    whole = choose_recipe(name)
    recipe = whole.part(split(methods)) if methods else whole
    own = FOLDER / f"{whole.name}{'-mini' if mini else ''}"
    how = computation(replace(compute, results=own) if compute.results == FOLDER else compute, executor, force=force)
    where = places.places()
    getting.check(where, dry_run=dry_run)
    reproduction = Reproduction(recipe=recipe, computation=how, places=where, checkpoints=checkpoints, mini=mini)
    if getting.get:
        reproduction = _with_data(reproduction, accept=getting.accept)
    if not mini:
        text = render_needs(recipe, reproduction.runs, reproduction.needs, data=places.data)
        print(text, end="", flush=True) if dry_run else tell(text)
    if dry_run and not reproduction.can_run:
        return
    done = reproduction.run(dry_run=dry_run, since=BEGAN)
    if dry_run:
        return
    texts = {style: render_table(done.table, style) for style in ("txt", "md")}
    print(texts["txt"], end="", flush=True)
    texts["csv"] = table_csv(done.table)
    stem = "-".join([whole.name, *split(methods)])
    files = [how.results / f"{stem}{suffix}" for suffix in (".md", ".csv")] if output is None else [output]
    for file in files:
        with writing(file):
            write_whole(file, texts[file.suffix.removeprefix(".")])
        tell(f"written to {file}")
    tell(done.ran.tally)
    if absent := sum(row.verdict == "not run" for row in done.table.rows):
        numbers = counted(len(done.table.rows), "published number")
        tell(f"{absent} of {numbers} not run; the column Why says the reasons")
    if done.ran.records:
        tell(f"pages with curves and pictures: bench report --results {shlex.quote(str(how.results))}")
    end(done.ran.records, done.ran.problems)


def _with_data(reproduction: "Reproduction", *, accept: bool) -> "Reproduction":
    """Fetch what a recipe needs and can be had without a person; what is still missing is told later."""
    from benchmark.cli.getting import get_cards

    data = reproduction.places.data
    assert data is not None
    with writing(f"--data {data}"):
        data.mkdir(parents=True, exist_ok=True)
    tried: set[str] = set()
    # A dataset that was fetched may need another one to train on.
    while missing := [each.card for each in reproduction.needs.missing if each.card.name not in tried]:
        tried |= {card.name for card in missing}
        get_cards(missing, reproduction.places, accept=accept)
        reproduction = replace(reproduction)  # which looks anew for what is there
    return reproduction


def _list(names: list[str]) -> None:
    """Print the recipes, with what each costs where nothing is there yet."""
    from benchmark.api import Computation, Places
    from benchmark.reproduction import cost_of, find_needs, load_recipes, render_recipes

    shown = []
    for recipe in (load_recipes()[name] for name in names):
        runs = recipe.runs()
        needs = find_needs(recipe, runs, Places(), Computation(), checkpoints=None)
        shown.append((recipe, cost_of(recipe, runs, needs)))
    print(render_recipes(shown), end="")
