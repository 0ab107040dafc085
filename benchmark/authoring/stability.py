"""How much a training magnifies tiny differences of features, such as two machines or two batch sizes make."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmark.authoring.check_images import ImageSource
from benchmark.authoring.findings import Check, Finding, run_check
from benchmark.authoring.method_under_test import MethodUnderTest, take_batch
from benchmark.clip import Backbone, map_features
from benchmark.contract import Features, Learner, Prediction, TrainingBatch

NOISE = 1e-6
"""Size of the differences, relative to each number of the features."""
STEPS = 32
"""Steps of the optimiser, where the method's epochs have so many."""
MAGNIFIED = 5
"""From this factor on, the report says that training magnifies them."""


def check_stability(method: type[Learner], options: Any, backbone: Backbone, source: ImageSource) -> Finding:
    """Report how far predictions move if a method is trained on features that differ by `NOISE`.

    The check passes whatever it finds. It should run after those of `check_method`.

    Args:
        method: The method's class.
        options: Instance of the method's `Options`.
        backbone: A small backbone.
        source: Returns the images that the method is trained on and scores.
    """
    tested = MethodUnderTest(method, options, backbone, source)
    return run_check(Check("stability", _seen, "see the check of the losses"), tested, method)


def _seen(tested: MethodUnderTest) -> str:
    gap = sensitivity(tested)
    seen = f"features that differ by {NOISE:g} change predictions by {gap:.1g} after up to {STEPS} steps"
    grows = "; training magnifies differences, so two machines would learn different things"
    return seen + (grows if gap > MAGNIFIED * NOISE else "")


def sensitivity(tested: MethodUnderTest) -> float:
    """Return the largest difference of predictions between trainings on features that differ by `NOISE`.

    The difference of scores and of maps is relative to the largest of them if that is above 1.
    """
    generator, names = torch.Generator().manual_seed(0), tested.given.class_names
    seen = tested.training_batch.features
    noisy = map_features(
        seen, lambda values: values * (1 + NOISE * torch.randn(values.shape, generator=generator).to(values))
    )
    one, other = (tested.predict(_trained(tested, features), names) for features in (seen, noisy))
    return max(_gap(one, other, name) for name in ("scores", "maps"))


def _gap(one: Prediction, other: Prediction, name: str) -> float:
    a, b = getattr(one, name), getattr(other, name)
    return float((a - b).abs().max() / a.abs().max().clamp(min=1))


def _trained(tested: MethodUnderTest, features: Features) -> Learner:
    learner = tested.build_learner()
    optimiser = learner.optimiser()
    for batch in _batches(tested, learner, optimiser, replace(tested.training_batch, features=features)):
        optimiser.zero_grad()
        torch.stack(list(learner.losses(batch).values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return learner


def _batches(
    tested: MethodUnderTest, learner: Learner, optimiser: torch.optim.Optimizer, every: TrainingBatch
) -> Iterator[TrainingBatch]:
    """Yield the batches of at most `STEPS` steps, in an order of the epoch's own and at its learning rate."""
    size, left = tested.options.batch_size, STEPS
    for epoch in range(tested.options.epochs):
        if (rate := learner.learning_rate(epoch)) is not None:
            for group in optimiser.param_groups:
                group["lr"] = rate
        order = torch.randperm(len(every.class_names), generator=torch.Generator().manual_seed(epoch)).tolist()
        for start in range(0, len(order), size):
            if not left:
                return
            left -= 1
            yield take_batch(every, order[start : start + size])
