"""The plan: which cells there are for methods, datasets and seeds, what it takes to run each, and what is left out."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.cells import BackboneId, Cell, DataId, TrainingId
from benchmark.checkpoints import Checkpoint, CheckpointError, checkpoint_path, read_checkpoint
from benchmark.contract import Learner, Method, training_options
from benchmark.protocol import Protocol, auxiliary_for
from benchmark.records import is_done
from benchmark.registry import title_of
from benchmark.samples import SampleSet, shared_image

Chosen = Sequence[tuple[type[Method], Any]]
"""Method classes with their options."""


@dataclass(frozen=True)
class Training:
    """A training with what it takes to run it, or a checkpoint that stands in for it."""

    id: TrainingId
    method: type[Learner]
    options: Any
    samples: SampleSet | None
    """The auxiliary dataset; None where a checkpoint was given."""
    given: Path | None = None
    """JSON of a checkpoint that was given."""

    @property
    def title(self) -> str:
        """What is trained on what, in words."""
        return f"{title_of(self.method, self.options)} on {self.id.auxiliary.name}"

    def checkpoint(self, results: Path) -> Path:
        """Return where the JSON of its checkpoint lies, or will lie."""
        return self.given or checkpoint_path(results, self.id)


@dataclass(frozen=True)
class Job:
    """A cell with what it takes to run it."""

    cell: Cell
    method: type[Method]
    options: Any
    samples: SampleSet
    training: Training | None = None

    @property
    def title(self) -> str:
        """The method's name in tables."""
        return title_of(self.method, self.options)


@dataclass
class Plan:
    """The cells of a run, and a line for each that there cannot be."""

    jobs: list[Job] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """By the protocol: the target is, or overlaps, what the method would be trained on."""
    problems: list[str] = field(default_factory=list)
    """Something is not there that the cells need."""


@dataclass(frozen=True)
class Auxiliaries:
    """What methods may train on."""

    found: Mapping[str, SampleSet] = field(default_factory=dict)
    override: str | None = None
    """One dataset for all targets, in place of the protocol's choice."""
    given: Sequence[Path] = ()
    """JSON files of checkpoints to be used instead of training."""

    def name_for(self, target: SampleSet) -> str:
        """Return the auxiliary dataset of a target."""
        return self.override or auxiliary_for(target.card.name)

    @cached_property
    def checkpoints(self) -> dict[Path, Checkpoint]:
        """The checkpoints that were given.

        Raises:
            CheckpointError: one cannot be read.
        """
        return {path: read_checkpoint(path) for path in self.given}

    def overlap(self, target: SampleSet) -> str | None:
        """Say why a target must not be tested after training on its auxiliary dataset, or None."""
        name = self.name_for(target)
        if name == target.card.name:
            return "to be trained on that dataset itself"
        auxiliary = self.found.get(name)
        shared = shared_image(auxiliary, target) if auxiliary else None
        return f"to be trained on {name}, which holds the same image ({shared[0]} is {shared[1]})" if shared else None


