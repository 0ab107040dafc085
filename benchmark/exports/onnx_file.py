"""ONNX files of frozen predictors: pixels in, scores and maps out, compared with torch before they are kept."""

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from benchmark.clip import Backbone, ClassName
from benchmark.common import require_extra
from benchmark.exports.onnx_graph import BATCH, ExportError, FrozenPredictor, allowed, graph_of
from benchmark.predict import Scorer, ScorerId, banner
from benchmark.records import package_version
from benchmark.running import at_evaluation_size
from benchmark.training import tower_of

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch.export import ExportedProgram

TOLERANCE = 1e-4
"""Most by which a score, or a pixel of a map, may differ between the file and torch; see `allowed`."""
OPSET = 18
"""Version of ONNX's operators, one that runtimes of several years know."""
INPUT, OUTPUTS = "pixels", ("score", "map")
PACKAGES = ("onnx", "onnxscript", "onnx_ir", "onnxruntime")

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was written, and by how much it differs from torch."""

    any_batch: bool
    """Whether the file takes any number of images; else it takes one at a time."""
    side: int
    """Side of the images in pixels."""
    map_side: int
    """Side of the maps in pixels."""
    images: int
    """Number of images on which the file was compared with torch."""
    score: float
    """Largest difference of a score."""
    map: float
    """Largest difference of a pixel of a map."""


def export_onnx(path: Path, scorer: Scorer, backbone: Backbone) -> Exported:
    """Write a scorer as an ONNX file, if the file gives what torch gives; see `write_predictor`.

    Args:
        path: The file.
        scorer: A method with its options, checkpoint, reference images and class name.
        backbone: The backbone, which computes in float32 on the CPU.

    Raises:
        ExportError: The method cannot be exported, or the file does not give what torch gives.
        BenchError: Packages are missing.
        OSError: The file cannot be written.
    """
    require_extra("onnx", PACKAGES, user="An ONNX file")
    predictor = FrozenPredictor(
        scorer.build(backbone),
        tower_of(scorer.kind, backbone, scorer.options),
        ClassName(scorer.id.class_name),
        evaluation_size=scorer.id.protocol.evaluation_size,
    )
    return write_predictor(path, predictor, metadata(scorer.id, predictor))


def write_predictor(path: Path, predictor: FrozenPredictor, props: Mapping[str, str]) -> Exported:
    """Write a predictor as an ONNX file, if the file gives what torch gives.

    The input `pixels` of shape `(B, 3, H, H)`, uint8, is red, green and blue of images that were resized as by
    `Preprocess`; they are normalised in the graph. The outputs are `score` of shape `(B,)` and `map` of shape
    `(B, S, S)`, float32, as `bench predict` gives them. Where texts are made of each image, B is 1. A file of more than
    2 GB has its weights beside it, in a file with `.data` added to its name.

    Args:
        path: The file. One that is there is replaced.
        predictor: The predictor.
        props: Metadata of the file.

    Raises:
        ExportError: The method cannot be exported, or the file does not give what torch gives.
        OSError: The file cannot be written.
    """
    pixels = check_pixels(predictor.spec.image_size)
    graph, any_batch = graph_of(predictor, torch.from_numpy(pixels))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        written = Path(folder) / path.name
        _write(written, graph, {**props, "batch": "any" if any_batch else "1"}, any_batch=any_batch)
        found, wanted = run_onnx(written, pixels, any_batch=any_batch), by_torch(predictor, pixels)
        score, map_ = (float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True))
        most = [allowed(torch.from_numpy(each), TOLERANCE) for each in wanted]
        if not (score <= most[0] < math.inf and map_ <= most[1] < math.inf):  # not if a value is not finite, either
            raise ExportError(
                f"{predictor.method.title}: the exported graph differs from torch by {score:.2g} in scores and "
                f"{map_:.2g} in maps, where {most[0]:.2g} and {most[1]:.2g} are allowed; {path} is not written"
            )
        for each in sorted(Path(folder).iterdir(), reverse=True):  # FILE.onnx.data before FILE.onnx
            each.replace(path.parent / each.name)
    return Exported(any_batch, pixels.shape[-1], wanted[1].shape[-1], len(pixels), score, map_)


def check_pixels(side: int) -> Pixels:
    """Return images of shape `(4, 3, S, S)` to compare on: noise, a gradient, a flat one, and one with a spot."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    flat = np.full((3, side, side), 128)
    gradient = 255 * np.stack([rows, columns, 1 - rows])
    spot = np.where(np.hypot(rows - 0.4, columns - 0.6) < 0.15, 220, 60) + 10 * np.sin(40 * columns)
    return np.stack([rng.integers(0, 256, flat.shape), gradient, flat, np.broadcast_to(spot, flat.shape)]).astype(
        np.uint8
    )


