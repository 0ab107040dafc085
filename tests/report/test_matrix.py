"""The matrix holds the numbers of the records, those that the pages of datasets show, with links to their records."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest
from support.study import Study
from support.wide import METHODS, wide_records

from benchmark.metrics import METRICS
from benchmark.records.records import Record
from benchmark.report.pages.matrix import matrix_page
from benchmark.report.rendering import SiteFiles, common_context
from benchmark.report.report_data import ReportData, collect_report_data
from benchmark.report.values import UNDEFINED, class_rows, mean_row


class Rows(HTMLParser):
    """The texts of the cells of a table's body, and the targets of their links."""

    def __init__(self, content: bytes, table: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[list[str]] = []
        self._inside = False
        self.feed(content.decode().split(f'id="{table}"')[1].split("</table>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tbody":
            self._inside = True
        if self._inside and tag == "tr":
            self.rows.append([])
            self.links.append([])
        if self._inside and tag in ("th", "td"):
            self.rows[-1].append("")
        if self._inside and tag == "a":
            self.links[-1].append(dict(attrs).get("href") or "")

    def handle_data(self, data: str) -> None:
        if self._inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def report(study: Study) -> ReportData:
    return collect_report_data(study.records)


@pytest.fixture(scope="module")
def page(report: ReportData) -> bytes:
    site = SiteFiles(common_context(report))
    site.page("matrix.html", "matrix.html", **matrix_page(report))
    return site.content["matrix.html"]


def _frame(records: list[Record]) -> pd.DataFrame:
    """Every number of every class, in percent, straight from the records."""
    return pd.DataFrame(
        [
            (record.dataset_title, name, record.title, metric, value)
            for record in records
            if record.status == "done" and record.placement.main
            for name, result in record.classes.items()
            for metric, value in result.metrics.items()
        ],
        columns=["dataset", "class", "method", "metric", "value"],
    ).assign(value=lambda frame: 100 * frame["value"].astype(float))


def test_the_numbers_are_those_of_the_records(report: ReportData, study: Study) -> None:
    found = matrix_page(report)
    expected = _frame(study.records).set_index(["dataset", "class", "method", "metric"])["value"]
    seen = 0
    for metric, data in found["numbers"]["metrics"].items():
        for row, values, texts in zip(found["rows"], data["values"], data["texts"], strict=True):
            for method, value, text in zip(found["numbers"]["methods"], values, texts, strict=True):
                wanted = expected.loc[row.dataset, :, method, metric]
                wanted = wanted.loc[[row.title]] if row.is_class else wanted
                if wanted.notna().all():
                    assert value == pytest.approx(wanted.mean(), abs=1e-4)
                    assert text == f"{wanted.mean():.1f}"
                    seen += 1
                else:
                    assert (value, text) == (None, UNDEFINED)
    assert seen == 3 * (4 + 1) * 3 + 3 * 4 * 5, "three image and five pixel metrics; Scans have no masks"


def test_the_numbers_and_intervals_are_those_of_the_pages_of_datasets(report: ReportData) -> None:
    found = matrix_page(report)
    parts = report.datasets[0]
    places = [place for place, row in enumerate(found["rows"]) if row.dataset == parts.title]
    for metric, data in found["numbers"]["metrics"].items():
        rows = [mean_row(report, parts, metric), *class_rows(report, parts, metric)]
        assert len(rows) == len(places) == 4
        for place, row in zip(places, rows, strict=True):
            assert data["texts"][place] == [n.text for n in row.numbers]
            assert data["spreads"][place] == [f"{n.spread} {n.span}".strip() for n in row.numbers]
    assert re.fullmatch(r"\[[\d.]+–[\d.]+\]", found["numbers"]["metrics"]["image_auroc"]["spreads"][1][0])


def test_rows_are_the_datasets_with_their_classes(report: ReportData, page: bytes) -> None:
    table = Rows(page, "classes")
    assert [row[0].split(" Parts")[0] for row in table.rows] == [
        "Parts <b>2</b>",
        "<script>alert(1)</script>",
        "A",
        "a",
        "Scans",
    ]
    pages = [page for each in report.datasets for page in (each.page, *(c.page for c in each.classes))][:-1]
    assert [links[0] for links in table.links] == pages, "the last dataset has one class, so no row for it"
    assert b"<script>alert" not in page


def test_every_number_links_to_its_record(report: ReportData, page: bytes) -> None:
    table = Rows(page, "classes")
    for row, links in zip(matrix_page(report)["rows"], table.links, strict=True):
        dataset = next(each for each in report.datasets if each.title == row.dataset)
        wanted = [dataset.first_seed(title) for title in report.titles]
        assert links[1:] == [f"records.html#{report.anchor_of(each)}" for each in wanted if each]


def test_the_data_of_the_script_is_safe_and_small(page: bytes) -> None:
    text = page.decode().split('id="matrix-data">')[1].split("</script>")[0]
    assert "<" not in text
    assert set(json.loads(text)["metrics"]) <= set(METRICS)
    wide = collect_report_data(wide_records())
    sizes = []
    for methods in (METHODS[:1], METHODS):
        report = collect_report_data([r for r in wide_records() if r.title in {title for title, _ in methods}])
        site = SiteFiles(common_context(report))
        site.page("matrix.html", "matrix.html", **matrix_page(report))
        sizes.append(len(site.content["matrix.html"]))
    rows, metrics = len(matrix_page(wide)["rows"]), len(matrix_page(wide)["numbers"]["metrics"])
    added = [(b - a) / (rows * (len(METHODS) - 1)) for a, b in pairwise(sizes)]
    assert added[0] < 200 + 45 * metrics, (
        "bytes per row and method: the cell, and a text, a value and an interval per metric"
    )


def test_a_metric_that_no_record_has_is_not_offered(study: Study) -> None:
    scans = collect_report_data([record for record in study.records if record.dataset_title == "Scans"])
    found = matrix_page(scans)
    assert set(found["metrics"]) == {"image"}
    assert [row.title for row in found["rows"]] == ["Scans"]
    assert found["domains"] == ["all"]


def test_failed_and_absent_are_told_apart(study: Study) -> None:
    failed = next(record for record in study.records if record.status == "failed")
    scans = [r for r in study.records if r.dataset_title == "Scans" and r.title == "CLIP"]
    cell = scans[0].cell.model_copy(update={"method": failed.cell.method})
    added = scans[0].model_copy(update={"title": failed.title, "cell": cell, "id": cell.id})
    without = [r for r in study.records if not (r.title == "CLIP" and r.dataset_title != "Scans")]
    report = collect_report_data([*without, added])
    site = SiteFiles(common_context(report))
    site.page("matrix.html", "matrix.html", **matrix_page(report))
    rows = {row[0].split(" Parts")[0]: row[1:] for row in Rows(site.content["matrix.html"], "classes").rows}
    texts = dict(zip(report.titles, rows["A"], strict=True))
    assert (texts["WinCLIP"], texts["CLIP"]) == ("failed", "not run")
    assert f"records.html#{report.anchor_of(failed)}".encode() in site.content["matrix.html"]
    pixel = matrix_page(report)["numbers"]["metrics"]["pixel_auroc"]
    assert set(pixel["texts"][-1]) == {UNDEFINED}, "Scans have no masks"
