"""AdaCLIP (Cao et al., ECCV 2024): static and dynamic prompts in both towers, and hybrid semantic fusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

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
    inference_option,
)
from methods.adaclip_published import PUBLISHED, published_name, read_published
from methods.base import linear, require_blocks
from methods.linear_patches import LOGIT_FACTOR, LinearPatches, logit_differences
from methods.losses import focal, probability_map_losses, probability_maps
from methods.mosaics import distinct, mosaics
from methods.prompters import Prompter, prompted_pairs, prompted_vision
from methods.prompts import normal_abnormal, state_prompts
from methods.semantic_fusion import fused_patches

TEMPLATES = (
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
)
# Of Table 4 the text says that the score without fusion is the maximum of the map; the code scores the class token.
ABLATIONS = (
    Ablation(
        "prompts",
        "Static and dynamic prompts",
        {**{name: {"prompts": name} for name in ("none", "static", "dynamic")}, "static + dynamic": {}},
    ),
    Ablation(
        "fusion",
        "Hybrid semantic fusion (HSF)",
        {
            "without, maximum of the map": {"image_score": "map"},
            "without, by the code": {"image_score": "cls"},
            "with, by the paper": {"hsf_paper": True},
            "with": {},
        },
    ),
    Ablation(
        "branches", "Prompted encoders", {"image": {"branches": "vision"}, "text": {"branches": "text"}, "both": {}}
    ),
    Ablation("clusters", "Number K of clusters", {f"K = {n}": {"clusters": n} for n in (10, 20, 40, 80)}),
    Ablation("depth", "Depth J of the prompts", {f"J = {n}": {"depth": n} for n in (1, 2, 3, 4, 5)}),
    Ablation("length", "Length M of the prompts", {f"M = {n}": {"length": n} for n in (1, 3, 5, 7, 9)}),
    Ablation("projection", "Projection of patches and class token", {"CLIP's own": {"project": False}, "learned": {}}),
)


@dataclass(frozen=True, slots=True)
class AdaClipOptions:
    """Hyper-parameters of AdaCLIP. The defaults are those of the published scripts."""

    prompts: Literal["both", "static", "dynamic", "none"] = "both"
    """Kinds of learned prompts: static ones, dynamic ones of the image, their sum, or none."""
    branches: Literal["both", "vision", "text"] = "both"
    """Towers that are prompted."""
    depth: Annotated[int, Field(ge=0)] = 4
    """Depth J: the blocks 1 to J of the vision tower, and 2 to J of the text tower, have prompts."""
    length: Annotated[int, Field(ge=0)] = 5
    """Length M: the number of tokens of a prompt."""
    feature_layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Blocks whose patches are scored; None for four at each quarter of the tower."""
    project: bool = True
    """Whether patches and class token have learned linear layers, in place of CLIP's own projection."""
    image_score: Literal["fusion", "cls", "map"] = "fusion"
    """What the image score is of: the class token with the semantic clusters (HSF), it alone (what the code does
    without HSF), or the map, whose maximum it is then (what the paper says of that); training is that of `cls`."""
    clusters: Annotated[int, Field(ge=1)] = 20
    """Number K of clusters."""
    fusion_weight: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Weight of the clusters in the fusion; that of the class token is the rest to 1."""
    kmeans_seed: Annotated[int, Field(ge=0, lt=2**32)] = 111
    """Seed of K-means; in the published code its state depends on the order of the images."""
    hsf_paper: bool = False
    """Quirk: the paper clusters all patches and takes one cluster, the code takes the mean of those of some patches."""
    plain_gelu: bool = True
    """Quirk: the published code computes the exact GELU in both towers, with weights trained for QuickGELU."""
    raw_class_names: bool = True
    """Quirk: the published code names classes as its folders, with hyphens as blanks."""
    prompt_half: bool = False
    """Quirk: the published code rounds the prompts to float16 in the forward pass."""
    dice_rows: bool = True
    """Quirk: the Dice losses of the published code are those of rows of pixels, and not of images."""
    mosaic: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Probability that an image of MVTec AD is replaced by a mosaic of four of its class in training."""
    mosaic_label: bool = True
    """Quirk: in the published code a mosaic keeps the label of the image that it replaces, whatever is in it."""
    epochs: int = 5
    batch_size: int = 1
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products in training (automatic mixed precision)."""
    recompute: bool = inference_option(False)
    """Whether training computes the activations of blocks anew for the gradients, which saves memory."""


class _Learned(nn.Module):
    """What AdaCLIP learns: prompts of the towers that are prompted, and the linear layers."""

    def __init__(self, options: AdaClipOptions, backbone: FrozenClip, layers: int, generator: torch.Generator) -> None:
        super().__init__()
        width, depth = backbone.width, options.depth if options.prompts != "none" and options.length else 0
        # The first text block has no prompts: the official code has vectors for it, but does not use them.
        towers = {
            "vision": (range(1, min(depth, backbone.blocks) + 1), backbone.vision_width),
            "text": (range(2, min(depth, backbone.text_blocks) + 1), backbone.text_width),
        }
        static, dimension = options.prompts != "dynamic", None if options.prompts == "static" else width
        self.prompters = nn.ModuleDict()
        for tower, (blocks, token_width) in towers.items():
            if blocks and options.branches in ("both", tower):
                self.prompters[tower] = Prompter(
                    blocks, options.length, token_width, static=static, dimension=dimension, generator=generator
                )
        if options.project:
            self.patches = LinearPatches(layers, backbone.vision_width, width, generator=generator)
            self.cls = linear(width, width, generator=generator)
        elif not self.prompters:
            raise ValueError("adaclip.project=false without prompts in any block learns nothing; change either")


class AdaClip(Learner):
    """Learned tokens behind the patches and in the templates, at the input of the first blocks of both towers.

    The loss is `Focal(score, label) + Σ_l [Focal(S_l, G) + Dice(S_l,a, G) + Dice(S_l,n, 1 − G)]`. The map is the
    anomaly probability of the mean logits of the layers, smoothed by a Gaussian filter.
    """

    name = "adaclip"
    title = "AdaCLIP"
    paper = "Cao et al., AdaCLIP, ECCV 2024"
    smoothing = 4.0
    divisible = True
    magnifies = True  # large steps on single images, and clusters: last digits come to 2 points of a mean
    ablations = ABLATIONS
    published = PUBLISHED
    Options = AdaClipOptions
    options: AdaClipOptions

    def __init__(self, backbone: FrozenClip, options: AdaClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        blocks = require_blocks(backbone, "adaclip.feature_layers", options.feature_layers or backbone.feature_blocks)
        self.layers = tuple(Layer(block) for block in blocks)
        generator = torch.Generator().manual_seed(seed)
        self.learned: _Learned = _Learned(options, backbone, len(self.layers), generator).to(backbone.device)
        self._fixed: dict[str, Tensor] = {}

    @classmethod
    def backbone_variant(cls, options: AdaClipOptions) -> BackboneVariant:
        return BackboneVariant(plain_gelu=options.plain_gelu, pos_interp="bicubic_no_antialias")

    def vision(self) -> VisionSpec:
        size = self.backbone.image_size
        if "vision" not in self.learned.prompters:
            return VisionSpec(size, hidden=self.layers)
        return VisionSpec(size, images=True, encoded=self.options.prompts != "static")

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        options = self.options
        augment = mosaics(options.mosaic, auxiliaries, distinct, keep_label=options.mosaic_label)
        return [replace(stage, augment=augment, precision=options.precision) for stage in super().stages(auxiliaries)]

    def optimiser(self) -> torch.optim.Optimizer:
        rate, decay = self.options.learning_rate, self.options.weight_decay
        return torch.optim.AdamW(self.learned.parameters(), lr=rate, betas=(0.5, 0.999), weight_decay=decay)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        scores, differences = self._scored(batch.features, batch.class_names)
        logits = LayerLogits(differences, corners_aligned=True, softmax_last=True)
        maps, rows = probability_maps(logits, batch.masks.shape[1:]), self.options.dice_rows
        local = probability_map_losses(maps, batch.masks, dice_of=("abnormal", "normal"), by_rows=rows)
        return {"image": focal(scores[:, None, None, None], batch.labels[:, None, None].to(scores)), **local}

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        scores, differences = self._scored(features, class_names)
        mean = differences.mean(dim=1, keepdim=True)
        if self.options.image_score == "map":
            scores = torch.sigmoid(mean.flatten(1).amax(dim=1))
        return Prediction(scores, LayerLogits(mean, corners_aligned=True, softmax_last=True))

    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return {"text": self.text(features.image, class_names)}

    def _scored(self, features: Features, class_names: Sequence[ClassName]) -> tuple[Tensor, Tensor]:
        """Return image scores of shape `(B,)` and the layers' differences of logits of shape `(B, L, h, w)`."""
        options, text = self.options, self.text(features.image, class_names)
        embedding, patches = self.embeddings(features)
        differences = logit_differences(patches, text)
        if options.image_score == "fusion":
            mean, seed = differences.mean(dim=1).flatten(1), options.kmeans_seed
            clusters = fused_patches(patches, mean, clusters=options.clusters, seed=seed, paper=options.hsf_paper)
            embedding = torch.lerp(embedding, clusters, options.fusion_weight)
        logits = LOGIT_FACTOR * (F.normalize(embedding, dim=-1) * (text[:, 1] - text[:, 0])).sum(dim=-1)
        return torch.sigmoid(logits), differences

    def embeddings(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return unit embeddings of the class token, of shape `(B, D)`, and of patches, of shape `(B, L, N, D)`."""
        if features.images is not None and (prompts := self._prompts("vision", features.image)):
            blocks, recompute = [layer.block for layer in self.layers], self.options.recompute
            image, hidden = prompted_vision(self.backbone, features.images, prompts, blocks, recompute=recompute)
        else:
            image, hidden = features.image, [features.hidden[layer] for layer in self.layers]
        if self.options.project:
            return F.normalize(self.learned.cls(image), dim=-1), self.learned.patches(hidden)
        patches = torch.stack([self.backbone.embed(tokens) for tokens in hidden], dim=1)
        return F.normalize(image, dim=-1), F.normalize(patches, dim=-1)

    def text(self, image: Tensor, class_names: Sequence[ClassName]) -> Tensor:
        """Return unit text embeddings of shape `(B, 2, D)`, normal first, for CLIP's image embeddings `(B, D)`."""
        names = [published_name(name) if self.options.raw_class_names else str(name) for name in class_names]
        if prompts := self._prompts("text", image):
            texts, recompute = partial(state_prompts, TEMPLATES), self.options.recompute
            return prompted_pairs(self.backbone, names, texts, prompts, recompute=recompute)
        for name in names:
            if name not in self._fixed:
                self._fixed[name] = normal_abnormal(self.backbone.encode_text, *state_prompts(TEMPLATES, name))
        return torch.stack([self._fixed[name] for name in names])

    def _prompts(self, tower: str, image: Tensor) -> dict[int, Tensor]:
        """Return the prompts of a tower by block, of shape `(B, M, W)` or `(M, W)`; none if it is not prompted."""
        found = self.learned.prompters[tower](image) if tower in self.learned.prompters else {}
        return {block: tokens.half().float() for block, tokens in found.items()} if self.options.prompt_half else found

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read a published checkpoint."""
        return read_published(state)
