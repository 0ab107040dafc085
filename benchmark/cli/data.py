"""The commands `bench data list`, `get`, `check`, `check-cache` and `mini`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.data_options import DataOptions, FolderOptions, parse_paths
from benchmark.cli.messages import fail, writing
from benchmark.cli.options import add_command, with_options
from benchmark.common import tell

if TYPE_CHECKING:
    from benchmark.data import SampleSet

app = typer.Typer(
    no_args_is_help=True, help="List the known datasets, get them, check those you have, or make miniatures."
)


@with_options
def list_command(*, places: DataOptions) -> None:
    """List the datasets: classes, domain, metrics, licence, home page, and the folder where each was found.

    Datasets beyond the 17 of the papers' main tables say so. `bench run` takes them where they are named.
    """
    from benchmark.api import select_cards
    from benchmark.data import find_directories

    given = parse_paths(places.data_path)
    for card in select_cards([]):
        directories = find_directories(card, places.data, given.get(card.name))
        beyond = ", beyond the papers" if card.beyond else ""
        print(f"{card.name}  ({card.title}, card version {card.version}{beyond})")
        print(f"  {card.domain}, {len(card.classes)} classes, metrics at {' and '.join(card.levels)} level")
        print(f"  licence: {card.licence}")
        print(f"  home:    {card.home or 'none'}")
        if directories:
            print(f"  found:   {', '.join(map(str, directories))}")
        else:
            print(f"  not found; looked for folders {', '.join(dict.fromkeys([card.name, *card.folders]))}")


def get_command(
    names: Annotated[list[str], typer.Argument(help="Names of datasets.")],
    *,
    data: Annotated[
        Path, typer.Option("--data", envvar="BENCH_DATA", help="Folder that holds the datasets; it is made if needed.")
    ],
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            "--archive",
            metavar="FILE",
            help="An archive that you fetched by hand; it is checked and unpacked, and stays. May be repeated.",
        ),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept the licences of these datasets, in place of being asked.")
    ] = False,
) -> None:
    """Fetch datasets, check and unpack them; of those that need a person, say what to do.

    An archive is fetched from its publisher where that needs no form and no account, checked by its published checksum,
    unpacked into a folder of --data and read as `bench data check` reads it. A download that broke off goes on when the
    same command runs again. What is there already stays as it is. Exit code 1 if one of the datasets is not there in
    the end.

    Examples:

    bench data get visa btad --data /datasets --accept

    bench data get mvtec --data /datasets --archive mvtec_anomaly_detection.tar.xz
    """
    from benchmark.api import select_cards
    from benchmark.cli.getting import getting, summary_of_got, tell_got
    from benchmark.common import image_progress
    from benchmark.data import check_dataset, render
    from benchmark.downloads import match_files

    cards = select_cards(list(dict.fromkeys(names)))
    given = match_files(archive or [], cards, say=tell)
    results, broken = [], False
    for got in getting(data, accept=accept).get(cards, given):
        results.append(got)
        tell_got(got)
        if got.samples is not None and got.new:
            with image_progress(got.samples.title, len(got.samples.samples)) as progress:
                report = check_dataset(got.samples, progress=progress)
            print(render(report))
            broken = broken or report.broken
    if len(results) > 1:
        tell(summary_of_got(results))
    sys.exit(1 if broken or any(got.samples is None for got in results) else 0)


@with_options
def check_command(
    names: Annotated[list[str] | None, typer.Argument(help="Names of datasets.", show_default="all found")] = None,
    *,
    places: DataOptions,
    folders: FolderOptions,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read images.")] = 2,
    show: Annotated[
        Path | None,
        typer.Option(
            "--show",
            metavar="FILE.png",
            help="Draw five images of each class and kind, what they were taken for and the outlines of their masks.",
        ),
    ] = None,
) -> None:
    """Read every image and mask, and compare them with what the dataset should have.

    Shows the numbers of images and masks of each class and defect type beside the published numbers, images that cannot
    be read, masks that are missing, have the wrong size or look wrong, and identical images; of a plain folder, also
    what was taken for what. Exit code 1 if a dataset is broken.
    """
    from benchmark.api import check_paths_used, class_name_problems, no_data, select_cards, select_datasets
    from benchmark.common import image_progress
    from benchmark.data import check_dataset, contact_sheet, read_folder, render

    own = [read_folder(each) for each in folders.folders()]
    every = [card.name for card in select_cards(names or [])]
    paths = parse_paths(places.data_path)
    check_paths_used(paths, every if names or not own else [])
    found: list[SampleSet] = []
    problems: list[str] = []
    if names or not own:
        found, problems = select_datasets(names or [], data=places.data, paths=paths, follow_links=folders.follow_links)
    found += own
    problems += class_name_problems(found)
    broken = bool(problems)
    for problem in problems:
        tell(f"FAILED {problem}")
    if not found and not problems:
        fail(no_data(places.data))
    for samples in found:
        with image_progress(samples.title, len(samples.samples)) as progress:
            report = check_dataset(samples, workers=workers, progress=progress)
        print(render(report))
        broken = broken or report.broken
    if show is not None and found:
        with writing(show):
            show.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(found).save(show, "PNG")
        tell(f"drawn to {show}")
    sys.exit(1 if broken else 0)


def check_cache_command() -> None:
    """Read every file of the cache of features, and remove those that are damaged.

    A run takes a file of the cache for whole if its size and the time of its last change are those that were noted when
    it was written. What is removed is computed anew when it is needed. Exit code 1 if something was damaged.
    """
    from filelock import Timeout

    from benchmark.common import feature_cache, size_in_words

    cache, arrays, size, damaged = feature_cache(), 0, 0, 0
    if not cache.directory.exists():
        print(f"there is no cache at {cache.directory}; the first training makes it, where BENCH_CACHE says")
        return
    with writing(cache.directory):
        for entry in cache.entries():
            try:
                with entry.lock(timeout=0):
                    broken = [name for name in entry.names() if not entry.is_whole(name, thoroughly=True)]
                    entry.clear(broken)
            except Timeout:
                print(f"{entry.folder}: not checked; another process is writing it")
                continue
            if broken:
                print(f"{entry.folder}: damaged and removed: {', '.join(broken)}")
            arrays, size, damaged = arrays + len(entry.names()), size + entry.size(), damaged + len(broken)
    print(f"{cache.directory}: {arrays} arrays, {size_in_words(size)}, are whole; {damaged} were damaged")
    sys.exit(1 if damaged else 0)


def mini_command(directory: Annotated[Path, typer.Argument(help="A new or empty folder, or an older suite.")]) -> None:
    """Make the mini suite: generated miniatures of the datasets, with the folders of the real ones (27 MB).

    The images are the same on every machine. `bench run --all --data DIRECTORY` gives what `bench run --all` gives.
    """
    from benchmark.api import write_mini_suite

    with writing(directory):
        write_mini_suite(directory)
    tell(f"written to {directory}")


add_command(app, "list", list_command)
add_command(app, "get", get_command)
add_command(app, "check", check_command)
add_command(app, "check-cache", check_cache_command)
add_command(app, "mini", mini_command)
