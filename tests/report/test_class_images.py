"""Images that all methods have: against joins of tables."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.per_image import ClassImages
from benchmark.report.class_images import by_method, common_images


def _images(keys: list[int]) -> ClassImages:
    """Every third image is anomalous, and its score is its key."""
    labels = np.array([key % 3 == 0 for key in keys], np.uint8)
    maps = np.zeros((len(keys), 1, 1), np.uint8)
    return ClassImages(tuple(map(str, keys)), labels, np.array(keys, float), maps, (0.0, 1.0))


@given(st.lists(st.lists(st.integers(0, 9), unique=True), max_size=4))
def test_common_images_are_those_of_a_join(methods: list[list[int]]) -> None:
    images = {f"method {place}": _images(keys) for place, keys in enumerate(methods)}
    found = common_images(images)
    tables = [pd.DataFrame({"key": pd.Series(of.keys, dtype=object), title: of.scores}) for title, of in images.items()]
    joined = pd.DataFrame({"key": pd.Series([], dtype=object)})
    for place, table in enumerate(tables):
        joined = joined.merge(table, on="key") if place else table
    assert list(found.keys) == list(joined["key"])
    assert found.labels.tolist() == [int(key) % 3 == 0 for key in joined["key"]]
    for title, of in images.items():
        assert of.scores[found.rows[title]].tolist() == joined[title].tolist()


def test_methods_without_the_class_are_left_out() -> None:
    images = {"A": {"x": _images([1])}, "B": {"y": _images([2])}, "C": {}}
    assert list(by_method(images, "x")) == ["A"]
