"""One pass over the test images of a dataset, for every method that shares it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter

from benchmark.backbone import Backbone
from benchmark.contract import Method, Prediction, VisionSpec
from benchmark.images import ImageError
from benchmark.loading import Loaded, Reading, load
from benchmark.metrics import PIXEL_METRICS, ImageMetrics, PixelMetrics
from benchmark.per_image import TEXT_IMAGES, ClassImages, Gathering
from benchmark.protocol import Protocol
from benchmark.records import ClassResult, Skipped
from benchmark.samples import Sample, SampleSet
from benchmark.settings import OnError

References = Mapping[str, Sequence[Sample]]
"""Normal training images by class."""


@dataclass
class _Tally:
    """What a method has scored of one class so far."""

    image: ImageMetrics = field(default_factory=ImageMetrics)
    pixel: PixelMetrics = field(default_factory=PixelMetrics)
    counts: list[int] = field(default_factory=lambda: [0, 0])
    skipped: list[Skipped] = field(default_factory=list)
    images: Gathering = field(default_factory=Gathering)

    def result(self, *, with_masks: bool) -> ClassResult:
        pixel = self.pixel.compute() if with_masks else dict.fromkeys(PIXEL_METRICS)
        metrics = {**self.image.compute(), **pixel}
        return ClassResult(
            normal=self.counts[0], anomalous=self.counts[1], skipped=tuple(self.skipped), metrics=metrics
        )


@dataclass
class Outcome:
    """What became of one method in a pass."""

    classes: dict[str, ClassResult] = field(default_factory=dict)
    images: dict[str, ClassImages] = field(default_factory=dict)
    """Results per image by class; none of a class of which no image could be read."""
    error: Exception | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"method": 0.0, "metrics": 0.0})
    tally: _Tally = field(default_factory=_Tally)


@dataclass
class Pass:
    """What became of a pass: an outcome per method, in their order, and the wall time they shared."""

    outcomes: list[Outcome]
    seconds: dict[str, float]


def evaluate(
    methods: Sequence[Method],
    backbone: Backbone,
    data: SampleSet,
    spec: VisionSpec,
    *,
    references: Sequence[References],
    protocol: Protocol,
    batch_size: int,
    workers: int,
    on_error: OnError,
    progress: Callable[[int], None] = lambda images: None,
) -> Pass:
    """Score every test sample of a dataset with several methods, encoding each image once.

    Metrics are kept for one class at a time (samples come sorted by class), so their memory does not grow with the
    dataset; the results per image do, by a few kB for each image and method.

    Args:
        methods: methods whose specs `spec` serves.
        backbone: the frozen CLIP.
        data: the dataset.
        spec: the merged spec of the methods.
        references: for each method, the normal training images it is shown, by class.
        protocol: mask rule and class names.
        batch_size: images per forward pass; changes no number.
        workers: loader processes; 0 reads in this one.
        on_error: a sample that cannot be read is left out of its class and listed there, or fails every method.
        progress: called with the number of images done since the last call.

    Returns:
        The results per method. A method that raises fails alone; its error is kept.
    """
    with_masks = data.has_masks
    threshold = protocol.mask_threshold(data.layout.mask_threshold) if with_masks else None
    reading = Reading(spec.image_size, mask_threshold=threshold, batch_size=batch_size, workers=workers)
    done = Pass([Outcome() for _ in methods], {"images": 0.0, "vision": 0.0})
    start = time.perf_counter()
    current: str | None = None
    for batch in _timed(load(data.test, reading), done.seconds):
        broken = [item for item in batch if item.image is None]
        if broken and on_error == "fail":
            _fail(done, ImageError(f"{broken[0].error} (--on-error skip leaves such images out)"))
        for class_name, items in _by_class(batch):
            if class_name != current:
                _finish_class(done, current, with_masks=with_masks)
                current = class_name
                for method, outcome, shown in zip(methods, done.outcomes, references, strict=True):
                    if class_name in shown and outcome.error is None:
                        _show(method, outcome, backbone, shown[class_name], reading)
            _score(done, methods, backbone, items, spec, protocol=protocol, with_masks=with_masks)
        if all(outcome.error for outcome in done.outcomes):
            break
        progress(len(batch))
    _finish_class(done, current, with_masks=with_masks)
    done.seconds["total"] = time.perf_counter() - start
    return done


def _show(method: Method, outcome: Outcome, backbone: Backbone, samples: Sequence[Sample], reading: Reading) -> None:
    """Encode the references of a class and hand them to a method."""
    loaded = [item for batch in load(samples, replace(reading, mask_threshold=None, workers=0)) for item in batch]
    if broken := [item.error for item in loaded if item.image is None]:
        outcome.error = ImageError(f"{broken[0]} (a reference image cannot be left out)")
        return
    images = torch.stack([item.image for item in loaded if item.image is not None])
    try:
        method.see_references(backbone.encode_images(images, method.vision()))
    except Exception as error:  # a method's own code may raise anything; it must not take the others with it
        outcome.error = error


def _timed(batches: Iterator[list[Loaded]], seconds: dict[str, float]) -> Iterator[list[Loaded]]:
    start = time.perf_counter()
    for batch in batches:
        seconds["images"] += time.perf_counter() - start
        yield batch
        start = time.perf_counter()


def _by_class(batch: list[Loaded]) -> Iterator[tuple[str, list[Loaded]]]:
    for name in dict.fromkeys(item.sample.class_name for item in batch):
        yield name, [item for item in batch if item.sample.class_name == name]


def _fail(done: Pass, error: Exception) -> None:
    for outcome in done.outcomes:
        outcome.error = outcome.error or error


def _finish_class(done: Pass, class_name: str | None, *, with_masks: bool) -> None:
    for outcome in done.outcomes:
        if class_name is not None and outcome.error is None:
            start = time.perf_counter()
            outcome.classes[class_name] = outcome.tally.result(with_masks=with_masks)
            if outcome.tally.images.keys:
                outcome.images[class_name] = outcome.tally.images.finish()
            outcome.seconds["metrics"] += time.perf_counter() - start
        outcome.tally = _Tally()


def _score(
    done: Pass,
    methods: Sequence[Method],
    backbone: Backbone,
    items: list[Loaded],
    spec: VisionSpec,
    *,
    protocol: Protocol,
    with_masks: bool,
) -> None:
    """Encode the readable images of one class once, and add every method's scores to its tally."""
    skipped = [Skipped(key=item.sample.key, reason=item.error) for item in items if item.image is None]
    readable = [item for item in items if item.image is not None]
    names = [protocol.class_name(item.sample) for item in readable]
    start = time.perf_counter()
    features = None
    if readable and any(outcome.error is None for outcome in done.outcomes):
        features = backbone.encode_images(
            torch.stack([item.image for item in readable if item.image is not None]), spec
        )
    done.seconds["vision"] += time.perf_counter() - start
    for method, outcome in zip(methods, done.outcomes, strict=True):
        if outcome.error is not None:
            continue
        outcome.tally.skipped.extend(skipped)
        if features is None:
            continue
        try:
            start = time.perf_counter()
            with torch.no_grad():
                prediction = method.predict(features, names)
                if len(outcome.tally.images.keys) < TEXT_IMAGES:
                    texts = method.text_features(features, names)
                    outcome.tally.images.add_texts({name: text.cpu().numpy() for name, text in texts.items()})
            scores, maps = at_evaluation_size(
                prediction, image_size=spec.image_size, smoothing=method.smoothing, with_maps=with_masks
            )
            middle = time.perf_counter()
            _add(outcome.tally, readable, prediction, scores, maps)
            outcome.seconds["method"] += middle - start
            outcome.seconds["metrics"] += time.perf_counter() - middle
        except Exception as error:  # a method's own code may raise anything; it must not take the others with it
            outcome.error = error


