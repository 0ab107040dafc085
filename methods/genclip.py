"""GenCLIP (Kim et al., 2025): general query prompts enriched with vision features of several layers, in two branches.

It was published in three forms: arXiv 2504.14919 v1 (2025), an article in Pattern Recognition 178 (2026), and a
repository (eastbrother87/GenCLIP) whose code was not released. This implementation reads the first, by its abstract and
the captions of its figures: it filters class names; the article gives uninformative terms less weight instead.

The paper states: the normal and the abnormal prompt have tokens of their own (N_P, A_P) and shared tokens (Q_P);
features of several layers are added as tokens (MVP); the losses are focal and Dice losses on the maps of the layers;
training uses everything except class name filtering (CNF) and the query-only branch; inference uses a vision-enhanced
branch with CNF and a query-only branch.

The paper leaves open, and this implementation chooses:

- lengths: 4 own tokens, 8 shared tokens, 1 vision token per layer;
- order of the tokens: `[N_P][Q_P][V_i][c].` and `[A_P][Q_P][V_i][damaged][c].`;
- V_i: a linear projection (one per layer) of the unit CLS embedding of block i in CLIP's joint space;
- patch embeddings: the V-V path of AnomalyCLIP, blocks 6, 12, 18, 24 of 24;
- optimiser, epochs, batch size and σ of the Gaussian filter: those of AnomalyCLIP; the ablation "recipe" has the
  optimiser, epochs and batch size of AdaCLIP, on whose code, too, the authors built;
- learning rate of the projections: that of the tokens divided by D, see `GenClipOptions.projection_rate`;
- CNF: the class name is replaced by "object" if the image is closer to "a photo of an object." than to
  "a photo of a {c}.";
- maps: the mean over the layers in each branch, then the mean of the branches;
- image score: the mean of the query-only branch's anomaly probability of the image embedding and the map's maximum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmark.contract import (
    Ablation,
    Dpam,
    Features,
    FrozenClip,
    Layer,
    Learner,
    Prediction,
    TrainingBatch,
    VisionSpec,
    inference_option,
)
from methods.base import anomaly_probability, learned_tokens, to_grid
from methods.losses import map_losses
from methods.prompts import encode_pairs

OBJECT = "object"

ADACLIP_RECIPE = {"epochs": 5, "batch_size": 1, "learning_rate": 0.01, "projection_rate": 0.01, "weight_decay": 0.01}

ABLATIONS = (
    Ablation(
        "modules",
        "Module ablation",
        {
            "without MVP": {"vision_tokens": 0},
            "without GQP": {"query_tokens": 0},
            "without CNF": {"cnf": False},
            "all": {},
        },
    ),
    Ablation(
        "branches",
        "Branches of the inference",
        {"vision-enhanced": {"branch": "vision"}, "query-only": {"branch": "query"}, "both": {}},
    ),
    Ablation(
        "layers",
        "Layers, counted in quarters of the tower",
        {"4": {"quarters": (4,)}, "3, 4": {"quarters": (3, 4)}, "2, 3, 4": {"quarters": (2, 3, 4)}, "1, 2, 3, 4": {}},
    ),
    Ablation(
        "query_tokens", "Number of general query tokens", {f"{n}": {"query_tokens": n} for n in (2, 4, 8, 12, 16)}
    ),
    Ablation("vision_tokens", "Number of vision tokens a layer", {f"{n}": {"vision_tokens": n} for n in (1, 2, 4)}),
    Ablation("recipe", "Optimiser, epochs and batch size", {"AnomalyCLIP's": {}, "AdaCLIP's": ADACLIP_RECIPE}),
)


@dataclass(frozen=True, slots=True)
class GenClipOptions:
    """Hyper-parameters of GenCLIP. The docstring of the module lists those that the paper leaves open."""

    own_tokens: int = 4
    """Number of learned tokens N_P of the normal prompt, and of A_P of the abnormal prompt."""
    query_tokens: int = 8
    """Number of learned tokens Q_P that both prompts share (GQP)."""
    vision_tokens: int = 1
    """Number of tokens V_i per layer that are projected from the image (MVP); 0 for none."""
    vision_source: Literal["cls", "patches"] = "cls"
    """Input of the projection: the CLS embedding of the layer, or the mean of its patch embeddings."""
    quarters: tuple[int, ...] = (1, 2, 3, 4)
    """Layers, counted in quarters of the tower."""
    cnf: bool = inference_option(True)
    """Whether class names are filtered in the vision-enhanced branch."""
    branch: Literal["both", "vision", "query"] = inference_option("both")
    """Branches of the inference: vision-enhanced, query-only, or the mean of both."""
    image_score: Literal["both", "text", "map"] = inference_option("both")
    """Image score: anomaly probability of the image embedding ("text"), maximum of the map, or the mean of both."""
    epochs: int = 15
    batch_size: int = 8
    learning_rate: float = 1e-3
    projection_rate: float | None = None
    """Learning rate of the projections; None for `learning_rate / D`, where D is the length of their inputs.

    Adam moves every weight by about the learning rate, whatever the size of its gradient. A projected token is a sum of
    D products, so it moves the further in a step the larger D is. With the learning rate of the tokens, training is
    chaotic: differences of 1e-7 between features grow to 10 % of the parameters. To divide by the number of inputs is
    the rule of μP for Adam (Yang et al., Tensor Programs V, 2022).
    """
    weight_decay: float = 0.0
    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


class _LearnedPrompts(nn.Module):
    """The learned tokens and the projections of the vision tokens."""

    def __init__(self, options: GenClipOptions, backbone: FrozenClip, layers: int, generator: torch.Generator) -> None:
        super().__init__()
        width, tokens = backbone.text_width, options.vision_tokens
        self.normal = learned_tokens(options.own_tokens, width, generator=generator)
        self.abnormal = learned_tokens(options.own_tokens, width, generator=generator)
        self.query = learned_tokens(options.query_tokens, width, generator=generator)
        # The product of unit embeddings and such weights is about as long as CLIP's token embeddings.
        self.project = nn.ParameterList(
            learned_tokens(tokens * width, backbone.width, generator=generator) for _ in range(layers if tokens else 0)
        )

    def vision_tokens(self, layer: int, embeddings: Tensor) -> Tensor:
        """Return the tokens V_i of shape `(B, n, W)` of unit embeddings of shape `(B, D)`."""
        if not self.project:
            return self.query.new_zeros(len(embeddings), 0, self.query.shape[1])
        tokens: Tensor = embeddings @ self.project[layer].T
        return tokens.reshape(len(embeddings), -1, self.query.shape[1])


class GenClip(Learner):
    """Prompts `[N_P][Q_P][V_i][c].` and `[A_P][Q_P][V_i][damaged][c].` for each layer i and image."""

    name = "genclip"
    title = "GenCLIP"
    paper = "Kim et al., GenCLIP, 2025"
    version = 2
    smoothing = 4.0
    divisible = True
    ablations = ABLATIONS
    Options = GenClipOptions
    options: GenClipOptions

    def __init__(self, backbone: FrozenClip, options: GenClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        path = Dpam(backbone.dpam_first)
        blocks = [backbone.feature_blocks[quarter - 1] for quarter in options.quarters]
        self.layers = tuple(Layer(block, path) for block in blocks)
        generator = torch.Generator().manual_seed(seed)
        self.learned: _LearnedPrompts = _LearnedPrompts(options, backbone, len(blocks), generator).to(backbone.device)
        self._name_embeddings: dict[str, Tensor] = {}

    def vision(self) -> VisionSpec:
        blocks = tuple(layer.block for layer in self.layers) if self.options.vision_source == "cls" else ()
        return VisionSpec(image_size=self.backbone.image_size, layers=self.layers, cls=blocks)

    def optimiser(self) -> torch.optim.Optimizer:
        chosen, learned = self.options, self.learned
        rate = chosen.learning_rate / self.backbone.width if chosen.projection_rate is None else chosen.projection_rate
        tokens = [learned.normal, learned.abnormal, learned.query]
        groups: list[dict[str, Any]] = [{"params": tokens}, {"params": list(learned.project), "lr": rate}]
        # Without weight decay AdamW is Adam.
        return torch.optim.AdamW(groups, lr=chosen.learning_rate, betas=(0.5, 0.999), weight_decay=chosen.weight_decay)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        text = self.vision_text(batch.features, batch.class_names)
        pairs = [(batch.features.patches[layer], each) for layer, each in zip(self.layers, text, strict=True)]
        return map_losses(pairs, batch.masks, temperature=self.options.temperature)

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        chosen, temperature = self.options, self.options.temperature
        texts = []
        if chosen.branch != "query":
            text = self.vision_text(features, class_names)
            if chosen.cnf:
                general = self.vision_text(features, [OBJECT] * len(class_names))
                text = torch.where(self.filtered(features.image, class_names)[:, None, None], general, text)
            texts.append(text)
        if chosen.branch != "vision":
            texts.append(self.query_text().expand(len(self.layers), len(class_names), -1, -1))
        patches = torch.stack([features.patches[layer] for layer in self.layers]).flatten(0, 1)
        maps = [anomaly_probability(patches, text.flatten(0, 1), temperature=temperature) for text in texts]
        images = len(class_names)
        grid = to_grid(torch.stack(maps).mean(dim=0).reshape(len(self.layers), images, -1).mean(dim=0))
        # The text of the query-only branch if it is used; it is the same for every layer.
        probability = anomaly_probability(
            features.image.expand(len(self.layers), -1, -1).flatten(0, 1)[:, None],
            texts[-1].flatten(0, 1),
            temperature=temperature,
        ).reshape(len(self.layers), -1)
        scores = {"text": probability.mean(dim=0), "map": grid.flatten(1).amax(dim=1)}
        both = (scores["text"] + scores["map"]) / 2
        return Prediction(scores=scores.get(chosen.image_score, both), maps=grid)

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, Tensor]:
        by_layer = zip(self.layers, self.vision_text(features, class_names), strict=True)
        general = self.query_text().expand(len(class_names), -1, -1)
        return {**{f"F_T, block {layer.block}": text for layer, text in by_layer}, "F_Q": general}

    def vision_text(self, features: Features, class_names: Sequence[str]) -> Tensor:
        """Return F_T: unit text embeddings of shape `(layers, B, 2, D)`, normal first, of each layer and image."""
        learned, pairs = self.learned, []
        for index, layer in enumerate(self.layers):
            by_cls = self.options.vision_source == "cls"
            seen = features.cls[layer.block] if by_cls else features.patches[layer].mean(dim=1)
            for vision, name in zip(learned.vision_tokens(index, F.normalize(seen, dim=-1)), class_names, strict=True):
                normal = (learned.normal, learned.query, vision, f"{name}.")
                pairs.append((normal, (learned.abnormal, learned.query, vision, f"damaged {name}.")))
        text = encode_pairs(self.backbone, pairs)
        return text.reshape(len(self.layers), len(class_names), *text.shape[1:])

    def query_text(self) -> Tensor:
        """Return F_Q: unit text embeddings of shape `(2, D)`, normal first, the same for all images and classes."""
        learned = self.learned
        normal = (learned.normal, learned.query, f"{OBJECT}.")
        return encode_pairs(self.backbone, [(normal, (learned.abnormal, learned.query, f"damaged {OBJECT}."))])[0]

    def filtered(self, image: Tensor, class_names: Sequence[str]) -> Tensor:
        """Return whether class name filtering (CNF) replaces the class name of each image by "object".

        A name is replaced if the image is closer to the prompt with that word than to its own prompt.

        Args:
            image: Image embeddings of shape `(B, D)`.
            class_names: Class name of each image.

        Returns:
            Booleans of shape `(B,)`.
        """
        prompts = {name: f"a photo of a {name}." for name in class_names} | {OBJECT: f"a photo of an {OBJECT}."}
        if new := [name for name in prompts if name not in self._name_embeddings]:
            embedded = F.normalize(self.backbone.encode_text([prompts[name] for name in new]), dim=-1)
            self._name_embeddings |= dict(zip(new, embedded, strict=True))
        unit = F.normalize(image, dim=-1)
        to_name = (unit * torch.stack([self._name_embeddings[name] for name in class_names])).sum(dim=-1)
        return unit @ self._name_embeddings[OBJECT] > to_name
