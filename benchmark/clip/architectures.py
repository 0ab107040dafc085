"""Architectures of the backbone: those of open_clip that are a plain CLIP, and two small ones."""

import difflib
from dataclasses import dataclass
from typing import Any

from benchmark.errors import BenchError

# The mini CLIP, which ships with the package. benchmark.mini.train trains it on generated images.
MINI: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 112, "layers": 8, "width": 192, "head_width": 64, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 4},
}
# A smaller architecture for tests. It has no trained weights.
TINY: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 112, "layers": 4, "width": 128, "head_width": 32, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
OWN = {"mini": MINI, "tiny": TINY}


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults of an architecture."""

    image_size: int
    """Side of the input in pixels."""
    dpam_first: int
    """First block of the DPAM path."""


PRESETS = {
    "ViT-L-14-336-quickgelu": Preset(image_size=518, dpam_first=6),  # AnomalyCLIP, section 4.1
    "mini": Preset(image_size=112, dpam_first=3),
}

# What the towers of this package understand. Any other entry of a configuration could change the network or the
# tokenizer in silence, so an architecture with one is refused.
ENTRIES = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
VISION_ENTRIES = {"image_size", "patch_size", "layers", "width", "head_width", "mlp_ratio", "ls_init_value"}
TEXT_ENTRIES = {"context_length", "layers", "width", "heads", "mlp_ratio", "ls_init_value"}


class BackboneError(BenchError):
    """Raised if a backbone cannot be loaded. The message names the file or option and what to do."""


def vision_width(name: str) -> int:
    """Return the length of a token in the vision tower of an architecture.

    Raises:
        BackboneError: If there is none of this name, or it cannot be used.
    """
    return int(architecture_config(name)["vision_cfg"].get("width", 768))  # open_clip's own default


def builds_quick_gelu(name: str) -> bool:
    """Return whether an architecture has QuickGELU. Where the name says it, open_clip is not imported for it.

    Raises:
        BackboneError: If there is none of this name, or it cannot be used.
    """
    return name.endswith("-quickgelu") or bool(architecture_config(name).get("quick_gelu"))


def architecture_config(name: str, *, tag: str | None = None) -> dict[str, Any]:
    """Return the configuration of an architecture, as open_clip builds it.

    Args:
        name: Name of the architecture in open_clip, or "mini" or "tiny".
        tag: Tag of the weights that it is wanted for. An error then suggests only architectures that have them.

    Raises:
        BackboneError: If open_clip does not know the name (the message lists similar names), or if the architecture is
            not a plain CLIP with a vision transformer and CLIP's own tokenizer.
    """
    if name in OWN:
        return OWN[name]
    import open_clip

    names = open_clip.list_models()
    if name not in names:
        usable = [each for each in names if is_usable(each, tag=tag)]
        spelled = name.replace("/", "-").replace("@", "-")  # OpenAI writes ViT-L/14@336px
        near = difflib.get_close_matches(spelled, usable, n=3)
        raise BackboneError(f"unknown architecture {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    config: dict[str, Any] = open_clip.get_model_config(name)
    if other := _not_plain(config):
        raise BackboneError(
            f"{name} is no plain CLIP with a vision transformer and CLIP's tokenizer ({other}); only those are "
            "supported"
        )
    return config


def is_usable(name: str, *, tag: str | None = None) -> bool:
    """Return whether an architecture of open_clip is supported and, with a tag, builds the network of its weights."""
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None or _not_plain(config):
        return False
    if tag is None:
        return True
    pretrained = open_clip.get_pretrained_cfg(name, tag)
    return bool(pretrained) and bool(pretrained.get("quick_gelu")) == bool(config.get("quick_gelu"))


def _not_plain(config: dict[str, Any]) -> str:
    """Return the first entry of a configuration that is not a plain CLIP's; "" if there is none."""
    import open_clip

    if more := sorted(set(config) - ENTRIES):
        return more[0]
    for tower, entries, default in (
        ("vision_cfg", VISION_ENTRIES, open_clip.CLIPVisionCfg()),
        ("text_cfg", TEXT_ENTRIES, open_clip.CLIPTextCfg()),
    ):
        for key, value in config[tower].items():
            if key not in entries and value != getattr(default, key, None):
                return f"{tower}.{key}: {value}"
    layers = config["vision_cfg"].get("layers")
    return "" if isinstance(layers, int) else f"vision_cfg.layers: {layers}"
