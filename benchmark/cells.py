"""Cells: the units of work, by all that can change their numbers."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmark.metrics import METRICS_VERSION
from benchmark.protocol import Protocol
from benchmark.weights import WeightsSource, weights_sha256


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataId(_Model):
    """Which images, labels and masks."""

    name: str
    card_version: int
    layout: str
    fingerprint: str
    """Of the list of test samples with their labels, prompt names, masks and file sizes."""


class BackboneId(_Model):
    """Which frozen CLIP."""

    name: str
    architecture: str
    sha256: str
    dtype: str
    synthetic: bool


class TrainingId(_Model):
    """All that can change what a method learns."""

    method: str
    method_version: int
    options: dict[str, Any]
    """Those that change what is learned."""
    auxiliary: DataId
    seed: int
    backbone: BackboneId
    protocol: Protocol

    @property
    def id(self) -> str:
        """Stable name, also of its checkpoint's files, made as that of a cell."""
        return f"{self.method}--{self.auxiliary.name}--s{self.seed}--{_digest(self)}"


class Cell(_Model):
    """All that can change a number: a method with its options, data, seed, backbone and protocol."""

    method: str
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

    @property
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
