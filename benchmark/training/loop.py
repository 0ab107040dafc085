"""The training loop: stages of epochs, resumed after an interruption, stopped by a non-finite loss."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.common import AdaptiveBatch, write_whole
from benchmark.contract import Learner, Stage, TrainingBatch
from benchmark.errors import BenchError
from benchmark.training.batches import JoinedFeatures, part_of, read_ahead
from benchmark.training.resuming import Curve, place_of, resume, state_to_bytes
from benchmark.training.seeds import draw_seed
from benchmark.training.stages import epoch_title, term_name


class TrainingError(BenchError):
    """Raised if a training fails. The message says at which epoch and images."""


def train(
    method: Learner,
    work: Sequence[tuple[Stage, JoinedFeatures]],
    *,
    partial: Path | None = None,
    progress: Callable[[int], None] = lambda images: None,
    title: str = "",
    say: Callable[[str], None] = lambda line: None,
    processes: int = 1,
    after_epoch: Callable[[str, Learner], None] | None = None,
) -> Curve:
    """Train the parameters of `method.learned` in place, stage by stage.

    The order of the images and all that is drawn depend only on seed, stage, epoch, step and image, so a resumed
    training learns the same as one without interruption.

    Args:
        method: A new instance of the method.
        work: Its stages, as `stages_of` returns them, each with the auxiliary images.
        partial: File for the state after each epoch. If it exists and the same code wrote it, training resumes from
            it. It is deleted at the end.
        progress: Called with the number of images done since the last call, of all stages.
        title: What is trained on what, for messages.
        say: Called with a message if training resumes, and if memory runs out and batches are divided.
        processes: Number of processes that a GPU may be shared with, this one included.
        after_epoch: Called after each epoch with its name and the method as it is then.

    Returns:
        The loss curve.

    Raises:
        TrainingError: If the loss is NaN or infinite; the message names the files of the batch. Also if a parameter is
            NaN or infinite after the last epoch.
        DatasetError: If an image that is read in every epoch is changed meanwhile.
        OSError: If `partial` cannot be written.
    """
    stages = [stage for stage, _ in work]
    curve = resume(method, stages, partial)
    start, epoch = place_of(stages, len(curve))
    if curve and start < len(stages):
        say(f"resumes {title or method.title} at {epoch_title(stages, start, epoch)}")
    progress(sum(len(work[place_of(stages, done)[0]][1]) for done in range(len(curve))))
    for number in range(start, len(work)):
        for done in _stage(method, work, number, first=epoch, processes=processes, progress=progress, say=say):
            curve.append({term_name(stages, number, term): mean for term, mean in done.items()})
            if partial is not None:
                write_whole(partial, state_to_bytes(method, stages, curve))
            if after_epoch is not None:
                after_epoch(epoch_title(stages, *place_of(stages, len(curve) - 1)), method)
        epoch = 0
    if not all(bool(parameter.isfinite().all()) for parameter in method.learned.parameters()):
        raise TrainingError(f"{method.title}: a parameter is NaN or infinite after training; lower the learning rate")
    if partial is not None:
        partial.unlink(missing_ok=True)
    return curve


@dataclass(frozen=True)
class _Part:
    """A stage of a training while it runs."""

    method: Learner
    stages: Sequence[Stage]
    number: int
    """Number of the stage, from 0."""
    data: JoinedFeatures
    progress: Callable[[int], None]
    adaptive: AdaptiveBatch
    """Images of a forward and backward pass."""

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.stages[self.number]


def _stage(
    method: Learner,
    work: Sequence[tuple[Stage, JoinedFeatures]],
    number: int,
    *,
    first: int,
    processes: int,
    progress: Callable[[int], None],
    say: Callable[[str], None],
) -> Iterator[dict[str, float]]:
    """Train a stage from an epoch on, and yield the mean of each term of the loss after each epoch."""
    stage, data = work[number]
    at_once = min(stage.at_once or stage.batch_size, stage.batch_size)
    adaptive = AdaptiveBatch(at_once, say, advice="the gradients are added up, so it learns the same")
    kept = data.kept_if_small(processes=processes)
    part = _Part(method, [stage for stage, _ in work], number, kept, progress, adaptive)
    for epoch in range(first, stage.epochs):
        losses = _epoch(part, epoch)
        data.check_unchanged()
        yield losses


def batches(count: int, size: int, *, seed: int, epoch: int, stage: int = 0) -> Iterator[list[int]]:
    """Yield the indices of each batch of an epoch. The order is drawn from seed, stage and epoch.

    Args:
        count: Number of images.
        size: Images per batch; the last batch may be smaller.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
        stage: Number of the stage, from 0.
    """
    drawn = draw_seed("order", seed, stage, epoch) if stage else seed * 1_000_003 + epoch
    order = torch.randperm(count, generator=torch.Generator().manual_seed(drawn)).tolist()
    yield from (order[start : start + size] for start in range(0, count, size))


def in_order(count: int, size: int) -> Iterator[list[int]]:
    """Yield the indices of each batch of images in the order of the dataset."""
    yield from (list(range(start, min(start + size, count))) for start in range(0, count, size))


@dataclass(frozen=True)
class _Seen:
    """The loss of some images. It stays on its device, so that no step waits for the one before it."""

    indices: Sequence[int]
    terms: dict[str, Tensor]
    """The terms by name, and their sum `total`; none of a stage that fits without a loss."""


def exact_attention(device: str) -> AbstractContextManager[None]:
    """Return a context in which the backward pass of attention is deterministic. The fused kernels of a CPU are."""
    return nullcontext() if device == "cpu" else sdpa_kernel(SDPBackend.MATH)


def _epoch(part: _Part, epoch: int) -> dict[str, float]:
    """Take the steps of an epoch, and return the mean of each term of the loss over the images."""
    method, stage, count = part.method, part.stage, len(part.data)
    seed, device = (method.seed, part.number, epoch), method.backbone.device
    data, size, steps = part.data.in_epoch(*seed), stage.batch_size, -(-count // stage.batch_size)
    if stage.optimiser is None:
        order = in_order(count, size)
    else:
        order = batches(count, size, seed=method.seed, epoch=epoch, stage=part.number)
    seen: list[_Seen] = []
    try:
        for step, (indices, batch) in enumerate(read_ahead(data, order, device=device)):
            seeded = replace(batch, seed=draw_seed("step", *seed, step))
            if stage.optimiser is None:
                seen.append(_fit(part, seeded, indices))
            else:
                _set_rate(stage, stage.optimiser, epoch * steps + step, steps)
                with exact_attention(device):
                    seen += _step(part, stage.optimiser, seeded, indices)
            part.progress(len(indices))
    except Exception:  # a method may fail at what followed from a loss that is not finite
        _read(seen, part, epoch)
        raise
    sums: dict[str, float] = {}
    for images, values in _read(seen, part, epoch):
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * len(images)
    return {name: total / count for name, total in sums.items()}


def _read(seen: Sequence[_Seen], part: _Part, epoch: int) -> list[tuple[Sequence[int], dict[str, float]]]:
    """Return losses as numbers.

    Raises:
        TrainingError: One of them is not finite; the message names the files of the first one.
    """
    every = [term for each in seen for term in each.terms.values()]
    values = iter(torch.stack(every).tolist() if every else ())
    found = [(each.indices, dict(zip(each.terms, values, strict=False))) for each in seen]
    for indices, terms in found:
        if not math.isfinite(terms.get("total", 0.0)):
            files = ", ".join(str(part.data.samples[index].path) for index in indices)
            parts = ", ".join(f"{name} {value:g}" for name, value in terms.items() if name != "total")
            raise TrainingError(
                f"{part.method.title}: the loss is {terms['total']:g} ({parts}) in "
                f"{epoch_title(part.stages, part.number, epoch)} on the images {files}"
            )
    return found


def _set_rate(stage: Stage, optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Set the learning rate of a step of a stage, where the stage says one."""
    rate = None if stage.learning_rate is None else stage.learning_rate(step, steps)
    if rate is not None:
        for group in optimiser.param_groups:
            group["lr"] = rate


