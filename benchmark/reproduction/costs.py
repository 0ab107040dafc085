"""What a recipe will cost: disk and hours, from counts of images and what `docs/performance.md` says.

The work of the towers is counted in *passes*: one forward pass of ViT-L/14 at 518 px over one image, 1.3 TFLOP. A
backward pass counts as two forward ones, a prompt through the text tower as 0.005.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.contract import training_options
from benchmark.data import Card, load_cards
from benchmark.reproduction.needs import Needs
from benchmark.reproduction.recipe import Recipe, Run

GPU = "NVIDIA H100"
"""The GPU on which `GPU_PASSES` and `TRAINING_SECONDS` were measured."""
GPU_PASSES = 32.0
"""Passes that it makes in a second, in float32 and with batches of 8 images."""
CPU_SECONDS = 10.4
"""Seconds of a pass on two cores of a Xeon. Measured."""
TRAINING_SECONDS = 130.0
"""Of a training on stored features: AnomalyCLIP's 3,240 steps on MVTec AD, measured at 40 ms each there. Others take
30 to 200 s."""


@dataclass(frozen=True)
class Work:
    """What a method asks of the machine."""

    shares: bool = True
    """Whether it reads the pass that most methods share, in training too."""
    own: float = 0.0
    """Passes of its own for each test image."""
    training: float = 0.0
    """Passes of its own for each auxiliary image in a whole training."""
    stored: float = 0.0
    """MB of features that are stored for each auxiliary image."""


WORK = {
    "clip": Work(),
    "clip_ac": Work(),
    "coop": Work(),
    "winclip": Work(shares=False, own=0.45),  # 0.6 TFLOP of windows
    "anomalyclip": Work(stored=4.2),
    "faprompt": Work(own=0.06, training=2.6, stored=4.2),  # 11 prompts for each image; 15 epochs, forward and backward
    "mrad_clip": Work(stored=9.8),
    "april_gan": Work(shares=False, own=1, training=1, stored=22),
    # Two passes and 48 prompts; 5 epochs, of which the second pass and the prompts are also run backward.
    "adaclip": Work(shares=False, own=2.2, training=24),
    "aa_clip": Work(shares=False, own=1, training=50),  # 5 epochs of the frozen tower, 15 forward and backward
}
"""By the name of the method; one that is not named shares the pass."""
MOSAICS = Work(shares=False, own=1, training=3)
"""Of APRIL-GAN where MVTec AD is trained on: three epochs of mosaics, which are encoded anew."""


def work_of(method: str, auxiliary: Sequence[str] = ()) -> Work:
    """Return what a method asks of the machine.

    Args:
        method: Its name.
        auxiliary: The datasets on which it trains.
    """
    return MOSAICS if method == "april_gan" and "mvtec" in auxiliary else WORK.get(method, Work())


@dataclass(frozen=True)
class Cost:
    """What a recipe will cost if nothing of it is done."""

    images: int
    """Test images."""
    auxiliary_images: int
    trainings: int
    passes: float
    archives: int
    """Bytes of the archives of missing datasets whose size is known."""
    unknown: tuple[str, ...]
    """Titles of missing datasets whose size is not known."""
    weights: int
    """Bytes of weights to be downloaded."""
    features: float
    """GB of stored features, at most."""
    through_towers: tuple[str, ...]
    """Titles of the methods that are trained through a tower."""

    @property
    def gpu_hours(self) -> float:
        """On `GPU`."""
        return (self.passes / GPU_PASSES + self.trainings * TRAINING_SECONDS) / 3600

    @property
    def cpu_hours(self) -> float:
        """Of the vision tower alone, on two cores."""
        return self.passes * CPU_SECONDS / 3600


def images_of(card: Card) -> int:
    """Return the published number of test images."""
    return sum((each.normal or 0) + (each.anomalous or 0) for each in card.classes)


def cost_of(recipe: Recipe, runs: Sequence[Run], needs: Needs) -> Cost:
    """Return what a recipe will cost, on the datasets that are there, or on all where none is."""
    images = sum(map(images_of, needs.targets))
    variants = {(run.method.name, repr(training_options(run.options))) for run in runs}  # other prompts, another pass
    works = [work_of(name) for name, _ in variants]
    passes = images * (any(each.shares for each in works) + sum(each.own for each in works))
    trained = [each for each in needs.learned if not each.imported]
    trainings, features, encoded, towers = 0, 0.0, set(), []
    for each in trained:
        work, times = work_of(each.method.name, each.auxiliary), each.trainings * len(recipe.seeds)
        count = _images_of_all(each.auxiliary)
        trainings += times
        passes += count * work.training * times
        features += count * work.stored / 1000
        encoded |= {each.auxiliary} if work.shares else set()
        towers += [each.method.title] if work.training > MOSAICS.training else []
    passes += sum(map(_images_of_all, encoded))
    sizes = {need.card.title: _archive_size(need.card) for need in needs.missing}
    return Cost(
        images=images,
        auxiliary_images=_images_of_all({name for each in trained for name in each.auxiliary}),
        trainings=trainings,
        passes=passes,
        archives=sum(size or 0 for size in sizes.values()),
        unknown=tuple(title for title, size in sizes.items() if size is None),
        weights=sum(each.size or 0 for each in needs.weights if not each.there),
        features=features,
        through_towers=tuple(dict.fromkeys(towers)),
    )


def _images_of_all(names: Iterable[str]) -> int:
    return sum(images_of(load_cards()[name]) for name in names)


def _archive_size(card: Card) -> int | None:
    sizes = [each.size for each in card.download.archives] if card.download else []
    return sum(size or 0 for size in sizes) if sizes and all(sizes) else None
