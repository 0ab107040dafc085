"""The pages of the methods: what they are, where they win and lose, and what the code says of them."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pytest
from support.documents import Document
from support.study import Study
from support.wide import wide_records

from benchmark.api.listing import method_facts
from benchmark.metrics.names import MAIN_METRICS
from benchmark.report.facts import MethodFacts, OptionFacts, option_text
from benchmark.report.pages.methods import method_page, methods_page
from benchmark.report.rendering import TABLES, with_code
from benchmark.report.report_data import ReportData, collect_report_data
from methods.adaclip import AdaClipOptions


@pytest.fixture(scope="module")
def report() -> ReportData:
    return collect_report_data(wide_records())


def test_a_method_is_ahead_where_its_number_is_above_all_others(report: ReportData) -> None:
    title = "GenCLIP"
    of_class = {
        (r.dataset_title, name, r.title): result.metrics for r in report.main for name, result in r.classes.items()
    }
    places = dict.fromkeys((dataset, name) for dataset, name, _ in of_class)
    column = next(each for each in report.columns if each.title == title)
    wins = {each["key"]: each for each in method_page(report, column, {})["wins"]}
    assert set(wins) == {each for each in MAIN_METRICS if not each.startswith("sample")}
    for metric in wins:
        differences = []
        for dataset, name in places:
            others = [of_class[dataset, name, other][metric] for other in report.titles if other != title]
            own = of_class[dataset, name, title][metric]
            if own is not None:
                differences.append(100 * (own - max(other for other in others if other is not None)))
        found = [lead.lead for lead in (*wins[metric]["won"], *wins[metric]["lost"])]
        expected = sorted((each for each in differences if round(each, 1) > 0), reverse=True)
        expected += sorted(each for each in differences if round(each, 1) < 0)
        assert found == pytest.approx(expected)


def test_places_count_the_methods_that_are_better(report: ReportData) -> None:
    dataset = next(each for each in report.datasets if each.name == "mvtec")
    means = {r.title: round(100 * (r.mean["image_auroc"] or 0), 1) for r in dataset.records}
    for column in report.columns:
        rows = method_page(report, column, {})["results"]["rows"]
        [row] = [row for row in rows if row["dataset"] is dataset]
        better = sum(value > means[column.title] for value in means.values())
        assert row["numbers"][0].spread == f"{better + 1} of {len(means)}"


def test_options_that_are_not_the_defaults_are_marked(report: ReportData) -> None:
    column = next(each for each in report.columns if each.title == "GenCLIP")
    [record, *_] = [r for r in report.main if r.title == "GenCLIP"]
    facts = MethodFacts("A. Author, 2025", ("Does it.",), {"branch": OptionFacts("none", "Which branch.")})
    context = method_page(report, column, {record.cell.method: facts})
    [branch, *others] = context["options"]
    assert branch["name"] == "branch"
    assert branch["changed"]
    assert branch["meaning"] == "Which branch."
    assert {each["name"] for each in others} == set(record.cell.options) - {"branch"}
    assert not any(each["changed"] for each in others), "nothing is known of their defaults"


def test_the_code_says_what_a_method_and_its_options_are() -> None:
    facts = method_facts()["adaclip"]
    assert facts.paper == "Cao et al., AdaCLIP, ECCV 2024"
    assert facts.summary[0].startswith("Learned tokens behind the patches")
    assert list(facts.options) == list(AdaClipOptions.__dataclass_fields__)
    assert facts.options["clusters"] == OptionFacts("20", "Number K of clusters.")
    assert facts.options["image_score"].default == "fusion"
    assert facts.options["epochs"].meaning == "", "nothing stands below it"
    assert "\n" not in facts.options["image_score"].meaning


def test_options_without_source_have_no_meaning() -> None:
    from benchmark.api.listing import _meanings

    namespace = {"dataclass": dataclass}
    exec("@dataclass(frozen=True)\nclass Typed:\n    rate: float = 0.1\n    'How fast.'\n", namespace)
    assert _meanings(namespace["Typed"]) == {}  # type: ignore[arg-type]


def test_values_are_shown_as_they_are_typed() -> None:
    assert [option_text(each) for each in ("both", 0.1, True, None, (1, 2))] == [
        "both",
        "0.1",
        "true",
        "null",
        "[1, 2]",
    ]


def test_backticks_become_code_and_nothing_else_becomes_markup() -> None:
    assert with_code("set `a<b>` & `c`") == "set <code>a&lt;b&gt;</code> &amp; <code>c</code>"
    assert with_code("one ` alone") == "one ` alone"


def test_methods_have_pages_and_the_site_takes_its_tables_along(
    study: Study, files_without_images: Mapping[str, bytes]
) -> None:
    site = files_without_images
    assert {path for path in site if path.startswith("methods/")} == {
        f"methods/{name}.html" for name in ("clip", "clip_ac", "genclip")
    }
    listed = Document(site["methods.html"])
    assert [a["href"] for _, a in listed.tags if (a.get("href") or "").startswith("methods/")]
    assert "Training curves" in Document(site["methods/genclip.html"]).text
    with zipfile.ZipFile(io.BytesIO(site[TABLES])) as archive:
        numbers = pd.read_csv(archive.open("results.csv"))
        assert b"CLIP-AC" in archive.read("main_image.md")
    assert set(numbers["record"]) == {record.id for record in study.records if record.status == "done"}
    assert all(json.loads(site[path]) for path in site if path.startswith("records/"))


def test_the_list_counts_datasets(report: ReportData) -> None:
    rows = methods_page(report, {})["rows"]
    assert [row["column"].title for row in rows] == list(report.titles)
    assert {row["done"] for row in rows} == {3}
    assert {row["failed"] for row in rows} == {0}
