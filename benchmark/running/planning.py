"""The plan: which cells there are for methods, datasets and seeds, what it takes to run each, and what is left out."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.common import RULE
from benchmark.contract import Learner, Method, training_options
from benchmark.data import Sample, SampleSet, load_cards, references, shared_image
from benchmark.errors import ContractError
from benchmark.protocol import Protocol, auxiliaries_for
from benchmark.records import (
    BackboneId,
    Cell,
    Checkpoint,
    CheckpointError,
    DataId,
    Placement,
    TrainingId,
    misfit,
    read_checkpoint,
)
from benchmark.registry import changed_options, title_of
from benchmark.training import Training, seeds_of, seen_images, variant_of

Chosen = Sequence[tuple[type[Method], Any]]
"""Method classes with their options."""


@dataclass(frozen=True)
class Job:
    """A cell with what it takes to run it."""

    cell: Cell
    method: type[Method]
    options: Any
    samples: SampleSet
    training: Training | None = None
    references: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """Normal training images that the method is shown, by class."""
    warnings: tuple[str, ...] = ()
    """What a reader of its numbers must know, besides what there is to know of the samples."""
    placement: Placement = field(default_factory=Placement)
    """The tables that are to show the result."""
    several_seeds: bool = False
    """Whether the plan has the same cell under other seeds."""

    @property
    def title(self) -> str:
        """The method's name in tables."""
        return title_of(self.method, self.options)

    @property
    def name(self) -> str:
        """Method and dataset, and the seed where there are several, for messages."""
        seed = f", seed {self.cell.seed}" if self.several_seeds else ""
        return f"{self.title} on {self.samples.title}{seed}"


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
    rule: str = RULE
    """By which of `benchmark.protocol.AUXILIARIES` they are chosen."""
    override: tuple[str, ...] = ()
    """Datasets for all targets, in place of the rule's."""
    given: Sequence[Path] = ()
    """JSON files of checkpoints to be used instead of training."""
    kept: frozenset[Path] = frozenset()
    """Of these, those that were trained in the results folder at hand: their cells are those of the training."""
    way_out: str = ", or give another by --auxiliary or a --checkpoint"
    """What can be done besides naming its folder where an auxiliary dataset is not found; the end of a sentence."""
    allow_overlap: bool = False
    """Whether a target is tested though its auxiliary dataset shares images with it; its records say so."""

    def names_for(self, target: str, method: type[Method]) -> tuple[str, ...]:
        """Return the auxiliary datasets of a method for a target: those told, of a checkpoint given, or of the rule.

        The target is named as its card is. Of several checkpoints of the method it is the one that the rule names, else
        the first that was not trained on the target.
        """
        names = self.override or auxiliaries_for(target, self.rule)
        own = self.given_for(method)
        if not own or names in own or self.override or self.rule != RULE:
            return names
        return next((each for each in own if target not in each), own[0])

    def given_for(self, method: type[Method]) -> list[tuple[str, ...]]:
        """Return on which datasets each checkpoint of a method that was given was trained."""
        known = [each.training for each in self.checkpoints.values()]
        return [tuple(each.auxiliary.name.split("+")) for each in known if each.method == method.name]

    @cached_property
    def checkpoints(self) -> dict[Path, Checkpoint]:
        """The checkpoints that were given.

        Raises:
            CheckpointError: one cannot be read.
        """
        return {path: read_checkpoint(path) for path in self.given}

    def overlap(self, target: SampleSet, names: Sequence[str]) -> str | None:
        """Say how one of some auxiliary datasets overlaps with a target, or None where none does."""
        cards = load_cards()
        for name in names:
            if name in target.card.overlaps or (name in cards and target.card.name in cards[name].overlaps):
                return f"{name}, which by its card holds images of the same source"
            auxiliary = self.found.get(name)
            if shared := shared_image(auxiliary, target) if auxiliary else None:
                return f"{name}, which holds the same image ({shared[0]} is {shared[1]})"
        for checkpoint in self.checkpoints.values():
            known = tuple(checkpoint.training.auxiliary.name.split("+"))
            if known == tuple(names) and (images := seen_images(checkpoint, _paths(target), target.title)):
                return f"{checkpoint.source}, which holds the same image as {images[0]}"
        return None


def _paths(target: SampleSet) -> list[Path]:
    return [sample.path for sample in target.test]


