"""Cells: the units of work. The id of a cell is a hash of everything that can change its numbers."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import StringConstraints

from benchmark.clip import OPENAI_MEAN, OPENAI_STD, WeightsSource, pretraining, weights_sha256
from benchmark.common import Model
from benchmark.metrics import METRICS_VERSION
from benchmark.protocol import Protocol

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$")]
"""Name of a method or a dataset; it becomes part of file names."""


class _Identity(Model):
    """A model with an `id` that is computed from all its fields and cached."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)  # pydantic copies the cached id too
        return copied


class DataId(Model):
    """What identifies the images, labels and masks of a dataset."""

    name: Name
    card_version: int
    layout: str
    fingerprint: str
    """The sha256 of the list of test samples with their labels, prompt names, masks and file sizes."""


class BackboneId(Model):
    """What identifies a frozen CLIP."""

    name: str
    architecture: str
    sha256: str
    dtype: str
    synthetic: bool
    mean: tuple[float, ...] = OPENAI_MEAN
    """Mean of red, green and blue by which images are normalised."""
    std: tuple[float, ...] = OPENAI_STD
    """Standard deviation of red, green and blue by which images are normalised."""


class TrainingId(_Identity):
    """Everything that can change what a method learns."""

    method: Name
    method_version: int
    options: dict[str, Any]
    """The options that change what is learned."""
    auxiliary: DataId
    seed: int
    backbone: BackboneId
    protocol: Protocol

    @cached_property
    def id(self) -> str:
        """The stable name of the training and of its checkpoint's files, made like the id of a cell."""
        return f"{self.method}--{self.auxiliary.name}--s{self.seed}--{_digest(self)}"


class Cell(_Identity):
    """Everything that can change a number: a method with its options, data, seed, backbone and protocol."""

    method: Name
    method_version: int
    options: dict[str, Any]
    dataset: DataId
    auxiliary: DataId | None = None
    """The dataset on which the method was trained."""
    checkpoint: str | None = None
    """The sha256 of a checkpoint that was given by `--checkpoint` in place of a training."""
    references: dict[str, tuple[str, ...]] | None = None
    """Keys of the normal training images that a k-shot method sees, by class; None for a zero-shot method."""
    seed: int
    backbone: BackboneId
    protocol: Protocol
    metrics_version: int = METRICS_VERSION

    @cached_property
    def id(self) -> str:
        """The stable name of the cell and of its record's file: a readable part, then a hash of all fields.

        The hash leaves out the name of the backbone, so that the same weights under another file name give the same id.
        """
        return f"{self.method}--{self.dataset.name}--s{self.seed}--{_digest(self)}"


def _digest(identity: Cell | TrainingId) -> str:
    content = identity.model_dump(mode="json", exclude={"backbone": {"name"}})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def backbone_id(source: WeightsSource, *, dtype: str) -> BackboneId:
    """Return what identifies a backbone, without loading the backbone.

    Raises:
        BackboneError: The weight file is missing and cannot be downloaded, or does not suit the architecture.
    """
    known = pretraining(source)
    return BackboneId(
        name=source.name,
        architecture=source.architecture,
        sha256=weights_sha256(source),
        dtype=dtype,
        synthetic=source.synthetic,
        mean=known.mean,
        std=known.std,
    )
