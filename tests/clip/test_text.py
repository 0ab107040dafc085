"""Text embeddings of prompts with learned parts, with open_clip's own text tower over all 77 tokens as the oracle."""

import copy
from collections.abc import Iterator

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.clip.architectures import BackboneError
from benchmark.clip.backbone import TEXT_BATCH, Backbone
from benchmark.clip.text import encode_prompts

SHORT, LONG, LONGEST = "bolt.", "a close-up photo of a Metal  Nut &amp; a screw, damaged.", "bolt " * 75
CONTEXT = 77


def by_open_clip(backbone: Backbone, texts: list[str]) -> Tensor:
    with torch.no_grad():
        embedded: Tensor = backbone.model.encode_text(open_clip.SimpleTokenizer()(texts))
    return embedded


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def close(ours: Tensor, expected: Tensor) -> bool:
    return torch.allclose(ours, expected, atol=1e-5, rtol=0)


@pytest.fixture
def seen(golden_backbone: Backbone) -> Iterator[list[tuple[int, ...]]]:
    """Shapes (R, N, W) of what enters the text tower's first block."""
    shapes: list[tuple[int, ...]] = []
    first = golden_backbone.model.transformer.resblocks[0].ln_1
    handle = first.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    yield shapes
    handle.remove()


@pytest.mark.parametrize(
    "texts", [[""], [SHORT], [LONG], [LONGEST], [SHORT, LONG, LONGEST]], ids=["empty", "short", "long", "77", "all"]
)
def test_plain_text_is_encoded_as_open_clip_does(golden_backbone: Backbone, texts: list[str]) -> None:
    expected = by_open_clip(golden_backbone, texts)
    assert close(golden_backbone.encode_prompts([[text] for text in texts]), expected)
    assert close(golden_backbone.encode_text(texts), expected)


def test_more_text_than_a_batch_keeps_its_order(golden_backbone: Backbone) -> None:
    texts = [f"a photo of object {number}." for number in range(TEXT_BATCH + 3)]
    assert close(golden_backbone.encode_text(texts), by_open_clip(golden_backbone, texts))


def test_text_in_parts_is_the_joined_text(golden_backbone: Backbone) -> None:
    parts = ["a photo", "of a", "damaged metal nut."]
    assert close(golden_backbone.encode_prompts([parts]), by_open_clip(golden_backbone, [" ".join(parts)]))


def test_learned_parts_stand_where_they_are_named(golden_backbone: Backbone) -> None:
    tokens = open_clip.SimpleTokenizer().encode("a photo")
    words = golden_backbone.model.token_embedding.weight[tokens]
    for prompt, text in ((["the", words, "frame."], "the a photo frame."), ([words, "frame."], "a photo frame.")):
        assert close(golden_backbone.encode_prompts([prompt]), by_open_clip(golden_backbone, [text]))


def test_a_longer_neighbour_changes_nothing(golden_backbone: Backbone) -> None:
    learned = drawn(5, golden_backbone.text_width)
    alone = golden_backbone.encode_prompts([[learned, SHORT]])
    beside = golden_backbone.encode_prompts([[LONGEST], [learned, SHORT], [learned, LONG]])
    assert close(beside[1:2], alone)
    assert not torch.allclose(beside[1], beside[2], atol=1e-2)


def test_a_prompt_longer_than_the_context_is_refused(golden_backbone: Backbone) -> None:
    """CLIP's tokenizer cuts its end off, and with it the words that follow the class name."""
    with pytest.raises(BackboneError, match=rf'"{LONGEST[:60]}…" has 78 tokens, more than the 77'):
        golden_backbone.encode_text([SHORT, f"{LONGEST} bolt"])
    learned = drawn(CONTEXT - 4, golden_backbone.text_width)
    golden_backbone.encode_prompts([[learned, SHORT]])
    with pytest.raises(BackboneError, match=r'"damaged bolt." and 73 learned tokens has 78 tokens.*shorten'):
        golden_backbone.encode_prompts([[learned, "damaged", SHORT]])


def test_each_token_is_computed_once_and_none_beyond_the_end(
    golden_backbone: Backbone, seen: list[tuple[int, ...]]
) -> None:
    width = golden_backbone.text_width
    one, other = drawn(3, width), drawn(3, width)
    golden_backbone.encode_prompts([[one, "bolt"], ["bolt"], [one, "bolt"]])
    golden_backbone.encode_prompts([[one, "bolt"], [one, "nut"], [other, "nut"]])
    golden_backbone.encode_prompts([[LONGEST]])
    bolt, start_and_one = 1 + 1, 1 + 3  # with the end token
    assert seen == [
        (1, start_and_one + bolt + bolt, width),
        (1, start_and_one + bolt + bolt + 3 + bolt, width),
        (1, CONTEXT, width),
    ]


