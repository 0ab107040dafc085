"""Parts of AA-CLIP: residual adapters, what is learned, the frozen tower of the first stage, and maps."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmark.contract import ClassName, FrozenClip
from methods.aa_clip_descriptions import prompts
from methods.entries import float32, numbered
from methods.linear_patches import logit_differences, require_as_many_blocks
from methods.losses import dice_terms, focal, interpolation, resized

BLUR = {"medical": (9, 1.5)}
INDUSTRIAL_BLUR = (7, 1.0)
"""Size and standard deviation, in patches, of the Gaussian filters of the code: by domain, and of all other domains."""


def _matrix(outputs: int, inputs: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(outputs, inputs), generator=generator))


class Adapters(nn.Module):
    """Residual adapters after the first blocks of a tower."""

    def __init__(self, blocks: int, width: int, weight: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = weight
        self.matrices = nn.ParameterList(_matrix(width, width, generator) for _ in range(blocks))

    def forward(self, block: int, tokens: Tensor) -> Tensor:
        """Return `λ a |x| / |a| + (1 − λ) x` with `a = LeakyReLU(W x)` for the tokens x `(…, W)` after a block."""
        if not 1 <= block <= len(self.matrices):
            return tokens
        adapted = F.leaky_relu(F.linear(tokens, self.matrices[block - 1]))
        lengths, own = (torch.linalg.vector_norm(each, dim=-1, keepdim=True) for each in (tokens, adapted))
        mixed: Tensor = self.weight * adapted * (lengths / own) + (1 - self.weight) * tokens
        return mixed


class Learned(nn.Module):
    """What AA-CLIP learns, all of it matrices without bias."""

    def __init__(
        self, backbone: FrozenClip, *, levels: int, text: int, image: int, weight: float, generator: torch.Generator
    ) -> None:
        """Draw the matrices.

        Args:
            backbone: The frozen CLIP.
            levels: Number of blocks that are scored.
            text: Number of text blocks that have adapters.
            image: Number of vision blocks that have adapters.
            weight: Weight λ of the adapters.
            generator: What they are drawn from.
        """
        super().__init__()
        width, vision_width = backbone.width, backbone.vision_width
        self.text_adapters = Adapters(min(text, backbone.text_blocks), backbone.text_width, weight, generator)
        self.text_projection = _matrix(width, backbone.text_width, generator)
        self.image_adapters = Adapters(min(image, backbone.blocks), vision_width, weight, generator)
        self.patches = nn.ParameterList(_matrix(width, vision_width, generator) for _ in range(levels))
        self.image = _matrix(width, vision_width, generator)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Say what to do if a state has other levels.

        Raises:
            RuntimeError: It has another number of levels.
        """
        require_as_many_blocks(sum(key.startswith(f"{prefix}patches.") for key in state_dict), len(self.patches))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def encode(self, backbone: FrozenClip, words: Sequence[str]) -> Tensor:
        """Return unit text embeddings of shape `(C, 2, D)`, normal first, of descriptions of C classes."""
        pairs = [prompts(each) for each in words]
        texts = [[text] for pair in pairs for group in pair for text in group]
        ends = backbone.encode_prompts(texts, after=self.text_adapters, projected=False)
        embedded = F.normalize(self.project_text(ends), dim=-1).reshape(len(words), -1, backbone.width)
        groups = embedded.tensor_split([len(pairs[0][0])], dim=1)
        return F.normalize(torch.stack([group.mean(dim=1) for group in groups], dim=1), dim=-1)

    def project_text(self, ends: Tensor) -> Tensor:
        """Return the text embeddings of shape `(…, D)` of end tokens after the last layer norm, of shape `(…, W)`."""
        return F.leaky_relu(F.linear(ends, self.text_projection))

    def of_text(self) -> list[nn.Parameter]:
        """Return the parameters of the first stage."""
        return [*self.text_adapters.parameters(), self.text_projection]

    def of_images(self) -> list[nn.Parameter]:
        """Return the parameters of the second stage."""
        return [*self.image_adapters.parameters(), *self.patches, self.image]


