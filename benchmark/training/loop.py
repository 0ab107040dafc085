"""The training loop: epochs over cached features, resumed after an interruption, stopped by a non-finite loss."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.common import AdaptiveBatch, write_whole
from benchmark.contract import Learner
from benchmark.errors import BenchError
from benchmark.records import code_key, tensors_to_bytes
from benchmark.registry import source_sha256
from benchmark.training.features import JoinedFeatures

LEARNED, OPTIMISER = "learned.", "optimiser."
Curve = list[dict[str, float]]
"""For each epoch, the mean of each term of the loss and of their sum `total`."""


class TrainingError(BenchError):
    """Raised if a training fails. The message says at which epoch and images."""


def train(
    method: Learner,
    data: JoinedFeatures,
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
        sums: dict[str, float] = {}
        for indices in batches(len(data), method.options.batch_size, seed=method.seed, epoch=epoch):
            for name, value in _step(method, optimiser, data, indices, epoch=epoch, adaptive=adaptive).items():
                sums[name] = sums.get(name, 0.0) + value * len(indices)
            progress(len(indices))
        curve.append({name: total / len(data) for name, total in sums.items()})
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


def _step(
    method: Learner,
    optimiser: torch.optim.Optimizer,
    data: JoinedFeatures,
    indices: Sequence[int],
    *,
    epoch: int,
    adaptive: AdaptiveBatch,
) -> dict[str, float]:
    """Take a step on a batch and return the terms of its loss; a batch that does not fit into memory is divided."""
    parameters = [each for group in optimiser.param_groups for each in group["params"] if each.requires_grad]

    @sdpa_kernel(SDPBackend.MATH)  # the backward passes of the fused kernels are not deterministic on CUDA
    def work(part: Sequence[int]) -> tuple[dict[str, float], tuple[Tensor | None, ...]]:
        terms = method.losses(data.batch(part))
        total = torch.stack(list(terms.values())).sum()
        if not bool(total.isfinite()):
            files = ", ".join(str(data.samples[index].path) for index in part)
            parts = ", ".join(f"{name} {term.item():g}" for name, term in terms.items())
            raise TrainingError(
                f"{method.title}: the loss is {total.item():g} ({parts}) in epoch {epoch + 1} on the images {files}"
            )
        share = len(part) / len(indices)
        # Unlike `backward`, this leaves nothing behind if memory runs out in the midst of it.
        gradients = torch.autograd.grad(total * share, parameters, allow_unused=True)
        return {name: share * term.item() for name, term in {"total": total, **terms}.items()}, gradients

    optimiser.zero_grad()
    sums: dict[str, float] = {}
    done = adaptive.chunks(indices, work) if method.divisible else [(indices, work(indices))]
    for _, (values, gradients) in done:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
    optimiser.step()
    return sums


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
