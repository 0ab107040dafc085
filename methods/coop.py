"""CoOp (Zhou et al., IJCV 2022) with two prompts, as the AnomalyCLIP paper adapts it to anomaly detection."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.contract import Features, FrozenClip, Layer, Learner, Prediction, TrainingBatch, VisionSpec
from methods.base import learned_tokens, predict_by_text
from methods.losses import image_cross_entropy
from methods.prompts import encode_pairs


@dataclass(frozen=True, slots=True)
class CoOpOptions:
    """Hyper-parameters of CoOp. Those that the AnomalyCLIP paper does not give are taken from CoOp's code."""

    context: int = 16
    """Number of learned vectors before the class name, which both prompts share."""
    epochs: int = 50
    """The AnomalyCLIP paper does not give it; CoOp uses 50 for its largest dataset."""
    batch_size: int = 32
    learning_rate: float = 0.002
    warm_up_rate: float = 1e-5
    """Learning rate of the first epoch."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float | None = None
    """Temperature τ of the softmax over the two cosine similarities. None for that of the backbone, 1 / logit scale, as
    in CoOp's code (0.01 for OpenAI's weights); 0.07 is that of AnomalyCLIP and WinCLIP."""


class _Context(nn.Module):
    """The learned context."""

    def __init__(self, options: CoOpOptions, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.context = learned_tokens(options.context, width, generator=generator)


class CoOp(Learner):
    """Prompts `[V1]…[V16][normal][c].` and `[V1]…[V16][anomalous][c].`. Only V is learned, from image labels."""

    name = "coop"
    title = "CoOp"
    paper = "Zhou et al., IJCV 2022; as a baseline of Zhou et al., ICLR 2024"
    version = 2
    needs_masks = False
    divisible = True
    Options = CoOpOptions
    options: CoOpOptions

    def __init__(self, backbone: FrozenClip, options: CoOpOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.temperature: float = 1 / backbone.logit_scale if options.temperature is None else options.temperature
        generator = torch.Generator().manual_seed(seed)
        self.learned: _Context = _Context(options, backbone.text_width, generator).to(backbone.device)

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, layers=(Layer(self.backbone.blocks),))

    def training_vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size)

    def optimiser(self) -> torch.optim.Optimizer:
        chosen = self.options
        return torch.optim.SGD(
            self.learned.parameters(),
            lr=chosen.learning_rate,
            momentum=chosen.momentum,
            weight_decay=chosen.weight_decay,
        )

    def learning_rate(self, epoch: int) -> float:
        """Return the rate of one warm-up epoch, then of a cosine decay from the full rate, as in CoOp's code."""
        if epoch == 0:
            return self.options.warm_up_rate
        return self.options.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.options.epochs))

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        image, text = batch.features.image, self.text(batch.class_names)
        return {"image": image_cross_entropy(image, text, batch.labels, temperature=self.temperature)}

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        patches = features.patches[Layer(self.backbone.blocks)]
        text = self.text(class_names)
        return predict_by_text(features.image, patches, text, temperature=self.temperature)

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)}

    def text(self, class_names: Sequence[str]) -> Tensor:
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first; each name is encoded once."""
        context, distinct = self.learned.context, list(dict.fromkeys(class_names))
        pairs = [((context, f"normal {name}."), (context, f"anomalous {name}.")) for name in distinct]
        return encode_pairs(self.backbone, pairs)[[distinct.index(name) for name in class_names]]
