"""Prompts of the published methods, and their embeddings."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import FrozenClip, Prompt


def imagenet_templates() -> tuple[Callable[[str], str], ...]:
    """Return CLIP's 80 ImageNet templates (CLIP, Radford et al. 2021, section 3.1.4)."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES  # its import takes seconds, and only a run needs it

    return tuple(OPENAI_IMAGENET_TEMPLATES)


def normal_abnormal(
    encode_text: Callable[[Sequence[str]], Tensor],
    normal: Sequence[str],
    abnormal: Sequence[str],
    *,
    normalise_each: bool = True,
) -> Tensor:
    """Return the pair (2, D) of unit text embeddings, normal first, each the mean of its prompts', normalised.

    Args:
        encode_text: prompts → raw embeddings (len(prompts), D).
        normal: at least one prompt.
        abnormal: likewise.
        normalise_each: bring the embeddings to unit length before taking the mean.
    """
    embedded = [encode_text(prompts) for prompts in (normal, abnormal)]
    if normalise_each:
        embedded = [F.normalize(each, dim=-1) for each in embedded]
    return torch.stack([F.normalize(each.mean(dim=0), dim=-1) for each in embedded])


def encode_pairs(
    backbone: FrozenClip, pairs: Sequence[tuple[Prompt, Prompt]], *, deep: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Return unit text embeddings (len(pairs), 2, D) of pairs of normal and abnormal prompts with learned parts.

    Args:
        backbone: whose text tower is run.
        pairs: prompts, each of text and learned token embeddings (n, W).
        deep: by text block, learned vectors (n, W) that replace the tokens after the start token.
    """
    prompts = [prompt for pair in pairs for prompt in pair]
    return F.normalize(backbone.encode_prompts(prompts, deep=deep), dim=-1).reshape(len(pairs), 2, -1)
