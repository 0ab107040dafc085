"""What a recipe needs: which datasets, weights and published checkpoints are there, and which are missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.api import Computation, Places
from benchmark.clip import KNOWN_FILES, kept_file
from benchmark.contract import Learner, Method, training_options
from benchmark.data import Card, DatasetError, SampleSet, load_cards, locate
from benchmark.errors import BenchError
from benchmark.reproduction.checkpoints import FoundFiles, checkpoint_for, find_checkpoint
from benchmark.reproduction.recipe import Recipe, Run


@dataclass(frozen=True)
class DatasetNeed:
    """A dataset that is tested or trained on."""

    card: Card
    tested: bool
    """Otherwise methods are only trained on it."""
    samples: SampleSet | None = None
    """None where it was not found."""
    problem: str = ""
    """Why it cannot be read; empty where it is not there at all."""


@dataclass(frozen=True)
class WeightsNeed:
    """The weights of a backbone."""

    name: str
    """As `--backbone` spells it."""
    size: int | None = None
    """Bytes to be downloaded; None for a file of the user's, or where the size is not known."""
    there: bool = True


@dataclass(frozen=True)
class LearnedNeed:
    """What a method has learned from some datasets: a published checkpoint that was found, or trainings."""

    method: type[Method]
    auxiliary: tuple[str, ...]
    """Names of cards."""
    trainings: int
    """Of the rows of the table that differ in what is learned, for one seed."""
    found: FoundFiles | None = None
    """The files of the published checkpoint; None where none is published, or where the rows are trainings of their
    own."""
    imported: bool = False
    """Whether the checkpoint is taken in place of a training."""
    targets: tuple[str, ...] = ()
    """Names of the cards that are tested with it."""


@dataclass(frozen=True)
class Needs:
    """What a recipe needs."""

    datasets: tuple[DatasetNeed, ...]
    weights: tuple[WeightsNeed, ...]
    learned: tuple[LearnedNeed, ...]
    checkpoints: Path | None = None
    """Folder in which published checkpoints were looked for; None for none."""

    @property
    def found(self) -> tuple[Card, ...]:
        """The datasets that are there and tested."""
        return tuple(each.card for each in self.datasets if each.tested and each.samples)

    @property
    def missing(self) -> tuple[DatasetNeed, ...]:
        """The datasets that are not there."""
        return tuple(each for each in self.datasets if each.samples is None)

    @property
    def untrained(self) -> dict[tuple[str, str], str]:
        """Why a method cannot be tested on a dataset, by the names of both: its auxiliary dataset is not there."""
        missing = {each.card.name: each.card.title for each in self.missing}
        return {
            (each.method.name, target): f"{missing[name]}, on which it is trained, was not found"
            for each in self.learned
            if not each.imported
            for name in each.auxiliary
            if name in missing
            for target in each.targets
        }

    @property
    def targets(self) -> tuple[Card, ...]:
        """The datasets that are tested: those that are there, or all of the recipe where none is."""
        return self.found or tuple(each.card for each in self.datasets if each.tested)


def find_needs(
    recipe: Recipe, runs: Sequence[Run], places: Places, computation: Computation, *, checkpoints: Path | None
) -> Needs:
    """Find out what a recipe needs, and what of it is there. Nothing is downloaded.

    Args:
        recipe: The recipe.
        runs: Its methods with their options.
        places: Where the datasets are; if no place is given, none is there.
        computation: Says the backbone.
        checkpoints: Folder with files that authors have published; None for none.

    Raises:
        BenchError: A folder does not exist, or a folder of checkpoints is given and the recipe takes none.
    """
    if places.data is not None and not places.data.is_dir():
        raise BenchError(f"the data root {places.data} is not a directory; correct --data or BENCH_DATA")
    tested = [_dataset(load_cards()[card.name], places, tested=True) for card in recipe.cards]
    targets = [each.card for each in tested if each.samples] or recipe.cards
    learned = _learned(recipe, runs, targets, checkpoints)
    if checkpoints is not None and not any(each.found for each in learned):
        raise BenchError(f"--checkpoints: no published checkpoint can be taken for {recipe.name}; leave it out")
    names = dict.fromkeys(name for each in learned if not each.imported and each.trainings for name in each.auxiliary)
    known = {each.card.name for each in tested}
    trained_on = [_dataset(load_cards()[name], places, tested=False) for name in names if name not in known]
    sources = dict.fromkeys(computation.source(run.method, synthetic=False).name for run in runs)
    return Needs((*tested, *trained_on), tuple(map(_weights, sources)), tuple(learned), checkpoints)


def _dataset(card: Card, places: Places, *, tested: bool) -> DatasetNeed:
    try:
        samples = locate(card, places.data, places.paths.get(card.name), follow_links=places.follow_links)
    except DatasetError as error:
        return DatasetNeed(card, tested, problem=str(error))
    return DatasetNeed(card, tested, samples)


def _weights(name: str) -> WeightsNeed:
    known = KNOWN_FILES.get(name)
    return WeightsNeed(name) if known is None else WeightsNeed(name, known.size, kept_file(known) is not None)


def _learned(
    recipe: Recipe, runs: Sequence[Run], targets: Iterable[Card], checkpoints: Path | None
) -> list[LearnedNeed]:
    """Return what each method that learns needs for some targets. Its checkpoints are taken if none of them is missing.

    Otherwise some numbers of a column would be of a training and others of a checkpoint.
    """
    by_target = recipe.auxiliaries(targets)
    sets = list(dict.fromkeys(by_target.values()))
    needs = []
    for method in dict.fromkeys(run.method for run in runs if issubclass(run.method, Learner)):
        learning = {repr(training_options(run.options)) for run in runs if run.method is method}
        default = learning == {repr(training_options(method.Options()))}
        published = [checkpoint_for(method.name, names) if default else None for names in sets]
        found = [None if each is None else find_checkpoint(each, checkpoints) for each in published]
        imported = all(each is not None and each.complete for each in found)
        for names, files in zip(sets, found, strict=True):
            tested = tuple(target for target, each in by_target.items() if each == names)
            needs.append(LearnedNeed(method, names, len(learning), files, imported, tested))
    return needs