def test_prompts_that_do_not_fit_into_a_sequence_begin_another(
    golden_backbone: Backbone, seen: list[tuple[int, ...]]
) -> None:
    longer = [f"{LONGEST} {word}".replace("bolt ", "", 1) for word in ("nut", "bolt", "screw")]
    texts = [*longer, SHORT, LONG]
    assert close(golden_backbone.encode_prompts([[text] for text in texts]), by_open_clip(golden_backbone, texts))
    apart = [LONGEST, LONGEST.replace("bolt", "nut")]
    assert close(golden_backbone.encode_prompts([[text] for text in apart]), by_open_clip(golden_backbone, apart))
    assert [shape[0] for shape in seen[::2]] == [1, 2]


def test_gradients_reach_the_learned_parts_and_not_the_towers(golden_backbone: Backbone) -> None:
    width = golden_backbone.text_width
    used, other, deep = (drawn(4, width, seed=seed).requires_grad_() for seed in range(3))
    text = golden_backbone.encode_prompts([[used, SHORT], [other, LONG]], deep={2: deep})
    text[0].square().sum().backward()
    assert all(tensor.grad is not None for tensor in (used, other, deep))
    assert used.grad.abs().sum() > 0
    assert deep.grad.abs().sum() > 0
    assert other.grad.abs().sum() == 0
    assert not any(parameter.requires_grad for parameter in golden_backbone.model.parameters())
    assert all(parameter.grad is None for parameter in golden_backbone.model.parameters())


def with_deep_prompts(backbone: Backbone, texts: list[str], deep: dict[int, Tensor]) -> Tensor:
    """The text tower written out over all 77 tokens, with the tokens from place 1 on overwritten."""
    model, tokens = backbone.model, open_clip.SimpleTokenizer()(texts)
    with torch.no_grad():
        x = model.token_embedding(tokens) + model.positional_embedding
        for index, block in enumerate(model.transformer.resblocks):
            if index + 1 in deep:
                x[:, 1 : 1 + len(deep[index + 1])] = deep[index + 1]
            x = block(x, attn_mask=model.attn_mask)
        x = model.ln_final(x)[torch.arange(len(texts)), tokens.argmax(dim=1)]
        projected: Tensor = x @ model.text_projection
    return projected


PARTS = st.lists(st.sampled_from(["bolt", "metal nut", "damaged", 0, 1, 2]), max_size=5)


