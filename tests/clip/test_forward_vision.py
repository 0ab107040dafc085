"""The vision tower with changes by a method, against open_clip's own forward pass with hooks that make the changes."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.clip.architectures import BackboneError
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.spec import Dpam, FeatureError, Layer, VisionSpec
from benchmark.clip.vision import run_changed
from benchmark.clip.weights import parse_backbone

Golden = Callable[[str], dict[str, Tensor]]

OWN_SIZE = 70  # of the golden weights: open_clip takes no other
ADDED = 2


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5


class Prompts(torch.nn.Module):
    """Tokens that are put behind the others and replaced later on, and a layer on all tokens after block 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens = torch.nn.ParameterList(drawn(ADDED, width, seed=block) for block in range(3))
        self.adapter = torch.nn.Parameter(drawn(width, width, seed=9) / width**0.5)

    def after(self, block: int, x: Tensor) -> Tensor:
        if block < len(self.tokens):
            kept = x if block == 0 else x[:, :-ADDED]
            return torch.cat([kept, self.tokens[block].expand(len(x), -1, -1)], dim=1)
        return x + torch.tanh(x @ self.adapter) if block == len(self.tokens) else x


@contextmanager
def hooked(backbone: Backbone, after: Callable[[int, Tensor], Tensor]) -> Iterator[dict[int, Tensor]]:
    """Change the tokens inside open_clip's model, and give those of each block."""
    visual, seen = backbone.model.visual, dict[int, Tensor]()

    def change(block: int) -> Callable[..., Tensor]:
        def hook(module: object, inputs: object, output: Tensor) -> Tensor:
            seen[block] = after(block, output)
            return seen[block]

        return hook

    places = [visual.ln_pre, *visual.transformer.resblocks]
    handles = [place.register_forward_hook(change(block)) for block, place in enumerate(places)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("recompute", [False, True])
def test_changed_tokens_and_their_gradients_are_those_of_open_clip(
    golden: Golden, golden_backbone: Backbone, recompute: bool
) -> None:
    images = golden("anomalyclip_inputs")[f"images_{OWN_SIZE}"]
    prompts = Prompts(golden_backbone.vision_width)
    tokens = golden_backbone.forward_vision(images, after=prompts.after, keep=(1, 4, 6), recompute=recompute)
    image = golden_backbone.embed(tokens.last[:, 0])
    with hooked(golden_backbone, prompts.after) as seen:
        expected = golden_backbone.model.encode_image(images)
    torch.testing.assert_close(image, expected, atol=2e-5, rtol=0)
    assert tokens.last.shape == (3, 1 + 25 + ADDED, golden_backbone.vision_width)
    assert sorted(tokens.kept) == [1, 4, 6]
    for block, kept in tokens.kept.items():
        torch.testing.assert_close(kept, seen[block], atol=2e-5, rtol=0)
    ours, theirs = (
        torch.autograd.grad(embedded.square().sum() + middle.square().mean(), list(prompts.parameters()))
        for embedded, middle in ((image, tokens.kept[4]), (expected, seen[4]))
    )
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in golden_backbone.model.parameters())


