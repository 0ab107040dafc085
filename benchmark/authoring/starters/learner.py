"""Starter (fill in: authors, venue, year): what it learns and does, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.contract import Dpam, Features, FrozenClip, Layer, Learner, Prediction, TrainingBatch, VisionSpec
from methods.base import anomaly_probability, learned_tokens, to_grid
from methods.losses import map_losses
from methods.prompts import encode_pairs


@dataclass(frozen=True, slots=True)
class StarterOptions:
    """Hyper-parameters. `--set starter.OPTION=VALUE` changes one."""

    context: int = 8
    """Number of learned vectors before the class name, in each of the two prompts."""
    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 1e-3
    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


class _Contexts(nn.Module):
    """The parameters that are trained."""

    def __init__(self, options: StarterOptions, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.normal = learned_tokens(options.context, width, generator=generator)
        self.abnormal = learned_tokens(options.context, width, generator=generator)


class Starter(Learner):
    """Fill in: what the method learns and how it scores, with section and equation of the paper.

    It learns two contexts, `[V][normal][c].` and `[W][damaged][c].`, from masks and the patches of the V-V
    path. The score of an image is that of its most anomalous patch.
    """

    name = "starter"
    title = "Starter"
    paper = "fill in: authors, venue, year"
    smoothing = 4.0  # sigma of the Gaussian filter for the maps, in pixels of the image size
    divisible = True  # each loss is a mean over the images, so a batch may be divided where memory is short
    Options = StarterOptions
    options: StarterOptions

    def __init__(self, backbone: FrozenClip, options: StarterOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.layer = Layer(backbone.blocks, Dpam(backbone.dpam_first))
        generator = torch.Generator().manual_seed(seed)
        self.learned: _Contexts = _Contexts(options, backbone.text_width, generator).to(backbone.device)

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, layers=(self.layer,))

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned.parameters(), lr=self.options.learning_rate)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        pairs = [(batch.features.patches[self.layer], self.text(batch.class_names))]
        return map_losses(pairs, batch.masks, temperature=self.options.temperature)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        patches, text = features.patches[self.layer], self.text(class_names)
        maps = to_grid(anomaly_probability(patches, text, temperature=self.options.temperature))
        return Prediction(scores=maps.flatten(1).amax(dim=1), maps=maps)

    def text(self, class_names: Sequence[str]) -> Tensor:
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first; each name is encoded once."""
        learned, distinct = self.learned, list(dict.fromkeys(class_names))
        pairs = [((learned.normal, f"normal {c}."), (learned.abnormal, f"damaged {c}.")) for c in distinct]
        return encode_pairs(self.backbone, pairs)[[distinct.index(name) for name in class_names]]
