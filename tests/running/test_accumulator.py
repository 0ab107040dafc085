"""Numbers per class and per kind of defect, from the scores and maps of single images."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.common.regions import find_regions
from benchmark.data.layouts import Sample
from benchmark.data.loading import Loaded
from benchmark.records.records import ClassResult
from benchmark.running.accumulator import ClassAccumulator

SIDE = 24
KINDS = ("", "", "", "crack", "crack", "dent <b>", "hole", "hole", "hole")
"""Of the images; those of a normal image are empty."""


@dataclass(frozen=True)
class Scored:
    """An image with what a method gave for it."""

    key: str
    label: int
    kind: str
    score: float
    map: Any
    mask: Any


def scored(kinds: Sequence[str], *, unnamed: int = 0, seed: int = 0) -> list[Scored]:
    """Images of these kinds, normal where the kind is empty, and anomalous ones of no named kind."""
    rng = np.random.default_rng(seed)
    made = []
    for index, kind in enumerate([*kinds, *[""] * unnamed]):
        label = int(bool(kind) or index >= len(kinds))
        mask = np.zeros((SIDE, SIDE), bool)
        if label:
            top, left = rng.integers(0, SIDE - 8, 2)
            mask[top : top + 5, left : left + 8] = True
        scores = (rng.normal(size=(SIDE, SIDE)) + mask * rng.normal(1.5)).astype(np.float32)
        made.append(Scored(f"{index}.png", label, kind, float(rng.normal() + label), scores, mask))
    return made


def result(images: Iterable[Scored], *, with_masks: bool = True) -> ClassResult:
    accumulator = ClassAccumulator()
    for each in images:
        sample = Sample(each.key, Path(each.key), "a", "a", each.label, each.kind, "test", None, None)
        item = Loaded(sample, regions=find_regions(each.mask) if with_masks else None)
        accumulator.add(item, each.score, each.map[::4, ::4], each.map if with_masks else None)
    return accumulator.result(with_masks=with_masks)


def test_each_kind_is_held_against_all_normal_images_and_its_pixels_stand_alone() -> None:
    images = scored(KINDS, unnamed=2)
    found = result(images)
    assert list(found.defects) == ["crack", "dent <b>", "hole"]
    assert [kind.images for kind in found.defects.values()] == [2, 1, 3]
    for name, kind in found.defects.items():
        held = [each for each in images if not each.label or each.kind == name]
        labels, scores = [each.label for each in held], [each.score for each in held]
        assert kind.metrics["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert kind.metrics["image_ap"] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
        own = [each for each in images if each.kind == name]
        truth = np.concatenate([each.mask.ravel() for each in own])
        pixels = np.concatenate([each.map.ravel() for each in own])
        assert kind.metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth, pixels), abs=1e-12)
        assert kind.metrics["pixel_ap"] == pytest.approx(average_precision_score(truth, pixels), abs=1e-12)
        assert kind.metrics.keys() == found.metrics.keys()
        assert kind.ranges.keys() == found.ranges.keys()


def test_a_kind_that_is_the_only_one_has_the_numbers_of_the_class() -> None:
    images = scored(("", "", "crack", "crack", "crack"))
    found, alone = result(images), result(each for each in images if each.label)
    for name, value in found.metrics.items():
        if name.startswith("image_"):
            assert found.defects["crack"].metrics[name] == value
    assert alone.defects["crack"].metrics == alone.metrics
    assert alone.defects["crack"].ranges == alone.ranges


def test_what_is_undefined_is_null() -> None:
    images = scored(KINDS)
    without_masks = result(images, with_masks=False).defects
    assert {v for kind in without_masks.values() for k, v in kind.metrics.items() if k.startswith("pixel_")} == {None}
    assert None not in {v for kind in without_masks.values() for k, v in kind.metrics.items() if k[0] == "i"}
    without_normals = result(each for each in images if each.label).defects
    assert {kind.metrics["image_auroc"] for kind in without_normals.values()} == {None}
    assert result(scored(("", "", ""), unnamed=2)).defects == {}, "no kind has a name"
    assert result(scored(("", ""))).defects == {}


def test_the_name_of_a_kind_may_be_any_name_of_a_folder() -> None:
    found = result(scored(("", "=1+1", "a\udce9b", "ölig")))
    assert list(found.defects) == ["=1+1", "a\N{REPLACEMENT CHARACTER}b", "ölig"]
    assert ClassResult.model_validate_json(found.model_dump_json()) == found


@settings(max_examples=8, deadline=None)
@given(kinds=st.lists(st.sampled_from(("", "crack", "hole")), max_size=9), order=st.randoms(use_true_random=False))
def test_the_order_of_the_images_changes_nothing(kinds: list[str], order: random.Random) -> None:
    images = scored(kinds, unnamed=1)
    shuffled = images.copy()
    order.shuffle(shuffled)
    one, other = result(images).defects, result(shuffled).defects
    assert list(one) == list(other)
    for name, kind in one.items():
        assert kind.images == other[name].images
        assert kind.metrics == pytest.approx(other[name].metrics, abs=1e-12)


def test_views_of_a_sample_are_judged_together() -> None:
    images, views = scored(["", "", "", "crack", "", "crack", "", "crack", "hole", ""]), "aabbccddee"
    accumulator = ClassAccumulator()
    for each, view_of in zip(images, views, strict=True):
        sample = Sample(each.key, Path(each.key), "p", "p", each.label, each.kind, "test", None, None, view_of)
        accumulator.add(Loaded(sample), each.score, each.map[::4, ::4], None)
    # A method that scores whole classes replaces the scores at the end.
    scores = accumulator.images.scores = [round(each.score / 2 + 1, 2) for each in images]
    found = accumulator.result(with_masks=False, with_samples=True)
    highest = [max(pair) for pair in zip(scores[::2], scores[1::2], strict=True)]
    assert found.metrics["sample_auroc"] == pytest.approx(roc_auc_score([0, 1, 1, 1, 1], highest), abs=1e-12)
    assert found.metrics["sample_ap"] == pytest.approx(average_precision_score([0, 1, 1, 1, 1], highest), abs=1e-12)
    labels = [each.label for each in images]
    assert found.metrics["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert not any(key.startswith("sample") for kind in found.defects.values() for key in kind.metrics)
    kept = accumulator.per_image()
    assert kept is not None
    assert kept.samples is not None
    assert kept.samples.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_without_views_no_key_is_new() -> None:
    assert not any(key.startswith("sample") for key in result(scored(KINDS)).metrics)
