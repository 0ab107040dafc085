"""Training of the mini CLIP: `python -m benchmark.mini.train` makes the shipped weights and their log again.

Three losses, all at the temperature 0.07 of the methods, on specimens drawn from the families that training may see:

1. captions: image and caption embeddings, every caption that is true of an image being its positive;
2. state: each image against the normal and the abnormal prompt of its name (or of "object", or of an invented name);
3. patches: the patch embeddings of the V-V path against the same two prompts. As in real CLIP, nothing teaches the last
   block's own tokens to localise.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.clip import MINI, MINI_FILE, PRESETS, embed, first_tokens, run_blocks, run_text
from benchmark.common import size_in_words
from benchmark.contract import Dpam, Layer
from benchmark.mini.captions import OBJECT, caption, family_names, nonsense, pair
from benchmark.mini.families import FAMILIES, SUITE_ONLY
from benchmark.mini.specimens import Specimens, draw

TEMPERATURE = 0.07
STEPS, BATCH, EACH = 2000, 64, 100
RATE, WARM_UP, WEIGHT_DECAY = 1e-3, 150, 0.05
PATCH_WEIGHTS = {
    Layer(block, Dpam(PRESETS["mini"].dpam_first)): weight for block, weight in ((4, 0.3), (6, 0.3), (8, 1.0))
}
NAMES = family_names()
TOKENIZER = open_clip.SimpleTokenizer()
TEXT_LENGTH = 28  # tokens; the longest caption has fewer, and one length lets the kernels be made once
ROOM = 0.15  # share of a patch that a defect must cover to make it fully anomalous


@dataclass
class Batch:
    """B images, half of them damaged."""

    images: Tensor
    """(B, 3, S, S), preprocessed."""
    labels: Tensor
    """(B,) 0 or 1."""
    masks: Tensor
    """(B, S, S) float, 0 or 1."""
    families: list[str]


def make_batch(specimens: Specimens, rng: np.random.Generator, size: int) -> Batch:
    """Draw specimens, take each as it is or as damaged, and vary pose and light."""
    rows = rng.integers(len(specimens.families), size=size)
    labels = rng.integers(2, size=size)
    images, masks = [], []
    for row, label in zip(rows, labels, strict=True):
        pixels = (specimens.damaged if label else specimens.normal)[row]
        mask = specimens.masks[row] & bool(label)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        pixels, mask = (np.rot90(each[:, ::-1] if flip else each, turns) for each in (pixels, mask))
        images.append(torch.from_numpy(np.ascontiguousarray(pixels)))
        masks.append(torch.from_numpy(np.ascontiguousarray(mask)))
    x = torch.stack(images).permute(0, 3, 1, 2).float() / 255
    light = torch.from_numpy(rng.uniform(0.8, 1.2, (size, 1, 1, 1)) * rng.uniform(0.93, 1.07, (size, 3, 1, 1))).float()
    x = (x * light + torch.from_numpy(rng.normal(0, 0.01, x.shape)).float()).clamp(0, 1)
    mean, std = (torch.tensor(v)[:, None, None] for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    families = [specimens.families[row] for row in rows]
    return Batch((x - mean) / std, torch.from_numpy(labels), torch.stack(masks).float(), families)


def encode_text(model: open_clip.CLIP, prompts: Sequence[str]) -> Tensor:
    """Return unit embeddings (len(prompts), D); only `TEXT_LENGTH` tokens are computed, the mask being causal."""
    tokens = TOKENIZER(list(prompts))[:, :TEXT_LENGTH]
    ends = tokens.argmax(dim=-1)  # the end token has the highest number
    x = model.token_embedding(tokens) + model.positional_embedding[:TEXT_LENGTH]
    mask = model.attn_mask[:TEXT_LENGTH, :TEXT_LENGTH]
    return F.normalize(run_text(model, x, mask, ends[:, None])[:, 0].float(), dim=-1)


def losses(model: open_clip.CLIP, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the three losses of a batch, and the share of images on the right side of their prompts."""
    names = [str(rng.choice(NAMES[family])) for family in batch.families]
    labels = batch.labels.tolist()
    spoken = [OBJECT if rng.random() < 0.3 else name for name in names]
    told = [None if rng.random() < 0.2 else label for label in labels]
    captions = [caption(rng, name, label=label) for name, label in zip(spoken, told, strict=True)]
    asked = [OBJECT if (u := rng.random()) < 0.35 else nonsense(rng) if u < 0.6 else name for name in names]
    pairs = [pair(rng, name) for name in asked]
    text = encode_text(model, [*captions, *(prompt for both in pairs for prompt in both)])
    said, prompts = text[: len(names)], text[len(names) :].reshape(len(names), 2, -1)

    first = first_tokens(model.visual, batch.images, model.visual.positional_embedding)
    tokens = run_blocks(model.visual, first, layers=PATCH_WEIGHTS.keys())
    image = F.normalize(embed(model.visual, tokens.last[:, 0]).float(), dim=-1)
    said_of = list(zip(spoken, told, batch.families, strict=True))
    true = torch.tensor(
        [
            [(about == OBJECT or family == other) and state in (None, label) for about, state, other in said_of]
            for family, label in zip(batch.families, labels, strict=True)
        ]
    ).float()
    logits = image @ said.T / TEMPERATURE
    captions_loss = (_soft(logits, true) + _soft(logits.T, true.T)) / 2

    states = torch.einsum("bd,bkd->bk", image, prompts) / TEMPERATURE
    state_loss = F.cross_entropy(states, batch.labels)

    side = model.visual.grid_size[0]
    target = (F.adaptive_avg_pool2d(batch.masks[:, None], side).flatten(1) / ROOM).clamp(max=1)
    patch_loss = image.new_zeros(())
    for layer, weight in PATCH_WEIGHTS.items():
        patch_loss = patch_loss + weight * _patches(embed(model.visual, tokens.layers[layer][:, 1:]), prompts, target)
    right = (states.argmax(dim=1) == batch.labels).float().mean()
    return {"captions": captions_loss, "state": state_loss, "patches": patch_loss, "right": right}


