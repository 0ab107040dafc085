"""The command `bench predict`: one method on images of one's own."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.messages import fail, say
from benchmark.cli.options import RESULTS, EncodingOptions, MethodName, MethodOptions, Results, with_options
from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE


@with_options
def predict_command(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Image files, and folders that are searched for them.")
    ],
    *,
    method: MethodName = "anomalyclip",
    method_options: MethodOptions,
    class_name: Annotated[str, typer.Option("--class", help="What the images show, in plain English.")] = "object",
    output: Annotated[Path, typer.Option(help="Folder for the drawings and predictions.json.")] = Path("predictions"),
    backbone: Annotated[
        str,
        typer.Option(
            help="NAME:TAG of open_clip, NAME=FILE, or NAME:random[-SEED]. The default ships along and was trained on "
            f"generated images: for trying out. Real weights: {DEFAULT_BACKBONE}."
        ),
    ] = MINI_BACKBONE,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="What the method learned.",
            show_default="one in RESULTS/checkpoints that fits, else the one that ships along for the default backbone",
        ),
    ] = None,
    encoding: EncodingOptions,
    results: Results = RESULTS,
) -> None:
    """Score images with one method, and draw its anomaly maps over them as heatmaps.

    Prints scores and paths, highest first. The higher a score, the more anomalous the image; scores compare images of
    one call, not methods, classes or backbones with each other, and no value by itself means "defective".

    OUTPUT gets a PNG per image and predictions.json: score, lowest and highest value of the map, where it is highest,
    and all it takes to trace them. All drawings of a call share one colour scale, from the lowest value (the photo as
    it is) to the highest (red) of all its maps: draw good parts along with doubtful ones, since an image drawn alone
    has red on it even if nothing is wrong.

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
    from benchmark.clip import parse_backbone
    from benchmark.common import feature_cache, image_progress
    from benchmark.contract import Learner
    from benchmark.predict import scoring as predict
    from benchmark.records import backbone_id, environment
    from benchmark.registry import title_of

    [(kind, options)], protocol = selection.select_methods([method], method_options.settings)
    if kind.shots(options):
        fail(f"{kind.title} is to be shown normal images first, which predict cannot do; leave the shots at 0")
    source = parse_backbone(backbone)
    identity = backbone_id(source, dtype=encoding.dtype)
    chosen, known = None, None
    if issubclass(kind, Learner):
        chosen, known = predict.choose_checkpoint(kind, options, identity, given=checkpoint, results=results)
    elif checkpoint:
        fail(f"{kind.title} learns nothing; leave out --checkpoint")
    prepare_output(output, found)

    from benchmark.clip import load_backbone, pick_device
    from benchmark.training import build_method

    loaded = load_backbone(
        source,
        dtype=encoding.dtype,
        device=pick_device(encoding.device),
        pos_interp=protocol.pos_interp,
        cache=feature_cache(),
    )
    ready = build_method(kind, loaded, options, seed=known.training.seed if known else 0, checkpoint=chosen)
    learned = f", checkpoint {chosen} (of {known.training.auxiliary.name}, seed {known.training.seed})" if known else ""
    say(f"{len(found)} images, {title_of(kind, options)}, backbone {source.name}{learned}")

    try:
        with image_progress("scoring", len(found)) as progress:
            scored, raws = predict.score_found(
                found, ready, loaded, class_name=class_name, batch_size=encoding.batch_size, progress=progress
            )
    except KeyboardInterrupt:
        fail("stopped while scoring; nothing is kept", code=130)
    used = predict.CheckpointUsed.of(chosen, known) if chosen and known else None
    written = predict.Predictions(
        method=kind.name,
        method_version=kind.version,
        title=title_of(kind, options),
        options=dataclasses.asdict(options),
        class_name=class_name,
        protocol=protocol,
        backbone=identity,
        checkpoint=used,
        synthetic=predict.synthetic_parts(identity, used),
        image_size=ready.vision().image_size,
        scale=predict.common_scale(scored),
        images=tuple(scored),
        run={**environment(), "device": loaded.device},
    )
    predict.write_predictions(output, written)  # a kill while drawing leaves the scores
    with image_progress("drawing", len(found)) as progress:
        drawn = predict.draw_found(found, scored, raws, ready, output, progress=progress)
    path = predict.write_predictions(output, written.model_copy(update={"images": tuple(drawn)}))

    if banner := predict.banner(written.synthetic):
        say(banner)
    for line in predict.table(drawn):
        print(line)
    failed = [each for each in drawn if each.error]
    for line in [*problems, *(str(each.error) for each in failed)]:
        say(f"FAILED {line}")
    say(f"{path.name} and {sum(each.overlay is not None for each in drawn)} of {len(drawn)} drawings are in {output}")
    sys.exit(1 if failed or problems else 0)
