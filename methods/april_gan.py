"""APRIL-GAN (Chen et al., VAND challenge at CVPR 2023), zero-shot track: linear layers on patch tokens of four blocks.

Source: the published code (ByChelsea/VAND-APRIL-GAN, commit f13b8a6). It is known as VAND in the tables of AnomalyCLIP.

Not reproduced: the code trains under automatic mixed precision with float16 and without a gradient scaler, so that
gradients of well classified pixels are rounded to zero. Here all is float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.contract import (
    Ablation,
    BackboneVariant,
    ClassName,
    Features,
    FrozenClip,
    Layer,
    LayerLogits,
    Learner,
    Prediction,
    Stage,
    TrainingBatch,
    VisionSpec,
)
from methods.base import anomaly_probability, require_blocks
from methods.entries import float32, numbered
from methods.linear_patches import LOGIT_FACTOR, LinearPatches, logit_differences
from methods.losses import probability_map_losses, probability_maps
from methods.mosaics import DATASET, by_kind, mosaics
from methods.prompts import normal_abnormal, state_prompts

_QUALITIES = (
    *("bad", "low resolution", "cropped", "bright", "dark", "close-up", "black and white", "jpeg corrupted"),
    *("blurry", "good"),
)
_OBJECTS = ("a", "the", "my", "one", "a cool", "the cool", "a large", "the large", "a small", "the small")
TEMPLATES = (
    *(f"a {quality} photo of {article} {{}}." for quality in _QUALITIES for article in ("a", "the")),
    *(f"a photo of {words} {{}}." for words in _OBJECTS),
    *(f"there is {article} {{}} in the scene." for article in ("a", "the")),
    *(f"this is {article} {{}} in the scene." for article in ("a", "the", "one")),
)
"""The 35 templates of the code."""

_QUARTERS = ("first", "second", "third", "last")
_Layers = Literal["first", "second", "third", "last", "four"] | Annotated[tuple[int, ...], Field(min_length=1)]

ABLATIONS = (
    Ablation(
        "quirks",
        "Quirks of the published code, each switched by itself",
        {
            "as published": {},
            "QuickGELU": {"plain_gelu": False},
            "blanks in class names": {"raw_class_names": False},
            "corners not aligned": {"corners_aligned": False},
            "softmax before upsampling": {"softmax_after_upsampling": False},
            "one text per batch": {"one_text_per_batch": True},
            "Dice of images in batches of one": {"mask_rows": False},
            "without mosaics": {"mosaic": 0.0},
        },
    ),
    Ablation(
        "layers",
        "Layers whose patches are scored, by quarters of the tower",
        {**{name: {"feature_layers": name} for name in _QUARTERS}, "four": {}},
    ),
)


@dataclass(frozen=True, slots=True)
class AprilGanOptions:
    """Hyper-parameters of APRIL-GAN. The defaults are those of the published scripts."""

    feature_layers: _Layers = "four"
    """Blocks whose patch tokens are scored: one or all of those at each quarter of the tower, or their numbers."""
    plain_gelu: bool = True
    """Quirk: the published code runs exact GELU in both towers, though the weights were trained with QuickGELU."""
    raw_class_names: bool = True
    """Quirk: the published code puts names of folders into prompts, as in `metal_nut`, where others have blanks."""
    corners_aligned: bool = True
    """Quirk: the published code aligns corners when it resizes maps."""
    softmax_after_upsampling: bool = True
    """Quirk: the published code resizes logits, not probabilities."""
    one_text_per_batch: bool = False
    """Quirk: before a correction of June 2023 the code trained all images of a batch with the text of the first one.
    It cannot tell whether the published checkpoints, committed eight days earlier, were made so."""
    mask_rows: bool = True
    """Quirk: in a batch of one image the Dice loss of the published code is that of rows of pixels."""
    mosaic: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Probability that an image of MVTec AD is replaced by a mosaic of four images of its class. Without mosaics
    training reads stored features."""
    epochs: int | None = None
    """Number of epochs; None for 3 if MVTec AD is trained on, otherwise 15."""
    batch_size: int = 8
    learning_rate: float = 1e-3


