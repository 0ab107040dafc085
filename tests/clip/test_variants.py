"""Other towers from the same weights: the exact GELU, and other ways to resize positional embeddings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.clip.sharing import Pass, passes
from benchmark.clip.spec import BackboneVariant, Layer, PosInterp, VisionSpec
from benchmark.common.cache import Cache

Golden = Callable[[str], dict[str, Tensor]]

OWN_SIZE, LARGER = 70, 98  # of the golden weights


@pytest.fixture(scope="module")
def exact(golden: Golden, golden_config: dict[str, Any]) -> open_clip.CLIP:
    """Open_clip's model of the golden weights with the exact GELU in both towers."""
    model = open_clip.CLIP(**golden_config["open_clip"] | {"quick_gelu": False})
    model.load_state_dict(golden("clip_weights"))
    return model.eval()


def test_the_exact_gelu_is_that_of_open_clip_in_both_towers(
    golden: Golden, golden_backbone: Backbone, exact: open_clip.CLIP
) -> None:
    images, texts = golden("anomalyclip_inputs")[f"images_{OWN_SIZE}"], ["a bolt", "a damaged bolt"]
    variant = golden_backbone.variant(BackboneVariant(plain_gelu=True))
    with torch.no_grad():
        image, text = exact.encode_image(images), exact.encode_text(open_clip.SimpleTokenizer()(texts))
    spec = VisionSpec(OWN_SIZE, windows=(5,))
    features, quick = (each.encode_images(images, spec) for each in (variant, golden_backbone))
    for found in (features.image, features.windows[5][:, 0]):
        torch.testing.assert_close(found, image, atol=2e-5, rtol=0)
    torch.testing.assert_close(variant.encode_text(texts), text, atol=2e-5, rtol=0)
    assert (quick.image - image).abs().max() > 1e-2
    assert (golden_backbone.encode_text(texts) - text).abs().max() > 1e-3


def test_a_variant_shares_the_parameters(golden_backbone: Backbone) -> None:
    variant = golden_backbone.variant(BackboneVariant(plain_gelu=True, pos_interp="bicubic"))
    ours, theirs = (dict(each.model.named_parameters()) for each in (variant, golden_backbone))
    assert ours.keys() == theirs.keys()
    assert all(ours[name] is theirs[name] for name in ours)
    assert variant.model.attn_mask is golden_backbone.model.attn_mask
    assert (variant.name, variant.logit_scale) == (golden_backbone.name, golden_backbone.logit_scale)


def test_a_backbone_is_its_own_variant_where_nothing_changes(golden_backbone: Backbone, tiny: Backbone) -> None:
    for same in (BackboneVariant(), BackboneVariant(pos_interp="bilinear")):
        assert golden_backbone.variant(same) is golden_backbone
    assert tiny.variant(BackboneVariant(plain_gelu=True)) is tiny, "it has the exact GELU"
    wanted = BackboneVariant(plain_gelu=True)
    assert golden_backbone.variant(wanted) is golden_backbone.variant(wanted)
    assert golden_backbone.variant(wanted).variant(BackboneVariant()) is golden_backbone.variant(wanted)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "bicubic_no_antialias"])
def test_positions_are_resized_as_torch_does(golden_backbone: Backbone, mode: PosInterp) -> None:
    """To a smaller grid, too, where antialias counts most."""
    trained = golden_backbone.model.visual.positional_embedding
    variant = golden_backbone.variant(BackboneVariant(pos_interp=mode))
    for grid in (3, 7):
        square = trained[1:].reshape(1, 5, 5, -1).permute(0, 3, 1, 2)
        kind = "bilinear" if mode == "bilinear" else "bicubic"
        resized = F.interpolate(square, size=(grid, grid), mode=kind, antialias=mode == "bicubic", align_corners=False)
        expected = torch.cat([trained[:1], resized[0].flatten(1).T])
        torch.testing.assert_close(variant.positions(grid), expected, atol=1e-6, rtol=0)
        assert torch.equal(variant.positions(5), trained)


def test_text_of_variants_is_kept_apart_in_the_cache(
    golden: Golden, golden_config: dict[str, Any], exact: open_clip.CLIP, tmp_path: Path
) -> None:
    model = open_clip.CLIP(**golden_config["open_clip"])
    model.load_state_dict(golden("clip_weights"))
    cache = Cache(tmp_path, 10**9)
    backbone = Backbone(model, name="", architecture="golden", sha256="0" * 64, synthetic=True, cache=cache)
    quick = backbone.encode_text(["a bolt"])
    found = backbone.variant(BackboneVariant(plain_gelu=True)).encode_text(["a bolt"])
    with torch.no_grad():
        expected = exact.encode_text(open_clip.SimpleTokenizer()(["a bolt"]))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert torch.equal(backbone.encode_text(["a bolt"]), quick)
    resized = backbone.variant(BackboneVariant(pos_interp="bicubic"))
    assert torch.equal(resized.encode_text(["a bolt"]), quick)
    assert len(cache.entries()) == 2


def test_methods_share_a_pass_where_their_towers_give_the_same(golden_backbone: Backbone, tiny: Backbone) -> None:
    cubic, gelu = BackboneVariant(pos_interp="bicubic"), BackboneVariant(plain_gelu=True)
    own, larger = VisionSpec(OWN_SIZE, (Layer(2),)), VisionSpec(LARGER, (Layer(2),))
    more = VisionSpec(OWN_SIZE, (Layer(4),), images=True)
    varied, exact = golden_backbone.variant(cubic), golden_backbone.variant(gelu)
    asked = [(golden_backbone, own), (varied, larger), (exact, own), (varied, more), (golden_backbone, larger)]
    assert passes(asked) == [
        Pass(golden_backbone, VisionSpec(OWN_SIZE, (Layer(2), Layer(4)), images=True), (0, 3)),
        Pass(varied, larger, (1,)),
        Pass(exact, own, (2,)),
        Pass(golden_backbone, larger, (4,)),
    ]
    spec = VisionSpec(112)
    assert passes([(tiny, spec), (tiny.variant(gelu), spec)]) == [Pass(tiny, spec, (0, 1))]
    assert passes([(tiny, spec), (golden_backbone, spec)]) == [
        Pass(tiny, spec, (0,)),
        Pass(golden_backbone, spec, (1,)),
    ]
    assert passes([]) == []