@pytest.mark.parametrize("recompute", [False, True])
def test_another_attention_is_that_of_open_clip_with_other_projections(
    golden: Golden, golden_backbone: Backbone, recompute: bool
) -> None:
    """Where the values take the place of queries and keys from block 3 on."""
    images = golden("anomalyclip_inputs")[f"images_{OWN_SIZE}"]
    model = copy.deepcopy(golden_backbone.model)
    for block in model.visual.transformer.resblocks[2:]:
        for parameter in (block.attn.in_proj_weight, block.attn.in_proj_bias):
            parameter.data = parameter.data.chunk(3)[2].repeat(3, *[1] * (parameter.dim() - 1))

    def attention(block: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if block < 3:
            return F.scaled_dot_product_attention(queries, keys, values)
        return F.scaled_dot_product_attention(values, values, values)

    tokens = golden_backbone.forward_vision(images, attention=attention, recompute=recompute)
    torch.testing.assert_close(golden_backbone.embed(tokens.last[:, 0]), model.encode_image(images), atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [70, 98])
def test_without_changes_it_is_the_shared_pass(golden: Golden, golden_backbone: Backbone, size: int) -> None:
    images, layers = golden("anomalyclip_inputs")[f"images_{size}"], (Layer(2), Layer(6))
    shared = golden_backbone.encode_images(images, VisionSpec(size, layers, tokens=layers, hidden=layers))
    with torch.no_grad():
        tokens = golden_backbone.forward_vision(images, keep=(2, 6))
        assert torch.equal(golden_backbone.embed(tokens.last[:, 0]), shared.image)
        for layer in layers:
            patches = tokens.kept[layer.block][:, 1:]
            assert torch.equal(patches, shared.hidden[layer])
            assert torch.equal(golden_backbone.embed(patches), shared.patches[layer])
            assert torch.equal(golden_backbone.embed(patches, projected=False), shared.tokens[layer])


def test_unprojected_tokens_of_any_path_and_block(golden: Golden, golden_backbone: Backbone) -> None:
    """Projected, they are the patch embeddings that the reference has."""
    images, expected = golden("anomalyclip_inputs")["images_70"], golden("anomalyclip_vision")
    layer, proj = Layer(4, Dpam(3)), golden_backbone.model.visual.proj
    features = golden_backbone.encode_images(images, VisionSpec(70, tokens=(layer, Layer(4)), hidden=(layer,)))
    for found in (features.tokens[layer] @ proj, golden_backbone.embed(features.hidden[layer])):
        torch.testing.assert_close(found, expected["70.dpam_ffn0.patch_l4"][:, 1:], atol=2e-5, rtol=0)
    plain = features.tokens[Layer(4)] @ proj
    torch.testing.assert_close(plain, expected["70.plain.patch_l4"][:, 1:], atol=2e-5, rtol=0)
    with pytest.raises(FeatureError):
        features.hidden[Layer(4)]


def test_gradients_are_those_of_finite_differences(golden_backbone: Backbone) -> None:
    visual = copy.deepcopy(golden_backbone.model.visual).double()
    width = golden_backbone.vision_width
    first = drawn(2, 5, width).double()

    def last(added: Tensor, factor: Tensor) -> Tensor:
        def after(block: int, x: Tensor) -> Tensor:
            return torch.cat([x, added.expand(2, 1, -1)], dim=1) if block == 2 else x * factor

        return run_changed(visual, first, after=after).last

    inputs = (drawn(1, width, seed=1).double().requires_grad_(), drawn(width, seed=2).double().requires_grad_())
    assert torch.autograd.gradcheck(last, inputs, fast_mode=True)


def test_recomputing_keeps_less_for_the_gradients(golden: Golden, golden_backbone: Backbone) -> None:
    images = golden("anomalyclip_inputs")["images_70"]
    prompts = Prompts(golden_backbone.vision_width)
    kept = {}
    for recompute in (False, True):
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            golden_backbone.forward_vision(images, after=prompts.after, recompute=recompute)
        kept[recompute] = sum(sizes)
    assert kept[True] < kept[False] / 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_change_gets_float32_in_any_precision(dtype: str) -> None:
    """With towers of another dtype, and with mixed precision, where the sum that all blocks add to is not rounded."""
    backbone = load_backbone(parse_backbone("tiny:random"), dtype=dtype)
    seen = set()

    def after(block: int, x: Tensor) -> Tensor:
        seen.add((block, x.dtype))
        return x

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "float32"):
        tokens = backbone.forward_vision(torch.zeros(1, 3, 112, 112), after=after, keep=(1,))
        image = backbone.embed(tokens.last[:, 0])
        text = backbone.encode_prompts([["bolt"]], after=after)
    assert seen == {(block, torch.float32) for block in range(5)}
    assert {each.dtype for each in (tokens.last, tokens.kept[1], image, text)} == {torch.float32}


def test_images_are_handed_over_as_they_are_encoded(tiny: Backbone) -> None:
    pixels = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = tiny.encode_images(pixels, VisionSpec(112))
    both = tiny.encode_images(pixels, VisionSpec(112, images=True))
    assert plain.images is None
    assert both.images is not None
    mean, std = (torch.tensor(each)[:, None, None] for each in (tiny.mean, tiny.std))
    torch.testing.assert_close(both.images, (pixels / 255 - mean) / std)
    assert torch.equal(both.image, plain.image)
    with torch.no_grad():
        assert torch.equal(tiny.embed(tiny.forward_vision(both.images).last[:, 0]), plain.image)


def test_without_its_own_pass_there_are_images_alone(tiny: Backbone) -> None:
    pixels = torch.zeros(2, 3, 112, 112, dtype=torch.uint8)
    with hooked(tiny, lambda block, x: x) as seen:
        features = tiny.encode_images(pixels, VisionSpec(112, images=True, encoded=False))
    assert not seen
    assert features.images is not None
    assert (features.image.shape, features.image_raw.shape) == ((2, 0), (2, 0))
    assert features.grid == 8


def test_a_block_that_does_not_exist_is_refused(tiny: Backbone) -> None:
    images = torch.zeros(1, 3, 112, 112)
    for wrong in (VisionSpec(112, tokens=(Layer(5),)), VisionSpec(112, hidden=(Layer(1, Dpam(5)),))):
        with pytest.raises(BackboneError, match="blocks 1 to 4"):
            tiny.encode_images(images, wrong)
    with pytest.raises(BackboneError, match="blocks 1 to 4"):
        tiny.forward_vision(images, keep=(0,))
