"""The backbone: a frozen CLIP of open_clip that encodes images and prompts."""

import copy
import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.transforms.v2.functional import normalize, to_dtype

from benchmark.clip.activation import has_quick_gelu, with_plain_gelu
from benchmark.clip.architectures import PRESETS, BackboneError, architecture_config
from benchmark.clip.devices import windows_at_a_time
from benchmark.clip.spec import (
    Attention,
    BackboneVariant,
    Change,
    Features,
    PosInterp,
    Prompt,
    VisionSpec,
    VisionTokens,
)
from benchmark.clip.text import encode_prompts
from benchmark.clip.vision import embed, first_tokens, run_blocks, run_changed
from benchmark.clip.weight_files import read_state_dict
from benchmark.clip.weight_folders import architectures_of
from benchmark.clip.weights import (
    OPENAI_MEAN,
    OPENAI_STD,
    WeightsSource,
    find_file,
    pretraining,
    refuse_other_gelu,
    weights_sha256,
)
from benchmark.clip.windows import run_windows
from benchmark.common import Cache, CacheError, Entry, Rows, Writer, device_name, listed, require_exact_float32, slug
from benchmark.errors import first_misfit

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


# Integer entries of OpenAI's archives. Weights with these entries were trained with QuickGELU.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")

TEXT_VERSION = 2  # increased when the encoding of text changes
TEXT_BATCH = 64  # prompts per forward pass of `encode_text`


