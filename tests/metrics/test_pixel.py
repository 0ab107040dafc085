"""The metric suite against recorded numbers, scikit-learn, plain restatements of the definitions, and laws."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from skimage.measure import label as label_regions
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from benchmark.common.regions import find_regions
from benchmark.metrics.curve import aupro, descending_curve
from benchmark.metrics.histogram import order_keys, scores_of
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.names import PIXEL_METRICS, metrics_of
from benchmark.metrics.pixel import (
    BUFFER_PIXELS,
    MAX_BINS,
    MIN_BINS,
    PixelHistogram,
    PixelMetrics,
)

IMAGE_METRICS = tuple(metric.key for metric in metrics_of("image"))

GOLDEN = Path(__file__).parents[1] / "golden"
EXACT = ("pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro")
MAP_SETS = ("continuous", "tied", "wide")


@pytest.fixture(scope="module")
def arrays():
    return load_file(GOLDEN / "metrics.safetensors")


@pytest.fixture(scope="module")
def numbers():
    return json.loads((GOLDEN / "metrics.json").read_text())


def gather(maps, masks, *, max_bins=MAX_BINS, buffer=BUFFER_PIXELS):
    metrics = PixelMetrics(max_bins=max_bins, buffer_pixels=buffer)
    for anomaly_map, mask in zip(maps, masks, strict=True):
        metrics.update(anomaly_map, mask)
    return metrics


def gather_images(scores, labels):
    metrics = ImageMetrics()
    for score, label in zip(scores, labels, strict=True):
        metrics.update(score, label)
    return metrics


def assert_same(left, right, tolerance=1e-12):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name] == (None if right[name] is None else pytest.approx(right[name], abs=tolerance)), name


def shift_of(metrics):
    return metrics.histogram().shift


# --- Plain restatements of the definitions, from whole arrays --------------------------------------------------------


def sklearn_values(scores, labels):
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return roc_auc_score(labels, scores), average_precision_score(labels, scores), f1.max()


def plain_regions(masks):
    """Region numbers, distinct over all images, 0 for normal pixels."""
    numbered, count = np.zeros(np.shape(masks), dtype=int), 0
    for index, mask in enumerate(masks):
        regions = label_regions(mask, connectivity=2)
        numbered[index] = np.where(regions, regions + count, 0)
        count += regions.max()
    return numbered, count


def plain_aupro(maps, masks, limit=0.3):
    """Exact AUPRO by sorting all pixels, in float64."""
    regions, count = plain_regions(masks)
    sizes = np.bincount(regions.ravel())
    share = np.where(regions, 1 / (count * sizes[regions]), 0).ravel()
    scores = np.asarray(maps, dtype=np.float64).ravel()
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # last pixel of each tied run
    normal = (regions == 0).ravel()
    fpr = np.append(0, np.cumsum(normal[order])[last] / normal.sum())
    pro = np.append(0, np.cumsum(share[order])[last])
    grid = np.append(fpr[fpr <= limit], limit)
    return np.trapezoid(np.append(pro[fpr <= limit], np.interp(limit, fpr, pro)), grid) / limit


def plain_aupro_200(maps, masks):
    """AUPRO-200 threshold by threshold, region by region."""
    maps = np.asarray(maps)
    regions, count = plain_regions(masks)
    low, high = maps.min(), maps.max()
    members = [maps[regions == number] for number in range(1, count + 1)]
    normal = maps[regions == 0]
    rates = []
    for threshold in np.arange(low, high, (high - low) / 200):
        fpr = np.mean(normal > threshold)
        if fpr < 0.3:
            rates.append((fpr, np.mean([np.mean(pixels > threshold) for pixels in members])))
    fpr, pro = np.array(rates[::-1]).T
    return np.trapezoid(pro, (fpr - fpr.min()) / (fpr.max() - fpr.min()))


def scene(rng, images, size, *, separation=1.0):
    """Noisy logits (images, size, size) that are higher in the rectangles of the masks; the first image is normal."""
    masks = np.zeros((images, size, size), dtype=bool)
    for mask in masks[1:]:
        for _ in range(rng.integers(1, 4)):
            top, left = rng.integers(0, size - 1, 2)
            height, width = rng.integers(1, max(2, size // 4), 2)
            mask[top : top + height, left : left + width] = True
    return (rng.normal(size=masks.shape) + separation * masks).astype(np.float32), masks


# --- Reference numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAP_SETS)
def test_pixel_values_agree_with_the_reference_implementations(arrays, numbers, name):
    values = gather(arrays[f"maps_{name}"], arrays["masks"].astype(bool)).compute()
    reference = numbers[name]
    for metric, key in (("pixel_auroc", "pixel_auroc"), ("pixel_ap", "pixel_ap"), ("pixel_f1max", "pixel_f1max")):
        assert values[metric] == pytest.approx(reference["sklearn"][key], abs=1e-12)
    assert values["pixel_aupro"] == pytest.approx(reference["exact_float64_crosscheck"]["aupro_fpr03_8conn"], abs=1e-12)
    assert values["pixel_aupro"] == pytest.approx(reference["anomalib"]["aupro_fpr03"], abs=1e-6)
    assert values["pixel_aupro_200"] == pytest.approx(reference["anomalyclip"]["pixel_aupro"], abs=1e-12)


@pytest.mark.parametrize(("limit", "key"), [(0.1, "aupro_fpr01_8conn"), (1.0, "aupro_fpr1_8conn")])
def test_aupro_agrees_at_other_limits(arrays, numbers, limit, key):
    scores, index = np.unique(arrays["maps_tied"], return_inverse=True)
    masks = arrays["masks"].astype(bool)
    weights = np.zeros(masks.shape)
    regions = 0
    for image, mask in enumerate(masks):
        found = find_regions(mask)
        weights[image][mask] = found.weights
        regions += found.count

    def per_score(values):
        return np.bincount(index.ravel(), weights=values.ravel().astype(float), minlength=len(scores))

    curve = descending_curve(scores, per_score(~masks), per_score(masks), weights=per_score(weights), regions=regions)
    expected = numbers["tied"]["exact_float64_crosscheck"][key]
    assert aupro(curve, fpr_limit=limit) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", MAP_SETS)
def test_image_values_agree_with_scikit_learn(arrays, numbers, name):
    values = gather_images(arrays[f"image_scores_{name}"], arrays["image_labels"]).compute()
    expected = numbers[name]["sklearn"]
    assert_same(values, {metric: expected[metric] for metric in IMAGE_METRICS})


def test_image_values_with_ties_agree_with_scikit_learn(arrays, numbers):
    values = gather_images(arrays["image_scores_20"], arrays["image_labels_20"]).compute()
    expected = numbers["images20"]["sklearn"]
    assert_same(values, {metric: expected[metric.removeprefix("image_")] for metric in IMAGE_METRICS})


def test_region_counts_agree(arrays, numbers):
    counts = [find_regions(mask.astype(bool)).count for mask in arrays["masks"]]
    assert counts == numbers["region_counts"]["8"]


# --- Larger data, where scores are binned ----------------------------------------------------------------------------


def squash(logits):
    return 1 / (1 + np.exp(-logits))


SPREADS = {
    "spread": lambda logits, rng: 0.01 + 0.98 * squash(logits),
    "concentrated": lambda logits, rng: 0.49 + 0.02 * squash(logits),
    "saturated": lambda logits, rng: squash(4 * (logits - 1)),
    "below_zero": lambda logits, rng: logits - 3,
    "zeros_and_outliers": lambda logits, rng: np.select(
        [(draw := rng.random(logits.shape)) < 0.05, draw > 0.9999], [0.0, 1e6], default=squash(logits)
    ),
}


@pytest.mark.parametrize("spread", SPREADS)
def test_binned_values_agree_with_plain_ones(spread):
    rng = np.random.default_rng(7)
    logits, masks = scene(rng, 10, 300)
    maps = SPREADS[spread](logits, rng).astype(np.float32)
    metrics = gather(maps, masks, buffer=2**18)
    values = metrics.compute()
    assert len(metrics.histogram().keys) <= MAX_BINS
    assert shift_of(metrics) > 0 or spread == "concentrated", "the data must be large enough to need bins"
    expected = (*sklearn_values(maps.ravel(), masks.ravel()), plain_aupro(maps, masks))
    for name, value in zip(EXACT, expected, strict=True):
        assert values[name] == pytest.approx(value, abs=1e-5), name
    if spread == "zeros_and_outliers":  # all other scores lie below the second threshold: one rate
        assert values["pixel_aupro_200"] is None
    else:
        low, high = metrics.compute_ranges()["pixel_aupro_200"]  # which allows for bins
        assert low <= plain_aupro_200(maps, masks) <= high
        if spread != "saturated":
            assert high - low < 1e-3


# --- Laws ------------------------------------------------------------------------------------------------------------


@st.composite
def pictures(draw):
    """Maps and masks of several images, with ties, negative and wide-ranging scores, and single-pixel regions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, size = draw(st.integers(1, 6)), draw(st.integers(2, 24))
    logits, masks = scene(rng, images, size)
    kind = draw(st.sampled_from(["continuous", "tied", "wide", "outliers", "sprinkled"]))
    if kind == "tied":
        logits = np.round(logits * 2) / 2
    if kind == "wide":
        logits = np.sign(logits) * np.exp(10 * np.abs(logits)).astype(np.float32)
    if kind == "outliers":
        logits = np.where(rng.random(logits.shape) < 0.02, rng.choice([0, -1e6, 1e30]), squash(logits))
    if kind == "sprinkled":
        masks = rng.random(masks.shape) < 0.1
    return logits.astype(np.float32), masks


