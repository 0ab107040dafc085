"""Check of methods that leave out CLIP's own pass: they read none of the embeddings that it gives."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmark.authoring.checks_of_predictions import state_of
from benchmark.authoring.method_under_test import TOLERANCE, MethodUnderTest, autocast, map_values
from benchmark.contract import Features, Learner, VisionSpec
from benchmark.errors import ContractError

Run = Callable[[Features], dict[str, Tensor]]
"""Returns what a new instance of the method makes of features, by name."""


def leaves_out_the_pass(tested: MethodUnderTest) -> bool:
    """Return whether a method predicts, or learns in a stage, without CLIP's own pass."""
    return not tested.spec.encoded or bool(_places(tested))


def own_pass(tested: MethodUnderTest) -> str:
    """Check that results are the same with and without the embeddings of CLIP's own pass.

    Without them `features.image` is of shape `(B, 0)`, and gives the device and the number of images.
    """
    if not tested.spec.encoded and _reads(tested, partial(_predicted, tested), tested.features):
        raise ContractError("predict reads features.image, but vision() says encoded=False")
    for place in _places(tested):
        stage = tested.stages[place]
        if _reads(tested, partial(_learned, tested, place), tested.training_batch(stage.vision).features):
            raise ContractError(f"losses of {stage.name} read features.image, but its vision says encoded=False")
    return "is left out, and its embeddings are not read"


def _places(tested: MethodUnderTest) -> list[int]:
    """Return the places of the stages that leave out CLIP's own pass."""
    if not issubclass(tested.method, Learner):
        return []
    return [place for place, stage in enumerate(tested.stages) if not stage.vision.encoded]


def _with_embeddings(tested: MethodUnderTest, given: Features) -> Features:
    assert given.images is not None  # what leaves out the pass asks for images
    found = tested.backbone.encode_images(given.images, VisionSpec(given.images.shape[-1]))
    return replace(given, image=found.image, image_raw=found.image_raw)


def _reads(tested: MethodUnderTest, run: Run, without: Features) -> bool:
    """Return whether results differ with embeddings, or fail without them alone."""
    embedded = _with_embeddings(tested, without)
    try:
        one = run(without)
    except Exception:
        return _works(run, embedded)  # what fails with them, too, is seen by the next checks
    try:
        return not _same(one, run(embedded)) and _same(one, run(without))
    except Exception:
        return False


def _works(run: Run, features: Features) -> bool:
    try:
        run(features)
    except Exception:
        return False
    return True


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(
        one[name].shape == other[name].shape
        and torch.allclose(one[name], other[name], rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        for name in one
    )


def _predicted(tested: MethodUnderTest, features: Features) -> dict[str, Tensor]:
    torch.manual_seed(0)
    found = tested.predict(tested.build(), tested.given.class_names, features)
    return {"scores": found.scores, "maps": map_values(found)}


def _learned(tested: MethodUnderTest, place: int, features: Features) -> dict[str, Tensor]:
    """Return the terms of the loss, and what is learned without an optimiser."""
    torch.manual_seed(0)
    learner = tested.build_learner()
    stage = learner.stages(tested.auxiliaries)[place]
    with torch.no_grad(), autocast(stage, tested.backbone.device):
        terms = stage.losses(replace(tested.training_batch(stage.vision), features=features))
    return {**terms, **state_of(learner)}
