"""Cells: the units of work. The id of a cell is a hash of everything that can change its numbers.

Options, quirks of the protocol and what else has a default are hashed where they differ from it. So a new option whose
default changes nothing leaves all ids as they are. A default itself is never changed without a new version of the
method: `misnamed` finds results that were made with another one.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints

from benchmark.clip import (
    OPENAI_MEAN,
    OPENAI_STD,
    BackboneVariant,
    PosInterp,
    WeightsSource,
    builds_quick_gelu,
    pretraining,
    sha256_beforehand,
    weights_sha256,
)
from benchmark.common import Model
from benchmark.data import SUBSET
from benchmark.metrics import METRICS_VERSION
from benchmark.protocol import Protocol

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$")]
"""Name of a method; it becomes part of file names."""
DataName = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*(\+\w[\w-]*)*$")]
"""Name of a dataset, or of several with `+` between them; it becomes part of file names."""


class DataId(Model):
    """What identifies the images, labels and masks of a dataset, or of several that are trained on together."""

    name: DataName
    card_version: int
    layout: str
    fingerprint: str
    """The sha256 of the test samples: names, labels, masks, and the content of the files."""

    @property
    def card_name(self) -> str:
        """Name of the dataset's card, also of a part of a dataset."""
        return self.name.removesuffix(SUBSET)


UNKNOWN_SHA256 = "unknown"
"""In place of the sha256 of weights of which it is known only after they were downloaded; never in a record."""


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
    plain_gelu: bool = False
    """Whether the method runs it with the exact GELU, though the weights were trained with QuickGELU."""
    pos_interp: PosInterp | None = None
    """How the method resizes positional embeddings, if otherwise than the protocol says."""

    def variant(self, variant: BackboneVariant, protocol: Protocol) -> Self:
        """Return what identifies it as a method runs it under a protocol; where that changes nothing, it is the same.

        Raises:
            BackboneError: The architecture is not known.
        """
        plain_gelu = variant.plain_gelu and builds_quick_gelu(self.architecture)
        pos_interp = None if variant.pos_interp == protocol.pos_interp else variant.pos_interp
        return self.model_copy(update={"plain_gelu": plain_gelu, "pos_interp": pos_interp})

    @property
    def weights(self) -> Self:
        """What identifies the CLIP, however a method runs it."""
        return self.model_copy(update={"plain_gelu": False, "pos_interp": None})

    @property
    def title(self) -> str:
        """The name, and in what a method runs it otherwise, in words."""
        changes = ["exact GELU"] * self.plain_gelu
        if self.pos_interp:
            changes.append(f"{_POSITIONS[self.pos_interp]} positions")
        return f"{self.name} with {' and '.join(changes)}" if changes else self.name


_POSITIONS: dict[PosInterp, str] = {
    "bilinear": "bilinear",
    "bicubic": "antialiased bicubic",
    "bicubic_no_antialias": "bicubic",
}


class _Identity(Model):
    """A model with an `id` that is computed from its fields and cached."""

    method: Name
    method_version: int
    options: dict[str, Any]
    """All options, as they are in force."""
    changed: dict[str, Any] = Field(default_factory=dict)
    """The options that differ from the defaults of this version of the method."""
    seed: int
    backbone: BackboneId
    protocol: Protocol

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)  # pydantic copies the cached id too
        return copied


class TrainingId(_Identity):
    """Everything that can change what a method learns; of the options, those that do.

    Of a checkpoint that was imported, `options` has those that are known.
    """

    auxiliary: DataId

    @cached_property
    def id(self) -> str:
        """The stable name of the training and of its checkpoint's files, made like the id of a cell."""
        return f"{self.method}--{self.auxiliary.name}--s{self.seed}--{_digest(self)}"


class Cell(_Identity):
    """Everything that can change a number: a method with its options, data, seed, backbone and protocol."""

    dataset: DataId
    auxiliary: DataId | None = None
    """The dataset on which the method was trained."""
    checkpoint: str | None = None
    """The sha256 of a checkpoint that was given by `--checkpoint` in place of a training."""
    references: dict[str, tuple[str, ...]] | None = None
    """Keys of the normal training images that a k-shot method sees, by class; None for a zero-shot method."""
    references_sha256: str | None = None
    """Of the content of these images."""
    metrics_version: int = METRICS_VERSION

    @cached_property
    def id(self) -> str:
        """The stable name of the cell and of its record's file: a readable part, then a hash.

        The hash leaves out the name of the backbone, so that the same weights under another file name give the same id.
        """
        return f"{self.method}--{self.dataset.name}--s{self.seed}--{_digest(self, self.metrics_version)}"


def _digest(identity: _Identity, *versions: int) -> str:
    content = identity.model_dump(mode="json", exclude={"options": True, "backbone": {"name"}}, exclude_defaults=True)
    return hashlib.sha256(json.dumps([content, *versions], sort_keys=True).encode()).hexdigest()[:12]


def misnamed(known: _Identity, wanted: _Identity) -> list[str]:
    """Return a line for each value by which two identities of the same id differ: a default was changed.

    Args:
        known: what a file was made for.
        wanted: what is asked for.
    """
    ours, theirs = (_flat(each.model_dump(mode="json", exclude={"backbone": {"name"}})) for each in (wanted, known))
    return [f"{key} {theirs[key]} (now {ours[key]})" for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]


def _flat(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of the options and of the protocol by name, as JSON."""
    return {
        f"{start}{name}": json.dumps(value, sort_keys=True)
        for start, part in (("", "options"), ("protocol.", "protocol"), ("backbone.", "backbone"))
        for name, value in content[part].items()
    }


def backbone_id(source: WeightsSource, *, dtype: str, download: bool = True) -> BackboneId:
    """Return what identifies a backbone, without loading the backbone.

    Args:
        source: Its weights.
        dtype: Number type in which it computes.
        download: Whether weights that are not on this machine are downloaded. If not, the sha256 is the published one,
            or `UNKNOWN_SHA256` where none is published.

    Raises:
        BackboneError: The weight file is missing and cannot be downloaded, or does not suit the architecture.
    """
    known = pretraining(source)
    return BackboneId(
        name=source.name,
        architecture=source.architecture,
        sha256=weights_sha256(source) if download else sha256_beforehand(source) or UNKNOWN_SHA256,
        dtype=dtype,
        synthetic=source.synthetic,
        mean=known.mean,
        std=known.std,
    )
