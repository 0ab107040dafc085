"""Running training jobs: images are encoded once for all jobs on a dataset, then each method is trained."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.clip import Backbone
from benchmark.common import Settings, device_name, image_progress, now
from benchmark.contract import Learner, Method, VisionSpec, asked_of, merge_specs
from benchmark.data import SampleSet, digests
from benchmark.errors import first_misfit
from benchmark.records import (
    PARTIAL,
    SEEN_LENGTH,
    CheckpointError,
    Provenance,
    checkpoint_path,
    environment,
    read_tensors,
    write_checkpoint,
)
from benchmark.registry import source_sha256
from benchmark.training.batches import AuxiliaryFeatures, JoinedFeatures
from benchmark.training.features import auxiliary_features
from benchmark.training.jobs import Training
from benchmark.training.loop import train


def encode_auxiliary(
    data: SampleSet,
    trainings: Sequence[Training],
    backbone: Backbone,
    settings: Settings,
    *,
    say: Callable[[str], None],
) -> dict[str, Exception]:
    """Encode the images of an auxiliary dataset for all trainings on it. Each image is encoded once.

    Args:
        data: The auxiliary dataset.
        trainings: Trainings on it, alone or with others.
        backbone: Backbone that encodes the images.
        settings: Workers, cache and handling of broken images.
        say: Called with messages for the user.

    Returns:
        The errors by id of the training. The features of the other trainings are in the cache afterwards.
    """
    failed: dict[str, Exception] = {}
    built: list[tuple[Training, Learner]] = []
    for training in trainings:
        try:
            _require_masks(training)
            method = _new_method(training, backbone)
            asked_of(method, "training_vision")
        except Exception as error:  # a method's own code may raise anything
            failed[training.id.id] = error
        else:
            built.append((training, method))
    for spec in merge_specs(method.training_vision() for _, method in built):
        sharing = [training for training, method in built if method.training_vision().image_size == spec.image_size]
        try:
            _encode(data, spec, sharing[0], backbone, settings, say=say)
        except Exception as error:  # a broken image, a full disk, out of memory, …: go on with the other image sizes
            failed |= {training.id.id: error for training in sharing}
    return failed


Watch = Callable[[AuxiliaryFeatures], Callable[[int, Learner], None]]
"""Makes of the features of held-out images what is called after each epoch."""


def train_method(
    training: Training,
    backbone: Backbone,
    settings: Settings,
    *,
    say: Callable[[str], None],
    held_out: tuple[SampleSet, Watch] | None = None,
) -> None:
    """Train a method on cached features and write its checkpoint.

    Args:
        training: The training to run.
        backbone: Backbone that the method runs on.
        settings: Results folder and cache. Missing features are encoded now.
        say: Called with messages for the user.
        held_out: Images that the method is not trained on, and what watches it on them.

    Raises:
        TrainingError: If the loss or a parameter becomes NaN or infinite.
        CacheError: If the features cannot be stored.
        OSError: If the checkpoint cannot be written.
        Exception: Any error of the method's own code.
    """
    method = _new_method(training, backbone)
    spec, with_masks = asked_of(method, "training_vision"), method.needs_masks
    parts = (
        _encode(data, spec, training, backbone, settings, say=say, with_masks=with_masks) for data in training.samples
    )
    features = JoinedFeatures(tuple(parts)).kept_if_small(processes=settings.processes)
    watch = None
    if held_out is not None:
        watch = held_out[1](_encode(held_out[0], method.vision(), training, backbone, settings, say=say))
    path = checkpoint_path(settings.results, training.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = now(backbone.device)
    with image_progress(f"training {training.title}", len(features) * training.options.epochs) as progress:
        partial = path.with_suffix(PARTIAL)
        curve = train(
            method, features, partial=partial, progress=progress, title=training.title, say=say, after_epoch=watch
        )
    seconds = now(backbone.device) - start
    write_checkpoint(
        path,
        method.learned.state_dict(),
        training=training.id,
        origin="trained",
        source=" and ".join(data.title for data in training.samples),
        synthetic=any(data.synthetic for data in training.samples),
        images=len(features),
        skipped=features.skipped,
        seen=_seen(training.samples),
        curve=tuple(curve),
        seconds=round(seconds, 3),
        made=Provenance(
            device=device_name(backbone.device), source_sha256=source_sha256(training.method), **environment()
        ),
    )
    loss = f"loss {curve[0]['total']:.3f} → {curve[-1]['total']:.3f}" if curve else "no epoch"
    say(f"trained {training.title}: {len(features)} images, {loss}, {seconds:.1f} s")


def _seen(samples: Sequence[SampleSet]) -> tuple[str, ...]:
    """Return what a checkpoint keeps of the content of the images it was trained on."""
    paths = [sample.path for data in samples for sample in data.test]
    known = digests(paths, " and ".join(data.title for data in samples)).values()
    return tuple(sorted({digest[:SEEN_LENGTH] for digest in known if digest}))


def _new_method(training: Training, backbone: Backbone) -> Learner:
    method = build_method(training.method, backbone, training.options, seed=training.id.seed, checkpoint=None)
    assert isinstance(method, Learner)
    return method


def _require_masks(training: Training) -> None:
    for data in training.samples:
        if data.has_masks or not training.method.needs_masks:
            continue
        raise CheckpointError(
            f"{training.method.title} needs masks to train, and {data.title} has none; choose another --auxiliary"
        )


def _encode(
    data: SampleSet,
    spec: VisionSpec,
    training: Training,
    backbone: Backbone,
    settings: Settings,
    *,
    say: Callable[[str], None],
    with_masks: bool = True,
) -> AuxiliaryFeatures:
    with image_progress(f"encoding {data.title}", len(data.test)) as progress:
        return auxiliary_features(
            data,
            backbone,
            spec,
            training.id.protocol,
            settings.cache,
            workers=settings.workers,
            skip_broken=settings.on_error == "skip",
            with_masks=with_masks,
            progress=progress,
            say=say,
        )


def build_method(
    method: type[Method], backbone: Backbone, options: Any, *, seed: int, checkpoint: Path | None
) -> Method:
    """Return an instance of a method, with its learned parameters if it has any.

    Args:
        method: The method's class.
        backbone: Backbone whose weights the method runs, in the variant that it asks for.
        options: Instance of the method's `Options`.
        seed: Seed of the method.
        checkpoint: JSON file of the checkpoint; None for a method that does not learn.

    Raises:
        CheckpointError: If the checkpoint cannot be read or does not belong to this method.
    """
    built = method(backbone.variant(method.backbone_variant(options)), options, seed=seed)
    if isinstance(built, Learner) and checkpoint is not None:
        try:
            built.learned.load_state_dict(read_tensors(checkpoint))
        except RuntimeError as error:
            raise CheckpointError(f"{checkpoint}: does not fit {method.title}: {first_misfit(error)}") from error
    return built
