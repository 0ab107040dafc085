"""The command `bench predict`."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from benchmark.cli.messages import fail
from benchmark.cli.options import MethodOptions, split, with_options
from benchmark.cli.scorers import ScorersOptions
from benchmark.cli.settings import parse_settings
from benchmark.clip import check_class_name
from benchmark.common import ANY_CLASS, tell

if TYPE_CHECKING:
    from benchmark.predict import Calibration, Predictions, Scorer, ThresholdUsed


@with_options
def predict_command(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Image files, and folders that are searched for images.")
    ],
    *,
    method: Annotated[
        str,
        typer.Option(
            help="Name from `bench methods`, or several with commas, which are drawn side by side too.",
            rich_help_panel="Methods",
        ),
    ] = "anomalyclip",
    method_options: MethodOptions,
    class_name: Annotated[str, typer.Option("--class", help="What the images show, in plain English.")] = ANY_CLASS,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links that lead out of a folder, to images kept elsewhere.")
    ] = False,
    output: Annotated[
        Path, typer.Option(help="Folder for scores and drawings; those of a method go into a folder of its name.")
    ] = Path("predictions"),
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE.json|NUMBER",
            help="From which score on an image is anomalous: a file of `bench calibrate` (may be repeated, one for "
            "each method), or a number.",
            show_default="no decision",
        ),
    ] = None,
    save_masks: Annotated[
        bool,
        typer.Option(
            "--save-masks",
            help="Write masks of the anomalous pixels, and the photo with their outlines; needs a file as --threshold.",
        ),
    ] = False,
    save_maps: Annotated[
        Literal["npy", "tiff"] | None,
        typer.Option("--save-maps", help="Write the anomaly maps as float32.", show_default="none"),
    ] = None,
    options: ScorersOptions,
) -> None:
    """Score images with one method or several, and draw the anomaly maps over them as heatmaps.

    Prints scores and paths, highest score first; with --threshold also whether an image is normal or anomalous. A
    higher score means a more anomalous image. Scores can be compared between images of one call, but not between
    methods, classes or backbones, and no value alone means "defective": `bench calibrate` chooses a threshold on images
    of which it is known what they are.

    Writes to OUTPUT/METHOD a heatmap per image, and predictions.json and predictions.csv with scores, decisions, the
    range and the highest point of each map, and how they were computed. All heatmaps of a method share one colour scale
    from the lowest value (the photo unchanged) to the highest value (yellow) of all maps. Therefore include images of
    good parts: an image that is drawn alone has yellow on it even if nothing is wrong.

    Exit code 0: every image was scored and drawn; 1: some could not be; 2: the command could not start.

    Examples:

    bench predict ./parts --method anomalyclip --class "metal nut" --output ./heatmaps

    bench predict ./parts --class "metal nut" --threshold calibration-anomalyclip.json --save-masks

    bench predict 1.png 2.png --method winclip --class screw --backbone ViT-B-16-plus-240:laion400m_e32
    """
    check_class_name(class_name, where="--class")
    if not (names := split(method)):
        fail("--method: say a name from `bench methods`")
    from benchmark.predict import find_images, note_on_earlier, prepare_output

    found, problems, left_out = find_images(images, output=output, follow_links=follow_links)

    from benchmark.api import find_scorers
    from benchmark.common import image_progress
    from benchmark.predict import Wanted, common_ranges, draw, note_on_references, score_found, write_predictions
    from benchmark.records import environment

    given = _read_thresholds(threshold or [])
    paths = [each.path for each in found]
    ranges = common_ranges([each for each in given.values() if not isinstance(each, float)])
    scoring = options.scoring(follow_links=follow_links)
    known = find_scorers(names, parse_settings(method_options.settings), scoring).looking_at(paths, class_name, ranges)
    thresholds = _match_thresholds(given, known.scorers, save_masks=save_masks)
    folders = [output / scorer.id.method for scorer in known.scorers]
    together = output / "+".join(folder.name for folder in folders)
    notes = [*(f"not scored: {line}" for line in left_out), *(note_on_earlier(folder) for folder in folders)]
    prepare_output(output, folders)
    for note in [*notes, note_on_references(paths, known.scorers)]:
        if note:
            tell(f"note: {note}")
    backbone = known.load()
    tell(f"{len(found)} images, {'; '.join(each.told for each in known.scorers)}, backbone {known.source.name}")
    try:
        with image_progress("scoring", len(found)) as progress:
            parts = score_found(
                found,
                known.scorers,
                backbone,
                thresholds=thresholds,
                batch_size=options.batch_size,
                progress=progress,
            )
    except KeyboardInterrupt:
        fail("stopped while scoring; nothing is kept", code=130)
    run = {**environment(), "device": backbone.device}
    for folder, part in zip(folders, parts, strict=True):
        write_predictions(folder, part.predictions(part.images, run))  # a kill while drawing leaves the scores
    with image_progress("drawing", len(found)) as progress:
        drawn = draw(
            found,
            parts,
            folders,
            wanted=Wanted(masks=save_masks, maps=save_maps),
            together=together if len(parts) > 1 else None,
            progress=progress,
        )
    written = [part.predictions(images, run) for part, images in zip(parts, drawn, strict=True)]
    for folder, predictions in zip(folders, written, strict=True):
        write_predictions(folder, predictions)
    _finish(written, output, problems)


def _read_thresholds(texts: Sequence[str]) -> "dict[str, Calibration | float]":
    """Return the calibrations and numbers that are given, by the text that gives them."""
    from benchmark.predict import read_calibration

    found: dict[str, Calibration | float] = {}
    for text in texts:
        try:
            found[text] = float(text)
        except ValueError:
            found[text] = read_calibration(Path(text))
        else:
            if not math.isfinite(float(text)):
                fail(f"--threshold {text}: say a finite number, or a file of `bench calibrate`")
    return found


def _match_thresholds(
    given: "Mapping[str, Calibration | float]", scorers: "Sequence[Scorer]", *, save_masks: bool
) -> "dict[str, ThresholdUsed]":
    """Return the thresholds by name of the method."""
    from benchmark.predict import ThresholdUsed, threshold_of

    by_method = {scorer.id.method: scorer.id for scorer in scorers}
    found: dict[str, ThresholdUsed] = {}
    for text, each in given.items():
        if isinstance(each, float):
            if len(scorers) > 1:
                fail(f"--threshold {text}: several methods do not share a number; give files of `bench calibrate`")
            method, threshold = scorers[0].id.method, ThresholdUsed(image=each, rule="given")
        else:
            if (method := each.method) not in by_method:
                fail(f"--threshold {text}: it is of {method}, and this command runs {', '.join(by_method)}")
            threshold = threshold_of(each, Path(text), by_method[method])
            if each.source_sha256 != by_method[method].source_sha256:
                tell(
                    f"note: the files of {method} were edited since {text} was made; if that can change a score, "
                    "choose the threshold again"
                )
        if method in found:
            fail(f"--threshold {text}: there is another threshold for {method}; leave one out")
        found[method] = threshold
    if save_masks:
        for method in by_method:
            if method not in found or found[method].pixel is None:
                fail(
                    f"--save-masks needs to know from which value on a pixel of {method} is anomalous; "
                    "`bench calibrate` finds it: give its file as --threshold"
                )
    return found


def _finish(written: "Sequence[Predictions]", output: Path, problems: Sequence[str]) -> NoReturn:
    """Print the predictions, and end the command."""
    from benchmark.predict import banner, table

    if line := banner(sorted({kind for each in written for kind in each.synthetic})):
        tell(line)
    for line in table(written):
        print(line)
    errors = list(dict.fromkeys(image.error for each in written for image in each.images if image.error))
    for line in [*problems, *errors]:
        tell(f"FAILED {line}")
    for each in written:
        if each.threshold is not None:
            decisions = [image.decision for image in each.images if image.decision]
            where = f", {each.threshold.rule} on {each.threshold.data}" if each.threshold.data else ""
            tell(
                f"{each.title}: {decisions.count('anomalous')} of {len(decisions)} images are anomalous (score of at "
                f"least {each.threshold.image:.6g}{where})"
            )
        count = sum(image.overlay is not None for image in each.images)
        tell(f"predictions.json and {count} of {len(each.images)} drawings are in {output / each.method}")
    sys.exit(1 if errors or problems else 0)
