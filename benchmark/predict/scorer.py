"""A scorer: a method with all that can change its scores. Predictions and calibrations say with which they are made."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmark.clip import Backbone
from benchmark.common import ANY_CLASS, Model, is_out_of_memory, printable
from benchmark.contract import Method
from benchmark.data import ImageError, Preprocess, Ranges, read_image
from benchmark.predict.own_images import PredictError
from benchmark.protocol import Protocol
from benchmark.records import BackboneId, Checkpoint
from benchmark.registry import source_sha256, title_of
from benchmark.training import build_method, tower_of

WeightsKind = Literal["backbone", "checkpoint"]


class CheckpointUsed(Model):
    """The checkpoint that the method predicts with."""

    file: str
    sha256: str
    auxiliary: str
    seed: int
    origin: Literal["trained", "imported"]
    synthetic: bool
    """Whether it was trained on generated images."""

    @classmethod
    def of(cls, path: Path, known: Checkpoint) -> "CheckpointUsed":
        """Return the description of the checkpoint `known`, whose JSON file is `path`."""
        return cls(
            file=path.name,
            sha256=known.sha256,
            auxiliary=known.training.auxiliary.name,
            seed=known.training.seed,
            origin=known.origin,
            synthetic=known.synthetic,
        )


class ReferencesUsed(Model):
    """The normal images that a k-shot method is shown."""

    folder: str
    files: dict[str, str]
    """The sha256 of each image, by its path below the folder."""

    @property
    def sha256(self) -> str:
        """The sha256 of their contents, whatever their names are."""
        return hashlib.sha256(" ".join(sorted(self.files.values())).encode()).hexdigest()


class ScorerId(Model):
    """All that can change a score, and how it is named."""

    method: str
    method_version: int
    source_sha256: str | None
    """Of the files that define the method."""
    title: str
    options: dict[str, Any]
    class_name: str
    protocol: Protocol
    backbone: BackboneId
    checkpoint: CheckpointUsed | None
    references: ReferencesUsed | None = None
    """Null of a zero-shot method."""
    synthetic: tuple[WeightsKind, ...]
    """The weights that are random or were trained on generated images."""
    ranges: Ranges = Ranges()
    """Black and white of images of more than 8 bits. Predictions take those of their calibration."""

    def differences(self, other: "ScorerId") -> list[str]:
        """Return a text for each thing that changes scores and is not the same, with the other's value first."""
        ours, theirs = _flat(self), _flat(other)
        keys = dict.fromkeys([*theirs, *ours])
        return [f"{key} {theirs.get(key)}, not {ours.get(key)}" for key in keys if ours.get(key) != theirs.get(key)]


def _flat(scorer: ScorerId) -> dict[str, Any]:
    """Return what changes scores, by names that a user knows."""
    known = scorer.model_dump(mode="json")  # as it is read from a file: tuples are lists
    return {
        "method": scorer.method,
        "version of the method": scorer.method_version,
        **{f"{scorer.method}.{key}": json.dumps(value) for key, value in known["options"].items()},
        "class": json.dumps(scorer.class_name, ensure_ascii=False),
        **{f"protocol.{key}": json.dumps(value) for key, value in known["protocol"].items()},
        "weights": scorer.backbone.sha256,
        "architecture": scorer.backbone.architecture,
        "dtype": scorer.backbone.dtype,
        "mean": scorer.backbone.mean,
        "std": scorer.backbone.std,
        "exact GELU": scorer.backbone.plain_gelu,
        "positional embeddings": scorer.backbone.pos_interp,
        "checkpoint": scorer.checkpoint and scorer.checkpoint.sha256,
        "reference images": scorer.references and scorer.references.sha256,
    }


