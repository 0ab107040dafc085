"""Checks of how a method learns: its stages, their losses and optimisers, and what is saved of it."""

import inspect
import math
from collections.abc import Mapping, Sequence

import safetensors.torch
import torch
from torch import Tensor, nn

from benchmark.authoring.checks_of_declaration import asked, check_spec
from benchmark.authoring.checks_of_predictions import state_of
from benchmark.authoring.method_under_test import (
    TOLERANCE,
    MethodUnderTest,
    autocast,
    compare,
    difference,
    halves,
    take_batch,
)
from benchmark.contract import Learner, Stage, TrainingBatch
from benchmark.errors import ContractError
from benchmark.records import load_learned, tensors_to_bytes

ROUNDED = 0.02
"""Largest difference of losses that are computed in bfloat16, in place of `TOLERANCE`."""
STEPS_PER_EPOCH = 3  # for which learning rates are asked
EPOCHS = 100  # most epochs of which the learning rates are asked


def stages(tested: MethodUnderTest) -> str:
    """Check the stages of a training, without training."""
    found = tested.stages
    if not (isinstance(found, Sequence) and found and all(isinstance(each, Stage) for each in found)):
        raise ContractError(f"stages returns {found!r}, not one or more of Stage")
    if len({stage.name for stage in found}) < len(found):
        raise ContractError(f"two stages have the same name: {', '.join(stage.name for stage in found)}")
    for stage in found:
        _check_stage(tested, stage, "training_vision" if _is_plain(tested) else f"the stage {stage.name}")
    again = tested.build_learner().stages(tested.auxiliaries)
    if list(map(_facts, again)) != list(map(_facts, found)):
        raise ContractError("stages returns other stages the second time")
    for other in (("a dataset that no card describes",), ("mvtec", "visa")):
        tested.build_learner().stages(other)
    return "; then ".join(_described(stage, named=len(found) > 1) for stage in found)


def _is_plain(tested: MethodUnderTest) -> bool:
    return issubclass(tested.method, Learner) and tested.method.stages is Learner.stages


def _check_stage(tested: MethodUnderTest, stage: Stage, where: str) -> None:
    check_spec(tested.backbone, stage.vision, where)
    if stage.vision.windows:
        raise ContractError(f"{where} asks for windows, which cannot be trained on")
    at_once = 1 if stage.at_once is None else stage.at_once
    numbers = (("epochs", stage.epochs, 0), ("batch_size", stage.batch_size, 1), ("at_once", at_once, 1))
    for name, value, least in numbers:
        if not (type(value) is int and value >= least):
            raise ContractError(f"{name} = {value!r} of {where} is not an integer of at least {least}")
    if stage.at_once is not None and not (stage.optimiser and tested.method.divisible):  # type: ignore[attr-defined]
        lacks = "the method does not say divisible = True" if stage.optimiser else "it has no optimiser"
        raise ContractError(f"{where} divides batches by at_once, but {lacks}")
    if stage.precision not in ("float32", "bfloat16"):
        raise ContractError(f"precision = {stage.precision!r} of {where} is neither float32 nor bfloat16")
    for step, rate in enumerate(_rates(stage)):
        if rate is not None and not (math.isfinite(rate) and rate >= 0):
            raise ContractError(f"learning_rate of {where} is {rate!r} at step {step}; say a number or None")


def _rates(stage: Stage) -> list[float | None]:
    """Return the learning rates of a stage, in epochs of a few steps."""
    if stage.learning_rate is None:
        return []
    steps = range(min(stage.epochs, EPOCHS) * STEPS_PER_EPOCH)
    return [stage.learning_rate(step, STEPS_PER_EPOCH) for step in steps]


def _facts(stage: Stage) -> tuple[object, ...]:
    """Return what must be the same of the same stage of two instances."""
    optimiser = stage.optimiser
    groups = [{**group, "params": len(group["params"])} for group in optimiser.param_groups] if optimiser else None
    given = (stage.name, stage.epochs, stage.batch_size, stage.vision, stage.at_once, stage.precision)
    return (*given, stage.augment is None, type(optimiser), groups, _rates(stage))


def _described(stage: Stage, *, named: bool) -> str:
    more = ["without an optimiser"] if stage.optimiser is None else []
    more += ["augmented"] if stage.augment else []
    more += [stage.precision] if stage.precision != "float32" else []
    return (f"{stage.name}: " if named else "") + "; ".join([asked(stage.vision), *more])