def by_torch(predictor: FrozenPredictor, pixels: Pixels) -> tuple[Floats, Floats]:
    """Return scores and maps as `bench predict` computes them."""
    method, size = predictor.method, predictor.spec.image_size
    with torch.no_grad():
        features = predictor.backbone.encode_images(torch.from_numpy(pixels), predictor.spec)
        prediction = method.predict(features, [predictor.class_name] * len(pixels))
    scores, maps = at_evaluation_size(
        prediction, image_size=size, smoothing=method.smoothing, evaluation_size=predictor.evaluation_size
    )
    return np.array(scores, dtype=np.float32), maps


def run_onnx(path: Path, pixels: Pixels, *, any_batch: bool) -> tuple[Floats, Floats]:
    """Return scores and maps of an ONNX file, by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batches = [pixels] if any_batch else np.split(pixels, len(pixels))
    found = [session.run(OUTPUTS, {INPUT: batch}) for batch in batches]
    scores, maps = (np.concatenate(each) for each in zip(*found, strict=True))
    return scores, maps


def metadata(scorer: ScorerId, predictor: FrozenPredictor) -> dict[str, str]:
    """Return what a file says of itself: all that can change its scores, what its input is, and a notice.

    A file may be given away, so it does not tell the names of reference images and of their folder.
    """
    side, shown = predictor.spec.image_size, scorer.references
    licences = "The licences of the weights, and of the images that were learned from, hold for this file."
    told: Mapping[str, Any] = {
        **scorer.model_dump(mode="json"),
        "references": shown and {"images": len(shown.files), "sha256": shown.sha256},
        "image_size": side,
        "preprocess": f"red, green, blue; resized to {side} x {side} pixels without keeping the aspect ratio (Pillow, "
        "bicubic); mean and std are applied in the graph",
        "notice": f"{banner(scorer.synthetic)}\n{licences}".strip(),
        "producer": f"zsad-bench {package_version('zsad-bench')}",
    }
    return {key: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for key, each in told.items()}


def _write(path: Path, graph: "ExportedProgram", props: Mapping[str, str], *, any_batch: bool) -> None:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    shapes = ({0: BATCH},) if any_batch else None
    program = torch.onnx.export(
        graph,
        (),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=OUTPUTS,
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None  # it is given no file
    _share(program.model)
    ClearMetadataAndDocStringPass()(program.model)  # stack traces with paths of this machine
    program.model.metadata_props.update(props)
    program.save(path)


def _share(model: "ir.Model") -> None:
    """Keep one of several constants that are the same, as the transposed weights of each operation that reads them."""
    from onnx_ir.convenience import replace_all_uses_with

    kept: dict[tuple[str, tuple[int, ...], str], ir.Value] = {}
    for name, value in list(model.graph.initializers.items()):
        assert value.const_value is not None  # it has been computed
        content = value.const_value.numpy()
        key = (str(content.dtype), content.shape, hashlib.sha256(content.tobytes()).hexdigest())
        if (first := kept.setdefault(key, value)) is not value:
            replace_all_uses_with(value, first)
            del model.graph.initializers[name]