BINS = st.sampled_from([MIN_BINS, MAX_BINS])
BUFFERS = st.sampled_from([7, 64, 1000, 2**20])


@settings(deadline=None, max_examples=150)
@given(pictures(), BINS, BUFFERS, BUFFERS, st.randoms(use_true_random=False))
def test_neither_order_nor_buffer_changes_a_value(data, max_bins, buffer, other_buffer, random):
    maps, masks = data
    order = random.sample(range(len(maps)), len(maps))
    left = gather(maps, masks, max_bins=max_bins, buffer=buffer)
    right = gather(maps[order], masks[order], max_bins=max_bins, buffer=other_buffer)
    assert_same(left.compute(), right.compute())
    for name, one, other in zip(PixelHistogram._fields, left.histogram(), right.histogram(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=0, err_msg=name)
    assert len(left.histogram().keys) <= max_bins
    if shift_of(left):  # the smallest shift: with one bit more there would have been too many
        finest = gather(maps, masks).histogram().keys >> (shift_of(left) - 1)
        assert len(np.unique(finest)) > max_bins


@settings(deadline=None, max_examples=100)
@given(pictures(), st.integers(0, 6), BINS, BUFFERS, st.booleans())
def test_merged_halves_equal_the_whole(data, cut, max_bins, buffer, swapped):
    maps, masks = data
    whole = gather(maps, masks, max_bins=max_bins)
    halves = [
        gather(maps[part], masks[part], max_bins=max_bins, buffer=buffer) for part in (slice(cut), slice(cut, None))
    ]
    if swapped:
        halves.reverse()
    before = halves[1].compute()
    halves[0].merge(halves[1])
    assert_same(halves[0].compute(), whole.compute())
    assert halves[1].compute() == before
    assert shift_of(halves[0]) == shift_of(whole)


@settings(deadline=None, max_examples=100)
@given(pictures())
def test_values_are_those_of_the_definitions(data):
    maps, masks = data
    values = gather(maps, masks, buffer=100).compute()
    if not masks.any() or masks.all():
        return
    expected = (*sklearn_values(maps.ravel(), masks.ravel()), plain_aupro(maps, masks))
    for name, value in zip(EXACT, expected, strict=True):
        assert values[name] == pytest.approx(value, abs=1e-9), name
    if values["pixel_aupro_200"] is not None:
        assert values["pixel_aupro_200"] == pytest.approx(plain_aupro_200(maps, masks), abs=1e-9)
    assert all(value is None or 0 <= value <= 1 + 1e-12 for value in values.values())


@settings(deadline=None, max_examples=60)
@given(pictures(), st.integers(0, 2**32 - 1))
def test_strictly_monotone_transforms_move_only_aupro_200(data, seed):
    maps, masks = data
    levels, index = np.unique(maps, return_inverse=True)
    rising = np.cumsum(np.random.default_rng(seed).uniform(0.01, 1, len(levels))).astype(np.float32) - 5
    before, after = gather(maps, masks).compute(), gather(rising[index].reshape(maps.shape), masks).compute()
    before.pop("pixel_aupro_200"), after.pop("pixel_aupro_200")
    assert_same(before, after)


def test_aupro_200_depends_on_the_scale_of_scores(arrays):
    maps, masks = arrays["maps_continuous"], arrays["masks"].astype(bool)
    before, after = gather(maps, masks).compute(), gather(maps**3, masks).compute()
    assert after["pixel_aupro"] == pytest.approx(before["pixel_aupro"], abs=1e-6)
    assert abs(after["pixel_aupro_200"] - before["pixel_aupro_200"]) > 1e-3


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 7.0]), st.integers(0, 1)), min_size=1, max_size=30),
    st.data(),
)
def test_image_values_follow_scikit_learn_and_merge(rows, data):
    scores, labels = zip(*rows, strict=True)
    values = gather_images(scores, labels).compute()
    if 0 < sum(labels) < len(labels):
        assert_same(values, dict(zip(IMAGE_METRICS, sklearn_values(scores, labels), strict=True)))
    cut = data.draw(st.integers(0, len(rows)))
    last, first = gather_images(scores[cut:], labels[cut:]), gather_images(scores[:cut], labels[:cut])
    last.merge(first)
    assert_same(last.compute(), values)


