"""The command `bench predict`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from benchmark.cli.computing import identify
from benchmark.cli.messages import fail, say
from benchmark.cli.options import RESULTS, EncodingOptions, MethodName, MethodOptions, Results, with_options
from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE

if TYPE_CHECKING:
    from benchmark.contract import Method
    from benchmark.predict.scoring import Predictions
    from benchmark.records import BackboneId, Checkpoint


@with_options
def predict_command(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Image files, and folders that are searched for images.")
    ],
    *,
    method: MethodName = "anomalyclip",
    method_options: MethodOptions,
    class_name: Annotated[str, typer.Option("--class", help="What the images show, in plain English.")] = "object",
    output: Annotated[Path, typer.Option(help="Folder for the drawings and predictions.json.")] = Path("predictions"),
    backbone: Annotated[
        str,
        typer.Option(
            help="CLIP and its weights: NAME:TAG of open_clip, NAME=FILE, or NAME:random[-SEED]. The default is part "
            f"of the package and was trained on generated images, for a first try. Real weights: {DEFAULT_BACKBONE}."
        ),
    ] = MINI_BACKBONE,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Checkpoint of a method that learns.",
            show_default="one in RESULTS/checkpoints that fits, else the package's own for the default backbone",
        ),
    ] = None,
    encoding: EncodingOptions,
    results: Results = RESULTS,
) -> None:
    """Score images with one method, and draw its anomaly maps over them as heatmaps.

    Prints scores and paths, highest score first. A higher score means a more anomalous image. Scores can be compared
    between images of one call, but not between methods, classes or backbones, and no value alone means "defective".

    Writes to OUTPUT a PNG per image and predictions.json with scores, the range and the highest point of each map, and
    how they were computed. All drawings of a call share one colour scale from the lowest value (the photo unchanged) to
    the highest value (red) of all maps. Therefore include images of good parts: an image that is drawn alone has red on
    it even if nothing is wrong.

    Exit code 0: every image was scored and drawn; 1: some could not be; 2: the command could not start.

    Examples:

    bench predict ./parts --method anomalyclip --class "metal nut" --output ./heatmaps

    bench predict 1.png 2.png --method winclip --class screw --backbone ViT-B-16-plus-240:laion400m_e32
    """
    if not class_name.strip():
        fail('--class: say what the images show, as in --class "metal nut"')
    from benchmark.predict import find_images, prepare_output

    found, problems = find_images(images, output=output)

    from benchmark.cli import selection
    from benchmark.clip import load_backbone, parse_backbone, pick_device
    from benchmark.common import feature_cache, image_progress
    from benchmark.predict import scoring
    from benchmark.records import environment
    from benchmark.registry import title_of
    from benchmark.training import build_method

    [(kind, options)], protocol = selection.select_methods([method], method_options.settings)
    source = parse_backbone(backbone)
    identity = identify(source, dtype=encoding.dtype)
    learned = _find_learned(kind, options, identity, checkpoint, results)
    prepare_output(output, found)
    loaded = load_backbone(
        source,
        dtype=encoding.dtype,
        device=pick_device(encoding.device),
        pos_interp=protocol.pos_interp,
        cache=feature_cache(),
    )
    path, seed, origin = None, 0, ""
    if learned:
        path, training = learned[0], learned[1].training
        seed, origin = training.seed, f", checkpoint {path} (of {training.auxiliary.name}, seed {training.seed})"
    ready = build_method(kind, loaded, options, seed=seed, checkpoint=path)
    say(f"{len(found)} images, {title_of(kind, options)}, backbone {source.name}{origin}")
    try:
        with image_progress("scoring", len(found)) as progress:
            scored, raws = scoring.score_found(
                found, ready, loaded, class_name=class_name, batch_size=encoding.batch_size, progress=progress
            )
    except KeyboardInterrupt:
        fail("stopped while scoring; nothing is kept", code=130)
    used = scoring.CheckpointUsed.of(*learned) if learned else None
    written = scoring.Predictions(
        method=kind.name,
        method_version=kind.version,
        title=title_of(kind, options),
        options=dataclasses.asdict(options),
        class_name=class_name,
        protocol=protocol,
        backbone=identity,
        checkpoint=used,
        synthetic=scoring.synthetic_parts(identity, used),
        image_size=ready.vision().image_size,
        scale=scoring.common_scale(scored),
        images=tuple(scored),
        run={**environment(), "device": loaded.device},
    )
    scoring.write_predictions(output, written)  # a kill while drawing leaves the scores
    with image_progress("drawing", len(found)) as progress:
        drawn = scoring.draw_found(found, scored, raws, ready, output, progress=progress)
    _finish(written.model_copy(update={"images": tuple(drawn)}), output, problems)


def _find_learned(
    method: "type[Method]", options: Any, backbone: "BackboneId", given: Path | None, results: Path
) -> "tuple[Path, Checkpoint] | None":
    """Return the checkpoint that the method predicts with; None where it learns nothing."""
    from benchmark.contract import Learner
    from benchmark.training import choose_checkpoint

    if method.shots(options):
        fail(f"{method.title} has to see normal images first, which predict cannot show it; leave the shots at 0")
    if issubclass(method, Learner):
        return choose_checkpoint(method, options, backbone, given=given, results=results)
    if given:
        fail(f"{method.title} learns nothing; leave out --checkpoint")
    return None


def _finish(predictions: "Predictions", output: Path, problems: Sequence[str]) -> NoReturn:
    """Write and print the predictions, and end the command."""
    from benchmark.predict import scoring

    path, drawn = scoring.write_predictions(output, predictions), predictions.images
    if banner := scoring.banner(predictions.synthetic):
        say(banner)
    for line in scoring.table(drawn):
        print(line)
    errors = [each.error for each in drawn if each.error]
    for line in [*problems, *errors]:
        say(f"FAILED {line}")
    say(f"{path.name} and {sum(each.overlay is not None for each in drawn)} of {len(drawn)} drawings are in {output}")
    sys.exit(1 if errors or problems else 0)