@dataclass(frozen=True)
class Setting:
    """What the cells of a plan share."""

    backbone: BackboneId
    protocol: Protocol
    auxiliaries: Auxiliaries = field(default_factory=Auxiliaries)

    def backbone_of(self, method: type[Method], options: Any) -> BackboneId:
        """Return the backbone as a method with these options runs it.

        Raises:
            ContractError: the method does not say how.
        """
        return self.backbone.variant(variant_of(method, options), self.protocol)


def plan(methods: Chosen, datasets: Sequence[SampleSet], setting: Setting, *, seeds: Sequence[int]) -> Plan:
    """Return every cell of methods × datasets × seeds, datasets outermost: cells that share a pass are neighbours.

    Args:
        methods: method classes with their options.
        datasets: the test samples of each dataset.
        setting: what the cells share.
        seeds: for methods with chance; the others are trained and run once, as seed 0.

    Raises:
        CheckpointError: a checkpoint that was given cannot be read, or does not fit the run.
    """
    made = Plan()
    unfit: list[str] = []
    refused: dict[str, list[str]] = defaultdict(list)
    lacking: dict[str, list[tuple[str, str]]] = defaultdict(list)
    planned: dict[tuple[int, tuple[str, ...]], list[Training | None]] = {}  # the same for all targets of an auxiliary
    for samples in datasets:
        target = samples.title
        overlaps: dict[tuple[tuple[str, ...], bool], tuple[str | None, str | None]] = {}
        for index, (method, options) in enumerate(methods):
            try:
                setting.backbone_of(method, options)
            except ContractError as error:
                unfit.append(str(error))
                continue
            title, shots = title_of(method, options), method.shots(options)
            if shots and (short := _too_few(samples, shots)):
                of_user = samples.card.domain == "custom"
                what = (
                    "normal images are needed besides one to test" if of_user else "normal training images are needed"
                )
                refused[f"{target}: {shots} {what}, and {short} has fewer"].append(title)
            elif not issubclass(method, Learner):
                own = seeds_of(method, options, seeds)
                for seed in own:
                    job = _job(method, options, samples, None, setting, seed=seed)
                    made.jobs.append(replace(job, several_seeds=len(own) > 1))
            else:
                names = setting.auxiliaries.names_for(samples.card.name, method)
                given = names in setting.auxiliaries.given_for(method)
                if (names, given) not in overlaps:
                    overlaps[names, given] = _overlap(samples, names, setting.auxiliaries, given=given)
                refusal, warning = overlaps[names, given]
                if refusal:
                    refused[f"{target}: {refusal}"].append(method.title)
                    continue
                if (index, names) not in planned:
                    planned[index, names] = plan_trainings(method, options, names, setting, seeds=seeds)
                trainings = planned[index, names]
                # Where a checkpoint is given, it stands for all seeds.
                for training in {each.id.id: each for each in trainings if each}.values():
                    job = _job(method, options, samples, training, setting, seed=training.id.seed)
                    notes = [warning] if warning else []
                    notes += _other_conditions(training, setting)
                    made.jobs.append(replace(job, warnings=tuple(notes), several_seeds=training.several_seeds))
                if None in trainings:
                    absent = [name for name in names if name not in setting.auxiliaries.found]
                    lacking[" and ".join(absent)].append((method.title, target))
    made.refused = [f"{_listed(titles)} on {target}" for target, titles in refused.items()]
    made.problems = [
        *dict.fromkeys(unfit),
        *(_not_found(name, pairs, setting.auxiliaries.way_out) for name, pairs in lacking.items()),
    ]
    return made


def _other_conditions(training: Training, setting: Setting) -> list[str]:
    """Return what a record must say of a checkpoint that was given and was trained under other conditions."""
    if training.given is None:
        return []
    known, own = training.id, setting.backbone_of(training.method, training.options)
    ours: dict[str, Any] = {"dtype": own.dtype}
    theirs: dict[str, Any] = {"dtype": known.backbone.dtype}
    if setting.auxiliaries.checkpoints[training.given].origin == "trained":  # of an imported one the quirks are unknown
        ours |= {f"protocol.{name}": value for name, value in setting.protocol if name != "evaluation_size"}
        theirs |= {f"protocol.{name}": value for name, value in known.protocol}
        for conditions, backbone in ((ours, own), (theirs, known.backbone)):
            conditions["protocol.pos_interp"] = backbone.pos_interp or conditions["protocol.pos_interp"]
    different = [f"{name}={theirs[name]}" for name, value in ours.items() if theirs[name] != value]
    return [f"the checkpoint was trained with {', '.join(different)}"] if different else []