class Backbone:
    """A frozen CLIP. Use `load_backbone` to create one.

    Attributes:
        name: Architecture and weights, as shown in tables.
        architecture: Name of the architecture in open_clip.
        sha256: Hash of the weight file, or of architecture and seed if the weights are random.
        synthetic: Whether the weights are random or were trained on generated images.
        image_size: Default side of the input in pixels.
        patch_size: Side of a patch in pixels.
        blocks: Number L of transformer blocks of the vision tower.
        feature_blocks: Four blocks at each quarter of the vision tower, for methods that use several layers (ViT-L: 6,
            12, 18, 24).
        dpam_first: Default first block of the DPAM path.
        width: Length D of an embedding in the joint space.
        vision_width: Length W of a token of the vision tower.
        text_width: Length W of a token embedding of the text tower.
        text_blocks: Number of transformer blocks of the text tower.
        logit_scale: Factor of the cosine similarities in CLIP's own softmax, as trained (100 for OpenAI's weights).
        dtype: Name of the dtype of the towers.
        device: Device of the towers.
        mean: Mean of red, green and blue by which images are normalised.
        std: Standard deviation of red, green and blue by which images are normalised.
        pos_interp: How positional embeddings are resized.
        plain_gelu: Whether weights that were trained with QuickGELU run with the exact GELU.
        model: The model of open_clip.
    """

    def __init__(
        self,
        model: open_clip.CLIP,
        *,
        name: str,
        architecture: str,
        sha256: str,
        synthetic: bool,
        dtype: str = "float32",
        device: str = "cpu",
        mean: Sequence[float] = OPENAI_MEAN,
        std: Sequence[float] = OPENAI_STD,
        pos_interp: PosInterp = "bilinear",
        window_chunk: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        visual = model.visual
        if not isinstance(visual, open_clip.transformer.VisionTransformer) or visual.pool_type != "tok":
            raise BackboneError(f"{name}: only vision transformers with a CLS token are supported")
        self.name, self.architecture, self.sha256, self.synthetic = name, architecture, sha256, synthetic
        self.dtype, self.device = dtype, device
        self.mean, self.std = tuple(mean), tuple(std)
        preset = PRESETS.get(architecture)
        self.image_size: int = preset.image_size if preset else visual.image_size[0]
        self.patch_size: int = visual.patch_size[0]
        self._own_grid = round((len(visual.positional_embedding) - 1) ** 0.5)
        self.blocks = len(visual.transformer.resblocks)
        self.feature_blocks = tuple(sorted({max(1, self.blocks * quarter // 4) for quarter in (1, 2, 3, 4)}))
        self.dpam_first: int = preset.dpam_first if preset else self.feature_blocks[0]
        self.vision_width, self.width = visual.proj.shape
        self.text_width: int = model.token_embedding.embedding_dim
        self.text_blocks = len(model.transformer.resblocks)
        self.logit_scale = model.logit_scale.exp().item()  # before the cast: bfloat16 would round it by 1 %
        self.model = model.eval().requires_grad_(False).to(device=device, dtype=DTYPES[dtype])
        self._chunk = window_chunk or windows_at_a_time(device)
        self.pos_interp, self.plain_gelu, self._cache = pos_interp, False, cache
        self._variants: dict[BackboneVariant, Backbone] = {}
        self._positions: dict[int, Tensor] = {}
        self._tokenizer = open_clip.SimpleTokenizer()
        self._tokenize = functools.lru_cache(maxsize=4096)(self._tokenizer.encode)  # training asks for it in each step

    def variant(self, variant: BackboneVariant) -> "Backbone":
        """Return the backbone as a method runs it. It has the same parameters, in the same memory.

        It is the backbone itself where nothing changes, and else the same one at every call.
        """
        plain_gelu = self.plain_gelu or (variant.plain_gelu and has_quick_gelu(self.model))
        wanted = BackboneVariant(plain_gelu, variant.pos_interp or self.pos_interp)
        if wanted == BackboneVariant(self.plain_gelu, self.pos_interp):
            return self
        if wanted not in self._variants:
            changed = copy.copy(self)
            changed.pos_interp, changed.plain_gelu = wanted.pos_interp or self.pos_interp, plain_gelu
            changed._positions, changed._variants = {}, {}
            if plain_gelu:
                changed.model = with_plain_gelu(self.model)
            self._variants[wanted] = changed
        return self._variants[wanted]

    def in_effect(self, image_size: int) -> BackboneVariant:
        """Return the variant for images of a size, without what changes nothing there.

        Backbones of the same weights for which it is the same give the same features.
        """
        resized = image_size // self.patch_size != self._own_grid
        return BackboneVariant(self.plain_gelu, self.pos_interp if resized else None)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Return the embeddings of fixed prompts. They are cached on disk if the backbone has a cache.

        Args:
            prompts: P prompts.

        Returns:
            Embeddings of shape `(P, D)`, float32, not normalised.

        Raises:
            BackboneError: If a prompt is longer than the context of the text tower.
            CacheError: If the embeddings cannot be stored.
        """
        if self._cache is None:
            return self._encode_text(prompts)
        gelu, device = "-plain-gelu" if self.plain_gelu else "", device_name(self.device)
        place = "" if device == "cpu" else f"-{slug(device)}"  # another device rounds otherwise
        entry = Entry(self._cache, f"text-{self.architecture}-{self.sha256[:16]}-{self.dtype}{gelu}{place}")
        name = hashlib.sha256(json.dumps([TEXT_VERSION, *prompts]).encode()).hexdigest()[:16]
        row_bytes = 4 * self.width
        try:
            with entry.lock():
                if not entry.is_whole(name):
                    embedded = self._encode_text(prompts)
                    entry.clear([name])
                    entry.make_room(row_bytes * len(prompts))
                    with Writer(entry, name) as writer:
                        writer.write(embedded.cpu().numpy().tobytes())
                        writer.finish({})
                entry.touch()
                rows = Rows(entry.path(name), row_bytes).read(np.arange(len(prompts)))
        except OSError as error:
            raise CacheError(f"{entry.folder}: {error}; free the disk or point BENCH_CACHE elsewhere") from error
        return torch.from_numpy(rows).view(torch.float32).to(self.device)

    @torch.no_grad()
    def _encode_text(self, prompts: Sequence[str]) -> Tensor:
        parts = [
            self.encode_prompts([[prompt] for prompt in prompts[i : i + TEXT_BATCH]])
            for i in range(0, len(prompts), TEXT_BATCH)
        ]
        return torch.cat(parts)

    def encode_prompts(
        self,
        prompts: Sequence[Prompt],
        *,
        deep: Mapping[int, Tensor] | None = None,
        after: Change | None = None,
        projected: bool = True,
        recompute: bool = False,
    ) -> Tensor:
        """Return the embeddings of prompts with learned parts; see `FrozenClip`.

        After the last block, `after` gets the end tokens alone.

        Raises:
            BackboneError: If a prompt is longer than the context of the text tower, or if the blocks of `deep` differ
                in their number of groups.
        """
        return encode_prompts(
            self.model,
            self._tokenizer,
            self._tokenize,
            prompts,
            deep=deep,
            after=self._in_float32(after),
            projected=projected,
            recompute=recompute,
        ).float()

    def forward_vision(
        self,
        images: Tensor,
        *,
        after: Change | None = None,
        attention: Attention | None = None,
        keep: Collection[int] = (),
        recompute: bool = False,
    ) -> VisionTokens:
        """Run the vision tower on images, with gradients to whatever a method brings in; see `FrozenClip`.

        Raises:
            BackboneError: If `keep` names a block that does not exist.
        """
        self._require_blocks(keep)
        visual, grid = self.model.visual, images.shape[-1] // self.patch_size
        images = images.to(self.device, DTYPES[self.dtype])
        with torch.autocast(images.device.type, enabled=False):  # what all blocks add to is not rounded
            first = first_tokens(visual, images, self.positions(grid))
        after = self._in_float32(after)
        tokens = run_changed(visual, first, after=after, attention=attention, keep=keep, recompute=recompute)
        return VisionTokens(tokens.last.float(), {block: kept.float() for block, kept in tokens.kept.items()})

    def embed(self, tokens: Tensor, *, projected: bool = True) -> Tensor:
        """Return the embeddings of vision tokens, or their last layer norm alone; see `FrozenClip`."""
        visual, tokens = self.model.visual, tokens.to(DTYPES[self.dtype])
        found: Tensor = embed(visual, tokens) if projected else visual.ln_post(tokens)
        return found.float()

    def _in_float32(self, after: Change | None) -> Change | None:
        """Return a change whose input is float32 and whose output has the dtype of the towers."""
        if after is None or self.dtype == "float32":
            return after
        return lambda block, tokens: after(block, tokens.float()).to(DTYPES[self.dtype])

    def _require_blocks(self, wanted: Collection[int]) -> None:
        if wanted and not 1 <= min(wanted) <= max(wanted) <= self.blocks:
            raise BackboneError(f"{self.name} has blocks 1 to {self.blocks}; asked for {sorted(wanted)}")

    @torch.no_grad()
    def encode_images(self, images: Tensor, spec: VisionSpec) -> Features:
        """Run the vision tower once and return the features that a specification asks for.

        Args:
            images: Images of shape `(B, 3, S, S)`, where S is `spec.image_size`: pixels from `Preprocess`, uint8, which
                are normalised here, or images that are normalised already, of a floating type.
            spec: The features to return.

        Raises:
            BackboneError: If the specification names a block that does not exist.
        """
        layers = dict.fromkeys((*spec.layers, *spec.tokens, *spec.hidden))
        paths = [layer.dpam.first for layer in layers if layer.dpam]
        self._require_blocks({*(layer.block for layer in layers), *spec.cls, *paths})
        visual = self.model.visual
        grid = images.shape[-1] // self.patch_size
        images = images.to(self.device)
        if not images.is_floating_point():
            images = normalize(to_dtype(images, torch.float32, scale=True), self.mean, self.std)
        given = images.float() if spec.images else None
        if not spec.encoded:
            none = images.new_empty(images.shape[0], 0, dtype=torch.float32)
            return Features(image=none, image_raw=none, patches={}, cls={}, grid=grid, images=given)
        first = first_tokens(visual, images.to(DTYPES[self.dtype]), self.positions(grid))
        tokens = run_blocks(visual, first, layers=layers, cls=spec.cls)
        cls = tokens.last[:, 0]
        return Features(
            image=embed(visual, cls).float(),
            image_raw=(cls @ visual.proj).float(),
            patches={layer: embed(visual, tokens.layers[layer][:, 1:]).float() for layer in spec.layers},
            cls={block: embed(visual, kept).float() for block, kept in tokens.cls.items()},
            grid=grid,
            windows={size: run_windows(visual, first, size, chunk=self._chunk).float() for size in spec.windows},
            tokens={layer: visual.ln_post(tokens.layers[layer][:, 1:]).float() for layer in spec.tokens},
            hidden={layer: tokens.layers[layer][:, 1:].float() for layer in spec.hidden},
            images=given,
        )

    def positions(self, grid: int) -> Tensor:
        """Return the positional embeddings for a patch grid, resized from the trained ones as `pos_interp` says.

        Args:
            grid: Number of patches along one side.

        Returns:
            Positional embeddings of shape `(1 + grid², W)`. The one of the CLS token is first.
        """
        if grid not in self._positions:
            trained, side = self.model.visual.positional_embedding, self._own_grid
            square = trained[1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
            if grid != side:
                mode = self.pos_interp.removesuffix("_no_antialias")
                square = F.interpolate(square, size=(grid, grid), mode=mode, antialias=self.pos_interp == "bicubic")
            self._positions[grid] = torch.cat([trained[:1].float(), square.flatten(2).squeeze(0).T]).to(trained.dtype)
        return self._positions[grid]


def load_backbone(
    source: WeightsSource,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    pos_interp: PosInterp = "bilinear",
    window_chunk: int | None = None,
    cache: Cache | None = None,
) -> Backbone:
    """Load a backbone from an open_clip tag, a local file or a seed. From then on float32 has full precision here.

    Args:
        source: Source of the weights.
        dtype: Name of the dtype of the towers, a key of `DTYPES`.
        device: Device of the towers.
        pos_interp: How positional embeddings are resized.
        window_chunk: Number of windows per forward pass; None for one that suits the device. It changes no number.
        cache: Cache of text embeddings.

    Raises:
        BackboneError: If the architecture or the weights cannot be found, do not fit each other, or were trained with
            another GELU than that of the architecture.
    """
    require_exact_float32()
    known = pretraining(source)
    config = architecture_config(source.architecture)
    if dtype not in DTYPES:
        raise BackboneError(f"--dtype {dtype}: choose one of {', '.join(DTYPES)}")
    if source.seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(source.seed)
            model = open_clip.CLIP(**config)
    else:
        model = _load_file(source, config, known.quick_gelu)
    return Backbone(
        model,
        name=source.name,
        architecture=source.architecture,
        sha256=weights_sha256(source),
        synthetic=source.synthetic,
        dtype=dtype,
        device=device,
        mean=known.mean,
        std=known.std,
        pos_interp=pos_interp,
        window_chunk=window_chunk,
        cache=cache,
    )


def _load_file(source: WeightsSource, config: dict[str, Any], quick_gelu: bool | None) -> open_clip.CLIP:
    path, model = find_file(source), open_clip.CLIP(**config)
    wanted = model.state_dict().keys()
    state = read_state_dict(path, score=lambda found: len(wanted & found.keys()))
    if quick_gelu is None and all(key in state for key in OPENAI_KEYS):
        refuse_other_gelu(source, trained_with_quick_gelu=True)
    refused = f"{path}: the weights do not fit {source.architecture}"
    if missing := [key for key in wanted if key not in state]:
        there = f"they lack {listed(missing, 5)}; the file has {listed(list(state), 5)}"
        raise BackboneError(f"{refused}: {there}{_better(state)}")
    if more := [key for key in state if key not in wanted and key not in OPENAI_KEYS]:
        raise BackboneError(f"{refused}, which does not have {listed(more, 5)}{_better(state)}")
    try:
        model.load_state_dict({k: v.float() for k, v in state.items() if k not in OPENAI_KEYS})
    except RuntimeError as error:
        raise BackboneError(f"{refused}: {first_misfit(error)}{_better(state)}") from error
    return model


def _better(state: Mapping[str, Tensor]) -> str:
    """Return which architectures have the sizes of some weights, as the end of a message."""
    names = architectures_of({key: value.shape for key, value in state.items()})
    return f"; the sizes are those of {' and '.join(names[:3])}" if names else ""
