"""One pass over the images of some classes, for all methods: each image is read once, and encoded once at each size."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from time import thread_time

import numpy as np
import numpy.typing as npt
import torch

from benchmark.clip import Backbone
from benchmark.common import (
    AdaptiveBatch,
    OnError,
    Settings,
    is_out_of_memory,
    now,
    peak_memory,
    start_peak_memory,
)
from benchmark.contract import Features, Method, VisionSpec, merge_specs, require_prediction
from benchmark.data import Card, ImageError, Loaded, Reading, Sample, SampleSet, load, load_at_sizes, stack
from benchmark.metrics import TEXT_IMAGES, ClassImages
from benchmark.protocol import Protocol
from benchmark.records import ClassResult, Skipped
from benchmark.running.accumulator import ClassAccumulator
from benchmark.running.lanes import Lane, Lanes
from benchmark.running.maps import beside, maps_at_evaluation_size

Seconds = dict[str, float]
FloatArray = npt.NDArray[np.float32]
Batch = Sequence[tuple[Loaded, ...]]
"""Images at each image size."""


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
    image_size: int
    """Side of the method's images in pixels."""
    seconds: Seconds
    """Wall time: `total` since the class before it ended, waiting for `images`, the `vision` tower and the `method`.
    Processor time: its `metrics`, with the resizing of maps; they are computed while the tower goes on. What methods
    share counts for each of them."""
    peak_memory: int | None
    """Most bytes of memory that the pass took at this image size until now: of an accelerator, or of this process; None
    where it is not known."""


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
    *,
    protocol: Protocol,
    settings: Settings,
    progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[ClassOutcomes]:
    """Score test samples with several methods, and yield each class as it ends.

    Each image is read once, and encoded once for all methods of one image size. Metrics are computed in other threads,
    while the tower goes on. A batch holds images of one class, so which classes share a pass changes no number. Memory
    is that of two classes, since a class may begin before the metrics of the last one are there: a histogram of fixed
    size for each method, a smaller one for each kind of defect, and a few kB for each image.

    Args:
        participants: methods, with the classes that each is to score.
        backbone: the frozen CLIP.
        data: the dataset.
        protocol: mask rule and class names.
        settings: batch size (where so many images do not fit, fewer are tried), loader processes, and whether a sample
            that cannot be read is left out of its class and listed there, or fails every method.
        progress: called with the number of images done since the last call.
        say: called with what the user should know.

    Yields:
        The classes in the order of the samples. A method that raises fails alone and scores no further class.
    """
    towers = [
        _Tower(
            backbone,
            spec,
            protocol,
            data.card,
            data.has_masks,
            settings.on_error,
            AdaptiveBatch(settings.batch_size, say),
        )
        for spec in merge_specs(each.method.vision() for each in participants)
    ]
    reading = Reading(
        towers[0].spec.image_size,
        masks=protocol.mask_rule(data.layout.mask_threshold) if data.has_masks else None,
        batch_size=settings.batch_size,
        workers=settings.workers,
        mask_size=protocol.evaluation_size,
        ranges=data.ranges,
    )
    wanted = frozenset[str]().union(*(participant.classes for participant in participants))
    samples = [sample for sample in data.test if sample.class_name in wanted]
    sizes = [tower.spec.image_size for tower in towers]
    batches = load_at_sizes(samples, reading, sizes, apart=lambda sample: sample.class_name, say=say)
    with closing(Lanes(_threads(backbone.device, len(participants)))) as lanes:
        yield from _Pass(participants, towers, reading, lanes).classes(batches, progress)


def _threads(device: str, methods: int) -> int:
    """Return how many threads compute metrics; with 0 the one of the tower does so between two batches.

    Other threads would be no gain where the tower itself takes the only core.
    """
    cores = torch.get_num_threads()
    return 0 if cores == 1 and device == "cpu" else min(cores, methods)


def as_failure(error: BaseException) -> Exception:
    """Return the error of a method as one that ends its part of the work; a method must not end the process."""
    return error if isinstance(error, Exception) else RuntimeError(f"it called for the end of the process: {error!r}")


