"""One pass over the images of some classes, for every method that shares it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter

from benchmark.clip import Backbone
from benchmark.common import AdaptiveBatch, OnError, Settings, is_out_of_memory, now
from benchmark.contract import Features, Method, Prediction, VisionSpec
from benchmark.data import ImageError, Loaded, Reading, Sample, SampleSet, load, stack
from benchmark.metrics import TEXT_IMAGES, ClassImages
from benchmark.protocol import Protocol
from benchmark.records import ClassResult, Skipped
from benchmark.running.accumulator import ClassAccumulator

Say = Callable[[str], None]
Seconds = dict[str, float]


@dataclass(frozen=True)
class Participant:
    """A method that takes part in a pass."""

    method: Method
    classes: frozenset[str]
    """The classes that it is to score."""
    references: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """Normal training images that it is shown, by class."""


@dataclass(frozen=True)
class ClassScores:
    """What a method gave for a class."""

    result: ClassResult
    images: ClassImages | None
    """Results per image; None where no image could be read."""
    seconds: Seconds
    """Wall time: `total`, waiting for `images`, the `vision` tower, the `method` and its `metrics`; what methods share
    counts for each of them."""


@dataclass
class _ClassRun:
    """A participant while a class is scored."""

    participant: Participant
    accumulator: ClassAccumulator = field(default_factory=ClassAccumulator)
    seconds: Seconds = field(default_factory=lambda: {"method": 0.0, "metrics": 0.0})
    error: Exception | None = None


@dataclass(frozen=True)
class _Scored:
    """What a method gave for some images."""

    prediction: Prediction
    texts: dict[str, npt.NDArray[np.float32]]
    seconds: float


@dataclass
class ClassOutcomes:
    """The end of a class: what each method gave for it, or the error that ended the method's part in the pass."""

    class_name: str
    outcomes: dict[int, ClassScores | Exception]
    """By the place of the method among the participants; none of a method that did not score the class."""


def evaluate(
    participants: Sequence[Participant],
    backbone: Backbone,
    data: SampleSet,
    spec: VisionSpec,
    *,
    protocol: Protocol,
    settings: Settings,
    progress: Callable[[int], None] = lambda images: None,
    say: Say = lambda line: None,
) -> Iterator[ClassOutcomes]:
    """Score test samples with several methods, encoding each image once, and yield each class as it ends.

    A batch holds images of one class, so which classes share a pass changes no number. Memory is that of one class: a
    histogram of fixed size for each method, a smaller one for each kind of defect, and a few kB for each image.

    Args:
        participants: methods whose specs `spec` serves, with the classes that each is to score.
        backbone: the frozen CLIP.
        data: the dataset.
        spec: the merged spec of the methods.
        protocol: mask rule and class names.
        settings: batch size (where so many images do not fit, fewer are tried), loader processes, and whether a sample
            that cannot be read is left out of its class and listed there, or fails every method.
        progress: called with the number of images done since the last call.
        say: called with what the user should know.

    Yields:
        The classes in the order of the samples. A method that raises fails alone and scores no further class.
    """
    reading = Reading(
        spec.image_size,
        masks=protocol.mask_rule(data.layout.mask_threshold) if data.has_masks else None,
        batch_size=settings.batch_size,
        workers=settings.workers,
        mask_size=protocol.evaluation_size,
        ranges=data.ranges,
    )
    wanted = frozenset[str]().union(*(participant.classes for participant in participants))
    samples = [sample for sample in data.test if sample.class_name in wanted]
    shared = {"images": 0.0, "vision": 0.0}
    this = _Pass(
        backbone, spec, protocol, data.has_masks, settings.on_error, AdaptiveBatch(settings.batch_size, say), shared
    )
    failed: set[int] = set()
    device = backbone.device
    start = now(device)
    batches = _timed(load(samples, reading, apart=lambda sample: sample.class_name, say=say), shared, device)
    for class_name, group in groupby(batches, key=lambda batch: batch[0].sample.class_name):
        runs = {
            index: _ClassRun(participant)
            for index, participant in enumerate(participants)
            if class_name in participant.classes and index not in failed
        }
        for run in runs.values():
            _show_references(run, backbone, class_name, reading)
        for batch in group:
            this.score(list(runs.values()), batch)
            progress(len(batch))
        outcomes = {index: _finish(run, device, with_masks=data.has_masks) for index, run in runs.items()}
        failed |= {index for index, outcome in outcomes.items() if isinstance(outcome, Exception)}
        total = now(device) - start
        for outcome in outcomes.values():
            if isinstance(outcome, ClassScores):
                outcome.seconds.update(shared, total=total)
        yield ClassOutcomes(class_name, outcomes)
        if len(failed) == len(participants):
            return
        shared.update(images=0.0, vision=0.0)
        start = now(device)


def as_failure(error: BaseException) -> Exception:
    """Return the error of a method as one that ends its part of the work; a method must not end the process."""
    return error if isinstance(error, Exception) else RuntimeError(f"it called for the end of the process: {error!r}")


def _timed(batches: Iterator[list[Loaded]], seconds: Seconds, device: str) -> Iterator[list[Loaded]]:
    start = now(device)
    for batch in batches:
        seconds["images"] += now(device) - start
        yield batch
        start = now(device)


