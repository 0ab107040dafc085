"""The diagram of critical differences: which methods it joins, where it draws, and that it is small text."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.report.charts.diagram import LABELS, MOST_LABELS, WIDTH, cliques, diagram, levels
from benchmark.tables.ranks import Ranking, _ranking

posthocs = pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed: pip install -e '.[test]'")


def ranked(titles: list[str], *, datasets: int = 17, seed: int = 0, spread: float = 0.3) -> Ranking:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(datasets, len(titles))) + spread * np.arange(len(titles))
    return _ranking("image_auroc", pd.DataFrame(values, columns=titles), {})


def drawn(ranking: Ranking) -> ElementTree.Element:
    made = diagram(ranking, key="image AUROC")
    assert made is not None
    return ElementTree.fromstring(made)


def texts(svg: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in svg.iter("text")]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("methods", [3, 8, 15])
def test_bars_join_the_methods_that_nemenyis_test_does_not_tell_apart(methods: int, seed: int) -> None:
    ranking = ranked([f"M{place}" for place in range(methods)], seed=seed)
    assert ranking.critical_difference is not None
    p_values = posthocs.posthoc_nemenyi_friedman(ranking.values)
    order = list(ranking.ranks)
    joined = {
        (one, other)
        for start, end in cliques(list(ranking.ranks.values()), ranking.critical_difference)
        for one in order[start : end + 1]
        for other in order[start : end + 1]
        if one != other
    }
    assert joined == {(a, b) for a in order for b in order if a != b and p_values.loc[a, b] > 0.05}


@given(st.lists(st.floats(1, 20), min_size=1, max_size=20).map(sorted), st.floats(0.1, 10))
def test_cliques_are_the_largest_sets(ranks: list[float], difference: float) -> None:
    found = cliques(ranks, difference)
    for start, end in found:
        assert end > start
        assert ranks[end] - ranks[start] < difference
        assert start == 0 or ranks[end] - ranks[start - 1] >= difference
        assert end == len(ranks) - 1 or ranks[end + 1] - ranks[start] >= difference
    pairs = {(a, b) for b in range(len(ranks)) for a in range(b) if ranks[b] - ranks[a] < difference}
    assert pairs == {(a, b) for start, end in found for b in range(start, end + 1) for a in range(start, b)}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=12))
def test_bars_of_one_row_do_not_touch(found: list[tuple[int, int]]) -> None:
    spans = sorted((low, low + length) for low, length in found)
    rows = levels(spans)
    for one in range(len(spans)):
        for other in range(one):
            assert rows[one] != rows[other] or spans[other][1] < spans[one][0]


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 40), st.integers(0, 100), st.sampled_from([0.0, 0.1, 1.0]))
def test_the_axis_runs_from_one_to_the_number_of_methods(methods: int, seed: int, spread: float) -> None:
    ranking = ranked([f"Method {place}" for place in range(methods)], seed=seed, spread=spread)
    svg = drawn(ranking)
    shown = texts(svg)
    numbers = [int(text) for text in shown if text.isdigit()]
    assert (numbers[0], numbers[-1]) == (1, methods)
    assert numbers == sorted(set(numbers))
    assert f"critical difference {ranking.critical_difference:.2f}" in shown
    assert len([text for text in shown if "Method" in text]) == methods
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    assert width >= WIDTH
    for each in svg.iter("text"):
        assert 0 <= float(each.attrib["x"]) <= width
        assert 0 <= float(each.attrib["y"]) <= height
    if methods <= MOST_LABELS:  # lines lie between the labels of the two sides
        lines = "".join(each.attrib["d"] for each in svg.iter("path"))
        places = [float(x) for x in re.findall(r"[MH](-?[\d.]+)", lines)]
        assert LABELS <= min(places) <= max(places) <= WIDTH - LABELS


def test_names_are_text_and_the_drawing_has_the_ink_of_the_page() -> None:
    titles = ["<script>alert(1)</script>", "$ and $", "C --> D"]
    ranking = ranked(titles, datasets=9)
    made = diagram(ranking, key="a <b>")
    assert made is not None
    assert "<script" not in made
    assert " id=" not in made
    assert "currentColor" in made
    svg = ElementTree.fromstring(made)
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"].startswith("a <b>: average ranks from ")
    whole = [title.text for title in svg.iter("title")]
    assert whole == ["<script>alert(1)</script>"], "a long title is shortened, and told whole"
    assert any(text.endswith("…") or "… " in text for text in texts(svg))
    assert diagram(ranking, key="a <b>") == made
    assert diagram(replace(ranking, friedman_p=None), key="a") is None


@pytest.mark.parametrize("methods", [3, MOST_LABELS, MOST_LABELS + 1, 40])
def test_diagrams_are_small(methods: int) -> None:
    made = diagram(ranked([f"A method with a name {place}" for place in range(methods)]), key="image AUROC")
    assert made is not None
    assert len(made.encode()) < 5000