@dataclass
class _Tower:
    """The vision tower at an image size."""

    backbone: Backbone
    spec: VisionSpec
    protocol: Protocol
    card: Card
    with_masks: bool
    on_error: OnError
    adaptive: AdaptiveBatch
    seconds: Seconds = field(default_factory=lambda: {"images": 0.0, "vision": 0.0})
    """Of the class that is scored: waiting for images, and encoding them."""
    peak_memory: int | None = None

    def score(self, runs: Sequence["_ClassRun"], batch: Sequence[Loaded]) -> None:
        """Encode the readable images of a batch once, and have every method's scores added to its accumulator."""
        broken = [item for item in batch if item.image is None]
        for run in runs:
            if broken and self.on_error == "fail":
                run.error = run.error or ImageError(f"{broken[0].error} (--on-error skip leaves such images out)")
            run.accumulator.skipped += [Skipped(key=item.sample.key, reason=item.error) for item in broken]
        going = [run for run in runs if run.error is None]
        readable = [item for item in batch if item.image is not None]
        start_peak_memory(self.backbone.device)
        try:
            for chunk, found in self.adaptive.chunks(
                readable if going else [], lambda chunk: self._predict(going, chunk)
            ):
                for run, scored in zip(going, found, strict=True):
                    run.add(chunk, scored)
        except Exception as error:  # out of memory with one image, …: methods of other image sizes go on
            for run in going:
                run.error = run.error or error
        self.peak_memory = max(filter(None, (self.peak_memory, peak_memory(self.backbone.device))), default=None)

    def _predict(self, runs: Sequence["_ClassRun"], chunk: Sequence[Loaded]) -> list["_Scored | Exception"]:
        start = now(self.backbone.device)
        features = self.backbone.encode_images(stack(chunk), self.spec)
        self.seconds["vision"] += now(self.backbone.device) - start
        names = [self.protocol.class_name(item.sample, self.card) for item in chunk]
        return [run.predict(features, names) for run in runs]


@dataclass(frozen=True)
class _Scored:
    """What a method gave for some images."""

    scores: list[float]
    maps: torch.Tensor
    """A copy of the maps as predicted, on the device of the method."""
    raw: FloatArray
    """The same maps in the memory of the host; so whoever has them has waited for the device."""
    texts: dict[str, npt.NDArray[np.float32]]


@dataclass
class _ClassRun:
    """A participant while a class is scored."""

    participant: Participant
    tower: _Tower
    lane: Lane
    accumulator: ClassAccumulator = field(default_factory=ClassAccumulator)
    """Only jobs of the lane change it, but for the list of what was skipped."""
    seconds: Seconds = field(default_factory=lambda: {"method": 0.0, "metrics": 0.0})
    images: int = 0
    """How many images the method has seen."""
    error: Exception | None = None

    def show_references(self, class_name: str, reading: Reading) -> None:
        """Encode the reference images of a class and hand them to the method, if it wants some."""
        if class_name not in self.participant.references:
            return
        samples, spec = self.participant.references[class_name], self.participant.method.vision()
        reading = replace(reading, image_size=spec.image_size, masks=None, workers=0)
        loaded = [item for batch in load(samples, reading) for item in batch]
        if broken := [item.error for item in loaded if item.image is None]:
            self.error = ImageError(f"{broken[0]} (a reference image cannot be left out)")
            return
        try:
            self.participant.method.see_references(self.tower.backbone.encode_images(stack(loaded), spec))
        except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
            self.error = as_failure(error)

    def predict(self, features: Features, names: list[str]) -> _Scored | Exception:
        """Return what the method gives for some images, or what it raises.

        Raises:
            Exception: out of memory with several images; fewer are worth a try.
        """
        if self.error is not None:
            return self.error
        method, device = self.participant.method, self.tower.backbone.device
        start = now(device)
        try:
            with torch.no_grad():
                prediction = method.predict(features, names)
                require_prediction(prediction, len(names))
                texts = method.text_features(features, names) if self.images < TEXT_IMAGES else {}
            maps = prediction.maps.clone()  # a method may use its buffers again before the lane reads them
            scores, raw = prediction.scores.cpu().double().tolist(), maps.float().cpu().numpy()
            given = {name: text.cpu().numpy().copy() for name, text in texts.items()}
            return _Scored(scores, maps, raw, given)
        except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
            if is_out_of_memory(error) and len(names) > 1:
                raise
            return as_failure(error)
        finally:
            self.seconds["method"] += now(device) - start

    def add(self, items: Sequence[Loaded], scored: _Scored | Exception) -> None:
        """Have the scores of some images added to the accumulator."""
        self.images += len(items)
        if isinstance(scored, Exception):
            self.error = self.error or scored
        else:
            self.lane.do(lambda: self._add(items, scored))

    def _add(self, items: Sequence[Loaded], scored: _Scored) -> None:
        if self.error is not None:
            return
        start = thread_time()
        try:
            self.accumulator.images.add_texts(scored.texts)
            for index, item in enumerate(items):
                evaluated = self._evaluated(scored.maps[index : index + 1])[0] if self.tower.with_masks else None
                self.accumulator.add(item, scored.scores[index], scored.raw[index], evaluated)
        except Exception as error:  # NaN scores, maps of another shape, …
            self.error = error
        self.seconds["metrics"] += thread_time() - start

    def _evaluated(self, maps: torch.Tensor) -> FloatArray:
        with beside(maps.device):
            return maps_at_evaluation_size(
                maps,
                image_size=self.tower.spec.image_size,
                evaluation_size=self.tower.protocol.evaluation_size,
                smoothing=self.participant.method.smoothing,
            )

    def finish(self) -> Future[ClassScores | Exception]:
        """Have the metrics of the class computed, once no image of it is left."""
        shared, peak = self.tower.seconds, self.tower.peak_memory
        return self.lane.do(lambda: self.error or self._result(shared, peak))

    def _result(self, shared: Seconds, peak: int | None) -> ClassScores:
        start = thread_time()
        result = self.accumulator.result(with_masks=self.tower.with_masks)
        images = self.accumulator.per_image()
        self.seconds["metrics"] += thread_time() - start
        return ClassScores(result, images, self.tower.spec.image_size, shared | self.seconds, peak)


