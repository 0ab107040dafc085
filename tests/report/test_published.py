"""The page of published numbers: counts, reasons said once, the chart, the printed numbers, and what filters them."""

import io
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pandas as pd
import pytest
from support.agreeing import agreeing_records
from support.study import Study

from benchmark.metrics import METRICS
from benchmark.report.charts.agreement import AgreementPoint, agreement_chart
from benchmark.report.listing import Facet, filtered
from benchmark.report.pages.published import common_reasons, link_of, published_page
from benchmark.report.printed import choices_of
from benchmark.report.report_data import ReportData, collect_report_data
from benchmark.report.values import UNDEFINED
from benchmark.tables.comparison import Comparison, compare
from benchmark.tables.comparison_output import comparison_csv
from benchmark.tables.published import load_published

Page = dict[str, Any]


@pytest.fixture(scope="module")
def report() -> ReportData:
    return collect_report_data(agreeing_records())


@pytest.fixture(scope="module")
def page(report: ReportData) -> Page:
    return published_page(report, load_published())


@pytest.fixture(scope="module")
def rows(report: ReportData) -> list[Comparison]:
    made = compare(load_published(), report.records, tolerance=1.0)
    return [row for row in made if row.verdict not in ("synthetic", "not run")]


@pytest.fixture(scope="module")
def table(rows: list[Comparison]) -> pd.DataFrame:
    """The rows as the command line writes them, whose rows pandas counts."""
    found = pd.read_csv(io.StringIO(comparison_csv(rows)))
    return found.assign(kind=["means" if name == "mean" else "classes" for name in found["class"]])


@pytest.mark.parametrize("kind", ["", "means", "classes"])
def test_the_summary_counts_what_pandas_counts(page: Page, table: pd.DataFrame, kind: str) -> None:
    (shown,) = [each for each in page["summaries"] if (each["by"], each["kind"]) == ("method", kind)]
    expected = table[table.kind == kind] if kind else table
    titles = {"anomalyclip": "AnomalyCLIP", "adaclip": "AdaCLIP", "april_gan": "APRIL-GAN", "winclip": "WinCLIP"}
    assert [row.title for row in shown["rows"]] == sorted(titles[name] for name in expected.method.unique())
    for row in shown["rows"]:
        same = expected[expected.method.map(titles) == row.title]
        verdicts = ("within", "differs", "undecided", "not comparable", "undefined")
        assert [count for count, _ in row.counts] == [int((same.verdict == verdict).sum()) for verdict in verdicts]
        known = same.difference.dropna()
        if known.empty:  # none of them is comparable
            assert (row.median.text, row.range.text) == (UNDEFINED, UNDEFINED)
            continue
        assert float(row.median.sort) == pytest.approx(known.median(), abs=1e-4)
        assert row.range.text == f"{known.min():+.1f} to {known.max():+.1f}".replace("-", "−")


def test_a_count_links_to_as_many_rows(page: Page) -> None:
    names = [facet.name for facet in page["facets"]]
    options = {facet.name: list(facet.options) for facet in page["facets"]}
    checked = 0
    for each in page["summaries"]:
        for row in each["rows"]:
            for count, link in row.counts:
                wanted = {name: value for name, (value,) in parse_qs(link.partition("#")[2]).items()}
                places = [dict(zip(names, map(int, shown["of"].split()), strict=True)) for shown in page["rows"]]
                fits = [all(options[n].index(v) == of[n] for n, v in wanted.items()) for of in places if count]
                assert sum(fits) == count, link
                checked += bool(count)
    assert checked > 20
    assert sum(count for count, _ in page["verdicts"]) == len(page["rows"])


def test_reasons_are_said_once_and_none_is_lost(report: ReportData, page: Page, rows: list[Comparison]) -> None:
    choices = choices_of(load_published(), report, rows)
    common = common_reasons(rows, choices)
    own = Counter(reason for row in page["rows"] for reason in row["reasons"])
    for row in rows:
        keys = [("", ""), (row.number.row.source, ""), (row.number.row.source, choices.method(row.number))]
        said = [reason for key in keys for reason in common[key]]
        assert len(said) == len(set(said))
        assert set(said) <= set(row.reasons)
        own.subtract(set(row.reasons) - set(said))
    assert not +own
    assert not -own
    assert sum(not row["reasons"] for row in page["rows"]) > len(page["rows"]) / 2


def test_what_all_rows_of_all_sources_have_in_common_is_said_for_all(
    report: ReportData, rows: list[Comparison]
) -> None:
    choices = choices_of(load_published(), report, rows)
    same = [replace(row, reasons=("dtype float16", *row.reasons)) for row in rows]
    assert common_reasons(same, choices)["", ""] == ("dtype float16",)
    source = same[0].number.row.source
    alone = [row for row in same if row.number.row.source == source]
    assert common_reasons(alone, choices)["", ""] == ()
    assert "dtype float16" in common_reasons(alone, choices)[source, ""]
    assert common_reasons([], choices) == {("", ""): ()}


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("AnomalyCLIP (ICLR 2024, arXiv 2310.18961) Table 1", "https://arxiv.org/abs/2310.18961"),
        (
            "zqhang/Accurate-WinCLIP-pytorch README, section Zero-shot",
            "https://github.com/zqhang/Accurate-WinCLIP-pytorch",
        ),
        ("MuSc (ICLR 2024; xrli-U/MuSc) README at b76b93d", "https://github.com/xrli-U/MuSc"),
        (
            "Crane (AlirezaSalehy/Crane, 2025) Table 1, picture assets/table1.png",
            "https://github.com/AlirezaSalehy/Crane",
        ),
        ("FB-CLIP (CVPR 2026) comparison table, as quoted in a summary/review", ""),
        ("PSMP-CLIP (2026) Tables 1 and 2, text of the paper", ""),
    ],
)
def test_a_source_links_to_its_paper_or_repository(source: str, link: str) -> None:
    assert link_of(source) == link