@given(prompts=st.lists(PARTS, min_size=1, max_size=12), deep=st.dictionaries(st.integers(1, 4), st.integers(1, 6)))
@settings(max_examples=25, deadline=None)
def test_values_and_gradients_are_those_of_each_prompt_alone(
    golden_backbone: Backbone, prompts: list[list[str | int]], deep: dict[int, int]
) -> None:
    """In double precision, against blocks of open_clip that run over one prompt at a time."""
    model, width = copy.deepcopy(golden_backbone.model).double(), golden_backbone.text_width
    tokenizer = open_clip.SimpleTokenizer()
    learned = [drawn(length, width, seed=length).double().requires_grad_() for length in (1, 2, 4)]
    replacing = {b: drawn(n, width, seed=9 + b).double().requires_grad_() for b, n in deep.items()}
    mixed = [[part if isinstance(part, str) else learned[part] for part in prompt] for prompt in prompts]

    def alone(prompt: list[str | Tensor]) -> Tensor:
        table = model.token_embedding.weight
        start, end = table[[tokenizer.sot_token_id]], table[[tokenizer.eot_token_id]]
        parts = [table[tokenizer.encode(part)] if isinstance(part, str) else part for part in prompt]
        x = torch.cat([start, *parts, end])
        x = (x + model.positional_embedding[: len(x)])[None]
        for number, block in enumerate(model.transformer.resblocks, start=1):
            tokens = replacing.get(number, x[0, :0])[: x.shape[1] - 1]
            x = torch.cat([x[:, :1], tokens[None], x[:, 1 + len(tokens) :]], dim=1)
            x = block(x, attn_mask=model.attn_mask[: x.shape[1], : x.shape[1]])
        encoded: Tensor = model.ln_final(x[0, -1]) @ model.text_projection
        return encoded

    found = encode_prompts(model, tokenizer, tokenizer.encode, mixed, deep=replacing)
    expected = torch.stack([alone(prompt) for prompt in mixed])
    weights = drawn(*expected.shape, seed=5).double()
    leaves = [*learned, *replacing.values()]
    gradients = [
        torch.autograd.grad((each * weights).sum(), leaves, materialize_grads=True) if each.requires_grad else None
        for each in (found, expected)
    ]
    torch.testing.assert_close((found, gradients[0]), (expected, gradients[1]), atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("blocks", [(1,), (2,), (4,), (2, 3, 4)])
def test_deep_prompts_replace_the_tokens_after_the_start_token(
    golden_backbone: Backbone, blocks: tuple[int, ...]
) -> None:
    texts = ["a photo of a damaged bolt.", "a photo of a bolt."]
    deep = {block: drawn(block, golden_backbone.text_width, seed=block) for block in blocks}
    ours = golden_backbone.encode_prompts([[text] for text in texts], deep=deep)
    assert close(ours, with_deep_prompts(golden_backbone, texts, deep))
    assert not torch.allclose(ours, by_open_clip(golden_backbone, texts), atol=1e-2)


def test_deep_prompts_of_no_block_change_nothing(golden_backbone: Backbone) -> None:
    deep = {golden_backbone.text_blocks + 1: drawn(4, golden_backbone.text_width)}
    assert close(golden_backbone.encode_prompts([[LONG]], deep=deep), by_open_clip(golden_backbone, [LONG]))


def test_deep_prompts_of_groups_are_those_of_each_group(golden_backbone: Backbone) -> None:
    """Values and gradients, with one block whose vectors all groups share."""
    texts, groups, width = ["a photo of a damaged bolt.", "a photo of a bolt.", LONGEST], 3, golden_backbone.text_width
    own = {block: drawn(groups, 4, width, seed=block).requires_grad_() for block in (2, 4)}
    shared = {1: drawn(2, width).requires_grad_(), 3: drawn(3, width, seed=3).requires_grad_()}
    ours = golden_backbone.encode_prompts([[text] for text in texts], deep=own | shared)
    assert ours.shape == (groups, len(texts), golden_backbone.width)
    each = [{block: vectors[group] for block, vectors in own.items()} | shared for group in range(groups)]
    for group in range(groups):
        assert close(ours[group], with_deep_prompts(golden_backbone, texts, each[group]))
    alone = torch.stack([golden_backbone.encode_prompts([[text] for text in texts], deep=deep) for deep in each])
    leaves = [*own.values(), *shared.values()]
    gradients = [torch.autograd.grad(found.square().sum(), leaves) for found in (ours, alone)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_prompts_are_packed_once_and_groups_run_from_where_they_differ(
    golden_backbone: Backbone, seen: list[tuple[int, ...]]
) -> None:
    deep = {3: drawn(5, 2, golden_backbone.text_width)}
    one = golden_backbone.encode_prompts([["bolt"], ["nut"]], deep={3: deep[3][:1]})
    golden_backbone.encode_prompts([["bolt"], ["nut"]], deep=deep)
    beyond = golden_backbone.encode_prompts([["bolt"], ["nut"]], deep={9: deep[3]})
    assert {shape[0] for shape in seen} == {1}
    assert (one.shape[:2], beyond.shape[:2]) == ((1, 2), (5, 2))
    assert torch.equal(beyond[4], golden_backbone.encode_prompts([["bolt"], ["nut"]]))
    with pytest.raises(BackboneError, match="of 4 and 5 groups"):
        golden_backbone.encode_prompts([["bolt"]], deep=deep | {2: deep[3][:4]})


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("projected", [True, False])
def test_changed_tokens_are_those_of_open_clip_with_hooks(
    golden_backbone: Backbone, projected: bool, recompute: bool
) -> None:
    model, texts = golden_backbone.model, [SHORT, LONG, "a photo of a bolt."]
    weight = drawn(golden_backbone.text_width, golden_backbone.text_width).requires_grad_()
    tokens = open_clip.SimpleTokenizer()(texts)
    ends: list[Tensor] = []

    def after(block: int, x: Tensor) -> Tensor:
        return x + torch.tanh(x @ weight) * block if block != 2 else x

    places = [*enumerate(model.transformer.resblocks, start=1)]
    handles = [
        block.register_forward_hook(lambda _, inputs, output, number=number: after(number, output))
        for number, block in places
    ]
    handles.append(model.ln_final.register_forward_hook(lambda _, inputs, output: ends.append(output)))
    try:
        expected = model.encode_text(tokens)
    finally:
        for handle in handles:
            handle.remove()
    if not projected:
        expected = ends[0][torch.arange(len(texts)), tokens.argmax(dim=1)]
    ours = golden_backbone.encode_prompts(
        [[text] for text in texts], after=after, projected=projected, recompute=recompute
    )
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(found.square().sum(), [weight]) for found in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=1e-4)
