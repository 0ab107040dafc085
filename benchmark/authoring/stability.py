"""How much a training magnifies tiny differences of features, such as two machines or two batch sizes make."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmark.authoring.check_images import ImageSource
from benchmark.authoring.findings import Check, Finding, run_check
from benchmark.authoring.method_under_test import MethodUnderTest, autocast, difference, maps_of, take_batch
from benchmark.clip import Backbone, map_features
from benchmark.contract import Learner, Prediction, Stage, TrainingBatch

NOISE = 1e-6
"""Size of the differences, relative to each number of the features."""
STEPS = 32
"""Steps of the optimiser of a stage, where its epochs have so many."""
MAGNIFIED = 20
"""From this factor on, the report says that training magnifies them. APRIL-GAN reaches 10, and no metric of it moves by
0.1 points after all epochs; AdaCLIP reaches 30 and more."""


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
    (finding,) = run_check(Check("stability", _seen, "see the check of the losses"), tested, method)
    return finding


def _seen(tested: MethodUnderTest) -> str:
    gap = sensitivity(tested)
    seen = f"features that differ by {NOISE:g} change predictions by {gap:.1g} after up to {STEPS} steps"
    grows = "; training magnifies differences, so two machines would learn different things"
    if not tested.method.magnifies:  # type: ignore[attr-defined]
        grows += " (if it must be so, say magnifies = True)"
    return seen + (grows if gap > MAGNIFIED * NOISE else "")


def sensitivity(tested: MethodUnderTest) -> float:
    """Return the largest difference of predictions between trainings on features that differ by `NOISE`.

    Images, for methods that train on them, are changed like features; an augmentation is left out. The difference of
    scores and of maps is relative to the largest of them if that is above 1.
    """
    names = tested.given.class_names
    found = (tested.predict(_trained(tested, noise), names) for noise in (0.0, NOISE))
    one, other = (Prediction(each.scores, maps_of(each)) for each in found)
    return difference(one, other, "trained on features that differ")


def _trained(tested: MethodUnderTest, noise: float) -> Learner:
    """Return an instance that was trained in all its stages, on features that differ by a noise."""
    learner, device = tested.build_learner(), tested.backbone.device
    generator = torch.Generator().manual_seed(0)
    for stage in learner.stages(tested.auxiliaries):
        every = tested.training_batch(stage.vision)
        features = map_features(
            every.features,
            lambda values: values * (1 + noise * torch.randn(values.shape, generator=generator).to(values)),
        )
        for batch, rate in _batches(stage, replace(every, features=features)):
            with torch.set_grad_enabled(stage.optimiser is not None):
                with autocast(stage, device):
                    terms = stage.losses(batch)
                if stage.optimiser is not None:
                    _step(stage.optimiser, terms, rate)
    return learner


def _step(optimiser: torch.optim.Optimizer, terms: Mapping[str, Tensor], rate: float | None) -> None:
    if rate is not None:
        for group in optimiser.param_groups:
            group["lr"] = rate
    optimiser.zero_grad()
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _batches(stage: Stage, every: TrainingBatch) -> Iterator[tuple[TrainingBatch, float | None]]:
    """Yield the batches of at most `STEPS` steps, in an order of the epoch's own, each with its learning rate."""
    size, done, images = stage.batch_size, 0, len(every.class_names)
    steps = -(-images // size)
    for epoch in range(stage.epochs):
        order = torch.randperm(images, generator=torch.Generator().manual_seed(epoch)).tolist()
        for start in range(0, images, size):
            if done == STEPS and stage.optimiser is not None:
                return
            yield (
                take_batch(every, order[start : start + size]),
                stage.learning_rate(done, steps) if stage.learning_rate else None,
            )
            done += 1
