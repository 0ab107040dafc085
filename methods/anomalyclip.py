"""AnomalyCLIP (Zhou et al., ICLR 2024): object-agnostic prompts learned from image labels and masks; DPAM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

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
)
from methods.base import anomaly_probability, first_of_path, image_embedding, require_blocks, to_grid
from methods.losses import image_cross_entropy, map_losses
from methods.object_prompts import ObjectPrompts, deep_prompts, read_prompts
from methods.prompts import encode_pairs

_SCALES = (0.5, 0.75, 1.0, 1.25)
_FOUR = {"feature_layers": "four"}
_T1: dict[str, Any] = {"deep_depth": 1, "word": ""}
_BASE = {**_T1, "attention": "original"}

# T4 has two readings. The text: four layers in place of one. The code: until April 2025 its four layers were four times
# the last one, that is, the local loss weighted 4 in place of 1. Base and +T1 are printed with equal image scores, as
# they have without training.
ABLATIONS = (
    Ablation(
        "modules",
        "Modules by the text (T1 DPAM, T2 object-agnostic prompts, T3 deep text prompts, T4 four layers)",
        {"base": _BASE, "+T1": _T1, "+T2": {"deep_depth": 1}, "+T3": {}, "+T4": _FOUR},
    ),
    Ablation(
        "modules_code",
        "Modules by the code (base and T1 untrained, T4 local loss weighted 4 in place of 1)",
        {
            "base": {**_BASE, "epochs": 0},
            "+T1": {**_T1, "epochs": 0},
            "+T2": {"deep_depth": 1, "local_weight": 1.0},
            "+T3": {"local_weight": 1.0},
            "+T4": {},
        },
    ),
    Ablation(
        "losses",
        "Global and local optimisation",
        {
            "neither": {"epochs": 0},
            "global": {"local_loss": False},
            "local": {"global_loss": False},
            "global + Dice": {"local_terms": "dice"},
            "global + focal": {"local_terms": "focal"},
            "global + local": {},
        },
    ),
    Ablation(
        "attention",
        "Attention of the DPAM path",
        {
            "CLIP's own": {"attention": "original"},
            **{name: {"attention": key} for name, key in (("Q-Q", "qq"), ("K-K", "kk"))},
            "V-V": {},
            "V-V with MLP": {"ffn": True},
        },
    ),
    Ablation("shared", "Context of the two prompts", {"one each": {}, "shared": {"shared_context": True}}),
    Ablation("context", "Length E of the learned context", {f"E = {n}": {"context": n} for n in (8, 10, 12, 14, 16)}),
    Ablation(
        "depth",
        "Depth M of the deep text prompts, at most that of the text tower",
        {f"M = {n}": {"deep_depth": n} for n in (1, 5, 7, 9, 11)},
    ),
    Ablation("tokens", "Length N of the deep text prompts", {f"N = {n}": {"deep_tokens": n} for n in (2, 3, 4, 5, 6)}),
    Ablation(
        "words",
        "Words of the prompt template",
        {
            "object / damaged object": {},
            "class name": {"word": ""},
            **{word: {"word": word} for word in ("item", "thing")},
            "object / anomalous object": {"abnormal_word": "anomalous"},
            "object / object": {"abnormal_word": ""},
        },
    ),
    Ablation("layers", "Layers whose patches are scored", {"last": {}, "four": _FOUR}),
    Ablation("resolution", "Side of the input, by the backbone's", {f"× {n}": {"image_scale": n} for n in _SCALES}),
)


@dataclass(frozen=True, slots=True)
class AnomalyClipOptions:
    """Hyper-parameters of AnomalyCLIP. The defaults are those of the published scripts."""

    context: Annotated[int, Field(ge=1)] = 12
    """Number E of learned vectors before the word of each prompt."""
    shared_context: bool = False
    """Whether both prompts share one learned context, V = W."""
    deep_depth: Annotated[int, Field(ge=1)] = 9
    """Depth M: the text blocks 2 to M have learned tokens of their own; 1 for none."""
    deep_tokens: Annotated[int, Field(ge=1)] = 4
    """Number N of learned tokens of each of these blocks."""
    word: str = "object"
    """Word that replaces the class name; empty for the class name itself (not object-agnostic)."""
    abnormal_word: str = "damaged"
    """Word before it in the abnormal prompt."""
    attention: Literal["vv", "qq", "kk", "original"] = "vv"
    """Path of the patch tokens: DPAM with V-V, Q-Q or K-K attention, or CLIP's own path."""
    first_block: Annotated[int, Field(ge=1)] | None = None
    """First block of the DPAM path; None for that of the backbone (6 of 24; the published "20" counts from the end)."""
    ffn: bool = False
    """Whether the DPAM path also runs the MLPs."""
    feature_layers: Literal["last", "four"] | Annotated[tuple[int, ...], Field(min_length=1)] = "last"
    """Quirk: the published scripts score the last block, the paper says four blocks at each quarter of the tower."""
    global_ln_post: bool = False
    """Quirk: the published code projects the CLS token without CLIP's last layer norm."""
    deep_prompt_half: bool = False
    """Quirk: the published code rounds the deep prompts to float16 in the forward pass."""
    global_loss: bool = True
    """Whether to train on image labels."""
    local_loss: bool = True
    """Whether to train on masks."""
    local_terms: Literal["both", "focal", "dice"] = "both"
    """Which of the losses of the maps are used."""
    local_weight: float = 4.0
    """Weight of the losses of the maps."""
    image_scale: float = 1.0
    """Side of the input relative to the default of the backbone, rounded to whole patches."""
    epochs: int = 15
    batch_size: int = 8
    learning_rate: float = 1e-3
    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


