"""The architectures of the papers end to end, with random weights: every method at 518 px, and WinCLIP at 240."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch

from benchmark.authoring.fake_gpu import DEVICE, fake_gpu
from benchmark.clip.backbone import Backbone, load_backbone
from benchmark.clip.spec import Dpam, Features, Layer, VisionSpec, merge_specs
from benchmark.clip.weights import parse_backbone
from benchmark.contract import Learner, Method, TrainingBatch
from benchmark.registry import all_methods

NAMES = ("metal nut", "an object that no dataset has")


@dataclass(frozen=True)
class Expected:
    """What the papers say of their CLIP."""

    methods: tuple[str, ...]
    size: int
    grid: int
    width: int
    layers: frozenset[Layer] = frozenset()
    cls: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()


BLOCKS = (6, 12, 18, 24)
BY_BACKBONE = {
    "ViT-L-14-336-quickgelu:random-0": Expected(
        methods=("anomalyclip", "clip", "clip_ac", "coop", "genclip"),
        size=518,
        grid=37,
        width=1024,
        layers=frozenset([Layer(24), *(Layer(block, Dpam(6)) for block in BLOCKS)]),
        cls=BLOCKS,
    ),
    "ViT-B-16-plus-240:random-0": Expected(methods=("winclip",), size=240, grid=15, width=896, windows=(2, 3)),
}


@pytest.fixture(scope="module", params=BY_BACKBONE)
def backbone(request: pytest.FixtureRequest) -> Iterator[Backbone]:
    yield load_backbone(parse_backbone(request.param))


def made(backbone: Backbone) -> tuple[list[Method], VisionSpec]:
    """The methods of a backbone, and what they need of a forward pass together."""
    known = all_methods()
    built = [known[name](backbone, known[name].Options()) for name in BY_BACKBONE[backbone.name].methods]
    (spec,) = merge_specs(method.vision() for method in built)
    return built, spec


def run(backbone: Backbone, methods: Sequence[Method], features: Features, size: int) -> list[torch.Tensor]:
    """Return the scores, the maps and, where a method learns, the sum of its losses."""
    found = []
    for method in methods:
        with torch.no_grad():
            prediction = method.predict(features, NAMES)
        assert prediction.scores.shape == (2,)
        assert prediction.maps.shape == (2, features.grid, features.grid)
        found += [prediction.scores, prediction.maps]
        if isinstance(method, Learner):
            masks = torch.zeros(2, size, size, device=backbone.device)
            labels = torch.zeros(2, dtype=torch.int64, device=backbone.device)
            terms = method.losses(TrainingBatch(features, NAMES, labels, masks))
            found.append(torch.stack(list(terms.values())).sum())
    return found


def test_each_method_asks_and_gets_what_the_papers_say(backbone: Backbone) -> None:
    expected = BY_BACKBONE[backbone.name]
    with fake_gpu(backbone, "float16") as there:
        methods, spec = made(there)
        asked = (spec.image_size, frozenset(spec.layers), spec.cls, spec.windows)
        assert asked == (expected.size, expected.layers, expected.cls, expected.windows)
        features = there.encode_images(torch.empty(2, 3, spec.image_size, spec.image_size), spec)
        assert features.grid == expected.grid
        assert there.positions(expected.grid).shape == (1 + expected.grid**2, expected.width)
        assert {each.shape for each in features.patches.values()} <= {(2, expected.grid**2, there.width)}
        assert {side: each.shape[1] for side, each in features.windows.items()} == {
            side: (expected.grid - side + 1) ** 2 for side in expected.windows
        }
        assert {each.device.type for each in run(there, methods, features, spec.image_size)} == {DEVICE}


@pytest.mark.long
def test_every_method_scores_two_images(backbone: Backbone) -> None:
    methods, spec = made(backbone)
    images = torch.randn(2, 3, spec.image_size, spec.image_size, generator=torch.Generator().manual_seed(0))
    features = backbone.encode_images(images, spec)
    for values in run(backbone, methods, features, spec.image_size):
        assert values.isfinite().all()
        assert values.ndim == 0 or values.unique().numel() > 1
