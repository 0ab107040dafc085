"""Prompt templates that several methods use, and embeddings of pairs of prompts."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import FrozenClip, Prompt

NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
"""States of a normal object in the prompts of WinCLIP, APRIL-GAN and AdaCLIP."""

ABNORMAL_STATES = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")
"""States of an anomalous object in the prompts of APRIL-GAN and AdaCLIP; WinCLIP has all but the second."""


def state_prompts(
    templates: Sequence[str],
    class_name: str,
    *,
    normal: Sequence[str] = NORMAL_STATES,
    abnormal: Sequence[str] = ABNORMAL_STATES,
) -> tuple[list[str], list[str]]:
    """Return the normal and the abnormal prompts of a class: each state of the object in each template."""
    of_normal, of_abnormal = (
        [template.format(state.format(class_name)) for state in states for template in templates]
        for states in (normal, abnormal)
    )
    return of_normal, of_abnormal


def imagenet_templates() -> tuple[Callable[[str], str], ...]:
    """Return the 80 ImageNet templates of CLIP (Radford et al., 2021, section 3.1.4) as functions of a name."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES  # a slow import

    return tuple(OPENAI_IMAGENET_TEMPLATES)


def normal_abnormal(
    encode_text: Callable[[Sequence[str]], Tensor],
    normal: Sequence[str],
    abnormal: Sequence[str],
    *,
    normalise_each: bool = True,
) -> Tensor:
    """Return the mean embeddings of normal and of abnormal prompts.

    Args:
        encode_text: Returns the embeddings of shape `(P, D)` of P prompts.
        normal: One or more normal prompts.
        abnormal: One or more abnormal prompts.
        normalise_each: Whether to scale the embeddings to unit length before taking the mean.

    Returns:
        Unit embeddings of shape `(2, D)`, normal first.
    """
    embedded = [encode_text(prompts) for prompts in (normal, abnormal)]
    if normalise_each:
        embedded = [F.normalize(each, dim=-1) for each in embedded]
    return torch.stack([F.normalize(each.mean(dim=0), dim=-1) for each in embedded])


def encode_pairs(
    backbone: FrozenClip, pairs: Sequence[tuple[Prompt, Prompt]], *, deep: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Return the embeddings of pairs of normal and abnormal prompts with learned parts.

    Args:
        backbone: The frozen CLIP.
        pairs: Pairs of prompts. Each prompt is a list of texts and learned token embeddings of shape `(n, W)`.
        deep: By number of the text block: learned vectors of shape `(n, W)` that replace the tokens after the start
            token.

    Returns:
        Unit text embeddings of shape `(len(pairs), 2, D)`.
    """
    prompts = [prompt for pair in pairs for prompt in pair]
    return F.normalize(backbone.encode_prompts(prompts, deep=deep), dim=-1).reshape(len(pairs), 2, -1)
