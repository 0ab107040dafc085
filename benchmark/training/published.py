"""Import of checkpoints that the methods' published code has written."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.clip import read_entries
from benchmark.common import file_sha256, listed
from benchmark.contract import Learner, Method, training_options
from benchmark.data import Card
from benchmark.protocol import Protocol
from benchmark.records import (
    BackboneId,
    CheckpointError,
    DataId,
    TrainingId,
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from benchmark.registry import all_methods, changed_options
from benchmark.training.towers import variant_of

if TYPE_CHECKING:
    from torch import Tensor


def import_checkpoint(
    files: Sequence[Path],
    method: type[Method],
    *,
    auxiliaries: Sequence[Card],
    backbone: BackboneId,
    protocol: Protocol,
    results: Path,
    stated: Mapping[str, Any] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Import a published checkpoint into a results directory.

    It can be run with any values of the options that neither its tensors nor `stated` fix.

    Args:
        files: The files of the published code that hold the checkpoint, in any order. Only tensors are read from them.
        method: Method that the checkpoint belongs to.
        auxiliaries: Cards of the datasets that it was trained on, according to its authors.
        backbone: Backbone that it was trained with, in the variant that the method asks for.
        protocol: Protocol under which it will be used.
        results: The results directory.
        stated: Options that it was trained with, which its tensors do not tell.

    Returns:
        The JSON file of the new checkpoint, and the options of the checkpoint that differ from the defaults.

    Raises:
        CheckpointError: If the method has no published checkpoints, if the files are not one of them or are known to
            have been trained on other data, or if `stated` contradicts it or names an option that has nothing to do
            with training.
        BackboneError: If a file cannot be read without unpickling.
    """
    if not issubclass(method, Learner):
        raise CheckpointError(f"{method.name} learns nothing, so it has no checkpoints")
    files = sorted(files, key=lambda file: (file.name, file))
    for file in files:
        if file.suffix == ".json" and file.is_file():
            read_checkpoint(file)
            way = f"use it by `bench run --checkpoint {shlex.quote(str(file))}`"
            raise CheckpointError(f"{file}: imported already; {way}")
        if sum(file.resolve() == other.resolve() for other in files) > 1:
            raise CheckpointError(f"{file}: named twice")
    tried: list[Mapping[str, Tensor]] = []

    def suits(found: Mapping[str, "Tensor"]) -> bool:
        tried.append(found)
        return not isinstance(_misfit(method, found), KeyError)  # entries of other shapes are told of below

    state = read_entries(files, suits=suits)
    hashes = {file: file_sha256(file) for file in files}
    _require_source(method, hashes, {card.name for card in auxiliaries})
    named = " and ".join(map(str, files))
    try:
        values, learned = method.import_state(state)
    except NotImplementedError:
        raise CheckpointError(f"{method.name} does not say how to read its published checkpoints") from None
    except KeyError as error:
        raise CheckpointError(
            f"{named}: no checkpoint of {method.title}: it has no entry {error}, but {listed(list(state), 5)}; "
            "name all files of one checkpoint, with the names that its code gives them"
            f"{_readers([*tried, state])}"
        ) from None
    except (ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:  # tensors of other shapes
        raise CheckpointError(f"{named}: no checkpoint of {method.title}: {error}{_readers([state])}") from error
    learning = training_options(method.Options(**values))
    for name, value in (stated or {}).items():
        if name not in learning:
            raise CheckpointError(f"--set {method.name}.{name}: it changes no training; say it to `bench run` instead")
        if values.get(name, value) != value:
            raise CheckpointError(f"--set {method.name}.{name}={value}: the tensors of {named} say {values[name]}")
    known = {name: value for name, value in {**values, **(stated or {})}.items() if name in learning}
    identity = TrainingId(
        method=method.name,
        method_version=method.version,
        options=known,
        changed=known,
        auxiliary=DataId(
            name="+".join(card.name for card in auxiliaries),
            card_version=max(card.version for card in auxiliaries),
            layout="published",
            fingerprint=_fingerprint(list(hashes.values())),
        ),
        seed=0,
        backbone=backbone.variant(variant_of(method, method.Options(**known)), protocol),
        protocol=protocol,
    )
    path = checkpoint_path(results, identity)
    write_checkpoint(
        path, learned, training=identity, origin="imported", source=" and ".join(file.name for file in files)
    )
    return path, changed_options(method.Options(**known))


def _require_source(method: type[Learner], hashes: Mapping[Path, str], auxiliaries: set[str]) -> None:
    """Raise an error if files are known, by their sha256, to be another method's, or trained on other data."""
    for file, sha256 in hashes.items():
        others = [] if sha256 in method.published else [each for each in _learners() if sha256 in each.published]
        if others:
            titles, names = (" or ".join(each) for each in zip(*((o.title, o.name) for o in others), strict=True))
            raise CheckpointError(f"{file}: by its sha256 a checkpoint of {titles}; say --method {names}")
    known = {file: method.published[sha256] for file, sha256 in hashes.items() if sha256 in method.published}
    for file, trained_on in known.items():
        first, same = next(iter(known.items()))
        if set(trained_on) != set(same):
            raise CheckpointError(
                f"{first} and {file}: by their sha256 their authors trained them on different data, {','.join(same)} "
                f"and {','.join(trained_on)}; name the files of one checkpoint"
            )
    for file, trained_on in known.items():
        if set(trained_on) != auxiliaries:
            raise CheckpointError(
                f"{file}: by its sha256 its authors trained it on other data; say --auxiliary {','.join(trained_on)}"
            )


def _fingerprint(hashes: Sequence[str]) -> str:
    """Return what stands for the content of all files, in whatever order; of one file it is the file's sha256."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _misfit(method: type[Learner], state: Mapping[str, "Tensor"]) -> Exception | None:
    """Return why a state dict is no published checkpoint of a method; None if it is one."""
    try:
        method.Options(**method.import_state(state)[0])
    except Exception as error:  # tensors of other methods may have any names and shapes
        return error
    return None


def _readers(states: Sequence[Mapping[str, "Tensor"]]) -> str:
    """Return in words which methods read state dicts of the same files; nothing if none does.

    Those that leave a tensor out do not count: a part of a checkpoint may be all that another method has.
    """
    most = max(map(len, states))
    whole = [state for state in states if len(state) == most]
    names = [each.name for each in _learners() if any(_misfit(each, state) is None for state in whole)]
    return f"; --method {' or '.join(names)} can read it" if names else ""


def _learners() -> list[type[Learner]]:
    return [each for each in all_methods().values() if issubclass(each, Learner)]
