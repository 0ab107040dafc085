"""The learned prompts of AnomalyCLIP (sections 3.2 and 3.4 of its paper), which MRAD-CLIP has as well.

The learned tokens of text blocks are those of FAPrompt, too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.contract import BenchError, FrozenClip
from methods.base import learned_tokens
from methods.entries import float32, numbered


class ObjectPrompts(nn.Module):
    """The learned context of the normal and the abnormal prompt, and the learned tokens of the text blocks."""

    def __init__(
        self,
        backbone: FrozenClip,
        *,
        context: int,
        deep_depth: int,
        deep_tokens: int,
        generator: torch.Generator,
        shared_context: bool = False,
    ) -> None:
        """Draw the tokens.

        Args:
            backbone: The frozen CLIP.
            context: Number E of learned vectors of each prompt.
            deep_depth: The text blocks 2 to this one have learned tokens of their own.
            deep_tokens: Number of learned tokens of each of these blocks.
            generator: Draws the tokens.
            shared_context: Whether both prompts have the context `normal`.
        """
        super().__init__()
        width = backbone.text_width
        self.normal = learned_tokens(context, width, generator=generator)
        if not shared_context:
            self.abnormal = learned_tokens(context, width, generator=generator)
        self.deep = draw_deep(backbone, depth=deep_depth, count=deep_tokens, context=context, generator=generator)


def draw_deep(
    backbone: FrozenClip, *, depth: int, count: int, context: int, generator: torch.Generator
) -> nn.ParameterList:
    """Return learnable tokens of shape `(count, W)` for each of the text blocks 2 to `depth`, at most the last one.

    Raises:
        BenchError: They would replace more than the learned context of a prompt: its words, and then its end.
    """
    blocks = min(depth, backbone.text_blocks) - 1
    if blocks > 0 and count > context:
        raise BenchError(
            f"deep_tokens={count}: they replace the learned tokens that prompts begin with, which are context={context}"
            "; choose at most as many"
        )
    return nn.ParameterList(learned_tokens(count, backbone.text_width, generator=generator) for _ in range(blocks))


def deep_prompts(deep: Iterable[Tensor], *, half: bool) -> dict[int, Tensor]:
    """Return the tokens of text blocks by number of the block, rounded to float16 if asked for."""
    # The input of block 1 is the learned context itself, so the first deep prompts belong to block 2.
    return {block: tokens.half() if half else tokens for block, tokens in enumerate(deep, start=2)}


def read_prompts(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the options and the tensors of a published `prompt_learner`.

    It holds `ctx_pos` and `ctx_neg` of shape `(1, 1, E, W)`, and what `read_deep` reads.

    Raises:
        KeyError: A context is missing, or the tokens of a block are.
        ValueError: There are several abnormal contexts, as FAPrompt has them, the contexts are of different lengths, or
            one of the tensors holds integers.
    """
    normal, abnormal = state["ctx_pos"].flatten(0, -2), state["ctx_neg"]
    if abnormal.shape[:-2].numel() > 1:
        raise ValueError(f"ctx_neg has the shape {tuple(abnormal.shape)}, so it is of several abnormal prompts")
    abnormal = abnormal.flatten(0, -2)
    if len(normal) != len(abnormal):
        raise ValueError(f"ctx_pos has {len(normal)} vectors and ctx_neg {len(abnormal)}, but contexts have one length")
    options, deep = read_deep(state)
    return {"context": len(normal), **options}, float32({"normal": normal, "abnormal": abnormal, **deep})


def read_deep(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the options and the tensors of the text blocks of a published `prompt_learner`.

    They are `compound_prompts_text.*` of shape `(N, W)`.

    Raises:
        KeyError: Those of a block are missing, but not those of a later one.
    """
    deep = numbered(state, "compound_prompts_text")
    tokens = {"deep_tokens": len(deep[0])} if deep else {}
    return {"deep_depth": len(deep) + 1, **tokens}, {f"deep.{i}": each for i, each in enumerate(deep)}
