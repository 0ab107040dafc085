"""Trainings: the auxiliary images encoded once for all that share them, and a checkpoint each."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.clip import Backbone
from benchmark.common import Settings, image_progress
from benchmark.contract import Learner, Method, VisionSpec, merge_specs
from benchmark.data import SampleSet
from benchmark.errors import first_misfit
from benchmark.records import (
    PARTIAL,
    CheckpointError,
    TrainingId,
    checkpoint_path,
    is_trained,
    read_tensors,
    write_checkpoint,
)
from benchmark.registry import title_of
from benchmark.training.features import AuxiliaryFeatures, auxiliary_features
from benchmark.training.loop import train

Say = Callable[[str], None]


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
    def images(self) -> SampleSet:
        """The auxiliary dataset of a training that is to be run."""
        assert self.samples is not None  # only where a checkpoint was given, which is never missing
        return self.samples

    @property
    def title(self) -> str:
        """What is trained on what, in words."""
        return f"{title_of(self.method, self.options)} on {self.id.auxiliary.name}"

    def checkpoint(self, results: Path) -> Path:
        """Return where the JSON of its checkpoint lies, or will lie."""
        return self.given or checkpoint_path(results, self.id)


def untrained(trainings: Iterable[Training], results: Path) -> list[Training]:
    """Return the trainings without a checkpoint, each once, those on one dataset side by side."""
    distinct = {training.id.id: training for training in trainings if training.given is None}
    ordered = sorted(distinct.values(), key=lambda training: training.id.auxiliary.name)
    return [training for training in ordered if not is_trained(results, training.id)]


def encode_auxiliary(
    trainings: Sequence[Training], backbone: Backbone, settings: Settings, *, say: Say
) -> dict[str, Exception]:
    """Encode the images that trainings on one dataset share, each image once.

    Returns:
        By id, the trainings for which that failed, with the reason. For the others the features are in the cache.
    """
    data = trainings[0].images
    failed: dict[str, Exception] = {}
    built: list[tuple[Training, Learner]] = []
    for training in trainings:
        try:
            _refuse_unfit(training, data)
            method = _fresh(training, backbone)
            method.vision()
        except Exception as error:  # a method's own code may raise anything
            failed[training.id.id] = error
        else:
            built.append((training, method))
    for spec in merge_specs(method.vision() for _, method in built):
        sharing = [training for training, method in built if method.vision().image_size == spec.image_size]
        try:
            _encode(data, spec, sharing[0], backbone, settings, say=say)
        except Exception as error:  # a broken image, a full disk, out of memory, …: other sizes go on
            failed |= {training.id.id: error for training in sharing}
    return failed


def train_method(training: Training, backbone: Backbone, settings: Settings, *, say: Say) -> None:
    """Train a method on features that are in the cache, and write its checkpoint.

    Raises:
        Exception: the training failed, or whatever the method's own code raises.
    """
    data = training.images
    method = _fresh(training, backbone)
    features = _encode(data, method.vision(), training, backbone, settings, say=say)
    path = checkpoint_path(settings.results, training.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with image_progress(f"training {training.title}", len(features) * training.options.epochs) as progress:
        curve = train(method, features, partial=path.with_suffix(PARTIAL), progress=progress)
    seconds = time.perf_counter() - start
    write_checkpoint(
        path,
        method.learned.state_dict(),
        training=training.id,
        origin="trained",
        source=data.card.title,
        synthetic=data.synthetic,
        images=len(features),
        skipped=tuple(features.skipped),
        curve=tuple(curve),
        seconds=round(seconds, 3),
    )
    loss = f"loss {curve[0]['total']:.3f} → {curve[-1]['total']:.3f}" if curve else "no epoch"
    say(f"trained {training.title}: {len(features)} images, {loss}, {seconds:.1f} s")


def _fresh(training: Training, backbone: Backbone) -> Learner:
    return training.method(backbone, training.options, seed=training.id.seed)


def _refuse_unfit(training: Training, data: SampleSet) -> None:
    if training.method.needs_masks and not data.has_masks:
        raise CheckpointError(
            f"{training.method.title} needs masks to train, and {data.card.title} has none; choose another --auxiliary"
        )


def _encode(
    data: SampleSet, spec: VisionSpec, training: Training, backbone: Backbone, settings: Settings, *, say: Say
) -> AuxiliaryFeatures:
    with image_progress(f"encoding {data.card.title}", len(data.test)) as progress:
        return auxiliary_features(
            data,
            backbone,
            spec,
            training.id.protocol,
            settings.cache,
            batch_size=settings.batch_size,
            workers=settings.workers,
            skip_broken=settings.on_error == "skip",
            progress=progress,
            say=say,
        )


def build_method(
    method: type[Method], backbone: Backbone, options: Any, *, seed: int, checkpoint: Path | None
) -> Method:
    """Return a method that is ready to predict, with what it learned.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is none of this method.
    """
    built = method(backbone, options, seed=seed)
    if isinstance(built, Learner) and checkpoint is not None:
        try:
            built.learned.load_state_dict(read_tensors(checkpoint))
        except RuntimeError as error:
            raise CheckpointError(f"{checkpoint}: does not fit {method.title}: {first_misfit(error)}") from error
    return built