def _add(
    tally: _Tally,
    items: list[Loaded],
    prediction: Prediction,
    scores: list[float],
    maps: npt.NDArray[np.float32] | None,
) -> None:
    raw = prediction.maps.float().cpu().numpy()
    for index, item in enumerate(items):
        try:
            tally.image.update(scores[index], item.sample.label)
            tally.images.add(item.sample.key, item.sample.label, scores[index], raw[index])
            if maps is not None and item.mask is not None:
                tally.pixel.update(maps[index], item.mask)
                tally.images.add_pixels(maps[index], item.mask)
        except ValueError as error:
            raise ValueError(f"{item.sample.path}: {error}") from error
        tally.counts[item.sample.label] += 1


def at_evaluation_size(
    prediction: Prediction, *, image_size: int, smoothing: float, with_maps: bool = True
) -> tuple[list[float], npt.NDArray[np.float32] | None]:
    """Return image scores, and maps (B, S, S) resized bilinearly (corners not aligned) and then smoothed.

    The Gaussian filter is the references': per image, reflecting border, cut at 4 standard deviations.
    """
    scores = prediction.scores.cpu().double().tolist()
    if not with_maps:
        return scores, None
    size = (image_size, image_size)
    resized = F.interpolate(prediction.maps.float()[:, None], size=size, mode="bilinear")[:, 0].cpu().numpy()
    if smoothing > 0:
        resized = np.stack([gaussian_filter(each, sigma=smoothing) for each in resized])
    return scores, resized
