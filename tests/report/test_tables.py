"""Cells of tables: what they say about a number, in few bytes."""

from benchmark.report.rendering import SiteFiles
from benchmark.report.values import HAS_RANGE, ShownValue, shown_value
from benchmark.tables import Estimate


def cell(value: ShownValue) -> str:
    source = '{% import "parts/tables.html" as table_parts with context %}{{ table_parts.cell(n) }}'
    return SiteFiles({}).templates.from_string(source).render(n=value, root="../")


def estimate(behind: tuple[float, float, float]) -> Estimate:
    return Estimate("CLIP", "Parts", None, "image_auroc", 0.9, low=0.8, high=0.95, std=None, seeds=1, behind=behind)


def test_a_wide_range_does_not_take_the_place_of_the_distance_to_the_best() -> None:
    shown = shown_value(90.0, estimate((0.02, -0.0001, 0.05)), span=(85.0, 95.0))
    assert shown.behind == ("2.0", "0.0", "5.0")
    assert shown.hint == HAS_RANGE
    assert shown.tied
    text = cell(shown)
    assert 'data-behind="2.0 0.0 5.0"' in text
    assert '<small class="range">† 85.0–95.0</small>' in text


def test_a_cell_has_short_attributes_and_escaped_texts() -> None:
    hostile = ShownValue('<b>"', '"><script>', hint='"><script>', behind=('"><script>',), record='"><script>')
    assert "<script" not in cell(hostile)
    usual = shown_value(93.125, estimate((0.02, 0.01, 0.05)))
    assert len(cell(usual)) < 140
    assert "title=" not in cell(usual)
    best = cell(shown_value(93.125, estimate((0.0, 0.0, 0.0)), mark="best"))
    assert "data-behind" not in best
