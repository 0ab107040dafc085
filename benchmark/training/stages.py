"""The stages of a training: what a method says of them, checked, and how messages and curves name them."""

from collections.abc import Sequence

from benchmark.contract import Learner, Stage, VisionSpec
from benchmark.errors import ContractError


def stages_of(method: Learner, auxiliaries: Sequence[str]) -> list[Stage]:
    """Return the stages of a training.

    Args:
        method: A new instance of the method.
        auxiliaries: Names of the datasets that are trained on.

    Raises:
        ContractError: The stages break the contract.
    """
    stages = list(method.stages(auxiliaries))
    if not stages:
        raise ContractError(f"{method.title}: stages returns no stage")
    for stage in stages:
        if reason := _fault(stage, divisible=method.divisible):
            raise ContractError(f"{method.title}: {reason}")
    if len({stage.name for stage in stages}) < len(stages):
        raise ContractError(f"{method.title}: two stages have the same name")
    return stages


def _fault(stage: object, *, divisible: bool) -> str:
    """Return in what a stage breaks the contract; "" if in nothing."""
    if not isinstance(stage, Stage):
        return f"stages returns a {type(stage).__name__}, not a Stage"
    start = f"the stage {stage.name!r} has"
    for name, least in {"epochs": 0, "batch_size": 1, "at_once": 1}.items():
        value = getattr(stage, name)
        if (type(value) is not int or value < least) and not (name == "at_once" and value is None):
            return f"{start} {name}={value!r}, not a whole number of at least {least}"
    if not isinstance(stage.vision, VisionSpec):
        return f"{start} a {type(stage.vision).__name__} as vision, not a VisionSpec"
    faults = {
        "a vision that asks for windows, which cannot be trained on": bool(stage.vision.windows),
        "a vision that asks for nothing": not stage.vision.encoded and not stage.vision.images,
        f"precision={stage.precision!r}, neither float32 nor bfloat16": stage.precision not in ("float32", "bfloat16"),
        "at_once without an optimiser; say batch_size": stage.at_once is not None and stage.optimiser is None,
        "at_once, but the method does not say `divisible = True`": stage.at_once is not None and not divisible,
    }
    return next((f"{start} {fault}" for fault, found in faults.items() if found), "")


def reads_images(stage: Stage) -> bool:
    """Return whether a stage reads images in every epoch, and not stored features."""
    return stage.augment is not None or stage.vision.images


def reads_once(stage: Stage, stages: Sequence[Stage]) -> bool:
    """Return whether the features of a stage are read once in the whole training, so that storing them saves nothing.

    This is so where all stages on features of its image size have one epoch together, which fits without an optimiser.
    Such an epoch sees the images in order, as they are encoded for storing. An order that is drawn would need other
    chunks of images, and these change last digits.

    Args:
        stage: One of the stages, or the only one.
        stages: All of them.
    """
    size = stage.vision.image_size
    same = [each for each in stages if not reads_images(each) and each.vision.image_size == size and each.epochs]
    fitted = all(each.optimiser is None for each in same)
    return not reads_images(stage) and fitted and sum(each.epochs for each in same) <= 1


def epoch_title(stages: Sequence[Stage], number: int, epoch: int) -> str:
    """Return how messages name an epoch, counted from 0, of the stage with a number."""
    stage = stages[number]
    return f"epoch {epoch + 1} of {stage.epochs}" + (f" of {stage.name}" if len(stages) > 1 else "")


def term_name(stages: Sequence[Stage], number: int, term: str) -> str:
    """Return how curves name a term of the loss; with the name of the stage where there are several."""
    return f"{stages[number].name}: {term}" if len(stages) > 1 else term