def _losses(part: _Part, batch: TrainingBatch) -> Mapping[str, Tensor]:
    """Return the terms of the loss of a batch by name, in the precision of the stage."""
    if part.stage.precision == "float32":
        return part.stage.losses(batch)
    with torch.autocast(torch.device(part.method.backbone.device).type, torch.bfloat16):
        return part.stage.losses(batch)


def _fit(part: _Part, batch: TrainingBatch, indices: Sequence[int]) -> _Seen:
    """Have a stage without an optimiser see a batch."""
    with torch.no_grad():
        terms = _losses(part, batch)
    return _Seen(indices, _kept(terms, torch.stack(list(terms.values())).sum()) if terms else {})


def _step(part: _Part, optimiser: torch.optim.Optimizer, batch: TrainingBatch, indices: Sequence[int]) -> list[_Seen]:
    """Take a step on a batch and return its loss, in parts if it was divided."""
    parameters = [each for group in optimiser.param_groups for each in group["params"] if each.requires_grad]

    def work(places: Sequence[int]) -> tuple[_Seen, tuple[Tensor | None, ...]]:
        whole = len(places) == len(indices)
        terms = _losses(part, batch if whole else part_of(batch, slice(places[0], places[-1] + 1)))
        total = torch.stack(list(terms.values())).sum()
        share = len(places) / len(indices)
        # Unlike `backward`, this leaves nothing behind if memory runs out in the midst of it.
        gradients = torch.autograd.grad(total * share, parameters, allow_unused=True)
        return _Seen([indices[place] for place in places], _kept(terms, total)), gradients

    optimiser.zero_grad()
    places = range(len(indices))
    done = part.adaptive.chunks(places, work) if part.method.divisible else [(places, work(places))]
    seen: list[_Seen] = []
    for _, (loss, gradients) in done:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        seen.append(loss)
    optimiser.step()
    return seen


def _kept(terms: Mapping[str, Tensor], total: Tensor) -> dict[str, Tensor]:
    """Return the terms of a loss and their sum without their graphs."""
    return {name: term.detach() for name, term in {"total": total, **terms}.items()}
