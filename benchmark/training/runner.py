"""Running training jobs: images are encoded once for all jobs on a dataset, then each method is trained.

Stages that read images in every epoch, or features only once, need nothing to be encoded before.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.clip import Backbone, passes
from benchmark.common import Settings, device_name, image_progress, now, tell
from benchmark.contract import Augmentation, Learner, Method, Stage, VisionSpec
from benchmark.data import SampleSet, digests
from benchmark.errors import as_failure, first_misfit
from benchmark.records import (
    PARTIAL,
    SEEN_LENGTH,
    CheckpointError,
    Provenance,
    checkpoint_path,
    environment,
    extent_of,
    load_learned,
    read_checkpoint,
    read_tensors,
    write_checkpoint,
)
from benchmark.registry import source_sha256
from benchmark.training.batches import Auxiliary, AuxiliaryFeatures, JoinedFeatures
from benchmark.training.features import are_stored, auxiliary_features
from benchmark.training.images import AuxiliaryImages, auxiliary_images
from benchmark.training.jobs import Training
from benchmark.training.loop import train
from benchmark.training.resuming import Curve
from benchmark.training.stages import reads_images, reads_once, stages_of, term_name
from benchmark.training.towers import tower_of


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
        The errors by id of the training. The features of the other trainings are in the cache afterwards, except those
        that are read only once.
    """
    failed: dict[str, Exception] = {}
    asked: list[tuple[Backbone, VisionSpec]] = []
    asking: list[Training] = []
    for training in trainings:
        try:
            _require_masks(training)
            tower = tower_of(training.method, backbone, training.options)
            stages = stages_of(_new_method(training, tower), _auxiliaries(training))
        except (Exception, SystemExit) as error:  # a method's own code may raise anything
            failed[training.id.id] = as_failure(error)
        else:
            specs = [each.vision for each in stages if not reads_images(each) and not reads_once(each, stages)]
            asked += [(tower, spec) for spec in specs]
            asking += [training] * len(specs)
    for each in passes(asked):
        sharing = [asking[place] for place in each.places]
        try:
            _encode(data, each.spec, sharing[0], each.backbone, settings, say=say)
        except Exception as error:  # a broken image, a full disk, out of memory, …: go on with the other passes
            failed |= {training.id.id: error for training in sharing}
    return failed


Watch = Callable[[Auxiliary], Callable[[str, Learner], None]]
"""Makes of held-out images what is called after each epoch, with the name of the epoch."""


def train_method(
    training: Training,
    backbone: Backbone,
    settings: Settings,
    *,
    say: Callable[[str], None],
    held_out: tuple[SampleSet, Watch] | None = None,
) -> None:
    """Train a method, on cached features wherever its stages allow, and write its checkpoint.

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
    backbone = tower_of(training.method, backbone, training.options)
    method = _new_method(training, backbone)
    stages = stages_of(method, _auxiliaries(training))
    given = (stages, training, backbone, settings)
    work = [(each, _joined(each, *given, say=say, with_masks=method.needs_masks)) for each in stages]
    watch = None
    if held_out is not None:
        spec = method.vision()
        read = _read if spec.images else _encode
        watch = held_out[1](read(held_out[0], spec, training, backbone, settings, say=say))
    path = checkpoint_path(settings.results, training.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = now(backbone.device)
    everything = sum(len(data) * stage.epochs for stage, data in work)
    with image_progress(f"training {training.title}", everything) as progress:
        curve = train(
            method,
            work,
            partial=path.with_suffix(PARTIAL),
            progress=progress,
            title=training.title,
            say=say,
            processes=settings.processes,
            after_epoch=watch,
        )
    seconds = now(backbone.device) - start
    images = max((len(data) for _, data in work), default=0)
    write_checkpoint(
        path,
        method.learned.state_dict(),
        training=training.id,
        origin="trained",
        source=" and ".join(data.title for data in training.samples),
        synthetic=any(data.synthetic for data in training.samples),
        images=images,
        skipped=tuple(dict.fromkeys(key for _, data in work for key in data.skipped)),
        seen=_seen(training.samples),
        curve=tuple(curve),
        seconds=round(seconds, 3),
        made=Provenance(
            device=device_name(backbone.device), source_sha256=source_sha256(training.method), **environment()
        ),
    )
    said = ", ".join([*_loss_lines(stages, curve), str(extent_of(method.learned)), f"{seconds:.1f} s"])
    say(f"trained {training.title}: {images} images, {said}")


def _loss_lines(stages: Sequence[Stage], curve: Curve) -> list[str]:
    """Return the loss of each stage that has one in its first and its last epoch, in words."""
    if not curve:
        return ["no epoch"]
    keys = [term_name(stages, number, "total") for number in range(len(stages))]
    totals = [(key, [epoch[key] for epoch in curve if key in epoch]) for key in keys]
    return [f"{key.replace('total', 'loss')} {each[0]:.3f} → {each[-1]:.3f}" for key, each in totals if each]


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


def _auxiliaries(training: Training) -> list[str]:
    """Return the names of the datasets that are trained on."""
    return [data.card.name for data in training.samples]


def _joined(
    stage: Stage,
    stages: Sequence[Stage],
    training: Training,
    backbone: Backbone,
    settings: Settings,
    *,
    say: Callable[[str], None],
    with_masks: bool,
) -> JoinedFeatures:
    """Return what a stage is trained on."""
    parts: list[Auxiliary] = []
    for data in training.samples:
        given = (data, stage.vision, training, backbone, settings)
        if reads_images(stage):
            parts.append(_read(*given, say=say, with_masks=with_masks, augment=stage.augment))
        elif reads_once(stage, stages) and not are_stored(
            data, backbone, stage.vision, training.id.protocol, settings.cache
        ):
            if stage.epochs:
                tell(f"features of {data.title} are read once, and not stored")
            parts.append(_read(*given, say=say, with_masks=with_masks, once=True))
        else:
            parts.append(_encode(*given, say=say, with_masks=with_masks))
    return JoinedFeatures(tuple(parts))


def _read(
    data: SampleSet,
    spec: VisionSpec,
    training: Training,
    backbone: Backbone,
    settings: Settings,
    *,
    say: Callable[[str], None],
    with_masks: bool = True,
    augment: Augmentation | None = None,
    once: bool = False,
) -> AuxiliaryImages:
    with image_progress(f"reading {data.title}", len(data.test)) as progress:
        return auxiliary_images(
            data,
            backbone,
            spec,
            training.id.protocol,
            augment=augment,
            once=once,
            workers=settings.workers,
            skip_broken=settings.on_error == "skip",
            with_masks=with_masks,
            progress=progress,
            say=say,
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
    built = method(tower_of(method, backbone, options), options, seed=seed)
    if isinstance(built, Learner) and checkpoint is not None:
        try:
            load_learned(built.learned, read_tensors(checkpoint))
        except RuntimeError as error:
            way = ""
            if len(str(error).splitlines()) > 1 and read_checkpoint(checkpoint).origin == "imported":  # torch's own
                way = "; say by --set the options that it was trained with, or import it again with its --backbone"
            raise CheckpointError(f"{checkpoint}: does not fit {method.title}: {first_misfit(error)}{way}") from error
    return built
