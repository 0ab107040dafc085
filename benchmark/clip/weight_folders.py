"""Folders of weights as Hugging Face's hub has them: a configuration, and the weights in one file or in several.

The configuration is that of open_clip (`open_clip_config.json`) or of transformers (`config.json`). It says how the
weights were trained, which a weight file alone does not.
"""

import contextlib
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.clip.architectures import OWN, BackboneError, architecture_config
from benchmark.common import CARD_LIMIT, TABLE_LIMIT, read_limited, what_is_it

HUB = "hf-hub:"
"""Begins the name of a repository of Hugging Face's hub, as in open_clip and timm."""
INDEX = ".index.json"
"""Ends the name of the file that says which of several files holds which tensor."""
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""Files that may hold the weights; the first that exists is read."""
CONFIGS = ("open_clip_config.json", "config.json")
"""Files that may say what the weights are; the first that exists is read."""
PREPROCESSING = "preprocessor_config.json"
"""The file of transformers that says how images are normalised."""

# What transformers takes where a configuration is silent, by its names.
_TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
_TEXT |= {"vocab_size": 49408, "max_position_embeddings": 77}
_VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_VISION |= {"image_size": 224, "patch_size": 32}
_BOTH = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_GELU = {"quick_gelu": True, "gelu": False}


@dataclass(frozen=True, slots=True)
class FolderConfig:
    """What a folder says of its weights."""

    file: Path
    """The configuration."""
    numbers: dict[str, Any]
    """The sizes of the network, as `sizes` returns them."""
    quick_gelu: bool
    """Whether the activation is QuickGELU and not plain GELU."""
    mean: tuple[float, ...] | None
    """Mean of red, green and blue by which images were normalised; None where the folder does not say it."""
    std: tuple[float, ...] | None
    """Standard deviation of red, green and blue."""


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that hold its weights: one, or the parts that an index lists.

    Raises:
        BackboneError: There is no such file, or the index cannot be read or names a file that is not in the folder.
    """
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
        raise BackboneError(
            f"{folder}: a folder without weights; looked for {', '.join(WEIGHTS)}; it has {there or 'no file'}; name "
            "the weight file itself"
        )
    if not found.name.endswith(INDEX):
        return (found,)
    files = [folder / name for name in _parts(found)]
    if missing := [file.name for file in files if not file.is_file()]:
        raise BackboneError(f"{found}: names {missing[0]!r}, which is not in the folder; download the whole folder")
    return tuple(files)