class AprilGan(Learner):
    """Scores `100 · [z·t_n, z·t_a]` of patch embeddings z = norm(W h + b) of the tokens h of each block.

    The text embeddings t_n and t_a are means over fixed prompts. The loss is the sum over the layers of a focal and a
    Dice loss. The map is the sum over the layers of the anomaly probabilities. The image score is the anomaly
    probability of CLIP's image embedding, which does not depend on what is learned.
    """

    name = "april_gan"
    title = "APRIL-GAN"
    magnifies = True  # 15 epochs on VisA: last digits come to a third of a point of the mean pixel AUROC
    paper = "Chen et al., APRIL-GAN, 2023 (arXiv 2305.17382)"
    ablations = ABLATIONS
    Options = AprilGanOptions
    options: AprilGanOptions

    def __init__(self, backbone: FrozenClip, options: AprilGanOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        chosen = options.feature_layers
        if chosen == "four":
            chosen = backbone.feature_blocks
        elif isinstance(chosen, str):
            chosen = (max(1, backbone.blocks * (_QUARTERS.index(chosen) + 1) // 4),)
        self.layers = tuple(Layer(block) for block in require_blocks(backbone, "april_gan.feature_layers", chosen))
        generator = torch.Generator().manual_seed(seed)
        linear = LinearPatches(len(self.layers), backbone.vision_width, backbone.width, generator=generator)
        self.learned: LinearPatches = linear.to(backbone.device)
        self._text_by_name: dict[str, Tensor] = {}

    @classmethod
    def backbone_variant(cls, options: AprilGanOptions) -> BackboneVariant:
        return BackboneVariant(plain_gelu=options.plain_gelu, pos_interp="bicubic")

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, hidden=self.layers)

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        chosen = self.options
        epochs = (3 if DATASET in auxiliaries else 15) if chosen.epochs is None else chosen.epochs
        augment = mosaics(chosen.mosaic, auxiliaries, by_kind)
        return [Stage(self.losses, self.optimiser(), epochs, chosen.batch_size, self.vision(), augment=augment)]

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned.parameters(), lr=self.options.learning_rate, betas=(0.5, 0.999))

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        names, images = batch.class_names, len(batch.class_names)
        text = self.text(names[:1] * images if self.options.one_text_per_batch else names)
        maps = probability_maps(self.logits(batch.features, text), batch.masks.shape[1:])
        return probability_map_losses(maps, batch.masks, by_rows=self.options.mask_rows and images == 1)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        text = self.text(class_names)
        scores = anomaly_probability(features.image[:, None], text, temperature=1 / LOGIT_FACTOR)[:, 0]
        return Prediction(scores=scores, maps=self.logits(features, text))

    def logits(self, features: Features, text: Tensor) -> LayerLogits:
        """Return the logits of the layers against text embeddings of shape `(B, 2, D)`."""
        embeddings = self.learned(features.hidden[layer] for layer in self.layers)
        return LayerLogits(
            logit_differences(embeddings, text),
            corners_aligned=self.options.corners_aligned,
            softmax_last=self.options.softmax_after_upsampling,
        )

    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)}

    def text(self, class_names: Sequence[ClassName]) -> Tensor:
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first. Each name is encoded once."""
        names = [each.folder if self.options.raw_class_names else str(each) for each in class_names]
        for name in names:
            if name not in self._text_by_name:
                self._text_by_name[name] = normal_abnormal(self.backbone.encode_text, *state_prompts(TEMPLATES, name))
        return torch.stack([self._text_by_name[name] for name in names])

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read the published `trainable_linearlayer`: `fc.{i}.weight` and `fc.{i}.bias` for each layer."""
        parts = {part: numbered(state, "fc", f".{part}", least=1) for part in ("weight", "bias")}
        return {}, float32({f"linear.{i}.{part}": each for part in parts for i, each in enumerate(parts[part])})
