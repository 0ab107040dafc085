"""The command `bench report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.messages import fail, say
from benchmark.cli.options import RESULTS, ChosenRecords, DataOptions, OneBackbone, Results, with_options
from benchmark.cli.tables import known_backbone

if TYPE_CHECKING:
    from benchmark.data import SampleSet
    from benchmark.records import Record


@with_options
def report_command(
    *,
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="Folder for the site; default RESULTS/report.")] = None,
    places: DataOptions,
    backbone: OneBackbone = "",
    record: ChosenRecords = None,
) -> None:
    """Write all results as a static site: leaderboard, datasets, ablations, training curves, figures and a gallery.

    The site opens from disk or from a web server and loads nothing from other servers. Photos and heatmaps need the
    images, which are found by --data as in `bench run`; without images the site has everything else. The same records
    and images give the same bytes. Results on generated data are left out where there are real ones.

    Examples:

    bench report

    bench report --results results --data /datasets --output /var/www/zsad
    """
    from benchmark.records import read_records
    from benchmark.report import write_site
    from benchmark.tables import choose_records, draws_keeper, per_image_reader

    records, problems = read_records(results)
    messages = [f"left out: {problem}" for problem in problems]
    kept, lines = choose_records(records, backbone=known_backbone(records, backbone), chosen=record or ())
    messages += lines
    for message in messages:
        say(message)
    if not any(record.status == "done" for record in kept):
        fail(
            f"no results in {results / 'records'}"
            + (" fit the selection" if kept != records else "; `bench run` makes them")
        )
    found = find_images(kept, places)
    site = write_site(
        output or results / "report",
        kept,
        per_image_reader(results, say),
        found,
        messages=messages,
        keep=draws_keeper(results),
        say=say,
    )
    say(f"{site.pages} pages, {site.size / 1e6:.1f} MB")
    print(site.index)


def find_images(records: "list[Record]", places: DataOptions) -> "list[SampleSet]":
    """Find the datasets of some records; they are those of the mini suite where no folder is given."""
    from benchmark.cli import selection

    data = places.data
    if data is None and not places.data_path:
        if not any("data" in record.synthetic for record in records):
            say("no images: say where the datasets lie with --data DIR or BENCH_DATA, and there is a gallery")
            return []
        data = selection.mini_suite(say=say)
    found, problems = selection.select_datasets([], data=data, paths=places.data_path)
    for problem in problems:
        say(f"no images: {problem}")
    return found