# --- Memory ----------------------------------------------------------------------------------------------------------


def test_a_later_image_of_wider_range_coarsens_all_that_came_before():
    rng = np.random.default_rng(11)
    masks = rng.random((3, 64, 64)) < 0.1
    maps = np.array(
        [rng.uniform(0.3, 0.301, (64, 64)), rng.uniform(0.2, 0.3, (64, 64)), rng.uniform(0.01, 0.45, (64, 64))]
    )
    maps = (maps + 0.01 * masks).astype(np.float32)
    rising = gather(maps, masks, max_bins=MIN_BINS, buffer=4096)
    at_once = gather(maps[::-1], masks[::-1], max_bins=MIN_BINS)
    assert_same(rising.compute(), at_once.compute())
    expected = (*sklearn_values(maps.ravel(), masks.ravel()), plain_aupro(maps, masks))
    for name, value in zip(EXACT, expected, strict=True):
        assert rising.compute()[name] == pytest.approx(value, abs=0.05), name  # 512 bins only


def test_memory_does_not_grow_with_the_number_of_images():
    """Neither that of bins nor that of the positive pixels that wait to be counted: half of each image is a defect."""
    rng = np.random.default_rng(3)
    maps, masks = rng.normal(size=(200, 32, 32)).astype(np.float32), np.zeros((200, 32, 32), dtype=bool)
    masks[:, :16] = True
    bins, buffer = MIN_BINS * (4 + 8 + 8 + 8), 2048
    waiting = buffer * 4 + buffer * (4 + 8)  # keys of all pixels; keys and weights of positive ones
    for images in (6, 200):
        tracemalloc.start()
        metrics = gather(maps[:images], masks[:images], max_bins=MIN_BINS, buffer=buffer)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held <= bins + waiting + 20_000
        assert sum(np.asarray(array).nbytes for array in metrics.histogram()) <= MIN_BINS * (4 + 8 + 4 + 8 + 8) + 2 * 8


