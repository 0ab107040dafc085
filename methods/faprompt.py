"""FAPrompt (Zhu et al., ICCV 2025): several abnormal prompts on one normal context, moved by patches of the image.

Source: the published code (mala-lab/FAPrompt, commit 7e9d9d2). What it has without effect is no option here:

- `layers_ignored`: it takes a list of layers, but scores the last block alone;
- `n_ctx_ignored`: it takes a length of the context, but its class fixes 5 and 2 tokens, 10 prompts and 10 patches;
- `compound_prompt_projections`: linear layers that its optimiser holds and that never get a gradient.

Not reproduced: in a batch of one image, which MVTec AD and VisA do not leave, its Dice losses are of rows of pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from benchmark.contract import (
    Ablation,
    BenchError,
    ClassName,
    Dpam,
    Features,
    FrozenClip,
    Layer,
    Learner,
    Prediction,
    Prompt,
    TrainingBatch,
    VisionSpec,
)
from methods.base import anomaly_probability, first_of_path, image_embedding, learned_tokens, linear, to_grid
from methods.entries import float32
from methods.losses import image_cross_entropy, map_losses
from methods.object_prompts import deep_prompts, draw_deep, read_deep

ABLATIONS = (
    # The base of the paper is AnomalyCLIP, whose abnormal prompt has a context of its own; here it shares V.
    Ablation(
        "modules",
        "Compound abnormal prompts (CAP) and prior of the image (DAP)",
        {"base": {"prompts": 1, "patches": 0}, "+ CAP": {"patches": 0}, "+ DAP": {}},
    ),
    Ablation(
        "quirks",
        "Quirks of the published code, each switched by itself",
        {
            "as published": {},
            "most abnormal patches": {"dap_first_patches": False},
            "focal loss of a probability": {"score_as_logit": False},
            "deep prompts in float16": {"deep_prompt_half": True},
            "mean of unit embeddings": {"mean_raw_embeddings": False},
            "last layer norm of CLS": {"global_ln_post": True},
        },
    ),
    Ablation("prompts", "Number K of abnormal prompts", {f"K = {n}": {"prompts": n} for n in (1, 5, 10, 15, 20)}),
    Ablation("patches", "Number M of patches of the prior", {f"M = {n}": {"patches": n} for n in (1, 5, 10, 15, 20)}),
)


@dataclass(frozen=True, slots=True)
class FaPromptOptions:
    """Hyper-parameters of FAPrompt. The defaults are those of the published scripts."""

    context: Annotated[int, Field(ge=1)] = 5
    """Number of learned vectors V that all prompts begin with."""
    abnormal_tokens: Annotated[int, Field(ge=1)] = 2
    """Number of learned vectors A of each abnormal prompt, behind V."""
    prompts: Annotated[int, Field(ge=1)] = 10
    """Number K of abnormal prompts (CAP)."""
    patches: Annotated[int, Field(ge=0)] = 10
    """Number M of patches that the prior is made of (DAP); 0 for no prior: all images then have the shared prompts."""
    deep_depth: Annotated[int, Field(ge=1)] = 9
    """The text blocks 2 to this one have learned tokens of their own; 1 for none."""
    deep_tokens: Annotated[int, Field(ge=1)] = 4
    """Number of learned tokens of each of these blocks. They replace the first tokens of all prompts, those of V."""
    first_block: Annotated[int, Field(ge=1)] | None = None
    """First block of the V-V path; None for that of the backbone (6 of 24; the published "20" counts from the end)."""
    dap_first_patches: bool = True
    """Quirk: the published code takes the first M patches (top left), the paper the M most abnormal, best first."""
    score_as_logit: bool = True
    """Quirk: the focal loss of the published code takes the image score, which is a probability, for a logit."""
    mean_raw_embeddings: bool = True
    """Quirk: the published code takes the mean of the abnormal embeddings before they are scaled to unit length."""
    global_ln_post: bool = False
    """Quirk: the published code projects the CLS token without CLIP's last layer norm."""
    deep_prompt_half: bool = False
    """Quirk: the published code rounds the deep prompts to float16 in the forward pass."""
    epochs: int = 15
    """Quirk `epoch_7`: the training script runs 15 epochs, the example of the test script loads the seventh of them."""
    batch_size: int = 8
    learning_rate: float = 1e-3
    temperature: float = 0.07
    """Temperature τ of the softmax over the two cosine similarities."""


