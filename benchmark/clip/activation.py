"""The activation of both towers: QuickGELU, `x σ(1.702 x)`, of OpenAI's weights and some others, or the exact GELU."""

import copy

import open_clip
from open_clip.transformer import QuickGELU
from torch import nn


def has_quick_gelu(model: open_clip.CLIP) -> bool:
    """Return whether a model computes QuickGELU."""
    return any(isinstance(module, QuickGELU) for module in model.modules())


def with_plain_gelu(model: open_clip.CLIP) -> open_clip.CLIP:
    """Return a model with the same parameters, in the same memory, that computes the exact GELU for QuickGELU."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    changed = copy.deepcopy(model, shared)
    for module in list(changed.modules()):
        for name, child in module.named_children():
            if isinstance(child, QuickGELU):
                setattr(module, name, nn.GELU())
    return changed