def plan(
    methods: Chosen,
    datasets: Sequence[SampleSet],
    *,
    seeds: Sequence[int],
    backbone: BackboneId,
    protocol: Protocol,
    auxiliaries: Auxiliaries | None = None,
) -> Plan:
    """Return every cell of methods × datasets × seeds, datasets outermost: cells that share a pass are neighbours.

    Args:
        methods: method classes with their options.
        datasets: the test samples of each dataset.
        seeds: for methods with chance; the others run once, as seed 0.
        backbone: which frozen CLIP.
        protocol: what is held fixed.
        auxiliaries: what methods may train on.

    Raises:
        CheckpointError: a checkpoint that was given cannot be read, or does not fit the run.
    """
    auxiliaries = auxiliaries or Auxiliaries()
    made = Plan()
    refused: dict[str, list[str]] = defaultdict(list)
    lacking: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for samples in datasets:
        overlap = auxiliaries.overlap(samples) if any(issubclass(method, Learner) for method, _ in methods) else None
        for method, options in methods:
            learner = method if issubclass(method, Learner) else None
            if learner and overlap:
                refused[f"{samples.card.title}: {overlap}"].append(method.title)
                continue
            for seed in seeds if method.stochastic else (0,):
                training = None
                if learner:
                    name = auxiliaries.name_for(samples)
                    training = plan_training(
                        learner, options, auxiliaries, name=name, seed=seed, backbone=backbone, protocol=protocol
                    )
                    if training is None:
                        lacking[name].append((method.title, samples.card.title))
                        break
                made.jobs.append(
                    _job(method, options, samples, training, seed=seed, backbone=backbone, protocol=protocol)
                )
                if training and training.given:
                    break  # one checkpoint has one seed
    made.refused = [f"{_listed(titles)} on {target}" for target, titles in refused.items()]
    made.problems = [_not_found(name, pairs) for name, pairs in lacking.items()]
    return made


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _not_found(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    methods, targets = (_listed(each) for each in zip(*pairs, strict=True))
    return (
        f"{methods} on {targets}: to be trained on {name}, which was not found; say where it lies with --data or "
        f"--data-path {name}=DIR, or give another by --auxiliary or a --checkpoint"
    )


def _job(
    method: type[Method],
    options: Any,
    samples: SampleSet,
    training: Training | None,
    *,
    seed: int,
    backbone: BackboneId,
    protocol: Protocol,
) -> Job:
    cell = Cell(
        method=method.name,
        method_version=method.version,
        options=asdict(options),
        dataset=data_id(samples),
        auxiliary=training.id.auxiliary if training else None,
        checkpoint=read_checkpoint(training.given).sha256 if training and training.given else None,
        seed=training.id.seed if training else seed,
        backbone=backbone,
        protocol=protocol,
    )
    return Job(cell, method, options, samples, training)


def plan_training(
    method: type[Learner],
    options: Any,
    auxiliaries: Auxiliaries,
    *,
    name: str,
    seed: int,
    backbone: BackboneId,
    protocol: Protocol,
) -> Training | None:
    """Return the training of a method on the named dataset, or None if neither that nor a checkpoint is there."""
    learned = training_options(options)
    for path, checkpoint in auxiliaries.checkpoints.items():
        known = checkpoint.training
        if (known.method, known.auxiliary.name) == (method.name, name):
            _check_fits(path, known, learned, backbone)
            return Training(known, method, options, None, given=path)
    if name not in auxiliaries.found:
        return None
    samples = auxiliaries.found[name]
    identity = TrainingId(
        method=method.name,
        method_version=method.version,
        options=learned,
        auxiliary=data_id(samples),
        seed=seed,
        backbone=backbone,
        protocol=protocol,
    )
    return Training(identity, method, options, samples)


def _check_fits(path: Path, known: TrainingId, options: dict[str, Any], backbone: BackboneId) -> None:
    if known.backbone.sha256 != backbone.sha256:
        raise CheckpointError(f"{path}: made with the backbone {known.backbone.name}, not {backbone.name}")
    ours = json.loads(json.dumps(options))  # as they were written: tuples are lists
    different = {key: value for key, value in known.options.items() if ours.get(key) != value}
    if different:
        settings = " ".join(f"--set {known.method}.{key}={json.dumps(value)}" for key, value in different.items())
        raise CheckpointError(f"{path}: made with other options; to use it say {settings}")


def data_id(samples: SampleSet) -> DataId:
    """Return what identifies the test samples of a dataset."""
    return DataId(
        name=samples.card.name,
        card_version=samples.card.version,
        layout=samples.layout.name,
        fingerprint=samples.fingerprint,
    )


def missing(jobs: Sequence[Job], results: Path, *, force: bool = False) -> list[Job]:
    """Return the jobs without a record of success, or all of them if forced."""
    return [job for job in jobs if force or not is_done(results, job.cell.id)]