def losses(tested: MethodUnderTest) -> str:
    """Check the losses of every stage, and that its steps reach each of its parameters."""
    learner = tested.build_learner()
    found = learner.stages(tested.auxiliaries)
    parameters = dict(learner.learned.named_parameters())
    if frozen := [name for name, each in parameters.items() if not each.requires_grad]:
        raise ContractError(f"learned holds {frozen[0]}, which is frozen")
    _check_optimisers(found, parameters)
    seen = []
    for stage in found:
        batch = tested.training_batch(stage.vision)
        terms = _learn(tested, learner, stage, batch, parameters) if stage.optimiser else _fit(tested, stage, batch)
        listed = ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in terms.items())
        seen.append(f"{stage.name}: {listed}" if len(found) > 1 and listed else listed)
    number = f"{len(parameters) or 'no'} parameter{'s train' if len(parameters) > 1 else ' trains'}"
    return "; ".join([each for each in seen if each] + [number] + _order_of_fitting(tested))


def _check_optimisers(found: Sequence[Stage], parameters: Mapping[str, nn.Parameter]) -> None:
    if not parameters and any(stage.optimiser for stage in found):
        raise ContractError("learned has no parameters")
    held = {id(each) for stage in found for each in _trained(stage)}
    if held != set(map(id, parameters.values())):
        which = "the optimiser does" if len(found) == 1 else "the optimisers of all stages together do"
        raise ContractError(f"{which} not hold exactly the parameters of learned")

    for stage in found:
        if stage.optimiser and _needs_closure(stage.optimiser):
            raise ContractError(
                f"the step of {type(stage.optimiser).__name__} needs a closure, which a training does not give it; "
                "take an optimiser that steps without one, such as torch.optim.Adam"
            )


def _needs_closure(optimiser: torch.optim.Optimizer) -> bool:
    return any(each.default is each.empty for each in inspect.signature(optimiser.step).parameters.values())


def _trained(stage: Stage) -> list[Tensor]:
    return [each for group in stage.optimiser.param_groups for each in group["params"]] if stage.optimiser else []


def _learn(
    tested: MethodUnderTest,
    learner: Learner,
    stage: Stage,
    batch: TrainingBatch,
    parameters: Mapping[str, nn.Parameter],
) -> dict[str, Tensor]:
    """Take two steps of a stage, and return the terms of the loss."""
    optimiser, device = stage.optimiser, tested.backbone.device
    assert optimiser is not None  # stages without one are fitted
    mine = {id(each) for each in _trained(stage)}
    before = state_of(learner)
    _terms(stage, take_batch(batch, [int(batch.labels.argmin())]), "one normal image", device)
    _require_no_chance(stage, batch, device)
    if learner.divisible:
        _require_means(stage, batch, device)
    for _ in range(2):  # a method that keeps the graph of the first step fails in the second
        terms = _terms(stage, batch, "a batch", device)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, each in parameters.items():
            if id(each) in mine and (each.grad is None or not bool(each.grad.isfinite().all())):
                raise ContractError(
                    f"{name} of learned gets {'no' if each.grad is None else 'an infinite or NaN'} gradient"
                )
        optimiser.step()
    if all(torch.equal(value, before[name]) for name, value in state_of(learner).items()):
        raise ContractError("a step of the optimiser changes nothing")
    return terms


def _require_no_chance(stage: Stage, batch: TrainingBatch, device: str) -> None:
    found = []
    for torch_seed in (1, 2):  # losses that draw from torch's global generator then differ
        torch.manual_seed(torch_seed)
        found.append({name: term.item() for name, term in _terms(stage, batch, "a batch", device).items()})
    for name, value in found[0].items():
        if not abs(found[1].get(name, math.nan) - value) <= TOLERANCE * max(1.0, abs(value)):
            raise ContractError(
                f"the loss {name} of a batch is {value:g}, then {found[1].get(name, math.nan):g}; draw from "
                "torch.Generator().manual_seed(batch.seed)"
            )


def _require_means(stage: Stage, batch: TrainingBatch, device: str) -> None:
    """Compare the losses of a batch with the means of those of two parts, of two images and of the others."""
    places, sums = range(len(batch.class_names)), dict[str, float]()
    tolerance = TOLERANCE if stage.precision == "float32" else ROUNDED
    for rows in (list(places[:2]), list(places[2:])):
        for name, term in _terms(stage, take_batch(batch, rows), f"{len(rows)} images", device).items():
            sums[name] = sums.get(name, 0.0) + term.item() * len(rows) / len(places)
    for name, term in _terms(stage, batch, "a batch", device).items():
        if not abs(term.item() - sums.get(name, 0.0)) <= tolerance * max(1.0, abs(term.item())):
            raise ContractError(f"the loss {name} is not a mean over the images, as `divisible = True` says that it is")


