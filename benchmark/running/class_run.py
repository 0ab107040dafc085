"""A class while it is scored: the tower that encodes its images, and what each method gives for them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from time import thread_time

import numpy as np
import numpy.typing as npt
import torch

from benchmark.clip import Backbone, take_asked
from benchmark.common import AdaptiveBatch, OnError, is_out_of_memory, now, peak_memory, start_peak_memory
from benchmark.contract import ClassName, Features, Method, TopOfMap, VisionSpec, require_prediction
from benchmark.data import Card, ImageError, Loaded, Reading, Sample, load, stack
from benchmark.errors import ContractError, as_failure
from benchmark.metrics import TEXT_IMAGES, ClassImages
from benchmark.protocol import Protocol
from benchmark.records import ClassResult, Skipped
from benchmark.running.accumulator import ClassAccumulator
from benchmark.running.lanes import Lane
from benchmark.running.maps import Maps, beside, changed_maps, maps_at_evaluation_size, on_grid, values_of, with_top

Seconds = dict[str, float]
FloatArray = npt.NDArray[np.float32]


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
    own_pass: bool
    """Whether the method ran the tower itself."""
    seconds: Seconds
    """Wall time: `total` since the class before it ended, waiting for `images`, the `vision` tower and the `method`.
    Processor time: its `metrics`, with the resizing of maps; they are computed while the tower goes on. What methods
    share counts for each of them."""
    peak_memory: int | None
    """Most bytes of memory that the pass of this tower took until now: of an accelerator, or of this process; None
    where it is not known."""


@dataclass
class Tower:
    """A vision tower at an image size, with the methods that share its forward pass."""

    backbone: Backbone
    spec: VisionSpec
    places: tuple[int, ...]
    """Places of the methods among the participants."""
    protocol: Protocol
    card: Card
    with_masks: bool
    with_samples: bool
    """Whether the images are views of physical samples, which are judged too."""
    on_error: OnError
    adaptive: AdaptiveBatch
    seconds: Seconds = field(default_factory=lambda: {"images": 0.0, "vision": 0.0})
    """Of the class that is scored: waiting for images, and encoding them."""
    peak_memory: int | None = None

    def score(self, runs: Sequence["ClassRun"], batch: Sequence[Loaded]) -> None:
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
        except Exception as error:  # out of memory with one image, …: methods of other towers go on
            for run in going:
                run.error = run.error or error
        self.peak_memory = max(filter(None, (self.peak_memory, peak_memory(self.backbone.device))), default=None)

    def _predict(self, runs: Sequence["ClassRun"], chunk: Sequence[Loaded]) -> list["Scored | Exception"]:
        start = now(self.backbone.device)
        features = self.backbone.encode_images(stack(chunk), self.spec)
        self.seconds["vision"] += now(self.backbone.device) - start
        names = [self.protocol.class_name(item.sample, self.card) for item in chunk]
        return [run.predict(features, names) for run in runs]


@dataclass(frozen=True)
class Scored:
    """What a method gave for some images."""

    scores: list[float]
    maps: Maps
    """A copy of the maps as predicted, on the device of the method."""
    raw: FloatArray
    """The maps on the grid of patches, in the memory of the host; so whoever has them has waited for the device."""
    texts: dict[str, npt.NDArray[np.float32]]
    top: TopOfMap | None
    """What the maps will add to the scores."""


@dataclass
class ClassRun:
    """A participant while a class is scored."""

    participant: Participant
    tower: Tower
    lane: Lane
    accumulator: ClassAccumulator = field(default_factory=ClassAccumulator)
    """Only jobs of the lane change it, but for the list of what was skipped."""
    seconds: Seconds = field(default_factory=lambda: {"method": 0.0, "metrics": 0.0})
    images: int = 0
    """How many images the method has seen."""
    class_name: ClassName | None = None
    """As it stands in prompts; None before the first image."""
    error: Exception | None = None

    def __post_init__(self) -> None:
        method = self.participant.method
        self._spec = method.vision()
        self._scores_whole_class = method.scores_whole_class(method.options)

    def show_references(self, class_name: str, reading: Reading) -> None:
        """Encode the reference images of a class and hand them to the method, if it wants some."""
        if class_name not in self.participant.references:
            return
        samples = self.participant.references[class_name]
        reading = replace(reading, image_size=self._spec.image_size, masks=None, workers=0)
        loaded = [item for batch in load(samples, reading) for item in batch]
        if broken := [item.error for item in loaded if item.image is None]:
            self.error = ImageError(f"{broken[0]} (a reference image cannot be left out)")
            return
        try:
            self.participant.method.see_references(self.tower.backbone.encode_images(stack(loaded), self._spec))
        except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
            self.error = as_failure(error)

    def predict(self, features: Features, names: Sequence[ClassName]) -> Scored | Exception:
        """Return what the method gives for some images, or what it raises.

        Raises:
            Exception: out of memory with several images; fewer are worth a try.
        """
        if self.error is not None:
            return self.error
        method, device = self.participant.method, self.tower.backbone.device
        self.class_name = names[0]
        features = take_asked(features, self._spec)
        start = now(device)
        try:
            with torch.no_grad():
                prediction = method.predict(features, names)
                require_prediction(prediction, len(names))
                texts = method.text_features(features, names) if self.images < TEXT_IMAGES else {}
            # A method may use its buffers again before the lane reads them.
            maps = changed_maps(prediction.maps, torch.Tensor.clone)
            raw = on_grid(maps, features.grid).numpy()
            scores = prediction.scores.cpu().double().tolist()
            given = {name: text.cpu().numpy().copy() for name, text in texts.items()}
            return Scored(scores, maps, raw, given, prediction.top)
        except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
            if is_out_of_memory(error) and len(names) > 1:
                raise
            return as_failure(error)
        finally:
            self.seconds["method"] += now(device) - start

    def add(self, items: Sequence[Loaded], scored: Scored | Exception) -> None:
        """Have the scores of some images added to the accumulator."""
        self.images += len(items)
        if isinstance(scored, Exception):
            self.error = self.error or scored
        else:
            self.lane.do(lambda: self._add(items, scored))

    def _add(self, items: Sequence[Loaded], scored: Scored) -> None:
        if self.error is not None:
            return
        evaluates = self.tower.with_masks or self._scores_whole_class or scored.top is not None
        start = thread_time()
        try:
            self.accumulator.images.add_texts(scored.texts)
            for index, item in enumerate(items):
                evaluated = self._evaluated(scored.maps, index) if evaluates else None
                score = scored.scores[index]
                if evaluated is not None:
                    (score,) = with_top([score], evaluated[None], scored.top)
                self.accumulator.add(item, score, scored.raw[index], evaluated)
        except Exception as error:  # NaN scores, maps of another shape, …
            self.error = error
        self.seconds["metrics"] += thread_time() - start

    def _evaluated(self, maps: Maps, index: int) -> FloatArray:
        """Return the map of one image at the evaluation size."""
        one = changed_maps(maps, lambda values: values[index : index + 1])
        with beside(values_of(maps).device):
            found = maps_at_evaluation_size(
                one,
                image_size=self._spec.image_size,
                evaluation_size=self.tower.protocol.evaluation_size,
                smoothing=self.participant.method.smoothing,
            )
        return found.squeeze(0)

    def finish(self) -> Future[ClassScores | Exception]:
        """Have the metrics of the class computed, once no image of it is left."""
        if self._scores_whole_class:
            self.lane.do(lambda: None).result()  # until all maps are evaluated
            self._score_whole_class()
        shared, peak = self.tower.seconds, self.tower.peak_memory
        if not self._spec.encoded:  # what others share is not its own
            shared = shared | {"vision": 0.0}
        return self.lane.do(lambda: self.error or self._result(shared, peak))

    def _score_whole_class(self) -> None:
        """Replace the image scores by those that the method gives for the whole class.

        The method is asked by the thread that it predicts in, and before it sees the next class.
        """
        if self.error is not None or self.class_name is None:
            return
        start = now(self.tower.backbone.device)
        try:
            found = self.accumulator
            found.images.scores = whole_class_scores(
                self.participant.method, found.images.scores, found.lowest, found.highest, self.class_name
            )
        except (Exception, SystemExit) as error:  # a method's own code may raise anything; the others go on
            self.error = as_failure(error)
        self.seconds["method"] += now(self.tower.backbone.device) - start

    def _result(self, shared: Seconds, peak: int | None) -> ClassScores:
        start = thread_time()
        result = self.accumulator.result(with_masks=self.tower.with_masks, with_samples=self.tower.with_samples)
        images = self.accumulator.per_image()
        self.seconds["metrics"] += thread_time() - start
        return ClassScores(result, images, self._spec.image_size, self._spec.images, shared | self.seconds, peak)


def whole_class_scores(
    method: Method,
    scores: Sequence[float],
    lowest: Sequence[float],
    highest: Sequence[float],
    class_name: ClassName,
) -> list[float]:
    """Return the image scores that a method gives for a whole class.

    Args:
        method: A method whose `scores_whole_class` says so.
        scores: Scores of all images of the class, as predicted.
        lowest: Lowest value of each image's map, as it is evaluated.
        highest: Highest value, likewise.
        class_name: The class.

    Raises:
        ContractError: The method returns no finite score for each image.
    """
    of_class, low, high = (torch.tensor(values, dtype=torch.float64) for values in (scores, lowest, highest))
    with torch.no_grad():
        found = method.class_scores(of_class, low, high, class_name)
    _require_scores(found, len(scores), class_name)
    return [float(score) for score in found.cpu().double()]


def _require_scores(found: object, images: int, class_name: str) -> None:
    """Check what `class_scores` returned for a class of a number of images.

    Raises:
        ContractError: it is no tensor, has no score for each image, or a score that is not finite.
    """
    if not isinstance(found, torch.Tensor):
        raise ContractError(f"class_scores returns a {type(found).__name__}, not a Tensor")
    if found.shape != (images,):
        shape = tuple(found.shape)
        raise ContractError(
            f"class_scores of {images} images of {class_name!r} have the shape {shape}, not ({images},)"
        )
    if bad := int((~found.isfinite()).sum()):
        raise ContractError(f"class_scores of {class_name!r}: {bad} of {images} scores are NaN or infinite")
