"""The range of AUPRO-200: no move of the scores by one part in a million leads out; it is wide where it must be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics.fragile import MOVE
from benchmark.metrics.names import METRICS
from benchmark.metrics.pixel import MAX_BINS, MIN_BINS, PixelMetrics

KEY = "pixel_aupro_200"
HAIR = 1e-12
SIZES = st.tuples(st.integers(1, 4), st.integers(2, 20))


def measured(maps: Any, masks: Any, max_bins: int = MAX_BINS) -> tuple[float | None, tuple[float, float] | None]:
    metrics = PixelMetrics(max_bins=max_bins)
    for anomaly_map, mask in zip(maps, masks, strict=True):
        metrics.update(anomaly_map, mask)
    return metrics.compute()[KEY], metrics.compute_ranges().get(KEY)


def lies_within(value: float | None, bounds: tuple[float, float] | None) -> bool:
    return value is None or (bounds is not None and bounds[0] - HAIR <= value <= bounds[1] + HAIR)


KINDS = ("smooth", "ties", "two levels", "saturated", "at thresholds", "constant", "nearly constant", "low", "around 0")


def scores_of(kind: str, rng: np.random.Generator, masks: Any) -> Any:
    """Scores of a kind, higher where there are defects."""
    logits = rng.normal(size=masks.shape) + masks
    made = {
        "smooth": lambda: 1 / (1 + np.exp(-logits)),
        "ties": lambda: np.round(logits * 2) / 7,
        "two levels": lambda: np.where(logits > 1, 0.9, 0.3),
        "saturated": lambda: np.clip(1 / (1 + np.exp(-20 * logits)), 0, 1),
        "at thresholds": lambda: np.clip(np.round(logits * 30) / 200 + 0.5, 0, 1),
        "constant": lambda: np.full(masks.shape, 0.7),
        "nearly constant": lambda: 0.7 + rng.integers(-3, 4, masks.shape) * 6e-8,
        "low": lambda: np.where(logits > 0.5, 1e-3 * np.exp(5 * logits), 0),
        "around 0": lambda: np.round(logits * 4) / 4,
    }
    return made[kind]().astype(np.float32)


def moved(rng: np.random.Generator, maps: Any, way: str, masks: Any) -> Any:
    """The scores, each moved by up to one part in a million: at random, by all of it, or as a group."""
    signs = {
        "at random": lambda: rng.uniform(-1, 1, maps.shape),
        "to either end": lambda: rng.choice([-1.0, 1.0], maps.shape),
        "a few": lambda: rng.choice([-1.0, 0.0, 1.0], maps.shape, p=[0.02, 0.96, 0.02]),
        "defects up": lambda: np.where(masks, 1.0, -1.0),
        "defects down": lambda: np.where(masks, -1.0, 1.0),
        "lowest alone": lambda: np.where(maps == maps.min(), rng.uniform(-1, 1), 0.0),
        "highest alone": lambda: np.where(maps == maps.max(), rng.uniform(-1, 1), 0.0),
        "by level": lambda: rng.uniform(-1, 1, 257)[np.unique(maps, return_inverse=True)[1].reshape(maps.shape) % 257],
    }
    return (maps.astype(np.float64) * (1 + MOVE * signs[way]())).astype(np.float32)


WAYS = (
    "at random",
    "to either end",
    "a few",
    "defects up",
    "defects down",
    "lowest alone",
    "highest alone",
    "by level",
)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Any, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, side = draw(SIZES)
    masks = rng.random((images, side, side)) < draw(st.sampled_from([0.02, 0.1, 0.5]))
    maps = scores_of(draw(st.sampled_from(KINDS)), rng, masks)
    return (-maps if draw(st.integers(0, 4)) == 0 else maps), masks


@settings(deadline=None, max_examples=60)
@given(pictures(), st.sampled_from([MIN_BINS, MAX_BINS]), st.integers(0, 2**32 - 1))
def test_no_move_of_the_scores_leads_out_of_the_range(data: Any, max_bins: int, seed: int) -> None:
    maps, masks = data
    value, bounds = measured(maps, masks, max_bins)
    assert lies_within(value, bounds)
    assert bounds is None or 0 <= bounds[0] <= bounds[1] <= 1 + HAIR
    rng = np.random.default_rng(seed)
    for way in WAYS:
        other, of_other = measured(moved(rng, maps, way, masks), masks, max_bins)
        assert lies_within(other, bounds), way
        assert lies_within(value, of_other), way


def test_smooth_scores_have_a_narrow_range_and_the_exact_metrics_have_none() -> None:
    """Scores spread like those of a real method: less than the tenth of a point from which on tables mark a value."""
    rng = np.random.default_rng(0)
    masks = np.zeros((4, 200, 200), bool)
    masks[1:, 60:120, 60:90] = True
    maps = (0.2 + 0.1 * rng.random(masks.shape) + 0.05 * masks).astype(np.float32)
    metrics = PixelMetrics()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        metrics.update(anomaly_map, mask)
    ranges, values = metrics.compute_ranges(), metrics.compute()
    assert set(ranges) == {metric.key for metric in METRICS.values() if metric.fragile} == {KEY}
    low, high = ranges[KEY]
    assert 0 <= high - low < 1e-3
    assert low <= (values[KEY] or 0.0) <= high


def test_saturated_scores_have_the_range_that_two_hundred_or_one_threshold_more_make() -> None:
    """A fifth of the normal pixels has the highest score: of 201 thresholds the last leaves them out, of 200 none."""
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :2] = True
    maps = np.linspace(0.1, 0.9, 400, dtype=np.float32).reshape(1, 20, 20)
    maps[0, 2:6] = maps[0, :1] = 1.0
    value, bounds = measured(maps, mask)
    assert value is not None and bounds is not None
    assert bounds[1] - bounds[0] > 0.1
    seen = {value}
    for last in np.nextafter(np.float32(1), np.float32([0, 2])):
        other = measured(np.where(maps == 1, last, maps), mask)[0]
        seen |= set() if other is None else {other}
    assert all(lies_within(each, bounds) for each in seen)


def test_scores_at_a_threshold_and_rates_at_the_limit_widen_the_range() -> None:
    """Three tenths of the normal pixels, and half of the defect, lie at 0.5, where a threshold lies."""
    mask = np.zeros((1, 10, 20), bool)
    mask[0, 0] = True
    maps = np.linspace(0.01, 0.45, 200, dtype=np.float32).reshape(1, 10, 20)
    maps[0, 0, 0], maps[0, 9, 19] = 1.0, 0.0
    maps[0, 0, 1:11] = 0.5
    maps[0, 1:3] = 0.5
    maps[0, 3, :14] = 0.5
    maps[0, 3, 14:] = 0.7
    value, bounds = measured(maps, mask)
    assert lies_within(value, bounds)
    assert bounds is not None and bounds[1] - bounds[0] > 0.05


def test_a_value_may_be_undefined_where_there_is_a_range_and_both_where_no_move_helps() -> None:
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 2:4, 2:4] = True
    value, bounds = measured(np.full((1, 8, 8), 0.5, np.float32), mask)
    assert value is None  # a constant map
    assert bounds == pytest.approx((0, 1))  # of which the last digits can make anything
    assert measured(np.zeros((1, 8, 8), np.float32), mask) == (None, None)  # no part of 0 is anything but 0
    rng = np.random.default_rng(0)
    assert measured(rng.random((1, 8, 8), np.float32), np.zeros((1, 8, 8), bool)) == (None, None)
    assert measured(rng.random((1, 8, 8), np.float32), np.ones((1, 8, 8), bool)) == (None, None)
    assert PixelMetrics().compute_ranges() == {}


def test_with_more_distinct_scores_than_bins_no_move_into_other_bins_leads_out_of_the_range() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((1, 200, 200)) < 0.1
    maps = (1 / (1 + np.exp(-6 * (rng.normal(size=masks.shape) + masks)))).astype(np.float32)
    value, bounds = measured(maps, masks, MIN_BINS)
    exact, _ = measured(maps, masks)
    assert lies_within(value, bounds)
    assert lies_within(exact, bounds), "bins are a move of the scores too"
    for way in WAYS:
        assert lies_within(measured(moved(rng, maps, way, masks), masks, MIN_BINS)[0], bounds)