class AnomalyClip(Learner):
    """Prompts `[V1]…[VE][object].` and `[W1]…[WE][damaged][object].`, the same for every class.

    The loss (equation 3) is the cross-entropy of the image plus 4 · (focal + Dice) of the maps. The image score is the
    anomaly probability of the image embedding. The map is `Σ_l ½(S_l,a + 1 − S_l,n)`, which equals the sum of the
    anomaly probabilities over the layers l, smoothed by a Gaussian filter.
    """

    name = "anomalyclip"
    title = "AnomalyCLIP"
    paper = "Zhou et al., AnomalyCLIP, ICLR 2024"
    smoothing = 4.0
    divisible = True
    ablations = ABLATIONS
    Options = AnomalyClipOptions
    options: AnomalyClipOptions

    def __init__(self, backbone: FrozenClip, options: AnomalyClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        prompts = ObjectPrompts(
            backbone,
            context=options.context,
            shared_context=options.shared_context,
            deep_depth=options.deep_depth,
            deep_tokens=options.deep_tokens,
            generator=torch.Generator().manual_seed(seed),
        )
        self.learned: ObjectPrompts = prompts.to(backbone.device)
        self.layers = self._layers()

    def _layers(self) -> tuple[Layer, ...]:
        """Return the layers whose patch embeddings are scored."""
        chosen, backbone = self.options, self.backbone
        named = {"last": (backbone.blocks,), "four": backbone.feature_blocks}
        blocks = named[chosen.feature_layers] if isinstance(chosen.feature_layers, str) else chosen.feature_layers
        require_blocks(backbone, "anomalyclip.feature_layers", blocks)
        first = first_of_path(backbone, "anomalyclip.first_block", chosen.first_block)
        path = None if chosen.attention == "original" else Dpam(first, chosen.attention, chosen.ffn)
        return tuple(Layer(block, path) for block in blocks)

    def vision(self) -> VisionSpec:
        patch = self.backbone.patch_size
        patches = max(1, round(self.backbone.image_size * self.options.image_scale / patch))
        return VisionSpec(image_size=patches * patch, layers=self.layers)

    def training_vision(self) -> VisionSpec:
        return self.vision() if self.options.local_loss else replace(self.vision(), layers=())

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned.parameters(), lr=self.options.learning_rate, betas=(0.5, 0.999))

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        chosen, temperature = self.options, self.options.temperature
        text = self.text(batch.class_names)
        terms: dict[str, Tensor] = {}
        if chosen.global_loss:
            image = self._image_embedding(batch.features)
            terms["image"] = image_cross_entropy(image, text, batch.labels, temperature=temperature)
        if chosen.local_loss:
            pairs = [(batch.features.patches[layer], text) for layer in self.layers]
            local = map_losses(pairs, batch.masks, temperature=temperature, weight=chosen.local_weight)
            terms |= {n: term for n, term in local.items() if chosen.local_terms in ("both", n.partition("_")[0])}
        return terms

    def predict(self, features: Features, class_names: Sequence[str]) -> Prediction:
        text, temperature = self.text(class_names), self.options.temperature
        layers = [anomaly_probability(features.patches[layer], text, temperature=temperature) for layer in self.layers]
        return Prediction(
            scores=anomaly_probability(self._image_embedding(features)[:, None], text, temperature=temperature)[:, 0],
            maps=to_grid(torch.stack(layers).sum(dim=0)),
        )

    def text_features(self, features: Features, class_names: Sequence[str]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)}

    def text(self, class_names: Sequence[str]) -> Tensor:
        """Return unit text embeddings of shape `(len(class_names), 2, D)`, normal first; each word is encoded once."""
        learned, deep = self.learned, deep_prompts(self.learned.deep, half=self.options.deep_prompt_half)
        words = [self.options.word or name for name in class_names]
        distinct, abnormal = list(dict.fromkeys(words)), f"{self.options.abnormal_word} ".lstrip()
        context = learned.normal if self.options.shared_context else learned.abnormal
        pairs = [((learned.normal, f"{word}."), (context, f"{abnormal}{word}.")) for word in distinct]
        return encode_pairs(self.backbone, pairs, deep=deep)[[distinct.index(word) for word in words]]

    def _image_embedding(self, features: Features) -> Tensor:
        return image_embedding(features, ln_post=self.options.global_ln_post)

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read the published `prompt_learner`."""
        return read_prompts(state)
