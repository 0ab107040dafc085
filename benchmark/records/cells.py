"""Cells: the units of work, by all that can change their numbers."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import StringConstraints

from benchmark.clip import WeightsSource, weights_sha256
from benchmark.common import Model
from benchmark.metrics import METRICS_VERSION
from benchmark.protocol import Protocol

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$")]
"""Of a method or a dataset; it becomes part of file names."""


class _Identity(Model):
    """What has an id, made of all its fields and kept."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)  # pydantic copies what is kept too
        return copied


class DataId(Model):
    """Which images, labels and masks."""

    name: Name
    card_version: int
    layout: str
    fingerprint: str
    """Of the list of test samples with their labels, prompt names, masks and file sizes."""


class BackboneId(Model):
    """Which frozen CLIP."""

    name: str
    architecture: str
    sha256: str
    dtype: str
    synthetic: bool


class TrainingId(_Identity):
    """All that can change what a method learns."""

    method: Name
    method_version: int
    options: dict[str, Any]
    """Those that change what is learned."""
    auxiliary: DataId
    seed: int
    backbone: BackboneId
    protocol: Protocol

    @cached_property
    def id(self) -> str:
        """Stable name, also of its checkpoint's files, made as that of a cell."""
        return f"{self.method}--{self.auxiliary.name}--s{self.seed}--{_digest(self)}"


class Cell(_Identity):
    """All that can change a number: a method with its options, data, seed, backbone and protocol."""

    method: Name
    method_version: int
    options: dict[str, Any]
    dataset: DataId
    auxiliary: DataId | None = None
    """What the method was trained on."""
    checkpoint: str | None = None
    """The sha256 of a checkpoint that was given, not trained by the run."""
    references: dict[str, tuple[str, ...]] | None = None
    """Keys of the normal training images that the method is shown, by class; null where it is zero-shot."""
    seed: int
    backbone: BackboneId
    protocol: Protocol
    metrics_version: int = METRICS_VERSION

    @cached_property
    def id(self) -> str:
        """Stable name, also of its record's file: readable, then a hash of everything in the cell.

        The backbone counts by its sha256, so the same weights under another file name are the same cell.
        """
        return f"{self.method}--{self.dataset.name}--s{self.seed}--{_digest(self)}"


def _digest(identity: Cell | TrainingId) -> str:
    content = identity.model_dump(mode="json", exclude={"backbone": {"name"}})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def backbone_id(source: WeightsSource, *, dtype: str) -> BackboneId:
    """Return what identifies a backbone, without loading it.

    Raises:
        BackboneError: the weight file cannot be had.
    """
    return BackboneId(
        name=source.name,
        architecture=source.architecture,
        sha256=weights_sha256(source),
        dtype=dtype,
        synthetic=source.synthetic,
    )
