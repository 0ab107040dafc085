"""The overview without a browser: what stands where there is no number, ties, words, and the size of the page."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.study import PARTS, SCANS, Study
from support.wide import METHODS, SHOWN, wide_records

from benchmark.common.names import counted
from benchmark.metrics.names import METRICS
from benchmark.records.records import Record
from benchmark.report.boards import all_standings, leaderboard
from benchmark.report.facts import learns_from
from benchmark.report.pages.overview import overview_page
from benchmark.report.report_data import collect_report_data
from benchmark.report.site import make_site
from benchmark.report.values import (
    FAILED,
    NOT_RUN,
    UNDEFINED,
    ShownValue,
    class_rows,
    dataset_rows,
    defect_rows,
    shown_points,
    signed,
    without_winner,
)
from benchmark.tables.means import mean_estimates

LONG = "ValueError: <script>alert(2)</script>\n" + "a line of a long traceback\n" * 40
ROW = 420
"""Bytes of a method and a metric on the leaderboard, all columns together."""
CELL = 175
"""Bytes of a number of the table of datasets."""


def page(records: Sequence[Record], path: str = "index.html") -> str:
    return unescape(make_site(records, lambda record: None)[path].decode())


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@pytest.fixture(scope="module")
def partial(study: Study) -> list[Record]:
    """CLIP failed on the scans, and CLIP-AC was not run there."""
    kept = [r for r in study.records if (r.title, r.dataset_title) != ("CLIP-AC", SCANS)]
    failed = {"status": "failed", "error": LONG, "classes": {}, "mean": {}, "draws": None}
    return [r.model_copy(update=failed) if (r.title, r.dataset_title) == ("CLIP", SCANS) else r for r in kept]


def test_failed_not_run_and_undefined_are_told_apart(partial: list[Record]) -> None:
    report = collect_report_data(partial)
    parts, scans = report.datasets
    failed = next(r for r in report.records if (r.title, r.dataset_title) == ("CLIP", SCANS))
    (row,) = [each for each in dataset_rows(report, "image_auroc") if each.title == SCANS]
    found = dict(zip(report.titles, row.numbers, strict=True))
    assert found["CLIP"] == ShownValue(FAILED, "", mark="failed", record=report.anchor_of(failed))
    assert found["CLIP-AC"] == ShownValue(NOT_RUN, "", mark="absent")
    assert found["GenCLIP"].sort
    (of_class,) = class_rows(report, scans, "image_auroc")
    assert [each.text for each in of_class.numbers] == [each.text for each in row.numbers]
    assert class_rows(report, scans, "pixel_auroc") == [], "that of no method is defined"
    kind = defect_rows(report, parts, "A", "image_auroc")[0]
    assert all(each.sort for each in kind.numbers)


def test_an_undefined_number_says_why(study: Study) -> None:
    """Of two methods one has a metric that the other has not, on images of one label."""
    place = next(i for i, r in enumerate(study.records) if (r.title, r.dataset_title) == ("CLIP", SCANS))
    changed = study.records
    classes = {
        name: each.model_copy(update={"metrics": dict.fromkeys(each.metrics), "anomalous": 0})
        for name, each in changed[place].classes.items()
    }
    none = {"mean": dict.fromkeys(changed[place].mean), "classes": classes}
    changed[place] = changed[place].model_copy(update=none)
    report = collect_report_data(changed)
    for row in (dataset_rows(report, "image_auroc")[1], class_rows(report, report.datasets[1], "image_auroc")[0]):
        number = row.numbers[report.titles.index("CLIP")]
        assert (number.text, number.hint) == (UNDEFINED, "Undefined: all images are normal.")


def test_a_failed_method_stands_on_the_page_of_the_dataset_with_its_error(partial: list[Record]) -> None:
    site = make_site(partial, lambda record: None)
    html = site["datasets/scans.html"].decode()
    assert "Failed here" in html
    assert "&lt;script&gt;alert(2)" in html
    assert "<script>alert(2)" not in html
    assert re.search(r"<details><summary>ValueError: [^\n]*</summary>", html), "a long error is folded"
    assert '<a href="../records.html#' in html
    other = site["datasets/parts.html"].decode()
    assert "WinCLIP" in other.partition("Failed here")[2], "a method without any result is named too"
    assert "a long traceback" not in site["index.html"].decode()


def test_a_mean_that_lacks_a_dataset_says_so(study: Study) -> None:
    records = [r.model_copy(update={"domain": "industrial"}) for r in study.records]
    lacking = [r for r in records if (r.title, r.dataset_title) != ("CLIP", SCANS)]
    board = leaderboard(collect_report_data(lacking), "all", "image_auroc", {})
    assert board is not None
    (row,) = [each for each in board.rows if each.title == "CLIP"]
    assert row.mean == ShownValue(UNDEFINED, "", spread="lacks 1 dataset", hint=f"No mean: not run on {SCANS}.")
    assert board.lacking == (f"CLIP (not run on {SCANS})",)
    assert f"No mean of CLIP (not run on {SCANS})." in page(lacking)


def test_means_have_the_intervals_of_the_tables_and_no_winner_alone() -> None:
    records = wide_records()
    report = collect_report_data(records)
    board = leaderboard(report, "all", "image_auroc", {})
    assert board is not None
    found = mean_estimates(report.main, "image_auroc", [each.title for each in report.datasets])
    assert len(found) == len(board.rows) == len(METHODS)
    for row in board.rows:
        estimate = found[row.title]
        assert row.mean.spread.startswith(f"[{100 * (estimate.low or 0):.1f}–{100 * (estimate.high or 0):.1f}]")
        assert (row.behind.text == UNDEFINED) == (estimate.behind is None)
        assert estimate.not_apart == (row.mean.tied or (estimate.behind is not None and "best" in row.mean.mark))
        assert row.mean.tied == ("tied" in row.mean.mark)


def test_all_that_are_tied_with_the_best_are_marked() -> None:
    values = [90.0, 89.96, 89.0, 80.0]
    marks = ["best", "best", "second", ""]
    shown = [
        ShownValue(f"{v:.1f}", f"{v}", mark=mark, tied=tied)
        for v, mark, tied in zip(values, marks, (False, True, True, False), strict=True)
    ]
    assert [each.mark for each in without_winner(shown, values)] == ["best", "best", "second tied", ""]
    assert [each.tied for each in without_winner(shown, values)] == [False, False, True, False]
    alone = [replace(each, tied=False) for each in shown]
    assert [each.mark for each in without_winner(alone, values)] == ["highest", "highest", "second", ""]
    alone[3] = replace(alone[3], behind=("10.0", "8.0", "12.0"))
    assert [each.mark for each in without_winner(alone, values)] == marks


@given(st.floats(-100, 100))
def test_a_difference_has_a_minus_and_nothing_has_no_sign(value: float) -> None:
    text = shown_points(value).text
    assert "-" not in text
    assert float(text.replace("−", "-")) == round(value, 1)
    assert text[0] in "+−" or float(text) == 0
    assert signed(abs(value), plus="")[0].isdigit()
    assert shown_points(-0.04).text == shown_points(0.0).text == "0.0"


def test_one_of_a_thing_is_no_several() -> None:
    assert [counted(n, "dataset") for n in (0, 1, 2)] == ["0 datasets", "1 dataset", "2 datasets"]


def test_the_report_of_one_method_on_one_dataset(study: Study) -> None:
    alone = [r for r in study.records if (r.title, r.dataset_title) == ("CLIP", SCANS)]
    html = page(alone)
    text = text_of(html)
    assert "1 method on 1 dataset, 10 test images" in text
    assert "from 1 record." in text
    assert "over 1 dataset," in text
    for wrong in ("1 methods", "1 datasets", "1 records", "Best on", "Average rank", "are ranked", "≈"):
        assert wrong not in text, wrong


def test_a_method_learns_from_what_serves_most_targets_first() -> None:
    report = collect_report_data(wide_records())
    found = {column.title: learns_from(column, report) for column in report.columns}
    assert found["AnomalyCLIP"] == "MVTec AD (VisA for MVTec AD)"
    assert found["CLIP"] == "training-free"


def test_the_metrics_of_papers_stand_side_by_side(study: Study) -> None:
    report = collect_report_data(study.records)
    found = overview_page(report, all_standings(report))
    assert found["start"] == ["image_auroc", "image_ap", "pixel_auroc", "pixel_aupro"]
    assert [key for key, _ in found["columns"]][:4] == found["start"]
    assert {key for key, _ in found["columns"]} == {k for k in METRICS if not k.startswith("sample")}
    industrial, medical, both = found["views"]
    assert [len(view.rows) for view in (industrial, medical, both)] == [3, 3, 3]
    assert "Sorted by image AUROC" in industrial.notes[""]
    assert "pixel_auroc" not in medical.notes
    assert "average ranks" not in both.notes[""], "two datasets give no ranks"
    assert [n.text for n in medical.rows[0].means[2:4]] == [UNDEFINED] * 2


def test_notes_name_what_the_site_has(study: Study) -> None:
    assert "`" not in text_of(page(study.records))
    assert PARTS in page(study.records)


def test_the_first_page_grows_little_with_methods_datasets_and_metrics() -> None:
    html = page(wide_records())
    known = len(set(re.findall(r'<option value="([a-z]\w+)"', html)) & set(METRICS))
    found = {
        name: re.search(rf'<table[^>]*id="{name}".*?</table>', html, re.DOTALL) for name in ("leaderboard", "matrix")
    }
    sizes = {name: len(table[0]) if table else 0 for name, table in found.items()}
    assert known >= 8
    assert sizes["leaderboard"] < ROW * len(METHODS) * known + 20_000
    assert sizes["matrix"] < CELL * len(METHODS) * len(SHOWN) * known + 10_000


def test_the_page_says_which_methods_are_the_best_and_how_many_are_tied_with_them() -> None:
    report = collect_report_data(wide_records())
    standings = all_standings(report)
    [view] = overview_page(report, standings)["views"]
    for metric, board in standings[view.domain].boards.items():
        means = {row.title: round(row.mean.value, 1) for row in board.rows if row.mean.value is not None}
        highest = [title for title, mean in means.items() if mean == max(means.values())]
        tied = sum(row.mean.tied for row in board.rows)
        verdict = view.verdicts[metric]
        assert verdict.startswith(f"Highest mean: {' and '.join(highest)} in {METRICS[metric].title}, ")
        compared = any(row.behind.sort for row in board.rows)
        assert (f"tied with {tied or 'none'}" in verdict) == compared
        assert ("without intervals" in verdict) != compared
    assert view.verdicts[""].count(" in ") == 4
