"""Sources of CLIP weights: an open_clip tag, a local file, or a seed; and how the weights were trained."""

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.clip.architectures import OWN, BackboneError, architecture_config, is_usable
from benchmark.clip.weight_folders import (
    HUB,
    INDEX,
    FolderConfig,
    architecture_of,
    check_architecture,
    folder_config,
    hub_folder,
    weight_files,
)
from benchmark.common import file_sha256, user_cache

DEFAULT_BACKBONE = "ViT-L-14-336-quickgelu:openai"

MINI_BACKBONE = "mini:v2"
MINI_FILE = Path(__file__).parents[1] / "mini" / "clip_mini.safetensors"

# Mean and standard deviation of red, green and blue by which OpenAI's CLIP normalises images.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


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


# Weights that are downloaded by their sha256. All were trained with the mean and standard deviation of OpenAI's CLIP.
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
    """Local weight file, or a folder as those of Hugging Face's hub."""
    hub: str | None = None
    """Repository of Hugging Face's hub, as `ORGANISATION/NAME`."""
    seed: int | None = None
    """Seed of random weights."""

    @property
    def synthetic(self) -> bool:
        """Whether the weights are random or were trained on generated images."""
        return self.seed is not None or self.architecture in OWN

    @property
    def name(self) -> str:
        """Name of the backbone in records and tables: architecture and weights, without the folder of a local file.

        The name of a folder of weights ends with a slash.
        """
        if self.hub is not None:
            return f"{self.architecture}={HUB}{self.hub}"
        if self.file is not None:
            return f"{self.architecture}=" + (f"{self.file.resolve().name}/" if self.file.is_dir() else self.file.name)
        return f"{self.architecture}:{self.tag if self.seed is None else f'random-{self.seed}'}"


def parse_backbone(text: str) -> WeightsSource:
    """Parse `NAME:TAG`, `NAME=FILE`, `NAME=FOLDER`, `NAME=hf-hub:ORGANISATION/NAME` or `NAME:random[-SEED]`.

    `NAME=` may be left out before a folder and before `hf-hub:`; the architecture is then that of their configuration,
    which is downloaded where it has to be.

    Raises:
        BackboneError: If the text has none of these forms, or no architecture is that of the configuration.
    """
    start, marker, hub = text.rpartition(HUB)
    if marker:
        if not re.fullmatch(r"([^=]+=)?", start) or not re.fullmatch(r"[\w.-]+/[\w.-]+", hub):
            raise BackboneError(
                f"--backbone {text!r}: say {HUB}ORGANISATION/NAME, as in {HUB}openai/clip-vit-large-patch14-336"
            )
        known = start.removesuffix("=") or architecture_of(folder_config(hub_folder(hub, weights=False)))
        return WeightsSource(known, hub=hub)
    if (folder := Path(text).expanduser()).is_dir() and text:
        return WeightsSource(architecture_of(folder_config(folder)), file=folder)
    architecture, equals, file = text.partition("=")
    if equals and architecture and file:
        return WeightsSource(architecture, file=_whole(Path(file).expanduser()))
    architecture, colon, tag = text.partition(":")
    if not (colon and architecture and tag):
        raise BackboneError(
            f"--backbone {text!r}: say NAME:TAG (open_clip's names, as in {DEFAULT_BACKBONE}), NAME=FILE for a weight "
            f"file or folder of yours, {HUB}ORGANISATION/NAME, or NAME:random[-SEED], as in tiny:random"
        )
    kind, _, seed = tag.partition("-")
    if kind == "random":
        if seed and not seed.isdecimal():
            raise BackboneError(f"--backbone {text!r}: the seed after random- must be a whole number")
        return WeightsSource(architecture, seed=int(seed or 0))
    return WeightsSource(architecture, tag=tag)


def _whole(file: Path) -> Path:
    """Return the folder of a file that is one of a folder of weights, since the folder says how they were trained."""
    folder = file.parent
    try:
        files = weight_files(folder) if file.is_file() else ()
        folder_config(folder)
    except BackboneError:
        return file
    return folder if file in files or file.name.endswith(INDEX) else file


@dataclass(frozen=True, slots=True)
class Pretraining:
    """How weights were trained, as far as it matters for their use. A weight file does not say it."""

    mean: tuple[float, ...] = OPENAI_MEAN
    """Mean of red, green and blue by which images were normalised, for values in [0, 1]."""
    std: tuple[float, ...] = OPENAI_STD
    """Standard deviation of red, green and blue."""
    quick_gelu: bool | None = None
    """Whether the activation was QuickGELU and not plain GELU; None if this is unknown."""


