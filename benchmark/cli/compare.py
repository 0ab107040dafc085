"""The command `bench compare`."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.messages import fail, writing
from benchmark.cli.options import Datasets, Methods, OneBackbone, Results, split
from benchmark.cli.tables import known_backbone, known_datasets
from benchmark.common import PUBLISHED_TOLERANCE, RESULTS, counted, tell, write_whole

if TYPE_CHECKING:
    from benchmark.records import Record


def compare_command(
    *,
    results: Results = RESULTS,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Compare with the results in this folder, cell by cell, and not with published numbers.",
            rich_help_panel="Results",
        ),
    ] = None,
    methods: Methods = "",
    datasets: Datasets = "",
    backbone: OneBackbone = "",
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Points by which a result (beside a published number its interval, too) may differ.",
            show_default=f"{PUBLISHED_TOLERANCE:g}; with --against 0.1, and 0.0001 where machine and packages are the "
            "same",
        ),
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Compare published numbers of classes too, not only means over classes.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write it to this file too: .md, or .csv with every row.")] = None,
) -> None:
    """Compare results with published numbers, or with the results of another folder.

    Each published number is shown with its source, the difference, and why the two may differ. It is compared with
    results on the same training data, model, input size and test images. Results on generated data are not compared.
    Without results, only the published numbers are printed.

    With --against, every number of each cell is compared with that of the same cell in another folder, as one of
    another machine or another commit, and so is what made them. Exit code 0: all cells of the other folder are here and
    agree; 1: otherwise, and where nothing could be compared or a record could not be read. Cells of ablations that were
    not run here, and cells that the other folder lacks, are told and do not count.

    Examples:

    bench compare --methods anomalyclip --datasets mvtec,visa

    bench compare --against results/reference

    bench compare --results mine --against theirs --methods clip,coop --output differences.csv
    """
    if output is not None and output.suffix not in (".md", ".csv"):
        fail(f"--output {output}: say a file that ends in .md or .csv")
    if tolerance is not None and math.isinf(tolerance):
        fail(f"--tolerance {tolerance}: say a number of points, as in --tolerance 0.1")
    if against is None:
        points = PUBLISHED_TOLERANCE if tolerance is None else tolerance
        agree = True
        texts = _with_published(results, points, methods=methods, datasets=datasets, backbone=backbone, classes=classes)
    elif classes:
        fail("--classes is for published numbers; with --against all classes are compared, so leave it out")
    else:
        limit = None if tolerance is None else tolerance / 100
        texts, agree = _with_folder(results, against, limit, methods=methods, datasets=datasets, backbone=backbone)
    print(texts["txt"], end="")
    if output is not None:
        with writing(f"--output {output}"):
            write_whole(output, texts[output.suffix.removeprefix(".")])
        tell(f"written to {output}")
    if not agree:
        sys.exit(1)


def _with_folder(
    results: Path, against: Path, tolerance: float | None, *, methods: str, datasets: str, backbone: str
) -> tuple[dict[str, str], bool]:
    """Return the comparison with another folder by its kind of text, and whether all was read and agrees."""
    from benchmark.records import pair_up, read_records
    from benchmark.registry import choose
    from benchmark.tables import agreement_csv, render_agreement, select_records

    if results.resolve() == against.resolve():
        fail(f"--against {against}: it is the folder of --results; name another")
    folders: list[list[Record]] = []
    unread = 0
    for option, folder, way_out in (
        ("--results", results, "`bench run` makes them"),
        ("--against", against, "name a folder of results"),
    ):
        records, problems = read_records(folder)
        for problem in problems:
            tell(f"cannot be compared: {problem}")
        if not records and problems:
            fail(f"{option} {folder}: none of its records can be read", code=1)
        if not records:
            fail(f"{option} {folder}: no records in {folder / 'records'}; {way_out}")
        folders.append(records)
        unread += len(problems)
    known = [record for records in folders for record in records]
    wanted = choose("method with results", split(methods), {record.cell.method for record in known})
    titles, weights = known_datasets(known, split(datasets)), known_backbone(known, backbone)
    ours, theirs = (select_records(each, methods=wanted, datasets=titles, backbone=weights) for each in folders)
    if not ours and not theirs:
        fail("no results fit the selection")
    pairing = pair_up(ours, theirs, tolerance=tolerance)
    texts = {style: render_agreement(pairing, style, there=str(against)) for style in ("txt", "md")}
    if unread:
        tell(f"{counted(unread, 'record')} could not be read, so not all was compared")
    return {**texts, "csv": agreement_csv(pairing)}, pairing.agree and not unread


def _with_published(
    results: Path, tolerance: float, *, methods: str, datasets: str, backbone: str, classes: bool
) -> dict[str, str]:
    """Return the comparison with published numbers by its kind of text."""
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
        results_to_compare,
        select_numbers,
        select_records,
    )

    numbers = load_published()
    known = sorted({number.method for number in numbers if number.method is not None})
    wanted = choose("method with published numbers", split(methods), known)
    cards = choose("dataset", split(datasets), load_cards())
    numbers = select_numbers(numbers, methods=wanted, datasets=cards, classes=classes)
    records, problems = read_records(results)
    kept = select_records(records, methods=wanted, datasets=cards, backbone=backbone)
    failed = [f"{record.title} on {record.dataset_title} failed: {record.error}" for record in kept if record.error]
    for problem in problems + failed:
        tell(f"left out: {problem}")
    done = results_to_compare(kept)
    if done:
        for line in lacking(done):
            tell(line)
        rows = compare(numbers, done, tolerance=tolerance)
        texts = {style: render_comparison(rows, style, tolerance=tolerance) for style in ("txt", "md")}
        return {**texts, "csv": comparison_csv(rows)}
    why = "fit the selection" if records else "are there to compare with; `bench run` makes them"
    tell(f"no results in {results / 'records'} {why}; these are the published numbers alone")
    texts = {style: render_published(numbers, style) for style in ("txt", "md")}
    return {**texts, "csv": published_csv(numbers)}
