"""What several tests of training need."""

from collections.abc import Iterator

import pytest
from torch import Tensor

from benchmark.clip.backbone import Backbone
from benchmark.clip.spec import Features, VisionSpec


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of images of each forward pass of the vision tower."""
    counts: list[int] = []
    original = Backbone.encode_images

    def counting(self: Backbone, images: Tensor, spec: VisionSpec) -> Features:
        counts.append(len(images))
        return original(self, images, spec)

    monkeypatch.setattr(Backbone, "encode_images", counting)
    yield counts