def binary_focal(scores: Tensor, labels: Tensor, *, of_logits: bool) -> Tensor:
    """Return the mean focal loss (Lin et al., 2017; γ = 2) of B scores, which are probabilities or logits."""
    of = F.binary_cross_entropy_with_logits if of_logits else F.binary_cross_entropy
    entropy = of(scores, labels.to(scores), reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()


class _Learned(nn.Module):
    """The learned tokens of the prompts and of the text blocks, and the prior of the patches."""

    def __init__(self, options: FaPromptOptions, backbone: FrozenClip, generator: torch.Generator) -> None:
        super().__init__()
        width, seen = backbone.text_width, options.patches * backbone.width
        self.normal = learned_tokens(options.context, width, generator=generator)
        self.abnormal = learned_tokens(options.prompts * options.abnormal_tokens, width, generator=generator)
        sizes = {"depth": options.deep_depth, "count": options.deep_tokens, "context": options.context}
        self.deep = draw_deep(backbone, **sizes, generator=generator)
        if seen:
            hidden = max(1, seen // 16)
            first, second = (linear(*sizes, generator=generator) for sizes in ((seen, hidden), (hidden, width)))
            self.prior = nn.Sequential(first, nn.ReLU(), second)


@dataclass(frozen=True, slots=True)
class _Scored:
    """What the two passes through the text tower give for B images: scores of shape `(B,)`, and how they come about."""

    abnormal: Tensor
    """Embeddings of the shared abnormal prompts of shape `(K, D)`, not normalised."""
    bias: Tensor
    """What the prior adds to each abnormal token of an image, of shape `(B, W)`; 0 of shape `(B, 1)` without prior."""
    texts: tuple[Tensor, Tensor]
    """Unit embeddings of shape `(B, 2, D)`, normal first: those of the shared prompts, and those of each image."""
    maps: tuple[Tensor, Tensor]
    """Anomaly probabilities of patches of shape `(B, N)` by either of them."""
    scores: Tensor


class FaPrompt(Learner):
    """Prompts `[V1]…[V5][object].` and, for k from 1 to K, `[V1]…[V5][A_k1][A_k2][damaged][object].`.

    All images have the shared prompts first. Then a bias that a small network makes of M patches of the image is added
    to each A; the normal prompt stays. S1 and S2 are the anomaly probabilities of the patches by either, q is that of
    the image embedding by the second. The map is `½ (S1 + S2)`, smoothed by a Gaussian filter; the image score is
    `½ (q + (2 max S1 + max S2) / 3)` with maxima over the patches.

    The loss is `l(S1) + ½ l(S2)`, where l is the focal and Dice losses of AnomalyCLIP, plus the cross-entropy of q, a
    focal loss of the image score, 0.1 times the sum of the absolute cosines between the shared abnormal embeddings, and
    the mean square of the bias, summed over the normal images of the batch.
    """

    name = "faprompt"
    title = "FAPrompt"
    paper = "Zhu et al., FAPrompt, ICCV 2025"
    smoothing = 10.0
    magnifies = True  # prompts that start alike are driven apart, so last digits come to half a point of a mean
    ablations = ABLATIONS
    Options = FaPromptOptions
    options: FaPromptOptions

    def __init__(self, backbone: FrozenClip, options: FaPromptOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        if options.patches > (most := (backbone.image_size // backbone.patch_size) ** 2):
            raise BenchError(f"faprompt.patches={options.patches}: an image has {most} patches; choose at most {most}")
        self.layer = Layer(backbone.blocks, Dpam(first_of_path(backbone, "faprompt.first_block", options.first_block)))
        generator = torch.Generator().manual_seed(seed)
        self.learned: _Learned = _Learned(options, backbone, generator).to(backbone.device)

    def vision(self) -> VisionSpec:
        return VisionSpec(image_size=self.backbone.image_size, layers=(self.layer,))

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned.parameters(), lr=self.options.learning_rate, betas=(0.5, 0.999))

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        temperature, found = self.options.temperature, self._scored(batch.features)
        patches, image = batch.features.patches[self.layer], self._image_embedding(batch.features)
        first, second = (
            map_losses([(patches, text)], batch.masks, temperature=temperature, weight=weight)
            for text, weight in zip(found.texts, (1.0, 0.5), strict=True)
        )
        unit = F.normalize(found.abnormal, dim=-1)
        return {
            "image": image_cross_entropy(image, found.texts[1], batch.labels, temperature=temperature),
            "score": binary_focal(found.scores, batch.labels, of_logits=self.options.score_as_logit),
            **{name: first[name] + second[name] for name in first},
            "similarity": 0.1 * (unit @ unit.T).triu(diagonal=1).abs().sum(),
            "prior": ((batch.labels == 0) * found.bias.square().mean(dim=1)).sum(),
        }

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        found = self._scored(features)
        return Prediction(scores=found.scores, maps=to_grid((found.maps[0] + found.maps[1]) / 2))

    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return dict(zip(("shared", "of the image"), self._scored(features).texts, strict=True))

    def _scored(self, features: Features) -> _Scored:
        learned, patches = self.learned, features.patches[self.layer]
        images, temperature = len(patches), self.options.temperature
        contexts = torch.stack(learned.abnormal.chunk(self.options.prompts))
        normal, abnormal = self._encoded(contexts, (learned.normal, "object.")).tensor_split([1])
        shared = self._pair(normal, abnormal[None]).expand(images, -1, -1)
        first = anomaly_probability(patches, shared, temperature=temperature)
        own, second, bias = shared, first, patches.new_zeros(images, 1)
        if self.options.patches:
            bias = learned.prior(self._prior_patches(patches, first).flatten(1))
            moved = self._encoded((contexts + bias[:, None, None]).flatten(0, 1))
            own = self._pair(normal, moved.reshape(images, *abnormal.shape))
            second = anomaly_probability(patches, own, temperature=temperature)
        image = anomaly_probability(self._image_embedding(features)[:, None], own, temperature=temperature)[:, 0]
        scores = (image + (2 * first.amax(dim=1) + second.amax(dim=1)) / 3) / 2
        return _Scored(abnormal, bias, (shared, own), (first, second), scores)

    def _prior_patches(self, patches: Tensor, abnormality: Tensor) -> Tensor:
        """Return the unit embeddings `(B, M, D)` that the prior is made of, of patches `(B, N, D)`."""
        if self.options.dap_first_patches:
            return F.normalize(patches[:, : self.options.patches], dim=-1)
        best = abnormality.topk(self.options.patches, dim=1).indices
        return F.normalize(patches.take_along_dim(best[..., None], dim=1), dim=-1)

    def _encoded(self, contexts: Iterable[Tensor], *others: Prompt) -> Tensor:
        """Return the embeddings of other prompts and of an abnormal prompt for each context, not normalised."""
        deep = deep_prompts(self.learned.deep, half=self.options.deep_prompt_half)
        abnormal = [(self.learned.normal, context, "damaged object.") for context in contexts]
        return self.backbone.encode_prompts([*others, *abnormal], deep=deep)

    def _pair(self, normal: Tensor, abnormal: Tensor) -> Tensor:
        """Return unit embeddings `(G, 2, D)` of one normal embedding `(1, D)` and K abnormal ones `(G, K, D)` each."""
        mean = (abnormal if self.options.mean_raw_embeddings else F.normalize(abnormal, dim=-1)).mean(dim=1)
        return F.normalize(torch.stack([normal.expand_as(mean), mean], dim=1), dim=-1)

    def _image_embedding(self, features: Features) -> Tensor:
        return image_embedding(features, ln_post=self.options.global_ln_post)

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read the published `prompt_learner`.

        It holds `ctx_pos` of shape `(1, 1, n, W)`, `ctx_neg` of shape `(1, K, n, W)`, what `read_deep` reads, and the
        two layers of `patch_meta_net`. What else it holds has no effect.
        """
        normal, abnormal, (of_blocks, deep) = state["ctx_pos"], state["ctx_neg"], read_deep(state)
        options = {"context": normal.shape[-2], "prompts": abnormal.shape[-3], "abnormal_tokens": abnormal.shape[-2]}
        learned = {"normal": normal.flatten(0, -2), "abnormal": abnormal.flatten(0, -2), **deep}
        for layer, name in ((0, "linear1"), (2, "linear2")):
            learned |= {f"prior.{layer}.{part}": state[f"patch_meta_net.{name}.{part}"] for part in ("weight", "bias")}
        return options | of_blocks, float32(learned)
