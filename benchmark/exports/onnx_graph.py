"""From a method that is ready to predict to a graph of tensors: pixels in, scores and maps out."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from benchmark.clip import Backbone, ClassName
from benchmark.contract import Method
from benchmark.errors import BenchError
from benchmark.running import exportable

BATCH = "batch"
"""Name of the first dimension of a graph that takes any number of images."""
SAME = 1e-5
"""Most by which an image may score otherwise in a batch than alone; see `allowed`."""


class ExportError(BenchError):
    """A method cannot be exported. The message says why."""


class FrozenPredictor(nn.Module):
    """A method, a backbone and a class name as a module without parameters: all that it holds is constant."""

    def __init__(
        self, method: Method, backbone: Backbone, class_name: ClassName, *, evaluation_size: int | None = None
    ) -> None:
        """Store the arguments.

        Args:
            method: A method that is ready to predict and has seen the reference images that it needs.
            backbone: The method's backbone, in the variant that it runs.
            class_name: Class of all images.
            evaluation_size: Side S of the maps; None for the image size of the method.
        """
        super().__init__()
        self.method, self.backbone, self.class_name = method, backbone, class_name
        self.spec, self.evaluation_size = method.vision(), evaluation_size

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores of shape `(B,)` and maps of shape `(B, S, S)`, as `bench predict` gives them.

        The method gets one class name, whose texts serve all images of the batch. Where texts are made of each image,
        it works for one image at a time alone.

        Args:
            pixels: Pixels of shape `(B, 3, H, H)`, uint8, where H is the image size of the method.
        """
        features = self.backbone.encode_images(pixels, self.spec)
        return exportable(
            self.method.predict(features, [self.class_name]),
            image_size=self.spec.image_size,
            smoothing=self.method.smoothing,
            evaluation_size=self.evaluation_size,
        )


def graph_of(predictor: FrozenPredictor, pixels: Tensor) -> tuple[ExportedProgram, bool]:
    """Return the graph of a predictor, and whether it takes any number of images; else it takes one at a time.

    What does not depend on the pixels, such as fixed texts, is computed here and is a constant of the graph.

    Args:
        predictor: The predictor.
        pixels: Pixels of three or more different images.

    Raises:
        ExportError: The method fails, or computes by something else than operations of torch on tensors.
    """
    refused = f"{predictor.method.title} cannot be exported"
    with torch.no_grad():
        try:
            alone = [predictor(image[None]) for image in pixels]
        except Exception as error:  # a method's own code may raise anything
            raise ExportError(f"{refused}: its `predict` fails on an image: {_told(error)}") from error
        # Where torch cannot follow, it prints all of the graph before it raises.
        with redirect_stderr(io.StringIO()):
            if _takes_batches(predictor, pixels, alone):
                # Torch may raise anything where it finds that a shape depends on the number of images.
                with suppress(Exception):
                    return _traced(predictor, pixels, {0: Dim(BATCH)}), True
            try:
                return _traced(predictor, pixels[:1], None), False
            except BenchError as error:  # the method itself says why
                raise ExportError(f"{refused}: {error}") from error
            except Exception as error:
                raise ExportError(
                    f"{refused}: torch cannot follow what it computes ({_told(error)}); `predict` must do "
                    "all by operations of torch, without values of tensors on the way"
                ) from error


def _told(error: Exception) -> str:
    """Return an error in one line: what a user can correct says all itself, of others the class is half of it."""
    told = next(iter(str(error).splitlines()), "")
    return told if isinstance(error, BenchError) else f"{type(error).__name__}: {told}"


def allowed(values: Tensor, tolerance: float) -> float:
    """Return by how much values may differ: by the tolerance, and by that share of the largest where it is above 1."""
    return tolerance * max(1.0, float(values.abs().max()))


def _takes_batches(predictor: FrozenPredictor, pixels: Tensor, alone: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Return whether images have the same scores and maps in a batch as each by itself."""
    try:
        together = predictor(pixels)
    except Exception:  # a method that gets one class name for several images may raise anything
        return False
    pairs = [(torch.cat(each), both) for each, both in zip(zip(*alone, strict=True), together, strict=True)]
    return all(
        one.shape == both.shape and torch.allclose(one, both, rtol=0, atol=allowed(one, SAME)) for one, both in pairs
    )


def _traced(predictor: FrozenPredictor, pixels: Tensor, dynamic: Mapping[int, Any] | None) -> ExportedProgram:
    shapes = None if dynamic is None else (dynamic,)
    predictor(pixels)  # methods and backbone keep what they compute once; it is a constant from here on
    program = torch.export.export(predictor, (pixels,), dynamic_shapes=shapes, strict=False)
    module = program.run_decompositions({}).module()  # without operations that change tensors in place
    fold(module)
    return torch.export.export(module, (pixels,), dynamic_shapes=shapes, strict=False)


def fold(module: fx.GraphModule) -> None:
    """Compute whatever does not depend on the input of a graph, and put it there as constants."""
    graph, known = module.graph, dict[fx.Node, Any]()
    for node in graph.nodes:
        if node.op == "get_attr":
            known[node] = _attribute(module, node.target)
        elif (
            node.op == "call_function" and not node.is_impure() and all(each in known for each in node.all_input_nodes)
        ):
            inputs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*inputs[0], **inputs[1])
    last = [node for node in known if node.op != "get_attr" and any(user not in known for user in node.users)]
    for number, node in enumerate(each for each in last if isinstance(known[each], Tensor)):
        module.register_buffer(f"folded_{number}", known[node].clone())
        with graph.inserting_before(node):
            constant = graph.get_attr(f"folded_{number}")
        node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)
    graph.eliminate_dead_code()
    module.recompile()


def _attribute(module: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)
