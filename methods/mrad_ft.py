"""MRAD-FT (Xu et al., ICLR 2026): retrieval from the memory of MRAD-TF with learned projections of queries and keys.

Source: the published code (CROVO1026/MRAD, commit 1cc1c6b).

Not reproduced: the biases of the keys' projections. They change no probability: their gradients are nothing but
rounding, of which the published optimiser makes whole steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from benchmark.contract import Ablation, Features, FrozenClip, Stage, TrainingBatch
from methods.base import to_grid
from methods.entries import float32
from methods.losses import probability_map_losses, resized
from methods.memory_bank import Memory, Projection, retrieve
from methods.mrad import MIX, TEMPERATURE, Mrad, MradOptions, read_memory

LOWEST_RATE = 1e-6
"""Learning rate that the falling one of MRAD-FT comes to in the end."""
QUANTILE_FOR_VISA = 0.85
"""Quantile of regions that a comment in the published code has where VisA is the target."""

Rate: TypeAlias = Callable[[int, int], float]

LAYERS = {
    "region_projection.query": "patch_proj.fc.0",
    "region_projection.key": "patch_proj.fc.1",
    "image_projection.query": "image_proj.mlp1",
    "image_projection.key": "image_proj.mlp2",
}
"""Names of the linear layers in published checkpoints."""

PUBLISHED = {
    "2af68c308183678bcdbe216dd62151d02294bfe726fd51ad4205f663a1a02535": ("visa",),  # test_on_mvtec.pth
    "8b46b1358218e8b43872a9d00d13206b8a213315350b57031f6da682694ca524": ("mvtec",),  # test_on_visa.pth
}
"""Auxiliary datasets of the published checkpoints of MRAD-CLIP, which hold those of MRAD-FT, by sha256. The sums are
those that users of the files list; the files themselves were not at hand."""

DROPOUT = Ablation(
    "dropout",
    "Similarity dropout while retrieval is trained",
    {
        "without": {"region_quantile": 1.0, "image_quantile": 1.0},
        "as published": {},
        "by target": {"dropout_by_target": True},
    },
)


@dataclass(frozen=True, slots=True)
class MradFtOptions(MradOptions):
    """Hyper-parameters of MRAD-FT. The defaults are those of the published scripts."""

    region_quantile: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Training leaves out the regions that are more similar to a patch than this share of all; 1 for none."""
    image_quantile: Annotated[float, Field(ge=0, le=1)] = 0.95
    """The same of images."""
    dropout_by_target: bool = False
    """Quirk: a comment in the published code has the quantile 0.85 of regions where VisA is the target, that is, where
    MVTec AD is trained on. The code itself has one for all."""
    epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs of the projections of queries and keys."""
    batch_size: int = 8
    learning_rate: float = 4e-4


class TunedMemory(Memory):
    """The memory, and the projections of its queries and keys."""

    def __init__(self, backbone: FrozenClip, generator: torch.Generator) -> None:
        super().__init__(backbone.width, backbone.vision_width)
        self.region_projection = Projection(backbone.vision_width, backbone.width, generator=generator)
        self.image_projection = Projection(backbone.width, backbone.width, generator=generator)


class MradFt(Mrad):
    """MRAD-TF with scores `(W_q x + b_q)·(W_k k)` in place of the cosines, trained for an epoch.

    The loss is `Focal(S, G) + Dice(S_a, G)` of the maps and the cross-entropy of images, whose logits are
    `[1 − p(g), p(g)] / 0.07`. Training leaves out the keys that are most similar to a query.
    """

    name = "mrad_ft"
    title = "MRAD-FT"
    divisible = True
    ablations = (DROPOUT, MIX)
    published = PUBLISHED
    Options = MradFtOptions
    options: MradFtOptions
    learned: TunedMemory

    def new_memory(self, generator: torch.Generator) -> TunedMemory:
        return TunedMemory(self.backbone, generator)

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        return [self.remembering(), self.tuning(auxiliaries, self.falling_rate)]

    def tuning(self, auxiliaries: Sequence[str], rate: Rate | None = None) -> Stage:
        """Return the stage that trains the projections."""
        chosen, learned = self.options, self.learned
        parameters = [*learned.region_projection.parameters(), *learned.image_projection.parameters()]
        losses = partial(self.tuning_losses, quantile=self.quantile(auxiliaries))
        spec = self.memory_vision()
        return Stage(losses, self.adam(parameters), chosen.epochs, chosen.batch_size, spec, "retrieval", rate)

    def adam(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimiser."""
        return torch.optim.Adam(parameters, lr=self.options.learning_rate, betas=(0.5, 0.999))

    def falling_rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step: a half period of the cosine over all epochs."""
        done = step / (steps * self.options.epochs)
        return LOWEST_RATE + (self.options.learning_rate - LOWEST_RATE) * (1 + math.cos(math.pi * done)) / 2

    def quantile(self, auxiliaries: Sequence[str]) -> float:
        """Return the quantile of the similarity dropout of regions, for the datasets that are trained on."""
        by_target = self.options.dropout_by_target and "mvtec" in auxiliaries
        return QUANTILE_FOR_VISA if by_target else self.options.region_quantile

    def tuning_losses(self, batch: TrainingBatch, *, quantile: float) -> dict[str, Tensor]:
        """Return the losses of the projections."""
        grids = to_grid(self.patch_probability(batch.features, quantile=quantile))[:, None]
        local = probability_map_losses(resized(grids, batch.masks.shape[1:]), batch.masks)
        images = self.image_probability(batch.features, quantile=self.options.image_quantile)
        logits = torch.stack([1 - images, images], dim=1) / TEMPERATURE
        return {"image": F.cross_entropy(logits, batch.labels), **local}

    def image_probability(self, features: Features, *, quantile: float | None = None) -> Tensor:
        bank, projection = self.learned.images, self.learned.image_projection
        return retrieve(self.image_queries(features), bank, projection=projection, quantile=quantile)

    def patch_probability(self, features: Features, *, quantile: float | None = None) -> Tensor:
        bank, projection = self.regions(), self.learned.region_projection
        return retrieve(self.patch_queries(features), bank, projection=projection, quantile=quantile)

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read the published `patch_proj` and `image_proj`, and the two files of the memory."""
        return {}, read_memory(state) | read_layers(state, LAYERS)


def read_layers(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return weights and biases of linear layers, those of keys without a bias, by our names."""
    found = {}
    for ours, theirs in names.items():
        for what in ("weight",) if ours.endswith(".key") else ("weight", "bias"):
            found[f"{ours}.{what}"] = state[f"{theirs}.{what}"]
    return float32(found)
