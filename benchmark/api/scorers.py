"""Methods that score images of no dataset, with all that they need."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.computing import identify
from benchmark.api.requests import number_type
from benchmark.clip import MINI_BACKBONE
from benchmark.common import RESULTS, Dtype, tell
from benchmark.errors import BenchError

if TYPE_CHECKING:
    from benchmark.clip import Backbone, WeightsSource
    from benchmark.contract import Method
    from benchmark.data import ImageInMemory, Ranges
    from benchmark.predict import Scorer
    from benchmark.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """With what weights and reference images methods score images."""

    backbone: str = MINI_BACKBONE
    """As `--backbone` spells it. The default is part of the package and was trained on generated images."""
    checkpoints: Sequence[Path] = ()
    """Of methods that learn; by default one in the results folder that fits, else the package's own."""
    shots: Path | None = None
    """Folder of normal images that k-shot methods are shown first."""
    device: str = ""
    """Empty for the best that is there."""
    dtype: Dtype = "auto"
    results: Path = RESULTS
    follow_links: bool = False
    """Whether links that lead out of the folder of reference images are followed."""


@dataclass(frozen=True)
class Found:
    """Methods that are found with all that they need, before the backbone is loaded."""

    scorers: "tuple[Scorer, ...]"
    source: "WeightsSource"
    scoring: Scoring
    protocol: "Protocol"

    def looking_at(
        self, images: "Sequence[Path | ImageInMemory]", class_name: str, ranges: "Ranges | None" = None
    ) -> "Found":
        """Return them for images of a class, and tell what a user must know of these images.

        That is which of them a method was trained on, and how those of more than 8 bits are read.

        Args:
            images: The images.
            class_name: What they show.
            ranges: Black and white of images of more than 8 bits, as far as they are known; the rest is found.
        """
        from benchmark.training import seen_images

        files = [image for image in images if isinstance(image, Path)]
        for scorer in self.scorers:
            if scorer.learned and (seen := seen_images(scorer.learned, files, "images")):
                tell(f"note: {scorer.kind.title} was trained on {len(seen)} of these images, such as {seen[0]}")
        shown = [path for scorer in self.scorers for path in scorer.references]
        found = _find_ranges([*images, *shown], ranges)
        return replace(self, scorers=tuple(scorer.of(class_name, found) for scorer in self.scorers))

    def load(self) -> "Backbone":
        """Return the backbone of the methods."""
        from benchmark.clip import load_backbone, pick_device
        from benchmark.common import feature_cache

        return load_backbone(
            self.source,
            dtype=number_type(self.scoring.dtype),
            device=pick_device(self.scoring.device),
            pos_interp=self.protocol.pos_interp,
            cache=feature_cache(),
        )


def find_scorers(methods: Sequence[str], options: "Mapping[str, Mapping[str, Any]]", scoring: Scoring) -> Found:
    """Find what the named methods need to score images of no dataset.

    Args:
        methods: Names of methods.
        options: Values of options, as in `select_methods`.
        scoring: Weights and reference images.

    Raises:
        BenchError: A name or an option is wrong or has no effect, or a method cannot score single images, needs a
            checkpoint or reference images that are not there.
    """
    from benchmark.api.selection import select_methods
    from benchmark.clip import parse_backbone
    from benchmark.contract import Learner
    from benchmark.predict import draw_references, normal_images, scorer_of, with_shots
    from benchmark.training import choose_checkpoint, variant_of

    chosen, protocol = select_methods(methods, options)
    for name in ("mask_gt0", "raw_class_names"):
        if getattr(protocol, name):
            raise BenchError(f"--set protocol.{name}: has no effect here; leave it out")
    available: dict[str, Path] = {}
    if scoring.shots is not None:
        available, left_out = normal_images(scoring.shots, follow_links=scoring.follow_links)
        for line in left_out:
            tell(f"note: --shots: {line}")
    source = parse_backbone(scoring.backbone)
    identity = identify(source, dtype=number_type(scoring.dtype))
    given = _by_method(scoring.checkpoints, [kind for kind, _ in chosen])
    scorers = []
    for kind, asked in chosen:
        values, references, learned = asked, None, None
        if scoring.shots is not None:
            values = with_shots(kind, asked, len(available), scoring.shots)
        if kind.scores_whole_class(values):
            raise BenchError(
                f"{kind.title}: its image scores depend on all test images of a class, so it cannot score images of no "
                f"dataset; {_single_scores(kind, values)}"
            )
        if count := kind.shots(values):
            if scoring.shots is None:
                raise BenchError(f"{kind.title} is to be shown {count} normal images; name their folder by --shots DIR")
            references = draw_references(available, count, scoring.shots)
        own = identity.variant(variant_of(kind, values), protocol)
        if issubclass(kind, Learner):
            path = given.get(kind.name)
            learned = choose_checkpoint(kind, values, own, given=path, results=scoring.results)
        scorers.append(scorer_of(kind, values, protocol=protocol, backbone=own, learned=learned, references=references))
    if scoring.shots is not None and not any(scorer.references for scorer in scorers):
        raise BenchError(
            f"--shots: {', '.join(kind.title for kind, _ in chosen)} looks at no normal images; leave it out"
        )
    return Found(tuple(scorers), source, scoring, protocol)


def _single_scores(kind: "type[Method]", options: Any) -> str:
    """Return what to say in place of options by which a method scores whole classes."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, bool):
            with suppress(Exception):  # a method may refuse the other value
                if not kind.scores_whole_class(dataclasses.replace(options, **{field.name: not value})):
                    return f"say --set {kind.name}.{field.name}={str(not value).lower()}"
    return "choose another method"


def _find_ranges(images: "Sequence[Path | ImageInMemory]", known: "Ranges | None") -> "Ranges":
    """Return black and white of images of more than 8 bits: those that are known, else those that hold these images."""
    from benchmark.data import Ranges, find_extremes

    files = [image for image in images if isinstance(image, Path)]
    by_name = {str(path): each for path, each in find_extremes(files, "looking for the range of the images").items()}
    by_name |= {image.name: image.extremes for image in images if not isinstance(image, Path) and image.extremes}
    found, known = Ranges.holding(by_name.values()), known or Ranges()
    used = Ranges(known.integers or found.integers, known.floats or found.floats)
    if found:
        tell(used.told)
    for ours, theirs in ((used.integers, found.integers), (used.floats, found.floats)):
        if ours and theirs and theirs.high > ours.high:
            tell(f"note: some images need white at {theirs.high:.15g}; what is above {ours.high:.15g} is cut off")
    if black := used.turned_black(by_name):
        tell(f"note: {black}")
    return used


def _by_method(checkpoints: Sequence[Path], methods: "Sequence[type[Method]]") -> dict[str, Path]:
    """Return the checkpoints that are given by the method that each is of."""
    from benchmark.contract import Learner
    from benchmark.records import read_checkpoint

    learners = [method.name for method in methods if issubclass(method, Learner)]
    if checkpoints and not learners:
        raise BenchError(f"{', '.join(method.title for method in methods)} learns nothing; leave out --checkpoint")
    found: dict[str, Path] = {}
    for path in checkpoints:
        method = read_checkpoint(path).training.method
        if method not in learners:
            raise BenchError(f"--checkpoint {path}: it is of {method}, and this command runs {', '.join(learners)}")
        if method in found:
            raise BenchError(f"--checkpoint {path}: it is of {method}, as is {found[method]}; leave one out")
        found[method] = path
    return found
