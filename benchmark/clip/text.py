"""open_clip's text tower for prompts with learned parts; only as many tokens as the longest prompt has are computed."""

from collections.abc import Mapping, Sequence

import open_clip
import torch
from torch import Tensor

from benchmark.clip.spec import Prompt


def embed_prompts(
    model: open_clip.CLIP, tokenizer: open_clip.SimpleTokenizer, prompts: Sequence[Prompt]
) -> tuple[Tensor, Tensor]:
    """Return token embeddings (P, T, W), from start to end token and then zeros, and the end tokens' places (P,).

    A prompt longer than the tower's context is cut before its end token, as CLIP's tokenizer cuts text.
    """
    table = model.token_embedding.weight
    limit = len(model.positional_embedding)
    start, end = (table[[token]] for token in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    texts = {part: table[tokenizer.encode(part)] for prompt in prompts for part in prompt if isinstance(part, str)}
    rows = []
    for prompt in prompts:
        parts = [texts[part] if isinstance(part, str) else part.to(table) for part in prompt]
        rows.append(torch.cat([torch.cat([start, *parts])[: limit - 1], end]))
    ends = torch.tensor([len(row) - 1 for row in rows], device=table.device)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), ends


def run_text(
    model: open_clip.CLIP, embedded: Tensor, ends: Tensor, *, deep: Mapping[int, Tensor] | None = None
) -> Tensor:
    """Return text embeddings (P, D), not normalised, of token embeddings (P, T, W) without positions.

    The mask is causal, so what follows a prompt's end token changes nothing.

    Args:
        model: the CLIP.
        embedded: as from `embed_prompts`.
        ends: (P,) places of the end tokens, where the embedding is read.
        deep: by block (1 … L), learned vectors (n, W) that replace the n tokens after the start token at the block's
            input (AnomalyCLIP, section 3.2, "text prompt tuning").
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
