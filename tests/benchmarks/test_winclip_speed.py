"""WinCLIP beside anomalib's, in turn, with the same random weights on the same images.

anomalib 2.7 needs an older open_clip (with a newer one every window gets the same embedding, silently), so it runs in
an environment of its own: `tox -e anomalib` makes it, `tox -e benchmarks` then finds it. Nothing here asserts a time.
"""

import os
import subprocess
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

from benchmark.clip.backbone import load_backbone
from benchmark.clip.weights import parse_backbone
from methods.winclip import SCALES, WinClip, WinClipOptions

ANOMALIB = Path(os.environ.get("ANOMALIB_PYTHON", Path(__file__).parents[2] / ".tox/anomalib/bin/python"))
BACKBONE, IMAGES, ROUNDS = "ViT-B-16-plus-240:random", 4, 5


def matrix_rate(dtype):
    """Operations per second of the largest linear layer."""
    x, weight = torch.randn(2560, 896).to(dtype), torch.randn(3584, 896).to(dtype)
    seconds = []
    with torch.no_grad():
        for _ in range(10):
            start = perf_counter()
            F.linear(x, weight)
            seconds.append(perf_counter() - start)
    return 2 * x.numel() * len(weight) / median(seconds)


def operations(backbone):
    """Of the linear layers of the blocks, for the tokens of an image and of all its windows."""
    visual = backbone.model.visual
    grid, width = visual.grid_size[0], visual.positional_embedding.shape[1]
    tokens = 1 + grid**2 + sum((grid - size + 1) ** 2 * (1 + size**2) for size in SCALES)
    return 2 * tokens * sum(p.numel() for p in visual.transformer.parameters() if p.shape[1:] and p.shape[-1] >= width)


@pytest.mark.skipif(not ANOMALIB.exists(), reason="anomalib's environment is not there: tox -e anomalib makes it")
def test_time_beside_anomalib(benchmark, capsys, tmp_path):
    backbones = {dtype: load_backbone(parse_backbone(BACKBONE), dtype=dtype) for dtype in ("float32", "bfloat16")}
    state = backbones["float32"].model.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "weights.safetensors")
    images = torch.randn(IMAGES, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    save_file({"images": images}, tmp_path / "images.safetensors")
    methods = {name: WinClip(each, WinClipOptions(anomalib_prompts=True)) for name, each in backbones.items()}
    predictions = {}

    def ours(name):
        start = perf_counter()
        with torch.no_grad():
            features = backbones[name].encode_images(images, methods[name].vision())
            predictions[name] = methods[name].predict(features, ["metal nut"] * IMAGES)
        return (perf_counter() - start) / IMAGES

    script = Path(__file__).with_name("anomalib_winclip.py")
    other = subprocess.Popen([ANOMALIB, script, tmp_path], stdin=-1, stdout=-1, stderr=-3, text=True)

    def theirs():
        other.stdin.write("again\n")
        other.stdin.flush()
        return float(other.stdout.readline()) / IMAGES

    ready = other.stdout.readline()
    assert ready.startswith("ready"), "anomalib's environment does not work: make it anew with tox -e anomalib -r"
    turns = {"anomalib": theirs, **{name: lambda name=name: ours(name) for name in methods}}
    seconds = {name: [] for name in turns}

    def in_turn():
        for name, turn in turns.items():
            seconds[name].append(turn())

    benchmark.pedantic(in_turn, rounds=ROUNDS, warmup_rounds=1)
    other.communicate()
    expected = load_file(tmp_path / "anomalib.safetensors")
    changes = {}
    for name, prediction in predictions.items():
        maps = F.interpolate(prediction.maps[:, None], size=(240, 240), mode="bilinear")[:, 0]
        changes[name] = [
            (prediction.scores - expected["scores"]).abs().max().item(),
            (maps - expected["maps"].squeeze(1)).abs().max().item(),
        ]
    assert max(changes["float32"]) < 1e-4
    if benchmark.stats is None:  # --benchmark-disable
        return
    per_image = {name: median(each[1:]) for name, each in seconds.items()}
    with capsys.disabled():
        print(f"\n{ready.strip()}; seconds an image, median of {ROUNDS} turns: anomalib {per_image['anomalib']:.2f}")
        for name in methods:
            ratios = sorted(a / b for a, b in zip(seconds["anomalib"][1:], seconds[name][1:], strict=True))
            floor = operations(backbones[name]) / matrix_rate(torch.float32 if name == "float32" else torch.bfloat16)
            print(
                f"  {name}: {per_image[name]:.2f}, ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
                f"all tokens through the linear layers at the machine's rate: {floor:.2f}; largest difference of a "
                f"score {changes[name][0]:.1e}, of a map {changes[name][1]:.1e}"
            )
            benchmark.extra_info[name] = {
                "against": ready.strip().removeprefix("ready: "),
                "ours_s": per_image[name],
                "theirs_s": per_image["anomalib"],
                "ratio": median(ratios),
                "floor_s": floor,
                "change": changes[name],
            }