def test_bounds_of_max_bins_are_kept():
    with pytest.raises(ValueError, match="at least 512"):
        PixelMetrics(max_bins=511)
    with pytest.raises(ValueError, match="max_bins 512 and 1024"):
        PixelMetrics(max_bins=512).merge(PixelMetrics(max_bins=1024))


def test_keys_keep_the_order_and_lead_back_to_the_score():
    edges = np.array([2.0**-149, 2.0**-126, 2.0**-24, 0.25, 0.5, 0.75, 1, 2, 2.0**100], dtype=np.float32)
    edges = np.concatenate([edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges[:-1], np.float32(9e30))])
    scores = np.unique(np.concatenate([edges, -edges, np.random.default_rng(0).random(1000, dtype=np.float32)])) + 0.0
    keys = order_keys(scores)
    assert np.all(np.diff(keys.astype(np.int64)) > 0)
    np.testing.assert_array_equal(scores_of(keys), scores)


def test_both_zeros_are_one_score():
    metrics = gather([np.array([[0.0, -0.0]], dtype=np.float32)], [np.array([[True, False]])])
    assert len(metrics.histogram().keys) == 1
    assert metrics.compute()["pixel_auroc"] == 0.5


# --- Degenerate and unfit input --------------------------------------------------------------------------------------

NOTHING = dict.fromkeys(PIXEL_METRICS)


def test_undefined_values_are_none():
    rng = np.random.default_rng(0)
    maps = rng.random((2, 8, 8), dtype=np.float32)
    assert PixelMetrics().compute() == NOTHING
    assert gather(maps, np.zeros((2, 8, 8), dtype=bool)).compute() == NOTHING
    only_defects = gather(maps, np.ones((2, 8, 8), dtype=bool)).compute()
    assert only_defects == NOTHING | {"pixel_ap": 1.0, "pixel_f1max": 1.0}
    assert ImageMetrics().compute() == dict.fromkeys(IMAGE_METRICS)
    assert gather_images([0.1, 0.2], [0, 0]).compute() == dict.fromkeys(IMAGE_METRICS)
    assert gather_images([0.1, 0.2], [1, 1]).compute() == dict.fromkeys(IMAGE_METRICS)