class _Pass:
    """A pass, and what ended in it so far."""

    def __init__(
        self, participants: Sequence[Participant], towers: Sequence[_Tower], reading: Reading, lanes: Lanes
    ) -> None:
        self._participants, self._towers, self._reading, self._lanes = participants, towers, reading, lanes
        self._device = towers[0].backbone.device
        self._failed: set[int] = set()
        """Places of the methods that have no further part."""
        self._ending: tuple[str, dict[int, Future[ClassScores | Exception]]] | None = None
        """A class whose images are all scored, and its metrics, which may not be computed yet."""
        self._start = now(self._device)
        """When the last class ended."""

    def classes(self, batches: Iterable[Batch], progress: Callable[[int], None]) -> Iterator[ClassOutcomes]:
        """Yield the classes of some images. A class may end while images of the next one are encoded."""
        runs: dict[int, _ClassRun] = {}
        for class_name, group in groupby(self._timed(batches), key=lambda batch: batch[0][0].sample.class_name):
            runs = self._runs(class_name, {index for index, run in runs.items() if run.error})
            for batch in group:
                for tower, items in zip(self._towers, zip(*batch, strict=True), strict=True):
                    tower.score([run for run in runs.values() if run.tower is tower], items)
                progress(len(batch))
                yield from self._ended(runs, wait=False)
            yield from self._ended(runs, wait=True)
            self._ending = class_name, {index: run.finish() for index, run in runs.items()}
            for tower in self._towers:
                tower.seconds = dict.fromkeys(tower.seconds, 0.0)
            yield from self._ended({}, wait=False)
            if len(self._failed) == len(self._participants):
                return
        yield from self._ended({}, wait=True)

    def _timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        start = now(self._device)
        for batch in batches:
            waited = now(self._device) - start
            for tower in self._towers:
                tower.seconds["images"] += waited
            yield batch
            start = now(self._device)

    def _runs(self, class_name: str, failed: set[int]) -> dict[int, _ClassRun]:
        """Return the methods that are to score a class, by their place, once they have seen its reference images.

        Args:
            class_name: of the class.
            failed: the methods that failed in the class before it, as far as that is known already.
        """
        towers = {tower.spec.image_size: tower for tower in self._towers}
        runs = {
            index: _ClassRun(participant, towers[participant.method.vision().image_size], self._lanes.lane())
            for index, participant in enumerate(self._participants)
            if class_name in participant.classes and index not in self._failed | failed
        }
        for run in runs.values():
            run.show_references(class_name, self._reading)
        return runs

    def _ended(self, following: Mapping[int, _ClassRun], *, wait: bool) -> Iterator[ClassOutcomes]:
        """Yield the class that ends, if its metrics are there or are to be waited for.

        Args:
            following: the methods in the class after it; one that failed has no part in that.
            wait: whether to wait for the metrics.
        """
        if not self._ending or not (wait or all(future.done() for future in self._ending[1].values())):
            return
        (class_name, futures), self._ending = self._ending, None
        outcomes = {index: future.result() for index, future in futures.items() if index not in self._failed}
        total = now(self._device) - self._start
        for index, outcome in outcomes.items():
            if isinstance(outcome, ClassScores):
                outcome.seconds["total"] = total
            else:
                self._failed.add(index)
                if index in following:
                    following[index].error = outcome
        yield ClassOutcomes(class_name, outcomes)
        self._start = now(self._device)
