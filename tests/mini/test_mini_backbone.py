"""The miniature CLIP that ships along, and the script that trains it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.clip.backbone import load_backbone
from benchmark.clip.weights import MINI_BACKBONE, MINI_FILE, parse_backbone
from benchmark.contract import Layer, VisionSpec
from benchmark.metrics.image import ImageMetrics
from benchmark.mini.captions import ABNORMAL, NORMAL, family_names, nonsense, pair
from benchmark.mini.families import FAMILIES, SUITE_ONLY, TRAINING_ONLY
from benchmark.mini.specimens import Specimens, draw
from benchmark.mini.train import encode_text, make_batch, train
from methods.clip import Clip, ClipOptions


@pytest.fixture(scope="module")
def specimens() -> Specimens:
    return draw(["washer", "carpet", "skin"], 4, size=112, purpose="test", workers=1)


def test_the_shipped_weights_are_small_synthetic_and_fit() -> None:
    backbone = load_backbone(parse_backbone(MINI_BACKBONE))
    assert MINI_FILE.stat().st_size <= 16e6
    assert backbone.synthetic
    assert (backbone.image_size, backbone.blocks) == (112, 8)
    assert (backbone.feature_blocks, backbone.dpam_first) == ((2, 4, 6, 8), 3)


def test_the_shipped_weights_tell_damaged_from_normal(specimens: Specimens) -> None:
    """On specimens of families that training saw, drawn with other seeds."""
    backbone = load_backbone(parse_backbone(MINI_BACKBONE))
    clip, metrics = Clip(backbone, ClipOptions()), ImageMetrics()
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)))
    for label, images in enumerate((specimens.normal, specimens.damaged)):
        x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
        features = backbone.encode_images(x, VisionSpec(112, (Layer(8),)))
        for score in clip.predict(features, ["object"] * len(images)).scores.tolist():
            metrics.update(score, label)
    auroc = metrics.compute()["image_auroc"]
    assert auroc is not None
    assert auroc > 0.7


def test_specimens_are_pairs_that_differ_inside_the_mask(specimens: Specimens) -> None:
    assert specimens.families == ["washer"] * 4 + ["carpet"] * 4 + ["skin"] * 4
    changed = np.abs(specimens.normal.astype(int) - specimens.damaged).max(axis=-1) > 25
    assert changed.any(axis=(1, 2)).all()
    assert specimens.masks.any(axis=(1, 2)).all()
    assert (changed & specimens.masks).sum() > 0.5 * changed.sum()
    again = draw(["skin"], 1, size=112, purpose="test", workers=1)
    np.testing.assert_array_equal(again.damaged[0], specimens.damaged[8])


def test_a_batch_keeps_image_mask_and_label_together(specimens: Specimens) -> None:
    batch = make_batch(specimens, np.random.default_rng(0), 16)
    assert batch.images.shape == (16, 3, 112, 112)
    assert ((batch.masks.sum(dim=(1, 2)) > 0) == (batch.labels == 1)).all()


def test_the_short_text_pass_gives_the_embeddings_of_the_whole_one() -> None:
    backbone = load_backbone(parse_backbone("mini:random"))
    prompts = ["a photo of a normal metal nut.", "itap of my damaged thing."]
    expected = torch.nn.functional.normalize(backbone.encode_text(prompts), dim=-1)
    torch.testing.assert_close(encode_text(backbone.model, prompts), expected, atol=1e-5, rtol=0)


def test_captions_never_name_what_training_must_not_see() -> None:
    names = family_names()
    seen = {name for family in set(FAMILIES) - SUITE_ONLY for name in names[family]}
    unseen = {name for family in SUITE_ONLY for name in names[family]}
    assert not seen & unseen
    assert "metal nut" in seen
    assert "hazelnut" in unseen
    assert not TRAINING_ONLY & SUITE_ONLY


def test_prompts_come_in_pairs_of_one_template() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        normal, abnormal = pair(rng, "gizmo")
        assert any(state.format("gizmo") in normal for state in NORMAL)
        assert any(state.format("gizmo") in abnormal for state in ABNORMAL)
    assert nonsense(np.random.default_rng(1)).isalpha()


@pytest.mark.slow
def test_training_again_gives_the_same_losses(specimens: Specimens, tmp_path: Path) -> None:
    def losses(name: str, seed: int, steps: int = 2) -> list[list[float]]:
        train(steps=steps, seed=seed, specimens=specimens, log=tmp_path / name)
        with (tmp_path / name).open(encoding="utf-8") as file:
            return [[float(value) for value in row] for row in list(csv.reader(file))[1:]]

    first = losses("a.csv", 0)
    assert losses("b.csv", 0) == pytest.approx(np.array(first), abs=1e-4)
    assert losses("c.csv", 1, steps=1) != pytest.approx(np.array(first[:1]), abs=1e-4)


def test_gradients_reach_both_towers(specimens: Specimens) -> None:
    model = train(steps=1, seed=0, specimens=specimens, log=None)
    moved: list[Tensor] = [model.visual.proj.grad, model.text_projection.grad, model.visual.conv1.weight.grad]
    assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in moved)
