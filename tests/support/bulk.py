"""A dataset of the size of Real-IAD in files of a few hundred bytes, and a method whose tower costs nothing.

Its files are hard links to a few pictures, so that 100,000 images and their masks are there in seconds. All that the
harness does for an image it does for each of them: it knows files by their paths.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.clip.weights import parse_backbone
from benchmark.contract import ClassName, Features, Method, Prediction, VisionSpec
from benchmark.data.cards import Card, ClassCard, Layout, Rule
from benchmark.data.samples import SampleSet, read_samples
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.running.planning import Job, Setting, plan

CLASSES = 30
"""Those of Real-IAD."""
KINDS = 4
"""Kinds of defect of a class; a third of its images are anomalous, as in Real-IAD."""
PICTURES = 120
"""Different pictures, of which each is linked as often as need be: NTFS allows 1023 links to a file."""
SIDE = 28
"""Side of a picture in pixels: the least that the patches of `tiny:random` allow."""


class Stub(Method):
    """Scores the four quarters of an image by their brightness; there is no tower."""

    name, title, paper = "stub", "Stub", "a test"

    def vision(self) -> VisionSpec:
        return VisionSpec(SIDE, images=True, encoded=False)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        assert features.images is not None
        quarters = features.images.mean(1).unflatten(2, (2, -1)).unflatten(1, (2, -1)).mean((2, 4))
        return Prediction(quarters.amax((1, 2)), quarters)


def bulk_card(classes: int = CLASSES, *, masks: bool = True) -> Card:
    """Return the card of the dataset; without masks only images are scored."""
    good = Rule(pattern=r"(?P<class>[^/]+)/test/good/[^/]+", label="normal")
    bad = Rule(
        pattern=r"(?P<class>[^/]+)/test/(?P<defect>[^/]+)/(?P<stem>[^/]+)",
        label="anomalous",
        mask=("{class}/ground_truth/{defect}/{stem}_mask",) if masks else (),
    )
    return Card(
        name="bulk",
        title="Bulk",
        version=1,
        domain="industrial",
        levels=("image", "pixel") if masks else ("image",),
        licence="none",
        reference="none",
        folders=(),
        classes=tuple(ClassCard(name=f"class_{index:02d}") for index in range(classes)),
        layouts=(Layout(name="original", rules=(good, bad)),),
    )


def make_bulk(folder: Path, images: int, *, classes: int = CLASSES, masks: bool = True) -> int:
    """Make a dataset of about so many test images in a new folder, and return how many there are."""
    pictures = folder.with_name(f"{folder.name}-pictures")
    _draw(pictures)
    each = images // classes
    kinds = ["good", *(f"kind_{kind}" for kind in range(KINDS))]
    for card in bulk_card(classes).classes:
        top = folder / card.name
        for part in ("test", "ground_truth") if masks else ("test",):
            for kind in kinds:
                (top / part / kind).mkdir(parents=True)
        for index in range(each):
            picture = index % PICTURES
            kind = kinds[1 + index // 3 % KINDS] if index % 3 == 0 else "good"
            os.link(pictures / f"{kind != 'good'}-{picture}.png", top / "test" / kind / f"{index:05d}.png")
            if kind != "good" and masks:
                os.link(pictures / f"mask-{picture}.png", top / "ground_truth" / kind / f"{index:05d}_mask.png")
    return each * classes


def _draw(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        pixels = rng.integers(0, 160, size=(SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"False-{index}.png")
        top, left, height, width = rng.integers(2, SIDE // 2 - 1, size=4)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[top : top + height, left : left + width] = 255
        pixels[mask > 0] += np.uint8(index % 90)
        Image.fromarray(pixels).save(folder / f"True-{index}.png")
        Image.fromarray(mask).save(folder / f"mask-{index}.png")


def read_bulk(folder: Path, *, classes: int = CLASSES, masks: bool = True) -> SampleSet:
    """Find the samples of the dataset."""
    return read_samples(bulk_card(classes, masks=masks), folder)


def bulk_jobs(data: SampleSet, methods: Sequence[type[Method]] = (Stub,)) -> list[Job]:
    """Plan the cells of methods without options on the dataset."""
    identity = backbone_id(parse_backbone("tiny:random"), dtype="float32")
    chosen = [(method, method.Options()) for method in methods]
    return plan(chosen, [data], Setting(identity, Protocol()), seeds=[0]).jobs
