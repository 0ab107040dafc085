"""MRAD-TF (Xu et al., ICLR 2026): anomaly probabilities retrieved from a memory of features, without training.

Source: the published code (CROVO1026/MRAD, commit 1cc1c6b). MRAD-FT and MRAD-CLIP are in `mrad_ft.py` and
`mrad_clip.py`.

The memory is built in one pass over the auxiliary images: one key for each image, and one for its anomalous and for its
normal region. The score of an image is `k · p(g) + (1 − k) · (mean of the highest 1 % of pixels of its smoothed map)`.

Not reproduced: the published results have VisA's memory for all targets but VisA, and MVTec AD's for VisA; which
auxiliary dataset is taken here is told by the protocol.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

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
    Stage,
    TopOfMap,
    TrainingBatch,
    VisionSpec,
    inference_option,
)
from methods.base import image_embedding, to_grid
from methods.entries import float32
from methods.memory_bank import Bank, Memory, neighbourhood_means, region_keys, retrieve

TOP = 0.01
"""Share of the pixels of a map, the highest ones, whose mean is added to the score of the image."""
TEMPERATURE = 0.07
"""Temperature τ of the logits of images that MRAD-FT is trained with and of MRAD-CLIP's prompts; that of the retrieval
of MRAD-TF, if it has one."""

_WEIGHTS = (0.5, 0.7, 0.8, 1.0)
MIX = Ablation("mix", "Weight k of p(g) in the image score", {f"k = {k:g}": {"score_mix": k} for k in _WEIGHTS})
ABLATIONS = (
    Ablation(
        "quirks",
        "Quirks of the published code, each switched by itself",
        {
            "as published": {},
            "retrieval with temperature": {"no_retrieval_temperature": False},
            "padding not counted": {"pool_counts_padding": False},
            "image embedding of CLIP": {"global_ln_post": True},
        },
    ),
    MIX,
)


@dataclass(frozen=True, slots=True)
class MradOptions:
    """Hyper-parameters of all three methods. The defaults are those of the published scripts."""

    pool_counts_padding: bool = True
    """Quirk: in the published code the squares around patches of the border are filled up with zeros."""
    global_ln_post: bool = False
    """Quirk: the published code projects the CLS token without CLIP's last layer norm."""
    score_mix: Annotated[float, Field(ge=0, le=1)] = inference_option(0.7)
    """Quirk: weight k of the image in its score, that of the map is 1 − k. The scripts also name 0.5, which ranks
    images as the sum of both does that the paper has, and 0.8."""


@dataclass(frozen=True, slots=True)
class MradTfOptions(MradOptions):
    """Hyper-parameters of MRAD-TF."""

    no_retrieval_temperature: bool = inference_option(True)
    """Quirk: the published code takes the softmax of the cosines themselves. The paper divides them by a temperature
    whose value is not known here; without the quirk it is 0.07, as in other methods."""


