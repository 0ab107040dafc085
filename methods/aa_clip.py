"""AA-CLIP (Ma et al., CVPR 2025): residual adapters in both towers; text first, then patches that are aligned with it.

Source: the published code (Mwxinnn/AA-CLIP, commit 53db195). Its scripts score the checkpoints of all epochs of
the second stage.

Not reproduced: the few-shot trainings, whose lists are not in the repository; the option `--relu`; masks of training
images, which the code resizes to the nearest pixel, and which are resized here as for all methods. The code scales maps
to [0, 1] over a class, too; that changes no pixel metric and is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import (
    BackboneVariant,
    ClassName,
    Features,
    FrozenClip,
    Learner,
    Prediction,
    Stage,
    TrainingBatch,
    VisionSpec,
)
from methods.aa_clip_augmentation import jittered, moved
from methods.aa_clip_descriptions import description
from methods.aa_clip_options import ABLATIONS, AaClipOptions
from methods.aa_clip_parts import Learned, anchoring_features, level_losses, read_published, smoothed
from methods.base import first_of_path, require_blocks
from methods.linear_patches import LOGIT_FACTOR, logit_differences

BETAS = (0.5, 0.999)
MILESTONES = (16000, 32000)
"""Steps of the second stage after which its learning rate is halved."""


class AaClip(Learner):
    """Scores patches `P_j = norm(S_j LN(x_j))` of an adapted tower against texts t_n and t_a of an adapted tower.

    Maps are sums over the levels j of `(100 P_j·t_a + 1 − 100 P_j·t_n) / 2`, smoothed on the grid. An image scores as
    half of the map's maximum and half of `(d·t_a + 1) / 2`, where d is the mean of the patches `norm(W LN(x))` of the
    last level; in medical datasets as the maximum alone.
    """

    name = "aa_clip"
    title = "AA-CLIP"
    paper = "Ma et al., AA-CLIP, CVPR 2025"
    magnifies = True  # many steps on two images: last digits come to several points of a small dataset
    ablations = ABLATIONS
    Options = AaClipOptions
    options: AaClipOptions

    def __init__(self, backbone: FrozenClip, options: AaClipOptions, *, seed: int = 0) -> None:
        super().__init__(backbone, options, seed=seed)
        chosen = options.feature_layers or backbone.feature_blocks
        self.blocks = require_blocks(backbone, "aa_clip.feature_layers", chosen)
        self.first = first_of_path(backbone, "aa_clip.first_block", options.first_block)
        learned = Learned(
            backbone,
            levels=len(self.blocks),
            text=options.text_adapters,
            image=options.image_adapters,
            weight=options.adapter_weight,
            generator=torch.Generator().manual_seed(seed),
        )
        self.learned: Learned = learned.to(backbone.device)
        self._texts: dict[str, Tensor] = {}
        self._texts_of: list[tuple[int, int]] = []

    @classmethod
    def backbone_variant(cls, options: AaClipOptions) -> BackboneVariant:
        return BackboneVariant(plain_gelu=options.plain_gelu, pos_interp="bicubic")

    @classmethod
    def scores_whole_class(cls, options: AaClipOptions) -> bool:
        return options.class_minmax

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size, images=True, encoded=False)

    def stages(self, auxiliaries: Sequence[str]) -> list[Stage]:
        chosen, learned = self.options, self.learned
        text = torch.optim.Adam(learned.of_text(), lr=chosen.text_rate, betas=BETAS)
        image = torch.optim.Adam(learned.of_images(), lr=chosen.image_rate, betas=BETAS)
        return [
            Stage(self.text_losses, text, chosen.text_epochs, chosen.text_batch, self.vision(), name="text"),
            Stage(
                self.image_losses,
                image,
                chosen.image_epochs,
                chosen.image_batch,
                self.vision(),
                name="image",
                learning_rate=lambda step, steps: chosen.image_rate * 0.5 ** sum(step >= each for each in MILESTONES),
                augment=jittered if chosen.jitter else None,
            ),
        ]

    def text_losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Return the losses of the first stage: anomalies as the frozen tower sees them, and texts that differ."""
        chosen, text = self.options, self.text(batch.class_names)
        images, masks = self._inputs(batch)
        blocks = self.blocks[-1:] if chosen.text_loss_last_layer else self.blocks
        image, patches = anchoring_features(
            self.backbone, images, blocks, first=self.first, across=chosen.vv_across_batch
        )
        image = F.normalize(image, dim=-1)
        terms = level_losses(F.normalize(patches, dim=-1) + image[:, None, None], text, masks)
        if not chosen.no_text_cls_loss:
            terms["image"] = F.cross_entropy(LOGIT_FACTOR * (text @ image[..., None])[..., 0], batch.labels)
        alike = (text[:, 0] * text[:, 1]).sum(dim=-1).mean()
        return {**terms, "separation": chosen.separation_weight * alike**2}

    def image_losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Return the losses of the second stage, in which texts are fixed."""
        with torch.no_grad():
            text = self.text(batch.class_names)
        images, masks = self._inputs(batch)
        image, patches = self.embeddings(images)
        factor = 1.0 if self.options.cls_no_temperature else LOGIT_FACTOR
        logits = factor * (text @ image[..., None])[..., 0]
        return {"image": F.cross_entropy(logits, batch.labels), **level_losses(patches, text, masks)}

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        images = features.images
        assert images is not None  # vision() asks for them
        text = self.text(class_names)
        image, patches = self.embeddings(images)
        differences = logit_differences(patches, text)
        levels = (differences + 1) / 2 if self.options.raw_cosine_map else torch.sigmoid(differences)
        maps = smoothed(levels.sum(dim=1), class_names, images.shape[-1])
        scores = ((image * text[:, 1]).sum(dim=-1) + 1) / 2
        if not self.options.class_minmax:
            medical = torch.tensor([name.domain == "medical" for name in class_names], device=scores.device)
            scores = _image_score(maps.flatten(1).amax(dim=1), scores, medical)
        return Prediction(scores=scores, maps=maps)

    def class_scores(self, scores: Tensor, lowest: Tensor, highest: Tensor, class_name: ClassName) -> Tensor:
        maxima = _scaled(highest, lowest.min(), highest.max())
        medical = torch.tensor(class_name.domain == "medical")
        return _image_score(maxima, _scaled(scores, scores.min(), scores.max()), medical)

    def text_features(self, features: Features, class_names: Sequence[ClassName]) -> dict[str, Tensor]:
        return {"text": self.text(class_names)}

    def embeddings(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return image vectors d of shape `(B, D)` and unit patches of shape `(B, L, N, D)` of the adapted tower."""
        learned = self.learned
        found = self.backbone.forward_vision(images, after=learned.image_adapters, keep=self.blocks)
        tokens = [self.backbone.embed(found.kept[block][:, 1:], projected=False) for block in self.blocks]
        patches = torch.stack([F.linear(*each) for each in zip(tokens, learned.patches, strict=True)], dim=1)
        if not self.options.levels_apart:
            patches = patches.sum(dim=1, keepdim=True)
        image = F.normalize(F.linear(tokens[-1], learned.image), dim=-1).mean(dim=1)
        return image, F.normalize(patches, dim=-1)

    def text(self, class_names: Sequence[ClassName]) -> Tensor:
        """Return unit text embeddings of shape `(B, 2, D)`, normal first.

        Without gradients they are kept until the parameters of the text tower change.
        """
        words = [description(name) if self.options.class_descriptions else str(name) for name in class_names]
        if torch.is_grad_enabled():
            known = self._encoded(list(dict.fromkeys(words)))
        else:
            # Torch counts in `_version` the changes in place, which optimisers and loaded states make; `id` tells the
            # parameters of a copy apart. Kept texts spare the second stage, where they are fixed, the text tower.
            known, state = self._texts, [(id(each), each._version) for each in self.learned.of_text()]
            if state != self._texts_of:
                known.clear()
                self._texts_of = state
            for each in words:  # one by one, so that no last digit depends on what is encoded together
                if each not in known:
                    known |= self._encoded([each])
        return torch.stack([known[each] for each in words])

    def _encoded(self, words: Sequence[str]) -> dict[str, Tensor]:
        return dict(zip(words, self.learned.encode(self.backbone, words), strict=True))

    def _inputs(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """Return the images and masks of a batch, changed if training does so."""
        images = batch.features.images
        assert images is not None  # vision() asks for them
        return moved(images, batch.masks, seed=batch.seed) if self.options.geometry else (images, batch.masks)

    @classmethod
    def import_state(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read a published checkpoint: the entries of `text_adapter.pth` and of `image_adapter.pth`."""
        return read_published(state)


def _image_score(maxima: Tensor, scores: Tensor, medical: Tensor) -> Tensor:
    """Return image scores of the maxima of maps and of the scores of image vectors, all of shape `(B,)`."""
    return torch.where(medical, maxima, (maxima + scores) / 2)


def _scaled(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return values scaled to [0, 1] by the lowest and the highest one, unless that is exactly 1 (as in the code)."""
    width = torch.where(high > low, high - low, 1.0)  # all are the same, as in a class of one image
    return torch.where(high == 1, values, (values - low) / width)
