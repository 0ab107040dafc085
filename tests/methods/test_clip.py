"""CLIP and CLIP-AC against golden numbers."""

import open_clip
import pytest
import torch
from support.golden import Golden

from benchmark.clip.backbone import Backbone
from benchmark.contract import Layer, Prediction, VisionSpec
from benchmark.running.maps import at_evaluation_size
from methods.base import anomaly_probability, to_grid
from methods.clip import Clip, ClipAC, ClipOptions
from methods.prompts import imagenet_templates, normal_abnormal

CLASSES = ("metal_nut", "candle")
LAYERS = tuple(Layer(block) for block in (2, 3, 4, 6))


@pytest.mark.parametrize("size", [70, 98])
@pytest.mark.parametrize("name", CLASSES)
def test_probabilities_match_the_reference(golden: Golden, golden_backbone: Backbone, size: int, name: str) -> None:
    arrays, images = golden("clip_prompt_ensemble"), golden("anomalyclip_inputs")[f"images_{size}"]
    features = golden_backbone.encode_images(images, VisionSpec(size, LAYERS))
    text = arrays[f"{name}.text_features"].expand(3, 2, -1)
    image = anomaly_probability(features.image[:, None], text, temperature=0.07)[:, 0]
    torch.testing.assert_close(image, arrays[f"{name}.{size}.image_prob_lnpost"], atol=1e-5, rtol=0)
    for layer, patches in features.patches.items():
        expected = arrays[f"{name}.{size}.similarity_l{layer.block}"][:, 1:, 1]
        torch.testing.assert_close(anomaly_probability(patches, text, temperature=0.07), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 4.0])
def test_maps_at_the_evaluation_size_match_the_reference(
    golden: Golden, golden_backbone: Backbone, smoothing: float
) -> None:
    arrays, images = golden("clip_prompt_ensemble"), golden("anomalyclip_inputs")["images_70"]
    patches = golden_backbone.encode_images(images, VisionSpec(70, (Layer(6),))).patches[Layer(6)]
    text = arrays["metal_nut.text_features"].expand(3, 2, -1)
    maps = to_grid(anomaly_probability(patches, text, temperature=0.07))
    _, resized = at_evaluation_size(Prediction(maps.amax((1, 2)), maps), image_size=70, smoothing=smoothing)
    suffix = "_sigma4" if smoothing else ""
    expected = arrays[f"metal_nut.70.anomaly_map_last_layer{suffix}"]
    torch.testing.assert_close(torch.from_numpy(resized), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CLASSES[:1])
def test_prompt_ensembles_match_the_reference(golden: Golden, golden_backbone: Backbone, name: str) -> None:
    arrays, tokenizer = golden("clip_prompt_ensemble"), open_clip.SimpleTokenizer()

    def texts(kind: str) -> list[str]:
        return [tokenizer.decode(row[1 : row.index(49407)]) for row in arrays[f"{name}.tokens_{kind}"].tolist()]

    pair = normal_abnormal(golden_backbone.encode_text, texts("normal"), texts("abnormal"))
    torch.testing.assert_close(pair, arrays[f"{name}.text_features"], atol=1e-5, rtol=0)


def test_prompts_are_those_of_the_paper(tiny: Backbone) -> None:
    assert Clip(tiny, ClipOptions()).prompts("metal nut") == (
        ["A photo of a normal metal nut."],
        ["A photo of an anomalous metal nut."],
    )
    normal, abnormal = ClipAC(tiny, ClipOptions()).prompts("metal nut")
    assert len(normal) == len(abnormal) == len(imagenet_templates()) == 80
    assert "a bad photo of a normal metal nut." in normal
    assert "itap of the anomalous metal nut." not in normal
    assert "a bad photo of a anomalous metal nut." in abnormal


@pytest.mark.parametrize("method", [Clip, ClipAC])
def test_each_image_is_scored_by_its_own_class(tiny: Backbone, method: type[Clip]) -> None:
    clip = method(tiny, ClipOptions())
    torch.manual_seed(0)
    features = tiny.encode_images(torch.randn(3, 3, 112, 112), clip.vision())
    mixed = clip.predict(features, ["carpet", "metal nut", "carpet"])
    carpet, nut = (clip.predict(features, [name] * 3) for name in ("carpet", "metal nut"))
    torch.testing.assert_close(mixed.scores[[0, 2]], carpet.scores[[0, 2]])
    torch.testing.assert_close(mixed.maps[1], nut.maps[1])
    assert not torch.allclose(carpet.scores, nut.scores)
    assert mixed.maps.shape == (3, 8, 8)


def test_temperature_sharpens(tiny: Backbone) -> None:
    torch.manual_seed(0)
    soft, sharp = (Clip(tiny, ClipOptions(temperature=t)) for t in (0.07, 0.01))
    features = tiny.encode_images(torch.randn(2, 3, 112, 112), soft.vision())
    logit = [torch.logit(m.predict(features, ["x", "x"]).scores) for m in (soft, sharp)]
    torch.testing.assert_close(logit[1], logit[0] * 7, atol=1e-3, rtol=1e-3)
