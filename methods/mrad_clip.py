"""MRAD-CLIP (Xu et al., ICLR 2026): prompts that are told which regions of the image MRAD-FT finds.

Source: the published code (CROVO1026/MRAD, commit 1cc1c6b). Not reproduced: what `mrad_ft.py` says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from benchmark.contract import (
    Ablation,
    ClassName,
    Features,
    FrozenClip,
    Prediction,
    Stage,
    TrainingBatch,
    VisionSpec,
)
from methods.base import anomaly_probability, linear
from methods.losses import map_losses
from methods.memory_bank import neighbourhood_means
from methods.mrad import MIX, TEMPERATURE, read_memory
from methods.mrad_ft import LAYERS, MradFt, MradFtOptions, TunedMemory, read_layers
from methods.object_prompts import ObjectPrompts, deep_prompts, read_prompts
from methods.prompts import encode_pairs

PRIORS = {"priors.normal": "prompt_proj.mlp1", "priors.anomalous": "prompt_proj.mlp2"}
"""Names of the linear layers of region tokens in published checkpoints."""


@dataclass(frozen=True, slots=True)
class MradClipOptions(MradFtOptions):
    """Hyper-parameters of MRAD-CLIP. The defaults are those of the published scripts."""

    context: Annotated[int, Field(ge=1)] = 12
    """Number E of learned vectors before the word of each prompt."""
    deep_depth: Annotated[int, Field(ge=1)] = 9
    """The text blocks 2 to this one have learned tokens of their own; 1 for none."""
    deep_tokens: Annotated[int, Field(ge=1)] = 4
    """Number of learned tokens of each of these blocks."""
    deep_prompt_half: bool = False
    """Quirk: the published code rounds the deep prompts to float16 in the forward pass."""
    region_prior: Literal["both", "normal", "anomalous", "none"] = "both"
    """Prompts that the region tokens of the image are added to."""
    prompt_epochs: Annotated[int, Field(ge=0)] = 5
    """Epochs of the prompts, after those of the projections."""


class _Prompted(TunedMemory):
    """Holds what MRAD-FT learns, the prompts, and the linear layers of the region tokens that are added to them."""

    def __init__(self, backbone: FrozenClip, options: MradClipOptions, generator: torch.Generator) -> None:
        super().__init__(backbone, generator)
        self.prompts = ObjectPrompts(
            backbone,
            context=options.context,
            deep_depth=options.deep_depth,
            deep_tokens=options.deep_tokens,
            generator=generator,
        )
        chosen = ("normal", "anomalous") if options.region_prior == "both" else (options.region_prior,)
        self.priors = nn.ModuleDict()
        for kind in chosen:
            if kind != "none":
                self.priors[kind] = linear(backbone.width, backbone.text_width, generator=generator)


class MradClip(MradFt):
    """MRAD-FT, with a map of prompts `[V1]…[VE][object].` and `[W1]…[WE][damaged][object].`.

    To all V of an image a projection of its normal region token is added, to all W one of its anomalous region token:
    the mean embeddings of the patches whose anomaly probability by MRAD-FT is at most 0.5, and above it. The loss is
    `Focal + Dice_a + Dice_n` of the map.
    """

    name = "mrad_clip"
    title = "MRAD-CLIP"
    ablations = (
        Ablation(
            "prior",
            "Region tokens that are added to the prompts",
            {**{kind: {"region_prior": kind} for kind in ("none", "normal", "anomalous")}, "both": {}},
        ),
        MIX,
    )
    Options = MradClipOptions
    options: MradClipOptions
    learned: _Prompted

    def new_memory(self, generator: torch.Generator) -> _Prompted:
        return _Prompted(self.backbone, self.options, generator)

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, tokens=(self.layer,), layers=(self.layer,))

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        chosen, learned = self.options, self.learned
        optimiser = self.adam([*learned.prompts.parameters(), *learned.priors.parameters()])
        losses = partial(self.prompt_losses, quantile=self.quantile(auxiliaries))
        prompts = Stage(losses, optimiser, chosen.prompt_epochs, chosen.batch_size, self.vision(), "prompts")
        return [self.remembering(), self.tuning(auxiliaries), prompts]

    def prompt_losses(self, batch: TrainingBatch, *, quantile: float) -> dict[str, Tensor]:
        """Return the losses of the prompts. The similarity dropout of the projections stays on."""
        patches = self.embeddings(batch.features)
        text = self.text(self.region_tokens(batch.features, patches, quantile=quantile))
        return map_losses([(patches, text)], batch.masks, temperature=TEMPERATURE)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        patches = self.embeddings(features)
        text = self.text(self.region_tokens(features, patches))
        return self.scored(features, anomaly_probability(patches, text, temperature=TEMPERATURE))

    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return {"text": self.text(self.region_tokens(features, self.embeddings(features)))}

    def embeddings(self, features: Features) -> Tensor:
        """Return unit neighbourhood means of the embeddings of patches, of shape `(B, N, D)`."""
        counted, patches = self.options.pool_counts_padding, features.patches[self.layer]
        return F.normalize(neighbourhood_means(patches, features.grid, count_padding=counted), dim=-1)

    @torch.no_grad()
    def region_tokens(self, features: Features, patches: Tensor, *, quantile: float | None = None) -> Tensor:
        """Return the mean embeddings of the normal and the anomalous patches `(B, 2, D)`; zeros where there are none.

        Args:
            features: Features of B images.
            patches: Unit embeddings of their patches, of shape `(B, N, D)`.
            quantile: That of the similarity dropout.
        """
        found = self.patch_probability(features, quantile=quantile) > 0.5
        inside = torch.stack([~found, found], dim=1).to(patches)
        return inside @ patches / inside.sum(dim=-1, keepdim=True).clamp(min=1)

    def text(self, tokens: Tensor) -> Tensor:
        """Return unit text embeddings `(B, 2, D)`, normal first, of images with region tokens `(B, 2, D)`."""
        prompts, priors = self.learned.prompts, self.learned.priors
        contexts = []
        for place, (kind, context) in enumerate({"normal": prompts.normal, "anomalous": prompts.abnormal}.items()):
            each = context.expand(len(tokens), -1, -1)
            contexts.append(each + priors[kind](tokens[:, place])[:, None] if kind in priors else each)
        pairs = [((one, "object."), (other, "damaged object.")) for one, other in zip(*contexts, strict=True)]
        return encode_pairs(self.backbone, pairs, deep=deep_prompts(prompts.deep, half=self.options.deep_prompt_half))

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read a published checkpoint, which has `prompt_learner` and `prompt_proj` besides, and the memory."""
        start = "prompt_learner."
        inner = {name.removeprefix(start): each for name, each in state.items() if name.startswith(start)}
        options, prompts = read_prompts(inner)
        learned = read_layers(state, LAYERS | PRIORS) | {f"prompts.{name}": each for name, each in prompts.items()}
        return options, read_memory(state) | learned
