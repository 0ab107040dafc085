"""The command `bench compare`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.messages import fail, say, writing
from benchmark.cli.options import RESULTS, Datasets, Methods, OneBackbone, Results, split


def compare_command(
    *,
    results: Results = RESULTS,
    methods: Methods = "",
    datasets: Datasets = "",
    backbone: OneBackbone = "",
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="Points by which a result and its interval may differ to count as within."),
    ] = 1.0,
    classes: Annotated[
        bool, typer.Option("--classes", help="Compare classes too, not only the means over classes.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write it to this file too: .md, or .csv with every row.")] = None,
) -> None:
    """Compare results with published numbers: the difference, and why they may differ.

    Each published number is shown with its source. It is compared with results on the same training data, model, input
    size and test images. Results on generated data are not compared. Without results, only the published numbers are
    printed.
    """
    from benchmark.common import write_whole
    from benchmark.data import load_cards
    from benchmark.records import read_records
    from benchmark.registry import choose
    from benchmark.tables import (
        compare,
        comparison_csv,
        lacking,
        load_published,
        published_csv,
        render_comparison,
        render_published,
        select_records,
    )

    if output is not None and output.suffix not in (".md", ".csv"):
        fail(f"--output {output}: say a file that ends in .md or .csv")
    numbers = load_published()
    known = sorted({number.method for number in numbers if number.method is not None})
    wanted = choose("method with published numbers", split(methods), known)
    cards = choose("dataset", split(datasets), load_cards())
    numbers = tuple(
        number
        for number in numbers
        if (classes or number.class_name is None)
        and (not wanted or number.method in wanted)
        and (not cards or number.card.name in cards)
    )
    records, problems = read_records(results)
    kept = select_records(records, methods=wanted, datasets=cards, backbone=backbone)
    failed = [f"{record.title} on {record.dataset_title} failed: {record.error}" for record in kept if record.error]
    for problem in problems + failed:
        say(f"left out: {problem}")
    # Of synthetic results, which are not compared, the variants would only lengthen the list.
    done = [record for record in kept if record.status == "done" and not (record.synthetic and record.cell.changed)]
    if done:
        for line in lacking(done):
            say(line)
        rows = compare(numbers, done, tolerance=tolerance)
        text = {style: render_comparison(rows, style, tolerance=tolerance) for style in ("txt", "md")}
        table = comparison_csv(rows)
    else:
        why = "fit the selection" if records else "are there to compare with; `bench run` makes them"
        say(f"no results in {results / 'records'} {why}; these are the published numbers alone")
        text = {style: render_published(numbers, style) for style in ("txt", "md")}
        table = published_csv(numbers)
    print(text["txt"], end="")
    if output is not None:
        with writing(f"--output {output}"):
            write_whole(output, table if output.suffix == ".csv" else text["md"])
        say(f"written to {output}")
