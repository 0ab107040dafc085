"""The command `bench export onnx`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.messages import fail, writing
from benchmark.cli.options import MethodName, MethodOptions, with_options
from benchmark.cli.scorers import WeightsOptions
from benchmark.cli.settings import parse_settings
from benchmark.clip import check_class_name
from benchmark.common import ANY_CLASS, tell


@with_options
def onnx_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="File to write.")],
    *,
    method: MethodName = "anomalyclip",
    method_options: MethodOptions,
    class_name: Annotated[str, typer.Option("--class", help="What the images show, in plain English.")] = ANY_CLASS,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links that lead out of the folder of --shots.")
    ] = False,
    weights: WeightsOptions,
) -> None:
    """Write a method for one class as an ONNX model, which other programs run without this one.

    The model takes pixels of images, resized to the side that the command prints, and gives scores and anomaly maps as
    `bench predict` does. Texts and reference images are part of it. The command runs the file with onnxruntime,
    compares it with torch, prints the largest difference, and keeps no file that differs by more than 1e-4, or
    1e-4 of the largest value where that is above 1.

    It needs the extra `onnx` of this package.

    Examples:

    bench export onnx nut.onnx --method anomalyclip --class "metal nut"

    bench export onnx screw.onnx --method winclip --class screw --shots ./good-parts
    """
    if file.suffix.lower() != ".onnx":
        fail(f"{file}: say a file that ends in .onnx")
    check_class_name(class_name, where="--class")

    from benchmark.api import find_scorers
    from benchmark.exports import export_onnx
    from benchmark.predict import banner

    scoring = replace(weights.scoring(follow_links=follow_links), device="cpu", dtype="float32")
    known = find_scorers([method], parse_settings(method_options.settings), scoring).looking_at([], class_name)
    (scorer,) = known.scorers
    tell(f"{scorer.told}, class {class_name!r}, backbone {known.source.name}")
    with writing(file):
        done = export_onnx(file, scorer, known.load())
    if line := banner(scorer.id.synthetic):
        tell(line)
    batch = "B" if done.any_batch else "1"
    print(f"pixels  uint8    ({batch}, 3, {done.side}, {done.side})")
    print(f"score   float32  ({batch},)")
    print(f"map     float32  ({batch}, {done.map_side}, {done.map_side})")
    print(f"largest difference from torch on {done.images} images: score {done.score:.1e}, map {done.map:.1e}")
    tell(f"written to {file}")
