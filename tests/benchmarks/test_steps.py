"""What single steps of a run cost at 518 px: reading an image and its mask, and the vision tower.

Run with `pytest tests/benchmarks/test_steps.py`. Nothing here asserts a time: figures are printed and kept in the
`extra_info` of pytest-benchmark.
"""

import numpy as np
import torch
from PIL import Image

from benchmark.clip.backbone import load_backbone
from benchmark.clip.spec import merge_specs
from benchmark.clip.weights import parse_backbone
from benchmark.data.images import read_image
from benchmark.data.masks import MaskRule, read_mask, resize_mask
from benchmark.data.preprocess import Preprocess
from benchmark.registry import all_methods

SIZE, PHOTO = 518, 1024
BACKBONE = "ViT-L-14-336-quickgelu:random"
SHARING = ("anomalyclip", "clip", "clip_ac", "coop", "genclip")


def draw(folder):
    """Write a photo with the noise of a camera and its mask of two regions, as PNG."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)).resize((PHOTO, PHOTO), 3)
    pixels = np.clip(np.asarray(coarse, float) + rng.normal(0, 3, size=(PHOTO, PHOTO, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros((PHOTO, PHOTO), np.uint8)
    mask[200:400, 100:350] = mask[600:640, 700:900] = 255
    paths = folder / "photo.png", folder / "mask.png"
    for path, content in zip(paths, (pixels, mask), strict=True):
        Image.fromarray(content).save(path)
    return paths


def test_reading_an_image(benchmark, tmp_path):
    photo, _ = draw(tmp_path)
    preprocess = Preprocess(SIZE)
    benchmark.pedantic(lambda: preprocess(read_image(photo)), rounds=20, warmup_rounds=2)
    if benchmark.stats is not None:
        benchmark.extra_info["image_ms"] = 1000 * benchmark.stats.stats.median


def test_reading_a_mask(benchmark, tmp_path):
    photo, mask = draw(tmp_path)

    def read():
        return resize_mask(read_mask(mask, MaskRule(0), size=(PHOTO, PHOTO), photo=photo), SIZE)

    assert benchmark.pedantic(read, rounds=20, warmup_rounds=2).any()
    if benchmark.stats is not None:
        benchmark.extra_info["mask_ms"] = 1000 * benchmark.stats.stats.median


def test_vision_tower_of_five_methods(benchmark):
    backbone, known = load_backbone(parse_backbone(BACKBONE)), all_methods()
    (spec,) = merge_specs(known[name](backbone, known[name].Options()).vision() for name in SHARING)
    image = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    features = benchmark.pedantic(backbone.encode_images, args=(image, spec), rounds=2)
    assert features.grid == SIZE // backbone.patch_size
    if benchmark.stats is not None:
        benchmark.extra_info["image_s"] = benchmark.stats.stats.min