def _terms(stage: Stage, batch: TrainingBatch, what: str, device: str) -> dict[str, Tensor]:
    with autocast(stage, device):
        terms = dict(stage.losses(batch))
    if not terms and stage.optimiser:
        raise ContractError(f"losses of {what}: there is no term")
    for name, term in terms.items():
        if term.ndim:
            raise ContractError(f"losses of {what}: {name} is not a single number")
        if not bool(term.isfinite()):
            raise ContractError(f"the loss {name} of {what} is {term.item():g}")
    return terms


def _fit(tested: MethodUnderTest, stage: Stage, batch: TrainingBatch) -> dict[str, Tensor]:
    """Let a stage without an optimiser learn, and return the terms that it returned last."""
    terms: dict[str, Tensor] = {}
    with torch.no_grad():
        for part in halves(batch):
            terms = _terms(stage, part, "a batch", tested.backbone.device)
    return terms


def _order_of_fitting(tested: MethodUnderTest) -> list[str]:
    """Return what the order of the images changes where something is learned without an optimiser."""
    if all(stage.optimiser for stage in tested.stages):
        return []
    names = tested.given.class_names
    one, other = (tested.predict(tested.build(backwards=each), names) for each in (False, True))
    gap = difference(one, other, "learned from the images in two orders")
    if gap <= TOLERANCE:
        return ["learned without an optimiser, whatever the order of the images"]
    return [f"learned without an optimiser; another order of the images changes predictions by {gap:.1g}"]


def state_dict(tested: MethodUnderTest) -> str:
    """Check that what was learned can be saved, and loaded into another instance."""
    names, one, other = tested.given.class_names, tested.build(), tested.build_learner(seed=1)
    assert isinstance(one, Learner)  # this check runs for no other method
    learned, new = one.learned.state_dict(), other.learned.state_dict()
    if late := sorted(set(learned) - set(new)):
        raise ContractError(
            f"{late[0]} of learned is not in a new instance, so it cannot be loaded; register it in the constructor, a "
            "buffer of unknown length with no rows: torch.zeros(0, W) for a shape (N, W)"
        )
    content = tensors_to_bytes(learned)
    load_learned(other.learned, safetensors.torch.load(content))
    gap = compare(tested.predict(one, names), tested.predict(other, names), "before saving, and after loading")
    return f"{len(content)} bytes; loaded into another instance, differences up to {gap:.1g}"


def resuming(tested: MethodUnderTest) -> str:
    """Check that a stage makes the same of a batch whether or not the training was interrupted before it."""
    learner = tested.build_learner()
    found = learner.stages(tested.auxiliaries)
    for place, stage in enumerate(found):
        batch, resumed = tested.training_batch(stage.vision), tested.build_learner()
        again = resumed.stages(tested.auxiliaries)[place]  # made before the state is loaded, as in a run
        load_learned(resumed.learned, state_of(learner))
        one, other = _seen(tested, learner, stage, batch), _seen(tested, resumed, again, batch)
        for name, value in one.items():
            if not (name in other and torch.allclose(value, other[name], rtol=TOLERANCE, atol=TOLERANCE)):
                raise ContractError(f"{name} of the stage {stage.name} is another if training is interrupted before it")
        for _ in range(2 if stage.optimiser and stage is not found[-1] else 0):
            _step(tested, stage, batch)
    return f"between {' and '.join(stage.name for stage in found)} changes nothing"


def _seen(tested: MethodUnderTest, learner: Learner, stage: Stage, batch: TrainingBatch) -> dict[str, Tensor]:
    """Return the losses of a batch, and of a stage without an optimiser what is learned then."""
    torch.manual_seed(0)
    if stage.optimiser:
        terms, learned = _terms(stage, batch, "a batch", tested.backbone.device), dict[str, Tensor]()
    else:
        terms, learned = _fit(tested, stage, batch), state_of(learner)
    losses = {f"the loss {name}": term.detach() for name, term in terms.items()}
    return losses | {f"{name} of learned": value for name, value in learned.items()}


def _step(tested: MethodUnderTest, stage: Stage, batch: TrainingBatch) -> None:
    assert stage.optimiser is not None
    terms = _terms(stage, batch, "a batch", tested.backbone.device)
    stage.optimiser.zero_grad()
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    stage.optimiser.step()
