"""What AdaCLIP's published code calls classes and parameters, and the checkpoints that its authors published."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmark.contract import ClassName
from methods.entries import float32, numbered

CODE_NAMES = {
    "br35h": "br35h",
    "brainmri": "brain_mri",
    "cvc_clinicdb": "ClinicDB",
    "cvc_colondb": "ColonDB",
    "endo": "endo",
    "headct": "headct",
    "isic": "isic",
    "sdd": "SDD",
    "tn3k": "tn3k",
}
"""Class names of the published code by dataset, where they are not the folders' names."""

_INDUSTRIAL = ("mvtec", "visa", "mpdd", "btad", "sdd", "dagm", "dtd_synthetic")
_MEDICAL = ("headct", "brainmri", "br35h", "isic", "cvc_colondb", "cvc_clinicdb", "tn3k")
PUBLISHED = {
    "be51a42c052bd4cf060e54f503a1f5d0b2a3b899bc8dc2e243042f18b215427e": ("mvtec", "cvc_colondb"),
    "3deabbbaf1e412cfdfcb42923a500b986f4b9ee96ccbc7a735d89dbc87df44c8": ("visa", "cvc_clinicdb"),
    "33e8d3db1cb4aab030866b8b70a46e10aa27ebf2c23b5463cb07f2574addd98c": _INDUSTRIAL + _MEDICAL,
}
"""Auxiliary datasets of the published checkpoints by sha256. The published README names the colonoscopy datasets of the
first two the other way round, against the names of the files and the scripts."""


def published_name(name: ClassName) -> str:
    """Return a class name as it stands in the prompts of the published code: hyphens become blanks, not underscores."""
    return CODE_NAMES.get(name.dataset, name.folder).replace("-", " ")


def read_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the options and the learned tensors of a published checkpoint. All keys may begin with `clip_model.`.

    It holds `visual_prompter.static_prompts.*` and `text_prompter.static_prompts.*` of shape `(M, W)`, the first of the
    text tower without use; `dynamic_visual_prompt_generator.head.*` and `dynamic_text_prompt_generator.head.*`, a
    linear layer for each of M tokens; `patch_token_layer.head.*`, one for each layer, and `cls_token_layer.head.0`.

    Raises:
        KeyError: It has no layer of the class token, or a layer or a prompt before another one is missing.
        ValueError: One of the tensors holds integers.
    """
    state = {key.removeprefix("clip_model."): tensor for key, tensor in state.items()}
    code = {"vision": "visual", "text": "text"}
    static = {tower: numbered(state, f"{name}_prompter.static_prompts") for tower, name in code.items()}
    heads = {tower: f"dynamic_{name}_prompt_generator.head" for tower, name in code.items()}
    dynamic = numbered(state, heads["vision"], ".weight")
    # Of dynamic prompts alone nothing tells the towers, but the official code cannot prompt the text tower so.
    towers = [tower for tower, prompts in static.items() if prompts] or ["vision"] * bool(dynamic)
    options: dict[str, Any] = {"prompts": "none"}
    if towers:
        options = {"prompts": "dynamic", "branches": towers[0] if len(towers) == 1 else "both"}
        options["length"] = len(dynamic or static[towers[0]][0])
        if depth := len(static[towers[0]]):
            options |= {"prompts": "both" if dynamic else "static", "depth": depth}
    learned = {f"cls.{kind}": state[f"cls_token_layer.head.0.{kind}"] for kind in ("weight", "bias")}
    for kind in ("weight", "bias"):
        layers = numbered(state, "patch_token_layer.head", f".{kind}")
        learned |= {f"patches.linear.{i}.{kind}": each for i, each in enumerate(layers)}
    for tower in towers:
        used = static[tower][1:] if tower == "text" else static[tower]
        learned |= {f"prompters.{tower}.static.{i}": tokens for i, tokens in enumerate(used)}
        if dynamic and (used or tower == "vision"):
            for kind in ("weight", "bias"):
                learned[f"prompters.{tower}.dynamic.{kind}"] = torch.cat(numbered(state, heads[tower], f".{kind}"))
    return options, float32(learned)