def anchoring_features(
    backbone: FrozenClip, images: Tensor, blocks: Sequence[int], *, first: int, across: bool
) -> tuple[Tensor, Tensor]:
    """Return what the first stage aligns text with, of the frozen tower.

    Patches come from a tower that attends by values alone from a block on; unlike in DPAM, residuals and MLPs stay.

    Args:
        backbone: The frozen CLIP.
        images: Images of shape `(B, 3, S, S)`.
        blocks: Numbers of the blocks whose patches are returned.
        first: The first block whose attention is replaced.
        across: Whether each token position attends over the images of the batch, and not over the tokens of its image.

    Returns:
        CLIP's image embeddings of shape `(B, D)`, and patch embeddings of shape `(B, L, N, D)`, not normalised.
    """
    batch = len(images)

    def after(block: int, tokens: Tensor) -> Tensor:  # up to there both towers are the same
        return torch.cat([tokens, tokens]) if block == first - 1 else tokens

    def attention(block: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if block < first:
            return F.scaled_dot_product_attention(queries, keys, values)
        own = F.scaled_dot_product_attention(queries[:batch], keys[:batch], values[:batch])
        other = values[batch:].transpose(0, 2) if across else values[batch:]
        replaced = F.scaled_dot_product_attention(other, other, other)
        return torch.cat([own, replaced.transpose(0, 2) if across else replaced])

    with torch.no_grad():
        tokens = backbone.forward_vision(images, after=after, attention=attention, keep=blocks)
        patches = [backbone.embed(tokens.kept[block][-batch:, 1:]) for block in blocks]
        return backbone.embed(tokens.last[:batch, 0]), torch.stack(patches, dim=1)


def level_losses(patches: Tensor, text: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Return the terms of `Σ_l Focal(S_l, G) + Dice(S_l,n, 1 − G) + Dice(S_l,a, G)` by name, each summed over levels.

    `S_l` is the softmax of the logits `100 P_l·t`, which are resized bilinearly with aligned corners before.

    Args:
        patches: Patches P of shape `(B, L, N, D)`.
        text: Unit text embeddings of shape `(B, 2, D)`, normal first.
        masks: Masks G of shape `(B, S, S)` of 0 and 1.
    """
    logits, true = resized(logit_differences(patches, text), masks.shape[1:], corners_aligned=True), masks[:, None]
    # Where a normal pixel looks anomalous, 1 − S_a would have lost the digits of S_n, and Adam notices them.
    hit = torch.sigmoid(logits * (2 * true - 1))
    abnormal = torch.where(true > 0, hit, 1 - hit)
    overlap, predicted, marked = (each.sum(dim=(2, 3)) for each in (hit * true, abnormal, true))
    terms = {
        "focal": focal(hit, torch.ones_like(masks)),  # the probabilities of what is true
        **dice_terms(overlap, predicted, marked, masks[0].numel()),
    }
    return {name: logits.shape[1] * term for name, term in terms.items()}


@cache
def blur(grid: int, size: int, sigma: float) -> list[list[float]]:
    """Return the matrix A of shape `(grid, grid)` of a Gaussian filter, borders mirrored; `A m Aᵀ` filters a map."""
    from scipy.ndimage import gaussian_filter1d  # a slow import

    rows: list[list[float]] = gaussian_filter1d(np.eye(grid), sigma, axis=0, mode="mirror", radius=size // 2).tolist()
    return rows


def smoothed(grids: Tensor, class_names: Sequence[ClassName], size: int) -> Tensor:
    """Return maps of shape `(B, S, S)`: grids of shape `(B, h, w)` filtered on the grid, and resized to S × S pixels.

    They are resized bilinearly with aligned corners.
    """
    side = grids.shape[-1]
    by_domain = {
        domain: torch.tensor(blur(side, *BLUR.get(domain, INDUSTRIAL_BLUR)), device=grids.device).T
        for domain in {name.domain for name in class_names}
    }
    resize = interpolation(side, size, grids, corners_aligned=True)
    lines = torch.stack([by_domain[name.domain] for name in class_names]) @ resize
    return lines.transpose(1, 2) @ grids @ lines


def read_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return options and learned tensors of the files `text_adapter.pth` and `image_adapter.pth`, read together.

    Raises:
        KeyError: A matrix is missing, as in files that were trained with `--relu`.
        ValueError: A matrix holds integers.
    """
    text = numbered(state, "text_adapter", ".fc.0.weight", least=1)
    image = numbered(state, "image_adapter.layer_adapters", ".fc.0.weight")
    levels = numbered(state, "image_adapter.seg_proj", ".fc.weight")
    found = {
        "text_projection": text[-1],
        "image": state["image_adapter.det_proj.fc.weight"],
        **{f"text_adapters.matrices.{i}": each for i, each in enumerate(text[:-1])},
        **{f"image_adapters.matrices.{i}": each for i, each in enumerate(image)},
        **{f"patches.{i}": each for i, each in enumerate(levels)},
    }
    options = {"text_adapters": len(text) - 1, "image_adapters": len(image)}
    return options, float32(found)
