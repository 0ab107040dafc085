"""The command `bench report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.data_options import DataOptions, FolderOptions, parse_paths
from benchmark.cli.messages import fail
from benchmark.cli.options import ChosenRecords, OneBackbone, Results, with_options
from benchmark.cli.tables import known_backbone
from benchmark.common import RESULTS, listed, size_in_words, tell

if TYPE_CHECKING:
    from benchmark.data import SampleSet
    from benchmark.records import Record


@with_options
def report_command(
    *,
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="Folder for the site; default RESULTS/report.")] = None,
    places: DataOptions,
    folders: FolderOptions,
    backbone: OneBackbone = "",
    record: ChosenRecords = None,
) -> None:
    """Write all results as a static site: leaderboard, datasets, ablations, training curves, figures and a gallery.

    The site opens from disk or from a web server and loads nothing from other servers. Photos and heatmaps need the
    images, which are found by --data and --folder as in `bench run`; without images the site has everything else. The
    same records and images give the same bytes. Results on generated data are left out where there are real ones.

    Examples:

    bench report

    bench report --data /datasets --output /var/www/zsad

    bench report --folder ./nuts --folder ./bolts
    """
    from benchmark.api import method_facts
    from benchmark.records import read_records
    from benchmark.report import has_per_image, no_per_image, per_image_reader, write_site
    from benchmark.tables import choose_records, lacking

    records, problems = read_records(results)
    messages = [f"left out: {problem}" for problem in problems]
    kept, lines = choose_records(records, backbone=known_backbone(records, backbone), chosen=record or ())
    messages += [*lines, *lacking(kept)]
    for message in messages:
        tell(message)
    if not any(record.status == "done" for record in kept):
        failed = [record for record in kept if record.error]
        made = "; `bench run` makes them, and `bench reproduce` in results/reproduce/NAME: say that by --results"
        why = " fit the selection" if kept != records else made
        if failed:
            why = f": {len(failed)} failed, the first on {failed[0].dataset_title}: {failed[0].error}"
        fail(f"no results in {results / 'records'}{why}")
    for line in no_per_image(results, kept):
        tell(line)
    maps = any(has_per_image(results, record) for record in kept)
    found = find_images(kept, places, folders) if maps else []
    site = write_site(
        output or results / "report",
        kept,
        per_image_reader(results, tell),
        found,
        facts=method_facts(),
        messages=messages,
        say=tell,
    )
    tell(f"{site.pages} pages, {size_in_words(site.size)}")
    print(site.index)


def find_images(records: "list[Record]", places: DataOptions, folders: FolderOptions) -> "list[SampleSet]":
    """Find the images of some records; those of datasets with a card are the mini suite's where no place is given."""
    from benchmark.api import check_paths_used, mini_suite, select_datasets
    from benchmark.data import read_folder

    paths = parse_paths(places.data_path)
    check_paths_used(paths, dict.fromkeys(record.cell.dataset.name for record in records))
    found = [read_folder(folder) for folder in folders.folders()]
    plain = [record for record in records if record.domain == "custom"]
    if plain and not found:
        titles = listed(list(dict.fromkeys(record.dataset_title for record in plain)), 3)
        tell(f"no images of {titles}: give --folder DIR, once for each, and there is a gallery")
    data = places.data
    if data is None and not paths:
        others = [record for record in records if record.domain != "custom"]
        if not any("data" in record.synthetic for record in others):
            if others:
                tell("no images: say where the datasets lie with --data DIR or BENCH_DATA, and there is a gallery")
            return found
        data = mini_suite()
    datasets, problems = select_datasets([], data=data, paths=paths)
    for problem in problems:
        tell(f"no images: {problem}")
    return [*datasets, *found]