def _parts(index: Path) -> list[str]:
    """Return the names of the files that an index lists.

    Raises:
        BackboneError: It lists none, or one that is not in the folder of the index.
    """
    parts = _json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()) or not parts:
        raise BackboneError(f"{index}: has no weight_map with the names of files; download it again")
    names = sorted(set(parts.values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise BackboneError(f"{index}: names {outside[0]!r}, which is not in the folder; download it again")
    return names


def folder_config(folder: Path) -> FolderConfig:
    """Return what a folder says of its weights.

    Raises:
        BackboneError: There is no configuration, or it is not that of a CLIP.
    """
    file = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    if file is None:
        raise BackboneError(
            f"{folder}: a folder without {' or '.join(CONFIGS)}; add it, or name the weight file itself"
        )
    content = _json(file)
    try:
        if "model_cfg" in content:
            config, images = content["model_cfg"], content.get("preprocess_cfg", {})
            numbers, quick_gelu = sizes(config), bool(config.get("quick_gelu"))
            return FolderConfig(file, numbers, quick_gelu, _three(images.get("mean")), _three(images.get("std")))
        if (kind := content.get("model_type")) != "clip":
            raise BackboneError(f"{file}: model_type is {kind!r}, not clip; only plain CLIPs are supported")
        numbers, quick_gelu = _of_transformers(content)
        images = _json(folder / PREPROCESSING) if (folder / PREPROCESSING).is_file() else {}
        mean, std = _three(images.get("image_mean")), _three(images.get("image_std"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackboneError(f"{file}: not the configuration of a CLIP ({type(error).__name__}: {error})") from None
    return FolderConfig(file, numbers, quick_gelu, mean, std)


def sizes(config: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a configuration of open_clip on which the network depends, with open_clip's defaults."""
    import open_clip

    vision, text = open_clip.CLIPVisionCfg(**config["vision_cfg"]), open_clip.CLIPTextCfg(**config["text_cfg"])
    return {
        "embed_dim": config["embed_dim"],
        "vision width": vision.width,
        "vision layers": vision.layers,
        "vision heads": vision.width // vision.head_width,
        "vision mlp": int(vision.width * vision.mlp_ratio),
        "image size": vision.image_size,
        "patch size": vision.patch_size,
        "text width": text.width,
        "text layers": text.layers,
        "text heads": text.heads,
        "text mlp": int(text.width * text.mlp_ratio),
        "text length": text.context_length,
        "text vocabulary": text.vocab_size,
    }


def _of_transformers(content: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    text = {**_TEXT, **_BOTH, **content.get("text_config", {}), **(content.get("text_config_dict") or {})}
    vision = {**_VISION, **_BOTH, **content.get("vision_config", {}), **(content.get("vision_config_dict") or {})}
    gelus = {tower["hidden_act"] for tower in (text, vision)}
    if len(gelus) > 1 or not gelus <= _GELU.keys():
        raise ValueError(f"hidden_act is {' and '.join(map(str, sorted(gelus)))}; known are {' and '.join(_GELU)}")
    if others := {tower["layer_norm_eps"] for tower in (text, vision)} - {_BOTH["layer_norm_eps"]}:
        raise ValueError(f"layer_norm_eps is {others.pop()}; known is {_BOTH['layer_norm_eps']}")
    numbers = {
        "embed_dim": content.get("projection_dim", 512),
        "vision width": vision["hidden_size"],
        "vision layers": vision["num_hidden_layers"],
        "vision heads": vision["num_attention_heads"],
        "vision mlp": vision["intermediate_size"],
        "image size": vision["image_size"],
        "patch size": vision["patch_size"],
        "text width": text["hidden_size"],
        "text layers": text["num_hidden_layers"],
        "text heads": text["num_attention_heads"],
        "text mlp": text["intermediate_size"],
        "text length": text["max_position_embeddings"],
        "text vocabulary": text["vocab_size"],
    }
    return numbers, _GELU[gelus.pop()]


def architecture_of(known: FolderConfig) -> str:
    """Return the architecture of open_clip that a folder's configuration describes.

    Raises:
        BackboneError: No supported architecture has these sizes and this activation.
    """
    if fitting := _fitting(known):
        return fitting[0]
    raise BackboneError(
        f"{known.file}: no architecture that is supported has {'QuickGELU' if known.quick_gelu else 'plain GELU'} and "
        f"these sizes: {', '.join(f'{key} {value}' for key, value in known.numbers.items())}"
    )


def check_architecture(name: str, known: FolderConfig) -> None:
    """Check that the sizes of a folder's configuration are those of an architecture. The activation is not compared.

    Raises:
        BackboneError: They differ; with another number of heads, features would be wrong in silence.
    """
    ours = sizes(architecture_config(name))
    if different := [key for key, value in known.numbers.items() if ours[key] != value]:
        said = ", ".join(f"{key} {known.numbers[key]} (of {name}: {ours[key]})" for key in different[:4])
        better = _fitting(known)
        raise BackboneError(f"{known.file}: not of {name}: {said}" + (f"; use {better[0]}" if better else ""))


def _fitting(known: FolderConfig) -> list[str]:
    names = _of_sizes(known.numbers)
    return [name for name in names if bool(architecture_config(name).get("quick_gelu")) == known.quick_gelu]


def _of_sizes(numbers: Mapping[str, Any]) -> list[str]:
    """Return the architectures that have these of the `sizes`."""
    import open_clip

    names = []
    for name in (*OWN, *open_clip.list_models()):
        try:
            known = sizes(architecture_config(name))
        except BackboneError:
            continue
        if numbers.items() <= known.items():
            names.append(name)
    return sorted(names, key=lambda name: (len(name), name))


def architectures_of(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Return the architectures whose tensors have these shapes, or none where the tensors are not those of a CLIP.

    The number of heads and the activation are not seen in shapes, so several architectures can have the same.
    """

    def layers(tower: str) -> int:
        return len({key.split(".")[tower.count(".")] for key in shapes if key.startswith(tower)})

    try:
        places, patch = shapes["visual.positional_embedding"][0] - 1, shapes["visual.conv1.weight"][-1]
        numbers = {
            "embed_dim": shapes["text_projection"][1],
            "vision width": shapes["visual.conv1.weight"][0],
            "vision layers": layers("visual.transformer.resblocks."),
            "image size": round(places**0.5) * patch,
            "patch size": patch,
            "text width": shapes["token_embedding.weight"][1],
            "text layers": layers("transformer.resblocks."),
            "text length": shapes["positional_embedding"][0],
            "text vocabulary": shapes["token_embedding.weight"][0],
        }
    except (KeyError, IndexError):
        return []
    return _of_sizes(numbers)


def hub_folder(repository: str, *, weights: bool, download: bool = True) -> Path:
    """Return the local folder of a repository of Hugging Face's hub, in the hub's own cache.

    Args:
        repository: `ORGANISATION/NAME`.
        weights: Whether the weights are wanted too; else only the configuration is downloaded.
        download: Whether weights that are not in the cache are downloaded; the configuration is in any case.

    Raises:
        BackboneError: A file is neither in the cache nor to be downloaded. The message says what to do.
    """
    folder = _from_hub(repository, CONFIGS).parent
    _fetch_preprocessing(repository)
    if weights:
        file = _from_hub(repository, WEIGHTS, download=download)
        folder = file.parent
        if file.name.endswith(INDEX):
            for name in _parts(file):
                _from_hub(repository, (name,), download=download)
    return folder


@functools.cache  # without a network the client tries for half a minute
def _fetch_preprocessing(repository: str) -> None:
    with contextlib.suppress(BackboneError):  # not every repository has it
        _from_hub(repository, (PREPROCESSING,))


def _from_hub(repository: str, names: Sequence[str], *, download: bool = True) -> Path:
    """Return the first of these files of a repository, from the cache where one is there."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for cached in (True, False) if download else (True,):
        for name in names:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, name, local_files_only=cached))
            except Exception as error:  # the client raises many types
                if isinstance(error, EntryNotFoundError) and (cached or not isinstance(error, LocalEntryNotFoundError)):
                    continue
                reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
                raise BackboneError(
                    f"{HUB}{repository}: {name} is not on this machine and could not be downloaded ({reason}); copy "
                    "the repository's folder here, and name the folder: --backbone NAME=DIR"
                ) from error
    raise BackboneError(f"{HUB}{repository}: has no {' or '.join(names)}; is it a CLIP?")


def _json(file: Path) -> dict[str, Any]:
    limit = TABLE_LIMIT if file.name.endswith(INDEX) else CARD_LIMIT
    try:
        content = json.loads(read_limited(file, limit))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{file}: {what_is_it(file) or error}") from None
    if not isinstance(content, dict):
        raise BackboneError(f"{file}: is no JSON object; download it again")
    return content


def _three(values: Iterable[float] | None) -> tuple[float, ...] | None:
    """Return three numbers, or None where there are none."""
    if values is None:
        return None
    three = tuple(float(value) for value in values)
    if len(three) != 3:
        raise ValueError(f"{len(three)} numbers for red, green and blue")
    return three
