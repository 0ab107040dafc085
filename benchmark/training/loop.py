"""The training loop: epochs over cached features, resumed after an interruption, stopped by a non-finite loss."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.common import AdaptiveBatch, write_whole
from benchmark.contract import Learner, TrainingBatch
from benchmark.errors import BenchError
from benchmark.records import code_key, tensors_to_bytes
from benchmark.registry import source_sha256
from benchmark.training.batches import AuxiliaryFeatures, JoinedFeatures, part_of, read_ahead

LEARNED, OPTIMISER = "learned.", "optimiser."
Curve = list[dict[str, float]]
"""For each epoch, the mean of each term of the loss and of their sum `total`."""


class TrainingError(BenchError):
    """Raised if a training fails. The message says at which epoch and images."""


def train(
    method: Learner,
    data: AuxiliaryFeatures | JoinedFeatures,
    *,
    partial: Path | None = None,
    progress: Callable[[int], None] = lambda images: None,
    title: str = "",
    say: Callable[[str], None] = lambda line: None,
    after_epoch: Callable[[int, Learner], None] | None = None,
) -> Curve:
    """Train the parameters of `method.learned` in place.

    The order of the images depends only on seed and epoch, so a resumed training learns the same as one without
    interruption.

    Args:
        method: A new instance of the method.
        data: Features of the auxiliary images.
        partial: File for the state after each epoch. If it exists and the same code wrote it, training resumes from
            it. It is deleted at the end.
        progress: Called with the number of images done since the last call.
        title: What is trained on what, for messages.
        say: Called with a message if training resumes, and if memory runs out and batches are divided.
        after_epoch: Called with the number of each epoch, from 1, and the method as it is then.

    Returns:
        The loss curve.

    Raises:
        TrainingError: If the loss is NaN or infinite; the message names the files of the batch. Also if a parameter is
            NaN or infinite after the last epoch.
        OSError: If `partial` cannot be written.
    """
    optimiser = method.optimiser()
    adaptive = AdaptiveBatch(method.options.batch_size, say, advice="the gradients are added up, so it learns the same")
    curve = _resume(method, optimiser, partial)
    if 0 < len(curve) < method.options.epochs:
        say(f"resumes {title or method.title} at epoch {len(curve) + 1} of {method.options.epochs}")
    progress(len(curve) * len(data))
    for epoch in range(len(curve), method.options.epochs):
        if (rate := method.learning_rate(epoch)) is not None:
            for group in optimiser.param_groups:
                group["lr"] = rate
        curve.append(_epoch(method, optimiser, data, epoch=epoch, adaptive=adaptive, progress=progress))
        if partial is not None:
            write_whole(partial, _state_to_bytes(method, optimiser, curve))
        if after_epoch is not None:
            after_epoch(epoch + 1, method)
    if not all(bool(parameter.isfinite().all()) for parameter in method.learned.parameters()):
        raise TrainingError(f"{method.title}: a parameter is NaN or infinite after training; lower the learning rate")
    if partial is not None:
        partial.unlink(missing_ok=True)
    return curve


def batches(count: int, size: int, *, seed: int, epoch: int) -> Iterator[list[int]]:
    """Yield the indices of each batch of an epoch. The order is drawn from seed and epoch.

    Args:
        count: Number of images.
        size: Images per batch; the last batch may be smaller.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(count, generator=generator).tolist()
    yield from (order[start : start + size] for start in range(0, count, size))


@dataclass(frozen=True)
class _Seen:
    """The loss of some images. It stays on its device, so that no step waits for the one before it."""

    indices: Sequence[int]
    terms: dict[str, Tensor]
    """The terms by name, and their sum `total`."""


def exact_attention(device: str) -> AbstractContextManager[None]:
    """Return a context in which the backward pass of attention is deterministic. The fused kernels of a CPU are."""
    return nullcontext() if device == "cpu" else sdpa_kernel(SDPBackend.MATH)


def _epoch(
    method: Learner,
    optimiser: torch.optim.Optimizer,
    data: AuxiliaryFeatures | JoinedFeatures,
    *,
    epoch: int,
    adaptive: AdaptiveBatch,
    progress: Callable[[int], None],
) -> dict[str, float]:
    """Take the steps of an epoch, and return the mean of each term of the loss over the images."""
    order = batches(len(data), method.options.batch_size, seed=method.seed, epoch=epoch)
    seen: list[_Seen] = []
    try:
        with exact_attention(method.backbone.device):
            for indices, batch in read_ahead(data, order, device=method.backbone.device):
                seen += _step(method, optimiser, batch, indices, adaptive=adaptive)
                progress(len(indices))
    except Exception:  # a method may fail at what followed from a loss that is not finite
        _read(seen, method, data, epoch=epoch)
        raise
    sums: dict[str, float] = {}
    for images, values in _read(seen, method, data, epoch=epoch):
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * len(images)
    return {name: total / len(data) for name, total in sums.items()}