class Mrad(Learner):
    """What the three methods have in common: the memory and the scores."""

    paper = "Xu et al., MRAD, ICLR 2026"
    smoothing = 4.0
    options: MradOptions
    learned: Memory

    def __init__(self, backbone: FrozenClip, options: MradOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        self.layer = Layer(backbone.blocks, Dpam(min(2, backbone.blocks)))
        self.learned = self.new_memory(torch.Generator().manual_seed(seed)).to(backbone.device)

    def new_memory(self, generator: torch.Generator) -> Memory:
        """Return what is learned, before it is: an empty memory, and whatever is drawn besides."""
        return Memory(self.backbone.width, self.backbone.vision_width)

    def vision(self) -> VisionSpec:
        return self.memory_vision()

    def memory_vision(self) -> VisionSpec:
        """Return what the memory and retrieval read: the tokens of patches, besides the image embedding."""
        return VisionSpec(self.backbone.image_size, tokens=(self.layer,))

    def remembering(self) -> Stage:
        """Return the stage that builds the memory. Its batch size changes nothing."""
        return Stage(self.remember, None, epochs=1, batch_size=8, vision=self.memory_vision(), name="memory")

    def remember(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Keep the keys of images and of their regions: the patches where the resized mask is exactly 1, or exactly 0.

        The mask is resized without antialias: the pixels in the middle of a patch decide, the others are not read.

        Where all auxiliary images are normal, or all anomalous, p(g) is the same for every image, as in the published
        code. Images are then ranked by their maps alone.
        """
        images, means, grid = self.image_queries(batch.features), self.means(batch.features), batch.features.grid
        self.learned.images.add(anomalous=images[batch.labels == 1], normal=images[batch.labels == 0])
        cells = F.interpolate(batch.masks[:, None], size=(grid, grid), mode="bilinear").flatten(1)
        self.learned.regions.add(anomalous=region_keys(means, cells == 1), normal=region_keys(means, cells == 0))
        return {}

    def image_queries(self, features: Features) -> Tensor:
        """Return unit image embeddings g of shape `(B, D)`."""
        return F.normalize(image_embedding(features, ln_post=self.options.global_ln_post), dim=-1)

    def means(self, features: Features) -> Tensor:
        """Return the neighbourhood means of the tokens of patches, of shape `(B, N, W)`."""
        counted = self.options.pool_counts_padding
        return neighbourhood_means(features.tokens[self.layer], features.grid, count_padding=counted)

    def patch_queries(self, features: Features) -> Tensor:
        """Return unit neighbourhood means of the tokens of patches, of shape `(B, N, W)`."""
        return F.normalize(self.means(features), dim=-1)

    def regions(self) -> Bank:
        """Return the keys of regions.

        Raises:
            BenchError: There are no keys of anomalous regions, or none of normal ones.
        """
        bank = self.learned.regions
        for kind, keys, why in (
            ("anomalous", bank.anomalous, "no mask covers the middle of a patch"),
            ("normal", bank.normal, "no mask leaves the middle of a patch free"),
        ):
            if not len(keys):
                raise BenchError(
                    f"{self.title} has no {kind} region in its memory: {why} in the auxiliary dataset; choose another "
                    "by --auxiliary"
                )
        return bank

    @abstractmethod
    def image_probability(self, features: Features) -> Tensor:
        """Return the anomaly probabilities p(g) of images, of shape `(B,)`."""

    @abstractmethod
    def patch_probability(self, features: Features) -> Tensor:
        """Return the anomaly probabilities of patches, of shape `(B, N)`."""

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return self.scored(features, self.patch_probability(features))

    def scored(self, features: Features, patches: Tensor) -> Prediction:
        """Return the prediction for anomaly probabilities of patches of shape `(B, N)`."""
        mix = self.options.score_mix
        return Prediction(mix * self.image_probability(features), to_grid(patches), top=TopOfMap(1 - mix, TOP))


class MradTf(Mrad):
    """Anomaly probabilities of images and patches by softmax over the keys of the memory; nothing is trained."""

    name = "mrad_tf"
    title = "MRAD-TF"
    stochastic = False
    ablations = ABLATIONS
    Options = MradTfOptions
    options: MradTfOptions

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        return [self.remembering()]

    def image_probability(self, features: Features) -> Tensor:
        return retrieve(self.image_queries(features), self.learned.images, temperature=self.temperature)

    def patch_probability(self, features: Features) -> Tensor:
        return retrieve(self.patch_queries(features), self.regions(), temperature=self.temperature)

    @property
    def temperature(self) -> float:
        """Temperature τ of the softmax over the keys."""
        return 1.0 if self.options.no_retrieval_temperature else TEMPERATURE

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read a published memory."""
        return {}, read_memory(state)


def read_memory(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of `Memory` for the two files of a published one.

    They are `cache_model_SET.pt` and `cache_patch_model_SET.pt`, and hold `keys` of shape `(N, D)` and `(N, W)` and
    `values` of shape `(N, 2)`, of which the second is 1 for an anomalous key.

    Args:
        state: Tensors by the stem of their file and their name.

    Raises:
        KeyError: Either of them is missing.
        ValueError: There are several of one kind, the two are of different sets, or their shapes are of no memory.
    """
    starts = {"images": "cache_model_", "regions": "cache_patch_model_"}
    stems = sorted({name.rpartition(".")[0] for name in state if name.startswith(tuple(starts.values()))})
    of = {bank: [stem for stem in stems if stem.startswith(start)] for bank, start in starts.items()}
    sets = {stem.removeprefix(start) for bank, start in starts.items() for stem in of[bank]}
    if all(of.values()) and (len(stems) > 2 or len(sets) > 1):
        raise ValueError(
            f"{', '.join(stems)} are of several memories; name one cache_model_SET.pt and the cache_patch_model_SET.pt "
            "of the same SET"
        )
    found: dict[str, Tensor] = {}
    for bank, start in starts.items():
        stem = next(iter(of[bank]), f"{start}SET")
        keys, values = state[f"{stem}.keys"], state[f"{stem}.values"]
        if keys.dim() != 2 or values.shape != (len(keys), 2):
            raise ValueError(
                f"{stem}: keys of shape {tuple(keys.shape)} and values of shape {tuple(values.shape)} are of no "
                "memory, which has (N, W) and (N, 2)"
            )
        anomalous = values[:, 1] > 0.5
        found |= {f"{bank}.anomalous": keys[anomalous], f"{bank}.normal": keys[~anomalous]}
    return float32(found)