def _show_references(run: _ClassRun, backbone: Backbone, class_name: str, reading: Reading) -> None:
    """Encode the reference images of a class and hand them to the method, if it wants some."""
    if class_name not in run.participant.references:
        return
    samples = run.participant.references[class_name]
    loaded = [item for batch in load(samples, replace(reading, masks=None, workers=0)) for item in batch]
    if broken := [item.error for item in loaded if item.image is None]:
        run.error = ImageError(f"{broken[0]} (a reference image cannot be left out)")
        return
    method = run.participant.method
    try:
        method.see_references(backbone.encode_images(stack(loaded), method.vision()))
    except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
        run.error = as_failure(error)


def _finish(run: _ClassRun, device: str, *, with_masks: bool) -> ClassScores | Exception:
    if run.error is not None:
        return run.error
    start = now(device)
    result, images = run.accumulator.result(with_masks=with_masks), run.accumulator.per_image()
    run.seconds["metrics"] += now(device) - start
    return ClassScores(result, images, run.seconds)


@dataclass(frozen=True)
class _Pass:
    backbone: Backbone
    spec: VisionSpec
    protocol: Protocol
    with_masks: bool
    on_error: OnError
    adaptive: AdaptiveBatch
    shared: Seconds

    def score(self, runs: Sequence[_ClassRun], batch: list[Loaded]) -> None:
        """Encode the readable images of a batch once, and add every method's scores to its accumulator."""
        broken = [item for item in batch if item.image is None]
        for run in runs:
            if broken and self.on_error == "fail":
                run.error = run.error or ImageError(f"{broken[0].error} (--on-error skip leaves such images out)")
            run.accumulator.skipped += [Skipped(key=item.sample.key, reason=item.error) for item in broken]
        going = [run for run in runs if run.error is None]
        readable = [item for item in batch if item.image is not None]
        for chunk, found in self.adaptive.chunks(readable if going else [], lambda chunk: self._predict(going, chunk)):
            for run, scored in zip(going, found, strict=True):
                if isinstance(scored, Exception):
                    run.error = run.error or scored
                elif run.error is None:
                    try:
                        self._add(run, chunk, scored)
                    except Exception as error:  # NaN scores, maps of another shape, …
                        run.error = error

    def _predict(self, runs: Sequence[_ClassRun], chunk: Sequence[Loaded]) -> list[_Scored | Exception]:
        start = now(self.backbone.device)
        features = self.backbone.encode_images(stack(chunk), self.spec)
        self.shared["vision"] += now(self.backbone.device) - start
        names = [self.protocol.class_name(item.sample) for item in chunk]
        return [_predict(run, features, names, self.backbone.device) for run in runs]

    def _add(self, run: _ClassRun, items: Sequence[Loaded], scored: _Scored) -> None:
        start = now(self.backbone.device)
        prediction = scored.prediction
        scores, maps = at_evaluation_size(
            prediction,
            image_size=self.spec.image_size,
            evaluation_size=self.protocol.evaluation_size,
            smoothing=run.participant.method.smoothing,
            with_maps=self.with_masks,
        )
        raw = prediction.maps.float().cpu().numpy()
        middle = now(self.backbone.device)
        run.accumulator.images.add_texts(scored.texts)
        for index, item in enumerate(items):
            run.accumulator.add(item, scores[index], raw[index], None if maps is None else maps[index])
        run.seconds["method"] += scored.seconds + middle - start
        run.seconds["metrics"] += now(self.backbone.device) - middle


def _predict(run: _ClassRun, features: Features, names: list[str], device: str) -> _Scored | Exception:
    """Return what a method gives for some images, or what it raises.

    Raises:
        Exception: out of memory with several images; fewer are worth a try.
    """
    if run.error is not None:
        return run.error
    method = run.participant.method
    start = now(device)
    try:
        with torch.no_grad():
            prediction = method.predict(features, names)
            wanted = len(run.accumulator.images.keys) < TEXT_IMAGES
            texts = method.text_features(features, names) if wanted else {}
        kept = {name: text.cpu().numpy() for name, text in texts.items()}
        return _Scored(prediction, kept, now(device) - start)
    except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
        if is_out_of_memory(error) and len(names) > 1:
            raise
        return as_failure(error)


def at_evaluation_size(
    prediction: Prediction,
    *,
    image_size: int,
    smoothing: float,
    evaluation_size: int | None = None,
    with_maps: bool = True,
) -> tuple[list[float], npt.NDArray[np.float32] | None]:
    """Return image scores, and maps (B, S, S) resized bilinearly (corners not aligned) and then smoothed.

    The Gaussian filter is the references': per image, reflecting border, cut at 4 standard deviations.

    Args:
        prediction: of a method.
        image_size: side of the method's images, and of the maps without an evaluation size.
        smoothing: standard deviation of the filter in pixels of the image size. At another evaluation size the filter
            covers the same part of the image.
        evaluation_size: side S of the maps, where it is not the image size.
        with_maps: whether maps are wanted.
    """
    scores = prediction.scores.cpu().double().tolist()
    if not with_maps:
        return scores, None
    side = evaluation_size or image_size
    size, sigma = (side, side), smoothing * (side / image_size)
    resized = F.interpolate(prediction.maps.float()[:, None], size=size, mode="bilinear")[:, 0].cpu().numpy()
    if sigma > 0:
        resized = np.stack([gaussian_filter(each, sigma=sigma) for each in resized])
    return scores, resized
