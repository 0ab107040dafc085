"""A GPU that only pretends: its tensors have a device, a shape and a dtype, but no values.

As on a real GPU, an operation on tensors of two devices is an error, so any machine finds a tensor that a method leaves
on the CPU. Backward passes cannot be run.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from benchmark.authoring.method_under_test import MethodUnderTest, map_values
from benchmark.clip import DTYPES, Backbone
from benchmark.contract import Learner, TrainingBatch, VisionSpec
from benchmark.errors import ContractError

DEVICE = "cuda"
IMAGES = 2
CLASS_SCORES = "class scores"
"""Name of the check of the last step over a class, which is not run on the GPU if that check failed."""


@contextmanager
def fake_gpu(backbone: Backbone, dtype: str) -> Iterator[Backbone]:
    """Yield a copy of a backbone on a pretended GPU. All tensors that are made in this context have no values.

    Args:
        backbone: A backbone of any device.
        dtype: Name of the dtype of the copy, a key of `DTYPES`.
    """
    # A tensor that was made before, such as a constant of a module, counts as one of the CPU.
    with FakeTensorMode(allow_non_fake_inputs=True), mock.patch.object(nn.Module, "_apply", _apply):
        there = copy.copy(backbone)
        there.device, there.dtype, there._positions, there._cache = DEVICE, dtype, {}, None
        model, copies = backbone.model, {}
        for tensor in chain(model.parameters(), model.buffers()):
            kind = DTYPES[dtype] if tensor.is_floating_point() else tensor.dtype
            made = torch.empty(tensor.shape, dtype=kind, device=DEVICE)
            is_parameter = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(made, requires_grad=False) if is_parameter else made
        there.model = copy.deepcopy(model, copies)
        yield there


def _apply(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Move a module, as its `to` does. The original swaps tensors in place, which fails if they have no values."""
    for child in module.children():
        _apply(child, change)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(change(parameter.detach()), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else change(buffer)
    return module


def run_on_fake_gpu(tested: MethodUnderTest, *, dtypes: Sequence[str] = ("bfloat16",)) -> str:
    """Run a method on a pretended GPU: its constructor, references, scores and losses, on two images.

    Args:
        tested: The method.
        dtypes: Names of dtypes of the towers, one run for each.

    Returns:
        What was observed. A method that reads the values of tensors, for instance by `tolist`, is followed up to there.

    Raises:
        ContractError: If a result does not lie on the GPU.
        Exception: What the method raises, for instance since tensors lie on two devices.
    """
    for dtype in dtypes:
        with fake_gpu(tested.backbone, dtype) as backbone:
            try:
                results = _results(tested, backbone)
            except Exception as error:
                if not _needs_values(error):
                    raise
                return f"not checked to the end without a GPU: it reads the values of tensors ({error})"
        if left := [name for name, each in results.items() if each.device.type != DEVICE]:
            raise ContractError(f"on the CPU, where the features are on a GPU: {', '.join(left)}")
    return "leaves no tensor on the CPU"


def _needs_values(error: Exception) -> bool:
    if isinstance(error, DataDependentOutputException | DynamicOutputShapeException):
        return True
    return isinstance(error, RuntimeError) and ".numpy() is not supported" in str(error)  # torch has no type for it


def _results(tested: MethodUnderTest, backbone: Backbone) -> dict[str, Tensor]:
    """Return what a method that runs on a backbone without values makes, by name."""
    built, given, spec = tested.method(backbone, tested.options), tested.given, tested.spec
    if tested.shots:
        built.see_references(backbone.encode_images(torch.empty(given.references[0].shape), spec))
    stages = built.stages(tested.auxiliaries) if isinstance(built, Learner) else ()
    results: dict[str, Tensor] = {}
    for stage in sorted(stages, key=lambda stage: stage.optimiser is not None):  # predictions need what is fitted
        with torch.set_grad_enabled(stage.optimiser is not None):
            terms = stage.losses(_batch(tested, backbone, stage.vision))
        results |= {f"the loss {name}": term for name, term in terms.items()}
    names = given.class_names[:IMAGES]
    features = backbone.encode_images(torch.empty(IMAGES, *given.images.shape[1:]), spec)
    with torch.no_grad():
        found = built.predict(features, list(names))
    results |= {"scores": found.scores, "maps": map_values(found)}
    if CLASS_SCORES not in tested.failed and built.scores_whole_class(tested.options):
        empty = torch.empty(IMAGES, dtype=torch.float64)  # these scores are on the CPU, whatever the device
        built.class_scores(empty, empty, empty, names[0])
    if isinstance(built, Learner):
        results |= {f"{name} of learned": each for name, each in built.learned.state_dict().items()}
    return results


def _batch(tested: MethodUnderTest, backbone: Backbone, spec: VisionSpec) -> TrainingBatch:
    size = spec.image_size
    features = backbone.encode_images(torch.empty(IMAGES, 3, size, size), spec)
    labels = torch.empty(IMAGES, dtype=torch.int64, device=DEVICE)
    masks = torch.empty(IMAGES, size, size, device=DEVICE)
    return TrainingBatch(features, tested.given.class_names[:IMAGES], labels, masks)
