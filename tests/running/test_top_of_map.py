"""Scores to which the highest pixels of the map are added, beside SciPy's filter and a sort."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from benchmark.clip.backbone import Backbone
from benchmark.common.settings import Settings
from benchmark.contract import (
    ClassName,
    Features,
    Method,
    NoOptions,
    Prediction,
    TopOfMap,
    VisionSpec,
    require_prediction,
)
from benchmark.data.samples import SampleSet
from benchmark.errors import ContractError
from benchmark.predict.scoring import resized
from benchmark.protocol import Protocol
from benchmark.running.class_run import ClassScores, Participant
from benchmark.running.evaluate import evaluate
from benchmark.running.maps import with_top


class Topped(Method):
    """Adds a third of the mean of the highest 2 % of its map."""

    name, title, paper, smoothing = "topped", "Topped", "a test", 2.0
    top = TopOfMap(1 / 3, 0.02)

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        return Prediction(features.image[:, 0], grid_of(features), top=self.top)


def grid_of(features: Features) -> torch.Tensor:
    return features.image[:, :16].reshape(-1, 4, 4)


def expected(features: Features, side: int) -> list[float]:
    """The scores by the filter of SciPy and a sort."""
    maps = interpolate(grid_of(features)[:, None].double(), size=(side, side), mode="bilinear")[:, 0].numpy()
    count = math.floor(0.02 * side**2)
    tops = [np.sort(gaussian_filter(each, 2.0).ravel())[::-1][:count].mean() for each in maps]
    return [float(score) + top / 3 for score, top in zip(features.image[:, 0], tops, strict=True)]


@pytest.mark.parametrize("masks", [True, False])
def test_a_run_adds_the_highest_pixels_whether_there_are_masks_or_not(
    datasets: list[SampleSet], tiny: Backbone, monkeypatch: pytest.MonkeyPatch, masks: bool
) -> None:
    monkeypatch.setattr(SampleSet, "has_masks", masks)
    data, seen = datasets[0], []
    encode = tiny.encode_images
    monkeypatch.setattr(tiny, "encode_images", lambda *given: seen.append(encode(*given)) or seen[-1])
    method = Topped(tiny, NoOptions())
    taking_part = [Participant(method, frozenset(sample.class_name for sample in data.test))]
    settings = Settings(Path("unused"), batch_size=4, workers=0)
    (done,) = evaluate(taking_part, tiny, data, protocol=Protocol(), settings=settings)
    found = done.outcomes[0]
    assert isinstance(found, ClassScores)
    assert found.images is not None
    wanted = [score for features in seen for score in expected(features, tiny.image_size)]
    np.testing.assert_allclose(found.images.scores, wanted, rtol=1e-6)


def test_single_images_are_scored_alike(tiny: Backbone) -> None:
    method = Topped(tiny, NoOptions())
    features = tiny.encode_images(torch.rand(3, 3, tiny.image_size, tiny.image_size), method.vision())
    scores, _ = resized(method.predict(features, [ClassName("nut")] * 3), method, None)
    np.testing.assert_allclose(scores, expected(features, tiny.image_size), rtol=1e-6)


@given(share=st.floats(1e-6, 1), side=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_share_lies_between_the_maximum_and_the_mean(share: float, side: int, seed: int) -> None:
    maps = np.random.default_rng(seed).random((2, side, side), np.float32)
    found = with_top([0.0, 1.0], maps, TopOfMap(1.0, share))
    values = np.sort(maps.reshape(2, -1))[:, ::-1].astype(np.float64)
    count = max(1, math.floor(share * side**2))
    np.testing.assert_allclose(found, [values[0, :count].mean(), 1 + values[1, :count].mean()])


@pytest.mark.parametrize(
    "top",
    [
        TopOfMap(1.0, 0.0),
        TopOfMap(1.0, 1.5),
        TopOfMap(math.nan, 0.5),
        TopOfMap("x", 0.1),  # type: ignore[arg-type]
        TopOfMap(torch.ones(2), 0.1),  # type: ignore[arg-type]
        TopOfMap(1.0, None),  # type: ignore[arg-type]
        TopOfMap,
        (1, 0.01),
        False,
    ],
)
def test_a_wrong_share_or_weight_is_refused(top: Any) -> None:
    with pytest.raises(ContractError, match="say a finite weight, and a share above 0 and up to 1"):
        require_prediction(Prediction(torch.zeros(1), torch.zeros(1, 2, 2), top=top), 1)
