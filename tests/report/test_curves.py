"""Curves of classes and strips of image scores: their areas are the metrics, and they stay small."""

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from benchmark.common.regions import find_regions
from benchmark.metrics.per_image import ClassImages, PerImageAccumulator
from benchmark.metrics.pixel import PixelMetrics, image_pixels
from benchmark.report.charts import curves, strips
from benchmark.report.charts.chart import STEPS, look


def area(points: npt.NDArray[Any] | None) -> float:
    assert points is not None
    return float(np.trapezoid(points[1], points[0]))


def of_scores(scores: npt.ArrayLike, labels: npt.ArrayLike, keys: tuple[str, ...] = ()) -> ClassImages:
    scores, labels = np.asarray(scores, float), np.asarray(labels, np.uint8)
    keys = keys or tuple(f"{place}.png" for place in range(len(labels)))
    return ClassImages(keys, labels, scores, np.zeros((len(labels), 2, 2), np.uint8), (0.0, 1.0))


def of_maps(seed: int, count: int = 12) -> tuple[ClassImages, dict[str, float | None]]:
    """Smooth maps with regions in every other one, and the exact metrics of their pixels."""
    rng = np.random.default_rng(seed)
    gathering, exact = PerImageAccumulator(), PixelMetrics()
    for index in range(count):
        scores, mask = gaussian_filter(rng.normal(size=(96, 96)), 4) * 4, np.zeros((96, 96), bool)
        if index % 2:
            mask[10:25, 20:40] = mask[50:55, 50:60] = True
            scores[mask] += rng.normal(0.7, 0.5)
        gathering.add(f"{index}.png", index % 2, float(scores.max()), scores[::8, ::8])
        gathering.add_pixels(image_pixels(scores, find_regions(mask)))
        exact.update(scores, mask)
    return gathering.finish(), exact.compute()


def with_both_labels() -> st.SearchStrategy[list[tuple[int, int]]]:
    """Some images by score and label; few distinct scores, so that there are ties."""
    images = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1)), min_size=2, max_size=40)
    return images.filter(lambda each: {label for _, label in each} == {0, 1})


@settings(max_examples=60, deadline=None)
@given(with_both_labels())
def test_curves_of_images_are_those_of_scikit_learn(images: list[tuple[int, int]]) -> None:
    scores, labels = np.array(images).T
    curve = curves.image_curve(of_scores(scores, labels))
    points, steps, ends = curves.roc(curve), curves.precision_recall(curve), curves.precision_recall_of_bins(curve)
    assert points is not None
    assert ends is not None
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(points, [fpr, tpr])
    precision, recall, _ = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(ends[:, 1:], [recall[-2::-1], precision[-2::-1]])
    assert area(points) == pytest.approx(roc_auc_score(labels, scores))
    assert area(steps) == pytest.approx(average_precision_score(labels, scores))


@pytest.mark.parametrize("seed", range(3))
def test_areas_of_pixel_curves_are_the_metrics(seed: int) -> None:
    images, exact = of_maps(seed)
    curve = curves.pixel_curve(images)
    assert curve is not None
    assert area(curves.roc(curve)) == pytest.approx(exact["pixel_auroc"], abs=2e-4)
    assert area(curves.pro(curve)) / 0.3 == pytest.approx(exact["pixel_aupro"], abs=2e-4)
    assert area(curves.precision_recall_of_bins(curve)) == pytest.approx(exact["pixel_ap"], abs=2e-3)


def test_what_is_undefined_has_no_curve() -> None:
    images = of_scores([1, 2, 3], [0, 0, 0])
    curve = curves.image_curve(images)
    assert (curves.roc(curve), curves.precision_recall(curve), curves.pro(curve)) == (None, None, None)
    anomalous = curves.image_curve(of_scores([1, 2, 3], [1, 1, 1]))
    assert (curves.roc(anomalous), curves.precision_recall(anomalous), curves.pro(anomalous)) == (None, None, None)
    assert curves.pixel_curve(images) is None
    assert curves.class_curves({"A": images}, {"A": {}}, ["A"]) is None
    assert curves.pro(curves.image_curve(of_scores([1, 2], [0, 1]))) is None, "images have no regions"


