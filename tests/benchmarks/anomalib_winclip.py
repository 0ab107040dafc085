"""Runs anomalib's WinCLIP for test_winclip_speed.py, in an environment of its own (`tox -e anomalib`).

Argument: a folder with `weights.safetensors` and `images.safetensors`. Prints a line when ready; then, for every line
it reads, scores the images once and prints the seconds that took; at the end of input writes `anomalib.safetensors`.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

import anomalib.models.image.winclip.torch_model as winclip
import open_clip
import torch
from safetensors.torch import load_file, save_file

folder = Path(sys.argv[1])
images = load_file(folder / "images.safetensors")["images"]
create = open_clip.create_model_and_transforms


def with_our_weights(name, pretrained=None, **options):
    model, *transforms = create(name, pretrained=None, **options)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model, *transforms


winclip.open_clip.create_model_and_transforms = with_our_weights
model = winclip.WinClipModel(class_name="metal nut").eval()
print("ready: anomalib", version("anomalib"), "with open_clip", version("open_clip_torch"), flush=True)
with torch.no_grad():
    for _ in sys.stdin:
        start = time.perf_counter()
        found = model(images)
        print(time.perf_counter() - start, flush=True)
save_file(
    {"scores": found.pred_score.contiguous(), "maps": found.anomaly_map.contiguous()}, folder / "anomalib.safetensors"
)
