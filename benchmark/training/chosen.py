"""Which checkpoint a method that learns uses for data that no training was made for."""

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmark.common import RESULTS, RULE
from benchmark.contract import Learner
from benchmark.data import digests
from benchmark.protocol import AUXILIARIES
from benchmark.records import SEEN_LENGTH, BackboneId, Checkpoint, CheckpointError, misfit, read_checkpoint

SHIPPED = Path(__file__).parents[1] / "mini" / "checkpoints"
"""Checkpoints that ship with the package: methods trained with default options on the mini suite and mini CLIP."""


def choose_checkpoint(
    method: type[Learner],
    options: Any,
    backbone: BackboneId,
    *,
    given: Path | None,
    results: Path,
    usable_for: Callable[[Checkpoint], bool] = lambda checkpoint: True,
) -> tuple[Path, Checkpoint]:
    """Return the checkpoint to predict with: the given one, else one in `results`, else the one that ships along.

    A checkpoint fits if it was made with the same version of the method, the same training options and the same
    backbone. Among several in `results`, the protocol's auxiliary dataset is preferred, then the lowest seed.

    Args:
        method: The method's class.
        options: Instance of its `Options`.
        backbone: The backbone of the prediction.
        given: JSON file of the checkpoint that the user names, or None.
        results: The results folder.
        usable_for: Says whether a checkpoint may be used, as on images that it was not trained on.

    Returns:
        The JSON file of the checkpoint and its content.

    Raises:
        CheckpointError: If the given checkpoint cannot be read or does not fit, or if there is none that fits.
    """
    if given is not None:
        checkpoint = read_checkpoint(given)
        if reason := misfit(checkpoint.training, method, options, backbone):
            raise CheckpointError(f"{given}: {reason}")
        return given, checkpoint
    usable: list[tuple[Path, Checkpoint]] = []
    reasons: list[str] = []
    kept = sorted((results / "checkpoints").glob(f"{method.name}--*.json"))
    for path in [*kept, SHIPPED / f"{method.name}.json"]:
        if path.parent == SHIPPED and (usable or not path.exists()):
            continue
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        reason = misfit(checkpoint.training, method, options, backbone)
        if not reason and not usable_for(checkpoint):
            reason = f"trained on these images, of {checkpoint.source}"
        if reason:
            reasons.append(f"{path}: {reason}")
        else:
            usable.append((path, checkpoint))
    if not usable:
        last = "".join(f"\n  does not fit: {reason}" for reason in reasons[-3:])
        start, file, _ = backbone.name.partition("=")  # the name of a file is without its folder
        typed = f"--backbone {start}=FILE" if file else f"--backbone {backbone.name}"
        if results.absolute() != RESULTS.absolute():  # where both look and write if nothing is said
            typed += f" --results {shlex.quote(str(results))}"
        ways = [f"make one by `bench train --methods {method.name} {typed} --data DIR`"]
        if method.import_state.__func__ is not Learner.import_state.__func__:  # type: ignore[attr-defined]
            ways.append(f"by `bench import-checkpoint FILE… --method {method.name} --auxiliary NAME {typed}`")
        raise CheckpointError(
            f"{method.title} learns, and there is no checkpoint for these options and the backbone {backbone.name}, "
            f"neither in {results / 'checkpoints'} nor along with the benchmark; {', or '.join(ways)}, or name yours "
            f"by --checkpoint FILE.json{last}"
        )
    return min(usable, key=_preference)


def seen_images(checkpoint: Checkpoint, paths: Iterable[Path], title: str) -> list[Path]:
    """Return the images that a checkpoint was trained on, by the content of their files; none where it does not say.

    Args:
        checkpoint: What learned.
        paths: The images.
        title: What they are, for the progress that is shown where it takes long.
    """
    if not checkpoint.seen:
        return []
    seen = set(checkpoint.seen)
    return [path for path, digest in digests(paths, title).items() if digest and digest[:SEEN_LENGTH] in seen]


def _preference(found: tuple[Path, Checkpoint]) -> tuple[bool, int, str]:
    known = found[1].training
    return known.auxiliary.name not in AUXILIARIES[RULE][0], known.seed, found[0].name
