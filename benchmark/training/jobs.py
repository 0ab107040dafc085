"""Training jobs: what there is to train, and whether it is done."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.contract import Learner
from benchmark.data import SampleSet
from benchmark.records import (
    TrainingId,
    checkpoint_path,
    is_trained,
)
from benchmark.registry import title_of


@dataclass(frozen=True)
class Training:
    """A training that can be run, or a given checkpoint that replaces it."""

    id: TrainingId
    method: type[Learner]
    options: Any
    samples: tuple[SampleSet, ...]
    """The auxiliary datasets; none if a checkpoint was given."""
    given: Path | None = None
    """Path of the JSON file of a given checkpoint."""
    several_seeds: bool = False
    """Whether there are trainings that differ from it in the seed alone."""

    @property
    def title(self) -> str:
        """Method and auxiliary dataset, and the seed where there are several, for messages."""
        seed = f", seed {self.id.seed}" if self.several_seeds else ""
        return f"{title_of(self.method, self.options)} on {self.id.auxiliary.name}{seed}"

    def checkpoint(self, results: Path) -> Path:
        """Return the path of the JSON file of its checkpoint, which may not exist yet."""
        return self.given or checkpoint_path(results, self.id)


def untrained(trainings: Iterable[Training], results: Path, *, force: bool = False) -> list[Training]:
    """Return the trainings that have no checkpoint yet, or all if forced, without repetition, by auxiliary dataset."""
    distinct = {training.id.id: training for training in trainings if training.given is None}
    ordered = sorted(distinct.values(), key=lambda training: training.id.auxiliary.name)
    return [training for training in ordered if force or not is_trained(results, training.id)]
