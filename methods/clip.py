"""CLIP and CLIP-AC: frozen CLIP with hand-written prompts, the baselines of the AnomalyCLIP paper."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.contract import Features, FrozenClip, Layer, Method, Prediction, VisionSpec
from methods.base import predict_by_text
from methods.prompts import imagenet_templates, normal_abnormal


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Hyper-parameters of CLIP and CLIP-AC."""

    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


class FixedPrompts(Method):
    """Scores the image embedding and the patch embeddings of the last block against fixed prompts of each class."""

    Options = ClipOptions
    options: ClipOptions

    def __init__(self, backbone: FrozenClip, options: ClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self._text_by_class: dict[str, Tensor] = {}

    @abstractmethod
    def prompts(self, class_name: str) -> tuple[list[str], list[str]]:
        """Return the normal and the abnormal prompts of a class."""

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, layers=(Layer(self.backbone.blocks),))

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        patches = features.patches[Layer(self.backbone.blocks)]
        text = self.text(class_names)
        return predict_by_text(features.image, patches, text, temperature=self.options.temperature)

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)}

    def text(self, class_names: Sequence[str]) -> Tensor:
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first. Each name is encoded once."""
        for name in class_names:
            if name not in self._text_by_class:
                self._text_by_class[name] = normal_abnormal(self.backbone.encode_text, *self.prompts(name))
        return torch.stack([self._text_by_class[name] for name in class_names])


class Clip(FixedPrompts):
    """CLIP with one normal and one anomalous prompt (AnomalyCLIP, appendix on baselines)."""

    name = "clip"
    title = "CLIP"
    paper = "Radford et al., ICML 2021; prompts of Zhou et al., ICLR 2024"

    def prompts(self, class_name: str) -> tuple[list[str], list[str]]:
        return [f"A photo of a normal {class_name}."], [f"A photo of an anomalous {class_name}."]


class ClipAC(FixedPrompts):
    """CLIP with "normal {c}" and "anomalous {c}" in CLIP's ImageNet templates (AnomalyCLIP, appendix on baselines)."""

    name = "clip_ac"
    title = "CLIP-AC"
    paper = "Radford et al., ICML 2021; prompts of Zhou et al., ICLR 2024"

    def prompts(self, class_name: str) -> tuple[list[str], list[str]]:
        normal = [template(f"normal {class_name}") for template in imagenet_templates()]
        abnormal = [template(f"anomalous {class_name}") for template in imagenet_templates()]
        return normal, abnormal
