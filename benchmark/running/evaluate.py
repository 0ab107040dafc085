"""One pass over the images of some classes, for all methods: each is read once, and encoded once by each tower."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

import torch

from benchmark.clip import Backbone, passes
from benchmark.common import AdaptiveBatch, Settings, now
from benchmark.data import Loaded, Reading, SampleSet, load_at_sizes
from benchmark.protocol import Protocol
from benchmark.running.class_run import ClassRun, ClassScores, Participant, Tower
from benchmark.running.lanes import Lanes
from benchmark.training import tower_of

Batch = Sequence[tuple[Loaded, ...]]
"""Images at each image size."""


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

    Each image is read once, and encoded once for all methods that share a tower, as `benchmark.clip.passes` says.
    Metrics are computed in other threads, while the tower goes on. A batch holds images of one class, so which classes
    share a pass changes no number. Memory is that of two classes, since a class may begin before the metrics of the
    last one are there: a histogram of fixed size for each method, a smaller one for each kind of defect, and a few kB
    for each image.

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
    methods = [each.method for each in participants]
    asked = [(tower_of(type(method), backbone, method.options), method.vision()) for method in methods]
    towers = [
        Tower(
            each.backbone,
            each.spec,
            each.places,
            protocol,
            data.card,
            data.has_masks,
            settings.on_error,
            AdaptiveBatch(settings.batch_size, say),
        )
        for each in passes(asked)
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
    samples = [sample for name, each in data.test_by_class.items() if name in wanted for sample in each]
    sizes = list(dict.fromkeys(tower.spec.image_size for tower in towers))
    batches = load_at_sizes(samples, reading, sizes, apart=lambda sample: sample.class_name, say=say)
    with closing(Lanes(_threads(backbone.device, len(participants)))) as lanes:
        yield from _Pass(participants, towers, reading, lanes).classes(batches, sizes, progress)


def _threads(device: str, methods: int) -> int:
    """Return how many threads compute metrics; with 0 the one of the tower does so between two batches.

    Other threads would be no gain where the tower itself takes the only core.
    """
    cores = torch.get_num_threads()
    return 0 if cores == 1 and device == "cpu" else min(cores, methods)


class _Pass:
    """A pass, and what ended in it so far."""

    def __init__(
        self, participants: Sequence[Participant], towers: Sequence[Tower], reading: Reading, lanes: Lanes
    ) -> None:
        self._participants, self._towers, self._reading, self._lanes = participants, towers, reading, lanes
        self._device = towers[0].backbone.device
        self._failed: set[int] = set()
        """Places of the methods that have no further part."""
        self._ending: tuple[str, dict[int, Future[ClassScores | Exception]]] | None = None
        """A class whose images are all scored, and its metrics, which may not be computed yet."""
        self._start = now(self._device)
        """When the last class ended."""

    def classes(
        self, batches: Iterable[Batch], sizes: Sequence[int], progress: Callable[[int], None]
    ) -> Iterator[ClassOutcomes]:
        """Yield the classes of some images, which come at some sizes. A class may end while the next one is encoded."""
        runs: dict[int, ClassRun] = {}
        for class_name, group in groupby(self._timed(batches), key=lambda batch: batch[0][0].sample.class_name):
            runs = self._runs(class_name, {index for index, run in runs.items() if run.error})
            for batch in group:
                items = dict(zip(sizes, zip(*batch, strict=True), strict=True))
                for tower in self._towers:
                    tower.score([run for run in runs.values() if run.tower is tower], items[tower.spec.image_size])
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

    def _runs(self, class_name: str, failed: set[int]) -> dict[int, ClassRun]:
        """Return the methods that are to score a class, by their place, once they have seen its reference images.

        Args:
            class_name: of the class.
            failed: the methods that failed in the class before it, as far as that is known already.
        """
        towers = {place: tower for tower in self._towers for place in tower.places}
        runs = {
            index: ClassRun(participant, towers[index], self._lanes.lane())
            for index, participant in enumerate(self._participants)
            if class_name in participant.classes and index not in self._failed | failed
        }
        for run in runs.values():
            run.show_references(class_name, self._reading)
        return runs

    def _ended(self, following: Mapping[int, ClassRun], *, wait: bool) -> Iterator[ClassOutcomes]:
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
