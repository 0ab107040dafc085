"""The architectures of the papers end to end, with random weights: every method at 518 px, and WinCLIP at 240."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from benchmark.authoring.fake_gpu import DEVICE, fake_gpu
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.spec import BackboneVariant, Dpam, Features, Layer, VisionSpec, merge_specs
from benchmark.clip.weights import parse_backbone
from benchmark.contract import ClassName, LayerLogits, Learner, Method, TrainingBatch
from benchmark.registry import all_methods
from methods.mrad import Mrad

NAMES = (ClassName("metal nut", folder="metal_nut"), ClassName("an object that no dataset has"))


@dataclass(frozen=True)
class Expected:
    """What the papers say of their CLIP."""

    weights: str
    methods: tuple[str, ...]
    size: int
    grid: int
    width: int
    layers: frozenset[Layer] = frozenset()
    cls: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    hidden: tuple[Layer, ...] = ()
    tokens: tuple[Layer, ...] = ()
    variant: BackboneVariant = field(default_factory=BackboneVariant)


BLOCKS = (6, 12, 18, 24)
VIT_L = "ViT-L-14-336-quickgelu:random-0"
CASES = {
    "ViT-L": Expected(
        weights=VIT_L,
        methods=("anomalyclip", "clip", "clip_ac", "coop", "faprompt", "genclip"),
        size=518,
        grid=37,
        width=1024,
        layers=frozenset([Layer(24), *(Layer(block, Dpam(6)) for block in BLOCKS)]),
        cls=BLOCKS,
    ),
    "ViT-L, exact GELU": Expected(
        weights=VIT_L,
        methods=("april_gan",),
        size=518,
        grid=37,
        width=1024,
        hidden=tuple(Layer(block) for block in BLOCKS),
        variant=BackboneVariant(plain_gelu=True, pos_interp="bicubic"),
    ),
    "ViT-L, V-V path from block 2": Expected(
        weights=VIT_L,
        methods=("mrad_clip", "mrad_ft", "mrad_tf"),
        size=518,
        grid=37,
        width=1024,
        layers=frozenset([Layer(24, Dpam(2))]),
        tokens=(Layer(24, Dpam(2)),),
    ),
    "ViT-B": Expected(
        weights="ViT-B-16-plus-240:random-0", methods=("winclip",), size=240, grid=15, width=896, windows=(2, 3)
    ),
}


@functools.lru_cache(maxsize=1)  # one of them is large enough
def loaded(weights: str) -> Backbone:
    return load_backbone(parse_backbone(weights))


def made(backbone: Backbone, names: Sequence[str]) -> tuple[list[Method], VisionSpec]:
    """The methods of a backbone, and what they need of a forward pass together."""
    known = all_methods()
    built = [known[name](backbone, known[name].Options()) for name in names]
    for method in built:
        if isinstance(method, Mrad):
            for bank, width in ((method.learned.images, backbone.width), (method.learned.regions, 1024)):
                keys = torch.randn(8, width, device=backbone.device)
                bank.add(anomalous=keys[:3], normal=keys[3:])
    (spec,) = merge_specs(method.vision() for method in built)
    return built, spec


def run(backbone: Backbone, methods: Sequence[Method], features: Features, size: int) -> list[torch.Tensor]:
    """Return the scores, the maps and, where a method learns, the sum of its losses."""
    found = []
    for method in methods:
        with torch.no_grad():
            prediction = method.predict(features, NAMES)
        assert prediction.scores.shape == (2,)
        by_layer = isinstance(prediction.maps, LayerLogits)
        maps = prediction.maps.differences if isinstance(prediction.maps, LayerLogits) else prediction.maps
        assert maps.shape == (2, *(len(BLOCKS),) * by_layer, features.grid, features.grid)
        found += [prediction.scores, maps]
        if isinstance(method, Learner):
            masks = torch.zeros(2, size, size, device=backbone.device)
            labels = torch.zeros(2, dtype=torch.int64, device=backbone.device)
            for stage in method.stages(["visa"]):
                if stage.optimiser is not None:
                    terms = stage.losses(TrainingBatch(features, NAMES, labels, masks))
                    found.append(torch.stack(list(terms.values())).sum())
    return found


@pytest.mark.parametrize(("name", "options"), [("adaclip", {"image_score": "cls"}), ("aa_clip", {})])
def test_methods_with_a_pass_of_their_own_train_and_score(name: str, options: dict[str, Any]) -> None:
    """All stages; of AdaCLIP without its clusters, for which values are read."""
    kind = all_methods()[name]
    chosen = kind.Options(**options)
    with fake_gpu(loaded(VIT_L).variant(kind.backbone_variant(chosen)), "float16") as there:
        method = kind(there, chosen)
        assert isinstance(method, Learner)
        images = torch.empty(2, 3, 518, 518)
        masks, labels = torch.empty(2, 518, 518, device=DEVICE), torch.empty(2, dtype=torch.int64, device=DEVICE)
        found = []
        for stage in method.stages(["visa"]):
            batch = TrainingBatch(there.encode_images(images, stage.vision), NAMES, labels, masks)
            found += stage.losses(batch).values()
        with torch.no_grad():
            prediction = method.predict(there.encode_images(images, method.vision()), NAMES)
        assert prediction.scores.shape == (2,)
        assert {each.device.type for each in [*found, prediction.scores]} == {DEVICE}


@pytest.mark.parametrize("case", CASES)
def test_each_method_asks_and_gets_what_the_papers_say(case: str) -> None:
    expected = CASES[case]
    known = all_methods()
    assert {known[name].backbone_variant(known[name].Options()) for name in expected.methods} == {expected.variant}
    with fake_gpu(loaded(expected.weights).variant(expected.variant), "float16") as there:
        methods, spec = made(there, expected.methods)
        asked = (spec.image_size, frozenset(spec.layers), spec.cls, spec.windows, spec.hidden, spec.tokens)
        wanted = (expected.layers, expected.cls, expected.windows, expected.hidden, expected.tokens)
        assert asked == (expected.size, *wanted)
        features = there.encode_images(torch.empty(2, 3, spec.image_size, spec.image_size), spec)
        assert features.grid == expected.grid
        assert there.positions(expected.grid).shape == (1 + expected.grid**2, expected.width)
        assert {each.shape for each in features.patches.values()} <= {(2, expected.grid**2, there.width)}
        for kind in (features.hidden, features.tokens):
            assert {each.shape for each in kind.values()} <= {(2, expected.grid**2, expected.width)}
        assert {side: each.shape[1] for side, each in features.windows.items()} == {
            side: (expected.grid - side + 1) ** 2 for side in expected.windows
        }
        assert {each.device.type for each in run(there, methods, features, spec.image_size)} == {DEVICE}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_every_method_scores_two_images(case: str) -> None:
    expected = CASES[case]
    backbone = loaded(expected.weights).variant(expected.variant)
    methods, spec = made(backbone, expected.methods)
    images = torch.randn(2, 3, spec.image_size, spec.image_size, generator=torch.Generator().manual_seed(0))
    features = backbone.encode_images(images, spec)
    for values in run(backbone, methods, features, spec.image_size):
        assert values.isfinite().all()
        assert values.ndim == 0 or values.unique().numel() > 1
