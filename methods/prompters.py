"""Learned tokens at the input of the first blocks of both towers, which may depend on the image (AdaCLIP)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmark.contract import FrozenClip
from methods.base import learned_tokens, linear


class Prompter(nn.Module):
    """The prompts of a tower: static ones of each block, dynamic ones that are linear in the image, or their sums."""

    def __init__(
        self,
        blocks: Collection[int],
        length: int,
        width: int,
        *,
        static: bool,
        dimension: int | None,
        generator: torch.Generator,
    ) -> None:
        """Draw the parameters.

        Args:
            blocks: Numbers of the blocks that have prompts.
            length: Number M of tokens of a prompt.
            width: Length W of a token.
            static: Whether there are static prompts.
            dimension: Length D of the image embeddings that dynamic prompts are made of; None for no dynamic prompts.
            generator: Where they are drawn from.
        """
        super().__init__()
        self.blocks, self.length = tuple(blocks), length
        drawn = [learned_tokens(length, width, generator=generator) for _ in self.blocks] if static else None
        self.static = None if drawn is None else nn.ParameterList(drawn)
        self.dynamic = None if dimension is None else linear(dimension, length * width, generator=generator)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Leave out static prompts of blocks that the tower does not have: published code has them, but unused."""
        for key in [key for key in state_dict if key.startswith(f"{prefix}static.")] if self.static else []:
            if int(key.rpartition(".")[2]) >= len(self.blocks):
                del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Return the tokens by block, of shape `(B, M, W)`, for image embeddings of shape `(B, D)`.

        Without dynamic prompts they are of shape `(M, W)`, the same for all images.
        """
        static = [0.0] * len(self.blocks) if self.static is None else self.static
        dynamic = 0.0 if self.dynamic is None else self.dynamic(image).unflatten(1, (self.length, -1))
        return {block: tokens + dynamic for block, tokens in zip(self.blocks, static, strict=True)}


def prompted_vision(
    backbone: FrozenClip,
    images: Tensor,
    prompts: Mapping[int, Tensor],
    blocks: Sequence[int],
    *,
    recompute: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """Run the vision tower with M tokens behind the patches, which are other ones at the input of each block.

    After the last block with tokens of its own, they run on.

    Args:
        backbone: The frozen CLIP.
        images: Images of shape `(B, 3, S, S)`.
        prompts: By number of the block, from 1: tokens of shape `(B, M, W)` or `(M, W)`.
        blocks: Numbers of the blocks whose patch tokens are returned.
        recompute: Whether activations are computed anew for the gradients.

    Returns:
        Image embeddings of shape `(B, D)`, and for each block its patch tokens of shape `(B, N, W)`.
    """
    own = 1 + (images.shape[-1] // backbone.patch_size) ** 2  # the CLS token and the patches

    def after(block: int, tokens: Tensor) -> Tensor:
        if (added := prompts.get(block + 1)) is None:
            return tokens
        return torch.cat([tokens[:, :own], added.to(tokens).expand(len(tokens), -1, -1)], dim=1)

    found = backbone.forward_vision(images, after=after, keep=blocks, recompute=recompute)
    return backbone.embed(found.last[:, 0]), [found.kept[block][:, 1:own] for block in blocks]


def prompted_pairs(
    backbone: FrozenClip,
    names: Sequence[str],
    texts: Callable[[str], tuple[list[str], list[str]]],
    prompts: Mapping[int, Tensor],
    *,
    recompute: bool = False,
) -> Tensor:
    """Return the mean embeddings of normal and of abnormal texts, in which tokens replace the first words.

    Args:
        backbone: The frozen CLIP.
        names: Class name of each of B images. The texts of a name are encoded together for its images.
        texts: Returns the normal and the abnormal texts of a name.
        prompts: By number of the text block: tokens of shape `(B, M, W)` or `(M, W)` that replace those after the start
            token at the input of the block.
        recompute: Whether activations are computed anew for the gradients.

    Returns:
        Unit embeddings of shape `(B, 2, D)`, normal first.
    """
    found: dict[int, Tensor] = {}
    for name in dict.fromkeys(names):
        places = [place for place, other in enumerate(names) if other == name]
        deep = {block: tokens[places] if tokens.dim() == 3 else tokens for block, tokens in prompts.items()}
        pair = texts(name)
        embedded = backbone.encode_prompts([[text] for text in (*pair[0], *pair[1])], deep=deep, recompute=recompute)
        groups = torch.split(F.normalize(embedded, dim=-1), [len(group) for group in pair], dim=-2)
        means = F.normalize(torch.stack([group.mean(dim=-2) for group in groups], dim=-2), dim=-1)
        found |= dict(zip(places, means.expand(len(places), -1, -1), strict=True))
    return torch.stack([found[place] for place in range(len(names))])
