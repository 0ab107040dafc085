"""A method of three stages for tests: one fits a memory, one trains on images, one on stored features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.contract import (
    ClassName,
    Features,
    FrozenClip,
    Layer,
    Learner,
    Others,
    Picture,
    Prediction,
    Stage,
    TrainingBatch,
    VisionSpec,
)

SIZE = 70


@dataclass(frozen=True, slots=True)
class StagedOptions:
    """The method has no `epochs` and no `batch_size`: its stages say them."""

    last_epochs: int = 2


class _Learned(nn.Module):
    memory: Tensor

    def __init__(self, backbone: FrozenClip, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("memory", torch.empty(0, backbone.width))
        self.weight = nn.Parameter(torch.randn(backbone.width, generator=generator) / backbone.width)
        self.hidden = nn.Parameter(torch.randn(backbone.vision_width, generator=generator) / backbone.vision_width)


def mixed(picture: Picture, others: Others, drawn: np.random.Generator) -> Picture:
    """Lay the picture beside another one of its class, of a kind that is drawn first."""
    kinds = list(others.kinds)
    places = others.kinds[kinds[drawn.integers(len(kinds))]]
    other = others.read(places[drawn.integers(len(places))])
    height = min(len(picture.image), len(other.image))
    image, mask = (
        np.concatenate([one[:height], two[:height]], axis=1)
        for one, two in ((picture.image, other.image), (picture.mask, other.mask))
    )
    return Picture(image, mask, int(mask.any()), picture.class_name, picture.kind)


class Staged(Learner):
    """Learns a memory of image embeddings, then weights from mixed images, then other weights from hidden tokens."""

    name, title, paper = "staged", "Staged", "none"
    Options = StagedOptions
    divisible = True

    def __init__(self, backbone: FrozenClip, options: StagedOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.learned: _Learned = _Learned(backbone, seed).to(backbone.device)

    def vision(self) -> VisionSpec:
        return VisionSpec(SIZE, layers=(Layer(4),), images=True)

    def stages(self, auxiliaries: Sequence[str]) -> Sequence[Stage]:
        plain, learned = VisionSpec(SIZE), self.learned
        return [
            Stage(self.remember, None, 1, 3, plain, name="memory"),
            Stage(
                self.separate,
                torch.optim.Adam([learned.weight], lr=0.01),
                2,
                3,
                VisionSpec(SIZE, images=True),
                name="mixed",
                learning_rate=lambda step, steps: 0.05 / (1 + step) if step < 2 else None,
                augment=mixed,
            ),
            Stage(
                self.shrink,
                torch.optim.SGD([learned.hidden], lr=0.1, momentum=0.9),
                self.options.last_epochs,
                4,
                VisionSpec(SIZE, hidden=(Layer(2),)),
                name="last",
            ),
        ]

    def remember(self, batch: TrainingBatch) -> Mapping[str, Tensor]:
        self.learned.memory = torch.cat([self.learned.memory, batch.features.image])
        return {}

    def separate(self, batch: TrainingBatch) -> Mapping[str, Tensor]:
        assert batch.features.images is not None
        distance = (batch.features.image[:, None] - self.learned.memory).square().sum(dim=-1).amin(dim=1)
        kept = torch.rand(len(self.learned.weight), generator=torch.Generator().manual_seed(batch.seed)) > 0.5
        logits = batch.features.image @ (self.learned.weight * kept) + batch.features.images.mean(dim=(1, 2, 3))
        area = batch.masks.mean(dim=(1, 2))
        return {"area": (logits - area).square().mean(), "memory": 0.001 * (logits * distance).mean()}

    def shrink(self, batch: TrainingBatch) -> Mapping[str, Tensor]:
        scores = batch.features.hidden[Layer(2)] @ self.learned.hidden
        return {"label": (scores.mean(dim=1) - batch.labels).square().mean()}

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert features.images is not None
        scores = features.image @ self.learned.weight
        maps = (features.patches[Layer(4)] @ self.learned.weight).unflatten(1, (features.grid, features.grid))
        return Prediction(scores, maps)


def draw_pictures(root: Any, *, seed: int, images: int = 8) -> Any:
    """Write a folder with normal images and two kinds of anomalous ones, as MVTec AD has them, of different sizes."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    kinds = ("good", "hole", "good", "scratch")
    for index in range(images):
        kind = kinds[index % len(kinds)]
        pixels = rng.integers(0, 256, size=(70 + index, 60 + 2 * index, 3), dtype=np.uint8)
        (root / "nut/test" / kind).mkdir(parents=True, exist_ok=True)
        if kind != "good":
            mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
            mask[10 + index : 40, 10:30] = 255
            pixels[mask > 0] //= 4
            (root / "nut/ground_truth" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / f"nut/ground_truth/{kind}/{index:03}_mask.png")
        Image.fromarray(pixels).save(root / f"nut/test/{kind}/{index:03}.png")
    return root