def _soft(logits: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy against all positives of a row alike."""
    return -(F.log_softmax(logits, dim=1) * true / true.sum(dim=1, keepdim=True)).sum(dim=1).mean()


def _patches(embeddings: Tensor, prompts: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of patches (B, N, D) against two prompts (B, 2, D); the few anomalous patches weigh five-fold."""
    cosines = F.normalize(embeddings.float(), dim=-1) @ prompts.transpose(1, 2)
    logits = (cosines[..., 1] - cosines[..., 0]) / TEMPERATURE
    return F.binary_cross_entropy_with_logits(logits, target, weight=1 + 4 * target)


def train(*, steps: int, seed: int, specimens: Specimens, log: Path | None) -> open_clip.CLIP:
    """Train from random weights; the same arguments on the same machine give the same losses."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = open_clip.CLIP(**MINI)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / WARM_UP, 0.5 * (1 + np.cos(np.pi * min(1, step / STEPS))))
    )
    rows: list[list[object]] = []
    start = time.monotonic()
    for step in range(1, steps + 1):
        batch = make_batch(specimens, rng, BATCH)
        # The plain kernel of attention: for so few tokens the fused one is slower, backward above all.
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            parts = losses(model, batch, rng)
            total = parts["captions"] / 2 + parts["state"] + 2 * parts["patches"]
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        rows.append([step, *(f"{value.item():.6f}" for value in (total, *parts.values()))])
        if step % 50 == 0 or step == steps:
            recent = np.array(rows[-50:], dtype=float).mean(axis=0)[1:]
            shown = ", ".join(f"{name} {v:.3f}" for name, v in zip(("total", *parts), recent, strict=True))
            print(f"step {step}/{steps}, {time.monotonic() - start:.0f} s: {shown}", flush=True)
    if log is not None:
        with log.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", "total", *parts])
            writer.writerows(row for row in rows if int(str(row[0])) % 10 == 0 or int(str(row[0])) <= 50)
    return model


def main() -> None:
    """Draw the specimens, train, and save weights (float16) and log."""
    parser = argparse.ArgumentParser(description="Train the miniature CLIP again; about 45 minutes on 2 cores.")
    parser.add_argument("--steps", type=int, default=STEPS, help="stop after so many; the schedule stays as it is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=MINI_FILE, help="where to write")
    parser.add_argument("--log", type=Path, default=MINI_FILE.with_name("clip_mini_log.csv"), help="where to write")
    arguments = parser.parse_args()
    size = MINI["vision_cfg"]["image_size"]
    print("drawing specimens", flush=True)
    seen = sorted(set(FAMILIES) - SUITE_ONLY)
    specimens = draw(seen, EACH, size=size, purpose="training")
    model = train(steps=arguments.steps, seed=arguments.seed, specimens=specimens, log=arguments.log)
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    save_file(state, arguments.weights)
    print(f"wrote {arguments.weights} ({size_in_words(arguments.weights.stat().st_size)}) and {arguments.log}")


if __name__ == "__main__":
    main()