def _read(
    seen: Sequence[_Seen], method: Learner, data: AuxiliaryFeatures | JoinedFeatures, *, epoch: int
) -> list[tuple[Sequence[int], dict[str, float]]]:
    """Return losses as numbers.

    Raises:
        TrainingError: One of them is not finite; the message names the files of the first one.
    """
    values = iter(torch.stack([term for each in seen for term in each.terms.values()]).tolist() if seen else ())
    found = [(each.indices, dict(zip(each.terms, values, strict=False))) for each in seen]
    for indices, terms in found:
        if not math.isfinite(terms["total"]):
            files = ", ".join(str(data.samples[index].path) for index in indices)
            parts = ", ".join(f"{name} {value:g}" for name, value in terms.items() if name != "total")
            raise TrainingError(
                f"{method.title}: the loss is {terms['total']:g} ({parts}) in epoch {epoch + 1} on the images {files}"
            )
    return found


def _step(
    method: Learner,
    optimiser: torch.optim.Optimizer,
    batch: TrainingBatch,
    indices: Sequence[int],
    *,
    adaptive: AdaptiveBatch,
) -> list[_Seen]:
    """Take a step on a batch and return its loss, in parts if it does not fit into memory and was divided."""
    parameters = [each for group in optimiser.param_groups for each in group["params"] if each.requires_grad]

    def work(places: Sequence[int]) -> tuple[_Seen, tuple[Tensor | None, ...]]:
        whole = len(places) == len(indices)
        terms = method.losses(batch if whole else part_of(batch, range(places[0], places[-1] + 1)))
        total = torch.stack(list(terms.values())).sum()
        share = len(places) / len(indices)
        # Unlike `backward`, this leaves nothing behind if memory runs out in the midst of it.
        gradients = torch.autograd.grad(total * share, parameters, allow_unused=True)
        kept = {name: term.detach() for name, term in {"total": total, **terms}.items()}
        return _Seen([indices[place] for place in places], kept), gradients

    optimiser.zero_grad()
    places = range(len(indices))
    done = adaptive.chunks(places, work) if method.divisible else [(places, work(places))]
    seen: list[_Seen] = []
    for _, (part, gradients) in done:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        seen.append(part)
    optimiser.step()
    return seen


def _state_to_bytes(method: Learner, optimiser: torch.optim.Optimizer, curve: Curve) -> bytes:
    """Return a safetensors file of the learned parameters and the optimiser's state, with the curve as metadata."""
    tensors = {LEARNED + name: tensor for name, tensor in method.learned.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{OPTIMISER}{index}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
    return tensors_to_bytes(tensors, {"curve": json.dumps(curve), "code": _code(method)})


def _code(method: Learner) -> str:
    return code_key(source_sha256(type(method)))


def _resume(method: Learner, optimiser: torch.optim.Optimizer, partial: Path | None) -> Curve:
    """Load the state of an interrupted training and return its curve; delete a file that cannot be used."""
    if partial is None or not partial.exists():
        return []
    try:
        learned, state, curve = _read_state(partial, code=_code(method))
        method.learned.load_state_dict(learned)
    except Exception:  # truncated or of other code; safetensors and torch raise various types
        partial.unlink(missing_ok=True)
        return []
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return curve


def _read_state(partial: Path, *, code: str) -> tuple[dict[str, Tensor], dict[int, dict[str, Any]], Curve]:
    """Return the learned parameters, the optimiser's state and the curve.

    Raises:
        ValueError: Other code wrote the file.
    """
    with safe_open(partial, framework="pt") as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = file.metadata()
    if known["code"] != code:
        raise ValueError(f"{partial} was written by other code")
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMISER):
            index, _, key = name.removeprefix(OPTIMISER).partition(".")
            state.setdefault(int(index), {})[key] = tensor
    learned = {k.removeprefix(LEARNED): v for k, v in tensors.items() if k.startswith(LEARNED)}
    return learned, state, json.loads(known["curve"])
