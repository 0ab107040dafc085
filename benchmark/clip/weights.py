"""Sources of CLIP weights: an open_clip tag, a local file, or a seed. No file is ever unpickled."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.common import file_sha256, user_cache
from benchmark.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_BACKBONE = "ViT-L-14-336-quickgelu:openai"

MINI_BACKBONE = "mini:v2"
MINI_FILE = Path(__file__).parents[1] / "mini" / "clip_mini.safetensors"

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


class BackboneError(BenchError):
    """Raised if a backbone cannot be loaded. The message names the file or option and what to do."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A published weight file."""

    url: str
    sha256: str
    size: int
    """Size in bytes."""

    @property
    def filename(self) -> str:
        """Name of the file in the download and in the cache."""
        return self.url.rsplit("/", 1)[1]


KNOWN_FILES = {
    "ViT-L-14-336-quickgelu:openai": KnownFile(
        url="https://openaipublic.azureedge.net/clip/models/"
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt",
        sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        size=934_088_680,
    ),
    # The entry of open_clip's hub for this tag points at e31; only the release file is e32.
    "ViT-B-16-plus-240:laion400m_e32": KnownFile(
        url="https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights/"
        "vit_b_16_plus_240-laion400m_e32-699c4b84.pt",
        sha256="699c4b843885d82733517f36f0911d7e1b360bcc1314dda81d8c56c76fe9524d",
        size=833_559_975,
    ),
}


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """A parsed `--backbone`: an architecture with a tag, a file or a seed."""

    architecture: str
    """Name of the architecture in open_clip, or "mini" or "tiny"."""
    tag: str | None = None
    """Tag of the pretrained weights in open_clip."""
    file: Path | None = None
    """Local weight file."""
    seed: int | None = None
    """Seed of random weights."""

    @property
    def synthetic(self) -> bool:
        """Whether the weights are random or were trained on generated images."""
        return self.seed is not None or self.architecture in ("mini", "tiny")

    @property
    def name(self) -> str:
        """Name of the backbone in records and tables: architecture and weights, without the folder of a local file."""
        if self.file is not None:
            return f"{self.architecture}={self.file.name}"
        return f"{self.architecture}:{self.tag if self.seed is None else f'random-{self.seed}'}"


def parse_backbone(text: str) -> WeightsSource:
    """Parse `NAME:TAG`, `NAME=FILE` or `NAME:random[-SEED]`.

    Raises:
        BackboneError: If the text has none of these forms.
    """
    architecture, equals, file = text.partition("=")
    if equals and architecture and file:
        return WeightsSource(architecture, file=Path(file))
    architecture, colon, tag = text.partition(":")
    if not (colon and architecture and tag):
        raise BackboneError(
            f"--backbone {text!r}: say NAME:TAG (open_clip's names, as in {DEFAULT_BACKBONE}), NAME=FILE for a weight "
            "file of yours, or NAME:random[-SEED], as in tiny:random"
        )
    kind, _, seed = tag.partition("-")
    if kind == "random":
        if seed and not seed.isdecimal():
            raise BackboneError(f"--backbone {text!r}: the seed after random- must be a whole number")
        return WeightsSource(architecture, seed=int(seed or 0))
    return WeightsSource(architecture, tag=tag)


