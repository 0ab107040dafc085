"""Checkpoints: a file with the tensors that a method learned, and beside it a JSON file that says from what."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from benchmark.common import (
    JSON_LIMIT,
    Model,
    file_sha256,
    read_limited,
    require_regular,
    validation_problems,
    what_is_it,
    write_whole,
)
from benchmark.contract import Learner, training_options
from benchmark.errors import BenchError
from benchmark.records.cells import UNKNOWN_SHA256, BackboneId, TrainingId, misnamed
from benchmark.records.provenance import Provenance

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, PARTIAL = ".safetensors", ".partial.safetensors"


class CheckpointError(BenchError):
    """A checkpoint cannot be read, written or used. The message names the file and says what to do."""


SEEN_LENGTH = 16
"""Digits that a checkpoint keeps of the sha256 of each image it was trained on."""


class Checkpoint(Model):
    """The content of the JSON file of a checkpoint."""

    schema_version: Literal[1] = 1
    training: TrainingId
    origin: Literal["trained", "imported"]
    source: str
    """Title of the auxiliary dataset, or the name of the imported file."""
    sha256: str
    """The sha256 of the tensors' file."""
    synthetic: bool = False
    """Whether it was trained on generated images."""
    images: int | None = None
    """Number of auxiliary images; None where it is unknown."""
    skipped: tuple[str, ...] = ()
    """Keys of the auxiliary images that could not be read and were left out."""
    seen: tuple[str, ...] = ()
    """The beginnings of the sha256 of the auxiliary images' files; empty where they are unknown."""
    curve: tuple[dict[str, float], ...] = ()
    """The mean of each term of the loss, one entry per epoch."""
    seconds: float | None = None
    """Wall time of the training in seconds, without the encoding of stored features. A resumed training counts its last
    run alone."""
    made: Provenance | None = None
    """Where and by what code it was trained; null of an imported checkpoint."""


def checkpoint_path(results: Path, training: TrainingId) -> Path:
    """Return the path of the JSON file of a training's checkpoint."""
    return results / "checkpoints" / f"{training.id}.json"


def is_trained(results: Path, training: TrainingId) -> bool:
    """Return whether a complete checkpoint of the training exists.

    Raises:
        CheckpointError: It was made with a default that has been changed since.
    """
    path = checkpoint_path(results, training)
    try:
        known = read_checkpoint(path).training if path.exists() else None
    except CheckpointError:
        return False
    if known is None or known.id != training.id:
        return False
    if changed := misnamed(known, training):
        raise CheckpointError(
            f"{path} was made with {', '.join(changed)}: a default was changed without a new version of "
            f"{training.method}; raise its `version`, or train again with --force"
        )
    return True


def write_checkpoint(path: Path, state: Mapping[str, "Tensor"], **known: Any) -> Checkpoint:
    """Write a checkpoint: the tensors first, so that a JSON file never describes tensors that do not exist.

    Raises:
        CheckpointError: The disk is full, or the directory cannot be written.
    """
    content = tensors_to_bytes(state)
    checkpoint = Checkpoint(sha256=hashlib.sha256(content).hexdigest(), **known)
    text = json.dumps(checkpoint.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    try:
        write_whole(path.with_suffix(TENSORS), content)
        write_whole(path, text + "\n")
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    return checkpoint


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the JSON file of a checkpoint and check that the tensors' file has the sha256 that it states.

    Raises:
        CheckpointError: A file is missing or cannot be read, or the tensors are others.
    """
    try:
        checkpoint = Checkpoint.model_validate_json(read_limited(path, JSON_LIMIT))
        require_regular(path.with_suffix(TENSORS))
        found = file_sha256(path.with_suffix(TENSORS))
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{path}: {_unreadable(path, error)}") from None
    if found != checkpoint.sha256:
        raise CheckpointError(
            f"{path.with_suffix(TENSORS)}: not the tensors that {path.name} describes; delete both to train again"
        )
    return checkpoint


def _unreadable(path: Path, error: OSError | ValidationError) -> str:
    """Return why a file is not the JSON file of a checkpoint, and what to do."""
    what, beside = what_is_it(path) if isinstance(error, ValidationError) else None, path.with_suffix(".json")
    if path.suffix != ".json" and beside.is_file():
        return f"not the JSON file of a checkpoint; name {beside.name}, which lies beside it"
    if path.suffix != ".json" and isinstance(error, ValidationError) and (what is None or "safetensors" in what):
        return (
            "not the JSON file of a checkpoint; import what published code has written by "
            f"`bench import-checkpoint {shlex.quote(str(path))} --auxiliary NAME`, which prints the file to name"
        )
    if what and "JSON" not in what:
        return f"not the JSON file of a checkpoint, but {what}"
    if path.is_dir():
        return "a folder; name a .json file in it"
    if not path.exists():
        return "no such file; `bench train` and `bench import-checkpoint` print the files of checkpoints"
    reason = validation_problems(error)[0] if isinstance(error, ValidationError) else error
    return f"not a readable checkpoint ({reason}); name another, or delete it to train again"


def misfit(known: TrainingId, method: type[Learner], options: Any, backbone: BackboneId) -> str:
    """Return why a checkpoint does not fit a method with these options and its backbone; "" where it fits."""
    if known.method != method.name:
        return f"a checkpoint of {known.method}, not of {method.name}"
    if known.method_version != method.version:
        return (
            f"made by version {known.method_version} of {method.title}, which is now {method.version}; train it again, "
            "or import it again"
        )
    to_be_seen = backbone.sha256 == UNKNOWN_SHA256 and known.backbone.name == backbone.name
    if known.backbone.sha256 != backbone.sha256 and not to_be_seen:
        names = [each.name for each in (known.backbone, backbone)]
        if names[0] == names[1]:  # files of one name
            names = [f"{each.name} of sha256 {each.sha256[:12]}…" for each in (known.backbone, backbone)]
        return f"made with the backbone {names[0]}, not {names[1]}"
    ours = json.loads(json.dumps(training_options(options)))  # as they were written: tuples are lists
    if different := {key: value for key, value in known.options.items() if ours.get(key) != value}:
        return f"made with other options; to use it say {as_settings(known.method, different)}"
    if known.backbone.plain_gelu != backbone.plain_gelu:  # an imported checkpoint does not say all its options
        runs = f"with these options {method.title} runs {backbone.title}"
        return f"made with {known.backbone.title}, and {runs}; give the options of the checkpoint"
    return ""


def as_settings(method: str, options: Mapping[str, Any]) -> str:
    """Return options of a method as they are typed to a shell."""
    texts = (f"{method}.{key}={json.dumps(value, separators=(',', ':'))}" for key, value in options.items())
    return " ".join(f"--set {shlex.quote(text)}" for text in texts)


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Return the tensors of the checkpoint whose JSON file is `path`.

    Raises:
        CheckpointError: The tensors' file cannot be read.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path.with_suffix(TENSORS))
    except Exception as error:  # safetensors raises a type of its own
        raise CheckpointError(f"{path.with_suffix(TENSORS)}: {error}; delete it to train again") from error


def tensors_to_bytes(state: Mapping[str, "Tensor"], metadata: dict[str, str] | None = None) -> bytes:
    """Return the content of a safetensors file."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, metadata)