def distances(points: npt.NDArray[Any], line: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return how far each point `(2, K)` is from a line of straight pieces."""
    starts, steps = line[:, :-1, None], np.diff(line, axis=1)[:, :, None]
    length = np.maximum((steps**2).sum(axis=0), 1e-300)
    along = np.clip(((points[:, None] - starts) * steps).sum(axis=0) / length, 0, 1)
    found: npt.NDArray[Any] = np.hypot(*(points[:, None] - starts - along * steps)).min(axis=0)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.booleans())
def test_thinned_lines_stay_within_the_tolerance(seed: int, count: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.integers(0, 3, (2, count)) * rng.random((2, count)), axis=1) / count
    if flat:
        points[1] = 0.5
    thin = curves.thinned(points)
    assert thin.shape[1] <= (2 if flat and count > 1 else count)
    assert {*map(tuple, thin.T)} <= {*map(tuple, points.T)}
    np.testing.assert_array_equal(thin[:, [0, -1]], points[:, [0, -1]])
    if thin.shape[1] > 1:
        assert distances(points, thin).max() <= curves.TOLERANCE


def unpacked(array: dict[str, str]) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(array["bdata"]), "<u2") / STEPS


def test_charts_of_a_class_hold_few_points_and_the_numbers_of_the_records() -> None:
    made, exact = of_maps(0)
    titles = ["none", *(f"<b>M{place}</b>" for place in range(13))]
    values = {title: exact | {"image_auroc": 0.98765, "image_ap": None} for title in titles}
    found = curves.class_curves(dict.fromkeys(titles[1:], made), values, titles)
    assert found is not None
    assert [chart.key for chart in found.charts] == [f"curve-{m.replace('_', '-')}" for m in (
        "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_aupro"
    )]  # fmt: skip
    assert found.columns == {"image": ("AUROC", "AP"), "pixel": ("AUROC", "AP", "AUPRO")}
    assert found.key[0].numbers[:2] == ("98.8", "–")
    assert len({(row.colour, row.dash) for row in found.key}) == 13
    assert (found.key[0].colour, found.key[0].dash) == look(1), "a method has its look on every page"
    for chart in found.charts:
        go.Figure(chart.figure)
        assert [trace["meta"] for trace in chart.figure["data"]] == titles[1:]
        assert len(json.dumps(chart.figure)) < 13 * 700
    drawn = found.charts[2].figure["data"][0]
    x, y = unpacked(drawn["x"]), unpacked(drawn["y"])
    assert len(x) <= 150
    assert area(np.stack([x, y])) == pytest.approx(exact["pixel_auroc"], abs=curves.TOLERANCE)


def test_strips_place_images_on_the_scale_of_their_method() -> None:
    keys = ("n", "<i>a</i>", "b")
    one = of_scores([-3.0, 5.0, 1.0], [0, 1, 0], keys)
    other = of_scores([7.0, 7.0], [1, 0], ("<i>a</i>", "n"))
    chart = strips.class_strips({"One": one, "Other": other}, {"<i>a</i>"})
    assert chart is not None
    shown = chart.figure["layout"]["meta"]["strips"]
    assert (shown["keys"], shown["linked"]) == (["n", "<i>a</i>"], [1]), "images of all methods, normal ones first"
    first, second = shown["rows"]
    assert (first["title"], first["normal"], first["medians"]) == ("One", 1, [0.0, 1.0])
    assert unpacked({"bdata": first["x"]}).tolist() == [0.0, 1.0]
    assert unpacked({"bdata": second["x"]}).tolist() == [0.0, 0.0], "a scale without length"
    assert chart.table is not None
    assert chart.table.rows[0] == ("One", "-3", "5", "-3", "5")
    assert strips.class_strips({}, ()) is None
    assert strips.class_strips({"One": one, "Else": of_scores([1.0], [0], ("z",))}, ()) is None, "no image in common"


def test_strips_of_thousands_of_images_are_bins_that_say_how_many_they_hold() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(5000) % 2
    images = {f"M{place}": of_scores(rng.normal(size=5000) + labels, labels) for place in range(13)}
    chart = strips.class_strips(images, {"1.png"})
    assert chart is not None
    rows = chart.figure["layout"]["meta"]["strips"]["rows"]
    for row in rows:
        assert len(unpacked({"bdata": row["x"]})) == len(row["counts"]) <= 2 * strips.BINS
        assert sum(row["counts"][: row["normal"]]) == sum(row["counts"][row["normal"] :]) == 2500
    assert len(json.dumps(chart.figure)) < 25_000
    normal = images["M0"].scores[labels == 0]
    low, high = images["M0"].scores.min(), images["M0"].scores.max()
    assert rows[0]["medians"][0] == pytest.approx((np.median(normal) - low) / (high - low), abs=1e-4)


@pytest.mark.parametrize("label", [0, 1])
def test_strips_of_one_label_have_one_median(label: int) -> None:
    for count in (5, 1000):
        chart = strips.class_strips({"M": of_scores(np.arange(count), [label] * count)}, ())
        assert chart is not None
        [row] = chart.figure["layout"]["meta"]["strips"]["rows"]
        assert row["medians"][1 - label] is None
        assert (row["normal"] == 0) == bool(label)


def test_there_is_no_precision_without_normal_images() -> None:
    curve = curves.image_curve(of_scores([0.1, 0.9], [1, 1]))
    assert curves.precision_recall(curve) is None
    assert curves.precision_recall_of_bins(curve) is None


def test_methods_with_an_area_far_from_their_number_are_named() -> None:
    images, exact = of_maps(3)
    values = {"A": exact, "B": exact | {"pixel_ap": (exact["pixel_ap"] or 0) - 0.01}}
    found = curves.class_curves({"A": images, "B": images}, values, ["A", "B"])
    assert found is not None
    assert found.coarse == ("B",)
