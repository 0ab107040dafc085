"""WinCLIP and WinCLIP+ (Jeong et al., CVPR 2023): a compositional prompt ensemble against windows of patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import Features, FrozenClip, Layer, Method, Prediction, VisionSpec
from methods.base import anomaly_probability, to_grid
from methods.prompts import ABNORMAL_STATES, NORMAL_STATES, normal_abnormal

SCALES = (2, 3)
"""Sides of the windows in patches."""

NORMAL = NORMAL_STATES
ABNORMAL = tuple(state for state in ABNORMAL_STATES if state != "broken {}")

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
"""The 22 templates in the appendix of the paper."""

ANOMALIB_TEMPLATES = tuple(
    template.replace("corrupted photo of a", "corrupted photo of the")
    for template in TEMPLATES
    if template != "a cropped photo of a {}."
)
"""The 21 templates of anomalib; one of them occurs twice."""


@dataclass(frozen=True, slots=True)
class WinClipOptions:
    """Hyper-parameters of WinCLIP."""

    shots: int = 0
    """Number k of normal training images per class that the method is shown (WinCLIP+); 0 for zero-shot."""
    anomalib_prompts: bool = False
    """Quirk: anomalib omits one template, uses another one twice, and averages embeddings before normalising them."""
    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


class WinClip(Method):
    """Scores windows of 2×2 and 3×3 patches, each encoded by itself, and combines them by harmonic means.

    Zero-shot (section 4): the image score is the anomaly probability of the image embedding. The score of a patch at a
    scale is the harmonic mean over the windows that contain it. The map is the harmonic mean of the image score and the
    maps of both scales.

    k-shot (section 5): a second map is the mean, over window and patch features, of the distance `½ min_r (1 − cos)`
    to the reference images. The result is the mean of both maps, and the mean of the image score and the maximum of
    the second map.
    """

    name = "winclip"
    title = "WinCLIP"
    paper = "Jeong et al., CVPR 2023"
    backbone_on_real_data = "ViT-B-16-plus-240:laion400m_e32"
    Options = WinClipOptions
    options: WinClipOptions

    def __init__(self, backbone: FrozenClip, options: WinClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self._text_by_class: dict[str, Tensor] = {}
        self._references: list[Tensor] = []

    @classmethod
    def shots(cls, options: Any) -> int:
        return int(options.shots)

    @property
    def _tokens(self) -> tuple[Layer, ...]:
        return (Layer(self.backbone.blocks),) if self.options.shots else ()

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, windows=SCALES, tokens=self._tokens)

    def see_references(self, references: Features) -> None:
        self._references = [F.normalize(each, dim=-1).flatten(0, 1) for each in self._windows_and_patches(references)]

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
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first. Each name is encoded once."""
        return torch.stack([self._class_text(name) for name in class_names])

    def association(self, features: Features) -> Tensor:
        """Return the map of distances to the reference images (section 5), averaged over windows and patches.

        Its shape is `(B, grid, grid)`.
        """
        maps = []
        for size, seen, kept in zip((*SCALES, 1), self._windows_and_patches(features), self._references, strict=True):
            nearest = (F.normalize(seen, dim=-1) @ kept.T).amax(dim=-1)
            distances = ((1 - nearest) / 2).clamp(min=0)
            maps.append(to_grid(distances) if size == 1 else harmonic_map(distances, size=size, grid=features.grid))
        return torch.stack(maps).mean(dim=0)

    def _windows_and_patches(self, features: Features) -> list[Tensor]:
        """Return the window embeddings of each scale and the patch tokens, each of shape `(B, n, ·)`."""
        return [*(features.windows[size] for size in SCALES), *(features.tokens[layer] for layer in self._tokens)]

    def _class_text(self, class_name: str) -> Tensor:
        if class_name not in self._text_by_class:
            quirk = self.options.anomalib_prompts
            templates = ANOMALIB_TEMPLATES if quirk else TEMPLATES
            normal, abnormal = (
                [template.format(state.format(class_name)) for state in states for template in templates]
                for states in (NORMAL, ABNORMAL)
            )
            encode = self.backbone.encode_text
            self._text_by_class[class_name] = normal_abnormal(encode, normal, abnormal, normalise_each=not quirk)
        return self._text_by_class[class_name]


def harmonic_map(windows: Tensor, *, size: int, grid: int) -> Tensor:
    """Return, for each patch, the harmonic mean of the scores of the windows that contain it (section 4).

    Args:
        windows: Scores of the windows of shape `(B, (grid − size + 1)²)`.
        size: Side of a window in patches.
        grid: Side of the image in patches.

    Returns:
        Maps of shape `(B, grid, grid)`.
    """
    side = grid - size + 1
    inverse = F.pad((1 / windows).reshape(-1, 1, side, side), [size - 1] * 4)
    covering = F.pad(torch.ones_like(inverse[:1, :, :side, :side]), [size - 1] * 4)
    return (F.avg_pool2d(covering, size, stride=1) / F.avg_pool2d(inverse, size, stride=1))[:, 0]


def harmonic_mean(maps: Tensor) -> Tensor:
    """Return the harmonic mean over the first dimension."""
    return len(maps) / (1 / maps).sum(dim=0)
