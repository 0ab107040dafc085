"""State dicts as files hold them: inside other dicts, under prefixes, in the layout of open_clip or of transformers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAMES = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "clip_model",
    "clip",
    "backbone",
    "network",
    "net",
    "prompt_learner",
    "trainable_linearlayer",
    "_orig_mod",
    "_forward_module",
)
"""Entries of a file that hold a state dict, and first parts of the keys of one: of training loops, of Lightning, of
torch's `DataParallel` and `compile`, and of published code."""
_DEPTH = 4
"""Names that may stand one in another, as in `state_dict` → `module.model.…`."""

_BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_ENDS = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # transformers spells it so
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_DROPPED = ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")
"""Counting numbers, which older files of transformers hold."""
_TOWERS = {
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.encoder.layers.": "transformer.resblocks.",
}


def state_dicts(loaded: object, depth: int = _DEPTH) -> "Iterator[dict[str, Tensor]]":
    """Yield each state dict that a loaded file may hold: the outermost first, then what stands under one of `NAMES`.

    Entries that are no tensors (an epoch, the state of an optimiser) are left out.
    """
    import torch

    if not isinstance(loaded, Mapping):
        return
    entries = {key: value for key, value in loaded.items() if isinstance(key, str)}
    if state := {key: value for key, value in entries.items() if isinstance(value, torch.Tensor)}:
        yield state
    if depth == 0:
        return
    for name in NAMES:
        yield from state_dicts(entries.get(name), depth - 1)
        start = f"{name}."
        yield from state_dicts({k.removeprefix(start): v for k, v in entries.items() if k.startswith(start)}, depth - 1)


def flattened(loaded: object, depth: int = _DEPTH) -> "dict[str, Tensor]":
    """Return all tensors of a loaded file, each by the names of the dicts that it lies in and its own, as in `a.b`.

    Other entries are left out, and so is a dict that was met before, as in a dict that holds itself.
    """
    import torch

    found: dict[str, Tensor] = {}
    met: set[int] = set()

    def visit(entries: Mapping[Any, Any], start: str, depth: int) -> None:
        if id(entries) in met:
            return
        met.add(id(entries))
        for key, value in entries.items():
            if isinstance(key, str) and isinstance(value, torch.Tensor):
                found[start + key] = value
            elif isinstance(key, str) and isinstance(value, Mapping) and depth:
                visit(value, f"{start}{key}.", depth - 1)

    if isinstance(loaded, Mapping):
        visit(loaded, "", depth)
    return found


def places_of_entries(parts: "Mapping[Path, Mapping[str, Tensor]]") -> dict[str, list[tuple[Path, str]]]:
    """Return by name in which files, and by which name there, each entry of several files is.

    Where an entry of the same name is in two files, the stem of its file comes first.
    """
    counts = Counter(name for part in parts.values() for name in part)
    found: dict[str, list[tuple[Path, str]]] = {}
    for path, part in parts.items():
        for name in part:
            found.setdefault(name if counts[name] == 1 else f"{path.stem}.{name}", []).append((path, name))
    return found


def is_transformers(state: "Mapping[str, Any]") -> bool:
    """Return whether the keys are those of `CLIPModel` of the package transformers."""
    return any(key.startswith(("vision_model.", "text_model.")) for key in state)


def from_transformers(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the state dict of open_clip's `CLIP` for one of `CLIPModel` of transformers.

    The numbers are the same: transformers has three matrices for query, key and value where open_clip has one, and
    stores its projections transposed. A key that is not known keeps its name.
    """
    import torch

    made: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in _DROPPED:
            continue
        if key in _TRANSPOSED:
            made[_TRANSPOSED[key]] = value.T.contiguous()
            continue
        start = next((start for start in _TOWERS if key.startswith(start)), None)
        if start is None:
            made[_ENDS.get(key, key)] = value
            continue
        number, _, part = key.removeprefix(start).partition(".")
        block = f"{_TOWERS[start]}{number}."
        name, _, kind = part.rpartition(".")
        if name in ("self_attn.k_proj", "self_attn.v_proj"):
            continue  # goes with the query
        if name == "self_attn.q_proj":
            three = [state.get(key.replace(".q_proj.", f".{each}_proj.")) for each in "qkv"]
            if any(each is None for each in three):
                made[key] = value
            else:
                made[f"{block}attn.in_proj_{kind}"] = torch.cat([each for each in three if each is not None])
            continue
        made[f"{block}{_BLOCK.get(name, name)}.{kind}"] = value
    return made
