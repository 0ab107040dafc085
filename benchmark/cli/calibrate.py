"""The command `bench calibrate`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.data_options import FolderOptions
from benchmark.cli.messages import fail
from benchmark.cli.options import MethodName, MethodOptions, with_options
from benchmark.cli.scorers import ScorerOptions
from benchmark.cli.settings import parse_settings
from benchmark.clip import check_class_name
from benchmark.common import listed, printable, tell


@with_options
def calibrate_command(
    *,
    method: MethodName = "anomalyclip",
    method_options: MethodOptions,
    folders: FolderOptions,
    false_alarms: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Largest share of normal images that may be said to be anomalous, as in 0.05; it takes normal images "
            "alone, too.",
            show_default="where F1 is largest",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Where the thresholds go.", show_default="calibration-METHOD.json"),
    ] = None,
    options: ScorerOptions,
) -> None:
    """Choose the score from which on `bench predict` says that an image is anomalous, on images of which it is known.

    Scores the images of a folder as `bench predict` does, chooses the threshold, prints what it gives on these images,
    and writes it to a file with the data, the method and the weights that it belongs to. The threshold is the one of
    the largest F1, or the lowest at which at most RATE of the normal images are false alarms. From the maps it chooses
    the threshold of pixels for masks too: that of the largest F1 where there are masks, else the one that 1 % of the
    pixels of normal images reach.

    Exit code 0: done; 1: done without some images, which could not be read; 2: there is no threshold.

    Examples:

    bench calibrate --folder ./known --folder-class "metal nut"

    bench calibrate --folder ./known --false-alarms 0.02 --method winclip --output winclip-2-percent.json
    """
    if false_alarms is not None and not 0 <= false_alarms < 1:
        fail(f"--false-alarms {false_alarms:g}: say a share of at least 0 and below 1, as in 0.05")
    if len(given := folders.folders()) != 1:
        fail("say which images to choose the threshold on: --folder DIR, once")
    from benchmark.data import read_folder

    samples = read_folder(given[0])
    if len(classes := list(dict.fromkeys(sample.prompt_name for sample in samples.test))) > 1:
        names = listed(classes, 3)
        fail(f"--folder {given[0].directory}: has classes {names}, and a threshold is for one; name the folder of one")
    check_class_name(classes[0], where="--folder-class")

    from benchmark.api import find_scorers
    from benchmark.common import image_progress
    from benchmark.predict import (
        banner,
        calibrate,
        check_file,
        note_on_references,
        report,
        score_samples,
        write_calibration,
    )
    from benchmark.records import environment

    paths = [sample.path for sample in samples.test]
    found_scorers = find_scorers(
        [method], parse_settings(method_options.settings), options.scoring(follow_links=folders.follow_links)
    )
    known = found_scorers.looking_at(paths, classes[0], samples.ranges)
    (scorer,) = known.scorers
    if note := note_on_references(paths, known.scorers):
        fail(f"{note}; choose the threshold on other images than these")
    path = output or Path(f"calibration-{method}.json")
    check_file(path, scorer.id)
    backbone = known.load()
    tell(printable(f"{samples.title}: {len(samples.test)} images in {samples.directory}; {samples.reason}"))
    for warning in samples.warnings:
        tell(printable(f"note: {warning}"))
    tell(f"{scorer.told}, class {classes[0]!r}, backbone {known.source.name}")
    try:
        with image_progress("scoring", len(samples.test)) as progress:
            found = score_samples(
                samples,
                scorer.build(backbone),
                backbone,
                scorer.id,
                batch_size=options.batch_size,
                progress=progress,
            )
    except KeyboardInterrupt:
        fail("stopped while scoring; nothing is kept", code=130)
    run = {**environment(), "device": backbone.device}
    calibration = calibrate(found, scorer.id, samples, rate=false_alarms, run=run)
    replaced = write_calibration(path, calibration)
    if line := banner(calibration.synthetic):
        tell(line)
    for problem in found.problems:
        tell(f"FAILED {problem}")
    for line in report(calibration):
        print(line)
    for warning in calibration.warnings:
        tell(printable(f"note: {warning}"))
    if replaced:
        tell(f"note: {path} held the {replaced}; it is replaced")
    tell(f"{path} is for bench predict --threshold")
    sys.exit(1 if found.problems else 0)
