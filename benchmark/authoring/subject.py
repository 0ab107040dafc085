"""A method under check: the images it is shown, and how it is built and asked, as the harness does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmark.clip import Backbone
from benchmark.contract import Dpam, Features, Layer, Learner, Method, Prediction, VisionSpec
from benchmark.data import Reading, Sample, SampleSet, load, references
from benchmark.errors import BenchError

TOLERANCE = 1e-5
"""Largest difference of numbers that should be the same; relative to the largest of them where that is above 1."""


class Unlike(Exception):  # noqa: N818
    """Something is not as the contract has it; the message says what was seen."""


@dataclass(frozen=True)
class Probe:
    """B ≥ 4 images on which a method is checked."""

    images: Tensor
    """(B, 3, S, S), preprocessed."""
    class_names: tuple[str, ...]
    """Of each image; at least two that differ."""
    labels: Tensor
    """(B,), 0 and 1."""
    masks: Tensor
    """(B, S, S) float32."""
    shown: tuple[Tensor, ...] = ()
    """Normal images (k, 3, S, S) of each of two classes; none where k is 0."""


Probes = Callable[[int, int], Probe]
"""Gives the images for an image size S and a number k of shots."""


def random_probe(image_size: int, shots: int) -> Probe:
    """Return random images, which need no data."""
    generator = torch.Generator().manual_seed(0)
    sides = (3, image_size, image_size)
    masks = torch.zeros(6, image_size, image_size)
    masks[3:, : image_size // 2, : image_size // 3] = 1
    return Probe(
        images=torch.randn(6, *sides, generator=generator),
        class_names=("metal nut", "carpet") * 3,
        labels=torch.tensor([0, 0, 0, 1, 1, 1]),
        masks=masks,
        shown=tuple(torch.randn(shots, *sides, generator=generator) for _ in range(2 if shots else 0)),
    )


def dataset_probe(data: SampleSet, image_size: int, shots: int) -> Probe:
    """Return two normal and two anomalous test images of each of the first two classes of a dataset with masks.

    Raises:
        BenchError: it has not so many images, or one cannot be read.
    """
    classes = list(dict.fromkeys(sample.class_name for sample in data.test))[:2]
    chosen = [
        sample
        for name in classes
        for label in (0, 1)
        for sample in [s for s in data.test if (s.class_name, s.label) == (name, label)][:2]
    ]
    drawn = [references(data, shots, seed=0)[name] for name in classes]
    if len(chosen) != 8 or any(len(each) < shots for each in drawn):
        raise BenchError(f"{data.directory}: too few images for a check of two classes and {shots} shots")
    images, masks = _read(chosen, data, image_size)
    return Probe(
        images=images,
        class_names=tuple(sample.prompt_name for sample in chosen),
        labels=torch.tensor([sample.label for sample in chosen]),
        masks=masks,
        shown=tuple(_read(each, data, image_size)[0] for each in drawn) if shots else (),
    )


def _read(samples: Sequence[Sample], data: SampleSet, image_size: int) -> tuple[Tensor, Tensor]:
    reading = Reading(image_size, mask_threshold=data.layout.mask_threshold, batch_size=len(samples), workers=0)
    images, masks = [], []
    for item in next(load(samples, reading)):
        if item.image is None:
            raise BenchError(item.error)
        images.append(item.image)
        masks.append(torch.from_numpy(item.mask).float())
    return torch.stack(images), torch.stack(masks)


class Subject:
    """A method under check, with the images and their features."""

    def __init__(self, method: type[Method], options: Any, backbone: Backbone, probes: Probes) -> None:
        self.method, self.options, self.backbone, self._probes = method, options, backbone, probes
        self.before = self.towers()

    def towers(self) -> list[Tensor]:
        """Return what the backbone makes of some images and a text, to see whether it was changed."""
        backbone = self.backbone
        size, last = backbone.image_size, backbone.blocks
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
        features = backbone.encode_images(
            images, VisionSpec(size, (Layer(last), Layer(last, Dpam(backbone.dpam_first))))
        )
        with torch.no_grad():
            return [features.image, *features.patches.values(), backbone.encode_prompts([["a damaged object."]])]

    @cached_property
    def shots(self) -> int:
        """How many references it is shown."""
        return self.method.shots(self.options)

    @cached_property
    def spec(self) -> VisionSpec:
        """What it asks for."""
        return self.raw().vision()

    @cached_property
    def probe(self) -> Probe:
        """The images, of its size."""
        return self._probes(self.spec.image_size, self.shots)

    @cached_property
    def features(self) -> Features:
        """The features of the images."""
        return self.encode(self.probe.images)

    @property
    def one_class(self) -> list[str]:
        """The first class name for every image, as the harness has it: it hands over one class at a time."""
        return [self.probe.class_names[0]] * len(self.probe.class_names)

    def encode(self, images: Tensor) -> Features:
        """Return the features that the method asks for."""
        return self.backbone.encode_images(images, self.spec)

    def raw(self, *, seed: int = 0) -> Method:
        """Return a new instance that was shown no references."""
        return self.method(self.backbone, self.options, seed=seed)

    def build(self, *, seed: int = 0) -> Method:
        """Return a new instance that is ready to predict."""
        built = self.raw(seed=seed)
        if self.shots:
            built.see_references(self.encode(self.probe.shown[0]))
        return built

    def learner(self, *, seed: int = 0) -> Learner:
        """Return a new instance of a method that learns."""
        built = self.build(seed=seed)
        assert isinstance(built, Learner)  # asked for of no other
        return built

    def predict(self, built: Method, names: Sequence[str], features: Features | None = None) -> Prediction:
        """Predict as the harness does, on a copy of the features; a result of the wrong form is an error."""
        given = map_features(features or self.features, Tensor.clone)
        with torch.no_grad():
            prediction = built.predict(given, list(names))
        if not isinstance(prediction, Prediction):
            raise Unlike(f"predict returns a {type(prediction).__name__}, not a Prediction")
        for name, values, shape in (
            ("scores", prediction.scores, (len(names),)),
            ("maps", prediction.maps, (len(names), "h", "w")),
        ):
            if values.ndim != len(shape) or len(values) != len(names) or not values.numel():
                wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
                raise Unlike(f"{name} of {len(names)} images have the shape {tuple(values.shape)}, not {wanted}")
            if not values.is_floating_point():
                raise Unlike(f"{name} are {values.dtype}, not floating point")
            if not bool(values.isfinite().all()):
                raise Unlike(f"{int((~values.isfinite()).sum())} of {values.numel()} {name} are NaN or infinite")
        return prediction


def map_features(features: Features, change: Callable[[Tensor], Tensor]) -> Features:
    """Return features with every tensor, whose first dimension is the images, changed."""
    return Features(
        image=change(features.image),
        image_raw=change(features.image_raw),
        patches={layer: change(each) for layer, each in features.patches.items()},
        cls={block: change(each) for block, each in features.cls.items()},
        grid=features.grid,
        windows={size: change(each) for size, each in features.windows.items()},
        tokens=None if features.tokens is None else change(features.tokens),
    )


def take(features: Features, indices: Sequence[int]) -> Features:
    """Return the features of some images."""
    return map_features(features, lambda values: values[list(indices)])


def same_features(one: Features, other: Features) -> bool:
    """Say whether all is equal, bit by bit."""
    kinds = ("patches", "cls", "windows")
    if any(list(getattr(one, kind)) != list(getattr(other, kind)) for kind in kinds):
        return False
    return all(torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other), strict=True))


def _tensors(features: Features) -> list[Tensor]:
    by_key = (each for kind in (features.patches, features.cls, features.windows) for each in kind.values())
    found = [features.image, features.image_raw, *by_key, features.tokens]
    return [each for each in found if each is not None]


def compare(one: Prediction, other: Prediction, what: str) -> float:
    """Return the largest difference of two predictions; one above the tolerance is an error."""
    gaps = []
    for a, b in ((one.scores, other.scores), (one.maps, other.maps)):
        if a.shape != b.shape:
            raise Unlike(f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)}")
        gaps.append(((a - b).abs().max() / a.abs().max().clamp(min=1)).detach())
    gap = float(torch.stack(gaps).max())
    if not gap <= TOLERANCE:
        raise Unlike(f"{what}: they differ by {gap:.2g}")
    return gap
