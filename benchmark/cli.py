"""The command `bench`. Nothing heavy is imported before a command needs it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from benchmark.errors import BenchError
from benchmark.weights import DEFAULT_BACKBONE, MINI_BACKBONE

if TYPE_CHECKING:
    from benchmark.samples import SampleSet

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark and reproduce CLIP-based zero-shot anomaly detection.\n\n"
    "`bench run --all` runs every method on generated miniatures of 17 datasets and prints the tables. "
    "`bench data list --data DIR` shows which of the real ones lie in DIR, `bench run --all --data DIR` runs on those. "
    "What is done is kept: the same command again does only what is missing.",
)
data_app = typer.Typer(no_args_is_help=True, help="See which datasets there are, and check those you have.")
app.add_typer(data_app, name="data")

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
Results = Annotated[Path, typer.Option("--results", help="Folder of records and tables.")]
OneBackbone = Annotated[str, typer.Option("--backbone", help="Only results with this backbone, as the tables name it.")]


def main() -> None:
    """Run the command line; errors a user can mend end it with one message and exit code 2."""
    try:
        app()
    except BenchError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped; what is done is kept, and the same command goes on from there", code=130)


def _fail(message: str, *, code: int = 2) -> NoReturn:
    _say(f"bench: {message}")
    sys.exit(code)


def _say(line: str) -> None:
    """Print a line of progress on standard error, so that standard output holds the result alone."""
    print(line, file=sys.stderr, flush=True)


@app.command("run")
def run_command(
    *,
    every: Annotated[bool, typer.Option("--all", help="Every method on every dataset found.")] = False,
    methods: Annotated[str, typer.Option(help="Names from `bench methods`, with commas; default all.")] = "",
    datasets: Annotated[str, typer.Option(help="Names from `bench data list`, with commas; default all found.")] = "",
    data: DataRoot = None,
    data_path: DataPaths = None,
    folder: FolderPath = None,
    folder_class: FolderClass = "object",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas; a method without chance runs once.")] = "0",
    backbone: Annotated[
        str,
        typer.Option(
            help="NAME:TAG of open_clip, NAME=FILE, or NAME:random[-SEED] as in tiny:random.",
            show_default=f"{DEFAULT_BACKBONE}; for the mini suite {MINI_BACKBONE}",
        ),
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; default cuda where there is one.")] = "",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="In which the towers compute; changes numbers.")
    ] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass; changes no number.")] = 8,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images; changes no number.")] = 2,
    on_error: Annotated[
        Literal["fail", "skip"],
        typer.Option(help="An image that cannot be read fails its cell, or is left out and counted in the record."),
    ] = "fail",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.OPTION=VALUE", help="Option of a method or of protocol; may be repeated."),
    ] = None,
    results: Results = Path("results"),
    force: Annotated[bool, typer.Option("--force", help="Redo cells that are done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and what is missing; run none.")] = False,
) -> None:
    """Run methods on datasets, write a record per cell, and print the tables.

    Without --data, on the mini suite: generated miniatures of the 17 datasets, with a small CLIP that ships along. A
    cell is a method on a dataset under a seed, a backbone and a protocol. Run the same command again and only what is
    missing is done. Exit code 0: every cell is done; 1: a cell failed; 2: the command could not start.

    Examples:

    bench run --all

    bench run --all --data /datasets

    bench run --methods clip,clip_ac --datasets mvtec,visa --data /datasets --device cuda

    bench run --methods clip --folder ./parts --folder-class "metal nut"
    """
    if every and (methods or datasets):
        _fail("--all means every method on every dataset found; leave it out, or --methods and --datasets")
    if not (every or methods or datasets or folder):
        _fail("say what to run: --all, or --methods and --datasets (see `bench methods` and `bench data list`)")
    from benchmark import selection

    chosen, protocol = selection.select_methods(selection.split(methods), settings or [])
    seed_list = selection.select_seeds(seeds)
    names = selection.split(datasets)
    selection.select_cards(names)  # a wrong name is said before anything is made for it
    if data is None and not data_path and folder is None:
        data = selection.mini_suite(say=_say)
        _say(f"no data given: running on the mini suite, generated miniatures of 17 datasets, in {data}")
    folders = [] if folder is None else [selection.select_folder(folder, folder_class)]
    found: list[SampleSet] = []
    problems: list[str] = []
    if every or datasets or folder is None:
        found, problems = selection.select_datasets(names, data=data, paths=data_path or [])
    found += folders
    for problem in problems:
        _say(f"FAILED {problem}")
    if not found:
        _fail("nothing to run on" if problems else _no_data(data), code=1 if problems else 2)

    from benchmark.cells import backbone_id
    from benchmark.plan import missing, plan
    from benchmark.records import path_of, read_record
    from benchmark.tables import make_tables, summary
    from benchmark.weights import parse_backbone

    default = MINI_BACKBONE if all(samples.synthetic for samples in found) else DEFAULT_BACKBONE
    source = parse_backbone(backbone or default)
    jobs = plan(chosen, found, seeds=seed_list, backbone=backbone_id(source, dtype=dtype), protocol=protocol)
    todo = {job.cell.id for job in missing(jobs, results, force=force)}
    for samples in found:
        _say(f"{samples.card.title}: {len(samples.test)} test images in {samples.directory}; {samples.reason}")
    _say(f"{len(jobs)} cells, {len(todo)} to do, backbone {source.name}")
    if dry_run:
        for job in jobs:
            print(f"{'to do' if job.cell.id in todo else 'done '}  {job.cell.id}")
        return
    if todo:
        from benchmark.backbone import load_backbone
        from benchmark.run import Settings, run

        clip = load_backbone(source, dtype=dtype, device=_device(device), pos_interp=protocol.pos_interp)
        how = Settings(results=results, batch_size=batch_size, workers=workers, on_error=on_error, force=force)
        run(jobs, clip, how, say=_say)
    records = [read_record(path_of(results, job.cell.id)) for job in jobs]
    print(summary(make_tables(records)))
    failed = sum(record.status == "failed" for record in records)
    if failed or problems:
        _say(f"{failed} of {len(records)} cells failed; mend the cause and run the same command again")
        sys.exit(1)


def _no_data(data: Path | None) -> str:
    where = (
        f"no dataset was found in {data}"
        if data
        else "no data: say where the datasets lie with --data DIR or BENCH_DATA"
    )
    return (
        f"{where}.\n`bench data list` shows the 17 datasets, the folder names looked for and where each is to be had; "
        "images of your own go by --folder DIR"
    )


def _device(name: str) -> str:
    import torch

    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        _fail(f"--device {name}: not usable here ({str(error).splitlines()[0]}); leave the option out for cpu or cuda")
    return name


@app.command("tables")
def tables_command(
    *,
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="Folder for the tables; default RESULTS/tables.")] = None,
    methods: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    datasets: Annotated[str, typer.Option(help="Only these, with commas.")] = "",
    backbone: OneBackbone = "",
) -> None:
    """Write the tables of all records as Markdown, CSV and LaTeX, and print the main ones.

    Tables of datasets by methods, per class, and results.csv with every number. The same records give the same bytes.
    """
    from benchmark.records import read_records
    from benchmark.selection import split
    from benchmark.tables import summary, write_tables

    records, problems = read_records(results)
    for problem in problems:
        _say(f"left out: {problem}")
    kept = [
        record
        for record in records
        if (not methods or record.cell.method in split(methods))
        and (not datasets or record.cell.dataset.name in split(datasets))
        and (not backbone or record.cell.backbone.name == backbone)
    ]
    if not kept:
        _fail(
            f"no records in {results / 'records'}" + (" fit the selection" if records else "; `bench run` makes them")
        )
    directory = output or results / "tables"
    print(summary(write_tables(kept, directory)))
    _say(f"written to {directory}")


@app.command("methods")
def methods_command() -> None:
    """List the methods with their options, what they train on, and their papers."""
    import dataclasses

    from benchmark.protocol import Protocol
    from benchmark.registry import all_methods

    for method in all_methods().values():
        print(f"{method.name}  ({method.title}, version {method.version})")
        print(f"  paper:  {method.paper}")
        print(f"  trains: {'on the auxiliary dataset' if method.trains else 'on nothing'}")
        for field in dataclasses.fields(method.Options):
            print(f"  option: {method.name}.{field.name} = {field.default}")
    print("protocol  (holds for every method of a run)")
    for name, info in Protocol.model_fields.items():
        print(f"  option: protocol.{name} = {info.default}")


@data_app.command("list")
def list_command(*, data: DataRoot = None, data_path: DataPaths = None) -> None:
    """List the datasets: classes, domain, levels, licence, and where each was found or is looked for."""
    from benchmark import selection
    from benchmark.samples import find_directories

    cards = selection.select_cards([])
    given = selection.parse_paths(data_path or [], [card.name for card in cards])
    for card in cards:
        places = find_directories(card, data, given.get(card.name))
        print(f"{card.name}  ({card.title}, card version {card.version})")
        print(f"  {card.domain}, {len(card.classes)} classes, metrics at {' and '.join(card.levels)} level")
        print(f"  licence: {card.licence}")
        print(f"  home:    {card.home or 'none'}")
        if places:
            print(f"  found:   {', '.join(map(str, places))}")
        else:
            print(f"  not found; looked for folders {', '.join(dict.fromkeys([card.name, *card.folders]))}")


@data_app.command("check")
def check_command(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets; default all found.")] = None,
    *,
    data: DataRoot = None,
    data_path: DataPaths = None,
    folder: FolderPath = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read images.")] = 2,
) -> None:
    """Read every image and mask, and compare with the card.

    Per class and defect: normal and anomalous images and masks found, differences from the card's counts, unreadable
    images, unpaired or wrong-sized masks, identical images under several names. Exit code 1 if a dataset is broken.
    """
    from benchmark import selection
    from benchmark.check import check_dataset, render
    from benchmark.progress import image_progress

    folders = [] if folder is None else [selection.select_folder(folder, "object")]
    found: list[SampleSet] = []
    problems: list[str] = []
    if names or folder is None:
        found, problems = selection.select_datasets(names or [], data=data, paths=data_path or [])
    found += folders
    broken = bool(problems)
    for problem in problems:
        _say(f"FAILED {problem}")
    if not found and not problems:
        _fail(_no_data(data))
    for samples in found:
        with image_progress(samples.card.title, len(samples.samples)) as progress:
            report = check_dataset(samples, workers=workers, progress=progress)
        print(render(report))
        broken = broken or report.broken
    sys.exit(1 if broken else 0)


@data_app.command("mini")
def mini_command(directory: Annotated[Path, typer.Argument(help="A new or empty folder, or an older suite.")]) -> None:
    """Make the mini suite: generated miniatures of the 17 datasets, in the layouts of the real ones (27 MB).

    The same pictures on every machine. `bench run --all --data DIRECTORY` runs on it, as `bench run --all` does.
    """
    from benchmark.selection import write_mini_suite

    write_mini_suite(directory)
    _say(f"written to {directory}")
