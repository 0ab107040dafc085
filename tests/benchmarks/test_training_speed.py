"""Training from cached features beside the usual loop, which encodes every image again in every epoch.

Run with `pytest tests/benchmarks/test_training_speed.py`. Nothing here asserts a time: the ratio, where the time goes,
and the peak memory are printed and kept in the `extra_info` of pytest-benchmark.
"""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.clip.backbone import load_backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.cache import GB, Cache
from benchmark.contract import TrainingBatch
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.loading import Reading, load, stack
from benchmark.data.masks import MaskRule
from benchmark.protocol import Protocol
from benchmark.training.batches import JoinedFeatures
from benchmark.training.features import auxiliary_features
from benchmark.training.loop import batches, train
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions

IMAGES, EPOCHS = 24, 5


def draw(root, images, *, seed=0):
    """Write a plain folder of photo-sized images, half of them anomalous with masks."""
    rng = np.random.default_rng(seed)
    for folder in ("normal", "abnormal", "masks/abnormal"):
        (root / folder).mkdir(parents=True)
    for index in range(images):
        coarse = rng.integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((700, 700), Image.Resampling.BICUBIC)).copy()
        if index % 2:
            Image.fromarray(pixels).save(root / f"normal/{index:03d}.png")
            continue
        mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
        mask[200:400, 100:350] = 255
        pixels[mask > 0] //= 3
        Image.fromarray(pixels).save(root / f"abnormal/{index:03d}.png")
        Image.fromarray(mask).save(root / f"masks/abnormal/{index:03d}.png")
    return root


def encode_each_epoch(method, backbone, data, options, seconds):
    """The usual loop: read, encode, step, for every batch of every epoch."""
    optimiser, spec = method.optimiser(), method.vision()
    reading = Reading(spec.image_size, masks=MaskRule(0), batch_size=options.batch_size, workers=0)
    for epoch in range(options.epochs):
        for indices in batches(len(data.test), options.batch_size, seed=0, epoch=epoch):
            start = time.perf_counter()
            [items] = load([data.test[index] for index in indices], reading)
            read = time.perf_counter()
            features = backbone.encode_images(stack(items), spec)
            encoded = time.perf_counter()
            labels = torch.tensor([item.sample.label for item in items])
            masks = torch.from_numpy(np.stack([item.mask for item in items])).float()
            names = tuple(item.sample.prompt_name for item in items)
            optimiser.zero_grad()
            torch.stack(list(method.losses(TrainingBatch(features, names, labels, masks)).values())).sum().backward()
            optimiser.step()
            seconds["read"] += read - start
            seconds["encode"] += encoded - read
            seconds["text, losses, steps"] += time.perf_counter() - encoded


def test_time_beside_encoding_in_every_epoch(benchmark, capsys, tmp_path):
    backbone = load_backbone(parse_backbone("ViT-B-16:random"))
    data = read_folder(PlainFolder(directory=draw(tmp_path / "data", IMAGES), class_name="part"))
    options = AnomalyClipOptions(epochs=EPOCHS)
    usual = AnomalyClip(backbone, options)
    backbone.encode_images(torch.zeros(8, 3, 224, 224), usual.vision())  # warm
    parts = dict.fromkeys(("read", "encode", "text, losses, steps"), 0.0)
    start = time.perf_counter()
    encode_each_epoch(usual, backbone, data, options, parts)
    again = time.perf_counter() - start
    rounds = iter(range(100))
    made, ours = [], {}

    def from_cache():
        method = AnomalyClip(backbone, options)
        cache = Cache(tmp_path / f"cache{next(rounds)}", GB)
        start = time.perf_counter()
        features = auxiliary_features(data, backbone, method.vision(), Protocol(), cache, workers=0, skip_broken=False)
        ours["read, encode, write"] = time.perf_counter() - start
        train(method, [(stage, JoinedFeatures((features,))) for stage in method.stages([])])
        made.append(method)

    benchmark.pedantic(from_cache, rounds=3)
    difference = max(
        (ours_ - theirs).abs().max().item()
        for ours_, theirs in zip(made[-1].learned.parameters(), usual.learned.parameters(), strict=True)
    )
    assert difference < 1e-4
    if benchmark.stats is None:  # --benchmark-disable
        return
    cached = benchmark.stats.stats.median
    ours["text, losses, steps"] = cached - ours["read, encode, write"]
    benchmark.extra_info |= {
        "against": "the loop that encodes every image in every epoch",
        "ours_s": cached,
        "theirs_s": again,
        "ratio": again / cached,
        "parts": {"usual": parts, "ours": ours},
    }
    with capsys.disabled():
        print(f"\n{IMAGES} images, {EPOCHS} epochs: from the cache {cached:.1f} s, encoded anew {again:.1f} s", end="")
        print(f", ratio {again / cached:.2f}; largest difference of a parameter {difference:.1e}")
        for name, shares in (("anew", parts), ("cache", ours)):
            print(f"  {name}: " + ", ".join(f"{part} {value:.2f} s" for part, value in shares.items()))


PEAK = """
import sys
from dataclasses import replace
from pathlib import Path
from benchmark.common.cache import GB, Cache
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.records.cells import backbone_id
from benchmark.running.executors import InThisProcess
from benchmark.running.planning import Auxiliaries, Setting, plan
from benchmark.protocol import Protocol
from benchmark.records.records import path_of, read_record
from benchmark.running.driver import run
from benchmark.common.settings import Settings
from benchmark.clip.weights import parse_backbone
from benchmark.running.tasks import Loading
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.genclip import GenClip, GenClipOptions

root = Path(sys.argv[1])
source = parse_backbone("ViT-B-16:random")
named = {}
for name in ("mvtec", "btad"):
    samples = read_folder(PlainFolder(directory=root / name, class_name="part"))
    named[name] = replace(samples, card=samples.card.model_copy(update={"name": name, "title": name}))
made = plan(
    [(AnomalyClip, AnomalyClipOptions(epochs=1)), (GenClip, GenClipOptions(epochs=1))], [named["btad"]],
    Setting(backbone_id(source, dtype="float32"), Protocol(), Auxiliaries({"mvtec": named["mvtec"]})), seeds=[0],
)
settings = Settings(root / "results", workers=0, cache=Cache(root / "cache", GB))
loading = {job.cell.backbone: Loading(source, "float32", "cpu", "bilinear", 512) for job in made.jobs}
run(made.jobs, settings, InThisProcess(say=print), loading=loading, say=print)
print(max(read_record(path_of(root / "results", job.cell.id)).run.peak_memory for job in made.jobs))
"""


@pytest.mark.parametrize("images", [16, 128])
def test_peak_memory_of_training_and_testing(benchmark, capsys, tmp_path, images):
    for seed, name in enumerate(("mvtec", "btad")):
        draw(tmp_path / name, images, seed=seed)

    def peak():
        done = subprocess.run([sys.executable, "-c", PEAK, tmp_path], capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1]) / 1e6

    megabytes = benchmark.pedantic(peak, rounds=1)
    benchmark.extra_info["peak_MB"] = megabytes
    with capsys.disabled():
        print(f"\n{images} images to train and {images} to test: peak {megabytes:.0f} MB")
