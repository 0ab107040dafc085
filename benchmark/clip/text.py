"""The text tower of open_clip for prompts with learned parts. It computes no tokens beyond the longest prompt."""

from collections.abc import Mapping, Sequence

import open_clip
import torch
from torch import Tensor

from benchmark.clip.architectures import BackboneError
from benchmark.clip.spec import Prompt


def embed_prompts(
    model: open_clip.CLIP, tokenizer: open_clip.SimpleTokenizer, prompts: Sequence[Prompt]
) -> tuple[Tensor, Tensor]:
    """Return the token embeddings of prompts, without positional embeddings.

    Args:
        model: The CLIP model.
        tokenizer: CLIP's tokenizer.
        prompts: P prompts, each a list of texts and token embeddings of shape `(n, W)`.

    Returns:
        Token embeddings of shape `(P, T, W)`, from the start token to the end token and then zeros, and the positions
        of the end tokens of shape `(P,)`.

    Raises:
        BackboneError: If a prompt is longer than the context of the tower. CLIP's own tokenizer would cut its end off.
    """
    table = model.token_embedding.weight
    limit = len(model.positional_embedding)
    start, end = (table[[token]] for token in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    texts = {part: table[tokenizer.encode(part)] for prompt in prompts for part in prompt if isinstance(part, str)}
    rows = []
    for prompt in prompts:
        parts = [texts[part] if isinstance(part, str) else part.to(table) for part in prompt]
        rows.append(torch.cat([start, *parts, end]))
        if (length := len(rows[-1])) > limit:
            raise BackboneError(_too_long(prompt, length, limit))
    ends = torch.tensor([len(row) - 1 for row in rows], device=table.device)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), ends


def _too_long(prompt: Prompt, length: int, limit: int) -> str:
    text = " ".join(part for part in prompt if isinstance(part, str))
    shown = f"{text[:60]}…" if len(text) > 60 else text
    learned = sum(len(part) for part in prompt if not isinstance(part, str))
    besides = f" and {learned} learned tokens" if learned else ""
    return (
        f'the prompt "{shown}"{besides} has {length} tokens, more than the {limit} of the text tower; shorten the '
        "class name, or learn fewer tokens"
    )


def run_text(
    model: open_clip.CLIP, embedded: Tensor, ends: Tensor, *, deep: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Return the text embeddings of token embeddings.

    The attention mask is causal, so tokens after the end token do not change the result.

    Args:
        model: The CLIP model.
        embedded: Token embeddings of shape `(P, T, W)` from `embed_prompts`.
        ends: Positions of the end tokens of shape `(P,)`. The text embedding is read there.
        deep: By number of the block, from 1: learned vectors of shape `(n, W)` that replace the n tokens after the
            start token at the input of the block (AnomalyCLIP, section 3.2, "text prompt tuning").

    Returns:
        Text embeddings of shape `(P, D)`, not normalised.
    """
    length = embedded.shape[1]
    x = embedded + model.positional_embedding[:length].to(embedded.dtype)
    mask = model.attn_mask[:length, :length]
    for number, block in enumerate(model.transformer.resblocks, start=1):
        if deep and number in deep:
            tokens = deep[number].to(x)
            x = torch.cat([x[:, :1], tokens.expand(len(x), -1, -1), x[:, 1 + len(tokens) :]], dim=1)
        x = block(x, attn_mask=mask)
    x = model.ln_final(x)
    projected: Tensor = x[torch.arange(len(x), device=x.device), ends] @ model.text_projection
    return projected