def test_constant_map(numbers):
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    values = gather([np.full((8, 8), 0.5, dtype=np.float32)], [mask]).compute()
    assert values["pixel_auroc"] == 0.5
    assert values["pixel_ap"] == pytest.approx(4 / 64)
    assert values["pixel_aupro"] == pytest.approx(float(numbers["degenerate"]["anomalib_aupro_constant_map"]))
    assert values["pixel_aupro_200"] is None


def test_two_levels_leave_aupro_200_undefined():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    scores = np.zeros((8, 8), dtype=np.float32)
    scores[2:4, 2:5] = 1  # every threshold gives the same rate, 2 of 60
    values = gather([scores], [mask]).compute()
    assert values["pixel_aupro_200"] is None
    # (0, 0) to (1/30, 1), then flat to 0.3
    assert values["pixel_aupro"] == pytest.approx((0.3 - 1 / 60) / 0.3)


def test_the_widest_range_of_scores_overflows_nothing():
    top = np.float32(2.0**100)
    values = gather([np.array([[-top, 0, top]], dtype=np.float32)], [np.array([[False, False, True]])]).compute()
    assert values == {name: pytest.approx(1.0) for name in PIXEL_METRICS} | {"pixel_aupro_200": None}


def test_regions_weigh_the_same_whatever_their_size_and_image():
    # One region of 4 pixels found at once, one of a single pixel never found below the limit: the mean overlap is 1/2.
    masks = np.zeros((2, 10, 10), dtype=bool)
    masks[0, :2, :2] = True
    masks[1, 9, 9] = True
    scores = np.linspace(0.2, 0.8, 200, dtype=np.float32).reshape(2, 10, 10)
    scores[0, :2, :2] = 1
    scores[1, 9, 9] = 0
    assert gather(scores, masks).compute()["pixel_aupro"] == pytest.approx(0.5)


def test_pixels_that_touch_diagonally_are_one_region():
    diagonal = find_regions(np.eye(5, dtype=bool))
    assert diagonal.count == 1
    np.testing.assert_array_equal(diagonal.weights, np.full(5, 0.2))
    mask = np.zeros((6, 7), dtype=bool)
    mask[0, 0] = mask[5, 6] = mask[4, 5] = mask[0, 2] = True
    found = find_regions(mask)
    assert found.count == 3
    np.testing.assert_array_equal(found.weights, [1, 1, 0.5, 0.5])


def test_a_map_larger_than_the_buffer():
    maps, masks = scene(np.random.default_rng(5), 2, 40)
    assert_same(gather(maps, masks, buffer=37).compute(), gather(maps, masks).compute())


def test_a_map_in_another_memory_layout():
    maps, masks = scene(np.random.default_rng(5), 2, 40)
    turned = gather([np.asfortranarray(maps[0]), maps[1].T], [masks[0], np.asfortranarray(masks[1].T)])
    assert_same(turned.compute(), gather(maps, masks).compute())


def test_float_types_are_compared_as_float32():
    maps, masks = scene(np.random.default_rng(1), 3, 16)
    maps = maps.astype(np.float16)
    expected = gather(maps.astype(np.float32), masks).compute()
    assert gather(maps, masks).compute() == expected
    assert gather(maps.astype(np.float64), masks).compute() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -2e30])
def test_unfit_scores_are_refused_and_leave_the_state_alone(bad):
    maps, masks = scene(np.random.default_rng(1), 3, 16)
    metrics = gather(maps, masks)
    wrong = maps[1].astype(np.float64)
    wrong[3, 4] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        metrics.update(wrong, masks[1])
    assert metrics.compute() == gather(maps, masks).compute()


@pytest.mark.parametrize(
    ("anomaly_map", "mask", "message"),
    [
        (np.zeros((4, 4), np.float32), np.zeros((4, 5), bool), r"\(4, 4\) and mask \(4, 5\)"),
        (np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), bool), r"must be bool \(H, W\)"),
        (np.zeros((1, 4, 4), np.float32), np.zeros((4, 4), bool), r"must be the same \(H, W\)"),
        (np.zeros((0, 4), np.float32), np.zeros((0, 4), bool), r"must be the same \(H, W\)"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "map is uint8; it must be float"),
        (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint8), r"mask is uint8 of shape \(4, 4\)"),
    ],
)
def test_unfit_arrays_are_refused(anomaly_map, mask, message):
    with pytest.raises(ValueError, match=message):
        PixelMetrics().update(anomaly_map, mask)


@pytest.mark.parametrize(
    ("score", "label", "message"), [(np.nan, 0, "finite"), (np.inf, 1, "finite"), (0.5, 2, "label")]
)
def test_unfit_images_are_refused(score, label, message):
    with pytest.raises(ValueError, match=message):
        ImageMetrics().update(score, label)
