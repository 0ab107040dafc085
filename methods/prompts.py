"""Prompts of the published methods, and their embeddings."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


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