def pretraining(source: WeightsSource) -> Pretraining:
    """Return how the weights of a source were trained. No weights are downloaded.

    For a tag it is what open_clip says of the tag, for a folder or a repository of Hugging Face's hub what its
    configuration says. A local file is recognised by its sha256 if open_clip gives it; for any other file the
    normalisation of OpenAI's CLIP is assumed.

    Raises:
        BackboneError: If the architecture is not supported, the tag or the file does not exist, or the weights were
            trained with another GELU, or for other sizes, than those of the architecture.
    """
    if source.name in KNOWN_FILES:  # all there is to know, without the seconds that the import of open_clip takes
        return Pretraining(quick_gelu=source.architecture.endswith("-quickgelu"))
    config = architecture_config(source.architecture, tag=source.tag)
    if said := _said(source):
        check_architecture(source.architecture, said)
        refuse_other_gelu(source, trained_with_quick_gelu=said.quick_gelu)
        return Pretraining(said.mean or OPENAI_MEAN, said.std or OPENAI_STD, said.quick_gelu)
    if source.architecture in OWN:
        if source.tag is not None and source.name != MINI_BACKBONE:
            raise _no_such_tag(source)
        return Pretraining(quick_gelu=bool(config.get("quick_gelu")))
    if source.seed is not None:
        return Pretraining(quick_gelu=bool(config.get("quick_gelu")))
    import open_clip

    if source.tag is None:
        known = published(weights_sha256(source))
    elif not (known := open_clip.get_pretrained_cfg(source.architecture, source.tag)):
        raise _no_such_tag(source)
    if not known:
        return Pretraining()
    quick_gelu = bool(known.get("quick_gelu"))
    refuse_other_gelu(source, trained_with_quick_gelu=quick_gelu)
    return Pretraining(tuple(known["mean"]), tuple(known["std"]), quick_gelu)


def _said(source: WeightsSource) -> FolderConfig | None:
    """Return the configuration that comes with the weights of a source, or None where there is none."""
    if source.hub is not None:
        return folder_config(hub_folder(source.hub, weights=False))
    return folder_config(source.file) if source.file is not None and source.file.is_dir() else None


def refuse_other_gelu(source: WeightsSource, *, trained_with_quick_gelu: bool) -> None:
    """Raise an error if the architecture of a source builds another GELU than its weights were trained with.

    Raises:
        BackboneError: If the two differ; features would be wrong in silence.
    """
    builds = bool(architecture_config(source.architecture).get("quick_gelu"))
    if trained_with_quick_gelu == builds:
        return
    names = {True: "QuickGELU", False: "plain GELU"}
    base = source.architecture.removesuffix("-quickgelu")
    better = f"{base}-quickgelu" if trained_with_quick_gelu else base
    raise BackboneError(
        f"{source.file or source.name}: these weights were trained with {names[trained_with_quick_gelu]}, but "
        f"{source.architecture} builds {names[builds]}, which gives wrong features silently; use "
        + (better if is_usable(better, tag=source.tag) else "an architecture of that activation")
    )


def assumptions(name: str, architecture: str, sha256: str) -> tuple[str, ...]:
    """Return what is assumed of a backbone that cannot be known from its weights.

    Args:
        name: Name of the backbone, as in `WeightsSource.name`.
        architecture: Name of the architecture.
        sha256: Hash of the weight file.
    """
    start = f"{architecture}="
    if architecture in OWN or not name.startswith(start) or published(sha256):
        return ()
    if name.endswith("/") or name.removeprefix(start).startswith(HUB):  # its configuration says it
        return ()
    activation = "QuickGELU" if architecture_config(architecture).get("quick_gelu") else "plain GELU"
    return (
        f"{name}: open_clip gives no sha256 of this file; it is assumed to have been trained with {activation}, and "
        "with the mean and standard deviation of OpenAI's CLIP",
    )


def published(sha256: str) -> dict[str, Any]:
    """Return what open_clip says of the weight file with this sha256; nothing for a file that it does not know."""
    return next((config for known, config in published_files().items() if sha256.startswith(known)), {})


