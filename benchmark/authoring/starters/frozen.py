"""Starter (fill in: authors, venue, year): what it does, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.contract import Dpam, Features, FrozenClip, Layer, Method, Prediction, VisionSpec
from methods.base import anomaly_probability, to_grid
from methods.prompts import normal_abnormal


@dataclass(frozen=True, slots=True)
class StarterOptions:
    """Hyper-parameters. `--set starter.OPTION=VALUE` changes one."""

    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


class Starter(Method):
    """Fill in: how the method scores, with section and equation of the paper.

    The patches of the V-V path are scored against a normal and a damaged prompt. The score of an image is that of its
    most anomalous patch.
    """

    name = "starter"
    title = "Starter"
    paper = "fill in: authors, venue, year"
    smoothing = 4.0  # sigma of the Gaussian filter for the maps, in pixels of the image size
    Options = StarterOptions
    options: StarterOptions

    def __init__(self, backbone: FrozenClip, options: StarterOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.layer = Layer(backbone.blocks, Dpam(backbone.dpam_first))
        self._texts: dict[str, Tensor] = {}  # each class name is encoded once

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, layers=(self.layer,))

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        patches, text = features.patches[self.layer], self.text(class_names)
        maps = to_grid(anomaly_probability(patches, text, temperature=self.options.temperature))
        return Prediction(scores=maps.flatten(1).amax(dim=1), maps=maps)

    def text(self, class_names: Sequence[str]) -> Tensor:
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first."""
        for name in class_names:
            if name not in self._texts:
                normal, abnormal = [f"a photo of a normal {name}."], [f"a photo of a damaged {name}."]
                self._texts[name] = normal_abnormal(self.backbone.encode_text, normal, abnormal)
        return torch.stack([self._texts[name] for name in class_names])