def _overlap(
    target: SampleSet, names: Sequence[str], auxiliaries: Auxiliaries, *, given: bool
) -> tuple[str | None, str | None]:
    """Return why a learner of some auxiliary datasets must not be tested on a target, and else what its record says."""
    trained = "its checkpoint was trained" if given else "to be trained"
    if target.card.name in names:
        return f"{trained} on that dataset itself", None
    if (overlap := auxiliaries.overlap(target, names)) is None:
        return None, None
    if auxiliaries.allow_overlap:
        return None, f"trained on {overlap}"
    return f"{trained} on {overlap}; --allow-overlap runs it all the same, and says so", None


def _too_few(samples: SampleSet, shots: int) -> str | None:
    """Return a class that has fewer normal training images than `shots`, or None."""
    return next((name for name, images in references(samples, shots, seed=0).items() if len(images) < shots), None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _not_found(name: str, pairs: Sequence[tuple[str, str]], way_out: str) -> str:
    methods, targets = (_listed(each) for each in zip(*pairs, strict=True))
    return (
        f"{methods} on {targets}: to be trained on {name}, which was not found; say where it lies with --data or "
        f"--data-path {name}=DIR{way_out}"
    )


def _job(
    method: type[Method],
    options: Any,
    samples: SampleSet,
    training: Training | None,
    setting: Setting,
    *,
    seed: int,
) -> Job:
    shots = method.shots(options)
    shown = references(samples, shots, seed=seed) if shots else {}
    given = training.given if training and training.given not in setting.auxiliaries.kept else None
    cell = Cell(
        method=method.name,
        method_version=method.version,
        options=asdict(options),
        changed=changed_options(options),
        dataset=data_id(samples),
        auxiliary=training.id.auxiliary if training else None,
        checkpoint=setting.auxiliaries.checkpoints[given].sha256 if given else None,
        references={name: tuple(s.key for s in each) for name, each in shown.items()} or None,
        references_sha256=_digest_of(samples, shown) if shown else None,
        seed=seed,
        backbone=setting.backbone_of(method, options),
        protocol=setting.protocol,
    )
    return Job(cell, method, options, samples, training, shown)


def _digest_of(samples: SampleSet, shown: Mapping[str, Sequence[Sample]]) -> str:
    """Return the sha256 of the content of the images that a method is shown."""
    images = [sample for each in shown.values() for sample in each]
    known = samples.contents(images)
    return hashlib.sha256(json.dumps([(sample.key, known[sample.path]) for sample in images]).encode()).hexdigest()


def plan_trainings(
    method: type[Learner], options: Any, names: Sequence[str], setting: Setting, *, seeds: Sequence[int]
) -> list[Training | None]:
    """Return the training of a method on the named datasets for each of its seeds, as `plan_training`."""
    own = seeds_of(method, options, seeds)
    made = [plan_training(method, options, names, setting, seed=seed) for seed in own]
    return [replace(each, several_seeds=len(own) > 1 and each.given is None) if each else None for each in made]


def plan_training(
    method: type[Learner], options: Any, names: Sequence[str], setting: Setting, *, seed: int
) -> Training | None:
    """Return the training of a method on the named datasets, or None if neither these nor a checkpoint are there.

    Raises:
        CheckpointError: a checkpoint that was given does not fit.
    """
    for path, checkpoint in setting.auxiliaries.checkpoints.items():
        known = checkpoint.training
        if (known.method, known.auxiliary.name) == (method.name, "+".join(names)):
            if reason := misfit(known, method, options, setting.backbone_of(method, options)):
                raise CheckpointError(f"{path}: {reason}")
            return Training(known, method, options, (), given=path)
    found = setting.auxiliaries.found
    if not all(name in found for name in names):
        return None
    samples = tuple(found[name] for name in names)
    learning = training_options(options)
    identity = TrainingId(
        method=method.name,
        method_version=method.version,
        options=learning,
        changed={key: value for key, value in changed_options(options).items() if key in learning},
        auxiliary=data_id(*samples),
        seed=seed,
        backbone=setting.backbone_of(method, options),
        protocol=setting.protocol.model_copy(update={"evaluation_size": None}),  # nothing is evaluated in a training
    )
    return Training(identity, method, options, samples)


def data_id(*samples: SampleSet) -> DataId:
    """Return what identifies the test samples of a dataset, or of several that are used as one."""
    prints = [each.fingerprint for each in samples]
    return DataId(
        name="+".join(each.name for each in samples),
        card_version=max(each.card.version for each in samples),
        layout="+".join(each.layout.name for each in samples),
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest(),
    )