@functools.cache
def published_files() -> dict[str, dict[str, Any]]:
    """Return what open_clip says of weight files, by their sha256, or by the start of it that the address holds."""
    import open_clip

    known = {}
    for name, file in KNOWN_FILES.items():
        known[file.sha256] = open_clip.get_pretrained_cfg(*name.split(":"))
    for architecture, tag in open_clip.list_pretrained():
        config = open_clip.get_pretrained_cfg(architecture, tag)
        url = config.get("url", "")
        if "openaipublic" in url:
            known[url.split("/")[-2]] = config
        elif "mlfoundations" in url:
            known[url.rpartition(".")[0].rpartition("-")[2]] = config
    return known


def _no_such_tag(source: WeightsSource) -> BackboneError:
    import open_clip

    mini, _, tag = MINI_BACKBONE.partition(":")
    tags = {mini: [tag]} if source.architecture == mini else {}
    base = source.architecture.removesuffix("-quickgelu")
    for name in (source.architecture, *({base, f"{base}-quickgelu"} - {source.architecture})):
        if usable := [tag for tag in open_clip.list_pretrained_tags_by_model(name) if is_usable(name, tag=tag)]:
            tags[name] = usable
    return BackboneError(
        f"open_clip knows no weights {source.tag!r} for {source.architecture}; "
        + ("; ".join(f"tags of {name}: {', '.join(tags[name])}" for name in tags) or "there are none that suit it")
    )


def cache_directory() -> Path:
    """Return the folder for downloaded weights, in the user's cache."""
    return user_cache() / "weights"


def find_file(source: WeightsSource) -> Path:
    """Return the weight file, or the folder of weights, of a source without a seed. It is downloaded if necessary.

    Raises:
        BackboneError: If the file does not exist and cannot be downloaded, or if its sha256 is wrong. The message says
            which file to get, its size and sha256, and where to put it. Also if the weights of the tag do not suit the
            architecture; then nothing is downloaded.
    """
    if source.file is not None:
        if not (source.file.is_file() or source.file.is_dir()):  # not a pipe, which would block
            raise BackboneError(f"--backbone {source.architecture}={source.file}: no such file")
        return source.file
    if source.hub is not None:
        return hub_folder(source.hub, weights=True)
    pretraining(source)
    if source.name == MINI_BACKBONE:
        return MINI_FILE
    known = KNOWN_FILES.get(source.name)
    return _known_file(source.name, known) if known else _open_clip_file(source)


def kept_file(known: KnownFile) -> Path | None:
    """Return a known file that lies on this machine, None if it has to be downloaded."""
    # OpenAI's package and the published ZSAD code download to ~/.cache/clip; such a file is used as well.
    places = (folder / known.filename for folder in (cache_directory(), Path.home() / ".cache/clip"))
    return next((path for path in places if path.is_file()), None)


def _known_file(name: str, known: KnownFile) -> Path:
    import pooch

    if path := kept_file(known):
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
            f"({_reason(error)}).\n  get:    {known.url}\n  size:   {known.size:,} bytes\n"
            f"  sha256: {known.sha256}\n  put it: {cache_directory() / known.filename}\n"
            f"or name a file of yours: --backbone {name.partition(':')[0]}=FILE; for a first try, whose numbers mean "
            f"little: --backbone {MINI_BACKBONE}"
        ) from error
    return Path(fetched)


def _open_clip_file(source: WeightsSource) -> Path:
    import open_clip

    config = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    try:
        return Path(open_clip.download_pretrained(config, cache_dir=str(cache_directory())))
    except Exception as error:  # the clients raise various types
        where = config.get("hf_hub") or config.get("url")
        raise BackboneError(
            f"the weights of {source.name} are not on this machine and could not be downloaded "
            f"({_reason(error)}).\n  get: {where}\nand name the file: --backbone {source.architecture}=FILE"
        ) from error


def _reason(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def weights_sha256(source: WeightsSource) -> str:
    """Return the sha256 of the weight file, or of architecture and seed if the weights are random.

    Of weights in several files it is that of the list of their sha256.

    Raises:
        BackboneError: See `find_file`.
    """
    if source.seed is not None:
        architecture_config(source.architecture)
        return hashlib.sha256(f"random {source.architecture} {source.seed}".encode()).hexdigest()
    path = find_file(source)
    if not path.is_dir():
        return file_sha256(path)
    each = [file_sha256(file) for file in weight_files(path)]
    return each[0] if len(each) == 1 else hashlib.sha256(" ".join(each).encode()).hexdigest()
