"""The state of a training after an epoch, from which it goes on after an interruption."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from benchmark.contract import Learner, Stage
from benchmark.records import code_key, load_learned, tensors_to_bytes
from benchmark.registry import source_sha256

LEARNED, OPTIMISER = "learned.", "optimiser."
Curve = list[dict[str, float]]
"""For each epoch of all stages, the mean of each term of the loss and of their sum `total`."""


def place_of(stages: Sequence[Stage], done: int) -> tuple[int, int]:
    """Return the number of the stage and of its epoch that follow so many epochs of all stages, both from 0.

    After the last epoch it is the number of stages, and 0.
    """
    for number, stage in enumerate(stages):
        if done < stage.epochs:
            return number, done
        done -= stage.epochs
    return len(stages), 0


def state_to_bytes(method: Learner, stages: Sequence[Stage], curve: Curve) -> bytes:
    """Return a safetensors file of what is learned, with the curve as metadata.

    Within a stage it has the state of the stage's optimiser, and its learning rates.
    """
    number, epoch = place_of(stages, len(curve))
    tensors = {LEARNED + name: tensor for name, tensor in method.learned.state_dict().items()}
    rates: list[float] = []
    optimiser = stages[number].optimiser if epoch else None
    if optimiser is not None:
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{OPTIMISER}{index}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        rates = [float(group["lr"]) for group in optimiser.param_groups]
    known = {"curve": json.dumps(curve), "rates": json.dumps(rates), "code": code_of(method)}
    return tensors_to_bytes(tensors, {**known, "place": json.dumps([number, epoch])})


def code_of(method: Learner) -> str:
    """Return what stands for the code that trains a method."""
    return code_key(source_sha256(type(method)))


def resume(method: Learner, stages: Sequence[Stage], partial: Path | None) -> Curve:
    """Load the state of an interrupted training and return its curve; delete a file that cannot be used."""
    if partial is None or not partial.exists():
        return []
    try:
        learned, state, rates, curve = read_state(partial, stages, code=code_of(method))
        load_learned(method.learned, learned)
    except Exception:  # truncated or of other code; safetensors and torch raise various types
        partial.unlink(missing_ok=True)
        return []
    number, epoch = place_of(stages, len(curve))
    optimiser = stages[number].optimiser if epoch else None
    if optimiser is not None:
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
    return curve


def read_state(
    partial: Path, stages: Sequence[Stage], *, code: str
) -> tuple[dict[str, Tensor], dict[int, dict[str, Any]], list[float], Curve]:
    """Return what is learned, the optimiser's state, its learning rates and the curve.

    Raises:
        ValueError: Other code wrote the file, or the stages are others.
    """
    with safe_open(partial, framework="pt") as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = file.metadata()
    curve: Curve = json.loads(known["curve"])
    place, epochs = list(place_of(stages, len(curve))), sum(stage.epochs for stage in stages)
    if known["code"] != code or json.loads(known["place"]) != place or len(curve) > epochs:
        raise ValueError(f"{partial} was written by other code")
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMISER):
            index, _, key = name.removeprefix(OPTIMISER).partition(".")
            state.setdefault(int(index), {})[key] = tensor
    learned = {k.removeprefix(LEARNED): v for k, v in tensors.items() if k.startswith(LEARNED)}
    return learned, state, json.loads(known["rates"]), curve
