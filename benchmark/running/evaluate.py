"""One pass over the test images of a dataset, or a part of them, for every method that shares it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter

from benchmark.clip import Backbone
from benchmark.common import AdaptiveBatch, OnError, is_out_of_memory
from benchmark.contract import Features, Method, Prediction, VisionSpec
from benchmark.data import ImageError, Loaded, Reading, Sample, SampleSet, load
from benchmark.metrics import TEXT_IMAGES
from benchmark.protocol import Protocol
from benchmark.records import Skipped
from benchmark.running.tally import Outcome, Tally

References = Mapping[str, Sequence[Sample]]
"""Normal training images by class."""
Say = Callable[[str], None]


@dataclass
class _Share:
    """A method's part in a pass."""

    method: Method
    references: References
    outcome: Outcome
    tally: Tally


@dataclass(frozen=True)
class _Scored:
    """What a method gave for some images."""

    prediction: Prediction
    texts: dict[str, npt.NDArray[np.float32]]
    seconds: float


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
    span: slice = slice(None),
    progress: Callable[[int], None] = lambda images: None,
    say: Say = lambda line: None,
) -> Pass:
    """Score the test samples of a dataset with several methods, encoding each image once.

    Metrics are kept for one class at a time (samples come sorted by class), so their memory does not grow with the
    dataset; the results per image do, by a few kB for each image and method.

    Args:
        methods: methods whose specs `spec` serves.
        backbone: the frozen CLIP.
        data: the dataset.
        spec: the merged spec of the methods.
        references: for each method, the normal training images it is shown, by class.
        protocol: mask rule and class names.
        batch_size: images per forward pass; changes no number. Where so many do not fit, fewer are tried.
        workers: loader processes; 0 reads in this one.
        on_error: a sample that cannot be read is left out of its class and listed there, or fails every method.
        span: which of the test samples; classes of which it holds not all stay unfinished.
        progress: called with the number of images done since the last call.
        say: called with what the user should know.

    Returns:
        The results per method. A method that raises fails alone; its error is kept.
    """
    with_masks = data.has_masks
    threshold = protocol.mask_threshold(data.layout.mask_threshold) if with_masks else None
    reading = Reading(spec.image_size, mask_threshold=threshold, batch_size=batch_size, workers=workers)
    done = Pass([Outcome(image_size=spec.image_size) for _ in methods], {"images": 0.0, "vision": 0.0})
    shares = [_Share(*each, Tally()) for each in zip(methods, references, done.outcomes, strict=True)]
    fitting = AdaptiveBatch(batch_size, say)
    unfinished = _elsewhere(data.test, span)
    start = time.perf_counter()
    current: str | None = None
    for batch in _timed(load(data.test[span], reading), done.seconds):
        broken = [item for item in batch if item.image is None]
        if broken and on_error == "fail":
            _fail(shares, ImageError(f"{broken[0].error} (--on-error skip leaves such images out)"))
        for class_name, items in _by_class(batch):
            if class_name != current:
                _finish_class(shares, current, unfinished, with_masks=with_masks)
                current = class_name
                _show(shares, backbone, class_name, reading)
            _score(shares, done, backbone, items, spec, protocol=protocol, with_masks=with_masks, fitting=fitting)
        if all(share.outcome.error for share in shares):
            break
        progress(len(batch))
    _finish_class(shares, current, unfinished, with_masks=with_masks)
    done.seconds["total"] = time.perf_counter() - start
    return done


def _elsewhere(samples: Sequence[Sample], span: slice) -> set[str]:
    """Return the classes that have samples within the span and outside of it."""
    start, stop, _ = span.indices(len(samples))
    outside = {sample.class_name for sample in (*samples[:start], *samples[stop:])}
    return outside & {sample.class_name for sample in samples[span]}


def _show(shares: Sequence[_Share], backbone: Backbone, class_name: str, reading: Reading) -> None:
    """Encode the references of a class and hand them to the methods that want some."""
    for share in shares:
        if class_name not in share.references or share.outcome.error:
            continue
        samples = share.references[class_name]
        loaded = [item for batch in load(samples, replace(reading, mask_threshold=None, workers=0)) for item in batch]
        if broken := [item.error for item in loaded if item.image is None]:
            share.outcome.error = ImageError(f"{broken[0]} (a reference image cannot be left out)")
            continue
        images = torch.stack([item.image for item in loaded if item.image is not None])
        try:
            share.method.see_references(backbone.encode_images(images, share.method.vision()))
        except Exception as error:  # a method's own code may raise anything; it must not take the others with it
            share.outcome.error = error