def test_the_links_of_all_sources_are_whole(page: Page) -> None:
    for source in page["sources"]:
        assert source.link == "" or source.link.split("/")[2] in ("arxiv.org", "github.com")
        assert source.link.removeprefix("https://arxiv.org/abs/").removeprefix("https://github.com/") in source.title
    assert sum(bool(source.link) for source in page["sources"]) > 30


def test_every_published_number_is_shown_once(page: Page) -> None:
    """Those that are not compared too, under their source."""
    shown = [n for each in page["printed"] for t in each["tables"] for row in t["rows"] for n in row["numbers"]]
    values = Counter(n.text.rstrip("§") for n in shown if n.text != UNDEFINED)
    assert values == Counter(number.printed.rstrip("§") for number in load_published())


def test_the_places_of_printed_numbers_are_those_of_the_facets(page: Page) -> None:
    facets = {facet.name: list(facet.options) for facet in page["facets"]}
    for each in page["printed"]:
        for made in each["tables"]:
            titles = [column["title"] for column in made["columns"]]
            assert len(titles) == len(set(titles))
            for column in made["columns"]:
                _, metric = (int(place) for place in column["of"].split())
                assert column["title"].endswith(METRICS[facets["metric"][metric]].heading)
                assert facets["metric"][metric].startswith(made["level"])
            for row in made["rows"]:
                dataset, kind = (int(place) for place in row["of"].split())
                assert row["title"].startswith(facets["dataset"][dataset])
                assert (": " in row["title"]) == (facets["kind"][kind] == "classes")


def test_the_means_of_datasets_come_first(page: Page) -> None:
    classes = [": " in row["title"] for row in page["rows"]]
    assert classes == sorted(classes)
    assert not classes[0]
    assert classes[-1]


def test_our_numbers_lead_to_their_records(report: ReportData, page: Page) -> None:
    anchors = {report.anchor_of(record): record for record in report.records}
    several = [row for row in page["rows"] if not row["ours"].record]
    assert {row["title"] for row in several} <= {each.dataset_title for each in load_published() if each.is_mean}
    for row in page["rows"]:
        if row in several:  # of several datasets
            assert row["page"] == ""
            continue
        record = anchors[row["ours"].record]
        assert row["title"].startswith(record.dataset_title)
        assert row["method"].startswith(record.title)
        assert row["page"].startswith("datasets/")


def test_synthetic_results_are_not_compared_but_the_numbers_can_be_filtered(study: Study) -> None:
    page = published_page(collect_report_data(study.records), load_published())
    assert page["rows"] == []
    assert page["chart"] is None
    assert [facet.name for facet in page["facets"]] == ["dataset", "method", "metric", "kind", "source"]
    assert sum(each["count"] for each in page["printed"]) == len(load_published())


# ------------------------------------------------------------------------------------------------------------ the chart


def test_the_chart_holds_every_difference_once(page: Page) -> None:
    of_row = {row["key"]: row for row in page["rows"]}
    _, *traces = page["chart"].figure["data"]
    points = [p for trace in traces for p in zip(trace["customdata"], trace["x"], trace["y"], strict=True)]
    assert {key for key, _, _ in points} == {key for key, row in of_row.items() if row["difference"].sort}
    assert len(points) == len({key for key, _, _ in points})
    for key, published, ours in points:
        assert ours - published == pytest.approx(float(of_row[key]["difference"].sort), abs=1e-3)
    assert {trace["meta"] for trace in traces} == {"AnomalyCLIP", "AdaCLIP", "APRIL-GAN", "WinCLIP"}


def test_the_band_is_where_both_agree() -> None:
    """A point is in the band if and only if it differs by no more than the tolerance."""
    from matplotlib.path import Path

    values = [(50.0, 50.9), (50.0, 51.1), (90.0, 89.05), (90.0, 88.9), (70.0, 70.0)]
    points = [AgreementPoint(method="A", row=f"p{i}", label="", published=p, ours=o) for i, (p, o) in enumerate(values)]
    band = agreement_chart(points, tolerance=1.0, key="k").figure["data"][0]
    inside = Path(list(zip(band["x"], band["y"], strict=True))).contains_points(values)
    assert inside.tolist() == [abs(ours - published) <= 1.0 for published, ours in values]


def test_the_chart_shows_names_as_they_are() -> None:
    point = AgreementPoint(method="<b>A", row="p0", label="<i>", published=50.0, ours=50.0)
    trace = agreement_chart([point], tolerance=1.0, key="k").figure["data"][1]
    assert (trace["meta"], trace["name"], trace["text"]) == ("<b>A", "&lt;b&gt;A", ["&lt;i&gt;"])


# -------------------------------------------------------------------------------------------------------------- filters


def test_an_address_of_a_filter_can_be_read_back() -> None:
    values = {"method": "A & B", "dataset": "x=<1>#", "verdict": ""}
    page, _, state = filtered("published.html", **values).partition("#")
    assert page == "published.html"
    assert parse_qs(state) == {"method": ["A & B"], "dataset": ["x=<1>#"]}
    with pytest.raises(ValueError, match="not in list"):
        Facet("n", "N", {"a": "A"}).place("b")
