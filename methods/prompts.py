"""Prompts of the published methods, and their embeddings."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

if TYPE_CHECKING:
    from benchmark.backbone import Backbone
    from benchmark.text import Prompt


def imagenet_templates() -> tuple[Callable[[str], str], ...]:
    """Return CLIP's 80 ImageNet templates (CLIP, Radford et al. 2021, section 3.1.4)."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES  # its import takes seconds, and only a run needs it

    return tuple(OPENAI_IMAGENET_TEMPLATES)


def ensemble(encode_text: Callable[[Sequence[str]], Tensor], prompts: Sequence[str]) -> Tensor:
    """Return one text embedding (D,) of unit length for many prompts: the mean of their unit embeddings, normalised.

    Args:
        encode_text: prompts → raw embeddings (len(prompts), D).
        prompts: at least one.
    """
    return F.normalize(F.normalize(encode_text(prompts), dim=-1).mean(dim=0), dim=-1)


def normal_abnormal(
    encode_text: Callable[[Sequence[str]], Tensor], normal: Sequence[str], abnormal: Sequence[str]
) -> Tensor:
    """Return the pair (2, D) of unit text embeddings, normal first, each an ensemble of its prompts."""
    return torch.stack([ensemble(encode_text, normal), ensemble(encode_text, abnormal)])


def encode_pairs(
    backbone: "Backbone", pairs: Sequence[tuple["Prompt", "Prompt"]], *, deep: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Return unit text embeddings (len(pairs), 2, D) of pairs of normal and abnormal prompts with learned parts.

    Args:
        backbone: whose text tower is run.
        pairs: prompts, each of text and learned token embeddings (n, W).
        deep: by text block, learned vectors (n, W) that replace the tokens after the start token.
    """
    prompts = [prompt for pair in pairs for prompt in pair]
    return F.normalize(backbone.encode_prompts(prompts, deep=deep), dim=-1).reshape(len(pairs), 2, -1)