def _timed(batches: Iterator[list[Loaded]], seconds: dict[str, float]) -> Iterator[list[Loaded]]:
    start = time.perf_counter()
    for batch in batches:
        seconds["images"] += time.perf_counter() - start
        yield batch
        start = time.perf_counter()


def _by_class(batch: list[Loaded]) -> Iterator[tuple[str, list[Loaded]]]:
    for name in dict.fromkeys(item.sample.class_name for item in batch):
        yield name, [item for item in batch if item.sample.class_name == name]


def _fail(shares: Sequence[_Share], error: Exception) -> None:
    for share in shares:
        share.outcome.error = share.outcome.error or error


def _finish_class(shares: Sequence[_Share], class_name: str | None, unfinished: set[str], *, with_masks: bool) -> None:
    for share in shares:
        if class_name is not None and share.outcome.error is None:
            start = time.perf_counter()
            if class_name in unfinished:
                share.outcome.unfinished[class_name] = share.tally
            else:
                share.outcome.finish(class_name, share.tally, with_masks=with_masks)
            _took(share.outcome, "metrics", time.perf_counter() - start)
        share.tally = Tally()


def _took(outcome: Outcome, what: str, seconds: float) -> None:
    outcome.seconds[what] = outcome.seconds.get(what, 0.0) + seconds


def _score(
    shares: Sequence[_Share],
    done: Pass,
    backbone: Backbone,
    items: list[Loaded],
    spec: VisionSpec,
    *,
    protocol: Protocol,
    with_masks: bool,
    fitting: AdaptiveBatch,
) -> None:
    """Encode the readable images of one class once, and add every method's scores to its tally."""
    going = [share for share in shares if share.outcome.error is None]
    for share in going:
        share.tally.skipped += [Skipped(key=i.sample.key, reason=i.error) for i in items if i.image is None]

    def predict(chunk: Sequence[Loaded]) -> list[_Scored | Exception]:
        start = time.perf_counter()
        features = backbone.encode_images(torch.stack([item.image for item in chunk if item.image is not None]), spec)
        done.seconds["vision"] += time.perf_counter() - start
        names = [protocol.class_name(item.sample) for item in chunk]
        return [_predict(share, features, names) for share in going]

    readable = [item for item in items if item.image is not None]
    for chunk, found in fitting.chunks(readable if going else [], predict):
        for share, scored in zip(going, found, strict=True):
            if share.outcome.error is not None:
                continue
            if isinstance(scored, Exception):
                share.outcome.error = scored
                continue
            try:
                _add(share, chunk, scored, image_size=spec.image_size, with_masks=with_masks)
            except Exception as error:  # NaN scores, maps of another shape, …
                share.outcome.error = error


def _predict(share: _Share, features: Features, names: list[str]) -> _Scored | Exception:
    """Return what a method gives for some images, or what it raises.

    Raises:
        Exception: out of memory with several images; fewer are worth a try.
    """
    if share.outcome.error is not None:
        return share.outcome.error
    method = share.method
    start = time.perf_counter()
    try:
        with torch.no_grad():
            prediction = method.predict(features, names)
            wanted = len(share.tally.images.keys) < TEXT_IMAGES
            texts = method.text_features(features, names) if wanted else {}
        kept = {name: text.cpu().numpy() for name, text in texts.items()}
        return _Scored(prediction, kept, time.perf_counter() - start)
    except Exception as error:  # a method's own code may raise anything; it must not take the others with it
        if is_out_of_memory(error) and len(names) > 1:
            raise
        return error


def _add(share: _Share, items: Sequence[Loaded], scored: _Scored, *, image_size: int, with_masks: bool) -> None:
    start = time.perf_counter()
    prediction = scored.prediction
    scores, maps = at_evaluation_size(
        prediction, image_size=image_size, smoothing=share.method.smoothing, with_maps=with_masks
    )
    middle = time.perf_counter()
    raw = prediction.maps.float().cpu().numpy()
    share.tally.images.add_texts(scored.texts)
    for index, item in enumerate(items):
        share.tally.add(item, scores[index], raw[index], None if maps is None else maps[index])
    _took(share.outcome, "method", scored.seconds + middle - start)
    _took(share.outcome, "metrics", time.perf_counter() - middle)


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