def architecture_config(name: str) -> dict[str, Any]:
    """Return open_clip's configuration of an architecture.

    Raises:
        BackboneError: If open_clip does not know the name (the message lists similar names), or if the architecture is
            not a plain CLIP with a vision transformer.
    """
    import difflib

    import open_clip

    if name in ("mini", "tiny"):
        return MINI if name == "mini" else TINY
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        raise BackboneError(f"unknown architecture {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    plain = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
    if set(config) - plain or not isinstance(config["vision_cfg"].get("layers"), int):
        raise BackboneError(f"{name} is no plain CLIP with a vision transformer; only those are supported")
    return config


def cache_directory() -> Path:
    """Return the folder for downloaded weights, in the user's cache."""
    return user_cache() / "weights"


def find_file(source: WeightsSource) -> Path:
    """Return the weight file of a source with a tag or a local file. The file of a tag is downloaded if necessary.

    Raises:
        BackboneError: If the file does not exist and cannot be downloaded, or if its sha256 is wrong. The message says
            which file to get, its size and sha256, and where to put it.
    """
    if source.file is not None:
        if not source.file.is_file():
            raise BackboneError(f"--backbone {source.architecture}={source.file}: no such file")
        return source.file
    if source.name == MINI_BACKBONE:
        return MINI_FILE
    known = KNOWN_FILES.get(source.name)
    return _known_file(source.name, known) if known else _open_clip_file(source)


def _known_file(name: str, known: KnownFile) -> Path:
    import pooch

    # OpenAI's package and the published ZSAD code download to ~/.cache/clip; such a file is used as well.
    for folder in (cache_directory(), Path.home() / ".cache/clip"):
        path = folder / known.filename
        if path.is_file():
            if (found := file_sha256(path)) != known.sha256:
                raise BackboneError(f"{path}: sha256 is {found}, not {known.sha256}; delete the file and run again")
            return path
    try:
        fetched = pooch.retrieve(
            known.url,
            known_hash=f"sha256:{known.sha256}",
            fname=known.filename,
            path=cache_directory(),
            progressbar=True,
        )
    except Exception as error:  # pooch passes on any error of the transport
        raise BackboneError(
            f"the weights of {name} are not on this machine and could not be downloaded "
            f"({type(error).__name__}).\n  get:    {known.url}\n  size:   {known.size:,} bytes\n"
            f"  sha256: {known.sha256}\n  put it: {cache_directory() / known.filename}\n"
            f"or name a file of yours: --backbone {name.partition(':')[0]}=FILE"
        ) from error
    return Path(fetched)


def _open_clip_file(source: WeightsSource) -> Path:
    import open_clip

    config = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    if not config:
        own = [name.partition(":")[2] for name in [MINI_BACKBONE] if name.startswith(f"{source.architecture}:")]
        tags = own + open_clip.list_pretrained_tags_by_model(source.architecture)
        raise BackboneError(
            f"open_clip knows no weights {source.tag!r} for {source.architecture}; "
            + (f"its tags: {', '.join(tags)}" if tags else "it has none for this architecture")
        )
    try:
        return Path(open_clip.download_pretrained(config, cache_dir=str(cache_directory())))
    except Exception as error:  # the clients raise various types
        where = config.get("hf_hub") or config.get("url")
        raise BackboneError(
            f"the weights of {source.name} are not on this machine and could not be downloaded "
            f"({type(error).__name__}).\n  get: {where}\nand name the file: --backbone {source.architecture}=FILE"
        ) from error


def weights_sha256(source: WeightsSource) -> str:
    """Return the sha256 of the weight file, or of architecture and seed if the weights are random.

    Raises:
        BackboneError: See `find_file`.
    """
    if source.seed is not None:
        return hashlib.sha256(f"random {source.architecture} {source.seed}".encode()).hexdigest()
    return file_sha256(find_file(source))


def read_state_dict(path: Path, *, keys: Sequence[str] = ("state_dict",)) -> "dict[str, Tensor]":
    """Read the tensors of a weight file without unpickling.

    The file is a safetensors file, a TorchScript archive as published by OpenAI, or a state dict that
    `torch.load(weights_only=True)` reads.

    Args:
        path: The file.
        keys: Entries of a checkpoint that may hold the state dict. The first one that exists is used.

    Returns:
        The tensors by name, without the prefix `module.`.

    Raises:
        BackboneError: If the file has another format or would need unpickling of arbitrary objects.
    """
    import torch
    from safetensors.torch import load_file

    if path.exists() and not path.is_file():  # reading from a pipe would block
        raise BackboneError(f"{path}: not a file; name the weight file itself")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:  # safetensors raises a type of its own
            raise BackboneError(f"{path}: not a readable safetensors file: {error}") from error
    try:
        if _is_torchscript(path):
            # TorchScript's C++ reader creates only tensors and modules.
            _refuse_code(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                loaded = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except BackboneError:
        raise
    except Exception as error:  # a refused pickle, a truncated archive, …
        raise BackboneError(
            f"{path}: neither a TorchScript archive nor a state dict that loads without unpickling "
            f"({type(error).__name__}); convert it to safetensors where you trust it"
        ) from error
    state = loaded
    if isinstance(loaded, dict):
        state = next((loaded[key] for key in keys if key in loaded), loaded)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BackboneError(f"{path}: holds no state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive.

    Raises:
        BackboneError: If the file is a tar archive, whose loader ran code in some versions of torch (CVE-2025-32434),
            or an archive that is much larger when unpacked.
    """
    import tarfile
    import zipfile

    if not zipfile.is_zipfile(path):
        if tarfile.is_tarfile(path):
            raise BackboneError(f"{path}: in torch's oldest format (tar); convert it to safetensors where you trust it")
        return False
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unpacked, limit = sum(entry.file_size for entry in entries), 2 * path.stat().st_size + 2**26
    if unpacked > limit:  # only code is compressed, tensors are not
        raise BackboneError(f"{path}: {unpacked:,} bytes when unpacked, more than the limit for its size, {limit:,}")
    return any(entry.filename.endswith("/constants.pkl") for entry in entries)


def _refuse_code(path: Path) -> None:
    """Raise an error if a TorchScript archive has code that runs while the archive is read.

    Raises:
        BackboneError: If there is such code; it could write files.
    """
    import torch

    reader = torch._C.PyTorchFileReader(str(path))  # the reader that torch.jit.load uses, so both read the same bytes
    for name in reader.get_all_records():
        if name.startswith("code/") and b"__setstate__" in reader.get_record(name):
            raise BackboneError(
                f"{path}: {name} would run code while the file is read (__setstate__); save its state dict as "
                "safetensors where you trust it"
            )