@dataclass(frozen=True)
class Scorer:
    """A method that can be made ready to score images."""

    id: ScorerId
    kind: type[Method]
    options: Any
    checkpoint: Path | None = None
    """JSON file of the checkpoint of a method that learns."""
    learned: Checkpoint | None = None
    """What the checkpoint says of itself."""
    references: tuple[Path, ...] = ()
    """Normal images that a k-shot method is shown."""

    @property
    def told(self) -> str:
        """Title, checkpoint and reference images, for messages."""
        told = self.id.title
        if self.id.checkpoint is not None:
            told += (
                f", checkpoint {self.checkpoint} (of {self.id.checkpoint.auxiliary}, seed {self.id.checkpoint.seed})"
            )
        return told + (f", shown {len(self.references)} normal images" if self.references else "")

    def of(self, class_name: str, ranges: Ranges) -> "Scorer":
        """Return the scorer for images of a class.

        Args:
            class_name: Class of all images, as it appears in prompts.
            ranges: Black and white of images of more than 8 bits.
        """
        return replace(self, id=self.id.model_copy(update={"class_name": printable(class_name), "ranges": ranges}))

    def build(self, backbone: Backbone) -> Method:
        """Return the method with what it learned and after it has seen its reference images.

        Raises:
            CheckpointError: The checkpoint cannot be read or does not fit.
            PredictError: A reference image cannot be read any more, or the memory does not suffice for all of them.
        """
        backbone = tower_of(self.kind, backbone, self.options)
        seed = self.id.checkpoint.seed if self.id.checkpoint else 0
        method = build_method(self.kind, backbone, self.options, seed=seed, checkpoint=self.checkpoint)
        if self.references:
            self._show_references(method, backbone)
        return method

    def _show_references(self, method: Method, backbone: Backbone) -> None:
        spec = method.vision()
        preprocess = Preprocess(spec.image_size)
        try:
            pixels = np.stack([preprocess(read_image(path, ranges=self.id.ranges)) for path in self.references])
            with torch.no_grad():
                method.see_references(backbone.encode_images(torch.from_numpy(pixels), spec))
        except ImageError as error:
            raise PredictError(f"--shots: {error}") from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise PredictError(
                f"out of memory with {len(self.references)} reference images: {error}; show fewer by --set "
                f"{self.id.method}.shots=K, or try --device cpu"
            ) from error


def scorer_of(
    kind: type[Method],
    options: Any,
    *,
    protocol: Protocol,
    backbone: BackboneId,
    learned: tuple[Path, Checkpoint] | None,
    references: tuple[ReferencesUsed, Sequence[Path]] | None,
) -> Scorer:
    """Return the scorer of a method, for images of any class; `Scorer.of` gives that for one.

    Args:
        kind: The method's class.
        options: Instance of its `Options`.
        protocol: How maps are resized.
        backbone: The method's backbone.
        learned: The JSON file of the checkpoint and its content; None of a method that does not learn.
        references: The images that a k-shot method is shown, described and as files; None of a zero-shot method.
    """
    synthetic: dict[WeightsKind, bool] = {
        "backbone": backbone.synthetic,
        "checkpoint": learned is not None and learned[1].synthetic,
    }
    identity = ScorerId(
        method=kind.name,
        method_version=kind.version,
        source_sha256=source_sha256(kind),
        title=title_of(kind, options),
        options=dataclasses.asdict(options),
        class_name=ANY_CLASS,
        protocol=protocol,
        backbone=backbone,
        checkpoint=CheckpointUsed.of(*learned) if learned else None,
        references=references[0] if references else None,
        synthetic=tuple(kind for kind, is_synthetic in synthetic.items() if is_synthetic),
    )
    paths = tuple(references[1]) if references else ()
    path, checkpoint = learned or (None, None)
    return Scorer(identity, kind, options, path, checkpoint, paths)


def banner(synthetic: Sequence[WeightsKind]) -> str:
    """Return the warning about synthetic weights, or an empty text if all weights are real."""
    if not synthetic:
        return ""
    way = (
        "real weights with --backbone" if "backbone" in synthetic else "one learned from real images with --checkpoint"
    )
    what = " and ".join(synthetic)
    return f"SYNTHETIC: {what} random or learned from generated images; not for real decisions; name {way}"
