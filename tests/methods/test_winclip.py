"""WinCLIP against golden numbers, zero-shot and 2-shot, and the parts they do not reach."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from support.golden import Golden
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.clip.vision import embed, first_tokens
from benchmark.clip.windows import run_windows, window_patches
from benchmark.contract import Layer, VisionSpec
from benchmark.running.maps import at_evaluation_size
from methods.base import anomaly_probability
from methods.winclip import ABNORMAL, ANOMALIB_TEMPLATES, NORMAL, TEMPLATES, WinClip, WinClipOptions, harmonic_map

CLASS = "metal nut"


@pytest.fixture(scope="module")
def backbone(golden: Golden) -> Backbone:
    """The golden CLIP of WinCLIP: its own vision tower, the text tower of the others, plain GELU."""
    config = json.loads((Path(__file__).parents[1] / "golden/winclip.json").read_text())["config"]["open_clip"]
    model = open_clip.CLIP(**config)
    state = {key: value for key, value in golden("clip_weights").items() if not key.startswith("visual.")}
    visual = golden("winclip_visual_weights")
    model.load_state_dict(state | {f"visual.{key.removeprefix('visual.')}": value for key, value in visual.items()})
    return Backbone(model, name="golden", architecture="golden", sha256="0" * 64, synthetic=True)


@pytest.fixture(scope="module")
def inputs(golden: Golden) -> dict[str, Tensor]:
    return golden("winclip_inputs")


def quirky(backbone: Backbone, shots: int = 0) -> WinClip:
    return WinClip(backbone, WinClipOptions(shots=shots, anomalib_prompts=True))


def test_prompts_and_text_embeddings_match_the_reference(backbone: Backbone, arrays: dict[str, Tensor]) -> None:
    tokenizer = open_clip.SimpleTokenizer()
    for states, name in ((NORMAL, "normal"), (ABNORMAL, "abnormal")):
        ours = [template.format(state.format(CLASS)) for state in states for template in ANOMALIB_TEMPLATES]
        theirs = [row[: row.index(49407) + 1] for row in arrays[f"tokens_{name}"].tolist()]
        assert sorted(row[: row.index(49407) + 1] for row in tokenizer(ours).tolist()) == sorted(theirs)
    (text,) = quirky(backbone).text([CLASS])
    torch.testing.assert_close(text, F.normalize(arrays["text_embeddings"], dim=-1), atol=1e-5, rtol=0)


def test_windows_match_the_reference(backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]) -> None:
    last = Layer(backbone.blocks)
    features = backbone.encode_images(inputs["images"], VisionSpec(112, windows=(2, 3), tokens=(last,)))
    torch.testing.assert_close(features.image, arrays["image_embeddings"], atol=2e-5, rtol=0)
    torch.testing.assert_close(features.tokens[last], arrays["patch_embeddings"], atol=2e-5, rtol=0)
    text = F.normalize(arrays["text_embeddings"], dim=-1).expand(3, 2, -1)
    for size in (2, 3):
        windows = features.windows[size]
        torch.testing.assert_close(windows, arrays[f"window_embeddings_s{size}"], atol=2e-5, rtol=0)
        scores = anomaly_probability(windows, text, temperature=0.07)
        torch.testing.assert_close(scores, arrays[f"window_scores_s{size}"], atol=1e-5, rtol=0)
        grid_map = harmonic_map(scores, size=size, grid=7)
        torch.testing.assert_close(grid_map, arrays[f"score_map_s{size}"], atol=1e-5, rtol=0)


def test_zero_shot_scores_and_maps_match_the_reference(
    backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]
) -> None:
    method = quirky(backbone)
    prediction = method.predict(backbone.encode_images(inputs["images"], method.vision()), [CLASS] * 3)
    torch.testing.assert_close(prediction.scores, arrays["zero_shot.image_score"], atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.maps, arrays["zero_shot.grid_map"], atol=1e-5, rtol=0)
    _, maps = at_evaluation_size(prediction, image_size=112, smoothing=method.smoothing)
    assert maps is not None
    torch.testing.assert_close(torch.from_numpy(maps), arrays["zero_shot.pixel_map"], atol=1e-5, rtol=0)


def test_two_shot_scores_and_maps_match_the_reference(
    backbone: Backbone, arrays: dict[str, Tensor], inputs: dict[str, Tensor]
) -> None:
    method = quirky(backbone, shots=2)
    references = backbone.encode_images(inputs["reference_images"], method.vision())
    torch.testing.assert_close(
        references.tokens[Layer(backbone.blocks)], arrays["reference.patch_embeddings"], atol=2e-5, rtol=0
    )
    for size in (2, 3):
        expected = arrays[f"reference.window_embeddings_s{size}"]
        torch.testing.assert_close(references.windows[size], expected, atol=2e-5, rtol=0)
    method.see_references(references)
    features = backbone.encode_images(inputs["images"], method.vision())
    torch.testing.assert_close(method.association(features), arrays["few_shot.grid_map"], atol=1e-5, rtol=0)
    prediction = method.predict(features, [CLASS] * 3)
    torch.testing.assert_close(prediction.scores, arrays["few_shot.image_score"], atol=1e-5, rtol=0)
    _, maps = at_evaluation_size(prediction, image_size=112, smoothing=method.smoothing)
    assert maps is not None
    torch.testing.assert_close(torch.from_numpy(maps), arrays["few_shot.pixel_map"], atol=1e-5, rtol=0)


def test_window_patches_are_those_of_the_reference(arrays: dict[str, Tensor]) -> None:
    for size in (2, 3):
        theirs = arrays[f"window_masks_s{size}"].T.long()  # (windows, size²), some count from 1 for the CLS token
        ours = window_patches(7, size)
        assert torch.equal(ours - ours.min(), theirs - theirs.min())


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_chunk_bounds_the_batch_and_changes_no_number(
    backbone: Backbone, inputs: dict[str, Tensor], chunk: int
) -> None:
    visual = backbone.model.visual
    seen: list[int] = []
    hook = visual.transformer.resblocks[1].ln_1.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    spec = VisionSpec(112, windows=(2, 3))
    expected = backbone.encode_images(inputs["images"], spec).windows
    seen.clear()
    chunked = Backbone(
        backbone.model, name="", architecture="", sha256="", synthetic=True, window_chunk=chunk
    ).encode_images(inputs["images"], spec)
    hook.remove()
    assert max(seen[1:]) <= chunk  # the first is the pass over the whole image
    for size in (2, 3):
        torch.testing.assert_close(chunked.windows[size], expected[size], atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_batch_size_changes_no_number(backbone: Backbone, inputs: dict[str, Tensor], batch: int) -> None:
    method = quirky(backbone)
    whole = method.predict(backbone.encode_images(inputs["images"], method.vision()), [CLASS] * 3)
    parts = [
        method.predict(backbone.encode_images(each, method.vision()), [CLASS] * len(each))
        for each in inputs["images"].split(batch)
    ]
    torch.testing.assert_close(torch.cat([part.maps for part in parts]), whole.maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat([part.scores for part in parts]), whole.scores, atol=1e-5, rtol=0)


def test_a_window_is_the_tower_run_on_its_tokens_alone(backbone: Backbone, inputs: dict[str, Tensor]) -> None:
    """Oracle: open_clip's own blocks on one window's tokens, nothing shared and nothing left out."""
    visual = backbone.model.visual
    first = first_tokens(visual, inputs["images"][:1], backbone.positions(7))
    ours = run_windows(visual, first, 3)
    places = [0, *(1 + window_patches(7, 3)[8]).tolist()]
    alone = embed(visual, visual.transformer(first[:, places])[:, 0])
    torch.testing.assert_close(ours[:, 8], alone, atol=1e-5, rtol=0)


@given(st.integers(3, 8), st.sampled_from([2, 3]), st.integers(0, 99))
def test_harmonic_maps_are_the_harmonic_mean_of_the_windows_over_a_patch(grid: int, size: int, seed: int) -> None:
    patches = window_patches(grid, size)
    windows = torch.rand(2, len(patches), generator=torch.Generator().manual_seed(seed)) + 0.01
    ours = harmonic_map(windows, size=size, grid=grid).flatten(1)
    for patch in range(grid * grid):
        over = windows[:, (patches == patch).any(dim=1)]
        torch.testing.assert_close(ours[:, patch], over.shape[1] / (1 / over).sum(dim=1))


def test_a_window_equal_to_a_reference_makes_its_patches_zero_and_no_nan() -> None:
    windows = torch.rand(1, 9) + 0.1
    windows[0, 4] = 0
    maps = harmonic_map(windows, size=2, grid=4)
    assert maps.isfinite().all()
    assert (maps[0, 1:3, 1:3] == 0).all()


def test_the_paper_has_22_templates() -> None:
    assert len(set(TEMPLATES)) == 22
    assert "a photo of the large {}." in TEMPLATES
    assert "a cropped photo of a {}." in TEMPLATES
    assert all(template.endswith(".") for template in TEMPLATES)
    assert (len(ANOMALIB_TEMPLATES), len(set(ANOMALIB_TEMPLATES))) == (21, 20)


def test_the_ensemble_normalises_each_prompt_and_the_quirk_does_not(backbone: Backbone) -> None:
    options = [WinClipOptions(anomalib_prompts=quirk) for quirk in (False, True)]
    ours, theirs = (WinClip(backbone, each).text([CLASS])[0] for each in options)
    assert not torch.allclose(ours, theirs, atol=1e-4)
    prompts = [template.format(state.format(CLASS)) for state in ABNORMAL for template in TEMPLATES]
    each = F.normalize(backbone.encode_text(prompts), dim=-1)
    torch.testing.assert_close(ours[1], F.normalize(each.mean(dim=0), dim=-1))


def test_shots_ask_for_patch_tokens_and_zero_shot_does_not(backbone: Backbone) -> None:
    assert not quirky(backbone).vision().tokens
    assert quirky(backbone, shots=1).vision().tokens
    assert WinClip.shots(WinClipOptions(shots=4)) == 4
