"""The page of the records and the page that says how the numbers were made."""

import json
import re
from typing import Any

import pytest
from support.records import made_run
from support.study import Study

from benchmark.records.records import Record
from benchmark.report.pages.about import checkpoints, environments
from benchmark.report.pages.records import made_by, records_page
from benchmark.report.rendering import SiteFiles, common_context
from benchmark.report.report_data import ReportData, collect_report_data


def rendered(report: ReportData) -> str:
    site = SiteFiles(common_context(report))
    site.page("records.html", "records.html", **records_page(report))
    return site.content["records.html"].decode()


def changed(record: Record, **run: Any) -> Record:
    return record.model_copy(update={"run": record.run.model_copy(update=run)})


def test_a_row_says_what_made_its_record(study: Study) -> None:
    (variant,) = [record for record in study.records if record.title == "GenCLIP (branch=vision)"]
    assert made_by(changed(variant, git_commit="f" * 40)) == (
        'options branch="vision"',
        "checkpoint genclip--mvtec--1",
        "trained on mvtec, card version 1",
        f"weights mini:v2, sha256 {'a' * 12}",
        "data parts, card version 1, layout plain",
        "seed 0",
        f"commit {'f' * 12}",
        "cpu, test",
        "a pass of 1.0 s",
        "made 2026-01-01T00:00:00+00:00",
    )
    plain = next(record for record in study.records if record.title == "CLIP")
    assert made_by(plain)[0] == "default options"
    assert "not from a checkout" in made_by(plain)
    assert not [line for line in made_by(plain) if line.startswith(("checkpoint", "trained"))]


def test_seconds_are_those_of_the_method_and_not_of_the_shared_pass(study: Study) -> None:
    methods = [changed(r, seconds={"total": 9.0, "method": 0.25 * n}) for n, r in enumerate(study.records)]
    methods[0] = changed(methods[0], seconds={"total": 9.0})
    page = records_page(collect_report_data(methods))
    expected = {record.id: f"{0.25 * n:.2f}" for n, record in enumerate(methods)} | {methods[0].id: ""}
    assert {row.record.id: row.seconds.text for row in page["rows"]} == expected


def test_failed_records_and_those_of_ablations_can_be_chosen(study: Study) -> None:
    report = collect_report_data(study.records)
    page = records_page(report)
    status, kind = page["facets"]
    for row in page["rows"]:
        done, main = (int(place) for place in row.of.split())
        assert list(status.options)[done] == row.record.status
        assert list(kind.options)[main] == ("ablation" if row.record.cell.changed else "main")
    assert len({row.of for row in page["rows"]}) == 3
    alone = collect_report_data([r for r in study.records if r.status == "done" and not r.cell.changed])
    assert records_page(alone)["facets"] == [], "a choice of one is none"


def test_a_long_error_is_folded_and_whole(study: Study) -> None:
    long = "RuntimeError: " + "x" * 500 + " the end"
    records = [r.model_copy(update={"error": long}) if r.status == "failed" else r for r in study.records]
    text = rendered(collect_report_data(records))
    ((summary, error),) = re.findall(r'<summary>(RuntimeError.*?)</summary><div class="error">(.*?)</div>', text, re.S)
    assert summary.startswith("RuntimeError: xxx") and len(summary) == 120
    assert error == long
    assert "<details><summary>RuntimeError" not in rendered(collect_report_data(study.records)), "a short one is not"


def test_a_record_takes_little_of_the_page(study: Study) -> None:
    """Two thousand make a page of two megabytes."""
    report = collect_report_data(study.records)
    rows = re.findall(r'<tr id="r\d+".*?</tr>', rendered(report), re.S)
    assert len(rows) == len(study.records)
    assert max(map(len, rows)) < 1200


def test_the_files_of_records_are_records(study: Study) -> None:
    report = collect_report_data(study.records)
    site = SiteFiles(common_context(report))
    site.records(report)
    for record in report.records:
        content = site.content[report.file_of(record)]
        assert Record.model_validate_json(content) == record.model_copy(update={"draws": None})
        assert content.count(b"\n") == 1, "no room is spent on indentation"
        assert list(json.loads(content)) == sorted(json.loads(content))


# ------------------------------------------------------------------------------------------- how the numbers were made


def test_environments_are_told_apart_by_what_differs(study: Study) -> None:
    first, second, third, *_ = study.records
    one = {"packages": {"torch": "2"}, "python": "3.11"}
    other = {"packages": {"torch": "3", "numpy": "1"}, "python": "3.11"}
    records = [r.model_copy(update={"run": made_run(**c)}) for r, c in ((first, one), (second, other), (third, other))]
    found = environments(records)
    assert found.common == {"git commit": "not from a checkout", "machine": "test", "device": "cpu", "python": "3.11"}
    assert found.columns == ("torch", "numpy")
    assert found.rows == ((2, ("3", "1")), (1, ("2", "")))
    same = environments(records[1:])
    assert (same.columns, same.rows) == ((), ((2, ()),))
    assert same.common["torch"] == "3"


def test_a_checkpoint_is_named_by_what_was_trained(study: Study) -> None:
    found = checkpoints([record for record in study.records if record.status == "done"])
    assert [(each.title, each.training.checkpoint) for each in found] == [
        ("GenCLIP (branch=vision) on MVTec AD, seed 0", "genclip--mvtec--1"),
        ("GenCLIP on MVTec AD, seed 0", "genclip--mvtec--0"),
    ]


@pytest.mark.parametrize("page", ["records.html", "about.html"])
def test_ids_are_never_broken_over_lines(study: Study, page: str) -> None:
    from benchmark.report.pages.about import about_page

    report = collect_report_data(study.records)
    site = SiteFiles(common_context(report))
    context = about_page(report) | {"messages": []} if page == "about.html" else records_page(report)
    site.page(page, page, **context)
    text = site.content[page].decode()
    names = [r.id for r in report.records] if page == "records.html" else ["genclip--mvtec--0"]
    for name in names:
        assert re.search(rf'<td class="id">(<a [^>]*>)?<code>{name}</code>', text)
