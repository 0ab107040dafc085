"""WinCLIP and WinCLIP+ (Jeong et al., CVPR 2023): a compositional prompt ensemble against windows of patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import Features, FrozenClip, Method, Prediction, VisionSpec
from methods.base import anomaly_probability, to_grid
from methods.prompts import normal_abnormal

SCALES = (2, 3)

NORMAL = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")

_PHOTOS = (
    "a cropped photo of",
    "a close-up photo of",
    "a bright photo of",
    "a dark photo of",
    "a jpeg corrupted photo of",
    "a blurry photo of",
    "a photo of",
)
_SIZES = ("a photo of {} small", "a photo of {} large")
_ENDS = ("for visual inspection", "for anomaly detection")
TEMPLATES = (
    *(f"{photo} {article} {{}}." for photo in _PHOTOS for article in ("a", "the")),
    *(f"{size.format(article)} {{}}." for size in _SIZES for article in ("a", "the")),
    *(f"a photo of {article} {{}} {end}." for end in _ENDS for article in ("a", "the")),
)
"""The 22 templates of the paper's appendix."""

ANOMALIB_TEMPLATES = tuple(
    template.replace("corrupted photo of a", "corrupted photo of the")
    for template in TEMPLATES
    if template != "a cropped photo of a {}."
)
"""The 21 of anomalib, one of them twice."""


@dataclass(frozen=True, slots=True)
class WinClipOptions:
    """Hyper-parameters of WinCLIP."""

    shots: int = 0
    """k, normal training images per class of the target that are shown (WinCLIP+); 0 is zero-shot."""
    anomalib_prompts: bool = False
    """Quirk: anomalib drops one template, doubles another, and averages embeddings before normalising them."""
    temperature: float = 0.07
    """τ of the softmax over the two cosines."""


class WinClip(Method):
    """Windows of 2×2 and 3×3 patches, each encoded by itself; harmonic means over windows and over scales.

    Zero-shot (section 4): image score `p(g)`; a patch's score at a scale is the harmonic mean over the windows that
    cover it; the map is the harmonic mean of the image score and both scales. k-shot (section 5): the mean over window
    and patch features of `½ min_r (1 − cos)` to the references is averaged with the map, its maximum with the image
    score.
    """

    name = "winclip"
    title = "WinCLIP"
    paper = "Jeong et al., CVPR 2023"
    backbone_on_real_data = "ViT-B-16-plus-240:laion400m_e32"
    Options = WinClipOptions
    options: WinClipOptions

    def __init__(self, backbone: FrozenClip, options: WinClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self._texts: dict[str, Tensor] = {}
        self._references: list[Tensor] = []

    @classmethod
    def shots(cls, options: Any) -> int:
        return int(options.shots)

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, windows=SCALES, tokens=self.options.shots > 0)

    def see_references(self, references: Features) -> None:
        self._references = [F.normalize(each, dim=-1).flatten(0, 1) for each in self._kinds(references)]

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        text = self.text(class_names)
        temperature = self.options.temperature
        scores = anomaly_probability(features.image[:, None], text, temperature=temperature)
        maps = [scores[:, :, None].expand(-1, features.grid, features.grid)]
        for size in SCALES:
            windows = anomaly_probability(features.windows[size], text, temperature=temperature)
            maps.append(harmonic_map(windows, size=size, grid=features.grid))
        grid = harmonic_mean(torch.stack(maps))
        if self.options.shots == 0:
            return Prediction(scores=scores[:, 0], maps=grid)
        association = self.association(features)
        return Prediction(scores=(scores[:, 0] + association.flatten(1).amax(dim=1)) / 2, maps=(grid + association) / 2)

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)}

    def text(self, class_names: Sequence[str]) -> Tensor:
        """Return unit text embeddings (len(class_names), 2, D), normal first."""
        return torch.stack([self._text(name) for name in class_names])

    def association(self, features: Features) -> Tensor:
        """Return the map (B, grid, grid) of distances to the references (section 5), the mean over feature kinds."""
        maps = []
        for size, seen, kept in zip((*SCALES, 1), self._kinds(features), self._references, strict=True):
            nearest = (F.normalize(seen, dim=-1) @ kept.T).amax(dim=-1)
            distances = ((1 - nearest) / 2).clamp(min=0)
            maps.append(to_grid(distances) if size == 1 else harmonic_map(distances, size=size, grid=features.grid))
        return torch.stack(maps).mean(dim=0)

    def _kinds(self, features: Features) -> list[Tensor]:
        """Return window embeddings by scale, then patch tokens, each (B, n, ·)."""
        assert features.tokens is not None
        return [*(features.windows[size] for size in SCALES), features.tokens]

    def _text(self, class_name: str) -> Tensor:
        if class_name not in self._texts:
            quirk = self.options.anomalib_prompts
            templates = ANOMALIB_TEMPLATES if quirk else TEMPLATES
            normal, abnormal = (
                [template.format(state.format(class_name)) for state in states for template in templates]
                for states in (NORMAL, ABNORMAL)
            )
            encode = self.backbone.encode_text
            self._texts[class_name] = normal_abnormal(encode, normal, abnormal, normalise_each=not quirk)
        return self._texts[class_name]


def harmonic_map(windows: Tensor, *, size: int, grid: int) -> Tensor:
    """Return maps (B, grid, grid): each patch's harmonic mean of the scores (B, n) of the size×size windows over it."""
    side = grid - size + 1
    inverse = F.pad((1 / windows).reshape(-1, 1, side, side), [size - 1] * 4)
    covering = F.pad(torch.ones_like(inverse[:1, :, :side, :side]), [size - 1] * 4)
    return (F.avg_pool2d(covering, size, stride=1) / F.avg_pool2d(inverse, size, stride=1))[:, 0]


def harmonic_mean(maps: Tensor) -> Tensor:
    """Return the harmonic mean over the first dimension."""
    return len(maps) / (1 / maps).sum(dim=0)
