"""The text tower of open_clip for prompts with learned parts.

The attention mask is causal, so a token depends on those before it alone. Tokens with which several prompts begin are
therefore computed once: prompts are packed into sequences in which each token sees its own beginning and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TypeAlias

import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor

from benchmark.clip.architectures import BackboneError
from benchmark.clip.spec import Change, Prompt
from benchmark.clip.vision import recomputed

SEQUENCE = 128
"""Tokens that are packed into a sequence, where they fit: more of them share beginnings, but all attend to all."""

END = 2**31
"""More than the tokens of any sequence."""

Rows: TypeAlias = tuple[int, ...]
"""The tokens of a prompt, from the start token to the end token, as rows of a table of token embeddings."""


def encode_prompts(
    model: open_clip.CLIP,
    tokenizer: open_clip.SimpleTokenizer,
    tokenize: Callable[[str], Sequence[int]],
    prompts: Sequence[Prompt],
    *,
    deep: Mapping[int, Tensor] | None = None,
    after: Change | None = None,
    projected: bool = True,
    recompute: bool = False,
) -> Tensor:
    """Return the text embeddings of prompts.

    Args:
        model: The CLIP model.
        tokenizer: CLIP's tokenizer.
        tokenize: Returns the tokens of a text, without start and end.
        prompts: P prompts, each a list of texts and token embeddings of shape `(n, W)`.
        deep: By number of the block, from 1: learned vectors of shape `(n, W)` that replace the n tokens after the
            start token at the input of the block (AnomalyCLIP, section 3.2, "text prompt tuning"). Vectors of shape
            `(G, n, W)` are those of G groups, for each of which the prompts are encoded.
        after: Changes the tokens after each block, each by itself; after the last block there are the end tokens alone.
        projected: Whether the end tokens are projected, after the last layer norm.
        recompute: Whether the activations of a block are computed anew for its gradients.

    Returns:
        Text embeddings of shape `(P, D)`, or `(G, P, D)` for groups, not normalised.

    Raises:
        BackboneError: If a prompt is longer than the context of the tower. CLIP's own tokenizer would cut its end off.
            Also if the blocks differ in their number of groups.
    """
    groups = {len(vectors) for vectors in (deep or {}).values() if vectors.dim() == 3}
    if len(groups) > 1:
        listed = " and ".join(map(str, sorted(groups)))
        raise BackboneError(f"deep prompts of {listed} groups; those of all blocks must be for the same groups")
    table, prompt_rows = token_table(model, tokenizer, tokenize, prompts)
    sequences, places = pack(prompt_rows)
    length, most = (max(map(len, each)) for each in zip(*((one.rows, one.ends) for one in sequences), strict=True))

    def padded(name: str, size: int) -> Tensor:
        lists = [getattr(sequence, name) for sequence in sequences]
        return _sent([each + [0] * (size - len(each)) for each in lists], table)

    depths, until, order = padded("depths", length), padded("until", length), torch.arange(length, device=table.device)
    seen = (order <= order[:, None]) & (order[:, None] < until[:, None])
    # Unlike that of an index, the gradient of `embedding` is always summed up in the same order.
    x = F.embedding(padded("rows", length), table) + F.embedding(depths, model.positional_embedding)
    mask = torch.zeros_like(seen, dtype=x.dtype).masked_fill(~seen, float("-inf"))
    encoded = run_text(
        model,
        x,
        mask[:, None],
        padded("ends", most),
        deep=deep,
        depths=depths,
        after=after,
        projected=projected,
        recompute=recompute,
    )
    found = _sent([number * most + place for number, place in (places[rows] for rows in prompt_rows)], table)
    each = encoded.reshape(-1, len(sequences) * most, encoded.shape[-1])  # of each group
    if groups:
        each = each.expand(*groups, -1, -1)  # the vectors may be those of a block that does not exist
        found = found + each.shape[1] * torch.arange(len(each), device=found.device)[:, None]
    return F.embedding(found, each.flatten(0, 1))


def _sent(values: list[int] | list[list[int]], like: Tensor) -> Tensor:
    """Return numbers on the device of a tensor, without waiting for what the device is doing."""
    return torch.tensor(values).to(like.device, non_blocking=True)


def token_table(
    model: open_clip.CLIP,
    tokenizer: open_clip.SimpleTokenizer,
    tokenize: Callable[[str], Sequence[int]],
    prompts: Sequence[Prompt],
) -> tuple[Tensor, list[Rows]]:
    """Return the distinct token embeddings of prompts, without positional embeddings, and the rows of each prompt.

    Args:
        model: The CLIP model.
        tokenizer: CLIP's tokenizer.
        tokenize: Returns the tokens of a text, without start and end.
        prompts: P prompts, each a list of texts and token embeddings of shape `(n, W)`.

    Returns:
        Token embeddings of shape `(M, W)`, and for each prompt the rows of its tokens.

    Raises:
        BackboneError: If a prompt is longer than the context of the tower.
    """
    weight, limit = model.token_embedding.weight, len(model.positional_embedding)
    learned = {id(part): part for prompt in prompts for part in prompt if isinstance(part, Tensor)}
    spans: dict[int, Rows] = {}
    count = 0
    for key, tokens in learned.items():
        spans[key] = tuple(range(count, count := count + len(tokens)))
    known: dict[int, int] = {}

    def rows_of(tokens: Sequence[int]) -> Rows:
        return tuple([known.setdefault(token, count + len(known)) for token in tokens])

    start, end = rows_of([tokenizer.sot_token_id]), rows_of([tokenizer.eot_token_id])
    texts = {part: rows_of(tokenize(part)) for prompt in prompts for part in prompt if isinstance(part, str)}
    rows = []
    for prompt in prompts:
        row = start
        for part in prompt:
            row += texts[part] if isinstance(part, str) else spans[id(part)]
        rows.append(row + end)
        if (length := len(rows[-1])) > limit:
            raise BackboneError(_too_long(prompt, length, limit))
    words = F.embedding(_sent(list(known), weight), weight)
    return torch.cat([torch.cat(list(learned.values())).to(weight), words]) if learned else words, rows


def _too_long(prompt: Prompt, length: int, limit: int) -> str:
    text = " ".join(part for part in prompt if isinstance(part, str))
    shown = f"{text[:60]}…" if len(text) > 60 else text
    learned = sum(len(part) for part in prompt if not isinstance(part, str))
    besides = f" and {learned} learned tokens" if learned else ""
    return (
        f'the prompt "{shown}"{besides} has {length} tokens, more than the {limit} of the text tower; shorten the '
        "class name, or learn fewer tokens"
    )


@dataclass(frozen=True)
class Packed:
    """The tokens of some prompts, those of shared beginnings once. Each stands before all tokens that follow it."""

    rows: list[int] = field(default_factory=list)
    """Row of each token in the table of token embeddings."""
    depths: list[int] = field(default_factory=list)
    """Position of each token in its prompts."""
    until: list[int] = field(default_factory=list)
    """Position in this sequence up to which tokens see this one: where those that follow it end."""
    ends: list[int] = field(default_factory=list)
    """Positions of the end tokens."""


def pack(prompts: Sequence[Rows]) -> tuple[list[Packed], dict[Rows, tuple[int, int]]]:
    """Return prompts as sequences, and for each distinct prompt its sequence and its place among the ends there."""
    sequences, places = [Packed()], dict[Rows, tuple[int, int]]()
    path: list[int] = []  # positions of the tokens of the last prompt
    before: Rows = ()
    for prompt in sorted(set(prompts)):  # so that none shares more with a prompt than with the one before it
        shared = len(list(takewhile(lambda both: both[0] == both[1], zip(before, prompt, strict=False))))
        if sequences[-1].rows and len(sequences[-1].rows) + len(prompt) - shared > SEQUENCE:
            sequences.append(Packed())
            path, shared = [], 0
        sequence = sequences[-1]
        start = len(sequence.rows)
        for position in path[shared:]:
            sequence.until[position] = start
        path = [*path[:shared], *range(start, start + len(prompt) - shared)]
        sequence.rows.extend(prompt[shared:])
        sequence.depths.extend(range(shared, len(prompt)))
        sequence.until.extend([END] * (len(prompt) - shared))
        places[prompt] = (len(sequences) - 1, len(sequence.ends))
        sequence.ends.append(path[-1])
        before = prompt
    return sequences, places


def run_text(
    model: open_clip.CLIP,
    x: Tensor,
    mask: Tensor,
    ends: Tensor,
    *,
    deep: Mapping[int, Tensor] | None = None,
    depths: Tensor | None = None,
    after: Change | None = None,
    projected: bool = True,
    recompute: bool = False,
) -> Tensor:
    """Return the text embeddings of token embeddings.

    Args:
        model: The CLIP model.
        x: Token embeddings of shape `(R, N, W)`, with positional embeddings.
        mask: What is added to the attention of a token to another one, of shape `(R, 1, N, N)`; without `deep` also of
            shape `(N, N)`.
        ends: Positions of the end tokens of shape `(R, E)`. Text embeddings are read there.
        deep: By number of the block, from 1: learned vectors of shape `(n, W)` that replace the tokens of the depths 1
            to n at the input of the block, or `(G, n, W)` for G groups.
        depths: Positions of the tokens in their prompts, of shape `(R, N)`; needed for `deep`.
        after: Changes the tokens after each block; after the last one there are the end tokens alone.
        projected: Whether the end tokens are projected to the joint space, after the last layer norm.
        recompute: Whether the activations of a block are computed anew for its gradients.

    Returns:
        Text embeddings of shape `(R, E, D)`, or `(G R, E, D)` for groups, not normalised.
    """
    blocks = model.transformer.resblocks
    for number, block in enumerate(blocks, start=1):
        if deep and depths is not None and number in deep:
            x = _replaced(x, deep[number].to(x), depths)
            if (groups := len(x) // len(ends)) > 1:  # from here on each has tokens of its own
                mask, ends = mask.repeat(groups, 1, 1, 1), ends.repeat(groups, 1)
        inputs = (block, x, mask, ends if number == len(blocks) else None)  # nothing but the end tokens is read
        x = recomputed(_run_block, *inputs) if recompute else _run_block(*inputs)
        if after is not None:
            x = after(number, x)
    x = model.ln_final(x)
    return x @ model.text_projection if projected else x


def _replaced(x: Tensor, vectors: Tensor, depths: Tensor) -> Tensor:
    """Return tokens `(G R, N, W)` with vectors `(n, W)` or `(G, n, W)` in the depths `(R, N)` from 1 to n.

    The tokens may have been those of all groups, `(R, N, W)`, until then.
    """
    places, count = (depths - 1).clamp(0, vectors.shape[-2] - 1), vectors.shape[-2]
    if vectors.dim() == 3:
        places = places + count * torch.arange(len(vectors), device=x.device)[:, None, None]
    other = F.embedding(places, vectors.flatten(0, -2))
    replaces = ((depths > 0) & (depths <= count))[..., None]
    return torch.where(replaces, other, x.reshape(-1, *depths.shape, x.shape[-1])).flatten(0, 1)


def _run_block(block: ResidualAttentionBlock, x: Tensor, mask: Tensor, only: Tensor | None) -> Tensor:
    """Return the tokens `(R, N, W)` after a block, or only those of the positions `(R, E)`, of shape `(R, E, W)`."""
    query, key, value = _heads(block, x)
    if only is not None:
        rows = torch.arange(len(x), device=x.device)[:, None]
        x, query = x[rows, only], query.transpose(1, 2)[rows, only].transpose(1, 2)
        mask = mask.expand(len(x), 1, -1, -1)[rows, 0, only][:, None]
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
    x = x + block.ls_1(block.attn.out_proj(mixed))
    fed: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return fed


def _heads(block: ResidualAttentionBlock, x: Tensor) -> tuple[Tensor, ...]:
    """Return queries, keys and values of shape `(R, heads, N, d)` of tokens of shape `(R, N, W)`."""
    module = block.attn
    projected = F.linear(block.ln_1(x), module.in_proj_weight, module.in_proj_bias)
    return projected.reshape(*x.shape[:2], 3, module.num_heads, -1).permute(2, 0, 3, 1, 4).unbind()
